//! Routing throughput: what the core does per delivery, with sockets that take everything.
//!
//! From the notification as it comes to the last of its subscribers: encoding, passes, slices,
//! the order of every client. A delivery is one notification for one client.

mod support {
    pub(crate) mod server;
}

use std::time::Duration;

use alle::{Channel, internals::hub::feed::Fed};
use criterion::{BenchmarkId, Criterion, Throughput};

use self::support::server::Server;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    let mut group = criterion.benchmark_group("fan_out");
    // As a test it measures nothing.
    let sizes = if std::env::args().any(|argument| argument == "--bench") {
        [1, 100, 10_000, 100_000].as_slice()
    } else {
        &[1, 100]
    };
    for &subscribers in sizes {
        let mut server = Server::start();
        for _ in 0..subscribers {
            server.connect(&["orders"]);
        }
        for notifications in [1, 16, 64] {
            let orders = Channel::new("orders").expect("a good name");
            let payload = "x".repeat(100);
            let heard = vec![Fed::Notification(orders, payload); notifications];
            let deliveries = u64::try_from(subscribers * notifications).expect("few");
            group.throughput(Throughput::Elements(deliveries));
            let id = BenchmarkId::new(format!("{notifications}_a_turn"), subscribers);
            group.bench_function(id, |bencher| {
                bencher.iter(|| assert_eq!(server.fan_out(&heard), subscribers));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}
