//! The playground page in a real browser: it loads, connects, shows, publishes and comes back.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests are a shell: they open sockets; what is not there fails the test"
)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "a test binary has no public interface"
)]

#[path = "playground/browsers.rs"]
mod browsers;
#[path = "support/cdp.rs"]
mod cdp;
#[path = "support/deserted.rs"]
mod deserted;
#[path = "support/environment.rs"]
mod environment;
#[path = "playground/inspector.rs"]
mod inspector;
#[path = "support/patient.rs"]
mod patient;
#[path = "playground/server.rs"]
#[expect(dead_code, reason = "the tests of the module for pages need the rest")]
mod server;

use cdp::Browser;
use server::{Server, start_server, start_server_with};

const IS_CONNECTED: &str = "document.getElementById('connection').innerText.includes('connected') \
    && !document.getElementById('connection').innerText.includes('dis') \
    && document.querySelector('#channels .chip:not(.waiting)')";

fn open(server: &Server) -> Browser {
    let mut browser = Browser::open(&server.page_url());
    browser.wait_for(IS_CONNECTED);
    browser
}

fn has_line(text: &str) -> String {
    format!(
        "[...document.querySelectorAll('#notifications li')].some((line) => \
         line.textContent.includes({}))",
        serde_json::json!(text)
    )
}

#[test]
fn it_loads_connects_and_shows_a_notification_with_its_time() {
    let server = start_server();
    let mut browser = open(&server);
    assert!(browser.text("postgres").ends_with("PostgreSQL up"));
    assert!(browser.text("channels").contains("orders"));
    assert!(browser.text("try").contains("INSERT INTO orders"));
    server.notify("orders", r#"{"id": 123}"#);
    browser.wait_for(&has_line(r#"{"id": 123}"#));
    let line = browser.evaluate("document.querySelector('.notification').innerText");
    let line = line.as_str().unwrap();
    assert!(line.contains("orders"), "{line}");
    let time = line.split_whitespace().next().unwrap();
    assert_eq!(
        time.matches(':').count(),
        2,
        "hours, minutes and seconds in {line}"
    );
    let empty = browser.complaints().is_empty();
    assert!(empty, "{:#?}", browser.complaints());
}

#[test]
fn a_payload_is_text_never_markup_and_the_newest_is_first() {
    let server = start_server();
    let mut browser = open(&server);
    let markup = "<img src=x onerror='document.title=\"owned\"'><b id=injected>";
    server.notify("orders", markup);
    browser.wait_for(&has_line(markup));
    assert_eq!(
        browser.evaluate("document.getElementById('injected')"),
        serde_json::Value::Null
    );
    assert_eq!(browser.evaluate("document.title"), "alle playground");
    server.notify("orders", "second");
    browser.wait_for(&has_line("second"));
    let first = browser.evaluate("document.querySelector('#notifications .payload').innerText");
    assert_eq!(first, "second");
    browser.click("#clear");
    browser.wait_for("!document.querySelector('.notification')");
}

#[test]
fn publishing_is_confirmed_and_heard_and_a_refusal_is_shown() {
    let server = start_server();
    let mut browser = open(&server);
    browser.fill("publish-payload", "from the page");
    browser.click("#publish");
    browser.wait_for("document.getElementById('answer').innerText.includes('✓ sent to orders')");
    browser.wait_for(&has_line("from the page"));
    browser.fill("publish-channel", &"x".repeat(64));
    browser.press_enter();
    browser.wait_for("document.getElementById('answer').innerText.startsWith('not sent: ')");
}

#[test]
fn channels_come_and_go_and_a_bad_one_is_refused() {
    let server = start_server();
    let mut browser = open(&server);
    browser.fill("subscribe-channel", "It's \"odd\" <b>");
    browser.press_enter();
    browser.wait_for("document.querySelectorAll('#channels .chip:not(.waiting)').length === 2");
    server.notify("It's \"odd\" <b>", "here");
    browser.wait_for(&has_line("here"));
    browser.click("[aria-label='Unsubscribe from orders']");
    browser.wait_for("document.querySelectorAll('#channels .chip').length === 1");
    browser.fill("subscribe-channel", &"x".repeat(64));
    browser.click("#subscribe");
    browser.wait_for("document.getElementById('subscribe-error').innerText.startsWith('xxx')");
    browser.wait_for("document.querySelectorAll('#channels .chip').length === 1");
}

#[test]
fn a_server_that_goes_is_shown_and_one_that_comes_back_is_used_again() {
    let mut server = start_server();
    let mut browser = open(&server);
    server.stop();
    browser.wait_for("document.getElementById('connection').innerText.includes('connecting')");
    assert!(browser.text("postgres").ends_with("PostgreSQL unknown"));
    browser.click("#publish");
    browser.wait_for("document.getElementById('answer').innerText.startsWith('not sent')");
    server.start_again();
    browser.wait_for(IS_CONNECTED);
    // Another server does not know the notifications of the first one.
    browser.wait_for(&has_line("possible gap"));
    server.notify("orders", "after the restart");
    browser.wait_for(&has_line("after the restart"));
}

#[test]
fn a_bridge_that_wants_a_token_gets_the_one_that_is_typed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret subscribe=orders\n").unwrap();
    let server = start_server_with(&["--token-file", file.path().to_str().unwrap()]);
    let mut browser = Browser::open(&server.page_url());
    browser.wait_for("!document.getElementById('stranger').hidden");
    for (token, expected) in [
        (
            "wrong",
            "document.getElementById('token-error').innerText.includes('is wrong')",
        ),
        ("s3cret", IS_CONNECTED),
    ] {
        browser.fill("token", token);
        browser.click("#use-token");
        browser.wait_for(expected);
    }
    browser.wait_for("document.getElementById('stranger').hidden");
    server.notify("orders", "for who is known");
    browser.wait_for(&has_line("for who is known"));
    browser.fill("subscribe-channel", "others");
    browser.click("#subscribe");
    browser.wait_for("document.getElementById('subscribe-error').innerText.includes('others')");
}

/// A foreign page, and one whose name was rebound to this machine: the browser lets both try, and
/// the bridge refuses both.
#[test]
fn a_page_of_another_origin_and_one_of_a_rebound_name_are_refused() {
    let server = start_server();
    let own = server.page_url();
    let port = own.trim_end_matches('/').rsplit(':').next().unwrap();
    let mut browser = Browser::open(&format!("http://page.example:{port}/"));
    let body = browser.evaluate("document.body.innerText");
    assert!(body.as_str().unwrap().contains("--allow-host"), "{body}");
    for host in ["127.0.0.1", "page.example"] {
        browser.evaluate(&format!(
            "window.outcome = null; window.socket = new WebSocket('ws://{host}:{port}/'); \
             socket.onopen = () => outcome = 'open'; socket.onerror = () => outcome = 'refused'"
        ));
        browser.wait_for("window.outcome");
        assert_eq!(browser.evaluate("outcome"), "refused", "{host}");
    }
    let arguments = ["--allow-host", "page.example"];
    let server = start_server_with(&arguments);
    let own = server.page_url();
    let port = own.trim_end_matches('/').rsplit(':').next().unwrap();
    let mut browser = Browser::open(&format!("http://page.example:{port}/"));
    browser.wait_for(IS_CONNECTED);
}

#[test]
fn every_field_has_a_label_and_both_color_schemes_differ() {
    let server = start_server();
    let mut browser = open(&server);
    let unlabelled = browser.evaluate(
        "[...document.querySelectorAll('input, textarea')].filter((it) => \
         it.labels.length === 0 && !it.ariaLabel).length",
    );
    assert_eq!(unlabelled, 0);
    let background = "getComputedStyle(document.body).backgroundColor";
    browser.prefer_color_scheme("light");
    let light = browser.evaluate(background);
    browser.prefer_color_scheme("dark");
    assert_ne!(browser.evaluate(background), light);
}
