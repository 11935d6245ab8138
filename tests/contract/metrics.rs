//! Contract, section 5: `/metrics`.

use crate::harness::{Bridge, NO_POSTGRES, bridge_and_database, wait_until};

/// The value of a sample, named with its labels.
#[track_caller]
pub fn sample(bridge: &Bridge, name: &str) -> f64 {
    let page = bridge.get("/metrics").body;
    value(&page, name).unwrap_or_else(|| panic!("no {name} in:\n{page}"))
}

/// The value of a sample on a page.
pub fn value(page: &str, name: &str) -> Option<f64> {
    let mut lines = page.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[test]
fn metrics_are_prometheus_text_and_head_is_get_without_it() {
    let bridge = Bridge::serve(NO_POSTGRES, &[]);
    let response = bridge.get("/metrics");
    assert_eq!(response.status, 200);
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(response.header("Content-Type"), Some(media_type));
    assert_eq!(
        value(&response.body, "alle_postgres_up{session=\"listening\"}"),
        Some(0.0)
    );
    assert_eq!(bridge.request("POST", "/metrics", "").status, 405);
    let head = bridge.request("HEAD", "/metrics", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn a_notification_is_seen_from_postgres_to_its_subscribers() {
    let (bridge, database) = bridge_and_database();
    let (mut ann, mut bob) = (bridge.client(), bridge.client());
    ann.subscribe("chosen by a client");
    bob.subscribe("chosen by a client");
    let before = sample(&bridge, "alle_written_bytes_total");
    database.sql().notify("chosen by a client", "seen");
    assert_eq!(
        (ann.payload(), bob.payload()),
        ("seen".into(), "seen".into())
    );
    for (name, expected) in [
        ("alle_postgres_up{session=\"listening\"}", 1.0),
        ("alle_postgres_up{session=\"publishing\"}", 1.0),
        ("alle_clients{state=\"open\"}", 2.0),
        ("alle_subscriptions", 2.0),
        ("alle_channels_listened", 1.0),
        ("alle_notifications_total", 1.0),
        ("alle_deliveries_total", 2.0),
        ("alle_fan_out_latency_seconds_count", 1.0),
    ] {
        // The last write comes before the end of its pass.
        wait_until(name, || sample(&bridge, name) == expected);
    }
    assert!(sample(&bridge, "alle_written_bytes_total") >= before + 2.0 * 60.0);
    // In this order: asking is a turn itself.
    let wakeups = sample(&bridge, "alle_wakeups_total");
    assert!(sample(&bridge, "alle_turns_total") >= wakeups);
    let page = bridge.get("/metrics").body;
    assert!(!page.contains("chosen by a client"), "{page}");
    drop(ann);
    bob.close();
    for reason in ["lost", "normal"] {
        let name = format!("alle_closes_total{{reason=\"{reason}\"}}");
        wait_until(&name, || sample(&bridge, &name) == 1.0);
    }
}

/// Each client is a descriptor, and the number of them that is left is the limit's.
#[test]
fn the_process_counts_its_descriptors_and_its_places() {
    let bridge = Bridge::serve(NO_POSTGRES, &["--max-clients", "7"]);
    assert_eq!(sample(&bridge, "alle_clients_max"), 7.0);
    let before = sample(&bridge, "process_open_fds");
    let _clients = [(); 5].map(|()| bridge.client());
    // Connections that asked for the page may still be about to end.
    wait_until("five more", || {
        sample(&bridge, "process_open_fds") >= before + 5.0
    });
    assert!(sample(&bridge, "process_max_fds") >= before + 5.0);
    assert!(sample(&bridge, "process_resident_memory_bytes") > 100_000.0);
    assert!(sample(&bridge, "process_start_time_seconds") > 1e9);
}

#[test]
fn a_lost_session_is_seen() {
    let (bridge, database) = bridge_and_database();
    let mut sql = database.sql();
    sql.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE application_name = 'alle' AND datname = current_database()",
    );
    let reconnects = "alle_postgres_reconnects_total{session=\"listening\"}";
    wait_until(reconnects, || sample(&bridge, reconnects) == 1.0);
    let up = "alle_postgres_up{session=\"listening\"}";
    wait_until(up, || sample(&bridge, up) == 1.0);
}

/// The documentation explains every metric, and names no other.
#[test]
fn the_documentation_names_every_metric_and_no_other() {
    let bridge = Bridge::serve(NO_POSTGRES, &[]);
    let page = bridge.get("/metrics").body;
    let there = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let documentation = include_str!("../../docs/operating.md");
    let rows = documentation
        .lines()
        .filter_map(|line| line.strip_prefix("| `"));
    // A package has dots in its name.
    let is_metric = |row: &&str| {
        let name = row.split(['`', '{']).next().unwrap_or_default();
        (name.starts_with("alle_") || name.starts_with("process_")) && !name.contains('.')
    };
    let rows = rows.filter(is_metric);
    let documented = rows.map(|row| {
        let (name, rest) = row.split_once('`').unwrap();
        let name = name.split('{').next().unwrap();
        format!("{name} {}", rest.split('|').nth(1).unwrap().trim())
    });
    assert_eq!(documented.collect::<Vec<_>>(), there.collect::<Vec<_>>());
}
