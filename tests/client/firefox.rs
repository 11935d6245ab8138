//! The module in Firefox, whose own page says what it hears: `make browsers`.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    audit::Heard,
    harm::{KEEPING, Publisher},
    relay::{Fate, Relay},
    server::start_server_with,
    site::Site,
};

/// Every tenth of a second, all that was heard.
const PAGE: &str = r#"<script type="module">
import { connect } from "http://BRIDGE/alle.js";
const log = [];
const word = (it) => () => log.push(it);
const callbacks = { onSubscribed: word("subscribed"), onRecovered: word("recovered"), onGap: word("gap") };
connect().subscribe("orders", (payload) => log.push(Number(payload)), callbacks);
setInterval(() => fetch("/heard?" + btoa(JSON.stringify(log))), 100);
</script>"#;

/// Nothing is asked, and nothing is fetched that the test did not ask for.
const SETTINGS: &str = r#"user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
"#;

/// A running browser.
struct Firefox(Child);

impl Firefox {
    fn open(url: &str, profile: &Path) -> Self {
        fs::write(profile.join("user.js"), SETTINGS).unwrap();
        let program = std::env::var("ALLE_FIREFOX").expect("make browsers");
        let child = Command::new(program)
            .args(["--headless", "--no-remote", "--profile"])
            .arg(profile)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until the page has told of this.
#[track_caller]
fn wait_for(site: &Site, what: &str, holds: impl Fn(&Heard) -> bool) -> Heard {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let log = site.heard.lock().unwrap().clone();
        let heard = Heard::new(&serde_json::from_str(&log).unwrap_or(Value::Array(Vec::new())));
        if holds(&heard) {
            return heard;
        }
        assert!(Instant::now() < deadline, "never: {what}: {heard}");
        thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs Firefox: make browsers"]
fn a_socket_that_is_cut_and_a_bridge_that_is_killed_in_firefox() {
    let mut server = start_server_with(&[&KEEPING[..], &["--playground"]].concat());
    let relay = Relay::start(server.port());
    let site = Site::start();
    *site.page.lock().unwrap() = PAGE.replace("BRIDGE", &format!("127.0.0.1:{}", relay.port()));
    let profile = tempfile::tempdir().unwrap();
    let firefox = Firefox::open(&format!("http://{}/", site.address), profile.path());
    wait_for(&site, "subscribed", |it| it.count("subscribed") == 1);
    let publisher = Publisher::start(&server);
    for round in 1..=2 {
        publisher.send_more();
        relay.harm(Fate::Reset);
        wait_for(&site, "recovered", |it| it.count("recovered") == round);
    }
    let so_far = publisher.send_more();
    let heard = wait_for(&site, "more", |it| it.numbers().last() > Some(&so_far));
    assert_eq!(heard.count("gap"), 0, "{heard}");
    server.stop();
    publisher.send_more();
    server.start_again();
    wait_for(&site, "gap", |it| it.count("gap") == 1);
    let last = publisher.stop();
    let heard = wait_for(&site, "the last one", |it| it.numbers().contains(&last));
    heard.assert_nothing_is_missing_unseen();
    drop(firefox);
}
