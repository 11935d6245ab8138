//! What a hub is started with.

use std::time::Duration;

use crate::{
    access::{Access, origins::OriginPolicy},
    channel::Channel,
    config::Limits,
};

/// Who may connect, what they see, and what they may cost.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What each peer may cost.
    pub limits: Limits,
    /// Who is let in, and may do what.
    pub access: Access,
    /// Which web pages may talk to the admin address, where there is one.
    pub admin_origins: Option<OriginPolicy>,
    /// The page at `GET /`.
    pub page: Option<&'static str>,
    /// Listened to from the start.
    pub channels: Vec<Channel>,
    /// For how long a channel stays listened to after its last subscriber left.
    pub unlisten_delay: Duration,
    /// Random: the first half of every epoch, and the jitter of reconnects.
    pub seed: u64,
}
