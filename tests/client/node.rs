//! Node, or another program that runs JavaScript, as a world for the module: expressions in, values out.
//!
//! Knows how each is found and talked to. Refuses to know the module and what is asked of it. Node
//! missing is a failure that says how to install it, never a skipped test.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

/// A running Node.
pub struct Node {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Node {
    /// One in which nothing has been evaluated yet.
    pub fn start() -> Self {
        // Node 20 has a WebSocket only if it is asked for it; later ones take the option too.
        Self::start_with("node", &["--experimental-websocket"])
    }

    /// Another program with these arguments, for the same.
    pub fn start_with(program: &str, arguments: &[&str]) -> Self {
        let mut child = command(program)
            .args(arguments)
            .arg("tests/client/world.mjs")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{MISSING}: {error}"));
        Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// The value of an expression, once it is there.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        self.ask("evaluate", expression)
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait_for(&mut self, condition: &str) {
        self.ask("wait", condition);
    }

    #[track_caller]
    fn ask(&mut self, verb: &str, expression: &str) -> Value {
        let asked = serde_json::json!({ "verb": verb, "expression": expression });
        writeln!(self.stdin, "{asked}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line).expect("Node answers");
        assert!(answer.get("error").is_none(), "{expression}: {answer}");
        answer["value"].take()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a file of tests by Node's own runner.
#[track_caller]
pub fn run_tests(file: &str) {
    let mut runner = command("node");
    let output = runner.args(["--test", file]).output();
    let output = output.unwrap_or_else(|error| panic!("{MISSING}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    command
}

const MISSING: &str =
    "node 20 or newer is needed on PATH, and does not start; on Debian: apt-get install nodejs";
