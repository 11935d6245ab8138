//! The assertions of a fuzzer about a server that returns each message: the whole hub writes the
//! messages that the decoder alone reads from a stream, in order.

use std::time::Instant;

use alle::internals::{
    delivery::outgoing::Written,
    hub::{Action, Endpoints, Hub, Settings, drive},
    ws::{close::CloseReason, encoder::frame_bytes},
};

use super::{
    wire::upgrade_head,
    ws::{Seen, client_frames, story},
};

/// A stream of frames gives the same messages in any pieces, and a server that returns each message
/// sends them.
///
/// The input is the stream itself, so that a capture is a seed; how it is cut follows from its bytes.
pub fn client_bytes(data: &[u8]) {
    client_frames(data);
    echo(data, usize::from);
}

/// Each text and each binary message comes back, each ping is answered, and the close frame, the
/// peer's or ours, is sent last.
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
    let mut hub = Hub::with_messages(Settings::default(), now);
    let client = hub.handle_connected(Endpoints::default());
    let mut said = Vec::new();
    hub.handle_client_input(client, &mut upgrade_head());
    write(&mut hub, &mut said);
    let head_bytes = said.len();
    let mut begin = 0;
    while begin < data.len() {
        let end = data.len().min(begin + cut(data[begin]).max(1));
        hub.handle_client_input(client, &mut data[begin..end].to_vec());
        write(&mut hub, &mut said);
        begin = end;
    }
    heard(&said[head_bytes..])
}

/// Carries out all answers and writes, and the end of the turn.
fn write(hub: &mut Hub, said: &mut Vec<u8>) {
    carry_out(hub);
    while drive::transmit(hub, |_, bytes| {
        said.extend_from_slice(bytes);
        Written::All
    }) {}
    hub.end_turn();
    carry_out(hub);
    hub.check_invariants();
}

fn carry_out(hub: &mut Hub) {
    while let Some(action) = hub.poll_action() {
        match action {
            Action::Message(client, message) => hub.handle_reply(client, &message),
            Action::Resume(client) => hub.handle_client_input(client, &mut []),
            Action::Disconnect(..)
            | Action::Watch(_)
            | Action::Backend(_)
            | Action::Request(_)
            | Action::Ask(..)
            | Action::Tell(_)
            | Action::Published(..) => {}
        }
    }
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
