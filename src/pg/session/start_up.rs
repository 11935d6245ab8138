//! How far a session has come on its way to its first request.
//!
//! Tells a server that is silent from one that asks, and from one that let us in and has nobody to
//! serve us. Knows no time.

use super::{Phase, Session};

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
}
