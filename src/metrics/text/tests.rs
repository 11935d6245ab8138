//! The text to the letter, and the format's own rules over all of it.

use std::collections::BTreeSet;

use super::*;

fn busy() -> (Metrics, Gauges) {
    let mut metrics = Metrics {
        connections: 12,
        handshakes: 9,
        connections_excess: 1,
        handshakes_timed_out: 2,
        handshakes_crowded_out: 3,
        admin_crowded_out: 4,
        listening_connects: 3,
        publishing_connects: 0,
        notifications: 100,
        notifications_unrouted: 5,
        notifications_lossy: 1,
        publishes: 7,
        deliveries: 950,
        gaps: 8,
        statuses: 18,
        bytes_written: 123_456,
        turns: 400,
        wakeups: 390,
        slices: 20,
        ..Metrics::default()
    };
    metrics.http_responses.add(200);
    metrics.http_responses.add(503);
    metrics.closes.add("slow_consumer");
    metrics.closes.add("lost");
    metrics.errors.add("bad_message");
    metrics.publish_latency.observe(1_500);
    metrics.transaction_size.observe(3);
    metrics.fan_out_latency.observe(0);
    metrics.fan_out_latency.observe(30_000_000);
    let gauges = Gauges {
        is_listening_up: true,
        is_publishing_up: false,
        is_proved: true,
        queue_usage: 0.25,
        clients_handshake: 1,
        clients_open: 6,
        clients_closing: 2,
        subscriptions: 11,
        channels_listened: 4,
        publishes_waiting: 3,
        backlogs: 1,
        backlog_bytes: 2_000,
        retained_bytes: 4_096,
        unsent_bytes: 64,
        history_bytes: 777,
    };
    (metrics, gauges)
}

#[test]
fn the_page_to_the_letter() {
    let (metrics, gauges) = busy();
    let expected = include_str!("golden.txt").replace("VERSION", env!("CARGO_PKG_VERSION"));
    assert_eq!(metrics.text(&gauges), expected);
    assert!(expected.len() < PAGE_BYTES);
}

#[test]
fn every_sample_has_its_help_and_type_before_it_and_comes_once() {
    let (metrics, gauges) = busy();
    let page = metrics.text(&gauges);
    assert!(page.ends_with('\n'));
    let mut families = BTreeSet::new();
    let mut samples = BTreeSet::new();
    let (mut helped, mut typed) = ("", "");
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped = rest.split(' ').next().unwrap();
            assert!(rest.ends_with('.') && families.insert(helped), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            typed = rest.split(' ').next().unwrap();
            assert_eq!(typed, helped, "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            let of_histogram = ["", "_bucket", "_sum", "_count"];
            let belongs = of_histogram.map(|end| format!("{typed}{end}"));
            assert!(belongs.iter().any(|known| known == name), "{line}");
            assert!(
                value.parse::<f64>().is_ok() && samples.insert(sample),
                "{line}"
            );
        }
    }
}
