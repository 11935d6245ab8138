//! The rows of the proxies that say for whom they speak.
//!
//! As the others, in the order of the table, which names each of them.

use super::{Default, Flag, ROW, Settings, Value, tls::OF_SERVE_AND_HEALTH};

pub(super) const TRUSTED_PROXY: Flag = Flag {
    long: "trusted-proxy",
    commands: OF_SERVE_AND_HEALTH,
    value: Value::List("CIDRS", Settings::set_trusted_proxies),
    default: Default::Described("nobody"),
    help: "Believe the proxies of these addresses and networks, as 10.0.0.0/8, when they say for whom \
           they speak; comma separated or repeated",
    ..ROW
};
pub(super) const PROXY_HEADER: Flag = Flag {
    long: "proxy-header",
    value: Value::Text("HEADER", Settings::set_proxy_header),
    default: Default::Typed("x-forwarded-for"),
    help: "Read the address of a client in this header of a trusted proxy, x-forwarded-for or \
           forwarded, and never in the other",
    ..ROW
};
pub(super) const PROXY_PROTOCOL: Flag = Flag {
    long: "proxy-protocol",
    commands: OF_SERVE_AND_HEALTH,
    value: Value::Switch(|it, is_on| it.bridge.proxies.proxy_protocol = is_on),
    help: "Expect a PROXY preamble, version 1 or 2, on each connection of a trusted proxy, and take no \
           other connections",
    ..ROW
};
