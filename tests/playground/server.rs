//! The server under test: the real binary on a real PostgreSQL.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use alle::internals::sandbox;

use crate::deserted::Deserted;
use crate::environment::clean;

/// A bridge that can be stopped and started again on the same port.
pub struct Server {
    /// No other process gets it, even while the bridge is stopped.
    port: Deserted,
    database: String,
    arguments: Vec<String>,
    process: Option<Child>,
}

/// Starts a bridge with the playground page.
pub fn start_server() -> Server {
    start_server_with(&[])
}

/// With more arguments.
pub fn start_server_with(arguments: &[&str]) -> Server {
    let database = sandbox::shared().create_database().unwrap();
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
        format!("http://{}/", self.port.address())
    }

    /// NOTIFY from another session.
    pub fn notify(&self, channel: &str, payload: &str) {
        let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let sql = format!("SELECT pg_notify({}, {})", quote(channel), quote(payload));
        sandbox::shared().psql(&self.database, &sql).unwrap();
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
        let (url, arguments) = (sandbox::shared().url_for(&self.database), &self.arguments);
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
