//! What is said of each command beside its options.
//!
//! Plain sentences, laid out elsewhere. Owns the usage lines; names no default and no variable of
//! an option, since those are in the table.

use crate::cli::command::CommandName;

/// What is said of a command, or of the program.
pub(super) struct Page {
    /// One line, as one types it.
    pub(super) usage: &'static str,
    /// One sentence without a full stop, for lists.
    pub(super) summary: &'static str,
    /// Where the summary is not enough.
    pub(super) about: &'static str,
    /// The operands, each with its meaning.
    pub(super) operands: &'static [(&'static str, &'static str)],
    /// Paragraphs.
    pub(super) notes: &'static [&'static str],
    /// Command lines.
    pub(super) examples: &'static [&'static str],
}

/// The page of a command.
pub(super) fn page(command: CommandName) -> &'static Page {
    match command {
        CommandName::Serve => &SERVE,
        CommandName::Listen => &LISTEN,
        CommandName::Publish => &PUBLISH,
        CommandName::Demo => &DEMO,
        CommandName::Doctor => &DOCTOR,
        CommandName::Check => &CHECK,
        CommandName::Config => &CONFIG,
        CommandName::Health => &HEALTH,
        CommandName::Token => &TOKEN,
    }
}

/// The page of the program.
pub(super) const PROGRAM: Page = Page {
    usage: "alle [OPTIONS] [COMMAND]",
    summary: "WebSocket clients on PostgreSQL LISTEN/NOTIFY",
    about: "",
    operands: &[],
    notes: &[
        "An option wins over its variable [IN_BRACKETS], the variable over the file of --config, \
         the file over the default. The variable of an option without a value takes true or false. \
         An option that holds a secret takes @FILE, too: what is in FILE.",
    ],
    examples: &[
        "alle demo",
        "alle -p postgresql://app@db.example/app serve",
        "alle listen orders alerts",
        "alle publish orders '{\"id\": 123}'",
    ],
};

/// The summary of `alle help`.
pub(super) const HELP_SUMMARY: &str = "Show help on a command, 'man' or 'completions SHELL'";

const SERVE: Page = Page {
    usage: "alle [serve] [OPTIONS]",
    summary: "Start the bridge (default)",
    about: "Start the bridge: WebSocket clients on one side, PostgreSQL LISTEN/NOTIFY on the other",
    operands: &[],
    notes: &[
        "The bridge starts without PostgreSQL too, and keeps trying. Ctrl-C stops it, a second \
         Ctrl-C at once. Under systemd it takes the sockets that it is passed, and tells when it \
         is ready.",
    ],
    examples: &[
        "alle serve --playground",
        "alle -p postgresql://app@db.example/app -w 0.0.0.0:8080 -c orders,alerts",
    ],
};

const LISTEN: Page = Page {
    usage: "alle listen [OPTIONS] [CHANNELS]...",
    summary: "Listen to channels through a bridge, interactively",
    about: "Listen to channels through a bridge; commands on stdin change them meanwhile",
    operands: &[(
        "[CHANNELS]...",
        "Subscribe to these from the start, separated by comma or space",
    )],
    notes: &[
        "Each notification is one line, '[channel] payload'. A line break in the payload is \
         printed as \\n; --json has the exact text. If stdout is not a terminal, only \
         notifications go there.",
        "Over wss://, the certificate of the bridge must come from an authority that the system \
         trusts, or that is in the file named by SSL_CERT_FILE.",
        "Commands on stdin: sub CHANNEL, unsub CHANNEL, pub CHANNEL PAYLOAD, list, clear, help, \
         quit. On a terminal the line can be edited, recalled with the arrows and Ctrl-R, and \
         completed with Tab; in the background the program keeps listening. The variables NO_COLOR \
         and TERM=dumb are heeded.",
        "A channel that the bridge refuses is named and no longer asked for. If stdin is no \
         terminal and none is left, the exit status is 1.",
    ],
    examples: &[
        "alle listen orders alerts",
        "alle listen orders --json | jq .payload",
    ],
};

const PUBLISH: Page = Page {
    usage: "alle publish [OPTIONS] CHANNEL PAYLOAD",
    summary: "Send one notification through a bridge",
    about: "Send one notification through a bridge and wait until PostgreSQL committed it",
    operands: &[
        ("CHANNEL", "The channel to notify"),
        (
            "PAYLOAD",
            "The text to send; '-' reads it from stdin, without the end of its last line. None with \
             --lines",
        ),
    ],
    notes: &[
        "The exit status is 0 after PostgreSQL committed, 1 where nothing was sent, and 3 where the \
         answer was lost, or stdout could not be written: it may have been committed, so do not repeat it \
         blindly.",
        "With --lines, up to 256 lines are on their way at a time. When one is refused, its number is \
         told, and which lines behind it were sent all the same; those before it were sent. With 3, every \
         line that may have been sent is named; none behind the last of them was.",
        "An operand that begins with a dash and is no number goes behind '--'.",
        "Over wss://, the certificate of the bridge must come from an authority that the system \
         trusts, or that is in the file named by SSL_CERT_FILE.",
    ],
    examples: &[
        "alle publish orders '{\"id\": 123, \"status\": \"pending\"}'",
        "date | alle publish alerts -",
        "tail -F events.log | alle publish --lines events",
        "alle publish temperature -5",
        "alle publish -- alerts --none--",
    ],
};

const DEMO: Page = Page {
    usage: "alle demo [OPTIONS]",
    summary: "Throw-away PostgreSQL, bridge and playground page, for a first run",
    about: "Start a throw-away PostgreSQL, a bridge and the playground page; Ctrl-C removes all of \
            it",
    operands: &[],
    notes: &[
        "Needs PostgreSQL's own programs (initdb, postgres) on this machine, on the PATH, in the \
         usual directories or in that of the variable ALLE_PG_BIN; no server and no Docker.",
        "The pages of every server on this machine (http://localhost, any port) may connect, and \
         load the module for pages from /alle.js.",
    ],
    examples: &["alle demo -w 127.0.0.1:9000", "alle demo --open"],
};

const DOCTOR: Page = Page {
    usage: "alle doctor [OPTIONS]",
    summary: "Check whether LISTEN and NOTIFY work with this PostgreSQL",
    about: "Check whether LISTEN and NOTIFY work with this PostgreSQL: connection, TLS, kind of \
            server, and whether one session hears what the other notifies. Each finding comes with \
            what to do about it",
    operands: &[],
    notes: &["Exits with 0 if a bridge can work with this PostgreSQL, with 1 if not."],
    examples: &["alle doctor -p postgresql://app@db.example/app?sslmode=verify-full"],
};

const CHECK: Page = Page {
    usage: "alle check [OPTIONS]",
    summary: "Check the configuration, and say what it opens to strangers",
    about: "Check the configuration of 'alle serve' with the same options, variables and file: say \
            everything that is wrong with it, and what it opens to strangers. Of PostgreSQL it asks \
            whether the function of --auth-function can be called; for the rest there is 'alle \
            doctor'",
    operands: &[],
    notes: &[
        "Exits with 0 if 'alle serve' can start with it, with 2 if not, and with 1 if nobody would get in \
         because the function cannot be called. A PostgreSQL that does not answer is no fault.",
    ],
    examples: &["alle check --config /etc/alle/alle.toml"],
};

const CONFIG: Page = Page {
    usage: "alle config [OPTIONS]",
    summary: "Show the configuration, and where each value comes from",
    about: "Show the value of every option that 'alle serve' would have with the same options, \
            variables and file, and where it comes from. What is printed is a file for --config; \
            secrets are masked, and stand in comments",
    operands: &[],
    notes: &[],
    examples: &["alle config -w 0.0.0.0:8080 --max-clients 5000 > alle.toml"],
};

const HEALTH: Page = Page {
    usage: "alle health [OPTIONS]",
    summary: "Ask the bridge with this configuration whether it runs",
    about: "Ask the bridge that was started with the same options, variables and file whether it \
            runs, as the health check of a container",
    operands: &[],
    notes: &["Exits with 0 if it answers that it does, with 1 if not."],
    examples: &[
        "alle health --ready",
        "alle health --admin-addr 127.0.0.1:9090",
    ],
};

const TOKEN: Page = Page {
    usage: "alle token [OPTIONS]",
    summary: "Make a token: a random one, or a signed JWT to try a bridge with",
    about: "Make a token and print it: a random one for a file of tokens or, with a key, a JWT",
    operands: &[],
    notes: &[
        "A JWT from here is for trying; in an application the server that knows its users signs \
         theirs, by a library of its own.",
    ],
    examples: &[
        "alle token >> /etc/alle/tokens",
        "alle token --sign-with /etc/alle/jwt-key --sub ann --lifetime 15m",
    ],
};
