//! TLS that was given up on the way to a session, as `sslmode=prefer` allows.
//!
//! Remembers why, from the attempt that failed to the session that goes on in clear text, and
//! warns once of each change. Knows neither routes nor servers.

use super::role::Role;

/// Why the session of one connection has no TLS.
#[derive(Debug, Default)]
pub(super) struct Downgrade {
    /// Why this attempt is made without TLS, though the one before asked for it.
    attempt: Option<String>,
    /// Why the last session that came up went on in clear text.
    session: Option<String>,
    /// Whether the last session that came up had TLS.
    was_secure: bool,
}

impl Downgrade {
    /// The next attempt is planned; `reason` is given where it gives up TLS.
    pub(super) fn handle_attempt(&mut self, reason: Option<String>) {
        self.attempt = reason;
    }

    /// The session is up. `is_offered` is whether it asked for TLS and may do without.
    pub(super) fn handle_up(&mut self, role: Role, is_secure: bool, is_offered: bool) {
        let was_secure = std::mem::replace(&mut self.was_secure, is_secure);
        let attempt = self.attempt.take();
        let before = self.session.take();
        if is_secure || !is_offered {
            return;
        }
        self.session = attempt
            .or_else(|| was_secure.then(|| NO_LONGER_OFFERED.to_owned()))
            .or_else(|| before.clone().filter(|before| before == NO_LONGER_OFFERED));
        match &self.session {
            Some(reason) if before.as_ref() != Some(reason) => tracing::warn!(
                target: "alle::postgres",
                "{role} session: TLS failed ({reason}); going on in clear text, as sslmode=prefer allows"
            ),
            Some(_) | None => {}
        }
    }

    /// Why the last session that came up went on in clear text, if TLS was given up for it.
    pub(super) fn reason(&self) -> Option<&str> {
        self.session.as_deref()
    }
}

const NO_LONGER_OFFERED: &str = "the server offers none, which the session before had";
