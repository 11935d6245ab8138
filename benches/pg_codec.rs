//! PostgreSQL's bytes to notifications: one read of 64 KiB after the other, as they come.

use std::{hint::black_box, time::Duration};

use alle::internals::pg::codec::{Codec, split_notification};
use criterion::{BenchmarkId, Criterion, Throughput};

/// A NotificationResponse (PostgreSQL, "Message Formats").
fn notification(payload_bytes: usize) -> Vec<u8> {
    let body = [
        &[0, 0, 16, 7],
        &b"orders\0"[..],
        &vec![b'x'; payload_bytes],
        b"\0",
    ]
    .concat();
    let length = u32::try_from(4 + body.len()).expect("short");
    [b"A", &length.to_be_bytes()[..], &body].concat()
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("pg_codec");
    for payload_bytes in [100, 4_000] {
        let one = notification(payload_bytes);
        let notifications = 16 * READ_BYTES / one.len();
        let stream = one.repeat(notifications);
        group.throughput(Throughput::Elements(
            u64::try_from(notifications).expect("few"),
        ));
        group.bench_function(
            BenchmarkId::new("notifications", payload_bytes),
            |bencher| {
                let mut codec = Codec::default();
                bencher.iter(|| {
                    let mut count = 0;
                    for read in stream.chunks(READ_BYTES) {
                        codec.push(read);
                        while let Some(message) = codec.next().expect("a good stream") {
                            let parts = split_notification(message.body);
                            black_box(parts.expect("a good notification"));
                            count += 1;
                        }
                    }
                    assert_eq!(count, notifications);
                });
            },
        );
    }
    group.finish();
    criterion.final_summary();
}

const READ_BYTES: usize = 64 * 1024;
