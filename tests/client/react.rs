//! The hook of docs/javascript.md, word for word, in a page of React.

use std::{env, fs, path::Path, process::Command};

use crate::{
    cdp::Browser,
    harm::{KEEPING, World},
    relay::{Fate, Relay},
    server::start_server_with,
    site::Site,
};

/// A page that shows what the hook hears, and lets the test change its channel and take it away.
const PAGE: &str = r#"
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { useChannel } from "./hook.jsx";

globalThis.log = [];

function Channel({ name, mark }) {
  useChannel(name, (payload) => log.push(`${mark} ${name} ${payload}`), () => log.push("gap"));
  return <p>{name}</p>;
}

function App() {
  const [shown, show] = useState({ name: "a", mark: 1 });
  globalThis.show = show;
  return shown ? <Channel {...shown} /> : <p>nothing</p>;
}

createRoot(document.body).render(<StrictMode><App /></StrictMode>);
"#;

/// The page and all it needs, as one script.
fn bundle(modules: &str, bridge: u16) -> String {
    let docs = include_str!("../../docs/javascript.md");
    let (_, hook) = docs.split_once("```jsx\n").expect("the docs have a hook");
    let (hook, _) = hook.split_once("```").unwrap();
    assert!(hook.lines().count() <= 17, "{hook}");
    let url = "wss://bridge.example.com/ws";
    assert!(hook.contains(url));
    let hook = hook.replace(url, &format!("ws://127.0.0.1:{bridge}/ws"));
    let folder = tempfile::tempdir_in(Path::new(modules).parent().unwrap()).unwrap();
    let module = include_str!("../../clients/js/alle.js");
    for (name, text) in [
        ("hook.jsx", &*hook),
        ("alle.js", module),
        ("page.jsx", PAGE),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let output = Command::new(format!("{modules}/.bin/esbuild"))
        .args([
            "--bundle",
            "--format=esm",
            "--jsx=automatic",
            "--log-level=warning",
        ])
        .arg("--define:process.env.NODE_ENV=\"development\"")
        .arg(folder.path().join("page.jsx"))
        .output()
        .expect("make browsers");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .replace("</script", "<\\/script")
}

/// In development React mounts each component twice, which a hook must survive.
#[test]
#[ignore = "needs react of npm: make browsers"]
fn the_hook_of_the_docs_follows_its_component() {
    let modules = env::var("ALLE_NODE_MODULES").expect("make browsers");
    let server = start_server_with(&KEEPING);
    let relay = Relay::start(server.port());
    let site = Site::start();
    let script = bundle(&modules, relay.port());
    *site.page.lock().unwrap() =
        format!("<!doctype html><body></body><script type=module>{script}</script>");
    let browser = Browser::open(&format!("http://{}/", site.address));
    let mut world = World::Chromium(Box::new(browser));
    let notify = |channel: &str, payload: &str| {
        let sql = format!("SELECT pg_notify('{channel}', '{payload}')");
        server.database().run(&sql).unwrap();
    };
    // Nothing says that it is subscribed: what it hears proves it.
    let reaches = |world: &mut World, line: &str, channel: &str| {
        while world.evaluate(&format!("log.includes('{line} hello')")) != true {
            notify(channel, "hello");
        }
    };
    reaches(&mut world, "1 a", "a");
    notify("a", "once");
    world.wait_for("log.includes('1 a once')");
    let count = "log.filter((it) => it === '1 a once').length";
    assert_eq!(world.evaluate(count), 1);

    // The function of the last rendering is called, and the channel stays subscribed.
    world.evaluate("show({ name: 'a', mark: 2 })");
    reaches(&mut world, "2 a", "a");
    relay.harm(Fate::Reset);
    notify("a", "while away");
    world.wait_for("log.includes('2 a while away')");
    assert_eq!(world.evaluate("log.includes('gap')"), false);

    world.evaluate("show({ name: 'b', mark: 3 })");
    reaches(&mut world, "3 b", "b");
    notify("a", "of another channel");
    notify("b", "behind it");
    world.wait_for("log.includes('3 b behind it')");
    let strays = "log.filter((it) => it.endsWith('of another channel')).length";
    assert_eq!(world.evaluate(strays), 0);

    world.evaluate("show(null)");
    world.wait_for("document.body.innerText === 'nothing'");
    notify("b", "to nobody");
    world.evaluate("show({ name: 'a', mark: 4 })");
    reaches(&mut world, "4 a", "a");
    let strays = "log.filter((it) => it.endsWith('to nobody')).length";
    assert_eq!(world.evaluate(strays), 0);
}
