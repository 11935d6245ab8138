//! An order that is posted to the one server is heard on a socket of the page.

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use alle::internals::sandbox::shared;
use serde_json::{Value, json};
use tungstenite::{ClientRequestBuilder, Message, WebSocket};

const TIMEOUT: Duration = Duration::from_secs(60);

/// One of the two programs, with a database of its own.
struct Site {
    child: Child,
    origin: String,
}

impl Site {
    fn start(program: &Path) -> Result<Self, Box<dyn Error>> {
        let database = shared().create_database()?;
        let mut child = Command::new(program)
            .args([&shared().url_for(&database), "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut origin = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut origin)?;
        let origin = origin.trim_end().to_owned();
        Ok(Self { child, origin })
    }

    fn address(&self) -> SocketAddr {
        address(&self.origin)
    }

    /// What is answered to `request`.
    fn answer(&self, request: &str, body: &str) -> Result<String, Box<dyn Error>> {
        let address = self.address();
        let mut stream = connect(address)?;
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn socket(&self, url: &str) -> Result<WebSocket<TcpStream>, Box<dyn Error>> {
        let stream = connect(address(url))?;
        let request = ClientRequestBuilder::new(url.parse()?).with_header("Origin", &self.origin);
        Ok(tungstenite::client(request, stream)?.0)
    }

    /// Threads of the program.
    fn threads(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let threads = status
            .lines()
            .find_map(|line| line.strip_prefix("Threads:"));
        threads.unwrap_or(" unknown").trim().to_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream, Box<dyn Error>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn address(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").expect("a URL");
    let address = rest.split('/').next().expect("an address");
    address.parse().expect("an address")
}

/// The next text, which is JSON if it is the bridge's.
fn text(socket: &mut WebSocket<TcpStream>) -> Result<String, Box<dyn Error>> {
    loop {
        if let Message::Text(text) = socket.read()? {
            return Ok(text.to_string());
        }
    }
}

/// The next message of this type.
fn hear(socket: &mut WebSocket<TcpStream>, kind: &str) -> Result<Value, Box<dyn Error>> {
    loop {
        let message: Value = serde_json::from_str(&text(socket)?)?;
        if message["type"] == kind {
            return Ok(message);
        }
    }
}

#[test]
fn by_alle() -> Result<(), Box<dyn Error>> {
    let site = Site::start(Path::new(env!("CARGO_BIN_EXE_alle-axum")))?;
    let page = site.answer("GET /", "")?;
    assert!(
        site.answer("GET /alle.js", "")?
            .contains("export const connect")
    );
    let url = page
        .split_once("connect(\"")
        .and_then(|(_, rest)| rest.split_once('"'));
    let (url, _) = url.expect("the page connects");
    let mut socket = site.socket(url)?;
    let subscribe = json!({"type": "subscribe", "channel": "orders"});
    socket.send(Message::text(subscribe.to_string()))?;
    hear(&mut socket, "subscribed")?;
    let posted = site.answer("POST /orders", "New order received")?;
    assert!(posted.starts_with("HTTP/1.1 200 "), "{posted}");
    let heard = hear(&mut socket, "notification")?;
    assert_eq!(heard["payload"], "New order received");
    let too_long = site.answer("POST /orders", &"x".repeat(8_000))?;
    assert!(too_long.starts_with("HTTP/1.1 503 "), "{too_long}");
    println!("by alle: {} threads", site.threads());
    Ok(())
}

#[test]
fn by_axum_and_tokio_postgres() -> Result<(), Box<dyn Error>> {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_alle-axum"));
    let site = Site::start(&program.with_file_name("examples").join("usual"))?;
    let mut socket = site.socket(&format!("ws://{}/ws", site.address()))?;
    let posted = site.answer("POST /orders", "New order received")?;
    assert!(posted.starts_with("HTTP/1.1 200 "), "{posted}");
    assert_eq!(text(&mut socket)?, "New order received");
    println!("by axum and tokio-postgres: {} threads", site.threads());
    Ok(())
}
