//! The examples of docs/http.md, by curl: events, publishes, and a reader who comes back.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    harness::{Bridge, Database, bridge_and_database},
    raw::Raw,
    schema,
};

/// `curl -N` on a stream of events, ended when it is dropped.
struct Curl {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    last_event_id: String,
}

impl Curl {
    fn events(bridge: &Bridge, query: &str, last_event_id: &str) -> Self {
        let url = format!("http://{}/sse?{query}", bridge.address);
        let field = format!("Last-Event-ID: {last_event_id}");
        let mut child = Command::new("curl")
            .args(["-sN", "--max-time", CURL_SECONDS_MAX, "-H", &field, &url])
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl is installed");
        let stdout = child.stdout.take().expect("it is piped");
        Self {
            child,
            lines: BufReader::new(stdout).lines(),
            last_event_id: String::new(),
        }
    }

    /// The data of the next event that has some, with its name.
    fn next(&mut self) -> (String, Value) {
        let mut name = String::new();
        loop {
            let line = self.lines.next().expect("an event comes").unwrap();
            if let Some(value) = line.strip_prefix("event: ") {
                value.clone_into(&mut name);
            } else if let Some(value) = line.strip_prefix("id: ") {
                value.clone_into(&mut self.last_event_id);
            } else if let Some(value) = line.strip_prefix("data: ") {
                let data = serde_json::from_str(value).unwrap();
                schema::check_event(&name, &data);
                return (name, data);
            }
        }
    }

    fn payload(&mut self) -> String {
        let (name, data) = self.next();
        assert_eq!(name, "", "{data}");
        data["payload"].as_str().unwrap().to_owned()
    }
}

/// It ends with its test; this is for one that waits for an event which never comes.
const CURL_SECONDS_MAX: &str = "300";

impl Drop for Curl {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The status and the body of a `POST` by curl.
fn post(bridge: &Bridge, channel: &str, payload: &str) -> (String, Value) {
    let url = format!("http://{}/publish/{channel}", bridge.address);
    let output = Command::new("curl")
        .args(["-s", "-w", "\n%{http_code}", "--data", payload, &url])
        .output()
        .expect("curl is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    let body = serde_json::from_str(body).unwrap();
    schema::check_answer(&body);
    (status.to_owned(), body)
}

#[test]
fn curl_reads_what_curl_publishes_and_goes_on_where_it_was() {
    let database = Database::create();
    // The reader comes back after as many programs as a busy machine takes its time to start.
    let bridge = Bridge::start_with(&database.url(), &["--unlisten-delay", "60"]);
    let query = "channel=orders&channel=alerts";
    let mut reader = Curl::events(&bridge, query, "");
    let told = [reader.next(), reader.next()].map(|(name, _)| name);
    assert_eq!(told, ["subscribed", "subscribed"]);
    let (status, body) = post(&bridge, "orders", "Hello World");
    assert_eq!((&*status, &body["type"]), ("200", &"notified".into()));
    assert_eq!(reader.payload(), "Hello World");
    let last_event_id = reader.last_event_id.clone();
    drop(reader);
    for (channel, payload) in [("alerts", "1"), ("orders", "2"), ("alerts", "3")] {
        post(&bridge, channel, payload);
    }
    let mut reader = Curl::events(&bridge, query, &last_event_id);
    for _ in 0..2 {
        let (name, data) = reader.next();
        assert_eq!((&*name, &data["recovered"]), ("subscribed", &true.into()));
    }
    let missed = [reader.payload(), reader.payload(), reader.payload()];
    assert_eq!(missed, ["1", "2", "3"]);
}

#[test]
fn a_position_of_a_bridge_that_was_started_again_is_a_gap() {
    let (bridge, database) = bridge_and_database();
    let mut reader = Curl::events(&bridge, "channel=orders", "");
    reader.next();
    post(&bridge, "orders", "1");
    assert_eq!(reader.payload(), "1");
    let last_event_id = reader.last_event_id.clone();
    drop(bridge);
    let bridge = Bridge::start(&database.url());
    let mut reader = Curl::events(&bridge, "channel=orders", &last_event_id);
    let (name, data) = reader.next();
    assert_eq!((&*name, &data["recovered"]), ("subscribed", &false.into()));
    assert_eq!(reader.next().0, "gap");
    post(&bridge, "orders", "2");
    assert_eq!(reader.payload(), "2");
}

#[test]
fn pipelined_publishes_of_one_connection_commit_in_their_order() {
    let (bridge, _database) = bridge_and_database();
    let mut reader = Curl::events(&bridge, "channel=a", "");
    reader.next();
    let mut raw = Raw::open(bridge.address);
    let requests: String = (0..20)
        .map(|n| {
            let (host, body) = (bridge.address, n.to_string());
            let length = body.len();
            format!(
                "POST /publish/a HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        })
        .collect();
    raw.write(requests.as_bytes());
    for n in 0..20 {
        let response = raw.response("POST");
        assert_eq!(response.status, 200, "{}", response.body);
        assert_eq!(response.header("Connection"), Some("keep-alive"));
        assert_eq!(reader.payload(), n.to_string());
    }
}
