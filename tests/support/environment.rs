//! The environment of a program under test: without the variables of this process.

use std::{env, process::Command};

/// Removes from `command` all variables that are settings of `alle`, of libpq or of a service
/// manager. To be called before a test sets its own.
pub fn clean(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let is_setting = name.to_str().is_some_and(|name| {
            let is_ours = name.starts_with("ALLE_") && name != POSTGRES_PROGRAMS;
            is_ours || name.starts_with("PG") || SETTINGS.contains(&name)
        });
        if is_setting {
            command.env_remove(name);
        }
    }
}

/// The place of PostgreSQL's programs is a setting of the machine, not of a test.
const POSTGRES_PROGRAMS: &str = "ALLE_PG_BIN";
const SETTINGS: [&str; 9] = [
    "LISTEN_CHANNELS",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "POSTGRES_URL",
    "RUST_LOG",
    "WS_BIND_ADDR",
    "WS_URL",
];
