//! How long a TCP connection may be dead before the system says so.
//!
//! Numbers as libpq reads them; what the system does with them is the reactor's to ask.

use std::time::Duration;

use super::{error::ConfigError, settings::Settings};

/// What is asked of the system for a TCP connection; `None` leaves a value to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// Whether a silent connection is probed at all.
    pub is_on: bool,
    /// Silence before the first probe.
    pub idle: Option<Duration>,
    /// From one probe to the next.
    pub interval: Option<Duration>,
    /// Probes without an answer that end the connection.
    pub count: Option<u32>,
    /// For how long what was sent may stay without an acknowledgement.
    pub user_timeout: Option<Duration>,
}

impl Default for Keepalive {
    /// Shorter than the system's: a bridge that waits for two hours has lost its clients.
    fn default() -> Self {
        Self {
            is_on: true,
            idle: Some(Duration::from_secs(30)),
            interval: Some(Duration::from_secs(10)),
            count: Some(3),
            user_timeout: Some(Duration::from_secs(30)),
        }
    }
}

impl Keepalive {
    pub(super) fn read(settings: &mut Settings) -> Result<Self, ConfigError> {
        let ours = Self::default();
        let seconds = |number: u32| Duration::from_secs(number.into());
        let milliseconds = |number: u32| Duration::from_millis(number.into());
        // Zero, and what is below it, asks for the system's own.
        let mut positive = |name, ours| {
            let given = number(settings, name)?;
            Ok(given.map_or(ours, |it| u32::try_from(it).ok().filter(|&it| it > 0)))
        };
        Ok(Self {
            idle: positive("keepalives_idle", Some(30))?.map(seconds),
            interval: positive("keepalives_interval", Some(10))?.map(seconds),
            count: positive("keepalives_count", ours.count)?,
            user_timeout: positive("tcp_user_timeout", Some(30_000))?.map(milliseconds),
            is_on: number(settings, "keepalives")?.is_none_or(|number| number != 0),
        })
    }
}

/// An integer, with space around it, as libpq takes it.
pub(super) fn number(
    settings: &mut Settings,
    name: &'static str,
) -> Result<Option<i32>, ConfigError> {
    let Some(value) = settings.take(name) else {
        return Ok(None);
    };
    match value.trim().parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(ConfigError::Value { name, value }),
    }
}
