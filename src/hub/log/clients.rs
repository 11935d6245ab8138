//! One line of the log for each client, at its end: who it was, how long it stayed, and what passed.
//!
//! Keeps what such a line needs and nobody else remembers, and only where the log takes such lines. Owns
//! how many are written in a second; the others are counted, and told. No delivery is counted for it: a
//! channel counts its notifications anyway, and what a client got of it is the difference between the
//! count at the client's subscribe and that at its end. Knows neither phases nor channels.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{escape::escaped, http::fields::Fields, metrics::Metrics};

/// The lines, and what they will need.
#[derive(Debug, Default)]
pub(in crate::hub) struct ClientLog {
    /// By slot; empty while the log takes no such lines.
    stays: Vec<Option<Box<Stay>>>,
    /// The second that began with a line, and its lines.
    second: Option<(Instant, u32)>,
    /// Clients that left without a line and are not told yet, and when they are to be.
    omitted: Option<(u64, Instant)>,
}

/// What is remembered of a client for its line.
#[derive(Debug)]
struct Stay {
    began: Instant,
    user_agent: Option<Box<str>>,
    messages_in: u64,
    /// While it is subscribed to a channel, less what that had counted before: it wraps.
    messages_out: u64,
}

/// How a client ended.
#[derive(Debug)]
pub(in crate::hub) struct End<'a> {
    pub(in crate::hub) address: Option<IpAddr>,
    pub(in crate::hub) identity: Option<&'a str>,
    /// Of the close frame; `None`: there was none.
    pub(in crate::hub) code: Option<u16>,
    pub(in crate::hub) reason: &'static str,
}

impl ClientLog {
    /// A request becomes a client now.
    pub(in crate::hub) fn begin(&mut self, slot: u32, fields: &Fields<'_>, now: Instant) {
        if !is_on() {
            return;
        }
        let user_agent = fields.values("User-Agent").next();
        let at = slot as usize;
        if self.stays.len() <= at {
            self.stays.resize_with(at + 1, || None);
        }
        self.stays[at] = Some(Box::new(Stay {
            began: now,
            user_agent: user_agent.map(|it| shown(&String::from_utf8_lossy(it)).into()),
            messages_in: 0,
            messages_out: 0,
        }));
    }

    /// A message came from the client.
    pub(in crate::hub) fn note_input(&mut self, slot: u32) {
        if let Some(stay) = self.stay_mut(slot) {
            stay.messages_in += 1;
        }
    }

    /// So many messages go to the client, notifications of its channels aside.
    pub(in crate::hub) fn note_output(&mut self, slot: u32, count: u64) {
        if let Some(stay) = self.stay_mut(slot) {
            stay.messages_out = stay.messages_out.wrapping_add(count);
        }
    }

    /// The client is subscribed from now on to a channel that has counted so many notifications.
    pub(in crate::hub) fn note_linked(&mut self, slot: u32, counted: u64) {
        self.note_output(slot, counted.wrapping_neg());
    }

    /// The client is subscribed no longer to a channel that has counted so many by now.
    pub(in crate::hub) fn note_unlinked(&mut self, slot: u32, counted: u64) {
        self.note_output(slot, counted);
    }

    /// The client of this slot is gone, or never was one.
    pub(in crate::hub) fn forget(&mut self, slot: u32) {
        if let Some(stay) = self.stays.get_mut(slot as usize) {
            *stay = None;
        }
    }

    /// The client ends. `counted` has what each of its channels has counted by now.
    pub(in crate::hub) fn end(
        &mut self,
        slot: u32,
        end: &End<'_>,
        counted: impl Iterator<Item = u64>,
        now: Instant,
        metrics: &mut Metrics,
    ) {
        let stay = self.stays.get_mut(slot as usize).and_then(Option::take);
        if !is_on() {
            return;
        }
        if !self.has_line(now) {
            self.note_omitted(now);
            metrics.client_lines_omitted += 1;
            return;
        }
        let (subscriptions, heard) = counted.fold((0_u64, 0_u64), |(count, sum), it| {
            (count + 1, sum.wrapping_add(it))
        });
        let stay = stay.as_deref();
        tracing::info!(
            target: "alle::client",
            address = end.address.map(tracing::field::display),
            identity = end.identity.map(shown).as_deref(),
            user_agent = stay.and_then(|it| it.user_agent.as_deref()),
            code = end.code,
            reason = end.reason,
            seconds = stay.map(|it| seconds(now.saturating_duration_since(it.began))),
            subscriptions,
            messages_in = stay.map(|it| it.messages_in),
            messages_out = stay.map(|it| it.messages_out.wrapping_add(heard)),
            "a client left"
        );
    }

    /// Says how many clients left without a line.
    pub(in crate::hub) fn handle_timeout(&mut self, now: Instant) {
        if let Some((omitted, _)) = self.omitted.take_if(|(_, tell_at)| *tell_at <= now) {
            tracing::info!(target: "alle::client", "{omitted} more clients left since");
        }
    }

    /// When [`Self::handle_timeout`] has something to say.
    pub(in crate::hub) fn poll_timeout(&self) -> Option<Instant> {
        self.omitted.map(|(_, tell_at)| tell_at)
    }

    /// Whether another line may be written now.
    fn has_line(&mut self, now: Instant) -> bool {
        let (began, lines) = match self.second {
            Some((began, lines)) if now < began + SECOND => (began, lines),
            Some(_) | None => (now, 0),
        };
        let is_left = lines < LINES_MAX;
        self.second = Some((began, lines + u32::from(is_left)));
        is_left
    }

    fn note_omitted(&mut self, now: Instant) {
        let (omitted, tell_at) = self.omitted.unwrap_or((0, now + SECOND));
        self.omitted = Some((omitted + 1, tell_at));
    }

    fn stay_mut(&mut self, slot: u32) -> Option<&mut Stay> {
        self.stays.get_mut(slot as usize)?.as_deref_mut()
    }
}

/// Whether the log takes such lines.
fn is_on() -> bool {
    tracing::enabled!(target: "alle::client", tracing::Level::INFO)
}

/// What a stranger wrote, escaped, and cut at a character.
fn shown(text: &str) -> String {
    let mut bytes = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(bytes) {
        bytes -= 1;
    }
    escaped(&text[..bytes]).into_owned()
}

/// In thousandths.
#[expect(
    clippy::cast_precision_loss,
    reason = "of milliseconds, f64 counts those of 285,000 years"
)]
fn seconds(span: Duration) -> f64 {
    span.as_millis() as f64 / 1e3
}

const SECOND: Duration = Duration::from_secs(1);
/// Clients that have a line in a second.
const LINES_MAX: u32 = 50;
/// Of a user agent, or of an identity.
const TEXT_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    #[test]
    fn fifty_clients_have_a_line_in_a_second() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut log = ClientLog::default();
        for (moment, lines) in [
            (0, LINES_MAX),
            (999, 0),
            (1_000, LINES_MAX),
            (2_500, LINES_MAX),
        ] {
            let written = (0..60).filter(|_| log.has_line(at(moment))).count();
            assert_eq!(written, lines as usize, "{moment}");
        }
        assert_eq!(log.poll_timeout(), None);
        // Those of a storm that goes on are told all the same.
        for moment in [2_500, 2_501, 3_499] {
            log.note_omitted(at(moment));
            log.handle_timeout(at(moment));
        }
        assert_eq!(log.omitted, Some((3, at(3_500))));
        log.handle_timeout(at(3_500));
        assert_eq!(log.poll_timeout(), None);
    }

    #[test]
    fn a_client_costs_48_bytes_and_its_user_agent() {
        assert_eq!(size_of::<Stay>(), 48);
    }

    #[test]
    fn what_strangers_write_is_cut_at_128_bytes_and_escaped() {
        for (text, expected) in [
            ("x".repeat(128), "x".repeat(128)),
            ("x".repeat(129), "x".repeat(128)),
            ("x".repeat(127) + "é", "x".repeat(127)),
            (
                "a\u{9b}b\u{202e}".to_owned(),
                "a\\u{9b}b\\u{202e}".to_owned(),
            ),
        ] {
            assert_eq!(shown(&text), expected);
        }
    }
}
