//! Reads `src/` and checks the promises of architecture and style that no compiler checks: the
//! names that each file may use, and its length.

use std::{fmt::Write as _, fs, path::Path};

/// All rules over every file; every violation is shown at once.
#[test]
fn the_source_keeps_its_rules() {
    let mut faults = Vec::new();
    for file in &sources() {
        check_shape(file, &mut faults);
        check_outside_world(file, &mut faults);
        check_core(file, &mut faults);
        check_layers(file, &mut faults);
        check_sql(file, &mut faults);
        check_log(file, &mut faults);
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_readme_names_the_first_two_commands() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md is there");
    for command in ["make demo", "make test"] {
        assert!(
            readme.contains(command),
            "README.md: `{command}` is not named"
        );
    }
}

/// `make mutants` takes many minutes; this tells at once that a patch no longer applies.
#[test]
fn every_mutant_still_applies_and_has_its_row_in_the_docs() {
    let docs = fs::read_to_string(root().join("docs/correctness.md")).expect("it is there");
    let mut faults = Vec::new();
    for directory in [
        "tests/simulation/mutants",
        "tests/contract/mutants",
        "tests/group/mutants",
        "tests/feed/mutants",
    ] {
        for entry in fs::read_dir(root().join(directory)).expect("it is there") {
            let path = entry.expect("it is readable").path();
            let name = path.display();
            let patch = fs::read_to_string(&path).expect("a patch is UTF-8");
            let sentence = patch.lines().next().unwrap_or_default();
            if !docs.contains(&format!("\n| {sentence} | ")) {
                faults.push(format!("{name}: no row in docs/correctness.md"));
            }
            let mut files = patch.split("\n--- a/").skip(1).peekable();
            if files.peek().is_none() {
                faults.push(format!("{name}: changes no file"));
            }
            for file in files {
                let (file, hunks) = file.split_once('\n').unwrap_or_default();
                let text = fs::read_to_string(root().join(file)).unwrap_or_default();
                for hunk in hunks.split("\n@@ ").skip(1) {
                    if !text.contains(&lines_before(hunk)) {
                        faults.push(format!("{name}: does not apply to {file}"));
                    }
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The lines that a hunk of a patch expects to find.
fn lines_before(hunk: &str) -> String {
    let lines = hunk.lines().skip(1);
    let lines = lines.filter_map(|line| line.strip_prefix([' ', '-']));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn paths_are_seen_however_they_are_written() {
    let source = r#"
use std::{fmt, net::{IpAddr, TcpStream as Stream}};
use crate::{
    hub::Hub, // mio::Poll
    ws,
};
fn f() { let _ = "mio::Poll"; super::super::index::Index::default(); 'a: loop { '"'; } }
#[cfg(test)]
mod tests { use rand::random; }
"#;
    let file = Source::new("src/pg/codec.rs", source);
    let paths: Vec<_> = file
        .paths
        .iter()
        .map(|(line, path)| (*line, path.as_str()))
        .collect();
    for expected in [
        (2, "std::fmt"),
        (2, "std::net::IpAddr"),
        (2, "std::net::TcpStream"),
        (4, "crate::hub::Hub"),
        (5, "crate::ws"),
        (7, "crate::index::Index::default"),
    ] {
        assert!(paths.contains(&expected), "{expected:?} in {paths:?}");
    }
    assert!(
        !paths
            .iter()
            .any(|(_, path)| path.starts_with("mio") || path.starts_with("rand"))
    );
    assert_eq!(file.literals, [(7, "mio::Poll".to_owned())]);
}

/// The length, the words at the top, and forgotten leftovers.
fn check_shape(file: &Source, faults: &mut Vec<String>) {
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        faults.push(format!("{}:{lines}: over {LINES_MAX} lines", file.path));
    }
    if !file.text.starts_with("//! ") {
        faults.push(format!("{}:1: no `//!` says what this file is", file.path));
    }
    if file.path.ends_with("/mod.rs") {
        faults.push(format!(
            "{}:1: a module is `name.rs` beside `name/`",
            file.path
        ));
    }
    for (number, line) in file.text.lines().enumerate() {
        let words = || line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let leftover = ["TODO", "FIXME"]
            .into_iter()
            .find(|left| words().any(|word| word == *left));
        // Not `XXX` among other letters, as in a template of mktemp(1).
        let leftover = leftover.or_else(|| words().find(|word| *word == "XXX"));
        let leftover = leftover.or_else(|| line.contains("dbg!").then_some("dbg!"));
        // Clippy knows the oldest compiler of a function, not that of the grammar.
        let guard = line.find(" if let ").zip(line.find("=>"));
        let is_guard = guard.is_some_and(|(guard, arrow)| guard < arrow);
        let leftover = leftover.or_else(|| is_guard.then_some("`if let` as a guard (1.95)"));
        if let Some(leftover) = leftover {
            faults.push(format!(
                "{}:{}: a leftover {leftover}",
                file.path,
                number + 1
            ));
        }
    }
}

/// Sockets are the reactor's, JSON is the messages'.
fn check_outside_world(file: &Source, faults: &mut Vec<String>) {
    for (line, path) in &file.paths {
        let mut first_two = path.split("::");
        let root = first_two.next().unwrap_or_default();
        let fault = match root {
            "mio" if file.is_of(&["reactor", "cli", "sandbox"]) => continue,
            "mio" if path == "mio::Waker" && file.is_of(&["handle", "listener", "queue"]) => {
                continue;
            }
            "mio" => "sockets belong to the reactor",
            "serde" | "serde_json" if file.is_of(&["message", "access/jwt", "cli"]) => continue,
            "serde" | "serde_json" => "JSON belongs to message.rs and access/jwt",
            _ if SOCKETS.iter().any(|socket| path.starts_with(socket)) => {
                let is_taken = path == "std::net::TcpListener" && file.is_of(&FRONT_DOORS);
                let is_of_manager =
                    path.starts_with("std::os::unix::net") && file.is_of(&["service_manager"]);
                // Of operators, and of clients on its way to the bridge.
                let is_kept = file.is_of(&["workers", "worker"]);
                if is_taken
                    || is_of_manager
                    || is_kept
                    || file.is_of(&["reactor", "cli", "sandbox"])
                {
                    continue;
                }
                "sockets belong to the reactor"
            }
            _ => continue,
        };
        faults.push(format!("{}:{line}: `{path}`: {fault}", file.path));
    }
}

/// The core has no clock, no randomness, no environment, no network and no thread.
fn check_core(file: &Source, faults: &mut Vec<String>) {
    if !file.is_of(&CORE) {
        return;
    }
    for (line, path) in &file.paths {
        let fault = if path.ends_with("Instant::now") || path.contains("SystemTime") {
            "the core has no clock: `now` is an argument"
        } else if ["rand", "getrandom"].iter().any(|root| begins(path, root)) {
            "the core has no randomness: the seed is an argument"
        } else if path.ends_with("RandomState") {
            "the core has no randomness; a map's own key is none where nothing walks the map"
        } else if begins(path, "std::env") {
            "the core does not read the environment"
        } else if begins(path, "std::net")
            && !path.starts_with("std::net::Ip")
            && !path.ends_with("::SocketAddr")
        {
            "the core has no network; an IP address alone is a value"
        } else if begins(path, "std::thread") {
            "the core has no threads"
        } else {
            continue;
        };
        faults.push(format!("{}:{line}: `{path}`: {fault}", file.path));
    }
}

/// Dependencies go down only, and siblings never name each other.
fn check_layers(file: &Source, faults: &mut Vec<String>) {
    let Some((module, below)) = LAYERS.iter().find(|(module, _)| file.is_of(&[module])) else {
        return;
    };
    for (line, path) in &file.paths {
        let mut segments = path.split("::");
        if segments.next() != Some("crate") {
            continue;
        }
        let named = segments.next().unwrap_or_default();
        let is_module = named.starts_with(|c: char| c.is_lowercase());
        if is_module && named != *module && !below.contains(&named) {
            faults.push(format!(
                "{}:{line}: `{path}`: {module} must not know {named}",
                file.path
            ));
        }
    }
}

/// SQL, and with it quoting, is in one place.
fn check_sql(file: &Source, faults: &mut Vec<String>) {
    if file.path == "src/pg/command.rs" || file.is_of(&["sandbox"]) {
        return;
    }
    for (line, literal) in &file.literals {
        let literal = literal.trim_start();
        let is_sql = ["LISTEN", "UNLISTEN", "NOTIFY", "SELECT"]
            .iter()
            .any(|keyword| {
                literal.strip_prefix(keyword).is_some_and(|rest| {
                    let operand = rest.trim_start();
                    let is_word = rest.len() != operand.len();
                    // "LISTEN refused" is a sentence; "LISTEN {}" is not.
                    is_word
                        && (*keyword == "SELECT"
                            || operand.is_empty()
                            || operand.starts_with(OPERAND))
                })
            });
        if is_sql {
            faults.push(format!(
                "{}:{line}: {literal:?}: SQL is written in pg/command.rs",
                file.path
            ));
        }
    }
}

/// A line of the log names one of few targets, which mean something to a stranger; modules do not.
fn check_log(file: &Source, faults: &mut Vec<String>) {
    for level in ["error", "warn", "info", "debug", "trace"] {
        let call = format!("tracing::{level}!(");
        for (at, _) in file.text.match_indices(&call) {
            let rest = file.text[at + call.len()..].trim_start();
            let target = rest
                .strip_prefix("target: \"")
                .and_then(|it| it.split('"').next());
            if !target.is_some_and(|it| LOG_TARGETS.contains(&it)) {
                let line = file.text[..at].matches('\n').count() + 1;
                let path = &file.path;
                faults.push(format!("{path}:{line}: target: is none of {LOG_TARGETS:?}"));
            }
        }
    }
}

fn begins(path: &str, with: &str) -> bool {
    path.strip_prefix(with)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// A parsed file of `src/`. Only the text includes its tests.
struct Source {
    /// From the root of the repository.
    path: String,
    text: String,
    /// Each with its line: `use` declarations one by one and in full, and every path in between.
    paths: Vec<(usize, String)>,
    /// The text between quotation marks.
    literals: Vec<(usize, String)>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
        let end = text
            .find("\n#[cfg(test)]\nmod tests {")
            .unwrap_or(text.len());
        let (code, literals) = if is_test {
            Default::default()
        } else {
            lex(&text[..end])
        };
        // The number of `super::` that leads to the root.
        let depth = path.matches('/').count();
        let paths = paths(&code, depth);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            paths,
            literals,
        }
    }

    /// Whether it is one of these modules or inside one: `pg` is `pg.rs` and all of `pg/`.
    fn is_of(&self, modules: &[&str]) -> bool {
        let inside = self.path.trim_start_matches("src/");
        modules.iter().any(|module| {
            inside
                .strip_prefix(module)
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    }
}

/// Splits a source into its code, in which comments and literals are blank, and its literals.
fn lex(text: &str) -> (String, Vec<(usize, String)>) {
    let mut code = String::with_capacity(text.len());
    let mut literals = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let raw = rest
            .strip_prefix('r')
            .map(|raw| raw.trim_start_matches('#'));
        let in_word = code.ends_with(|c: char| c.is_alphanumeric() && c != 'b' || c == '_');
        let bytes = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if raw.is_some_and(|raw| raw.starts_with('"')) && !in_word {
            let hashes = rest.len() - 1 - raw.map_or(0, str::len);
            let close = format!("\"{}", "#".repeat(hashes));
            let body = &rest[hashes + 2..];
            let body = &body[..body.find(&close).unwrap_or(body.len())];
            literals.push((line, body.to_owned()));
            hashes + 2 + body.len() + close.len()
        } else if first == '"' {
            let bytes = quoted_bytes(rest, '"');
            literals.push((line, rest[1..bytes - 1].to_owned()));
            bytes
        } else if first == '\''
            && (rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\''))
        {
            quoted_bytes(rest, '\'')
        } else {
            code.push(first);
            line += usize::from(first == '\n');
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (blank, behind) = rest.split_at(bytes.min(rest.len()));
        code.extend(blank.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        line += blank.matches('\n').count();
        rest = behind;
    }
    (code, literals)
}

/// The length of the literal at the start, with its marks.
fn quoted_bytes(rest: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if !escaped && c == mark {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    rest.len()
}

/// All paths of the code, `{..}` multiplied out, `super::` up to the root replaced by `crate`.
fn paths(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    let mut prefixes: Vec<String> = Vec::new();
    let mut path = String::new();
    let mut is_use = false;
    let mut line = 1;
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let word_bytes = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let (word, behind) = rest.split_at(word_bytes.max(first.len_utf8()));
        rest = behind;
        match word {
            "use" if prefixes.is_empty() => is_use = true,
            ":" if rest.starts_with(':') => {
                rest = &rest[1..];
                path.push_str("::");
            }
            "{" if is_use => prefixes.push(std::mem::take(&mut path)),
            _ if word_bytes > 0 && (path.is_empty() || path.ends_with("::")) => path.push_str(word),
            _ => {
                if !path.is_empty() && !path.ends_with("::") {
                    let whole = prefixes.concat() + &path;
                    paths.push((line, from_root(&whole, depth)));
                }
                path.clear();
                match word {
                    "}" if is_use => drop(prefixes.pop()),
                    ";" => {
                        is_use = false;
                        prefixes.clear();
                    }
                    "\n" => line += 1,
                    _ => {}
                }
            }
        }
    }
    paths
}

fn from_root(path: &str, depth: usize) -> String {
    let mut whole = String::new();
    match path.strip_prefix(&"super::".repeat(depth)) {
        Some(rest) if depth > 0 => write!(whole, "crate::{rest}").expect("a String takes all"),
        _ => whole.push_str(path),
    }
    whole
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut directories = vec![root().join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("src/ is readable") {
            let path = entry.expect("src/ is readable").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is UTF-8");
                let inside = path.strip_prefix(root()).expect("it was found there");
                sources.push(Source::new(&inside.to_string_lossy(), &text));
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const LINES_MAX: usize = 500;
const SOCKETS: [&str; 4] = [
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os::unix::net",
];
/// They take a listener of the program, and pass it on.
const FRONT_DOORS: [&str; 3] = ["bridge", "front_door", "web_socket_server"];
const CORE: [&str; 17] = [
    "access", "backend", "backoff", "channel", "config", "delivery", "escape", "http", "hub", "id",
    "message", "metrics", "pg", "race", "random", "sse", "ws",
];
/// Each module with all that it may name of this crate besides itself.
const LAYERS: [(&str, &[&str]); 42] = [
    ("access", &["channel", "id"]),
    (
        "hub",
        &[
            "access", "backend", "channel", "config", "delivery", "escape", "http", "id",
            "message", "metrics", "pg", "random", "sse", "ws",
        ],
    ),
    ("backend", &["backoff", "channel", "pg", "race", "random"]),
    ("backoff", &[]),
    ("delivery", &["channel", "id", "metrics"]),
    ("pg", &["channel", "escape"]),
    ("escape", &[]),
    ("http", &[]),
    ("sse", &[]),
    ("ws", &["http"]),
    ("message", &["access", "channel"]),
    ("channel", &[]),
    ("id", &[]),
    ("race", &[]),
    ("random", &[]),
    ("metrics", &["http", "message", "ws"]),
    // The loop moves bytes: no JSON, no channel, no close code.
    (
        "reactor",
        &[
            "access",
            "backend",
            "config",
            "delivery",
            "handle",
            "hub",
            "id",
            "metrics",
            "operation",
            "orders",
            "pg",
            "queue",
            "regular_file",
            "service_manager",
            "surroundings",
            "terminal",
            "ticket_keys",
            "tickets",
            "token_file",
        ],
    ),
    ("service_manager", &[]),
    ("terminal", &[]),
    // The keys of tickets: the parent sends them, the loop uses them.
    ("ticket_keys", &[]),
    // The state that the loop shares with other threads, and its starters.
    (
        "handle",
        &[
            "access",
            "channel",
            "hub",
            "id",
            "operation",
            "orders",
            "token_file",
        ],
    ),
    ("tickets", &["access", "handle", "id", "orders"]),
    (
        "orders",
        &[
            "access",
            "channel",
            "hub",
            "id",
            "operation",
            "pg",
            "token_file",
        ],
    ),
    // A call and its outcome, for every front door.
    ("operation", &[]),
    ("running", &["error", "handle", "operation", "reactor"]),
    ("queue", &["channel", "hub"]),
    // What the front doors share.
    (
        "front_door",
        &[
            "access", "handle", "hub", "id", "queue", "reactor", "tickets",
        ],
    ),
    ("config", &["access"]),
    ("token_file", &["access", "regular_file"]),
    ("group_key_file", &["hub", "regular_file"]),
    (
        "group_config",
        &["config", "error", "group_key_file", "hub", "startup"],
    ),
    ("regular_file", &[]),
    ("surroundings", &["pg"]),
    ("process", &["metrics"]),
    (
        "startup",
        &[
            "access",
            "backend",
            "config",
            "pg",
            "reactor",
            "service_manager",
            "surroundings",
            "ticket_keys",
        ],
    ),
    (
        "error",
        &[
            "access",
            "channel",
            "config",
            "group_key_file",
            "pg",
            "startup",
            "token_file",
        ],
    ),
    // The front doors.
    (
        "bridge",
        &[
            "access",
            "channel",
            "config",
            "error",
            "front_door",
            "group_config",
            "handle",
            "hub",
            "id",
            "operation",
            "process",
            "queue",
            "reactor",
            "running",
            "startup",
            "ticket_keys",
            "tickets",
            "token_file",
        ],
    ),
    // A parent of bridges: no reactor, no PostgreSQL, no clients.
    (
        "workers",
        &[
            "access",
            "backoff",
            "config",
            "error",
            "http",
            "metrics",
            "service_manager",
            "startup",
            "terminal",
            "ticket_keys",
        ],
    ),
    (
        "worker",
        &[
            "bridge",
            "config",
            "error",
            "handle",
            "startup",
            "ticket_keys",
            "workers",
        ],
    ),
    (
        "web_socket_server",
        &[
            "access",
            "config",
            "error",
            "front_door",
            "handle",
            "hub",
            "id",
            "operation",
            "process",
            "queue",
            "reactor",
            "running",
            "startup",
            "tickets",
        ],
    ),
    (
        "listener",
        &[
            "backend",
            "channel",
            "operation",
            "pg",
            "queue",
            "reactor",
            "startup",
        ],
    ),
    (
        "doctor",
        &[
            "backend",
            "channel",
            "config",
            "error",
            "group_config",
            "hub",
            "pg",
            "reactor",
            "startup",
        ],
    ),
];
/// As docs/operating.md explains them.
const LOG_TARGETS: [&str; 4] = [
    "alle::bridge",
    "alle::client",
    "alle::group",
    "alle::postgres",
];
/// The words that follow a keyword in SQL and not in a sentence.
const OPERAND: [char; 4] = ['{', '"', '\\', '*'];
