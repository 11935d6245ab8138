//! The rows of how tokens come, and of the function that says whose they are.
//!
//! As the others, in the order of the table, which names each of them.

use std::time::Duration;

use super::{Default, Flag, ROW, Value};
use crate::cli::command::CommandName::{Check, Config, Doctor, Serve};

pub(super) const TOKEN_COOKIE: Flag = Flag {
    long: "token-cookie",
    value: Value::Text("NAME", |it, name| {
        it.bridge.token_cookie = Some(name.to_owned());
        Ok(())
    }),
    default: Default::Described("no cookie"),
    help: "Take the token also from the cookie of this name, for pages of the bridge's own and of \
           --allow-origin",
    ..ROW
};
pub(super) const FUNCTION: Flag = Flag {
    long: "auth-function",
    value: Value::Text("SCHEMA.NAME", |it, name| {
        it.bridge.auth_function = Some(name.to_owned());
        Ok(())
    }),
    default: Default::Described("the database is not asked"),
    help: "Ask this function of the database whose a token is that is neither a JWT nor in \
           --token-file",
    commands: &[Serve, Doctor, Check, Config],
    ..ROW
};
pub(super) const OFFLINE: Flag = Flag {
    long: "offline",
    value: Value::Switch(|it, is_on| it.offline = is_on),
    commands: &[Check],
    help: "Do not connect to PostgreSQL, which is asked for the function of --auth-function",
    ..ROW
};
pub(super) const CACHE: Flag = Flag {
    long: "auth-cache",
    value: Value::Count(0, |it, count| it.bridge.limits.verdicts_max = count),
    default: Default::Typed("10000"),
    help: "Remember what the function said of N tokens: a yes for 60 s, a no for 5 s",
    ..ROW
};
pub(super) const TIMEOUT: Flag = Flag {
    long: "auth-timeout",
    value: Value::Span(Duration::from_secs(60 * 60), |it, timeout| {
        it.bridge.limits.verdict_timeout = timeout;
    }),
    default: Default::Typed("30"),
    help: "Let a client wait SECONDS for the function, an hour at most; then 1013, or 503",
    ..ROW
};
