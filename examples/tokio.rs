//! The bridge in a Tokio program that has work of its own: `cargo run --example tokio [POSTGRES_URL
//! [ADDRESS [OWN_ADDRESS]]]`. Whatever fails, the program ends at once, and the bridge with it.

#![expect(clippy::print_stdout, reason = "to be looked at")]

use std::{env, error::Error};

use alle::{Bridge, BridgeConfig};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let postgres_url = argument("postgresql://localhost/postgres");
    let config = BridgeConfig::new(postgres_url, argument("127.0.0.1:8080"));

    let bridge = Bridge::new(config).spawn()?;
    println!("listening on {}", bridge.ws_url());

    // The program's own work. Where this fails, `main` returns: the bridge is dropped, and stops.
    let listener = TcpListener::bind(argument("127.0.0.1:8081")).await?;
    println!("own work at {}", listener.local_addr()?);
    let (_connection, peer) = listener.accept().await?;
    println!("{peer} was here");

    bridge.stop().await?;
    Ok(())
}
