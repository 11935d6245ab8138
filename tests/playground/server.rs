//! The server under test: the real binary on a real PostgreSQL.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use alle::sandbox;

use crate::environment::clean;

/// A bridge that can be stopped and started again on the same port.
pub struct Server {
    address: SocketAddr,
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
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut server = Server {
        address: any,
        database,
        arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
        process: None,
    };
    server.start_again();
    server
}

impl Server {
    /// Where the page is.
    pub fn page_url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Another session's NOTIFY.
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

    /// Starts it where it was.
    pub fn start_again(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alle"));
        clean(&mut command);
        let mut process = command
            .args(["serve", "--playground", "-w", &self.address.to_string()])
            .args(["-p", &sandbox::shared().url_for(&self.database)])
            .args(&self.arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Until PostgreSQL is there, a page that connects is told that it is down. The pipe is
        // read to the end of the process, so that its log never blocks it.
        let mut lines = BufReader::new(process.stderr.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let (mut address, mut sessions) = (None, 0);
        while address.is_none() || sessions < 2 {
            let line = lines.next().expect("the bridge starts");
            sessions += usize::from(line.contains("session connected"));
            if let Some((_, found)) = line.split_once("listening on ws://") {
                address = Some(found.trim().parse().unwrap());
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        self.address = address.expect("the loop ends with it");
        self.process = Some(process);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
