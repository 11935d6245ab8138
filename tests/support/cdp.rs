//! Drives a real, headless Chromium over the DevTools protocol: open a page, run script in it.
//!
//! Chromium missing is a failure that says how to install it, never a skipped test.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use super::patient::Patient;

/// How long anything may take before it counts as never. A cold browser on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running browser with one page.
pub struct Browser {
    child: Child,
    /// Its stderr; closed when the last of its processes is gone.
    stderr: Receiver<String>,
    /// Removed once all of its processes, which write to it, are gone.
    _profile: TempDir,
    socket: WebSocket<Patient>,
    session: Option<String>,
    next_id: u64,
    /// The errors on the page's console, and the exceptions it threw.
    complaints: Vec<String>,
}

impl Browser {
    /// Starts a browser of its own and opens `url` in it.
    pub fn open(url: &str) -> Self {
        let program = find_program();
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(&program);
        command.args([
            "--headless",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--remote-debugging-port=0",
            // A foreign name that was made to lead here: DNS rebinding; and a site behind a proxy.
            "--host-resolver-rules=MAP *.example 127.0.0.1, MAP *.example.com 127.0.0.1",
            // Certificates are made for the test.
            "--ignore-certificate-errors",
        ]);
        if is_root() {
            command.arg("--no-sandbox");
        }
        command
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let stderr = read_lines(child.stderr.take().unwrap());
        let devtools = devtools_url(&stderr);
        let address = devtools
            .trim_start_matches("ws://")
            .split('/')
            .next()
            .unwrap()
            .to_owned();
        let stream = TcpStream::connect(&address).expect("the browser's DevTools listen");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) =
            tungstenite::client(&devtools, Patient(stream)).expect("a DevTools connection");
        let mut browser = Self {
            child,
            stderr,
            _profile: profile,
            socket,
            session: None,
            next_id: 1,
            complaints: Vec::new(),
        };
        browser.attach();
        browser.navigate(url);
        browser
    }

    /// Opens another URL in the page.
    #[track_caller]
    pub fn navigate(&mut self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
        let there = format!(
            "document.readyState === 'complete' && location.href === new URL({}).href",
            json!(url)
        );
        self.wait_for(&there);
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true});
        let result = self.call("Runtime.evaluate", &parameters);
        assert!(
            result.get("exceptionDetails").is_none(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// Waits until `condition` holds in the page, looking again whenever the page changed.
    #[track_caller]
    pub fn wait_for(&mut self, condition: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Answered when it holds, or after a while, since the page may be replaced meanwhile.
            let expression = format!(
                "new Promise((resolve) => {{
                    const holds = () => {{ try {{ return !!({condition}); }} catch {{ return false; }} }};
                    if (holds()) return resolve(true);
                    const timer = setInterval(() => {{
                        if (holds()) {{ clearInterval(timer); resolve(true); }}
                    }}, 20);
                    setTimeout(() => {{ clearInterval(timer); resolve(holds()); }}, 2000);
                }})"
            );
            let parameters =
                json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
            let answer = self.try_call("Runtime.evaluate", &parameters);
            if answer["result"]["result"]["value"] == json!(true) {
                return;
            }
            if Instant::now() >= deadline {
                let body = self.evaluate("document.body.innerText");
                panic!("never: {condition}\n{body}\n{:#?}", self.complaints);
            }
        }
    }

    /// The text of the element with this id.
    #[track_caller]
    pub fn text(&mut self, id: &str) -> String {
        let text = self.evaluate(&format!("document.getElementById({}).innerText", json!(id)));
        text.as_str().expect("an element with text").to_owned()
    }

    /// Types `text` into the field with this id, in place of what it holds, key by key or so.
    pub fn fill(&mut self, id: &str, text: &str) {
        self.evaluate(&format!("document.getElementById({}).select()", json!(id)));
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Clicks the first match of `selector`, which is what a mouse would hit at its middle.
    ///
    /// In one step with the look at its place: between two of them, what the page shows next could
    /// move it away from there.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let expression = format!(
            "(() => {{
                const found = document.querySelector({});
                found.scrollIntoView({{ block: 'center' }});
                const box = found.getBoundingClientRect();
                const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                if (!found.contains(hit)) return hit ? hit.outerHTML : 'nothing';
                found.focus();
                hit.click();
                return null;
            }})()",
            json!(selector)
        );
        let parameters =
            json!({"expression": expression, "returnByValue": true, "userGesture": true});
        let result = self.call("Runtime.evaluate", &parameters);
        let is_missing = result.get("exceptionDetails").is_some();
        assert!(!is_missing, "{selector}: {result}");
        let hit = &result["result"]["value"];
        assert_eq!(*hit, Value::Null, "in the place of {selector}");
    }

    /// Presses Enter.
    pub fn press_enter(&mut self) {
        for (kind, text) in [("keyDown", "\r"), ("keyUp", "")] {
            let event = json!({"type": kind, "key": "Enter", "code": "Enter", "text": text,
                "windowsVirtualKeyCode": 13});
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Whether the page sees a dark or a light screen.
    pub fn prefer_color_scheme(&mut self, scheme: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &features);
    }

    /// Gives the page a screen of so many pixels; a small one is touched, as a telephone's is.
    pub fn resize(&mut self, width: u32, height: u32, is_touched: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": is_touched});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let touch = json!({"enabled": is_touched});
        self.call("Emulation.setTouchEmulationEnabled", &touch);
    }

    /// What is on the screen, as a PNG in base64.
    pub fn screenshot(&mut self) -> String {
        let shot = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        shot["data"].as_str().expect("a picture").to_owned()
    }

    /// The page's errors so far: exceptions of its script, violations of its content policy.
    pub fn complaints(&mut self) -> &[String] {
        self.evaluate("1");
        &self.complaints
    }

    fn attach(&mut self) {
        let targets = self.call("Target.getTargets", &json!({}));
        let page = targets["targetInfos"]
            .as_array()
            .and_then(|targets| targets.iter().find(|target| target["type"] == "page"))
            .map_or(Value::Null, |page| page["targetId"].clone());
        let page = if page.is_null() {
            self.call("Target.createTarget", &json!({"url": "about:blank"}))["targetId"].clone()
        } else {
            page
        };
        let attached = self.call(
            "Target.attachToTarget",
            &json!({"targetId": page, "flatten": true}),
        );
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.call(domain, &json!({}));
        }
    }

    #[track_caller]
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let answer = self.try_call(method, parameters);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// One call and its answer; events of the browser in between are noted or skipped.
    fn try_call(&mut self, method: &str, parameters: &Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let mut call = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().expect("the browser answers") else {
                continue;
            };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == json!(id) {
                return message;
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let entry = &message["params"]["entry"];
        let is_error = message["method"] == "Runtime.exceptionThrown"
            || (message["method"] == "Log.entryAdded" && entry["level"] == "error");
        // A lost server is reported too, and is no fault of the page.
        if is_error && entry["source"] != "network" && !message.to_string().contains("WebSocket") {
            self.complaints.push(message["params"].to_string());
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // In order, so that its own children end too; by force if it does not answer.
        self.session = None;
        let close = json!({"id": 0, "method": "Browser.close"});
        let _ = self.socket.send(Message::text(close.to_string()));
        let _ = self
            .socket
            .get_ref()
            .set_read_timeout(Some(Duration::from_secs(5)));
        while self.socket.read().is_ok() {}
        // Until all of its processes are gone they write to the profile.
        while self.stderr.recv_timeout(Duration::from_secs(5)).is_ok() {}
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find_program() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let names = [
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ];
    let candidates = env::split_paths(&path)
        .flat_map(|directory| names.iter().map(move |name| directory.join(name)));
    candidates
        .into_iter()
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!(
                "no chromium and no google-chrome on PATH: this test needs a real browser. \
             On Debian: apt-get install chromium"
            )
        })
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|itself| itself.uid() == 0)
}

/// Its stderr is read to the end, or it would block.
fn read_lines(stderr: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// The URL the browser prints once it listens.
fn devtools_url(stderr: &Receiver<String>) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut printed = Vec::new();
    loop {
        match stderr.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.strip_prefix("DevTools listening on ") {
                Some(url) => return url.trim().to_owned(),
                None => printed.push(line),
            },
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                panic!("the browser does not listen for DevTools; it said: {printed:#?}")
            }
        }
    }
}
