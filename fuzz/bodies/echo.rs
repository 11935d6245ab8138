//! What a fuzzer asserts about a server that returns each message: the whole core says what the
//! decoder alone makes of a stream, in order.

use std::time::Instant;

use alle::{
    hub::{Core, Settings, transmit::Written},
    ws::{close::CloseReason, encoder::frame_bytes},
};

use super::{
    bridge::upgrade_head,
    wire::joined,
    ws::{Seen, story},
};

/// Each text and each binary message comes back, each ping is answered, and the close frame, the
/// peer's or ours, is the last that is said.
pub fn echo(data: &[u8], cut: impl Fn(u8) -> usize) {
    let limit = Settings::default().limits.message_bytes_max;
    let (inputs, error) = story(data, |_| data.len(), limit);
    let (mut messages, mut pongs, mut close) = (Vec::new(), Vec::new(), None);
    for input in inputs {
        match input {
            Seen::Text(_) | Seen::Binary(_) => messages.push(input),
            Seen::Ping(payload) => pongs.push(payload),
            Seen::Pong => {}
            Seen::Close(frame) => close = Some(frame.map_or(1000, |(code, _)| code)),
        }
    }
    close = close.or_else(|| error.map(CloseReason::code));
    assert_eq!(play(data, cut), (messages, pongs, close));
}

#[expect(
    clippy::disallowed_methods,
    reason = "there is no other way to an Instant; nothing depends on which"
)]
fn play(data: &[u8], cut: impl Fn(u8) -> usize) -> (Vec<Seen>, Vec<Vec<u8>>, Option<u16>) {
    let now = Instant::now();
    let mut core = Core::with_messages(Settings::default(), now);
    let client = core.handle_connected(None, now);
    let mut said = Vec::new();
    core.handle_client_input(client, &mut upgrade_head(), now);
    write(&mut core, &mut said, now);
    let head_bytes = said.len();
    let mut begin = 0;
    while begin < data.len() {
        let end = data.len().min(begin + cut(data[begin]).max(1));
        core.handle_client_input(client, &mut data[begin..end].to_vec(), now);
        while let Some((client, message)) = core.poll_message(now) {
            core.handle_reply(client, &message, now);
        }
        write(&mut core, &mut said, now);
        begin = end;
    }
    heard(&said[head_bytes..])
}

/// All that is to be written, and the end of the turn.
fn write(core: &mut Core, said: &mut Vec<u8>, now: Instant) {
    while let Some(transmit) = core.poll_transmit(now) {
        said.extend_from_slice(&joined(&transmit.bytes));
        core.handle_transmitted(Written::All, now);
    }
    core.end_turn(now);
    while core.poll_disconnect().is_some() {}
    core.check_invariants();
}

fn heard(mut said: &[u8]) -> (Vec<Seen>, Vec<Vec<u8>>, Option<u16>) {
    let (mut messages, mut pongs, mut close) = (Vec::new(), Vec::new(), None);
    while !said.is_empty() {
        assert_eq!(close, None, "nothing follows a close frame");
        let (frame, behind) = said.split_at(frame_bytes(said));
        said = behind;
        let payload = &frame[match frame[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        }..];
        let text = || String::from_utf8(payload.to_vec()).expect("we say UTF-8");
        match (frame[0], payload) {
            (0x81, _) => messages.push(Seen::Text(text())),
            (0x82, _) => messages.push(Seen::Binary(payload.to_vec())),
            (0x8a, _) => pongs.push(payload.to_vec()),
            (0x88, [first, second, ..]) => close = Some(u16::from_be_bytes([*first, *second])),
            (first, _) => panic!("a frame that begins with {first:#x}"),
        }
    }
    (messages, pongs, close)
}
