//! The browser's own `EventSource` and `fetch`, without our module: streams while something between
//! them and PostgreSQL is harmed, and publishes of pages that may and of pages that may not.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    thread,
    time::Duration,
};

use alle::internals::sandbox::{Sandbox, StopMode};
use serde_json::Value;

use crate::{
    audit::Heard,
    cdp::Browser,
    harm::{KEEPING, Publisher},
    relay::{Fate, Relay},
    server::{Server, start_server_on, start_server_with},
    site::Site,
};

/// Opens a stream of `orders`, and writes down what comes.
fn listen(browser: &mut Browser, url: &str) {
    browser.evaluate(&format!(
        "globalThis.log = [];
         globalThis.events = new EventSource('{url}/sse?channel=orders');
         events.onmessage = ({{ data }}) => log.push(Number(JSON.parse(data).payload));
         events.addEventListener('subscribed', ({{ data }}) =>
             log.push(JSON.parse(data).recovered === true ? 'recovered' : 'subscribed'));
         events.addEventListener('gap', () => log.push('gap'));
         events.addEventListener('status', ({{ data }}) => {{
             const {{ postgres, code }} = JSON.parse(data);
             log.push(postgres ?? `ends ${{code}}`);
         }});
         0"
    ));
    wait_for_words(browser, "subscribed", 1);
}

/// Waits until a word stands there so often.
#[track_caller]
fn wait_for_words(browser: &mut Browser, word: &str, count: usize) {
    browser.wait_for(&format!(
        "log.filter((it) => it === '{word}').length >= {count}"
    ));
}

/// Stops, and waits until the page has heard the end of it.
#[track_caller]
fn finish(publisher: Publisher, browser: &mut Browser) -> Heard {
    let last = publisher.stop();
    browser.wait_for(&format!("log.includes({last})"));
    let heard = Heard::new(&browser.evaluate("log"));
    heard.assert_nothing_is_missing_unseen();
    heard
}

#[test]
fn an_event_source_that_is_cut_goes_on_by_itself_and_misses_nothing() {
    let server = start_server_with(&KEEPING);
    let relay = Relay::start(server.port());
    let mut browser = Browser::open(&server.url("/healthz"));
    listen(&mut browser, &format!("http://127.0.0.1:{}", relay.port()));
    let publisher = Publisher::start(&server);
    for (index, fate) in [Fate::Close, Fate::Reset].into_iter().enumerate() {
        publisher.send_more();
        relay.harm(fate);
        publisher.send_more();
        wait_for_words(&mut browser, "recovered", index + 1);
    }
    let heard = finish(publisher, &mut browser);
    assert_eq!(heard.count("gap"), 0, "{heard}");
    let numbers = heard.numbers();
    let is_next = |two: &[u64]| two[0] + 1 == two[1];
    assert!(
        numbers[0] == 1 && numbers.windows(2).all(is_next),
        "{heard}"
    );
}

#[test]
fn an_event_source_sees_the_gap_of_a_bridge_that_was_killed_or_stopped() {
    let mut server = start_server_with(&KEEPING);
    let mut browser = Browser::open(&server.url("/healthz"));
    listen(&mut browser, &server.url(""));
    let publisher = Publisher::start(&server);
    for round in 1..=2 {
        publisher.send_more();
        if round == 1 {
            server.stop();
        } else {
            server.stop_in_order();
        }
        publisher.send_more();
        server.start_again();
        wait_for_words(&mut browser, "gap", round);
    }
    let heard = finish(publisher, &mut browser);
    assert_eq!(heard.count("recovered"), 0, "{heard}");
    assert_eq!(heard.count("ends 1001"), 1, "{heard}");
}

#[test]
fn an_event_source_stays_open_while_postgres_is_killed_and_sees_the_gap() {
    let server = start_server_on(Sandbox::start().unwrap(), &KEEPING);
    let mut browser = Browser::open(&server.url("/healthz"));
    listen(&mut browser, &server.url(""));
    browser.evaluate("globalThis.errors = 0; events.onerror = () => { errors += 1; }; 0");
    let publisher = Publisher::start(&server);
    let sandbox = server.database().sandbox();
    for round in 1..=2 {
        publisher.send_more();
        if round == 1 {
            sandbox.kill9().unwrap();
        } else {
            sandbox.stop(StopMode::Immediate).unwrap();
        }
        wait_for_words(&mut browser, "down", round);
        sandbox.start_again().unwrap();
        wait_for_words(&mut browser, "up", round);
        wait_for_words(&mut browser, "gap", round);
    }
    let heard = finish(publisher, &mut browser);
    assert_eq!(heard.count("gap"), 2, "{heard}");
    assert_eq!(browser.evaluate("errors"), 0);
}

/// The example of docs/http.md, which reads a stream where a token is required.
fn reader_of_the_docs() -> &'static str {
    let docs = include_str!("../../docs/http.md");
    let (_, from) = docs.split_once("```js\nasync function listen(").unwrap();
    let (body, _) = from.split_once("\n}\n").unwrap();
    body
}

fn write_tokens(path: &Path, tokens: &str) {
    let new = path.with_extension("new");
    fs::write(&new, tokens).unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn a_stream_that_fetch_reads_ends_with_its_token_and_goes_on_with_another() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    write_tokens(&file, "the-first-token-of-all\n");
    let arguments = [&KEEPING[..], &["--token-file", file.to_str().unwrap()]].concat();
    let server = start_server_with(&arguments);
    let mut browser = Browser::open(&server.url("/healthz"));
    // An EventSource has no token: it is refused, for ever.
    browser.evaluate("globalThis.refused = new EventSource('/sse?channel=orders'); 0");
    browser.wait_for("refused.readyState === EventSource.CLOSED");
    browser.evaluate(&format!(
        "globalThis.log = [];
         globalThis.token = 'the-first-token-of-all';
         globalThis.listen = async function listen({reader}
}};
         void listen('/sse?channel=orders', () => token, (name, data) => {{
             if (name === 'message') log.push(Number(data.payload));
             else if (name === 'subscribed') log.push(data.recovered ? 'recovered' : name);
             else log.push(name);
         }});
         0",
        reader = reader_of_the_docs()
    ));
    wait_for_words(&mut browser, "subscribed", 1);
    let publisher = Publisher::start(&server);
    publisher.send_more();
    browser.evaluate("token = 'the-second-token-of-all'");
    write_tokens(&file, "the-second-token-of-all\n");
    server.signal("HUP");
    wait_for_words(&mut browser, "auth", 1);
    wait_for_words(&mut browser, "recovered", 1);
    let heard = finish(publisher, &mut browser);
    assert_eq!(heard.count("gap"), 0, "{heard}");
}

/// What comes of a `fetch` that publishes, with these options: a status, the type of an answer that the
/// page may not see, or the name of an error.
fn publish(browser: &mut Browser, server: &Server, options: &str) -> Value {
    let url = server.url("/publish/orders");
    browser.evaluate(&format!(
        "globalThis.outcome = undefined;
         void fetch('{url}', {{ method: 'POST', ...{options} }}).then(
             (it) => {{ outcome = it.status || it.type; }},
             (error) => {{ outcome = error.name; }});
         0"
    ));
    browser.wait_for("outcome !== undefined");
    browser.evaluate("outcome")
}

/// A value at `/metrics`.
fn metric(server: &Server, name: &str) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.expect(name).trim().parse().unwrap()
}

fn answered(server: &Server, status: u16) -> u64 {
    let name = format!("alle_http_responses_total{{status=\"{status}\"}}");
    metric(server, &name)
}

/// Waits until the bridge has heard this from PostgreSQL as the only notification.
fn wait_for_the_only_one(browser: &mut Browser) {
    browser.wait_for("log.includes(42)");
    assert_eq!(
        browser.evaluate("JSON.stringify(log)"),
        r#"["subscribed",42]"#
    );
}

/// What no page can send without the browser asking first.
const WITH_PREFLIGHT: &str = "{ body: '42', headers: {
    'Authorization': 'Bearer none', 'Content-Type': 'application/json', 'Last-Event-ID': 'x' } }";
/// What every page can.
const WITHOUT_PREFLIGHT: &str = "{ body: '1', mode: 'no-cors' }";

#[test]
fn a_page_of_an_allowed_origin_publishes_behind_a_preflight_and_reads_events() {
    let site = Site::start();
    let origin = format!("http://{}", site.address);
    let server = start_server_with(&["--allow-origin", &origin]);
    let mut browser = Browser::open(&origin);
    listen(&mut browser, &server.url(""));
    assert_eq!(answered(&server, 204), 0);
    assert_eq!(publish(&mut browser, &server, WITH_PREFLIGHT), 200);
    assert_eq!(answered(&server, 204), 1, "the browser asked first");
    wait_for_the_only_one(&mut browser);
    // An error is an answer, too: the page may see which.
    let long = "{ body: 'x'.repeat(8000) }";
    assert_eq!(publish(&mut browser, &server, long), 413);
}

#[test]
fn a_page_of_a_foreign_origin_publishes_nothing_in_any_way() {
    let server = start_server_with(&[]);
    let mut own = Browser::open(&server.url("/healthz"));
    listen(&mut own, &server.url(""));
    let site = Site::start();
    let mut foreign = Browser::open(&format!("http://{}/", site.address));
    let refused = answered(&server, 403);
    assert_eq!(publish(&mut foreign, &server, WITH_PREFLIGHT), "TypeError");
    assert_eq!(publish(&mut foreign, &server, WITHOUT_PREFLIGHT), "opaque");
    assert_eq!(publish(&mut foreign, &server, "{ body: '1' }"), "TypeError");
    // Forms need no permission at all; in a sandbox their origin is null.
    for sandbox in ["allow-forms allow-same-origin", "allow-forms"] {
        let before = answered(&server, 403);
        foreign.evaluate(&format!(
            "frame = document.createElement('iframe');
             frame.sandbox = '{sandbox} allow-scripts';
             frame.srcdoc = `<form method=post enctype=text/plain action=\"{}\"><input name=a value=b></form>
                 <script>document.forms[0].submit()<\\/script>`;
             document.body.append(frame);
             0",
            server.url("/publish/orders")
        ));
        while answered(&server, 403) == before {
            thread::park_timeout(Duration::from_millis(5));
        }
    }
    foreign.evaluate(&format!(
        "globalThis.events = new EventSource('{}'); 0",
        server.url("/sse?channel=orders")
    ));
    foreign.wait_for("events.readyState === EventSource.CLOSED");
    assert_eq!(answered(&server, 403), refused + 6);
    // The page of the bridge's own is let in, and its notification is the first.
    assert_eq!(publish(&mut own, &server, "{ body: '42' }"), 200);
    wait_for_the_only_one(&mut own);
}
