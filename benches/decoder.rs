//! A client's text frame to its message: header, unmasking, UTF-8; whole, and in two pieces.

use std::{hint::black_box, time::Duration};

use alle::internals::ws::decoder::{Decoder, Input};
use criterion::{BenchmarkId, Criterion, Throughput};

/// A text frame of a client.
fn frame(payload_bytes: usize) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(payload_bytes) {
        Ok(short @ ..=125) => frame.push(0x80 | short),
        _ => {
            let length = u16::try_from(payload_bytes).expect("up to 64 KiB");
            frame.push(0x80 | 126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend((0..payload_bytes).map(|at| b'x' ^ MASK[at % 4]));
    frame
}

/// Decodes one piece; says how many bytes of text it completed.
fn decode(decoder: &mut Decoder, piece: &mut [u8]) -> usize {
    let (mut at, mut text_bytes) = (0, 0);
    loop {
        let decoded = decoder.decode(&mut piece[at..], 64 * 1024);
        let (consumed, input) = decoded.expect("a good frame");
        at += consumed;
        match input {
            Some(Input::Text(text)) => text_bytes += black_box(text).len(),
            Some(_) => unreachable!("only text was sent"),
            None => return text_bytes,
        }
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("decoder");
    for payload_bytes in [125, 4_096] {
        let sent = frame(payload_bytes);
        group.throughput(Throughput::Bytes(
            u64::try_from(payload_bytes).expect("short"),
        ));
        for (name, cut) in [("whole", sent.len()), ("split", sent.len() / 2)] {
            group.bench_function(BenchmarkId::new(name, payload_bytes), |bencher| {
                let mut decoder = Decoder::default();
                let mut read = sent.clone();
                bencher.iter(|| {
                    // It is unmasked in place, so each time the bytes come anew.
                    read.copy_from_slice(&sent);
                    let (first, second) = read.split_at_mut(cut);
                    let text_bytes = decode(&mut decoder, first) + decode(&mut decoder, second);
                    assert_eq!(text_bytes, payload_bytes);
                });
            });
        }
    }
    group.finish();
    criterion.final_summary();
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
