//! What the options of one run add up to.
//!
//! Each option has its effect here and only here: the parts that need more than an assignment are
//! methods, the others are written in the table itself. Reads neither arguments nor environment.

use std::{num::NonZero, path::PathBuf, thread, time::Duration};

use alle::{
    BridgeConfig, Channel, CidrError, Globs, ProxyHeader,
    internals::{
        access::{origins::is_origin, secret::Secret},
        workers::Workers,
    },
};
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::{
    connection::WsUrl,
    logs::LogFormat,
    token::{TOKEN_VARIABLE, TokenSource},
};

/// What the options of one run add up to, whichever the command is.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Which log lines are written.
    pub(crate) log_filter: Targets,
    /// How they look.
    pub(crate) log_format: LogFormat,
    /// The bridge to start, or the PostgreSQL to examine. URL and address are judged by the
    /// library.
    pub(crate) bridge: BridgeConfig,
    /// How many processes serve.
    pub(crate) workers: usize,
    /// There may be several, on this machine or another.
    pub(crate) is_with_parent: bool,
    /// Where `alle demo` was told to listen; `None`: at the default address or, if that is taken,
    /// at any port.
    pub(crate) demo_addr: Option<String>,
    /// Whether `alle demo` shows its page in a browser.
    pub(crate) open: bool,
    /// Whether `alle demo` speaks TLS with clients.
    pub(crate) demo_tls: bool,
    /// The bridge to connect to.
    pub(crate) ws_url: WsUrl,
    /// The token that this bridge may require.
    pub(crate) token: TokenSource,
    /// One JSON object a line instead of `[channel] payload`.
    pub(crate) json: bool,
    /// Whether a lost connection is opened again.
    pub(crate) reconnect: bool,
    /// Whether `alle health` asks for readiness, too.
    pub(crate) ready: bool,
    /// Whether PostgreSQL is not asked.
    pub(crate) offline: bool,
    /// No greeting and no confirmations.
    pub(crate) quiet: bool,
    /// The time before each notification.
    pub(crate) timestamps: bool,
    /// Each line of stdin is a payload.
    pub(crate) lines: bool,
    /// The key by which `alle token` signs.
    pub(crate) signing_key_file: Option<PathBuf>,
    /// Whose JWT `alle token` makes.
    pub(crate) token_sub: Option<String>,
    /// The other claims of it.
    pub(crate) token_claims: serde_json::Map<String, serde_json::Value>,
    /// How long it is good for.
    pub(crate) token_lifetime: Duration,
}

/// Nothing is set: the defaults of the command line are in its table, and come on top.
impl Default for Settings {
    fn default() -> Self {
        Self {
            log_filter: Targets::new(),
            log_format: LogFormat::default(),
            bridge: BridgeConfig::new("", ""),
            workers: 1,
            is_with_parent: false,
            demo_addr: None,
            open: false,
            demo_tls: false,
            ws_url: WsUrl::parse(DEFAULT_WS_URL).expect("the default is the URL of a bridge"),
            token: TokenSource::None,
            json: false,
            reconnect: true,
            ready: false,
            offline: false,
            quiet: false,
            timestamps: false,
            lines: false,
            signing_key_file: None,
            token_sub: None,
            token_claims: serde_json::Map::new(),
            token_lifetime: Duration::ZERO,
        }
    }
}

impl Settings {
    pub(super) fn set_log_filter(&mut self, directives: &str) -> Result<(), String> {
        // `Targets` takes a word it does not know for the name of a target: `-l verbose` would
        // silence everything without a word, and so would nothing.
        let misspelt = split(directives).into_iter().find(|directive| {
            directive.is_empty()
                || !directive.contains('=')
                    && directive.parse::<LevelFilter>().is_err()
                    && directive != "alle"
                    && !directive.starts_with("alle::")
        });
        match (misspelt, directives.parse()) {
            (None, Ok(filter)) => self.log_filter = filter,
            (Some(directive), _) => {
                return Err(format!(
                    "log level '{directive}' is none of off, error, warn, info, debug, trace (or \
                     TARGET=LEVEL, comma separated)"
                ));
            }
            (None, Err(error)) => {
                return Err(format!("log level '{directives}' is malformed: {error}"));
            }
        }
        Ok(())
    }

    pub(super) fn set_log_format(&mut self, format: &str) -> Result<(), String> {
        self.log_format = match format {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => return Err(format!("--log-format takes text or json, not '{format}'")),
        };
        Ok(())
    }

    /// Takes a number, or `auto`.
    pub(super) fn set_workers(&mut self, text: &str) -> Result<(), String> {
        self.workers = if text == "auto" {
            let cores = thread::available_parallelism().map_or(1, NonZero::get);
            (cores / 2).clamp(1, AUTO_WORKERS_MAX)
        } else {
            let count = text.parse().ok();
            let count = count.filter(|count| (1..=Workers::COUNT_MAX).contains(count));
            count.ok_or_else(|| {
                let max = Workers::COUNT_MAX;
                format!("--workers takes a whole number from 1 to {max}, or auto, not '{text}'")
            })?
        };
        self.is_with_parent = text == "auto" || self.workers > 1;
        Ok(())
    }

    /// What keeps several workers from being started.
    pub(super) fn workers_fault(&self) -> Option<String> {
        let fault = if self.bridge.admin_addr.is_none() {
            "--workers needs --admin-addr, where the parent answers for all of them: the port of the \
             clients leads to any"
        } else if self.bridge.tls.admin {
            "--workers and --admin-tls do not go together: the parent, which answers at --admin-addr for \
             all of them, speaks no TLS"
        } else {
            return None;
        };
        self.is_with_parent.then(|| fault.to_owned())
    }

    pub(super) fn set_channels(&mut self, names: &[String]) -> Result<(), String> {
        self.bridge.channels = channels(names)?;
        Ok(())
    }

    /// Never an empty list: with a token file it would narrow nothing, as none does.
    pub(super) fn set_allow_origins(&mut self, origins: &[String]) -> Result<(), String> {
        let origins = never_none(origins);
        if let Some(wrong) = origins.iter().find(|it| !is_origin(it)) {
            return Err(format!(
                "--allow-origin takes what browsers send, as https://HOST[:PORT], or '*', not \
                 '{wrong}'"
            ));
        }
        self.bridge.allow_origins = origins.to_owned();
        Ok(())
    }

    /// Never an empty list: it would not be the rule that was meant.
    pub(super) fn set_jwt_audiences(&mut self, names: &[String]) -> Result<(), String> {
        let names = never_none(names);
        if let Some(blank) = names.iter().find(|name| name.trim().is_empty()) {
            return Err(format!("--jwt-audience takes a name, not '{blank}'"));
        }
        self.bridge.jwt.rules.audiences = names.to_owned();
        Ok(())
    }

    /// Never an empty list: it would not be the rule that was meant.
    pub(super) fn set_trusted_proxies(&mut self, networks: &[String]) -> Result<(), String> {
        if never_none(networks).iter().any(String::is_empty) {
            return Err("--trusted-proxy takes addresses and networks, not ''".to_owned());
        }
        let networks = networks.iter().map(|it| it.parse());
        let networks: Result<_, CidrError> = networks.collect();
        self.bridge.proxies.networks =
            networks.map_err(|error| format!("--trusted-proxy: {error}"))?;
        Ok(())
    }

    pub(super) fn set_proxy_header(&mut self, name: &str) -> Result<(), String> {
        self.bridge.proxies.header = if name.eq_ignore_ascii_case("x-forwarded-for") {
            ProxyHeader::XForwardedFor
        } else if name.eq_ignore_ascii_case("forwarded") {
            ProxyHeader::Forwarded
        } else {
            return Err(format!(
                "--proxy-header takes x-forwarded-for or forwarded, not '{name}'"
            ));
        };
        Ok(())
    }

    /// Never an empty list: whoever names the hosts does not mean that there is no rule.
    pub(super) fn set_allow_hosts(&mut self, hosts: &[String]) -> Result<(), String> {
        let hosts = never_none(hosts);
        let is_host = |it: &String| !it.is_empty() && !it.contains([',', ' ']);
        if let Some(wrong) = hosts.iter().find(|it| !is_host(it)) {
            return Err(format!(
                "--allow-host takes HOST or HOST:PORT, not '{wrong}'"
            ));
        }
        self.bridge.allow_hosts = hosts.to_owned();
        Ok(())
    }

    /// Takes an object of JSON.
    pub(super) fn set_token_claims(&mut self, text: &str) -> Result<(), String> {
        let claims: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
            .map_err(|error| format!("--claims takes an object of JSON, not '{text}': {error}"))?;
        let is_moment = |name: &&str| claims.get(*name).is_none_or(serde_json::Value::is_number);
        if let Some(name) = ["exp", "nbf"].iter().find(|it| !is_moment(it)) {
            return Err(format!(
                "--claims: {name} is a number, of seconds since 1970, and with any other value no \
                 bridge takes the token"
            ));
        }
        self.token_claims = claims;
        Ok(())
    }

    pub(super) fn set_ws_url(&mut self, url: &str) -> Result<(), String> {
        self.ws_url = WsUrl::parse(url).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Takes the token itself, which has to fit into a header.
    pub(super) fn set_token(&mut self, token: &str) -> Result<(), String> {
        if token.is_empty() {
            return Err(format!("the variable {TOKEN_VARIABLE} is empty"));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "the variable {TOKEN_VARIABLE} is not printable ASCII"
            ));
        }
        self.token = TokenSource::Given(Secret::new(token));
        Ok(())
    }
}

/// The items of a list that must have some: where there is none, an empty one, which is refused.
pub(super) fn never_none(items: &[String]) -> &[String] {
    static EMPTY: [String; 1] = [String::new()];
    if items.is_empty() { &EMPTY } else { items }
}

/// These patterns; where all are empty, no channel matches.
pub(super) fn globs(patterns: &[String]) -> Globs {
    Globs::of(patterns.iter().map(String::as_str))
}

/// The channels of these names, each once, in order.
pub(crate) fn channels(names: &[String]) -> Result<Vec<String>, String> {
    if names.iter().any(String::is_empty) {
        return Err("channel name is empty".to_owned());
    }
    let mut channels = Vec::new();
    for name in names {
        let channel = Channel::new(name).map_err(|error| format!("channel '{name}': {error}"))?;
        if !channels.iter().any(|known| known == channel.as_str()) {
            channels.push(name.clone());
        }
    }
    Ok(channels)
}

/// The items of a comma separated list, without the space around them and without empty ones; a
/// single empty one where there is no other.
pub(crate) fn split(list: &str) -> Vec<String> {
    let items = list.split(',').map(str::trim);
    let mut items: Vec<_> = items
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect();
    if items.is_empty() {
        items.push(String::new());
    }
    items
}

/// PostgreSQL wakes each of them for each notification.
const AUTO_WORKERS_MAX: usize = 8;
pub(crate) const DEFAULT_WS_BIND_ADDR: &str = "127.0.0.1:8080";
pub(crate) const DEFAULT_WS_URL: &str = "ws://127.0.0.1:8080";
