//! From `argv` and the environment to an [`Invocation`]: valid, or a sentence saying why not.
//!
//! Two steps. `typed` notes what was typed without judging which option belongs to which command,
//! because options may stand before it; here each row of the table gets its value from the first of
//! its `sources` that has one. Knows no single option, runs nothing and reads the environment only
//! through its argument.

mod environment;
mod sources;
mod typed;

use std::ffi::OsString;

use alle::{BridgeConfig, Channel, TrustedProxies};
use tracing_subscriber::filter::Targets;

pub(crate) use self::{
    environment::Environment,
    sources::{Given, Origin},
};
use self::{sources::Sources, typed::Typed};
use super::{
    command::{CommandName, Topic},
    connection::WsUrl,
    failure::Failure,
    flags::{self, Flag, Value, Variable},
    logs::LogFormat,
    new_token::TokenOptions,
    settings::{self, Settings},
    text_file::Files,
    token::TokenSource,
};

/// What one run of the program is to do.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// Which log lines are written.
    pub(crate) log_filter: Targets,
    /// How they look.
    pub(crate) log_format: LogFormat,
    /// What is probably a mistake, a sentence each, but keeps nothing from running.
    pub(crate) warnings: Vec<String>,
    /// What was typed and does nothing, a sentence each.
    pub(crate) notes: Vec<String>,
    /// What to do.
    pub(crate) command: Command,
}

/// One command with everything it needs.
#[derive(Debug)]
pub(crate) enum Command {
    /// Print a help text.
    Help(Topic),
    /// Print the version.
    Version,
    /// Start the bridge.
    Serve(ServeOptions),
    /// Listen through a bridge.
    Listen(ListenOptions),
    /// Send one notification through a bridge.
    Publish(PublishOptions),
    /// Start everything at once, to throw away.
    Demo(DemoOptions),
    /// Check PostgreSQL.
    Doctor(Box<BridgeConfig>),
    /// Check the configuration.
    Check(CheckOptions),
    /// Show the configuration.
    Config(Vec<Setting>),
    /// Ask a bridge whether it runs.
    Health(HealthOptions),
    /// Make a token.
    Token(TokenOptions),
}

/// `alle serve`.
#[derive(Debug)]
pub(crate) struct ServeOptions {
    /// The bridge.
    pub(crate) config: Box<BridgeConfig>,
    /// How many processes serve.
    pub(crate) workers: usize,
    /// What keeps several from being started.
    pub(crate) workers_fault: Option<String>,
}

/// `alle check`.
#[derive(Debug)]
pub(crate) struct CheckOptions {
    /// What is right of it.
    pub(crate) config: Box<BridgeConfig>,
    /// What is not, a sentence each.
    pub(crate) faults: Vec<String>,
    /// Whether PostgreSQL is not asked.
    pub(crate) offline: bool,
}

/// One option and its value, as `alle config` shows it.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its row.
    pub(crate) flag: &'static Flag,
    /// Its value; `None` if it has not even a default.
    pub(crate) given: Option<Given>,
}

/// `alle health`.
#[derive(Debug)]
pub(crate) struct HealthOptions {
    /// Where the bridge listens for who asks, `HOST:PORT`.
    pub(crate) address: String,
    /// Whether it speaks TLS there.
    pub(crate) is_secured: bool,
    /// Whom it hears, where that is proxies alone, each by a preamble.
    pub(crate) heard: Option<TrustedProxies>,
    /// Whether it is asked for its readiness, too.
    pub(crate) ready: bool,
}

/// `alle listen`.
#[derive(Debug)]
pub(crate) struct ListenOptions {
    /// The bridge.
    pub(crate) ws_url: WsUrl,
    /// What lets us in there.
    pub(crate) token: TokenSource,
    /// What to subscribe to from the start, each once, in the order typed.
    pub(crate) channels: Vec<String>,
    /// One JSON object a line instead of `[channel] payload`.
    pub(crate) json: bool,
    /// Whether a lost connection is opened again.
    pub(crate) reconnect: bool,
    /// No greeting and no confirmations.
    pub(crate) quiet: bool,
    /// The time before each notification.
    pub(crate) timestamps: bool,
}

/// `alle publish`.
#[derive(Debug)]
pub(crate) struct PublishOptions {
    /// The bridge.
    pub(crate) ws_url: WsUrl,
    /// What lets us in there.
    pub(crate) token: TokenSource,
    /// Where to.
    pub(crate) channel: Channel,
    /// What.
    pub(crate) payload: Payload,
}

/// Where the payload of `alle publish` comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// It was typed.
    Typed(String),
    /// It is all of stdin.
    Stdin,
    /// Each line of stdin is one.
    Lines,
}

/// `alle demo`.
#[derive(Debug)]
pub(crate) struct DemoOptions {
    /// Where to listen for WebSocket clients; `None` is the default address or, if that is taken,
    /// any port.
    pub(crate) ws_bind_addr: Option<String>,
    /// Origins, beside the demo's own, whose pages may connect.
    pub(crate) allow_origins: Vec<String>,
    /// Names, beside localhost, under which it may be reached.
    pub(crate) allow_hosts: Vec<String>,
    /// Whether the page is shown in a browser.
    pub(crate) open: bool,
    /// Whether clients speak TLS.
    pub(crate) tls: bool,
}

/// Gives `arguments` (the program's name first) their meaning, with what stands in `files`.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    files: &mut Files,
) -> Result<Invocation, Failure> {
    let typed = typed::read(arguments)?;
    let request = match typed.topic()? {
        Some(topic) => Command::Help(topic),
        None if typed.version => Command::Version,
        None => return Meaning::new(typed, environment).invocation(files),
    };
    Ok(Invocation {
        log_filter: Targets::new(),
        log_format: LogFormat::default(),
        warnings: Vec::new(),
        notes: Vec::new(),
        command: request,
    })
}

/// What was typed, on its way to what it means.
struct Meaning<'a> {
    command: CommandName,
    typed: Typed,
    environment: &'a Environment,
}

impl<'a> Meaning<'a> {
    fn new(typed: Typed, environment: &'a Environment) -> Self {
        Self {
            command: typed.command.unwrap_or(CommandName::Serve),
            typed,
            environment,
        }
    }

    fn invocation(&self, files: &mut Files) -> Result<Invocation, Failure> {
        self.check_options()?;
        let wrong = |reason| self.wrong(reason);
        let mut sources =
            Sources::open(self.command, &self.typed, self.environment, files).map_err(wrong)?;
        let mut settings = Settings::default();
        let mut faults = sources.faults().to_vec();
        let mut shown = Vec::new();
        for flag in flags::of(self.command) {
            let applied = sources
                .given(flag)
                .and_then(|given| given.map_or(Ok(()), |given| apply(flag, &given, &mut settings)));
            faults.extend(applied.err());
            if self.command == CommandName::Config && is_setting(flag) {
                let given = sources.shown(flag).map_err(wrong)?;
                shown.push(Setting { flag, given });
            }
        }
        // `alle check` is there to say all of them.
        if self.command != CommandName::Check
            && let Some(first) = faults.first()
        {
            return Err(self.wrong(first));
        }
        let mut warnings = self.environment.unknown();
        warnings.extend(sources.into_warnings());
        Ok(Invocation {
            log_filter: std::mem::take(&mut settings.log_filter),
            log_format: settings.log_format,
            warnings,
            notes: self.notes(),
            command: self.command(settings, faults, shown)?,
        })
    }

    fn command(
        &self,
        settings: Settings,
        faults: Vec<String>,
        shown: Vec<Setting>,
    ) -> Result<Command, Failure> {
        let operands = self.typed.operands.as_slice();
        match self.command {
            CommandName::Listen if settings.json && settings.timestamps => Err(self.wrong(
                "--timestamps does nothing with --json, which prints each message as it came",
            )),
            CommandName::Listen => Ok(Command::Listen(ListenOptions {
                ws_url: settings.ws_url,
                token: settings.token,
                channels: listed(operands).map_err(|reason| self.wrong(reason))?,
                json: settings.json,
                reconnect: settings.reconnect,
                quiet: settings.quiet,
                timestamps: settings.timestamps,
            })),
            CommandName::Publish => self.publish(settings, operands),
            CommandName::Serve => {
                self.no_operands(operands)?;
                Ok(Command::Serve(ServeOptions {
                    workers_fault: settings.workers_fault(),
                    config: Box::new(settings.bridge),
                    workers: settings.workers,
                }))
            }
            CommandName::Demo => {
                self.no_operands(operands)?;
                Ok(Command::Demo(DemoOptions {
                    ws_bind_addr: settings.demo_addr,
                    allow_origins: settings.bridge.allow_origins,
                    allow_hosts: settings.bridge.allow_hosts,
                    open: settings.open,
                    tls: settings.demo_tls,
                }))
            }
            CommandName::Doctor => {
                self.no_operands(operands)?;
                Ok(Command::Doctor(Box::new(settings.bridge)))
            }
            CommandName::Check => {
                self.no_operands(operands)?;
                let faults = faults.into_iter().chain(settings.workers_fault());
                Ok(Command::Check(CheckOptions {
                    faults: faults.collect(),
                    offline: settings.offline,
                    config: Box::new(settings.bridge),
                }))
            }
            CommandName::Config => {
                self.no_operands(operands)?;
                Ok(Command::Config(shown))
            }
            CommandName::Health => {
                self.no_operands(operands)?;
                Ok(Command::Health(health(settings.bridge, settings.ready)))
            }
            CommandName::Token => {
                self.no_operands(operands)?;
                Ok(Command::Token(TokenOptions {
                    sub: settings.token_sub,
                    claims: settings.token_claims,
                    lifetime: settings.token_lifetime,
                    key_file: settings.signing_key_file,
                }))
            }
        }
    }

    /// An option that is taken everywhere, so that one command line works for all commands, and does
    /// nothing here.
    fn notes(&self) -> Vec<String> {
        let idle = flags::of(self.command).filter(|flag| flag.help.is_empty());
        let typed = idle.filter(|flag| !self.typed.values(flag, self.command).is_empty());
        let word = self.command.word();
        typed
            .map(|_| match self.command {
                CommandName::Health => format!("{word} asks a bridge: -p does nothing"),
                CommandName::Token => format!("{word} asks nobody: -p does nothing"),
                CommandName::Listen
                | CommandName::Publish
                | CommandName::Serve
                | CommandName::Demo
                | CommandName::Doctor
                | CommandName::Check
                | CommandName::Config => format!("{word} speaks to a bridge: -w, not -p"),
            })
            .collect()
    }

    fn publish(&self, settings: Settings, operands: &[String]) -> Result<Command, Failure> {
        let (channel, payload) = match operands {
            [channel] if settings.lines => (channel, Payload::Lines),
            _ if settings.lines => {
                return Err(
                    self.wrong("publish --lines takes one CHANNEL, and the payloads from stdin")
                );
            }
            [channel, payload] if payload == "-" => (channel, Payload::Stdin),
            [channel, payload] => (channel, Payload::Typed(payload.clone())),
            _ => {
                return Err(self.wrong(match operands.len() {
                    0 => "publish needs a CHANNEL and a PAYLOAD",
                    1 => "publish needs a PAYLOAD after the CHANNEL ('-' reads it from stdin)",
                    _ => "publish takes one CHANNEL and one PAYLOAD: put quotes around the payload",
                }));
            }
        };
        Ok(Command::Publish(PublishOptions {
            ws_url: settings.ws_url,
            token: settings.token,
            channel: Channel::new(channel).map_err(|error| self.wrong(error.to_string()))?,
            payload,
        }))
    }

    /// Every option must be one of this command.
    fn check_options(&self) -> Result<(), Failure> {
        match self.typed.stranger(self.command) {
            None => Ok(()),
            Some(spelling) => Err(self.wrong(format!(
                "option '{spelling}' does not belong to 'alle {}'",
                self.command.word()
            ))),
        }
    }

    fn no_operands(&self, operands: &[String]) -> Result<(), Failure> {
        match operands.first() {
            None => Ok(()),
            Some(stray) => Err(self.wrong(format!("unexpected argument '{stray}'"))),
        }
    }

    fn wrong(&self, reason: impl Into<String>) -> Failure {
        Failure::usage(self.command, reason)
    }
}

/// Gives the values of one row their effect.
fn apply(flag: &Flag, given: &Given, settings: &mut Settings) -> Result<(), String> {
    let last = given.values.last().map_or("", String::as_str);
    match (&flag.variable, &given.origin) {
        (Variable::Content(.., set), Origin::Variable(_)) => set(settings, last),
        _ => flag
            .apply(settings, &given.values)
            .map_err(|reason| given.origin.blamed(&reason)),
    }
}

/// The channels of comma separated operands.
fn listed(operands: &[String]) -> Result<Vec<String>, String> {
    let names: Vec<_> = operands.iter().flat_map(|it| settings::split(it)).collect();
    settings::channels(&names)
}

/// Whether a row has a value that can be shown and written into a file.
fn is_setting(flag: &Flag) -> bool {
    let is_request = matches!(flag.value, Value::Request(_));
    !is_request && !flag.help.is_empty() && flag.long != flags::CONFIG
}

/// Which bridge is asked, and how.
fn health(bridge: BridgeConfig, ready: bool) -> HealthOptions {
    let has_admin = bridge.admin_addr.is_some();
    let is_secured = if has_admin {
        bridge.tls.admin
    } else {
        bridge.tls.is_on()
    };
    let proxies = bridge.proxies;
    HealthOptions {
        heard: (!has_admin && proxies.proxy_protocol).then_some(proxies),
        address: bridge.admin_addr.unwrap_or(bridge.ws_bind_addr),
        is_secured,
        ready,
    }
}

#[cfg(test)]
mod tests;
