//! What a hub is started with.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use super::{Page, group::GroupSettings};
use crate::{
    access::{Access, origins::OriginPolicy, proxies::TrustedProxies},
    channel::Channel,
    config::Limits,
    metrics::Process,
    pg::function::FunctionName,
};

/// Who may connect, what they see, and what they may cost.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// What each peer may cost.
    pub limits: Limits,
    /// Who is let in, and may do what.
    pub access: Access,
    /// Whether the program around us is told of clients and of the bridge as they come and go.
    pub tells_lifecycle: bool,
    /// What is asked about tokens that nobody else knows; `access` says so, too.
    pub function: Option<FunctionName>,
    /// Which web pages may talk to the admin address, where there is one.
    pub admin_origins: Option<OriginPolicy>,
    /// Whom it believes about the addresses of clients.
    pub proxies: TrustedProxies,
    /// The page at `GET /` and the module at `GET /alle.js`.
    pub page: Option<Page>,
    /// Listened to from the start.
    pub channels: Vec<Channel>,
    /// For how long a channel stays listened to after its last subscriber left, however it left.
    /// `None`: for 10 s, unless that said that it is done.
    pub unlisten_delay: Option<Duration>,
    /// The group that the bridge belongs to.
    pub group: Option<GroupSettings>,
    /// Random: the first half of every epoch, which clients see.
    pub epoch_seed: u64,
    /// Random and told to nobody, for what the sessions to PostgreSQL do: a notification that
    /// proves something must not follow from anything that clients see.
    pub backend_seed: u64,
    /// Lines that the program's log dropped: counted elsewhere, told with the metrics.
    pub log_lines_dropped: Arc<AtomicU64>,
    /// Tells what the process costs, for the metrics: counted by the operating system.
    pub process: Option<fn() -> Process>,
}
