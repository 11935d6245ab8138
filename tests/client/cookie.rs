//! Requests that a browser sends with the cookie of a token: from our own page, and from foreign ones.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::{
    cdp::Browser,
    server::{Server, start_server_with},
    site::Site,
};

/// What a page comes to by each of the three ways, as a promise. A foreign page cannot see the answer
/// to a request; that it was sent with the cookie, and refused for its origin, the bridge knows.
const TRY: &str = "(async (base) => {
    const all = { credentials: 'include' };
    const events = await fetch(base + '/sse?channel=a', all).then((it) => it.status, () => 'failed');
    const simple = { ...all, method: 'POST', body: 'forged' };
    const post = await fetch(base + '/publish/a', simple).then((it) => it.status, () => 'failed');
    const opaque = { ...simple, mode: 'no-cors' };
    const unseen = await fetch(base + '/publish/a', opaque).then((it) => it.type, () => 'failed');
    const stream = await new Promise((resolve) => {
        const source = new EventSource(base + '/sse?channel=a', { withCredentials: true });
        source.onopen = () => { source.close(); resolve('open'); };
        source.onerror = () => { source.close(); resolve('failed'); };
    });
    const socket = await new Promise((resolve) => {
        const it = new WebSocket(base.replace('http', 'ws') + '/ws');
        it.onopen = () => it.send('{\"type\":\"ping\"}');
        it.onmessage = ({ data }) => { it.close(); resolve(JSON.parse(data).type); };
        it.onclose = () => resolve('failed');
    });
    return { events, post, unseen, stream, socket };
})";

#[test]
fn a_foreign_page_cannot_use_the_cookie_of_whoever_looks_at_it() {
    let tokens = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(tokens.path(), "of-ann-0123456789\n").unwrap();
    let path = tokens.path().to_str().unwrap();
    let server = start_server_with(&[
        "--token-file",
        path,
        "--token-cookie",
        "t",
        "--allow-host",
        "localhost",
    ]);
    let base = format!("http://localhost:{}", server.port());
    let mut browser = Browser::open(&format!("{base}/healthz"));
    // As a server on the same host sets it.
    browser.evaluate("document.cookie = 't=of-ann-0123456789; SameSite=Lax; Path=/'; 0");
    let own = attempt(&mut browser, &base);
    let expected = json!({"events": 200, "post": 200, "unseen": "basic", "stream": "open",
        "socket": "pong"});
    assert_eq!(own, expected);
    assert_eq!(refused(&server), 0);
    let site = Site::start();
    *site.page.lock().unwrap() = "<title>foreign</title>".to_owned();
    // A page of another port is of the same site, and its requests bring the cookie. From another
    // site the browser sends none, and a WebSocket is told to say who it is.
    for (host, socket, refusals) in [("localhost", "failed", 5), ("evil.example", "error", 5)] {
        browser.navigate(&format!("http://{host}:{}/", site.address.port()));
        let expected = json!({"events": "failed", "post": "failed", "unseen": "opaque",
            "stream": "failed", "socket": socket});
        assert_eq!(attempt(&mut browser, &base), expected, "{host}");
        assert_eq!(refused(&server), refusals, "{host}");
    }
    // Those of our own page.
    assert_eq!(metric(&server, "alle_publishes_total"), 2);
}

/// The function of a token renews the cookie, and returns nothing.
#[test]
fn the_module_comes_in_by_a_cookie_that_its_page_renews() {
    let tokens = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(tokens.path(), "of-ann-0123456789\n").unwrap();
    let path = tokens.path().to_str().unwrap();
    let server = start_server_with(&["--token-file", path, "--token-cookie", "t"]);
    let mut browser = Browser::open(&server.url("/healthz"));
    browser.evaluate(
        "globalThis.log = [];
         const token = async () => { document.cookie = 't=of-ann-0123456789'; };
         import('/alle.js').then(({ connect }) => {
             globalThis.alle = connect(`ws://${location.host}/ws`, { token });
             alle.subscribe('orders', (payload) => log.push(payload), {
                 onSubscribed: () => log.push('subscribed'),
             });
         });
         0",
    );
    browser.wait_for("log.includes('subscribed')");
    server.notify("orders", "hello");
    browser.wait_for("log.includes('hello')");
}

fn attempt(browser: &mut Browser, base: &str) -> Value {
    browser.evaluate(&format!(
        "globalThis.found = null; {TRY}('{base}').then((it) => {{ found = it; }}); 0"
    ));
    browser.wait_for("globalThis.found");
    browser.evaluate("found")
}

/// Requests that were answered with 403.
fn refused(server: &Server) -> u64 {
    metric(server, "alle_http_responses_total{status=\"403\"}")
}

fn metric(server: &Server, name: &str) -> u64 {
    let mut socket = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut page = String::new();
    socket.read_to_string(&mut page).unwrap();
    let mut values = page
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values.next().expect("a metric").parse().unwrap()
}
