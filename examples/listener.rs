//! Notifications without WebSockets: `cargo run --example listener [POSTGRES_URL]`.

#![expect(clippy::print_stdout, reason = "to be looked at")]

use alle::{ListenerError, PostgresListener, Received};

fn main() -> Result<(), ListenerError> {
    let postgres_url = std::env::args().nth(1);
    let postgres_url = postgres_url.as_deref();
    let postgres_url = postgres_url.unwrap_or("postgresql://localhost/postgres");

    let (pg_listener, notification_rx) = PostgresListener::connect(postgres_url, 1000).wait()?;
    pg_listener.listen("my_channel").wait()?;
    pg_listener
        .notify("my_channel", "Hello from Rust!")
        .wait()?;

    for received in &notification_rx {
        match received {
            Received::Notification(it) => {
                println!(
                    "[{}] {} (from process {})",
                    it.channel, it.payload, it.process_id
                );
            }
            Received::Gap(channel) => println!("[{channel}] connected again, something is missing"),
            Received::Overflow => println!("too slow, something is missing"),
            _ => {}
        }
    }
    Ok(())
}
