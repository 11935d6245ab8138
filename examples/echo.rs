//! A server that returns each message to its sender: `cargo run --example echo [ADDRESS]`.
//! `make autobahn` holds it to RFC 6455.

#![expect(clippy::print_stdout, reason = "to be looked at")]

use std::{error::Error, thread};

use alle::{Limits, WebSocketServer};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8080");

    let mut limits = Limits::default();
    limits.message_bytes_max = 1024 * 1024;
    let (server, _) = WebSocketServer::new(address);
    let server = server.with_limits(limits);
    let handle = server.handle();
    thread::Builder::new().spawn(move || {
        if let Some(address) = handle.local_addr() {
            println!("listening on ws://{address}");
        }
    })?;
    server.serve_messages(Some).wait()?;
    Ok(())
}
