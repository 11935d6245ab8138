//! The page of the README, word for word, in Chromium and from a server of its own.

use alle::internals::sandbox::Sandbox;
use serde_json::Value;

use crate::{
    audit::Heard,
    cdp::Browser,
    harm::{KEEPING, Publisher, World},
    relay::{Fate, Relay},
    server::start_server_on,
    site::Site,
};

/// The first page of the README, its bridge replaced by this one.
fn page(bridge: u16) -> String {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme
        .split_once("```html\n")
        .expect("the README has a page");
    let (page, _) = rest.split_once("```").unwrap();
    assert_eq!(page.lines().count(), 5, "{page}");
    assert!(page.contains("localhost:8080"));
    page.replace("localhost:8080", &format!("127.0.0.1:{bridge}"))
}

/// What the page shows, one entry a line: numbers, and `gap` for its warning.
fn shown(world: &mut World) -> Heard {
    let text = world.evaluate("document.body.innerText");
    let lines = text.as_str().unwrap().lines();
    let lines = lines.filter(|line| ![FIRST, ""].contains(&line.trim()));
    let entry = |line: &str| match line.trim().parse::<u64>() {
        Ok(number) => Value::from(number),
        Err(_) => {
            assert!(line.contains("may be missing"), "{line}");
            Value::from("gap")
        }
    };
    Heard::new(&lines.map(entry).collect())
}

/// Sent until it is shown, perhaps more than once.
const FIRST: &str = "first";

/// A file with one token, which the site hands out.
struct Tokens<'a> {
    directory: tempfile::TempDir,
    site: &'a Site,
}

impl Tokens<'_> {
    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("tokens")
    }

    fn rotate(&self, to: &str) {
        let new = self.directory.path().join("new");
        std::fs::write(&new, format!("{to}\n")).unwrap();
        std::fs::rename(&new, self.path()).unwrap();
        to.clone_into(&mut self.site.token.lock().unwrap());
    }
}

/// Waits until the page shows more than what was sent so far.
#[track_caller]
fn wait_for_more(world: &mut World, publisher: &Publisher) {
    let last = publisher.send_more();
    let lines = "document.body.innerText.split('\\n').map(Number)";
    world.wait_for(&format!("{lines}.some((it) => it > {last})"));
}

#[test]
fn the_page_of_the_readme_survives_and_shows_what_may_be_missing() {
    let site = Site::start();
    let directory = tempfile::tempdir().unwrap();
    let tokens = Tokens {
        directory,
        site: &site,
    };
    tokens.rotate("the-first-token-of-all");
    let file = tokens.path();
    let arguments = [&KEEPING[..], &["--token-file", file.to_str().unwrap()]].concat();
    let mut server = start_server_on(Sandbox::start().unwrap(), &arguments);
    let relay = Relay::start(server.port());
    let with_token = "connect(null, { token: async () => (await fetch(\"/token\")).text() })";
    assert!(include_str!("../../README.md").contains(with_token));
    *site.page.lock().unwrap() = page(relay.port()).replace("connect()", with_token);
    let browser = Browser::open(&format!("http://{}/", site.address));
    let mut world = World::Chromium(Box::new(browser));

    // The page says nothing of its subscription: what it shows proves it.
    let is_shown = format!("document.body.innerText.includes('{FIRST}')");
    while world.evaluate(&is_shown) != true {
        let first = format!("SELECT pg_notify('orders', '{FIRST}')");
        server.database().run(&first).unwrap();
    }
    let publisher = Publisher::start(&server);
    wait_for_more(&mut world, &publisher);
    relay.harm(Fate::Reset);
    wait_for_more(&mut world, &publisher);
    tokens.rotate("the-second-token-of-all");
    server.signal("HUP");
    wait_for_more(&mut world, &publisher);
    let so_far = shown(&mut world);
    so_far.assert_nothing_is_missing_unseen();
    assert_eq!(so_far.count("gap"), 0, "{so_far}");

    server.stop();
    publisher.send_more();
    server.start_again();
    wait_for_more(&mut world, &publisher);
    server.database().sandbox().kill9().unwrap();
    publisher.send_more();
    server.database().sandbox().start_again().unwrap();
    wait_for_more(&mut world, &publisher);
    let all = shown(&mut world);
    all.assert_nothing_is_missing_unseen();
    assert!(all.count("gap") >= 2, "{all}");
    publisher.stop();
}

/// The table of other clients counts the lines that stand below it.
#[test]
fn the_lines_of_each_client_are_those_of_its_page() {
    let document = include_str!("../../docs/javascript.md");
    let (_, table) = document.split_once("## Beside other clients").unwrap();
    let pages: Vec<_> = table.split("```js\n// ").skip(1).collect();
    assert_eq!(pages.len(), 5);
    for page in pages {
        let (client, rest) = page.split_once('\n').unwrap();
        let lines = rest.split("```").next().unwrap().lines().count();
        let is_client = |row: &&str| {
            let name = row.replace('`', "");
            name.starts_with(&format!("| {client}"))
        };
        let row = table.lines().find(is_client).expect(client);
        let counted = row.split('|').nth(2).unwrap().trim();
        assert_eq!(counted, lines.to_string(), "{client}");
    }
}
