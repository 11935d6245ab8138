//! The function that says whose a token is does not answer for a while: what becomes of whom.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{Client, End},
    function::{auth, bearer, begin, database, metric, start},
    harness::{Bridge, wait_until},
    raw::{Raw, upgrade_request},
};

/// So long it is blocked: a minute where that is asked for.
fn blocked_time() -> Duration {
    let seconds = std::env::var("ALLE_BLOCKED_SECONDS");
    Duration::from_secs(seconds.map_or(6, |it| it.parse().unwrap()))
}

#[expect(
    clippy::print_stdout,
    reason = "it is there to be read where a minute is asked for"
)]
fn report(text: &str) {
    println!("{text}");
}

/// Those who came with a good token, in each way.
#[derive(Default)]
struct Newcomers {
    count: usize,
    upgrades: Vec<Raw>,
    posts: Vec<Raw>,
    messages: Vec<Client>,
}

impl Newcomers {
    fn token(&mut self) -> String {
        self.count += 1;
        format!("good-{}", self.count)
    }

    /// One more comes in each way.
    fn come(&mut self, bridge: &Bridge) {
        let mut raw = Raw::open(bridge.address);
        let field = format!("Authorization: Bearer {}\r\n", self.token());
        raw.write(upgrade_request(bridge.address, "/ws", &field).as_bytes());
        self.upgrades.push(raw);
        let mut client = Client::connect(bridge.address);
        client.send(&auth(&self.token()));
        self.messages.push(client);
        let token = self.token();
        self.posts
            .push(begin(bridge, "POST", "/publish/other", &token));
    }

    /// What became of how many.
    fn outcomes(self) -> BTreeMap<String, usize> {
        let mut outcomes = BTreeMap::new();
        let mut note = |outcome: String| *outcomes.entry(outcome).or_default() += 1;
        for mut raw in self.upgrades {
            note(format!("upgrade: {}", raw.response("GET").status));
        }
        for mut raw in self.posts {
            note(format!("POST: {}", raw.response("POST").status));
        }
        for mut client in self.messages {
            let answer = client.next();
            note(match answer["type"].as_str() {
                Some("authenticated") => "message: authenticated".to_owned(),
                _ => format!("message: {}, {:?}", answer["code"], client.end()),
            });
        }
        outcomes
    }
}

/// Clients come all the time, in each way, with tokens that are good: nobody is told to get another
/// one, and whoever is in hears everything as ever.
#[test]
fn while_the_function_is_blocked_a_good_token_is_refused_to_nobody_who_comes_again() {
    let database = database();
    let time = blocked_time();
    // The default is half of a minute.
    let patience = (time / 2).as_secs().min(30).to_string();
    let bridge = start(&database, &["--auth-timeout", &patience]);
    let mut sql = database.sql();
    sql.run(
        "INSERT INTO auth.keys SELECT 'good-' || n, NULL, NULL, NULL, NULL
         FROM generate_series(1, 10000) AS n",
    );
    let mut inside: Vec<_> = (0..20).map(|_| bearer(&bridge, "of-ann")).collect();
    for client in &mut inside {
        client.subscribe("news");
    }
    let mut holder = database.sql();
    holder.run("BEGIN; LOCK TABLE auth.keys");
    let began = Instant::now();
    let mut newcomers = Newcomers::default();
    let (mut sent, mut longest) = (0, Duration::ZERO);
    while began.elapsed() < time {
        newcomers.come(&bridge);
        let at = Instant::now();
        sql.run(&format!("NOTIFY news, '{sent}'"));
        for client in &mut inside {
            assert_eq!(client.payload(), sent.to_string());
        }
        longest = longest.max(at.elapsed());
        sent += 1;
        thread::park_timeout(Duration::from_millis(100));
    }
    // On a busy machine all others may have waited for too long by now.
    newcomers.come(&bridge);
    let mut waiting = 0;
    wait_until("somebody waits in each way", || {
        waiting = metric(&bridge, "alle_auth_function_waiting");
        waiting >= 3
    });
    holder.run("COMMIT");
    let outcomes = newcomers.outcomes();
    report(&format!(
        "the function was blocked for {time:?}, {} came in each way: {outcomes:?}; {waiting} waited \
         at the end; {} inside heard {sent} notifications each, all of them within {longest:.1?}",
        sent + 1,
        inside.len()
    ));
    let unjudged = "token not judged in time, try again later";
    let expected = [
        "POST: 200".to_owned(),
        "POST: 503".to_owned(),
        "message: authenticated".to_owned(),
        format!(
            "message: \"postgres_down\", {:?}",
            End::Closed(1013, unjudged.into())
        ),
        "upgrade: 101".to_owned(),
        "upgrade: 503".to_owned(),
    ];
    for outcome in outcomes.keys() {
        assert!(expected.contains(outcome), "{outcomes:?}");
    }
    // Some waited for too long, others no longer than the lock.
    assert_eq!(outcomes.len(), expected.len(), "{outcomes:?}");
    let wrong = metric(&bridge, "alle_tokens_refused_total{reason=\"wrong\"}");
    assert_eq!(wrong, 0);
    sql.run("NOTIFY news, 'behind'");
    for client in &mut inside {
        assert_eq!(client.payload(), "behind");
    }
}
