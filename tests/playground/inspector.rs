//! The page as an inspector: what it makes of much, of outages, of a small screen and of a keyboard.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    ops::RangeInclusive,
    thread,
};

use alle::internals::sandbox::Sandbox;
use serde_json::json;

use crate::{
    IS_CONNECTED,
    cdp::Browser,
    has_line, open,
    server::{Server, start_server, start_server_on, start_server_with},
};

/// So many notifications, from 1 on, in one transaction.
fn notify_many(server: &Server, count: u32) {
    notify_all(server, 1..=count);
}

/// The notifications of these numbers, in one transaction.
fn notify_all(server: &Server, numbers: RangeInclusive<u32>) {
    let (first, last) = numbers.into_inner();
    let series = format!("generate_series({first}, {last})");
    let sql = format!("SELECT pg_notify('orders', 'n' || n) FROM {series} n");
    server.database().run(&sql).unwrap();
}

fn is_text(id: &str, text: &str) -> String {
    format!(
        "document.getElementById('{id}').textContent === {}",
        json!(text)
    )
}

const ROWS: &str = "document.querySelectorAll('.notification').length";

#[test]
fn json_is_folded_to_a_line_and_opens_to_many() {
    let server = start_server();
    let mut browser = open(&server);
    server.notify("orders", r#"{"id":123,"items":[1,2]}"#);
    browser.wait_for(&has_line(r#"{"id":123,"items":[1,2]}"#));
    let height = "document.querySelector('.notification').offsetHeight";
    let folded = browser.evaluate(height).as_f64().unwrap();
    browser.click(".notification summary");
    browser.wait_for(
        "document.querySelector('.notification pre').innerText.includes('  \"id\": 123')",
    );
    assert!(browser.evaluate(height).as_f64().unwrap() > 3.0 * folded);
}

#[test]
fn the_last_300_are_kept_and_cleared_and_the_count_says_so() {
    let server = start_server();
    let mut browser = open(&server);
    // No more at a time than its socket takes: a browser may be slow on a busy machine.
    for first in (1..=5_050).step_by(505) {
        let last = first + 504;
        notify_all(&server, first..=last);
        let newest = "document.querySelector('.payload')?.textContent";
        browser.wait_for(&format!("{newest} === 'n{last}'"));
    }
    browser.wait_for(&is_text("count", "300 of 5,050 kept"));
    browser.wait_for(&format!("{ROWS} === 300"));
    assert_eq!(
        browser.evaluate("document.querySelector('.payload').textContent"),
        "n5050"
    );
    browser.click("#clear");
    browser.wait_for(&format!("{ROWS} === 0"));
    assert_eq!(browser.text("count"), "");
    server.notify("orders", "after");
    browser.wait_for(&is_text("count", "1"));
}

#[test]
fn a_pause_holds_the_screen_and_counts_what_comes() {
    let server = start_server();
    let mut browser = open(&server);
    notify_many(&server, 20);
    browser.wait_for(&format!("{ROWS} === 20"));
    browser.click("#pause");
    server.notify("orders", "unseen");
    browser.wait_for(&is_text("pause", "Resume \u{b7} 1 new"));
    assert_eq!(browser.evaluate(ROWS), 20);
    // What is held can be searched.
    browser.fill("filter", "N1");
    browser.wait_for(&format!("{ROWS} === 11"));
    browser.fill("filter", " ");
    browser.click("#pause");
    browser.fill("filter", "unseen");
    browser.wait_for(&format!("{ROWS} === 1"));
}

#[test]
fn an_outage_is_a_row_that_says_how_long_it_was() {
    let mut server = start_server_on(Sandbox::start().unwrap(), &[]);
    let mut browser = open(&server);
    let sandbox = server.database().sandbox();
    sandbox.kill9().unwrap();
    browser.wait_for(&has_line("PostgreSQL is away"));
    browser.wait_for("document.getElementById('postgres').innerText.endsWith('down')");
    browser.wait_for("document.querySelector('.chip.waiting').title.startsWith('waiting')");
    sandbox.start_again().unwrap();
    browser.wait_for(&has_line("PostgreSQL was away for "));
    browser.wait_for(&has_line("possible gap: PostgreSQL was away"));
    browser.wait_for("document.querySelector('.chip:not(.waiting)').title.startsWith('live')");
    server.stop();
    browser.wait_for(&has_line("The bridge is away"));
    server.start_again();
    browser.wait_for(&has_line("The bridge was away for "));
}

#[test]
fn an_error_stands_beside_its_field_until_the_field_changes() {
    let server = start_server();
    let mut browser = open(&server);
    browser.fill("publish-channel", &"x".repeat(64));
    browser.click("#publish");
    browser.wait_for("document.getElementById('answer').innerText.startsWith('not sent: ')");
    let invalid = "document.getElementById('publish-channel').getAttribute('aria-invalid')";
    assert_eq!(browser.evaluate(invalid), "true");
    browser.fill("publish-channel", "orders");
    browser.wait_for(&is_text("answer", ""));
    assert_eq!(browser.evaluate(invalid), "false");
}

#[test]
fn the_focus_stays_among_the_chips_when_one_goes() {
    let server = start_server();
    let mut browser = open(&server);
    browser.fill("subscribe-channel", "alerts");
    browser.press_enter();
    browser.wait_for("document.querySelectorAll('.chip:not(.waiting)').length === 2");
    let focused = "document.activeElement.ariaLabel ?? document.activeElement.id";
    for expected in ["Unsubscribe from alerts", "subscribe-channel"] {
        browser.evaluate("document.querySelector('.chip button').focus()");
        browser.press_enter();
        browser.wait_for(&format!("({focused}) === '{expected}'"));
    }
}

#[test]
fn on_a_telephone_the_log_comes_first_and_whatever_is_touched_is_large() {
    let server = start_server();
    let mut browser = open(&server);
    browser.resize(390, 844, true);
    server.notify("orders", "seen at once");
    browser.wait_for(&has_line("seen at once"));
    let top = "document.querySelector('.notification').getBoundingClientRect().bottom";
    assert!(browser.evaluate(top).as_f64().unwrap() < 844.0 / 2.0);
    assert_eq!(
        browser.evaluate("matchMedia('(pointer: coarse)').matches"),
        true
    );
    let small = "[...document.querySelectorAll('button, input, textarea, footer a')]
        .filter((it) => it.checkVisibility())
        .filter((it) => it.offsetHeight < 44 || it.offsetWidth < 44)
        .map((it) => it.id || it.ariaLabel || it.textContent)";
    assert_eq!(browser.evaluate(small), json!([]));
}

#[test]
fn nothing_is_cut_off_at_320_pixels_with_text_of_twice_the_size() {
    let server = start_server_with(&[]);
    let mut browser = open(&server);
    browser.resize(320, 640, true);
    browser.evaluate("document.documentElement.style.fontSize = '200%'");
    notify_many(&server, 3);
    server.notify(
        "orders",
        &format!("{{\"long\":\"{}\"}}", "word".repeat(100)),
    );
    browser.wait_for(&format!("{ROWS} === 4"));
    let width = "document.documentElement.scrollWidth";
    assert_eq!(browser.evaluate(width), 320);
    let beyond = "[...document.querySelectorAll('button, input, textarea, h1, h2, .chip, pre')]
        .filter((it) => it.checkVisibility() && it.getBoundingClientRect().right > 320)
        .map((it) => it.id || it.textContent)";
    assert_eq!(browser.evaluate(beyond), json!([]));
}

#[test]
fn it_works_under_a_path_of_a_proxy() {
    let server = start_server();
    let proxy = prefixed(server.port());
    let mut browser = Browser::open(&format!("http://{proxy}/live/"));
    browser.wait_for(IS_CONNECTED);
    server.notify("orders", "through the proxy");
    browser.wait_for(&has_line("through the proxy"));
    browser.wait_for("!document.getElementById('metrics').hidden");
}

/// A proxy that has the bridge at `/live/`, and nothing else.
fn prefixed(port: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for front in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || carry(front, port));
        }
    });
    address
}

fn carry(mut front: TcpStream, port: u16) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        front.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let inside = head.replacen(" /live/", " /", 1);
    if inside == head {
        let not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return front.write_all(not_found).ok();
    }
    let mut back = TcpStream::connect(("127.0.0.1", port)).ok()?;
    back.write_all(inside.as_bytes()).ok()?;
    let (mut from_front, mut to_back) = (front.try_clone().ok()?, back.try_clone().ok()?);
    thread::spawn(move || std::io::copy(&mut from_front, &mut to_back));
    std::io::copy(&mut back, &mut front).ok()?;
    front.shutdown(std::net::Shutdown::Both).ok()
}
