//! The alerts and the board of `deploy/`: held to the metrics that there are, and tried by a real
//! Prometheus (`make monitoring`).

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    admin,
    client::Client,
    harness::{Bridge, Database, NO_POSTGRES, wait_until},
    program::{Program, alle_with},
    raw::{Raw, upgrade_request},
    workers::Workers,
};

const RULES: &str = include_str!("../../deploy/prometheus/alle.rules.yml");
const BOARD: &str = include_str!("../../deploy/grafana/alle.json");
const DOCS: &str = include_str!("../../docs/operating.md");

/// What follows `key` on the lines of the rules that begin with it.
fn rules(key: &'static str) -> impl Iterator<Item = &'static str> {
    RULES
        .lines()
        .filter_map(move |line| line.trim_start().strip_prefix(key))
}

/// The expressions of all panels, with their variables filled in as Grafana does.
fn panel_expressions() -> Vec<String> {
    let board: Value = serde_json::from_str(BOARD).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array());
    let expressions = targets.flatten().map(|it| it["expr"].as_str().unwrap());
    let filled = expressions.map(|it| {
        it.replace("$__rate_interval", "10s")
            .replace("$instance", ".*")
    });
    filled.collect()
}

/// The names of metrics in an expression, without the endings of a histogram's samples.
fn metrics_in(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    words
        .filter(|it| it.starts_with("alle_") || it.starts_with("process_"))
        .map(|it| it.strip_suffix("_bucket").unwrap_or(it))
        .collect()
}

#[test]
fn alerts_and_panels_name_metrics_that_there_are() {
    let bridge = Bridge::serve(NO_POSTGRES, &[]);
    let workers = Workers::run(2, alle_with(&["serve"]), NO_POSTGRES, &[]);
    let page = bridge.get("/metrics").body + &workers.get("/metrics").body;
    let names = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let there: BTreeSet<_> = names.filter_map(|it| it.split(' ').next()).collect();
    let panels = panel_expressions();
    assert!(panels.len() > 20 && rules("expr: ").count() > 10);
    for expression in panels.into_iter().chain(rules("expr: ").map(String::from)) {
        let named = metrics_in(&expression);
        assert!(!named.is_empty(), "{expression}");
        for name in named {
            assert!(there.contains(name), "there is no {name}: {expression}");
        }
    }
}

#[test]
fn every_alert_has_its_paragraph_and_no_other_has() {
    let alerts: Vec<_> = rules("- alert: ").collect();
    let paragraphs = DOCS
        .lines()
        .filter_map(|line| line.strip_prefix("- **`Alle"));
    let paragraphs = paragraphs.map(|it| format!("Alle{}", it.split('`').next().unwrap()));
    assert_eq!(paragraphs.collect::<Vec<_>>(), alerts);
}

/// A real Prometheus that scrapes these bridges each second.
struct Prometheus {
    address: SocketAddr,
    _program: Program,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    fn scrape(bridges: &[SocketAddr]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let targets: Vec<_> = bridges.iter().map(SocketAddr::to_string).collect();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             scrape_configs:\n  - job_name: alle\n    static_configs:\n      - targets: {targets:?}\n"
        );
        let path = directory.path().join("prometheus.yml");
        fs::write(&path, config).unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", path.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg("--web.listen-address=127.0.0.1:0");
        let program = Program::start(command);
        let address = loop {
            let line = program.stderr.next();
            let bound = line.split_once("msg=\"Listening on\" address=");
            if let Some((_, address)) = bound {
                break address.trim().parse().unwrap();
            }
        };
        wait_until("Prometheus is ready", || {
            admin::get(address, "/-/ready").status == 200
        });
        Self {
            address,
            _program: program,
            _directory: directory,
        }
    }

    /// The series that an expression has now.
    fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = expression
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        let answer = admin::get(self.address, &format!("/api/v1/query?query={encoded}"));
        assert_eq!(answer.status, 200, "{expression}: {}", answer.body);
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        answer["data"]["result"].as_array().unwrap().clone()
    }

    /// Waits until the expression holds for the bridge, as an alert or a panel needs it.
    fn wait_for(&self, expression: &str, bridge: SocketAddr) {
        let instance = bridge.to_string();
        wait_until(expression, || {
            let series = self.query(expression);
            series.iter().any(|it| it["metric"]["instance"] == instance)
        });
    }
}

/// The expression of an alert, over a time that a test has.
fn alert(name: &str) -> String {
    let (_, from) = RULES.split_once(&format!("- alert: {name}\n")).unwrap();
    let (_, expression) = from.split_once("expr: ").unwrap();
    let expression = expression.lines().next().unwrap();
    expression.replace("[5m]", "[10s]")
}

#[test]
#[ignore = "needs Prometheus: make monitoring"]
fn prometheus_takes_the_rules_and_they_fire_as_their_tests_say() {
    for arguments in [
        ["check", "rules", "alle.rules.yml"],
        ["test", "rules", "alle.test.yml"],
    ] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus"))
            .stdin(Stdio::null())
            .output()
            .expect("promtool is installed");
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {text}");
    }
    let tested = include_str!("../../deploy/prometheus/alle.test.yml");
    for name in rules("- alert: ") {
        let firing = format!("alertname: {name}\n");
        assert!(tested.contains(&firing), "{name} has no test");
    }
}

/// A bridge at work has data in every panel, and bridges in trouble raise their alerts.
#[test]
#[ignore = "needs Prometheus: make monitoring"]
fn every_panel_has_data_and_bridges_in_trouble_raise_their_alerts() {
    let database = Database::create();
    let tokens = tempfile::NamedTempFile::new().unwrap();
    fs::write(tokens.path(), "a-token-that-is-long-enough\n").unwrap();
    let well = Bridge::start(&database.url());
    let apart = Bridge::serve(NO_POSTGRES, &[]);
    let guarded = Bridge::start_with(
        &database.url(),
        &["--token-file", tokens.path().to_str().unwrap()],
    );
    let full = Bridge::start_with(&database.url(), &["--max-clients", "1"]);
    let _only = Client::connect(full.address);
    let function = ["--auth-function", "nobodys.function"];
    let unjudged = Bridge::serve(&database.url(), &function);
    let prometheus =
        Prometheus::scrape(&[&well, &apart, &guarded, &full, &unjudged].map(|it| it.address));

    let mut client = well.client();
    client.subscribe("news");
    for expression in panel_expressions() {
        wait_until(&expression, || {
            client.notify("news", "again");
            client.send_text("nonsense");
            let _ = well.get("/healthz");
            drop(well.client());
            let series = prometheus.query(&expression);
            // A rate needs two samples, and a quantile something to count.
            series.iter().any(|it| it["value"][1] != "NaN")
        });
    }

    prometheus.wait_for(&alert("AllePostgresDown"), apart.address);
    prometheus.wait_for(&alert("AlleFull"), full.address);
    wait_until("tokens are not judged", || {
        let token = "Authorization: Bearer good-good-good-good\r\n";
        let mut raw = Raw::open(unjudged.address);
        raw.write(upgrade_request(unjudged.address, "/ws", token).as_bytes());
        assert_eq!(raw.response("GET").status, 503);
        !prometheus.query(&alert("AlleTokensNotJudged")).is_empty()
    });
    let mut sql = database.sql();
    wait_until("sessions are lost again and again", || {
        sql.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name LIKE 'alle%' AND datname = current_database()",
        );
        !prometheus.query(&alert("AllePostgresUnstable")).is_empty()
            && !prometheus.query(&alert("AlleGaps")).is_empty()
    });
    wait_until("tokens are guessed", || {
        for _ in 0..20 {
            let wrong = "Authorization: Bearer wrong-wrong-wrong-wrong\r\n";
            let mut raw = Raw::open(guarded.address);
            raw.write(upgrade_request(guarded.address, "/ws", wrong).as_bytes());
            assert!([401, 429].contains(&raw.response("GET").status));
        }
        !prometheus.query(&alert("AlleTokensGuessed")).is_empty()
    });
}

/// Workers, of which one hangs, whose certificate ends soon and cannot be read again.
#[cfg(feature = "tls")]
#[test]
#[ignore = "needs Prometheus: make monitoring"]
fn certificates_and_workers_in_trouble_raise_their_alerts() {
    use std::time::Duration;

    use crate::{
        client_tls::secured::{Files, Secured},
        metrics::value,
        workers::signal,
    };

    let database = Database::create();
    let files = Files::new();
    let week = Duration::from_secs(7 * 86_400);
    files.sign_until("localhost", &["localhost"], week);
    let secured = Secured::serve(files, &database.url(), &["--workers", "2"]);
    let admin = secured.admin_address();
    let prometheus = Prometheus::scrape(&[admin]);
    prometheus.wait_for(&alert("AlleCertificateEnding"), admin);
    assert!(
        prometheus
            .query(&alert("AlleCertificateNotRenewed"))
            .is_empty()
    );
    fs::write(secured.files.path("localhost.crt"), "half a file").unwrap();
    secured.bridge.signal("HUP");
    prometheus.wait_for(&alert("AlleCertificateNotRenewed"), admin);
    wait_until("both workers are ready", || {
        !prometheus.query("sum(alle_worker_ready) == 2").is_empty()
    });
    let page = secured.admin("/metrics");
    let process = value(&page, "alle_worker_process_id{worker=\"2\"}").unwrap();
    signal(format!("{process:.0}").parse().unwrap(), "STOP");
    wait_until("it is seen", || {
        let series = prometheus.query(&alert("AlleWorkerNotReady"));
        series.iter().any(|it| it["metric"]["worker"] == "2")
    });
}
