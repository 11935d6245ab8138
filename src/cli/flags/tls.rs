//! The rows of TLS towards clients.
//!
//! As the others, in the order of the table, which names each of them.

use super::{Flag, ROW, Value};
use crate::cli::command::CommandName::{self, Check, Config, Demo, Health, Serve};

/// What asks a bridge on this machine has to know whether it speaks TLS.
const OF_SERVE_AND_HEALTH: &[CommandName] = &[Serve, Check, Config, Health];

pub(super) const CERTIFICATE: Flag = Flag {
    long: "tls-cert",
    value: Value::Files(|it, paths| it.bridge.tls.certificates = paths),
    commands: OF_SERVE_AND_HEALTH,
    help: "Speak TLS with clients (wss:// and https:// alone), by the certificate and its chain in FILE \
           (PEM); comma separated or repeated, the name that a client asks for chooses",
    ..ROW
};
pub(super) const KEY: Flag = Flag {
    long: "tls-key",
    value: Value::Files(|it, paths| it.bridge.tls.keys = paths),
    commands: OF_SERVE_AND_HEALTH,
    help: "The key of each --tls-cert, in the same order (PEM)",
    ..ROW
};
pub(super) const ADMIN: Flag = Flag {
    long: "admin-tls",
    value: Value::Switch(|it, is_on| it.bridge.tls.admin = is_on),
    commands: OF_SERVE_AND_HEALTH,
    help: "Speak TLS at --admin-addr, too",
    ..ROW
};
pub(super) const DEMO: Flag = Flag {
    long: "tls",
    value: Value::Switch(|it, is_on| it.demo_tls = is_on),
    commands: &[Demo],
    help: "Speak TLS with clients, by a certificate made for this run",
    ..ROW
};
