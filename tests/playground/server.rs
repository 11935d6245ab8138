//! The server under test: the real binary on a real PostgreSQL.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use alle::internals::sandbox::{self, Sandbox, SandboxError};

use crate::deserted::Deserted;
use crate::environment::clean;

/// A bridge that can be stopped and started again on the same port.
pub struct Server {
    /// No other process gets it, even while the bridge is stopped.
    port: Deserted,
    database: Database,
    arguments: Vec<String>,
    process: Option<Child>,
}

/// Starts a bridge with the playground page.
pub fn start_server() -> Server {
    start_server_with(&[])
}

/// A database, and the server that has it.
#[derive(Clone)]
pub struct Database {
    /// `None` for the shared one.
    own: Option<Arc<Sandbox>>,
    name: String,
}

impl Database {
    fn create(own: Option<Arc<Sandbox>>) -> Self {
        let name = String::new();
        let mut database = Self { own, name };
        database.name = database.sandbox().create_database().unwrap();
        database
    }

    /// Its server.
    pub fn sandbox(&self) -> &Sandbox {
        self.own.as_deref().unwrap_or_else(|| sandbox::shared())
    }

    /// Runs SQL in a session of its own.
    pub fn run(&self, sql: &str) -> Result<String, SandboxError> {
        self.sandbox().psql(&self.name, sql)
    }

    fn url(&self) -> String {
        self.sandbox().url_for(&self.name)
    }
}

/// With more arguments.
pub fn start_server_with(arguments: &[&str]) -> Server {
    start_on(Database::create(None), arguments)
}

/// With a PostgreSQL of its own, to be harmed.
pub fn start_server_on(sandbox: Sandbox, arguments: &[&str]) -> Server {
    start_on(Database::create(Some(Arc::new(sandbox))), arguments)
}

fn start_on(database: Database, arguments: &[&str]) -> Server {
    let mut server = Server {
        port: Deserted::hold(),
        database,
        arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
        process: None,
    };
    server.start_again();
    server
}

impl Server {
    /// The URL of the page.
    pub fn page_url(&self) -> String {
        self.url("/")
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.port.address())
    }

    /// The port it listens on, as long as it runs.
    pub fn port(&self) -> u16 {
        self.port.address().port()
    }

    /// Its database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// NOTIFY from another session.
    pub fn notify(&self, channel: &str, payload: &str) {
        let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let sql = format!("SELECT pg_notify({}, {})", quote(channel), quote(payload));
        self.database.run(&sql).unwrap();
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }

    /// Lets it end in order, after it has told its clients.
    pub fn stop_in_order(&mut self) {
        self.signal("TERM");
        let mut process = self.process.take().unwrap();
        assert!(process.wait().unwrap().success());
    }

    /// Ends it with every connection.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it on the same port.
    pub fn start_again(&mut self) {
        let (url, arguments) = (self.database.url(), &self.arguments);
        self.process = Some(self.port.lend(|address| serve(address, &url, arguments)));
    }
}

/// A bridge that listens, and has both of its sessions: until then, a page that connects is told that
/// PostgreSQL is down.
fn serve(address: SocketAddr, postgres_url: &str, arguments: &[String]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alle"));
    clean(&mut command);
    let mut process = command
        .args(["serve", "--playground", "-w", &address.to_string()])
        .args(["-p", postgres_url])
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let (mut is_listening, mut sessions) = (false, 0);
    while !is_listening || sessions < 2 {
        let line = lines.next().expect("the bridge starts");
        sessions += usize::from(line.contains("session connected"));
        is_listening |= line.contains("listening on ws://");
    }
    // The pipe is read to the end of the process, so that its log never blocks it.
    std::thread::spawn(move || lines.for_each(drop));
    process
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
