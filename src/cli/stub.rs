//! Stands in for the parts of the library that are not there yet, with their names.

#![expect(dead_code, reason = "the stand-in does nothing yet")]

use std::{fmt, net::SocketAddr};

/// `alle::BridgeConfig`.
pub(super) struct BridgeConfig {
    postgres_url: String,
    ws_bind_addr: String,
}

impl BridgeConfig {
    pub(super) fn new(postgres_url: impl Into<String>, ws_bind_addr: impl Into<String>) -> Self {
        Self {
            postgres_url: postgres_url.into(),
            ws_bind_addr: ws_bind_addr.into(),
        }
    }

    pub(super) fn with_channels(self, _: Vec<String>) -> Self {
        self
    }

    pub(super) fn with_playground(self, _: bool) -> Self {
        self
    }

    pub(super) fn with_allow_origins(self, _: Vec<String>) -> Self {
        self
    }

    pub(super) fn with_allow_hosts(self, _: Vec<String>) -> Self {
        self
    }
}

/// `alle::Bridge`.
pub(super) struct Bridge(BridgeConfig);

impl Bridge {
    pub(super) fn new(config: BridgeConfig) -> Self {
        Self(config)
    }

    pub(super) fn handle(&self) -> Handle {
        Handle
    }

    pub(super) fn with_signals(self) -> Self {
        self
    }

    pub(super) fn run(self) -> Result<(), BridgeError> {
        let BridgeConfig {
            postgres_url,
            ws_bind_addr,
        } = self.0;
        if !postgres_url.starts_with("postgres") {
            return Err(BridgeError(
                format!("PostgreSQL URL '{postgres_url}' is malformed"),
                true,
            ));
        }
        if ws_bind_addr.parse::<SocketAddr>().is_err() {
            return Err(BridgeError(
                format!("address '{ws_bind_addr}' is malformed"),
                true,
            ));
        }
        Err(BridgeError("there is no bridge yet".to_owned(), false))
    }
}

/// `alle::Handle`.
#[derive(Clone)]
pub(super) struct Handle;

impl Handle {
    pub(super) fn stop(&self) {}

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}

/// `alle::BridgeError`.
#[derive(Debug)]
pub(super) struct BridgeError(String, bool);

impl BridgeError {
    pub(super) fn is_usage(&self) -> bool {
        self.1
    }
}

impl fmt::Display for BridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
