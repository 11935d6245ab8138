//! The rows of TLS towards clients.
//!
//! As the others, in the order of the table, which names each of them.

use alle::ClientAuth;

use super::{Default, Flag, ROW, Value};
use crate::cli::command::CommandName::{self, Check, Config, Demo, Health, Serve};

/// What asks a bridge on this machine has to know whether it speaks TLS.
pub(super) const OF_SERVE_AND_HEALTH: &[CommandName] = &[Serve, Check, Config, Health];

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
pub(super) const CLIENT_CA: Flag = Flag {
    long: "tls-client-ca",
    value: Value::File(|it, path| it.bridge.tls.client_ca = Some(path.into())),
    help: "Take a certificate that an authority in FILE signed (PEM) as a token is taken: it says who the \
           client is",
    ..ROW
};
pub(super) const CLIENT_AUTH: Flag = Flag {
    long: "tls-client-auth",
    value: Value::Text("HOW", |it, how| {
        it.bridge.tls.client_auth = match how {
            "require" => ClientAuth::Require,
            "allow" => ClientAuth::Allow,
            _ => {
                return Err(format!(
                    "--tls-client-auth takes require or allow, not '{how}'"
                ));
            }
        };
        Ok(())
    }),
    default: Default::Typed("require"),
    help: "Refuse clients without such a certificate, or allow them to come with a token: HOW is require or \
           allow",
    ..ROW
};
pub(super) const DEMO: Flag = Flag {
    long: "tls",
    value: Value::Switch(|it, is_on| it.demo_tls = is_on),
    commands: &[Demo],
    help: "Speak TLS with clients, by a certificate made for this run",
    ..ROW
};
