//! A bridge made of its two halves, with a program in between:
//! `cargo run --example web_socket_server [POSTGRES_URL]`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "to be looked at")]

use std::{error::Error, thread};

use alle::{Incoming, PostgresListener, WebSocketServer};

fn main() -> Result<(), Box<dyn Error>> {
    let postgres_url = std::env::args().nth(1);
    let postgres_url = postgres_url.as_deref();
    let postgres_url = postgres_url.unwrap_or("postgresql://localhost/postgres");

    let (pg_listener, notification_rx) = PostgresListener::connect(postgres_url, 1000).wait()?;
    let (ws_server, incoming_rx) = WebSocketServer::new("127.0.0.1:8080".to_string());

    let serving = thread::Builder::new().spawn(move || {
        for request in incoming_rx {
            println!("{request:?}");
            let call = match &request {
                Incoming::Subscribe(channel) => pg_listener.listen(channel.as_str()),
                Incoming::Unsubscribe(channel) => pg_listener.unlisten(channel.as_str()),
                Incoming::Notify(channel, payload) => {
                    pg_listener.notify(channel.as_str(), payload.as_str())
                }
                _ => continue,
            };
            if let Err(error) = call.wait() {
                eprintln!("{request:?}: {error}");
            }
        }
    })?;
    ws_server.start(notification_rx).wait()?;
    serving
        .join()
        .map_err(|_| "the requests' thread panicked")?;
    Ok(())
}
