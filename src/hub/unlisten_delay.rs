//! The channels that stay listened to though nobody uses them, each until no client is expected back.
//!
//! A client that said it is done does not come back. Any other may: its network failed, its page was
//! loaded again, or we closed it; within a while it finds its channels, and what it missed. One entry
//! a channel, however often clients come and go. Knows neither clients nor what PostgreSQL is asked.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{channel::ChannelKey, ws::close::CloseReason};

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// By an unsubscribe, or by a close frame of its own with 1000 or without a code.
    Done,
    /// In any other way: it may come back.
    Lost,
}

impl Parting {
    /// What the code of the peer's close frame says; 1000 for one without a code.
    pub(super) fn by_code(code: u16) -> Self {
        if code == CloseReason::Normal.code() {
            Self::Done
        } else {
            Self::Lost
        }
    }
}

/// How long a client is expected back, by how it left.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnlistenDelay {
    done: Duration,
    lost: Duration,
}

impl UnlistenDelay {
    /// What was asked for, however clients leave; or the default.
    pub(super) fn new(asked_for: Option<Duration>) -> Self {
        match asked_for.map(|delay| delay.min(DELAY_MAX)) {
            Some(delay) => Self {
                done: delay,
                lost: delay,
            },
            None => Self {
                done: Duration::ZERO,
                lost: RETURN_TIMEOUT,
            },
        }
    }

    fn of(self, parting: Parting) -> Duration {
        match parting {
            Parting::Done => self.done,
            Parting::Lost => self.lost,
        }
    }
}

/// The channels that are kept, and until when.
#[derive(Debug)]
pub(super) struct KeptChannels {
    delay: UnlistenDelay,
    /// By channel; grown on first use.
    states: Vec<State>,
    /// Those that are kept, by when that ends.
    kept: BTreeSet<(Instant, ChannelKey)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Until then a client that left the channel may come back.
    until: Option<Instant>,
    /// The channel is in `KeptChannels::kept`, with `until`.
    is_kept: bool,
}

impl KeptChannels {
    pub(super) fn new(delay: UnlistenDelay) -> Self {
        Self {
            delay,
            states: Vec::new(),
            kept: BTreeSet::new(),
        }
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether the channel is kept.
    pub(super) fn contains(&self, key: ChannelKey) -> bool {
        self.states.get(key.index()).is_some_and(|it| it.is_kept)
    }

    /// A client left the channel, which is not kept: it is expected back for a while.
    pub(super) fn handle_left(&mut self, key: ChannelKey, parting: Parting, now: Instant) {
        debug_assert!(
            !self.contains(key),
            "nobody leaves a channel without clients"
        );
        let until = now + self.delay.of(parting);
        if self.states.len() <= key.index() {
            self.states.resize(key.index() + 1, State::default());
        }
        let state = &mut self.states[key.index()];
        state.until = state.until.max(Some(until));
    }

    /// Nobody uses the channel any more. Whether it is kept, since a client may come back.
    pub(super) fn keep(&mut self, key: ChannelKey, now: Instant) -> bool {
        let Some(state) = self.states.get_mut(key.index()) else {
            return false;
        };
        let Some(until) = state.until.filter(|&until| until > now) else {
            return false;
        };
        state.is_kept = true;
        self.kept.insert((until, key));
        true
    }

    /// The channel is used again.
    pub(super) fn take(&mut self, key: ChannelKey) {
        if let Some(state) = self.states.get_mut(key.index()).filter(|it| it.is_kept) {
            state.is_kept = false;
            let until = state.until.expect("it is kept until then");
            self.kept.remove(&(until, key));
        }
    }

    /// The channel whose time is over first is kept no longer, so that another has its place.
    pub(super) fn pop_first(&mut self) -> Option<ChannelKey> {
        let (_, key) = self.kept.pop_first()?;
        self.states[key.index()] = State::default();
        Some(key)
    }

    /// The next channel whose time is over is kept no longer.
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<ChannelKey> {
        let due = self.poll_timeout().filter(|&until| until <= now);
        due.and_then(|_| self.pop_first())
    }

    /// When [`Self::poll_due`] is wanted.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.kept.first().map(|&(until, _)| until)
    }

    /// No channel is kept any more, and no client is expected back; those that were kept.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = ChannelKey> + use<> {
        self.states.clear();
        let kept = std::mem::take(&mut self.kept);
        kept.into_iter().map(|(_, key)| key)
    }

    /// The channel is known no longer: its key may come to name another.
    pub(super) fn forget(&mut self, key: ChannelKey) {
        debug_assert!(!self.contains(key), "a channel that is kept is known");
        if let Some(state) = self.states.get_mut(key.index()) {
            *state = State::default();
        }
    }

    /// Channels and their times agree.
    pub(super) fn check_invariants(&self) {
        let states = self.states.iter().filter(|it| it.is_kept);
        assert_eq!(states.count(), self.kept.len());
        for &(until, key) in &self.kept {
            assert_eq!(self.states[key.index()].until, Some(until), "{key:?}");
        }
    }
}

/// A client whose network failed comes back sooner, and so does a page that is loaded again.
const RETURN_TIMEOUT: Duration = Duration::from_secs(10);
/// For ever, as far as a process goes, and no more than may be added to an instant.
const DELAY_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_said_it_is_done_is_not_waited_for_unless_that_was_asked_for() {
        let [zero, three, ten] = [0, 3, 10].map(Duration::from_secs);
        for (asked_for, done, lost) in [
            (None, zero, ten),
            (Some(zero), zero, zero),
            (Some(three), three, three),
            (Some(Duration::MAX), DELAY_MAX, DELAY_MAX),
        ] {
            let delay = UnlistenDelay::new(asked_for);
            assert_eq!(delay.of(Parting::Done), done, "{asked_for:?}");
            assert_eq!(delay.of(Parting::Lost), lost, "{asked_for:?}");
        }
    }

    #[test]
    fn only_the_normal_code_says_that_a_client_is_done() {
        for (code, parting) in [
            (1000, Parting::Done),
            (1001, Parting::Lost),
            (1011, Parting::Lost),
            (3000, Parting::Lost),
            (4999, Parting::Lost),
        ] {
            assert_eq!(Parting::by_code(code), parting, "{code}");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Whoever was lost is waited for, whoever leaves behind it and says that it is done.
    #[test]
    fn a_channel_is_kept_for_the_client_that_may_come_back_last() {
        let now = start();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut kept = KeptChannels::new(UnlistenDelay::new(None));
        let [a, b] = [3, 5].map(ChannelKey);
        assert!(!kept.keep(a, now), "nobody ever left it");
        kept.handle_left(a, Parting::Lost, now);
        kept.handle_left(a, Parting::Done, after(1));
        assert!(kept.keep(a, after(1)));
        kept.handle_left(b, Parting::Done, after(1));
        assert!(!kept.keep(b, after(1)));
        assert_eq!((kept.len(), kept.poll_timeout()), (1, Some(after(10))));
        kept.check_invariants();
        kept.take(a);
        assert_eq!((kept.len(), kept.poll_due(after(99))), (0, None));
        kept.handle_left(a, Parting::Lost, after(2));
        assert!(kept.keep(a, after(2)));
        let before = after(12) - Duration::from_nanos(1);
        assert_eq!(kept.poll_due(before), None);
        assert_eq!(kept.poll_due(after(12)), Some(a));
        assert!(!kept.contains(a));
        kept.check_invariants();
    }

    #[test]
    fn the_channel_whose_time_is_over_first_gives_way() {
        let now = start();
        let mut kept = KeptChannels::new(UnlistenDelay::new(None));
        for key in [2, 0, 1] {
            let at = now + Duration::from_secs(key.into());
            kept.handle_left(ChannelKey(key), Parting::Lost, at);
            assert!(kept.keep(ChannelKey(key), at));
        }
        assert_eq!(kept.pop_first(), Some(ChannelKey(0)));
        assert!(kept.clear().eq([1, 2].map(ChannelKey)));
        assert_eq!(kept.pop_first(), None);
        kept.check_invariants();
    }
}
