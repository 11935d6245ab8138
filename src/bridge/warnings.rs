//! What is open to more people than whoever configured a bridge may know, said in its log at the start.
//!
//! Decides nothing: a bridge starts all the same.

use std::net::SocketAddr;

use crate::{access::jwt::Jwt, config::BridgeConfig};

/// Says in the log who can reach the bridge.
pub(super) fn warn_of_reach(address: SocketAddr, is_token_required: bool) {
    if !address.ip().is_loopback() && !is_token_required {
        tracing::warn!(
            target: "alle::bridge",
            "{address} can be reached from other machines, and no token is required there: \
             see --token-file"
        );
    }
}

/// Says what every valid JWT lets its bearer do, where nothing narrows it.
pub(super) fn warn_of_unbounded(config: &BridgeConfig) {
    let verb = match Jwt::is_unbounded(&config.jwt.rules, &config.permissions) {
        _ if !config.jwt.has_keys() => return,
        (true, true) => "subscribe and publish to every channel",
        (true, false) => "subscribe to every channel",
        (false, true) => "publish to every channel",
        (false, false) => return,
    };
    tracing::warn!(
        target: "alle::bridge",
        "every valid JWT lets its bearer {verb}: see --jwt-subscribe-claim, --jwt-publish-claim, \
         --allow-subscribe and --allow-publish"
    );
}
