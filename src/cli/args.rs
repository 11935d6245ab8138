//! From `argv` and the environment to an [`Invocation`]: valid, or a sentence saying why not.
//!
//! Two steps. `typed` notes what was typed without judging which option belongs to which command,
//! because options may stand before it; here each row of the table gets its value, flag before
//! variable before default. Knows no single option, runs nothing and reads the environment only
//! through its argument.

mod environment;
mod typed;

use std::ffi::OsString;

use alle::{BridgeConfig, Channel};
use tracing_subscriber::filter::Targets;

pub(crate) use self::environment::Environment;
use self::typed::Typed;
use super::{
    command::{CommandName, Topic},
    connection::WsUrl,
    failure::Failure,
    flags::{self, Default, Flag, Variable},
    settings::{self, Settings},
    token::TokenSource,
};

/// What one run of the program is to do.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// Which log lines are written.
    pub(crate) log_filter: Targets,
    /// What is probably a mistake, a sentence each, but keeps nothing from running.
    pub(crate) warnings: Vec<String>,
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
    Serve(Box<BridgeConfig>),
    /// Listen through a bridge.
    Listen(ListenOptions),
    /// Send one notification through a bridge.
    Publish(PublishOptions),
    /// Start everything at once, to throw away.
    Demo(DemoOptions),
    /// Check PostgreSQL.
    Doctor(Box<BridgeConfig>),
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
    /// What; `-` stands for stdin.
    pub(crate) payload: String,
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
}

/// Gives `arguments` (the program's name first) their meaning.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
) -> Result<Invocation, Failure> {
    let typed = typed::read(arguments)?;
    let request = match typed.topic()? {
        Some(topic) => Command::Help(topic),
        None if typed.version => Command::Version,
        None => return Meaning::new(typed, environment).invocation(),
    };
    Ok(Invocation {
        log_filter: Targets::new(),
        warnings: Vec::new(),
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

    fn invocation(&self) -> Result<Invocation, Failure> {
        self.check_options()?;
        let mut settings = Settings::default();
        for flag in flags::of(self.command) {
            self.apply(flag, &mut settings)
                .map_err(|reason| self.wrong(reason))?;
        }
        Ok(Invocation {
            log_filter: std::mem::take(&mut settings.log_filter),
            warnings: self.environment.unknown(),
            command: self.command(settings)?,
        })
    }

    fn command(&self, settings: Settings) -> Result<Command, Failure> {
        let operands = self.typed.operands.as_slice();
        match self.command {
            CommandName::Listen => Ok(Command::Listen(ListenOptions {
                ws_url: settings.ws_url,
                token: settings.token,
                channels: settings::channels(operands).map_err(|reason| self.wrong(reason))?,
                json: settings.json,
                reconnect: settings.reconnect,
            })),
            CommandName::Publish => self.publish(settings, operands),
            CommandName::Serve => {
                self.no_operands(operands)?;
                Ok(Command::Serve(Box::new(settings.bridge)))
            }
            CommandName::Demo => {
                self.no_operands(operands)?;
                Ok(Command::Demo(DemoOptions {
                    ws_bind_addr: settings.demo_addr,
                    allow_origins: settings.bridge.allow_origins,
                    allow_hosts: settings.bridge.allow_hosts,
                }))
            }
            CommandName::Doctor => {
                self.no_operands(operands)?;
                Ok(Command::Doctor(Box::new(settings.bridge)))
            }
        }
    }

    fn publish(&self, settings: Settings, operands: &[String]) -> Result<Command, Failure> {
        let [channel, payload] = operands else {
            return Err(self.wrong(match operands.len() {
                0 => "publish needs a CHANNEL and a PAYLOAD",
                1 => "publish needs a PAYLOAD after the CHANNEL ('-' reads it from stdin)",
                _ => "publish takes one CHANNEL and one PAYLOAD: put quotes around the payload",
            }));
        };
        Ok(Command::Publish(PublishOptions {
            ws_url: settings.ws_url,
            token: settings.token,
            channel: Channel::new(channel).map_err(|error| self.wrong(error.to_string()))?,
            payload: payload.clone(),
        }))
    }

    /// Gives one row its value: as typed, or else from the variable, or else the default.
    fn apply(&self, flag: &Flag, settings: &mut Settings) -> Result<(), String> {
        let typed = self.typed.values(flag, self.command);
        if !typed.is_empty() {
            return flag.apply(settings, &typed);
        }
        if let Some((name, value)) = self.variable(flag)? {
            return match flag.variable {
                Variable::Content(.., set) => set(settings, &value),
                Variable::None | Variable::OfName | Variable::Named(_) => flag
                    .apply(settings, &[value])
                    .map_err(|reason| format!("{reason} (from the variable {name})")),
            };
        }
        match flag.default {
            Default::Typed(value) => flag.apply(settings, &[value.to_owned()]),
            Default::None | Default::Described(_) => Ok(()),
        }
    }

    /// The name and the value of the variable, where it is set.
    fn variable(&self, flag: &Flag) -> Result<Option<(String, String)>, String> {
        let Some(name) = flag.variable() else {
            return Ok(None);
        };
        let Some(value) = self.environment.text(&name)? else {
            return Ok(None);
        };
        if value.is_empty() && matches!(flag.variable, Variable::Named(_)) {
            return Ok(None);
        }
        Ok(Some((name.into_owned(), value)))
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

#[cfg(test)]
mod tests;
