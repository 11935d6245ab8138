//! What a delivery costs, a history included: one process, for a tool that counts instructions.
//!
//! `history FRAMES SUBSCRIBERS NOTIFICATIONS [CHANNELS]` sends so many notifications to so many
//! clients that are subscribed to all channels (one, if not said): in each turn one on each of them.
//! `scripts/history-cost` runs it under callgrind and does the subtraction.

mod support {
    pub(crate) mod server;
}

use std::env;

use alle::{Channel, Limits, internals::hub::feed::Fed};

use self::support::server::Server;

fn main() {
    let mut numbers = env::args().skip(1).filter_map(|word| word.parse().ok());
    let mut number = |default: usize| numbers.next().unwrap_or(default);
    let (frames, subscribers, notifications) = (number(64), number(10), number(100));
    let channels: Vec<_> = (0..number(1)).map(|at| format!("orders{at}")).collect();
    let mut limits = Limits::default();
    limits.history_frames_max = frames;
    let mut server = Server::with_limits(limits);
    for _ in 0..subscribers {
        server.connect(&channels);
    }
    let heard: Vec<_> = channels
        .iter()
        .map(|name| Fed::Notification(Channel::new(name).expect("a good name"), "x".repeat(100)))
        .collect();
    for _ in 0..notifications / channels.len() {
        assert_eq!(server.fan_out(&heard), subscribers);
    }
}
