//! The table of options: one row each, with all that is to know of it.
//!
//! Help, manual page, completions and the table of `docs/operating.md` are laid out from these
//! rows, and arguments and environment are read by them. A new option is a row here. Refuses to
//! know where a value comes from and how a row is shown.

mod auth;
mod jwt;
mod proxies;
mod row;
mod tls;
mod units;

use std::time::Duration;

use alle::BridgeConfig;

pub(crate) use self::row::{Default, Flag, Request, VARIABLE_PREFIX, Value, Variable};
use super::{
    command::CommandName::{
        self, Check, Config, Demo, Doctor, Health, Listen, Publish, Serve, Token,
    },
    settings::{self, DEFAULT_WS_BIND_ADDR, DEFAULT_WS_URL, Settings},
    token::{TOKEN_VARIABLE, TokenSource},
};

/// The rows of one command.
pub(crate) fn of(command: CommandName) -> impl Iterator<Item = &'static Flag> {
    FLAGS
        .iter()
        .filter(move |flag| flag.commands.contains(&command))
}

/// The rows of one command that are shown.
pub(crate) fn shown(command: CommandName) -> impl Iterator<Item = &'static Flag> {
    of(command).filter(|flag| !flag.help.is_empty())
}

/// A connection string that replaces another one: empty, it would quietly lead to this machine.
fn replacing(option: &str, url: &str) -> Result<Option<String>, String> {
    if url.is_empty() {
        return Err(format!("{option} takes a connection string, not ''"));
    }
    Ok(Some(url.to_owned()))
}

/// With less, nobody could even receive or send one message.
const MESSAGE_BYTES: usize = 64 * 1_024;
const DEMO_HAS_ITS_OWN: &str = "'alle demo' starts a PostgreSQL of its own, and takes no \
     --postgres-url; 'alle serve --playground' shows the page on another one";
const EVERY: &[CommandName] = &CommandName::ALL;
const CLIENTS: &[CommandName] = &[Listen, Publish];
/// Of the bridge, and of what looks at its configuration.
const OF_SERVE: &[CommandName] = &[Serve, Check, Config];
/// The option that names a file of the others.
pub(crate) const CONFIG: &str = "config";

/// What most rows are: an option of `alle serve` with the variable of its name.
const ROW: Flag = Flag {
    short: None,
    long: "",
    value: Value::Request(Request::Help),
    variable: Variable::OfName,
    default: Default::None,
    commands: OF_SERVE,
    help: "",
};

/// In the order in which they are shown.
pub(crate) static FLAGS: &[Flag] = &[
    Flag {
        long: CONFIG,
        value: Value::File(|_, _| {}),
        commands: &[Serve, Doctor, Check, Config, Health],
        help: "Read options from FILE, in TOML: a key for each, as max-clients = 100. A flag or a \
               variable wins over it",
        ..ROW
    },
    Flag {
        short: Some('p'),
        long: "postgres-url",
        value: Value::Secret("URL", |it, url| {
            it.bridge.postgres_url = url.to_owned();
            Ok(())
        }),
        variable: Variable::Named("POSTGRES_URL"),
        default: Default::Described(
            "postgresql://localhost/postgres, but for what PG* variables say",
        ),
        commands: &[Serve, Doctor, Check, Config],
        help: "PostgreSQL, by a connection string as for psql",
    },
    Flag {
        // Taken everywhere, so that one command line works for all commands; not even the variable
        // is read, because it may hold the password of the server.
        short: Some('p'),
        long: "postgres-url",
        value: Value::Secret("URL", |_, _| Ok(())),
        variable: Variable::None,
        commands: &[Listen, Publish, Health, Token],
        ..ROW
    },
    Flag {
        // Refused by its name: somebody who gives it means another server than the demo's own.
        short: Some('p'),
        long: "postgres-url",
        value: Value::Secret("URL", |_, _| Err(DEMO_HAS_ITS_OWN.to_owned())),
        variable: Variable::None,
        commands: &[Demo],
        ..ROW
    },
    Flag {
        long: "pg-listen-url",
        value: Value::Secret("URL", |it, url| {
            it.bridge.postgres_listen_url = replacing("--pg-listen-url", url)?;
            Ok(())
        }),
        commands: &[Serve, Doctor, Check, Config],
        help: "PostgreSQL for the listening session alone, past a pooler",
        ..ROW
    },
    Flag {
        long: "pg-publish-url",
        value: Value::Secret("URL", |it, url| {
            it.bridge.postgres_publish_url = replacing("--pg-publish-url", url)?;
            Ok(())
        }),
        commands: &[Serve, Doctor, Check, Config],
        help: "PostgreSQL for the publishing session alone",
        ..ROW
    },
    Flag {
        short: Some('w'),
        long: "ws-bind-addr",
        value: Value::Text("ADDR", |it, addr| {
            it.bridge.ws_bind_addr = addr.to_owned();
            Ok(())
        }),
        variable: Variable::Named("WS_BIND_ADDR"),
        default: Default::Typed(DEFAULT_WS_BIND_ADDR),
        commands: &[Serve, Check, Config, Health],
        help: "Listen for WebSocket clients at HOST:PORT; port 0 picks a free one",
    },
    Flag {
        short: Some('w'),
        long: "ws-bind-addr",
        value: Value::Text("ADDR", |it, addr| {
            it.demo_addr = Some(addr.to_owned());
            Ok(())
        }),
        variable: Variable::Named("WS_BIND_ADDR"),
        default: Default::Described("127.0.0.1:8080, or a free port if that is taken"),
        commands: &[Demo],
        help: "Listen for WebSocket clients at HOST:PORT",
    },
    Flag {
        short: Some('w'),
        long: "ws-url",
        value: Value::Text("URL", Settings::set_ws_url),
        variable: Variable::Named("WS_URL"),
        default: Default::Typed(DEFAULT_WS_URL),
        commands: CLIENTS,
        help: "The bridge, by its ws:// or wss:// URL",
    },
    Flag {
        long: "admin-addr",
        value: Value::Text("ADDR", |it, addr| {
            it.bridge.admin_addr = Some(addr.to_owned());
            Ok(())
        }),
        commands: &[Serve, Check, Config, Health],
        help: "Answer /healthz, /readyz and /metrics at HOST:PORT instead of on the port of the \
               clients",
        ..ROW
    },
    tls::CERTIFICATE,
    tls::KEY,
    tls::ADMIN,
    tls::CLIENT_CA,
    tls::CLIENT_AUTH,
    tls::DEMO,
    Flag {
        long: "workers",
        value: Value::CountOrAuto(Settings::set_workers),
        default: Default::Typed("1"),
        help: "Serve by N processes on one port, each a bridge of its own, with a parent that answers at \
               --admin-addr for all; auto: one for every two cores, 8 at most",
        ..ROW
    },
    Flag {
        short: Some('c'),
        long: "channels",
        value: Value::List("LIST", Settings::set_channels),
        variable: Variable::Named("LISTEN_CHANNELS"),
        help: "Listen to these channels from the start, comma separated",
        ..ROW
    },
    Flag {
        long: "allow-origin",
        value: Value::List("ORIGIN", Settings::set_allow_origins),
        commands: &[Serve, Demo, Check, Config],
        help: "Also accept the pages of ORIGIN, as in https://app.example; comma separated or \
               repeated",
        ..ROW
    },
    Flag {
        long: "allow-host",
        value: Value::List("HOST", Settings::set_allow_hosts),
        commands: &[Serve, Demo, Check, Config],
        default: Default::Described("localhost on a loopback address, any elsewhere"),
        help: "Accept requests for HOST and for localhost alone, on every address; comma separated \
               or repeated",
        ..ROW
    },
    proxies::TRUSTED_PROXY,
    proxies::PROXY_HEADER,
    proxies::PROXY_PROTOCOL,
    Flag {
        long: "allow-subscribe",
        value: Value::List("GLOBS", |it, patterns| {
            it.bridge.permissions.subscribe = settings::globs(patterns);
            Ok(())
        }),
        default: Default::Described("all channels"),
        help: "Let clients subscribe to the channels that match, comma separated: * is any run of \
               characters, ? is one character, '' is no channel, and with JWTs {sub} is the value of \
               that claim",
        ..ROW
    },
    Flag {
        long: "allow-publish",
        value: Value::List("GLOBS", |it, patterns| {
            it.bridge.permissions.publish = settings::globs(patterns);
            Ok(())
        }),
        default: Default::Described("all channels"),
        help: "Let clients publish to the channels that match",
        ..ROW
    },
    Flag {
        long: "group",
        value: Value::Text("NAME", |it, name| {
            it.bridge.group = Some(name.to_owned());
            Ok(())
        }),
        commands: &[Serve, Doctor, Check, Config],
        help: "Take over the clients of the other bridges of this group, on the same database, where \
               they left off",
        ..ROW
    },
    Flag {
        long: "group-key-file",
        value: Value::File(|it, path| it.bridge.group_key_file = Some(path.into())),
        commands: &[Serve, Doctor, Check, Config],
        help: "Believe messages of the group only if they are sealed with the secret in FILE: 32 \
               bytes or more, for its owner alone",
        ..ROW
    },
    Flag {
        long: "token-file",
        value: Value::File(|it, path| it.bridge.token_file = Some(path.into())),
        help: "Require one of the tokens in FILE, a line each: TOKEN [subscribe=GLOBS] \
               [publish=GLOBS]; SIGHUP reads it again",
        ..ROW
    },
    Flag {
        long: "token-file",
        value: Value::File(|it, path| it.token = TokenSource::File(path.to_owned())),
        // Not that of the server, whose file has the tokens of all clients.
        variable: Variable::Content(TOKEN_VARIABLE, "the token itself", Settings::set_token),
        commands: CLIENTS,
        help: "Present the first token in FILE to the bridge",
        ..ROW
    },
    auth::TOKEN_COOKIE,
    auth::FUNCTION,
    auth::OFFLINE,
    auth::CACHE,
    auth::TIMEOUT,
    jwt::KEY_FILE,
    jwt::JWKS_FILE,
    jwt::ISSUER,
    jwt::AUDIENCE,
    jwt::LEEWAY,
    jwt::ALLOW_NO_EXP,
    jwt::SUBSCRIBE_CLAIM,
    jwt::PUBLISH_CLAIM,
    jwt::SIGNING_KEY_FILE,
    jwt::SUB,
    jwt::CLAIMS,
    jwt::LIFETIME,
    Flag {
        long: "playground",
        value: Value::Switch(|it, is_on| it.bridge.playground = is_on),
        help: "Serve the playground page at /, and the module for pages at /alle.js",
        ..ROW
    },
    Flag {
        long: "open",
        value: Value::Switch(|it, is_on| it.open = is_on),
        commands: &[Demo],
        help: "Show the page in a browser",
        ..ROW
    },
    Flag {
        long: "max-clients",
        value: Value::Count(1, |it, count| it.bridge.limits.clients_max = Some(count)),
        default: Default::Described("the limit of open files, less 64"),
        help: "Answer 503 beyond N clients",
        ..ROW
    },
    Flag {
        long: "max-clients-per-address",
        value: Value::Count(1, |it, count| {
            it.bridge.limits.address_clients_max = Some(count);
        }),
        default: Default::Described("any number"),
        help: "Answer 429 beyond N clients of one address",
        ..ROW
    },
    jwt::MAX_CLIENTS,
    Flag {
        long: "max-channels",
        value: Value::Count(1, |it, count| it.bridge.limits.channels_max = count),
        default: Default::Typed("20000"),
        help: "Listen to at most N channels: beyond it, or beyond a client's share, 'too_many_channels'",
        ..ROW
    },
    Flag {
        long: "client-rate",
        value: Value::Count(1, |it, count| {
            // No client sends more in a second than the library counts.
            let rate = count.try_into().unwrap_or(u32::MAX);
            it.bridge.limits.client_rate_max = Some(rate);
        }),
        default: Default::Described("any number"),
        help: "Refuse the messages of a client beyond N a second",
        ..ROW
    },
    jwt::RATE,
    Flag {
        long: "history",
        value: Value::Count(0, |it, count| it.bridge.limits.history_frames_max = count),
        default: Default::Typed("64"),
        help: "Keep the last N notifications of each channel for clients that come back",
        ..ROW
    },
    Flag {
        long: "history-bytes",
        value: Value::Bytes(0, |it, bytes| it.bridge.limits.history_bytes_max = bytes),
        default: Default::Typed("16M"),
        help: "Keep at most BYTES of notifications in all channels together",
        ..ROW
    },
    Flag {
        long: "unlisten-delay",
        value: Value::Span(Duration::from_secs(u64::MAX), |it, delay| {
            it.bridge.unlisten_delay = Some(delay);
        }),
        default: Default::Described(
            "10 where the client may come back, 0 where it said that it is done",
        ),
        help: "Keep a channel and its history for SECONDS after its last subscriber left, however it left",
        ..ROW
    },
    Flag {
        long: "drain",
        value: Value::Span(BridgeConfig::DRAIN_MAX, |it, span| it.bridge.drain = span),
        default: Default::Typed("0"),
        help: "After a signal, serve for another SECONDS, a day at most: new clients are refused, \
               connected ones are closed one by one",
        ..ROW
    },
    Flag {
        long: "client-queue",
        value: Value::Bytes(MESSAGE_BYTES, |it, bytes| {
            it.bridge.limits.client_queue_bytes_max = bytes;
        }),
        default: Default::Typed("16M"),
        help: "Close a client with 4008 when it is more than BYTES behind",
        ..ROW
    },
    Flag {
        long: "retained",
        value: Value::Bytes(MESSAGE_BYTES, |it, bytes| {
            it.bridge.limits.retained_bytes_max = bytes
        }),
        default: Default::Typed("256M"),
        help: "Let all slow clients together hold BYTES; beyond it the slowest is closed with 4008",
        ..ROW
    },
    Flag {
        long: "owned",
        value: Value::Bytes(MESSAGE_BYTES, |it, bytes| {
            it.bridge.limits.owned_bytes_max = bytes
        }),
        default: Default::Typed("128M"),
        help: "Keep BYTES of unread answers and partial input; beyond it the costliest client is closed",
        ..ROW
    },
    Flag {
        long: "waiting",
        value: Value::Bytes(MESSAGE_BYTES, |it, bytes| {
            it.bridge.limits.waiting_bytes_max = bytes
        }),
        default: Default::Typed("64M"),
        help: "Keep BYTES of requests that wait for PostgreSQL; beyond it 'rate_limited'",
        ..ROW
    },
    Flag {
        long: "json",
        value: Value::Switch(|it, is_on| it.json = is_on),
        commands: &[Listen],
        help: "Print each message of the bridge as one JSON object a line",
        ..ROW
    },
    Flag {
        long: "timestamps",
        value: Value::Switch(|it, is_on| it.timestamps = is_on),
        commands: &[Listen],
        help: "Print the time before each notification, in UTC",
        ..ROW
    },
    Flag {
        long: "quiet",
        value: Value::Switch(|it, is_on| it.quiet = is_on),
        commands: &[Listen],
        help: "Print notifications, warnings and errors alone: no greeting, no confirmations",
        ..ROW
    },
    Flag {
        long: "lines",
        value: Value::Switch(|it, is_on| it.lines = is_on),
        commands: &[Publish],
        help: "Send each line of stdin, in order; one that is refused ends it",
        ..ROW
    },
    Flag {
        long: "no-reconnect",
        value: Value::Switch(|it, is_on| it.reconnect = !is_on),
        commands: &[Listen],
        help: "Exit with 1 when the connection is lost",
        ..ROW
    },
    Flag {
        long: "ready",
        value: Value::Switch(|it, is_on| it.ready = is_on),
        commands: &[Health],
        help: "Fail where the bridge runs but is not ready, too",
        ..ROW
    },
    Flag {
        short: Some('l'),
        long: "log-level",
        value: Value::Filter(Settings::set_log_filter),
        variable: Variable::Named("RUST_LOG"),
        default: Default::Typed("alle=info,info"),
        commands: &[Serve, Listen, Publish, Demo, Check, Config],
        help: "Write the log lines that FILTER selects to stderr: a level, or TARGET=LEVEL, comma separated",
    },
    Flag {
        short: Some('l'),
        long: "log-level",
        value: Value::Filter(Settings::set_log_filter),
        variable: Variable::Named("RUST_LOG"),
        // What it finds it prints.
        default: Default::Typed("off"),
        commands: &[Doctor, Health, Token],
        help: "Write the log lines that FILTER selects to stderr: a level, or TARGET=LEVEL, comma separated",
    },
    Flag {
        long: "log-format",
        value: Value::Text("FORMAT", Settings::set_log_format),
        default: Default::Typed("text"),
        commands: &[Serve, Demo, Check, Config],
        help: "Write a log line as text, or as a JSON object: FORMAT is text or json",
        ..ROW
    },
    Flag {
        short: Some('h'),
        long: "help",
        value: Value::Request(Request::Help),
        variable: Variable::None,
        commands: EVERY,
        help: "Show this help",
        ..ROW
    },
    Flag {
        short: Some('V'),
        long: "version",
        value: Value::Request(Request::Version),
        variable: Variable::None,
        commands: EVERY,
        help: "Show the version",
        ..ROW
    },
];
