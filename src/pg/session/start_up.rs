//! How far a session has come on its way to its first request.
//!
//! Tells a server that is silent from one that asks, and from one that let us in and has nobody to
//! serve us. Knows no time.

use super::{KeyDerivation, Phase, SaltedPassword, Session};

/// What a session waits for before it takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartUp {
    /// The first byte of the server.
    Greeting,
    /// The end of the authentication.
    Authentication,
    /// The session itself: the server knows who we are.
    Admission,
    /// The answer to our first query: the session has begun.
    FirstQuery,
}

impl Session {
    /// What is waited for; `None` once the session takes requests, and after its end.
    pub fn start_up(&self) -> Option<StartUp> {
        match &self.phase {
            Phase::Authenticating(_) if self.is_answered => Some(StartUp::Authentication),
            Phase::Authenticating(_) => Some(StartUp::Greeting),
            Phase::Starting => Some(StartUp::Admission),
            Phase::SettingUp { .. } => Some(StartUp::FirstQuery),
            Phase::Ready | Phase::Closing | Phase::Failing(_) | Phase::Over => None,
        }
    }

    /// The key that SCRAM wants derived, once it is known: run it where it may take seconds, and
    /// give the outcome to [`Self::handle_key`]. Look for it when [`Self::poll_event`] has nothing.
    pub fn take_key_derivation(&mut self) -> Option<KeyDerivation> {
        match &mut self.phase {
            Phase::Authenticating(authentication) => authentication.take_key_derivation(),
            Phase::Starting
            | Phase::SettingUp { .. }
            | Phase::Ready
            | Phase::Closing
            | Phase::Failing(_)
            | Phase::Over => None,
        }
    }

    /// In how many rounds the key is derived, from the server's asking to [`Self::handle_key`].
    pub fn key_iterations(&self) -> Option<u32> {
        match &self.phase {
            Phase::Authenticating(authentication) => authentication.key_iterations(),
            Phase::Starting
            | Phase::SettingUp { .. }
            | Phase::Ready
            | Phase::Closing
            | Phase::Failing(_)
            | Phase::Over => None,
        }
    }

    /// The key is derived; what follows from it is queued.
    pub fn handle_key(&mut self, key: &SaltedPassword) {
        if let Phase::Authenticating(authentication) = &mut self.phase
            && let Err(error) = authentication.handle_key(key, self.outbox.tail())
        {
            self.outbox.clear();
            self.phase = Phase::Failing(error);
        }
    }
}
