//! The server under test. For now a small stand-in that serves the page and passes messages on;
//! the real binary takes its place behind the same four methods.

use std::{
    collections::HashSet,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Mutex,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket};

const PAGE: &str = include_str!("../../assets/playground.html");

/// What the real server sends with the page.
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\
    Connection: close\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline'; connect-src 'self' ws: wss:; img-src data:; \
    frame-ancestors 'none'; base-uri 'none'\r\n\r\n";

/// Where every connection hears of notifications.
type Clients = Arc<Mutex<Vec<Sender<(String, String)>>>>;

/// A server that can be stopped and started again on the same port.
pub struct Server {
    address: SocketAddr,
    clients: Clients,
    running: Arc<AtomicBool>,
    accepting: Option<thread::JoinHandle<()>>,
}

/// Starts a server with the playground page.
pub fn start_server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Server {
        address: listener.local_addr().unwrap(),
        clients: Clients::default(),
        running: Arc::default(),
        accepting: None,
    };
    server.accept_on(listener);
    server
}

impl Server {
    /// Where the page is.
    pub fn page_url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What PostgreSQL's NOTIFY would do.
    pub fn notify(&self, channel: &str, payload: &str) {
        notify(&self.clients, channel, payload);
    }

    /// Ends it with every connection.
    pub fn stop(&mut self) {
        self.running.store(false, Ordering::SeqCst);
        self.clients.lock().unwrap().clear();
        // Wakes the thread that accepts; then nobody listens any more.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
    }

    /// Starts it where it was.
    pub fn start_again(&mut self) {
        self.accept_on(TcpListener::bind(self.address).unwrap());
    }

    fn accept_on(&mut self, listener: TcpListener) {
        let running = Arc::new(AtomicBool::new(true));
        self.running = Arc::clone(&running);
        let clients = Arc::clone(&self.clients);
        self.accepting = Some(thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if !running.load(Ordering::SeqCst) {
                    return;
                }
                let clients = Arc::clone(&clients);
                thread::spawn(move || serve(stream, &clients));
            }
        }));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn notify(clients: &Clients, channel: &str, payload: &str) {
    for client in clients.lock().unwrap().iter() {
        let _ = client.send((channel.to_owned(), payload.to_owned()));
    }
}

fn serve(mut stream: TcpStream, clients: &Clients) {
    let mut head = [0; 4096];
    let peeked = stream.peek(&mut head).unwrap_or(0);
    if !String::from_utf8_lossy(&head[..peeked])
        .to_lowercase()
        .contains("upgrade: websocket")
    {
        let _ = stream.read(&mut head);
        let _ = stream
            .write_all(HEAD.as_bytes())
            .and_then(|()| stream.write_all(PAGE.as_bytes()));
        return;
    }
    let Ok(socket) = tungstenite::accept(stream) else {
        return;
    };
    let (sender, notifications) = channel();
    clients.lock().unwrap().push(sender);
    pass_on(socket, &notifications, clients);
}

/// One client, until either side is gone.
fn pass_on(
    mut socket: WebSocket<TcpStream>,
    notifications: &Receiver<(String, String)>,
    clients: &Clients,
) {
    let mut subscribed = HashSet::new();
    socket
        .get_ref()
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    loop {
        loop {
            match notifications.try_recv() {
                Ok((channel, payload)) if subscribed.contains(&channel) => {
                    say(
                        &mut socket,
                        &json!({"type": "notification", "channel": channel,
                        "payload": payload}),
                    );
                }
                Ok(_) => {}
                Err(std::sync::mpsc::TryRecvError::Empty) => break,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
            }
        }
        match socket.read() {
            Ok(Message::Text(text)) => {
                let asked: Value = serde_json::from_str(&text).unwrap();
                let answer = answer(&asked, &mut subscribed);
                say(&mut socket, &answer);
                if answer["type"] == "notified" {
                    let text = |field: &str| asked[field].as_str().unwrap_or("").to_owned();
                    notify(clients, &text("channel"), &text("payload"));
                }
            }
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn answer(asked: &Value, subscribed: &mut HashSet<String>) -> Value {
    let (id, channel) = (&asked["id"], asked["channel"].as_str().unwrap_or(""));
    if channel.len() > 63 {
        return json!({"type": "error", "code": "bad_channel", "message": "too long", "id": id});
    }
    match asked["type"].as_str().unwrap_or("") {
        "subscribe" => {
            subscribed.insert(channel.to_owned());
            let mut answer =
                json!({"type": "subscribed", "channel": channel, "id": id, "epoch": "E", "seq": 0});
            if asked.get("since").is_some() {
                answer["recovered"] = json!(false);
            }
            answer
        }
        "unsubscribe" => {
            subscribed.remove(channel);
            json!({"type": "unsubscribed", "channel": channel, "id": id})
        }
        "notify" => json!({"type": "notified", "channel": channel, "id": id}),
        _ => json!({"type": "pong"}),
    }
}

fn say(socket: &mut WebSocket<TcpStream>, message: &Value) {
    let _ = socket.send(Message::text(message.to_string()));
}
