//! The bridge behind real proxies, with the configurations of docs/proxies.md: `make proxies`.

#[path = "proxies/proxy.rs"]
pub mod proxy;
#[path = "proxies/start.rs"]
mod start;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Value, json};
use tungstenite::Message;

use self::proxy::{Kind, Proxy};
use crate::{
    cdp::Browser,
    client::Client,
    harness::{Bridge, Database, PATIENCE, wait_until},
    program::alle_with,
    raw::{Raw, Response, upgrade_request},
    stream::{Event, Line, Stream},
};

/// The name under which all is reached.
const HOST: &str = "app.example.com";
const EVENTS: &str = "/live/sse?channel=c";
/// Before a client comes again.
const PAUSE: Duration = Duration::from_millis(20);

/// Two bridges of a group, and a proxy in front of them.
struct Scene {
    proxy: Proxy,
    bridges: Vec<Bridge>,
    /// Where their health and metrics are.
    healths: Vec<SocketAddr>,
    database: Database,
}

impl Scene {
    fn start(kind: Kind) -> Self {
        Self::start_with(kind, |configuration| configuration)
    }

    /// With a change of the proxy's configuration.
    fn start_with(kind: Kind, change: impl Fn(String) -> String) -> Self {
        Self::start_as(kind, change, &[])
    }

    /// And with more options of the bridges.
    fn start_as(kind: Kind, change: impl Fn(String) -> String, more: &[&str]) -> Self {
        let database = Database::create();
        let bridge = |address: &str, health: &str| bridge(&database, (address, health), more);
        let one = bridge("127.0.0.1:0", "127.0.0.1:0");
        let two = match kind {
            Kind::Caddy => {
                // On another machine: the port is the same.
                let health = format!("127.0.0.2:{}", one.1.port());
                bridge("127.0.0.2:0", &health)
            }
            Kind::Nginx | Kind::Haproxy | Kind::Apache => bridge("127.0.0.1:0", "127.0.0.1:0"),
        };
        let addresses = [&one, &two].map(|(bridge, health)| (bridge.address, *health));
        let configuration = change(kind.configuration().to_owned());
        let proxy = Proxy::start(kind, &configuration, addresses);
        let scene = Self {
            proxy,
            healths: vec![one.1, two.1],
            bridges: vec![one.0, two.0],
            database,
        };
        wait_until("the proxy has found its bridges", || {
            scene.ask("GET", "/live/", "", "").status < 500
        });
        scene
    }

    fn client(&self) -> Client {
        Client::connect_as(self.proxy.address, &format!("ws://{HOST}/live/ws"))
    }

    fn stream(&self, last_event_id: &str) -> Stream {
        self.try_stream(last_event_id).unwrap()
    }

    fn try_stream(&self, last_event_id: &str) -> Result<Stream, String> {
        Stream::try_open(self.proxy.address, HOST, EVENTS, last_event_id)
    }

    /// Plain HTTP through the proxy.
    fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> Response {
        let mut raw = Raw::open(self.proxy.address);
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        );
        raw.write(request.as_bytes());
        raw.response(method)
    }

    /// Until each bridge knows where the other one stands on the one channel: whoever goes before may find a
    /// bridge that cannot tell what was missed.
    fn wait_for_offsets(&self) {
        wait_until("each bridge knows where the other one stands", || {
            let mut healths = self.healths.iter();
            healths.all(|&it| {
                let page = of_operators(it, "/metrics").body;
                page.contains("\nalle_group_offsets 1\n")
            })
        });
    }

    fn publish(&self, payload: &str) {
        let answer = self.ask("POST", "/live/publish/c", "", payload);
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// One with the options of the docs, on this machine's address and with this one for its health.
fn bridge(
    database: &Database,
    (address, health): (&str, &str),
    more: &[&str],
) -> (Bridge, SocketAddr) {
    let docs = include_str!("../../docs/proxies.md");
    let (_, options) = docs.split_once("--admin-addr 127.0.0.1:9080 ").unwrap();
    let mut command = alle_with(&["serve", "-w", address, "--admin-addr", health]);
    command.args(["-p", &database.url()]);
    command.args(options.lines().next().unwrap().split(' '));
    command.args(more);
    let bridge = Bridge::run(command);
    let line = bridge.wait_for_log("health and metrics are at http://");
    let health = line.rsplit("http://").next().unwrap();
    let health = health.trim().parse().unwrap();
    wait_until("the bridge is ready", || {
        of_operators(health, "/readyz").status == 200
    });
    (bridge, health)
}

/// What a bridge says at this address, whichever of the loopback that is.
fn of_operators(health: SocketAddr, path: &str) -> Response {
    let mut raw = Raw::open(health);
    raw.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    raw.response("GET")
}

/// A test of each behaviour through each of the proxies.
macro_rules! through_each_proxy {
    ($($behaviour:ident),+ $(,)?) => {$(
        mod $behaviour {
            use super::{Kind, behaviours::$behaviour as check};

            #[test]
            #[ignore = "needs nginx: make proxies"]
            fn nginx() {
                check(Kind::Nginx);
            }

            #[test]
            #[ignore = "needs haproxy: make proxies"]
            fn haproxy() {
                check(Kind::Haproxy);
            }

            #[test]
            #[ignore = "needs Apache: make proxies"]
            fn apache() {
                check(Kind::Apache);
            }

            #[test]
            #[ignore = "needs Caddy: make proxies"]
            fn caddy() {
                check(Kind::Caddy);
            }
        }
    )+};
}

through_each_proxy![
    what_is_published_is_heard_and_nothing_else_is_public,
    two_hundred_clients_hear_across_a_reload,
    a_reader_goes_on_when_the_proxy_was_killed,
    a_drain_leads_everybody_to_the_other_bridge,
    nobody_is_cut_for_silence,
    a_page_of_the_site_is_at_home,
    a_bridge_knows_who_asks,
];

/// Clients that come back wherever a bridge is: every other one by events, each in a thread.
struct Followers(Vec<JoinHandle<(Vec<String>, usize)>>);

impl Followers {
    /// So many, all of them subscribed.
    fn start(scene: &Scene, count: usize) -> Self {
        let address = scene.proxy.address;
        let (sender, subscribed) = mpsc::channel();
        let threads = (0..count).map(|number| {
            let sender = sender.clone();
            let follow = if number % 2 == 0 {
                by_socket
            } else {
                by_stream
            };
            thread::spawn(move || follow(address, &sender))
        });
        let followers = Self(threads.collect());
        for _ in 0..count {
            subscribed.recv_timeout(PATIENCE).unwrap();
        }
        followers
    }

    /// All have heard all of this once, in this order; how often each of them connected.
    #[track_caller]
    fn finish(self, scene: &Scene, payloads: &[String]) -> Vec<usize> {
        scene.database.sql().notify("c", END);
        let results = self.0.into_iter().map(|thread| {
            let (mut heard, connects) = thread.join().unwrap();
            assert_eq!(heard.pop().as_deref(), Some(END));
            assert_eq!(heard, payloads);
            connects
        });
        results.collect()
    }
}

/// The last payload.
const END: &str = "end";

/// Comes back wherever a bridge is until it has heard the last payload; all that it heard, and how often
/// it connected.
fn by_socket(address: SocketAddr, subscribed: &mpsc::Sender<()>) -> (Vec<String>, usize) {
    let (mut heard, mut connects) = (Vec::new(), 0);
    let mut position = Value::Null;
    loop {
        let Some(mut client) = Client::try_connect_as(address, &format!("ws://{HOST}/live/ws"))
        else {
            thread::park_timeout(PAUSE);
            continue;
        };
        connects += 1;
        let mut subscribe = json!({"type": "subscribe", "channel": "c"});
        if connects > 1 {
            subscribe["since"] = position.clone();
        }
        client.send(&subscribe);
        while let Some(message) = client.next_or_end() {
            match message["type"].as_str().unwrap() {
                "subscribed" => {
                    assert_ne!(message["recovered"], false, "{message}");
                    position = json!({"epoch": message["epoch"], "seq": message["seq"]});
                    let _over = subscribed.send(());
                }
                "notification" => {
                    position["seq"] = message["seq"].clone();
                    heard.push(message["payload"].as_str().unwrap().to_owned());
                    if heard.last().is_some_and(|it| it == END) {
                        return (heard, connects);
                    }
                }
                other => assert_eq!(other, "status"),
            }
        }
        thread::park_timeout(PAUSE);
    }
}

/// The same as an event stream.
fn by_stream(address: SocketAddr, subscribed: &mpsc::Sender<()>) -> (Vec<String>, usize) {
    let (mut heard, mut connects) = (Vec::new(), 0);
    let mut last_event_id = String::new();
    loop {
        if let Ok(mut stream) = Stream::try_open(address, HOST, EVENTS, &last_event_id) {
            connects += 1;
            while let Line::Event(Event { name, data }) = stream.line_but_comments() {
                match &*name {
                    "subscribed" => {
                        assert_ne!(data["recovered"], false, "{data}");
                        let _over = subscribed.send(());
                    }
                    "" => heard.push(data["payload"].as_str().unwrap().to_owned()),
                    other => assert_eq!(other, "status", "{data}"),
                }
                if heard.last().is_some_and(|it| it == END) {
                    return (heard, connects);
                }
            }
            last_event_id = stream.last_event_id;
        }
        thread::park_timeout(PAUSE);
    }
}

/// Opens a stream that was cut, as often as it takes; it has to go on where it was. Before its peer has
/// said where it stands, a gap is all that the other bridge can tell.
fn come_back(scene: &Scene, last_event_id: &str) -> Stream {
    let mut found = None;
    wait_until("the stream goes on", || {
        let Ok(mut stream) = scene.try_stream(last_event_id) else {
            return false;
        };
        let is_recovered = stream.expect("subscribed")["recovered"] == true;
        found = is_recovered.then_some(stream);
        is_recovered
    });
    found.unwrap()
}

mod behaviours {
    use super::*;

    pub fn what_is_published_is_heard_and_nothing_else_is_public(kind: Kind) {
        let scene = Scene::start(kind);
        let mut client = scene.client();
        client.subscribe("c");
        let mut stream = scene.stream("");
        stream.expect("subscribed");
        client.notify("c", "by a socket");
        assert_eq!(client.payload(), "by a socket");
        assert_eq!(stream.payload(), "by a socket");
        scene.publish("by a request");
        assert_eq!(client.payload(), "by a request");
        assert_eq!(stream.payload(), "by a request");
        // A page of the site is at home, and a foreign one is not.
        let publish = |origin: &str| {
            let origin = format!("Origin: {origin}\r\n");
            scene.ask("POST", "/live/publish/c", &origin, "x").status
        };
        assert_eq!(publish(&format!("http://{HOST}")), 200);
        assert_eq!(publish("http://evil.example.com"), 403);
        for path in ["metrics", "readyz", "healthz"] {
            let answer = scene.ask("GET", &format!("/live/{path}"), "", "");
            assert_eq!(answer.status, 404, "{path}");
        }
        // A channel whose name has a slash is one segment on the whole way.
        let mut client = scene.client();
        client.subscribe("a/b c");
        let answer = scene.ask("POST", "/live/publish/a%2Fb%20c", "", "x");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(client.payload(), "x");
    }

    pub fn two_hundred_clients_hear_across_a_reload(kind: Kind) {
        let scene = Scene::start(kind);
        let followers = Followers::start(&scene, 200);
        let mut published = Vec::new();
        for round in 0..3 {
            for number in 0..10 {
                published.push(format!("{round} {number}"));
                scene.publish(published.last().unwrap());
            }
            if round < 2 {
                scene.proxy.reload();
            }
        }
        let connects = followers.finish(&scene, &published);
        // Nothing but Caddy cuts anybody, and nobody misses anything there, either.
        let most = connects.into_iter().max().unwrap();
        assert_eq!(most > 1, kind == Kind::Caddy, "{most}");
    }

    pub fn a_reader_goes_on_when_the_proxy_was_killed(kind: Kind) {
        let mut scene = Scene::start(kind);
        let mut stream = scene.stream("");
        stream.expect("subscribed");
        scene.publish("1");
        assert_eq!(stream.payload(), "1");
        for round in 0..4 {
            scene.proxy.kill();
            let first = 2 + 3 * round;
            for number in first..first + 3 {
                scene.database.sql().notify("c", &number.to_string());
            }
            assert!(matches!(stream.line(), Line::End));
            scene.proxy.start_again();
            stream = come_back(&scene, &stream.last_event_id);
            for number in first..first + 3 {
                assert_eq!(stream.payload(), number.to_string());
            }
        }
    }

    pub fn a_drain_leads_everybody_to_the_other_bridge(kind: Kind) {
        let mut scene = Scene::start(kind);
        let followers = Followers::start(&scene, 40);
        scene.wait_for_offsets();
        let mut leaving = scene.bridges.remove(0);
        leaving.signal("TERM");
        let mut sql = scene.database.sql();
        let mut numbers = Vec::new();
        while !leaving.has_exited() {
            numbers.push(numbers.len().to_string());
            sql.notify("c", numbers.last().unwrap());
            // Newcomers are let in as ever, whatever a check of health has not seen yet.
            if matches!(kind, Kind::Nginx | Kind::Haproxy) {
                drop(scene.client());
            }
            thread::park_timeout(Duration::from_millis(50));
        }
        let connects = followers.finish(&scene, &numbers);
        let moved = connects.into_iter().filter(|&it| it > 1).count();
        assert!(
            moved > 0 && moved < 40,
            "{moved} were at the one that drained"
        );
    }

    pub fn nobody_is_cut_for_silence(kind: Kind) {
        let scene = Scene::start(kind);
        let mut client = scene.client();
        let mut stream = scene.stream("");
        stream.expect("subscribed");
        // Three times 25 s are more than any of the proxies' time-outs.
        let pinged = thread::spawn(move || {
            for _ in 0..3 {
                assert!(matches!(client.frame(), Message::Ping(_)));
            }
            client
        });
        for _ in 0..3 {
            assert!(matches!(stream.line(), Line::Comment));
        }
        let mut client = pinged.join().unwrap();
        client.subscribe("c");
        scene.publish("after a silence");
        assert_eq!(client.payload(), "after a silence");
        assert_eq!(stream.payload(), "after a silence");
    }

    pub fn a_bridge_knows_who_asks(kind: Kind) {
        let scene = Scene::start(kind);
        check_address(&scene, "/live/publish/c");
    }

    pub fn a_page_of_the_site_is_at_home(kind: Kind) {
        let mut scene = Scene::start(kind);
        // A browser has six connections.
        visit(&mut scene, "http", 4);
    }
}

/// A page with so many streams and a socket, which are cut when the proxy is killed; and which publishes.
fn visit(scene: &mut Scene, scheme: &str, count: usize) {
    let port = scene.proxy.address.port();
    let url = format!("{scheme}://{HOST}:{port}/live/");
    let mut browser = Browser::open(&url);
    browser.evaluate(&format!(
        "globalThis.logs = [];
         for (let channel = 0; channel < {count}; channel += 1) {{
             const log = logs[channel] = [];
             const events = new EventSource('sse?channel=' + channel);
             events.onmessage = ({{ data }}) => log.push(JSON.parse(data).payload);
             events.addEventListener('gap', () => log.push('gap'));
             events.addEventListener('subscribed', ({{ data }}) =>
                 log.push(JSON.parse(data).recovered ? 'recovered' : 'subscribed'));
         }}
         globalThis.socket = new WebSocket(location.href.replace('http', 'ws') + 'ws');
         0"
    ));
    browser.wait_for("logs.every((log) => log.includes('subscribed')) && socket.readyState === 1");
    browser.evaluate(
        "logs.forEach((_, channel) =>
             void fetch('publish/' + channel, { method: 'POST', body: '1' })); 0",
    );
    browser.wait_for("logs.every((log) => log.includes('1'))");
    scene.proxy.kill();
    let mut sql = scene.database.sql();
    for channel in 0..count {
        sql.notify(&channel.to_string(), "2");
    }
    browser.wait_for("socket.readyState === 3");
    scene.proxy.start_again();
    browser.wait_for("logs.every((log) => log.includes('2'))");
    let expected = r#"["subscribed","1","recovered","2"]"#;
    let each = browser.evaluate("logs.map((log) => JSON.stringify(log))");
    for log in each.as_array().unwrap() {
        assert_eq!(log, expected);
    }
}

/// A client is refused, and a bridge says which; whatever the client says of itself is not believed.
fn check_address(scene: &Scene, path: &str) {
    let mut raw = Raw::open_from("127.0.0.7", scene.proxy.address);
    let forged = "X-Forwarded-For: 192.0.2.66\r\nForwarded: for=192.0.2.66\r\n";
    raw.write(
        format!(
            "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nOrigin: http://evil.example.com\r\n{forged}\
             Content-Length: 1\r\n\r\nx"
        )
        .as_bytes(),
    );
    assert_eq!(raw.response("POST").status, 403);
    let said = |bridge: &Bridge| bridge.log().contains("refused 127.0.0.7 with 403: ");
    wait_until("a bridge has logged it", || scene.bridges.iter().any(said));
}

/// It passes the bytes on as they are.
#[test]
#[ignore = "needs haproxy: make proxies"]
fn a_bridge_knows_who_asks_by_a_preamble() {
    let blocks = || Kind::Haproxy.blocks();
    for version in ["send-proxy-v2", "send-proxy"] {
        let change = |whole: String| {
            let (before, _) = whole.split_once("frontend app").unwrap();
            let listen = blocks().nth(1).unwrap();
            assert!(listen.contains("send-proxy-v2"));
            before.to_owned() + &listen.replace("send-proxy-v2", version)
        };
        let scene = Scene::start_as(Kind::Haproxy, change, &["--proxy-protocol"]);
        check_address(&scene, "/publish/c");
        let mut client = Client::connect_as(scene.proxy.address, &format!("ws://{HOST}/ws"));
        client.subscribe("c");
        let mut raw = Raw::open(scene.proxy.address);
        let request =
            format!("POST /publish/c HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1\r\n\r\nx");
        raw.write(request.as_bytes());
        assert_eq!(raw.response("POST").status, 200);
        assert_eq!(client.payload(), "x");
        // Nobody gets past it.
        let mut stranger = Raw::open_from("127.0.0.9", scene.bridges[0].address);
        stranger.expect_end();
    }
}

/// One of deploy/haproxy, with free ports in the place of its own, and its files beside it.
fn deployed(directory: &Path, name: &str, text: &str, ports: [&str; 2]) -> (Bridge, SocketAddr) {
    let ports = ports.map(|port| format!("127.0.0.1:{port}\""));
    let text = ports.iter().fold(text.to_owned(), |text, port| {
        assert!(text.contains(port), "{name}: {port}");
        text.replace(port, "127.0.0.1:0\"")
    });
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    let bridge = Bridge::run(alle_with(&["serve", "--config", path.to_str().unwrap()]));
    let health = bridge.admin_address();
    (bridge, health)
}

/// The files of deploy/haproxy, but for ports: a client goes on at the other bridge when its own is
/// stopped.
#[test]
#[ignore = "needs haproxy: make proxies"]
fn two_bridges_behind_haproxy_as_they_are_deployed() {
    let database = Database::create();
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("postgres-url", database.url() + "\n"),
        ("group-key", "k".repeat(32)),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let one = include_str!("../../deploy/haproxy/one.toml");
    let two = include_str!("../../deploy/haproxy/two.toml");
    let one = deployed(directory.path(), "one.toml", one, ["8080", "9080"]);
    let two = deployed(directory.path(), "two.toml", two, ["8081", "9081"]);
    let addresses = [&one, &two].map(|(bridge, health)| (bridge.address, *health));
    let configuration = include_str!("../../deploy/haproxy/haproxy.cfg");
    let mut scene = Scene {
        healths: vec![one.1, two.1],
        proxy: Proxy::start(Kind::Haproxy, configuration, addresses),
        bridges: vec![one.0, two.0],
        database,
    };
    wait_until("both bridges are there", || {
        let is_ready = |(_, health): (SocketAddr, SocketAddr)| {
            let mut raw = Raw::open(health);
            raw.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
            raw.response("GET").status == 200
        };
        addresses.into_iter().all(is_ready) && scene.ask("GET", "/", "", "").status < 500
    });
    check_address(&scene, "/publish/c");
    let connect =
        |scene: &Scene| Client::connect_as(scene.proxy.address, &format!("ws://{HOST}/ws"));
    let mut client = connect(&scene);
    let position = client.subscribe("c");
    scene.wait_for_offsets();
    assert_eq!(scene.ask("POST", "/publish/c", "", "1").status, 200);
    assert_eq!(client.payload(), "1");
    // The one that has the client, or the other one: whichever is stopped, nothing is missed.
    let mut leaving = scene.bridges.remove(0);
    leaving.signal("TERM");
    scene.database.sql().notify("c", "2");
    assert_eq!(leaving.wait_for_exit().0, Some(0));
    let mut again = None;
    wait_until("the other bridge knows where the client was", || {
        let client = Client::try_connect_as(scene.proxy.address, &format!("ws://{HOST}/ws"));
        let Some(mut client) = client else {
            return false;
        };
        client.send(&json!({
            "type": "subscribe", "channel": "c",
            "since": {"epoch": position["epoch"], "seq": position["seq"]},
        }));
        let answer = client.next_or_end();
        let is_recovered = answer.is_some_and(|it| it["recovered"] == true);
        again = Some(client).filter(|_| is_recovered);
        is_recovered
    });
    let mut client = again.unwrap();
    assert_eq!([client.payload(), client.payload()], ["1", "2"]);
}

/// Its unit is the one of the package, for a bridge by its name.
#[test]
fn the_unit_of_a_bridge_behind_haproxy_is_that_of_the_package() {
    let lines = |text: &str| {
        let is_other = |line: &&str| {
            let others = ["Description=", "TimeoutStopSec=", "# "];
            !others.iter().any(|it| line.starts_with(it))
        };
        let lines = text.lines().filter(is_other).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    let package = include_str!("../../deploy/systemd/alle.service");
    let named = include_str!("../../deploy/haproxy/alle@.service");
    assert_eq!(
        lines(&package.replace("/alle.toml", "/%i.toml")),
        lines(named)
    );
}

/// More streams than HTTP/1.1 has connections.
#[test]
#[ignore = "needs nginx: make proxies"]
fn a_page_has_many_streams_by_http_2() {
    let mut scene = Scene::start_with(Kind::Nginx, |configuration| {
        let with_tls = Kind::Nginx.blocks().nth(1).unwrap();
        configuration.replace("listen 80;", with_tls)
    });
    visit(&mut scene, "https", 12);
}

/// As one would copy it from a configuration for pages.
#[test]
#[ignore = "needs nginx: make proxies"]
fn a_handshake_whose_upgrade_was_dropped_is_told_so() {
    let scene = Scene::start_with(Kind::Nginx, |configuration| {
        let lines = configuration.lines();
        let kept = lines.filter(|it| !it.contains("Upgrade") && !it.contains("Connection"));
        kept.collect::<Vec<_>>().join("\n")
    });
    let mut raw = Raw::open(scene.proxy.address);
    let request = upgrade_request(scene.proxy.address, "/live/ws", "");
    raw.write(
        request
            .replace(&scene.proxy.address.to_string(), HOST)
            .as_bytes(),
    );
    let answer = raw.response("GET");
    assert_eq!(answer.status, 426);
    assert!(
        answer
            .body
            .contains("a proxy in between did not pass it on"),
        "{answer:?}"
    );
    let log = |bridge: &Bridge| {
        bridge
            .log()
            .contains("a proxy in between did not pass it on")
    };
    assert!(scene.bridges.iter().any(log));
}
