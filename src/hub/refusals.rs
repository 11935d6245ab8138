//! What strangers make us log: for each status one line a second, the rest counted.
//!
//! Owns when a line is due. Anybody may be refused as often as they like.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::subprotocol::{NEWEST, Offer};
use crate::http::response::Status;

/// The refusals of the last second, and what was said before.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// By code, of which there are few.
    recent: BTreeMap<u16, Recent>,
    /// The log says which subprotocol to offer.
    has_told_subprotocol: bool,
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
    pub(super) fn log(&mut self, status: Status, reason: &str, peer: Option<IpAddr>, now: Instant) {
        if self.note(status, now) {
            let code = status.code();
            match peer {
                Some(peer) => tracing::warn!("refused {peer} with {code}: {reason}"),
                None => tracing::warn!("refused a client with {code}: {reason}"),
            }
        }
    }

    /// Says in the log, once, which subprotocol to offer.
    pub(super) fn note_offer(&mut self, offer: &Offer) {
        if offer.is_foreign && !std::mem::replace(&mut self.has_told_subprotocol, true) {
            tracing::warn!(
                "a client offers subprotocols of which none is spoken here, and most clients end \
                 the connection then: offer \"{NEWEST}\", or none"
            );
        }
    }

    /// Says how many were refused without a word.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some((code, count)) = self.poll(now) {
            tracing::warn!("refused {count} more with {code} since");
        }
    }

    /// When [`Self::handle_timeout`] has something to say.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let counted = self.recent.values().filter(|it| it.unlogged > 0);
        counted.map(|it| it.logged_at + LINE_INTERVAL).min()
    }

    /// Somebody is refused with this status now; whether that is worth a line.
    fn note(&mut self, status: Status, now: Instant) -> bool {
        match self.recent.get_mut(&status.code()) {
            Some(recent) if now < recent.logged_at + LINE_INTERVAL || recent.unlogged > 0 => {
                recent.unlogged += 1;
                false
            }
            Some(_) | None => {
                let recent = Recent {
                    logged_at: now,
                    unlogged: 0,
                };
                self.recent.insert(status.code(), recent);
                true
            }
        }
    }

    /// A code, and how often it was given without a line, once that is worth one.
    fn poll(&mut self, now: Instant) -> Option<(u16, u64)> {
        let is_due = |it: &Recent| it.unlogged > 0 && now >= it.logged_at + LINE_INTERVAL;
        let (&code, recent) = self.recent.iter_mut().find(|(_, it)| is_due(it))?;
        recent.logged_at = now;
        Some((code, std::mem::take(&mut recent.unlogged)))
    }
}

/// For each status, at most one line in this time.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn a_status_is_worth_a_line_a_second_and_the_rest_is_counted() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut refusals = Refusals::default();
        assert!(refusals.note(Status::Forbidden, at(0)));
        assert_eq!(refusals.poll_timeout(), None);
        for _ in 0..1_000 {
            assert!(!refusals.note(Status::Forbidden, at(1)));
        }
        assert!(refusals.note(Status::Unauthorized, at(1)), "another one");
        assert_eq!(refusals.poll_timeout(), Some(at(1_000)));
        assert_eq!(refusals.poll(at(999)), None);
        assert!(
            !refusals.note(Status::Forbidden, at(1_000)),
            "counted with them"
        );
        assert_eq!(refusals.poll(at(1_000)), Some((403, 1_001)));
        assert_eq!(refusals.poll(at(1_000)), None);
        assert!(!refusals.note(Status::Forbidden, at(1_999)));
        assert_eq!(refusals.poll(at(2_000)), Some((403, 1)));
        assert_eq!(refusals.poll_timeout(), None);
        assert!(
            refusals.note(Status::Forbidden, at(3_000)),
            "a second later"
        );
    }
}
