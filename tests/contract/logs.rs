//! Contract, section 1: the log can neither hold the bridge nor be written by strangers.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use crate::{
    harness::{Bridge, Database, NO_POSTGRES, PATIENCE, wait_until, wrapped},
    raw::{CLOSE, Raw, TEXT, upgrade_request},
};

/// It takes a listening socket, so that nobody has to read its address in the log.
const ACTIVATE: &str =
    "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";

/// A bridge whose stderr is full from the start; killed when dropped.
struct Stuck {
    child: Child,
    address: std::net::SocketAddr,
    /// Reads nothing until somebody does.
    stderr: UnixStream,
}

impl Stuck {
    fn serve(arguments: &[&str]) -> Self {
        let (stderr, mut full) = UnixStream::pair().unwrap();
        full.set_nonblocking(true).unwrap();
        loop {
            match full.write(&[b'x'; 4_096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        full.set_nonblocking(false).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let arguments = [&["serve", "-p", NO_POSTGRES], arguments].concat();
        let mut command = wrapped(ACTIVATE, &arguments);
        command
            .stdin(OwnedFd::from(listener.try_clone().unwrap()))
            .stdout(Stdio::null())
            .stderr(OwnedFd::from(full));
        Self {
            child: command.spawn().unwrap(),
            address: listener.local_addr().unwrap(),
            stderr,
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_stderr_that_nobody_reads_holds_up_nobody() {
    let mut bridge = Stuck::serve(&[]);
    let mut client = Raw::upgraded(bridge.address);
    for _ in 0..10 {
        let mut stranger = Raw::open(bridge.address);
        stranger.write(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
        assert_eq!(stranger.response("GET").status, 403);
    }
    client.send(TEXT, br#"{"type":"ping"}"#);
    while !client.text().contains("pong") {}
    drop(client);
    bridge.signal(rustix::process::Signal::TERM);
    let mut code = None;
    let asked = Instant::now();
    wait_until("the bridge ends", || {
        let status = bridge.child.try_wait().unwrap();
        status.inspect(|status| code = status.code()).is_some()
    });
    assert_eq!(code, Some(0));
    assert!(asked.elapsed() < PATIENCE / 2, "{:?}", asked.elapsed());
}

/// One cause has 50 lines a second; here it is a person at a keyboard who is in a hurry, and each line
/// has a path of three thousand letters in it: some hundreds of them are too many.
#[test]
fn lines_that_are_dropped_are_counted_in_the_log_and_on_the_page() {
    let directory = tempfile::tempdir().unwrap();
    let mut path = directory.path().to_owned();
    path.extend(vec!["x".repeat(250); 12]);
    fs::create_dir_all(&path).unwrap();
    path.push("tokens");
    fs::write(&path, "a-token-of-enough-characters\n").unwrap();
    let mut bridge = Stuck::serve(&["--token-file", path.to_str().unwrap()]);
    Raw::upgraded(bridge.address);
    let dropped = || {
        let mut raw = Raw::open(bridge.address);
        raw.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let page = raw.response("GET").body;
        let sample = page
            .lines()
            .find_map(|line| line.strip_prefix("alle_log_lines_dropped_total "));
        sample.unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(dropped(), 0);
    fs::write(&path, "").unwrap();
    wait_until("lines are dropped", || {
        bridge.signal(rustix::process::Signal::HUP);
        // Signals that come at once are one.
        thread::yield_now();
        dropped() > 0
    });
    let mut log = Vec::new();
    let mut buffer = [0; 65_536];
    bridge.stderr.set_read_timeout(Some(PATIENCE)).unwrap();
    while !String::from_utf8_lossy(&log).contains("lines of this log were dropped") {
        let bytes = bridge.stderr.read(&mut buffer).unwrap();
        assert!(bytes > 0, "{}", String::from_utf8_lossy(&log));
        log.extend_from_slice(&buffer[..bytes]);
    }
}

/// A PostgreSQL that lets everybody in and then says this, whatever it is asked.
fn talkative(words: Vec<u8>) -> (u16, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (said, all_said) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (words, said) = (words.clone(), said.clone());
            thread::spawn(move || {
                let _ = talk(stream.unwrap(), &words).map(|()| said.send(()));
            });
        }
    });
    (port, all_said)
}

fn talk(mut stream: TcpStream, words: &[u8]) -> std::io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut start_up = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut start_up)?;
    stream.write_all(&message(b'R', &[0; 4]))?;
    stream.write_all(&message(b'S', b"server_version\x0018.0\0"))?;
    stream.write_all(&message(b'Z', b"I"))?;
    stream.write_all(words)?;
    // As long as we do not go, nobody comes again.
    let mut buffer = [0; 4_096];
    thread::spawn(move || while stream.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {});
    Ok(())
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag][..], &length, body].concat()
}

#[test]
fn a_server_cannot_fill_the_log() {
    let (port, all_said) = talkative(message(0x1b, b"").repeat(1_000_000));
    let url = format!("host=127.0.0.1 port={port} user=u dbname=d sslmode=disable");
    let bridge = Bridge::serve(&url, &[]);
    for _ in 0..2 {
        all_said.recv_timeout(PATIENCE).unwrap();
    }
    bridge.wait_for_log("unknown type");
    let lines = bridge.log().lines().count();
    assert!(lines <= 20, "{lines}: {}", bridge.log());
}

#[test]
fn a_server_cannot_write_a_line_of_the_log() {
    let error = message(
        b'E',
        b"SFATAL\0VFATAL\0C28000\0Mno\n2026-01-01 forged\r\x1b[2J\0\0",
    );
    let (port, _) = talkative(error);
    let url = format!("host=127.0.0.1 port={port} user=u dbname=d sslmode=disable");
    let bridge = Bridge::serve(&url, &[]);
    bridge.wait_for_log("no\\n2026-01-01 forged\\r\\u{1b}[2J");
}

/// Everybody is who it says.
const WHOSE_NAME_IS_ITS_TOKEN: &str = "
    CREATE SCHEMA auth;
    CREATE FUNCTION auth.bearer(token text, address text, path text)
        RETURNS TABLE (identity text, subscribe text[], publish text[], expires timestamptz)
        LANGUAGE sql STABLE
        AS 'SELECT bearer.token, NULL::text[], NULL::text[], NULL::timestamptz';
";

/// The lines of a log without times, ports and spans, and without those about PostgreSQL, whose order is
/// its own.
fn comparable(log: &str) -> String {
    let lines = log.lines().filter(|it| !it.contains(" alle::postgres: "));
    let words = lines.map(|line| {
        let words = line.split_whitespace().skip(1).map(|word| {
            let is_number = word.starts_with("seconds=") || word.starts_with("ws://");
            let name = word.split(['=', ':']).next().unwrap();
            if is_number { name } else { word }
        });
        words.collect::<Vec<_>>().join(" ")
    });
    words.collect::<Vec<_>>().join("\n")
}

/// The block of docs/operating.md and the log of this test have the same lines, but for times and ports.
#[test]
fn the_log_in_the_docs_is_one_of_the_program() {
    let database = Database::create();
    database.sql().run(WHOSE_NAME_IS_ITS_TOKEN);
    let arguments = [
        "--auth-function",
        "auth.bearer",
        "--trusted-proxy",
        "127.0.0.1",
    ];
    let mut bridge = Bridge::start_with(&database.url(), &arguments);
    let come = |token: &str, headers: &str| {
        let headers = format!("Authorization: Bearer {token}\r\n{headers}");
        let mut raw = Raw::open(bridge.address);
        raw.write(upgrade_request(bridge.address, "/ws", &headers).as_bytes());
        (raw.response("GET").status, raw)
    };
    let left = |count| {
        wait_until("the line is there", || {
            bridge.log().matches("a client left").count() == count
        });
    };
    let browser = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0\r\n\
                   X-Forwarded-For: 192.0.2.1\r\n";
    let (_, mut ann) = come("ann", browser);
    ann.send(TEXT, br#"{"type":"subscribe","channel":"orders"}"#);
    assert!(ann.text().contains("subscribed"));
    let mut sql = database.sql();
    for number in ["1", "2"] {
        sql.notify("orders", number);
        assert!(ann.text().contains("notification"));
    }
    ann.send(CLOSE, &1000_u16.to_be_bytes());
    left(1);
    let (_, bob) = come(
        "bob",
        "User-Agent: alle/0.1.0\r\nX-Forwarded-For: 192.0.2.2\r\n",
    );
    drop(bob);
    left(2);
    let (status, _) = come(
        "",
        "X-Forwarded-For: 203.0.113.9\r\nSec-WebSocket-Version: 8\r\n",
    );
    assert_eq!(status, 400);
    bridge.wait_for_log("refused 203.0.113.9 with 400");
    let (_, _stays) = come("carol", "X-Forwarded-For: 192.0.2.3\r\n");
    bridge.signal("TERM");
    assert_eq!(bridge.wait_for_exit().0, Some(0));
    bridge.wait_for_log("INFO alle::bridge: stopped");
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md"));
    let docs = docs.unwrap();
    let (_, block) = docs.split_once("\n```log\n").expect("there is a block");
    let (block, _) = block.split_once("```").expect("it ends");
    assert_eq!(comparable(&bridge.log()), comparable(block));
}

/// What a stranger sends is in a string of it, and commands nothing.
#[test]
fn a_log_in_json_is_an_object_a_line_whatever_strangers_send() {
    let bridge = Bridge::serve(NO_POSTGRES, &["--log-format", "json"]);
    let mut raw = Raw::open(bridge.address);
    let origin = "https://evil\"\\.example";
    let address = bridge.address;
    raw.write(
        format!("GET /ws HTTP/1.1\r\nHost: {address}\r\nOrigin: {origin}\r\n\r\n").as_bytes(),
    );
    assert_eq!(raw.response("GET").status, 403);
    let line = bridge.wait_for_log("evil");
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["level"], "WARN");
    assert!(object["timestamp"].is_string(), "{line}");
    let message = object["message"].as_str().unwrap();
    assert!(
        message.starts_with("refused 127.0.0.1 with 403: "),
        "{line}"
    );
}
