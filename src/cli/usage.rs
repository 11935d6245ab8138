//! The help texts: short, with examples, defaults and the names of the variables.

use super::args::CommandName;

/// The usage line of a command, or of the program.
pub(crate) fn line(command: Option<CommandName>) -> &'static str {
    let help = help(command);
    let start = help.find(USAGE).map_or(0, |at| at + USAGE.len());
    help[start..].lines().next().unwrap_or_default()
}

/// What to type for the whole help text.
pub(crate) fn help_command(command: Option<CommandName>) -> &'static str {
    match command {
        None => "alle help",
        Some(CommandName::Serve) => "alle help serve",
        Some(CommandName::Listen) => "alle help listen",
        Some(CommandName::Publish) => "alle help publish",
        Some(CommandName::Demo) => "alle help demo",
        Some(CommandName::Doctor) => "alle help doctor",
    }
}

/// The help text of a command, or of the program.
pub(crate) fn help(command: Option<CommandName>) -> &'static str {
    match command {
        None => PROGRAM,
        Some(CommandName::Serve) => SERVE,
        Some(CommandName::Listen) => LISTEN,
        Some(CommandName::Publish) => PUBLISH,
        Some(CommandName::Demo) => DEMO,
        Some(CommandName::Doctor) => DOCTOR,
    }
}

const USAGE: &str = "Usage: ";

const PROGRAM: &str = "\
WebSocket clients on PostgreSQL LISTEN/NOTIFY

Usage: alle [OPTIONS] [COMMAND]

Commands:
  serve    Start the bridge (default)
  listen   Listen to channels through a bridge, interactively
  publish  Send one notification through a bridge
  demo     Throw-away PostgreSQL, bridge and playground page, for a first run
  doctor   Check whether LISTEN and NOTIFY work with this PostgreSQL, and say what to do
  help     Show the help of a command: alle help listen

Options, before or after the command:
  -p, --postgres-url URL     PostgreSQL [POSTGRES_URL] [default: postgresql://localhost/postgres]
  -l, --log-level FILTER     Log lines on stderr [RUST_LOG] [default: alle=info,info]
  -h, --help                 Show this help
  -V, --version              Show the version

A flag wins over its variable [IN_BRACKETS], a variable over the default.

Examples:
  alle demo
  alle -p postgresql://app@db.example/app serve
  alle listen orders alerts
  alle publish orders '{\"id\": 123}'
";

const SERVE: &str = "\
Start the bridge: WebSocket clients on one side, PostgreSQL LISTEN/NOTIFY on the other

Usage: alle [serve] [OPTIONS]

Options:
  -p, --postgres-url URL     PostgreSQL [POSTGRES_URL] [default: postgresql://localhost/postgres]
      --pg-listen-url URL    For the listening session alone, past a pooler [PG_LISTEN_URL]
      --pg-publish-url URL   For the publishing session alone [PG_PUBLISH_URL]
  -w, --ws-bind-addr ADDR    Listen for WebSocket clients on ADDR, port 0 picks one
                             [WS_BIND_ADDR] [default: 127.0.0.1:8080]
      --admin-addr ADDR      Answer /healthz, /readyz and /metrics on ADDR, not beside the clients
  -c, --channels LIST        Channels to listen to from the start, comma separated
                             [LISTEN_CHANNELS]
      --allow-origin ORIGIN  Also take browsers' connections from ORIGIN, as in
                             https://app.example; repeat it or separate by comma
      --allow-host HOST      On a loopback address, also take requests for HOST
      --allow-subscribe GLOBS
                             Let clients subscribe to these channels only, comma separated; * is
                             any run of characters, ? is one; '' is no channel [default: '*']
      --allow-publish GLOBS  Let clients publish to these channels only [default: '*']
      --token-file FILE      Let in only who has a token of FILE: one a line, and behind it what it
                             narrows: TOKEN [subscribe=GLOBS] [publish=GLOBS]; read again at SIGHUP
      --playground           Show the playground page at /
      --max-clients N        Answer 503 beyond N clients
                             [default: what the limit of open files carries, less 64]
      --max-clients-per-address N
                             Answer 429 beyond N clients of one address [default: any number]
      --client-rate N        Refuse messages of a client beyond N a second [default: any number]
      --history N            Notifications kept per channel for clients that come back [default: 64]
      --history-bytes BYTES  Bytes of them over all channels [default: 16777216]
      --unlisten-delay SECONDS
                             Keep a channel and its history after its last subscriber [default: 0]
      --drain SECONDS        After a signal, serve for so long: no new clients, those there are
                             close one by one; a day at most [default: 0]
      --client-queue BYTES   A client further behind is closed with 4008 [default: 16777216]
      --retained BYTES       What all slow clients may hold together; beyond it the slowest is
                             closed with 4008 [default: 268435456]
  -l, --log-level FILTER     Log lines on stderr [RUST_LOG] [default: alle=info,info]
  -h, --help                 Show this help
  -V, --version              Show the version

It starts without PostgreSQL too and keeps trying. Ctrl-C stops it, a second one at once.
Under systemd it takes the sockets it is passed, and says when it is ready.

Examples:
  alle serve --playground
  alle serve -p postgresql://app@db.example/app -w 0.0.0.0:8080 -c orders,alerts
";

const LISTEN: &str = "\
Listen to channels through a bridge; commands on stdin change them meanwhile

Usage: alle listen [OPTIONS] [CHANNELS]...

Arguments:
  [CHANNELS]...              What to subscribe to, separated by comma or space

Options:
  -w, --ws-url URL           The bridge [WS_URL] [default: ws://127.0.0.1:8080]
      --token-file FILE      Where the bridge wants a token: the first one in FILE [or: ALLE_TOKEN]
      --json                 Print each message of the bridge as one JSON object a line
      --no-reconnect         Exit with 1 when the connection is lost
  -l, --log-level FILTER     Log lines on stderr [RUST_LOG] [default: alle=info,info]
  -h, --help                 Show this help
  -V, --version              Show the version

Prints '[channel] payload', one line each: a line break in a payload is printed as \\n, --json
has the exact text. Where stdout is not a terminal only notifications go there.

Over wss:// the bridge is whom the system trusts, or the file in SSL_CERT_FILE.

Commands on stdin:
  sub CHANNEL, unsub CHANNEL, list, help, quit

Examples:
  alle listen orders alerts
  alle listen orders --json | jq .payload
";

const PUBLISH: &str = "\
Send one notification through a bridge and wait until PostgreSQL committed it

Usage: alle publish [OPTIONS] CHANNEL PAYLOAD

Arguments:
  CHANNEL                    Where to
  PAYLOAD                    What; '-' reads it from stdin (without the last line's end)

Options:
  -w, --ws-url URL           The bridge [WS_URL] [default: ws://127.0.0.1:8080]
      --token-file FILE      Where the bridge wants a token: the first one in FILE [or: ALLE_TOKEN]
  -l, --log-level FILTER     Log lines on stderr [RUST_LOG] [default: alle=info,info]
  -h, --help                 Show this help
  -V, --version              Show the version

Over wss:// the bridge is whom the system trusts, or the file in SSL_CERT_FILE.

Examples:
  alle publish orders '{\"id\": 123, \"status\": \"pending\"}'
  date | alle publish alerts -
  alle publish -- numbers -5
";

const DEMO: &str = "\
Start a throw-away PostgreSQL, a bridge and the playground page; Ctrl-C removes it all

Usage: alle demo [OPTIONS]

Options:
  -w, --ws-bind-addr ADDR    Listen on ADDR [WS_BIND_ADDR]
                             [default: 127.0.0.1:8080, or a free port where that is taken]
  -l, --log-level FILTER     Log lines on stderr [RUST_LOG] [default: alle=info,info]
  -h, --help                 Show this help
  -V, --version              Show the version

Needs PostgreSQL's own programs (initdb, postgres) on this machine, no server and no Docker.

Example:
  alle demo -w 127.0.0.1:9000
";

const DOCTOR: &str = "\
Check whether LISTEN and NOTIFY work with this PostgreSQL: connection, TLS, kind of server, and
whether what one session notifies reaches the other. Each finding comes with what to do about it.

Usage: alle doctor [OPTIONS]

Options:
  -p, --postgres-url URL     PostgreSQL [POSTGRES_URL] [default: postgresql://localhost/postgres]
      --pg-listen-url URL    For the listening session alone, past a pooler [PG_LISTEN_URL]
      --pg-publish-url URL   For the publishing session alone [PG_PUBLISH_URL]
  -l, --log-level FILTER     Log lines on stderr [RUST_LOG] [default: off]
  -h, --help                 Show this help
  -V, --version              Show the version

Exit status: 0 if a bridge can work with it, 1 if not.

Example:
  alle doctor -p postgresql://app@db.example/app?sslmode=verify-full
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_help_text_has_a_usage_line_and_fits_100_columns() {
        use CommandName::{Demo, Doctor, Listen, Publish, Serve};
        for command in [
            None,
            Some(Serve),
            Some(Listen),
            Some(Publish),
            Some(Demo),
            Some(Doctor),
        ] {
            assert!(line(command).starts_with("alle "), "{command:?}");
            for text in help(command).lines() {
                assert!(text.len() <= 100, "{text}");
            }
        }
    }
}
