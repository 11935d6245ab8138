//! Contract, section 3: a client that does not read harms only itself.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{
    client::{Client, End},
    harness::{AT_ONCE, Bridge, Database, bridge_and_database, logged_by_postgres, wait_until},
    raw::{Raw, TEXT},
};

/// A connection with almost no buffer of its own.
pub fn with_small_buffer(bridge: &Bridge) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Before connecting, since it determines the window (tcp(7)).
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&bridge.address.into()).unwrap();
    socket.into()
}

/// A subscriber with almost no buffer of its own, which reads only on request.
pub fn deaf_client(bridge: &Bridge, channels: &[&str]) -> Client {
    let mut client = Client::on(with_small_buffer(bridge), bridge.address, "/ws");
    for channel in channels {
        client.subscribe(channel);
    }
    client
}

/// Publishes `count` different payloads of 7,000 bytes, and returns when a client that reads has
/// them all: the longest time it waited for one of them. In portions, so that this client is never
/// far behind.
pub fn flood(bridge: &Bridge, database: &Database, channel: &str, count: usize) -> Duration {
    let (mut reader, mut sql) = (bridge.client(), database.sql());
    let mut longest = Duration::ZERO;
    reader.subscribe(channel);
    for first in (1..=count).step_by(PORTION) {
        let last = count.min(first + PORTION - 1);
        sql.run(&format!(
            "SELECT pg_notify('{channel}', rpad(n::text, 7000, '.'))
             FROM generate_series({first}, {last}) AS n"
        ));
        for n in first..=last {
            let asked = Instant::now();
            assert_eq!(reader.payload().trim_end_matches('.'), n.to_string());
            longest = longest.max(asked.elapsed());
        }
    }
    longest
}

/// The same in portions, after each of which something else happens, until the only subscriber of
/// `own` is closed: what the bridge has for it must be read within five seconds of that.
fn flood_until_closed(
    bridge: &Bridge,
    database: &Database,
    own: &str,
    mut meanwhile: impl FnMut(),
) {
    let unlisten = format!("UNLISTEN \"{own}\"");
    // 28 MB at most, of which the kernel may take some; little at a time, so that even a busy machine
    // comes to `meanwhile` within seconds.
    for _ in 0..80 {
        flood(bridge, database, "flood", 50);
        if logged_by_postgres(&unlisten) > 0 {
            return;
        }
        meanwhile();
    }
    wait_for_unlisten(own);
}

/// 1.75 MB.
const PORTION: usize = 250;

/// A bridge, and a channel whose UNLISTEN says that its only subscriber is gone.
fn bridge_database_and_channel() -> (Bridge, Database, String) {
    let database = Database::create();
    database.log_statements();
    // Its end is seen at once.
    let bridge = Bridge::start_with(&database.url(), &["--unlisten-delay", "0"]);
    let channel = format!("slow_{}", database.name);
    (bridge, database, channel)
}

fn wait_for_unlisten(channel: &str) {
    let unlisten = format!("UNLISTEN \"{channel}\"");
    wait_until("the slow one is closed", || {
        logged_by_postgres(&unlisten) > 0
    });
}

#[test]
fn a_client_that_makes_no_progress_for_10_s_is_closed_with_4008_and_delays_nobody() {
    let (bridge, database, own) = bridge_database_and_channel();
    let mut deaf = deaf_client(&bridge, &["flood", &own]);
    let start = Instant::now();
    let longest = flood(&bridge, &database, "flood", 500);
    assert!(longest < AT_ONCE, "others waited: {longest:?}");
    wait_for_unlisten(&own);
    let closed = start.elapsed();
    assert!(closed > AT_ONCE, "too early: {closed:?}");
    assert_eq!(deaf.end(), End::Closed(4008, "slow consumer".to_owned()));
}

/// It is never without progress for long.
#[test]
fn a_client_whose_backlog_is_over_16_mib_is_closed_with_4008_at_once() {
    let (bridge, database, own) = bridge_database_and_channel();
    let mut slow = deaf_client(&bridge, &["flood", &own]);
    let mut read = 0;
    flood_until_closed(&bridge, &database, &own, || {
        assert_eq!(slow.expect_type("notification")["channel"], "flood");
        read += 1;
    });
    assert!(
        read > 0,
        "before its backlog is over the limit it is served"
    );
    assert_eq!(slow.end(), End::Closed(4008, "slow consumer".to_owned()));
}

/// Its input is complete up to the close: a slow consumer knows what it has.
#[test]
fn a_slow_consumer_gets_a_prefix_of_what_was_published_and_then_the_close() {
    let (bridge, database, own) = bridge_database_and_channel();
    let mut deaf = deaf_client(&bridge, &["flood", &own]);
    flood_until_closed(&bridge, &database, &own, || {});
    // First all of it, then what it says.
    let mut texts = Vec::new();
    while let tungstenite::Message::Text(text) = deaf.frame() {
        texts.push(text);
    }
    for (expected, text) in (1..).zip(texts) {
        let message: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(message["seq"], expected);
    }
}

#[test]
fn a_client_that_reads_slowly_but_steadily_is_not_closed() {
    let (bridge, database) = bridge_and_database();
    let mut slow = deaf_client(&bridge, &["flood"]);
    let mut seqs = 1..=1_500;
    for _ in 0..15 {
        flood(&bridge, &database, "flood", 100);
        for seq in seqs.by_ref().take(5) {
            assert_eq!(slow.expect_type("notification")["seq"], seq);
        }
    }
    for seq in seqs {
        assert_eq!(slow.expect_type("notification")["seq"], seq);
    }
    slow.expect_silence();
}

#[test]
fn a_slow_reader_gets_answers_in_order_with_what_it_missed() {
    let (bridge, database) = bridge_and_database();
    let mut slow = deaf_client(&bridge, &["flood"]);
    // It reads one of each portion, so that it is not closed for lack of progress.
    for _ in 0..10 {
        flood(&bridge, &database, "flood", 100);
        slow.expect_type("notification");
    }
    assert_eq!(slow.said_so_far().len(), 990);
}

/// 16 MB in one transaction, as fast as PostgreSQL can send: the most a client may be behind.
#[test]
fn a_client_that_keeps_reading_survives_a_burst_of_10_000_that_fills_its_queue() {
    let (bridge, database) = bridge_and_database();
    let mut client = Raw::upgraded(bridge.address);
    client.send(TEXT, br#"{"type":"subscribe","channel":"burst"}"#);
    assert!(client.text().contains("subscribed"));
    let publisher = thread::spawn(move || {
        database.sql().run(
            "SELECT pg_notify('burst', rpad(n::text, 1500, '.'))
             FROM generate_series(1, 10000) AS n",
        )
    });
    for n in 1..=10_000 {
        let (first, payload) = client.frame_but_pings();
        assert_eq!(first, TEXT, "{n}: {}", String::from_utf8_lossy(&payload));
    }
    publisher.join().unwrap();
}

/// Each has a backlog and makes progress whenever the bridge looks at its clients' deadlines. Twelve
/// megabytes, less than a client's queue, and several of those looks.
#[test]
fn forty_clients_that_keep_reading_survive_a_burst_of_10_000() {
    let (bridge, database) = bridge_and_database();
    let mut clients: Vec<_> = (0..40).map(|_| Raw::upgraded(bridge.address)).collect();
    for client in &mut clients {
        client.send(TEXT, br#"{"type":"subscribe","channel":"burst"}"#);
        assert!(client.text().contains("subscribed"));
    }
    thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| {
                for n in 1..=10_000 {
                    let (first, payload) = client.frame_but_pings();
                    assert_eq!(first, TEXT, "{n}: {}", String::from_utf8_lossy(&payload));
                }
            });
        }
        database.sql().run(
            "SELECT pg_notify('burst', rpad(n::text, 1200, '.'))
             FROM generate_series(1, 10000) AS n",
        );
    });
}
