//! The page as axe-core judges it, in every state, and pictures of it: `make browsers`.
//!
//! Needs packages of npm, in `ALLE_NODE_MODULES`; the pictures go to `ALLE_SCREENSHOTS`.

use std::{env, fs, path::PathBuf};

use alle::internals::sandbox::Sandbox;
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use serde_json::json;

use crate::{
    cdp::Browser,
    has_line, open,
    server::{start_server_on, start_server_with},
};

/// A directory that the environment names.
fn directory(variable: &str) -> PathBuf {
    let directory = env::var_os(variable);
    PathBuf::from(directory.unwrap_or_else(|| panic!("{variable} is not set: make browsers")))
}

/// Both sizes, both schemes: no violation of any level in any of them, and a picture each.
fn judge(browser: &mut Browser, state: &str) {
    let axe = directory("ALLE_NODE_MODULES").join("axe-core/axe.min.js");
    browser.evaluate(&format!("{}; 0", fs::read_to_string(axe).unwrap()));
    let pictures = directory("ALLE_SCREENSHOTS");
    fs::create_dir_all(&pictures).unwrap();
    for (width, height) in [(1280, 800), (390, 844)] {
        browser.resize(width, height, width < 800);
        for scheme in ["light", "dark"] {
            browser.prefer_color_scheme(scheme);
            browser.evaluate(
                "window.judged = null; void axe.run({ resultTypes: ['violations'] }).then(
                     ({ violations }) => { window.judged = violations; })",
            );
            browser.wait_for("window.judged");
            let violations = browser.evaluate(
                "judged.map(({ id, impact, help, nodes }) => [id, impact, help, nodes.map((it) => it.html)])",
            );
            assert_eq!(violations, json!([]), "{state}, {width}, {scheme}");
            let beyond = browser.evaluate("document.documentElement.scrollWidth");
            assert_eq!(
                beyond, width,
                "{state}, {scheme}: cut off, or to be scrolled"
            );
            let file = pictures.join(format!("playground-{state}-{width}-{scheme}.png"));
            fs::write(file, BASE64.decode(browser.screenshot()).unwrap()).unwrap();
        }
    }
}

#[test]
#[ignore = "needs axe-core of npm: make browsers"]
fn axe_finds_nothing_in_any_state_of_the_page() {
    let server = start_server_on(Sandbox::start().unwrap(), &[]);
    let mut browser = open(&server);
    judge(&mut browser, "empty");

    for channel in ["alerts", "sensor/temperature"] {
        browser.fill("subscribe-channel", channel);
        browser.press_enter();
    }
    browser.wait_for("document.querySelectorAll('.chip:not(.waiting)').length === 3");
    for number in 1..=12_u32 {
        let order = json!({"id": number, "customer_name": "Test User", "total": 99.99, "status": "pending"});
        server.notify("orders", &order.to_string());
        server.notify("sensor/temperature", &format!("-{number}.5"));
    }
    server.notify("alerts", "Disk of db1 is at 91 %");
    browser.click("#publish");
    browser.wait_for(&has_line("hello"));
    // The graph moves once a second.
    browser.wait_for("document.getElementById('graph').ariaLabel.startsWith('Notifications')");
    server.database().sandbox().kill9().unwrap();
    browser.wait_for(&has_line("PostgreSQL is away"));
    browser.click("#publish");
    browser.wait_for("document.getElementById('answer').innerText.startsWith('not sent')");
    judge(&mut browser, "down");

    server.database().sandbox().start_again().unwrap();
    browser.wait_for(&has_line("PostgreSQL was away for "));
    server.notify(
        "orders",
        r#"{"id":13,"customer_name":"Test User","total":5}"#,
    );
    browser.wait_for(&has_line(r#""id":13"#));
    browser.click("#publish");
    browser.wait_for("document.getElementById('answer').innerText.includes('committed')");
    browser.click(".notification summary");
    judge(&mut browser, "busy");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
#[ignore = "needs axe-core of npm: make browsers"]
fn axe_finds_nothing_where_a_token_is_asked_for() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "a-token-of-some-length\n").unwrap();
    let server = start_server_with(&["--token-file", file.path().to_str().unwrap()]);
    let mut browser = Browser::open(&server.page_url());
    browser.wait_for("!document.getElementById('stranger').hidden");
    browser.fill("token", "another-one");
    browser.press_enter();
    browser.wait_for("document.getElementById('token-error').innerText.includes('is wrong')");
    judge(&mut browser, "token");
}
