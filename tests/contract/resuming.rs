//! Contract, section 4: a client that comes back sends its position, and misses nothing or is told
//! so.

use std::{
    collections::BTreeMap,
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

use crate::{
    client::Client,
    harness::{Bridge, Database, bridge_and_database, crowd, wait_until},
    metrics::sample,
    program::{Program, alle},
};

/// A client that stays subscribed to `c`, so that the channel stays listened to, and its answer.
fn witness(bridge: &Bridge) -> (Client, Value) {
    let mut witness = bridge.client();
    let subscribed = witness.subscribe("c");
    (witness, subscribed)
}

fn publish(database: &Database, witness: &mut Client, numbers: RangeInclusive<u64>) {
    let mut sql = database.sql();
    for number in numbers {
        sql.notify("c", &number.to_string());
        assert_eq!(witness.payload(), number.to_string());
    }
}

fn since(epoch: &Value, seq: u64) -> Value {
    json!({"type": "subscribe", "channel": "c", "id": 7, "since": {"epoch": epoch, "seq": seq}})
}

/// The answer to a client that comes back to `c`: whether it recovered, its position, and the seqs.
#[track_caller]
fn come_back(bridge: &Bridge, epoch: &Value, seq: u64) -> (bool, u64, Vec<u64>) {
    let mut client = bridge.client();
    client.send(&since(epoch, seq));
    let answer = client.expect_answer(7);
    assert_eq!(
        (&answer["type"], &answer["channel"]),
        (&json!("subscribed"), &json!("c"))
    );
    let replayed = client.said_so_far().into_iter().map(|message| {
        assert_eq!(message["type"], "notification");
        assert_eq!(
            message["payload"],
            message["seq"].to_string(),
            "numbered alike"
        );
        message["seq"].as_u64().unwrap()
    });
    let replayed = replayed.collect();
    let recovered = answer["recovered"].as_bool().unwrap();
    (recovered, answer["seq"].as_u64().unwrap(), replayed)
}

#[test]
fn missed_notifications_follow_the_answer_and_precede_new_ones() {
    let (bridge, database) = bridge_and_database();
    let (mut witness, subscribed) = witness(&bridge);
    assert_eq!(subscribed.get("recovered"), None, "nobody asked");
    publish(&database, &mut witness, 1..=5);
    let mut client = bridge.client();
    client.send(&since(&subscribed["epoch"], 2));
    assert_eq!(
        client.next(),
        json!({"type": "subscribed", "channel": "c", "id": 7, "epoch": subscribed["epoch"],
            "seq": 2, "recovered": true})
    );
    publish(&database, &mut witness, 6..=6);
    for seq in 3..=6 {
        assert_eq!(
            client.next(),
            json!({"type": "notification", "channel": "c", "payload": seq.to_string(), "seq": seq})
        );
    }
    client.expect_silence();
}

#[test]
fn the_history_is_64_notifications_and_no_more() {
    let (bridge, database) = bridge_and_database();
    let (mut witness, subscribed) = witness(&bridge);
    let epoch = &subscribed["epoch"];
    publish(&database, &mut witness, 1..=70);
    assert_eq!(
        come_back(&bridge, epoch, 7),
        (true, 7, (8..=70).collect()),
        "63"
    );
    assert_eq!(
        come_back(&bridge, epoch, 6),
        (true, 6, (7..=70).collect()),
        "64"
    );
    assert_eq!(come_back(&bridge, epoch, 5), (false, 70, vec![]), "65");
    assert_eq!(come_back(&bridge, epoch, 70), (true, 70, vec![]), "none");
    assert_eq!(
        come_back(&bridge, epoch, 71),
        (false, 70, vec![]),
        "from the future"
    );
    for seq in [u64::MAX, u64::MAX - 1, 1 << 63] {
        let from_afar = come_back(&bridge, epoch, seq);
        assert_eq!(from_afar, (false, 70, vec![]), "{seq}");
    }
    assert_eq!(
        come_back(&bridge, &json!("another"), 69),
        (false, 70, vec![])
    );
}

#[test]
fn history_and_its_bytes_are_options() {
    let database = Database::create();
    for (options, kept) in [
        (&["--history", "2"][..], 2),
        (&["--history", "0"], 0),
        // A message has 59 bytes.
        (&["--history-bytes", "117"], 1),
        (&["--history-bytes", "118"], 2),
        (&["--history-bytes", "119"], 2),
        (&["--history-bytes", "58"], 0),
    ] {
        let bridge = Bridge::start_with(&database.url(), options);
        let (mut witness, subscribed) = witness(&bridge);
        let epoch = &subscribed["epoch"];
        publish(&database, &mut witness, 1..=9);
        let kept_from = 9 - kept;
        let expected = (true, kept_from, (kept_from + 1..=9).collect());
        assert_eq!(
            come_back(&bridge, epoch, kept_from),
            expected,
            "{options:?}"
        );
        assert_eq!(
            come_back(&bridge, epoch, kept_from - 1),
            (false, 9, vec![]),
            "{options:?}"
        );
    }
}

#[test]
fn a_channel_without_subscribers_begins_anew_unless_its_unlisten_was_delayed() {
    let database = Database::create();
    for (options, is_recovered) in [(&[][..], false), (&["--unlisten-delay", "60"], true)] {
        let bridge = Bridge::start_with(&database.url(), options);
        let mut client = bridge.client();
        let epoch = client.subscribe("c")["epoch"].clone();
        client.unsubscribe("c");
        // Behind an UNLISTEN, if there is one.
        client.subscribe("other");
        database.sql().notify("c", "1");
        let mut fence = bridge.client();
        fence.subscribe("fence");
        database.sql().notify("fence", "");
        fence.payload();
        let replayed = if is_recovered { vec![1] } else { vec![] };
        assert_eq!(
            come_back(&bridge, &epoch, 0),
            (is_recovered, 0, replayed),
            "{options:?}"
        );
    }
}

/// Nobody says goodbye, so nobody is forgotten: a switch that is restarted, a proxy, a tunnel.
#[test]
fn five_hundred_clients_that_lose_their_network_come_back_to_all_that_they_missed() {
    const CHANNELS: [&str; 3] = ["c", "d", "e"];
    let database = Database::create();
    // By default ten seconds, in which a busy machine does not see five hundred go.
    let bridge = Bridge::start_with(&database.url(), &["--unlisten-delay", "600"]);
    let clients = crowd(500, || {
        let mut client = bridge.client();
        let epochs = CHANNELS.map(|it| (it, client.subscribe(it)["epoch"].clone()));
        (client, BTreeMap::from(epochs))
    });
    let epochs = clients[0].1.clone();
    assert!(clients.iter().all(|(_, known)| *known == epochs));
    drop(clients);
    wait_until("all of them are gone", || {
        sample(&bridge, "alle_channels_kept") == 3.0 && sample(&bridge, "alle_subscriptions") == 0.0
    });
    for channel in CHANNELS {
        database.sql().notify(channel, "1");
    }
    for _ in 0..500 {
        let mut client = bridge.client();
        for channel in CHANNELS {
            let since = json!({"epoch": epochs[channel], "seq": 0});
            client.send(&json!({"type": "subscribe", "channel": channel, "since": since}));
            let answer = client.expect_type("subscribed");
            assert_eq!(answer["recovered"], true, "{channel}");
            let missed = client.expect_type("notification");
            assert_eq!(
                (&missed["channel"], &missed["seq"]),
                (&json!(channel), &json!(1))
            );
        }
    }
}

#[test]
fn a_channel_is_given_up_at_once_when_its_last_subscriber_closes_properly() {
    let (bridge, _database) = bridge_and_database();
    let mut client = bridge.client();
    let epoch = client.subscribe("c")["epoch"].clone();
    client.close();
    wait_until("it is not listened to", || {
        sample(&bridge, "alle_channels_listened") == 0.0
    });
    assert_eq!(come_back(&bridge, &epoch, 0), (false, 0, vec![]));
}

#[test]
fn after_a_gap_an_older_position_is_not_recovered_and_the_new_one_is() {
    let (bridge, database) = bridge_and_database();
    let (mut witness, subscribed) = witness(&bridge);
    publish(&database, &mut witness, 1..=3);
    database.sql().run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'alle'",
    );
    let gap = witness.expect_type("gap");
    witness.expect_type("status");
    assert_eq!(
        come_back(&bridge, &subscribed["epoch"], 3),
        (false, 0, vec![])
    );
    assert_eq!(come_back(&bridge, &gap["epoch"], 0), (true, 0, vec![]));
}

#[test]
fn a_malformed_position_is_refused() {
    let (bridge, _database) = bridge_and_database();
    let mut client = bridge.client();
    for since in [
        json!({}),
        json!({"epoch": "e"}),
        json!({"seq": 1}),
        json!({"epoch": 1, "seq": 1}),
        json!({"epoch": "e", "seq": -1}),
        json!(7),
    ] {
        client.send(&json!({"type": "subscribe", "channel": "c", "id": 7, "since": since}));
        assert_eq!(client.expect_answer(7)["code"], "bad_message", "{since}");
    }
}

/// Forwards connections to a bridge until they are cut, and new ones again.
struct Relay {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn to(bridge: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let all = Arc::clone(&open);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mut all = all.lock().unwrap();
                let far = TcpStream::connect(bridge).unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || io::copy(&mut from, &mut to));
                }
                all.extend([near, far]);
            }
        });
        Self { address, open }
    }

    /// Cuts all connections, and lets new ones wait until `meanwhile` is over.
    fn cut(&self, meanwhile: impl FnOnce()) {
        let mut open = self.open.lock().unwrap();
        for stream in open.drain(..) {
            let _gone = stream.shutdown(Shutdown::Both);
        }
        meanwhile();
    }
}

#[test]
fn alle_listen_comes_back_by_itself_and_tells_of_a_gap() {
    let (bridge, database) = bridge_and_database();
    let (mut witness, _) = witness(&bridge);
    let relay = Relay::to(bridge.address);
    let command = format!("listen --ws-url ws://{} c", relay.address);
    let shown = Program::start(alle(&command));
    let raw = Program::start(alle(&format!("{command} --json")));
    for program in [&shown, &raw] {
        program.stderr.until("Waiting for notifications...");
        assert_eq!(program.stderr.next(), "");
    }
    let told = || -> Value { serde_json::from_str(&raw.stdout.next()).unwrap() };
    let show = |numbers: RangeInclusive<u64>| {
        for number in numbers {
            assert_eq!(shown.stdout.next(), format!("[c] {number}"));
            assert_eq!(told()["payload"], number.to_string());
        }
    };
    assert_eq!(told()["type"], "subscribed");
    publish(&database, &mut witness, 1..=2);
    show(1..=2);

    relay.cut(|| publish(&database, &mut witness, 3..=5));
    for program in [&shown, &raw] {
        let talk = program.stderr.until(BACK);
        assert_eq!(talk.len(), 2, "the loss, and nothing of a gap: {talk:?}");
    }
    let answer = told();
    assert_eq!(
        (&answer["seq"], &answer["recovered"]),
        (&json!(2), &json!(true))
    );
    publish(&database, &mut witness, 6..=6);
    show(3..=6);

    relay.cut(|| publish(&database, &mut witness, 7..=80));
    let gap = "! possible gap on channel 'c': notifications may have been missed while the \
               connection was lost";
    for program in [&shown, &raw] {
        let talk = program.stderr.until(BACK);
        assert_eq!(talk[1..], [gap, BACK]);
    }
    let answer = told();
    assert_eq!(
        (&answer["seq"], &answer["recovered"]),
        (&json!(80), &json!(false))
    );
    publish(&database, &mut witness, 81..=81);
    show(81..=81);
}

const BACK: &str = "✓ Connected again, and subscribed to the same channels";
