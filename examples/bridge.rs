//! The whole bridge, in a program of one's own: `cargo run --example bridge [POSTGRES_URL]`.

use alle::{Bridge, BridgeConfig, BridgeError};

fn main() -> Result<(), BridgeError> {
    let postgres_url = std::env::args().nth(1);
    let postgres_url =
        postgres_url.unwrap_or_else(|| "postgresql://localhost/postgres".to_string());
    let config = BridgeConfig::new(postgres_url, "127.0.0.1:8080".to_string())
        .with_channels(vec!["channel1".to_string(), "channel2".to_string()]);

    let bridge = Bridge::new(config).with_signals();
    bridge.run().wait()
}
