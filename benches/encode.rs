//! One notification to its finished frame: JSON and header, once for all who get it.

use std::time::Duration;

use alle::internals::{hub::encode::append_message, message::ServerMessage};
use criterion::{BenchmarkId, Criterion, Throughput};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("encode");
    let row = r#"{"id":4711,"state":"paid"}"#;
    for (name, payload) in [
        ("text", "x".repeat(100)),
        ("json", row.repeat(4)),
        ("text", "x".repeat(1_000)),
        ("text", "x".repeat(7_999)),
    ] {
        group.throughput(Throughput::Bytes(
            u64::try_from(payload.len()).expect("short"),
        ));
        group.bench_function(BenchmarkId::new(name, payload.len()), |bencher| {
            let mut out = Vec::new();
            bencher.iter(|| {
                out.clear();
                let message = ServerMessage::Notification {
                    channel: "orders",
                    payload: &payload,
                    seq: 1_000_000,
                    lossy: false,
                };
                append_message(&message, &mut out);
                out.len()
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
