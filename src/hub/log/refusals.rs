//! What strangers make us log: for each cause one line a second, the rest counted.
//!
//! Owns when a line is due. Anybody may be refused as often as they like.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    http::response::Status,
    hub::{
        site::Lost,
        subprotocol::{NEWEST, Offer},
    },
};

/// The refusals of the last second, and what was said before.
#[derive(Debug, Default)]
pub(in crate::hub) struct Refusals {
    /// By cause, of which there are few.
    recent: BTreeMap<Cause, Recent>,
    /// The log says which subprotocol to offer.
    has_told_subprotocol: bool,
    /// The log says what the proxy in between has to pass on, by what it did not.
    has_told_lost: BTreeSet<&'static str>,
}

/// Why a line is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// A response with this code.
    Status(u16),
    /// A connection that was closed for want of a preamble.
    Preamble,
}

/// As in `refused 192.0.2.1 with 403`.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A reader of events, who gives up for ever at any other status.
            Self::Status(200) => f.write_str(" for now"),
            Self::Status(code) => write!(f, " with {code}"),
            Self::Preamble => f.write_str(" unheard"),
        }
    }
}

#[derive(Debug)]
struct Recent {
    /// When the last line was written.
    logged_at: Instant,
    /// Refusals since, without a line.
    unlogged: u64,
}

impl Refusals {
    /// Says in the log why a peer is refused, unless others were with this status within the second.
    pub(in crate::hub) fn log(
        &mut self,
        status: Status,
        reason: &str,
        peer: Option<IpAddr>,
        now: Instant,
    ) {
        self.log_cause(Cause::Status(status.code()), reason, peer, now);
    }

    /// The same of a connection that is closed since its proxy does not say for whom it is.
    pub(in crate::hub) fn log_preamble(
        &mut self,
        reason: &str,
        peer: Option<IpAddr>,
        now: Instant,
    ) {
        self.log_cause(Cause::Preamble, reason, peer, now);
    }

    fn log_cause(&mut self, cause: Cause, reason: &str, peer: Option<IpAddr>, now: Instant) {
        let whom = peer.map_or_else(|| "a client".to_owned(), |peer| peer.to_string());
        if self.note(cause, now) {
            tracing::warn!(target: "alle::client", "refused {whom}{cause}: {reason}");
        } else {
            tracing::debug!(target: "alle::client", "refused {whom}{cause}: {reason}");
        }
    }

    /// Says in the log, once each, what a proxy in between has to do.
    pub(in crate::hub) fn note_lost(&mut self, lost: Lost) {
        let Lost { what, why, .. } = lost;
        if self.has_told_lost.insert(what) {
            tracing::warn!(target: "alle::client", "{what}: {why}");
        }
    }

    /// Says in the log, once, which subprotocol to offer.
    pub(in crate::hub) fn note_offer(&mut self, offer: &Offer) {
        if offer.is_foreign && !std::mem::replace(&mut self.has_told_subprotocol, true) {
            tracing::warn!(
                target: "alle::client",
                "a client offers subprotocols of which none is spoken here, and most clients end \
                 the connection then: offer \"{NEWEST}\", or none"
            );
        }
    }

    /// Says how many were refused without a word.
    pub(in crate::hub) fn handle_timeout(&mut self, now: Instant) {
        while let Some((cause, count)) = self.poll(now) {
            tracing::warn!(target: "alle::client", "refused {count} more{cause} since");
        }
    }

    /// When [`Self::handle_timeout`] has something to say.
    pub(in crate::hub) fn poll_timeout(&self) -> Option<Instant> {
        let counted = self.recent.values().filter(|it| it.unlogged > 0);
        counted.map(|it| it.logged_at + LINE_INTERVAL).min()
    }

    /// Somebody is refused for this now; whether that is worth a line.
    fn note(&mut self, cause: Cause, now: Instant) -> bool {
        match self.recent.get_mut(&cause) {
            Some(recent) if now < recent.logged_at + LINE_INTERVAL || recent.unlogged > 0 => {
                recent.unlogged += 1;
                false
            }
            Some(_) | None => {
                let recent = Recent {
                    logged_at: now,
                    unlogged: 0,
                };
                self.recent.insert(cause, recent);
                true
            }
        }
    }

    /// A cause, and how often it was there without a line, once that is worth one.
    fn poll(&mut self, now: Instant) -> Option<(Cause, u64)> {
        let is_due = |it: &Recent| it.unlogged > 0 && now >= it.logged_at + LINE_INTERVAL;
        let (&cause, recent) = self.recent.iter_mut().find(|(_, it)| is_due(it))?;
        recent.logged_at = now;
        Some((cause, std::mem::take(&mut recent.unlogged)))
    }
}

/// For each cause, at most one line in this time.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn a_cause_is_worth_a_line_a_second_and_the_rest_is_counted() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut refusals = Refusals::default();
        let forbidden = Cause::Status(403);
        assert!(refusals.note(forbidden, at(0)));
        assert_eq!(refusals.poll_timeout(), None);
        for _ in 0..1_000 {
            assert!(!refusals.note(forbidden, at(1)));
        }
        assert!(refusals.note(Cause::Preamble, at(1)), "another one");
        assert_eq!(refusals.poll_timeout(), Some(at(1_000)));
        assert_eq!(refusals.poll(at(999)), None);
        assert!(!refusals.note(forbidden, at(1_000)), "counted with them");
        assert_eq!(refusals.poll(at(1_000)), Some((forbidden, 1_001)));
        assert_eq!(refusals.poll(at(1_000)), None);
        assert!(!refusals.note(forbidden, at(1_999)));
        assert_eq!(refusals.poll(at(2_000)), Some((forbidden, 1)));
        assert_eq!(refusals.poll_timeout(), None);
        assert!(refusals.note(forbidden, at(3_000)), "a second later");
    }
}
