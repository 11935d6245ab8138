//! The module and the real bridge, while something between it and PostgreSQL is harmed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use alle::internals::sandbox::{Sandbox, StopMode};
use serde_json::Value;

use crate::{
    audit::Heard,
    cdp::Browser,
    node::Node,
    relay::{Fate, Relay},
    server::{Server, start_server_on, start_server_with},
};

/// Where the module runs.
pub enum World {
    Node(Node),
    Chromium(Box<Browser>),
}

impl World {
    /// Each of them, with the module of the bridge as `globalThis.module`.
    fn each(server: &mut Server, scenario: impl Fn(&mut Self, &mut Server)) {
        let mut chromium = Box::new(Browser::open(&server.url("/healthz")));
        let load = "import('/alle.js').then((it) => { globalThis.module = it; })";
        chromium.evaluate(load);
        let mut node = Node::start();
        node.evaluate(
            "import('../../clients/js/alle.js').then((it) => { globalThis.module = it; })",
        );
        for mut world in [Self::Node(node), Self::Chromium(chromium)] {
            world.wait_for("globalThis.module");
            scenario(&mut world, server);
            world.evaluate("alle.close()");
        }
    }

    /// Subscribes to `orders` by this URL, and writes down what comes.
    fn subscribe(&mut self, url: &str, options: &str) {
        self.evaluate(&format!(
            "globalThis.log = []; globalThis.statuses = [];
             globalThis.alle = module.connect('{url}', {{
                 onStatus: (status, {{ postgres }}) => statuses.push(`${{status}} ${{postgres}}`),
                 ...{options}
             }});
             alle.subscribe('orders', (payload) => log.push(Number(payload)), {{
                 onSubscribed: () => log.push('subscribed'),
                 onRecovered: () => log.push('recovered'),
                 onGap: () => log.push('gap'),
                 onError: ({{ code }}) => log.push(code),
             }});
             0"
        ));
        self.wait_for("log.includes('subscribed')");
    }

    pub fn evaluate(&mut self, expression: &str) -> Value {
        match self {
            Self::Node(node) => node.evaluate(expression),
            Self::Chromium(browser) => browser.evaluate(expression),
        }
    }

    #[track_caller]
    pub fn wait_for(&mut self, condition: &str) {
        match self {
            Self::Node(node) => node.wait_for(condition),
            Self::Chromium(browser) => browser.wait_for(condition),
        }
    }

    /// Waits until a word stands there so often.
    #[track_caller]
    fn wait_for_words(&mut self, word: &str, count: usize) {
        self.wait_for(&format!(
            "log.filter((it) => it === '{word}').length >= {count}"
        ));
    }

    fn heard(&mut self) -> Heard {
        Heard::new(&self.evaluate("log"))
    }
}

/// Notifies `orders` of 1, 2, 3 and so on, until it is told to stop. A number whose commit is not
/// certain is not sent again.
pub struct Publisher {
    thread: JoinHandle<u64>,
    is_over: Arc<AtomicBool>,
    last: Arc<AtomicU64>,
}

impl Publisher {
    pub fn start(server: &Server) -> Self {
        let (is_over, last) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let database = server.database().clone();
        let thread = thread::spawn({
            let (is_over, last) = (Arc::clone(&is_over), Arc::clone(&last));
            move || {
                while !is_over.load(Ordering::SeqCst) {
                    let first = last.load(Ordering::SeqCst) + 1;
                    let numbers = format!("generate_series({first}, {})", first + BATCH - 1);
                    let sql = format!("SELECT pg_notify('orders', n::text) FROM {numbers} n");
                    let _ = database.run(&sql);
                    last.store(first + BATCH - 1, Ordering::SeqCst);
                }
                // The last one is certain, so that there is something to wait for.
                let final_one = last.load(Ordering::SeqCst) + 1;
                let sql = format!("SELECT pg_notify('orders', '{final_one}')");
                while database.run(&sql).is_err() {}
                final_one
            }
        });
        Self {
            thread,
            is_over,
            last,
        }
    }

    /// Waits until more was sent; the last number before that.
    pub fn send_more(&self) -> u64 {
        let before = self.last.load(Ordering::SeqCst);
        while self.last.load(Ordering::SeqCst) < before + 2 * BATCH {
            thread::park_timeout(Duration::from_millis(2));
        }
        before
    }

    /// Stops; the last number, which is committed.
    pub fn stop(self) -> u64 {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }

    /// Stops, and waits until the world has heard the end of it.
    #[track_caller]
    fn finish(self, world: &mut World) -> Heard {
        let final_one = self.stop();
        world.wait_for(&format!("log.includes({final_one})"));
        world.heard()
    }
}

pub const KEEPING: [&str; 6] = [
    "--unlisten-delay",
    "60s",
    "--history",
    "100000",
    "--allow-origin",
    "*",
];
const BATCH: u64 = 5;

/// The bridge keeps what is missed: every one arrives, and the program is told that none is missing.
#[test]
fn a_socket_that_is_cut_costs_nothing() {
    let mut server = start_server_with(&KEEPING);
    World::each(&mut server, |world, server| {
        let relay = Relay::start(server.port());
        world.subscribe(&format!("ws://127.0.0.1:{}/ws", relay.port()), "{}");
        let publisher = Publisher::start(server);
        for (index, fate) in [Fate::Close, Fate::Reset, Fate::Close]
            .into_iter()
            .enumerate()
        {
            publisher.send_more();
            relay.harm(fate);
            publisher.send_more();
            world.wait_for_words("recovered", index + 1);
        }
        let heard = publisher.finish(world);
        heard.assert_nothing_is_missing_unseen();
        assert_eq!(heard.count("gap"), 0, "{heard}");
        let numbers = heard.numbers();
        assert_eq!(numbers.first(), Some(&1));
        assert!(
            numbers.windows(2).all(|two| two[0] + 1 == two[1]),
            "{heard}"
        );
    });
}

/// Where there is no global `WebSocket`, as in Node 20.
#[test]
#[ignore = "needs ws of npm: make browsers"]
fn the_class_of_a_package_serves_as_well() {
    let modules = std::env::var("ALLE_NODE_MODULES").expect("make browsers");
    let server = start_server_with(&KEEPING);
    let relay = Relay::start(server.port());
    let mut node = Node::start();
    node.evaluate(&format!(
        "Promise.all([import('../../clients/js/alle.js'), import('{modules}/ws/wrapper.mjs')])
             .then(([module, ws]) => {{ Object.assign(globalThis, {{ module, ws }}); }})"
    ));
    let mut world = World::Node(node);
    let url = format!("ws://127.0.0.1:{}/ws", relay.port());
    world.subscribe(&url, "{ WebSocket: ws.WebSocket }");
    let publisher = Publisher::start(&server);
    for count in 1..=2 {
        publisher.send_more();
        relay.harm(Fate::Reset);
        world.wait_for_words("recovered", count);
    }
    let heard = publisher.finish(&mut world);
    heard.assert_nothing_is_missing_unseen();
    assert_eq!(heard.count("gap"), 0, "{heard}");
}

/// They have a `WebSocket` of their own make.
#[test]
#[ignore = "needs deno and bun of npm: make browsers"]
fn the_module_runs_in_deno_and_bun() {
    let modules = std::env::var("ALLE_NODE_MODULES").expect("make browsers");
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/js/alle.js");
    for (program, arguments) in [("deno", &["run", "--allow-all"][..]), ("bun", &["run"])] {
        let mut server = start_server_with(&KEEPING);
        let relay = Relay::start(server.port());
        let program = format!("{modules}/.bin/{program}");
        let mut world = World::Node(Node::start_with(&program, arguments));
        world.evaluate(&format!(
            "import('file://{module}').then((it) => {{ globalThis.module = it; }})"
        ));
        world.subscribe(&format!("ws://127.0.0.1:{}/ws", relay.port()), "{}");
        let publisher = Publisher::start(&server);
        for (count, fate) in [(1, Fate::Reset), (2, Fate::Close)] {
            publisher.send_more();
            relay.harm(fate);
            world.wait_for_words("recovered", count);
        }
        server.stop();
        publisher.send_more();
        server.start_again();
        world.wait_for_words("gap", 1);
        let answer = "alle.publish('elsewhere', { n: 1 }).then(() => 'notified')";
        assert_eq!(world.evaluate(answer), "notified", "{program}");
        let refused = "alle.publish('elsewhere', 'x'.repeat(8000)).catch(({ code }) => code)";
        assert_eq!(world.evaluate(refused), "payload_too_large", "{program}");
        let heard = publisher.finish(&mut world);
        heard.assert_nothing_is_missing_unseen();
        assert_eq!(heard.count("gap"), 1, "{program}: {heard}");
        world.evaluate("alle.close()");
        assert_eq!(world.evaluate("alle.status"), "closed", "{program}");
    }
}

/// Another bridge knows nothing of what the first one sent, and the program is told.
#[test]
fn a_bridge_that_is_killed_or_stopped_leaves_a_gap_that_is_seen() {
    let mut server = start_server_with(&KEEPING);
    World::each(&mut server, |world, server| {
        world.subscribe(&server.url("/ws"), "{}");
        let publisher = Publisher::start(server);
        for round in 1..=2 {
            publisher.send_more();
            if round == 1 {
                server.stop();
            } else {
                server.stop_in_order();
            }
            publisher.send_more();
            server.start_again();
            world.wait_for_words("gap", round);
        }
        let heard = publisher.finish(world);
        heard.assert_nothing_is_missing_unseen();
        assert_eq!(heard.count("recovered"), 0, "{heard}");
    });
}

/// The old token ends the connection, a function gives another one, and nothing is missing.
#[test]
fn a_token_that_is_rotated_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    let rotate = |to: &str| {
        let new = directory.path().join("new");
        std::fs::write(&new, format!("{to}\n")).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    rotate("a-token-before-the-test");
    let arguments = [&KEEPING[..], &["--token-file", file.to_str().unwrap()]].concat();
    let mut server = start_server_with(&arguments);
    let count = std::cell::Cell::new(0);
    World::each(&mut server, |world, server| {
        let next = || {
            count.set(count.get() + 1);
            format!("a-token-of-the-test-{}", count.get())
        };
        let (first, second) = (next(), next());
        rotate(&first);
        server.signal("HUP");
        world.evaluate(&format!("globalThis.token = '{first}'"));
        let url = server.url("/ws");
        world.subscribe(&url, "{ token: async () => globalThis.token }");
        let publisher = Publisher::start(server);
        publisher.send_more();
        world.evaluate(&format!("globalThis.token = '{second}'"));
        rotate(&second);
        server.signal("HUP");
        world.wait_for_words("recovered", 1);
        let heard = publisher.finish(world);
        heard.assert_nothing_is_missing_unseen();
        assert_eq!(heard.count("gap"), 0, "{heard}");
    });
}

/// PostgreSQL has no replay: the bridge says what may be missing, and so does the module.
#[test]
fn a_postgres_that_is_killed_leaves_a_gap_that_is_seen() {
    let mut server = start_server_on(Sandbox::start().unwrap(), &KEEPING);
    World::each(&mut server, |world, server| {
        world.subscribe(&server.url("/ws"), "{}");
        let publisher = Publisher::start(server);
        for round in 1..=2 {
            publisher.send_more();
            let sandbox = server.database().sandbox();
            if round == 1 {
                sandbox.kill9().unwrap();
            } else {
                sandbox.stop(StopMode::Immediate).unwrap();
            }
            world.wait_for("alle.postgres === 'down'");
            let refused =
                "alle.publish('elsewhere', 'x').catch(({ code }) => { globalThis.code = code; })";
            world.evaluate("globalThis.code = null");
            world.evaluate(&format!("void {refused}"));
            world.wait_for("['postgres_down', 'unknown_outcome'].includes(globalThis.code)");
            sandbox.start_again().unwrap();
            world.wait_for_words("gap", round);
            world.wait_for("alle.postgres === 'up'");
        }
        let heard = publisher.finish(world);
        heard.assert_nothing_is_missing_unseen();
        assert_eq!(heard.count("recovered"), 0, "the connection stood: {heard}");
        assert_eq!(
            world.evaluate("statuses.filter((it) => it.startsWith('waiting')).length"),
            0
        );
    });
}
