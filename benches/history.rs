//! What a history costs: deliveries in one process, for a tool that counts instructions.
//!
//! `history FRAMES SUBSCRIBERS NOTIFICATIONS` sends so many notifications, one a turn, to so many
//! clients of one channel. `scripts/history-cost` runs it under callgrind and does the subtraction.

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
    let mut limits = Limits::default();
    limits.history_frames_max = frames;
    let mut server = Server::with_limits(limits);
    for _ in 0..subscribers {
        server.connect("orders");
    }
    let orders = Channel::new("orders").expect("a good name");
    let heard = [Fed::Notification(orders, "x".repeat(100))];
    for _ in 0..notifications {
        assert_eq!(server.fan_out(&heard), subscribers);
    }
}
