//! One round of one contender: publish as the plan says, count what arrives, read the CPU's clock.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    contender::Contender,
    crowd::{Crowd, PATIENCE},
    machine,
    message::Channels,
    tally::Tally,
};

/// How messages are published.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Messages of one transaction.
    pub(crate) burst: u64,
    pub(crate) pace: Pace,
    /// Readers of a closed loop never sleep.
    pub(crate) spin: bool,
}

/// When the next burst is due.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// While it leaves at most so many messages that have not arrived everywhere.
    Window(u64),
    /// So many a second, whatever arrives.
    PerSecond(u32),
}

/// What one round showed.
pub(crate) struct Measured {
    pub(crate) tally: Tally,
    /// What was made: deliveries or handshakes.
    pub(crate) units: u64,
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn cpu_us_per_unit(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.units as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn units_per_second(&self) -> f64 {
        self.units as f64 / self.wall.as_secs_f64()
    }
}

/// Publishes for `length`, waits for what is on its way, and says what it took.
pub(crate) fn run(
    contender: &mut Contender,
    crowd: &mut Crowd,
    channels: Channels,
    plan: Plan,
    length: Duration,
) -> io::Result<Measured> {
    crowd.restart();
    machine::settle();
    let cpu_before = machine::cpu_time(contender.process());
    let began = Instant::now();
    let mut round = Round {
        plan,
        fan: crowd.len() as u64 / channels.step(),
        began,
        end: began + length,
        published: 0,
    };
    let mut progress = (0, began);
    loop {
        let timeout = round.publish(contender, crowd)?;
        let expected = round.published * round.fan;
        let now = Instant::now();
        if now >= round.end && crowd.tally.accounted() >= expected {
            break;
        }
        if crowd.tally.deliveries > progress.0 || crowd.tally.accounted() >= expected {
            progress = (crowd.tally.deliveries, now);
        } else if now - progress.1 > PATIENCE {
            break;
        }
        if crowd.turn(timeout)? {
            contender.handle_event()?;
        }
    }
    let wall = crowd.tally.last_at.unwrap_or(began) - began;
    linger(contender, crowd)?;
    let cpu = machine::cpu_time(contender.process()) - cpu_before;
    let mut tally = crowd.tally.clone();
    let came = tally.deliveries + tally.faults.out_of_order;
    tally.faults.missing = (round.published * round.fan).saturating_sub(came);
    let units = tally.deliveries;
    Ok(Measured {
        tally,
        units,
        cpu,
        wall,
    })
}

/// What comes though nothing is due any more is counted as well.
fn linger(contender: &mut Contender, crowd: &mut Crowd) -> io::Result<()> {
    let end = Instant::now() + LINGER;
    while Instant::now() < end {
        if crowd.turn(LINGER / 4)? {
            contender.handle_event()?;
        }
    }
    Ok(())
}

struct Round {
    plan: Plan,
    /// Clients a message.
    fan: u64,
    began: Instant,
    end: Instant,
    published: u64,
}

impl Round {
    /// Publishes what is due, and says when to look again.
    fn publish(&mut self, contender: &mut Contender, crowd: &mut Crowd) -> io::Result<Duration> {
        let burst = self.plan.burst;
        let spins = self.plan.spin && matches!(self.plan.pace, Pace::Window(_));
        let mut timeout = if spins {
            Duration::ZERO
        } else {
            Duration::from_millis(100)
        };
        let before = self.published;
        loop {
            let now = Instant::now();
            let due = match self.plan.pace {
                Pace::Window(window) => {
                    let arrived = crowd.tally.accounted();
                    let open = (self.published + burst) * self.fan <= arrived + window * self.fan;
                    if open { now } else { break }
                }
                Pace::PerSecond(rate) => {
                    let due = self.began + Duration::from_secs(self.published) / rate;
                    // `poll` rounds up to milliseconds: the last one is spent awake.
                    let wait = due.saturating_duration_since(now);
                    timeout = wait.saturating_sub(Duration::from_millis(1)).min(timeout);
                    due
                }
            };
            if due > now || due >= self.end {
                break;
            }
            // A message that is late counts from when it was due.
            contender.publish(crowd.publish(burst, due));
            self.published += burst;
        }
        if self.published > before {
            contender.flush()?;
        }
        Ok(timeout)
    }
}

/// Duplicates would come within.
const LINGER: Duration = Duration::from_millis(10);
