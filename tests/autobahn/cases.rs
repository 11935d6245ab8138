//! The cases by their numbers, as tables; those about UTF-8 have a file of their own.

use super::peer::{Seen, Step};

/// One case: the frames to send, and the expected observations.
pub struct Case {
    pub number: String,
    pub steps: Vec<Step>,
    /// The observations of a strict server.
    pub strict: Vec<Seen>,
    /// The observations that are accepted as well.
    pub lenient: Option<Vec<Seen>>,
    pub close: Close,
}

/// The side that closes, and the codes allowed to the server.
#[derive(Clone, Copy, Debug)]
pub enum Close {
    /// The client, with 1000, when all has arrived.
    ByClient,
    /// The client, within the steps.
    InSteps(&'static [u16]),
    /// The server.
    ByServer(u16),
}

/// All cases, in order.
pub fn all() -> Vec<Case> {
    let mut cases = framing();
    cases.extend(pings());
    cases.extend(reserved_bits());
    cases.extend(opcodes());
    cases.extend(fragments_of_control_frames());
    cases.extend(fragments());
    cases.extend(fragments_out_of_order());
    cases.extend(super::utf8::all());
    cases.extend(closing());
    cases.extend(close_frames());
    cases.push(echo(
        "10.1.1",
        fragmented(TEXT, &[b'*'; 65_536], 1_300),
        text(&[b'*'; 65_536]),
    ));
    cases
}

/// 1: messages at the edges of the three forms of a length.
fn framing() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, first, byte) in [("1.1", TEXT, b'*'), ("1.2", BINARY, 0xfe)] {
        let lengths = [0, 125, 126, 127, 128, 65_535, 65_536];
        for (index, length) in lengths.into_iter().enumerate() {
            let payload = vec![byte; length];
            let steps = whole(&[frame(first, &payload)]);
            cases.push(echo(
                &format!("{group}.{}", index + 1),
                steps,
                message(first, &payload),
            ));
        }
        let payload = vec![byte; 65_536];
        let steps = chopped(&[frame(first, &payload)], 997);
        cases.push(echo(&format!("{group}.8"), steps, message(first, &payload)));
    }
    cases
}

/// 2: pings, and unsolicited pongs.
fn pings() -> Vec<Case> {
    const BYTES: &[u8] = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff";
    let ping = |number, payload: &[u8]| echo(number, whole(&[frame(PING, payload)]), pong(payload));
    let ten: Vec<Vec<u8>> = (0..10)
        .map(|n| format!("payload-{n}").into_bytes())
        .collect();
    let ten_pings: Vec<Vec<u8>> = ten.iter().map(|payload| frame(PING, payload)).collect();
    let ten_pongs: Vec<Seen> = ten.iter().map(|payload| pong(payload)).collect();
    let unasked = |number, payload: &[u8]| {
        let frames = [frame(PONG, payload), close(Some(1000), b"")];
        Case {
            close: Close::InSteps(&[1000]),
            ..case(number, whole(&frames), vec![])
        }
    };
    vec![
        ping("2.1", b""),
        ping("2.2", b"Hello, world!"),
        ping("2.3", BYTES),
        ping("2.4", &[0xfe; 125]),
        violation("2.5", whole(&[frame(PING, &[0xfe; 126])]), vec![]),
        echo(
            "2.6",
            chopped(&[frame(PING, &[0xfe; 125])], 1),
            pong(&[0xfe; 125]),
        ),
        unasked("2.7", b""),
        unasked("2.8", b"unasked"),
        echo(
            "2.9",
            whole(&[frame(PONG, b"unasked"), frame(PING, b"asked")]),
            pong(b"asked"),
        ),
        case("2.10", whole(&ten_pings), ten_pongs.clone()),
        case("2.11", chopped(&ten_pings, 1), ten_pongs),
    ]
}

/// 3: bits reserved for extensions that were not negotiated.
fn reserved_bits() -> Vec<Case> {
    let with_bits = |first: u8, bits: u8| frame(first | bits << 4, HELLO);
    let behind_a_message = |bits| [frame(TEXT, HELLO), with_bits(TEXT, bits), frame(PING, b"")];
    vec![
        violation("3.1", whole(&[with_bits(TEXT, 1)]), vec![]),
        violation("3.2", whole(&behind_a_message(2)), vec![text(HELLO)]),
        violation("3.3", by_frame(&behind_a_message(3)), vec![text(HELLO)]),
        violation("3.4", chopped(&behind_a_message(4), 1), vec![text(HELLO)]),
        violation("3.5", whole(&[with_bits(BINARY, 5)]), vec![]),
        violation("3.6", whole(&[with_bits(PING, 6)]), vec![]),
        violation("3.7", whole(&[frame(CLOSE | 7 << 4, b"")]), vec![]),
    ]
}

/// 4: undefined opcodes, 3 to 7 of data and 11 to 15 of control frames.
fn opcodes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (group, base) in [("4.1", 3), ("4.2", 11)] {
        let number = |n| format!("{group}.{n}");
        let alone = |n: u8, payload: &[u8]| {
            let opcode = 0x80 | (base + n - 1);
            violation(&number(n), whole(&[frame(opcode, payload)]), vec![])
        };
        let behind_a_message = |n: u8, payload: &[u8], chop: bool| {
            let opcode = 0x80 | (base + n - 1);
            let frames = [frame(TEXT, HELLO), frame(opcode, payload), frame(PING, b"")];
            let steps = if chop {
                chopped(&frames, 1)
            } else {
                whole(&frames)
            };
            violation(&number(n), steps, vec![text(HELLO)])
        };
        cases.extend([
            alone(1, b""),
            alone(2, b"reserved"),
            behind_a_message(3, b"", false),
            behind_a_message(4, HELLO, false),
            behind_a_message(5, HELLO, true),
        ]);
    }
    cases
}

/// 5.1, 5.2: control frames are never fragmented.
fn fragments_of_control_frames() -> Vec<Case> {
    let fragments = |opcode| [frame(opcode & 0x7f, b"one"), frame(CONTINUATION, b"two")];
    vec![
        violation("5.1", whole(&fragments(PING)), vec![]),
        violation("5.2", whole(&fragments(PONG)), vec![]),
    ]
}

/// 5.3 to 5.8, 5.19, 5.20: fragments, with pings between them.
fn fragments() -> Vec<Case> {
    let two = [frame(TEXT_BEGUN, b"one "), frame(CONTINUATION, b"two")];
    let both = || vec![text(b"one two")];
    let pinged = [two[0].clone(), frame(PING, b"?"), two[1].clone()];
    let pong_and_both = || vec![pong(b"?"), text(b"one two")];
    let mut cases = vec![
        case("5.3", whole(&two), both()),
        case("5.4", by_frame(&two), both()),
        case("5.5", chopped(&two, 1), both()),
        case("5.6", whole(&pinged), pong_and_both()),
        case("5.7", by_frame(&pinged), pong_and_both()),
        case("5.8", chopped(&pinged, 1), pong_and_both()),
    ];
    let first = [
        frame(TEXT_BEGUN, b"1"),
        frame(CONTINUED, b"2"),
        frame(PING, b"a"),
    ];
    let second = [
        frame(CONTINUED, b"3"),
        frame(CONTINUED, b"4"),
        frame(PING, b"b"),
        frame(CONTINUATION, b"5"),
    ];
    for (number, cut) in [("5.19", whole as fn(&[_]) -> _), ("5.20", by_frame)] {
        // The first ping is answered before the message is complete.
        let mut steps: Vec<Step> = cut(&first);
        steps.push(Step::Await(1));
        steps.extend(cut(&second));
        cases.push(case(
            number,
            steps,
            vec![pong(b"a"), pong(b"b"), text(b"12345")],
        ));
    }
    cases
}

/// 5.9 to 5.18: continuations of nothing, and messages inside of messages.
fn fragments_out_of_order() -> Vec<Case> {
    let lost = |first| [frame(first, b"lost"), frame(TEXT, HELLO)];
    let twice = |first| {
        let round = [
            frame(first, b"0"),
            frame(TEXT_BEGUN, b"1"),
            frame(CONTINUATION, b"2"),
        ];
        [round.clone(), round].concat()
    };
    let behind_a_message = [
        frame(TEXT_BEGUN, b"one "),
        frame(CONTINUATION, b"two"),
        frame(CONTINUED, b"three"),
        frame(TEXT, b"four"),
    ];
    let inside = [frame(TEXT_BEGUN, b"one"), frame(TEXT, b"two")];
    vec![
        violation("5.9", whole(&lost(CONTINUATION)), vec![]),
        violation("5.10", by_frame(&lost(CONTINUATION)), vec![]),
        violation("5.11", chopped(&lost(CONTINUATION), 1), vec![]),
        violation("5.12", whole(&lost(CONTINUED)), vec![]),
        violation("5.13", by_frame(&lost(CONTINUED)), vec![]),
        violation("5.14", chopped(&lost(CONTINUED), 1), vec![]),
        violation("5.15", whole(&behind_a_message), vec![text(b"one two")]),
        violation("5.16", whole(&twice(CONTINUED)), vec![]),
        violation("5.17", whole(&twice(CONTINUATION)), vec![]),
        violation("5.18", whole(&inside), vec![]),
    ]
}

/// 7.1: everything behind a close frame is ignored.
fn closing() -> Vec<Case> {
    let bye = || close(Some(1000), b"");
    let behind = |number, frames: &[Vec<u8>], seen| Case {
        close: Close::InSteps(&[1000]),
        ..case(number, whole(frames), seen)
    };
    let long = b"BAsd7&jh23"
        .iter()
        .copied()
        .cycle()
        .take(256 * 1024)
        .collect::<Vec<_>>();
    let two = [frame(TEXT_BEGUN, b"one"), frame(CONTINUATION, b"two")];
    vec![
        echo("7.1.1", whole(&[frame(TEXT, HELLO)]), text(HELLO)),
        behind("7.1.2", &[bye(), close(None, b"")], vec![]),
        behind("7.1.3", &[bye(), frame(PING, b"")], vec![]),
        behind("7.1.4", &[bye(), frame(TEXT, HELLO)], vec![]),
        behind("7.1.5", &[two[0].clone(), bye(), two[1].clone()], vec![]),
        // The suite leaves open whether messages before the close frame are answered. Ours are.
        behind(
            "7.1.6",
            &[
                frame(TEXT, &long),
                frame(TEXT, HELLO),
                bye(),
                frame(PING, b""),
            ],
            vec![text(&long), text(HELLO)],
        ),
    ]
}

/// 7.3 to 7.13: the contents of close frames.
fn close_frames() -> Vec<Case> {
    let closes = |number: &str, frame: Vec<u8>, codes| Case {
        close: Close::InSteps(codes),
        ..case(number, whole(&[frame]), vec![])
    };
    let mut cases = vec![
        closes("7.3.1", close(None, b""), &[1000]),
        closes("7.3.2", frame(CLOSE, b"a"), &[1002]),
        closes("7.3.3", close(Some(1000), b""), &[1000]),
        closes("7.3.4", close(Some(1000), HELLO), &[1000]),
        closes("7.3.5", close(Some(1000), &[b'*'; 123]), &[1000]),
        closes("7.3.6", close(Some(1000), &[b'*'; 124]), &[1002]),
        closes(
            "7.5.1",
            close(Some(1000), super::utf8::SURROGATE),
            &[1002, 1007],
        ),
    ];
    const VALID: [&[u16]; 13] = [
        &[1000],
        &[1000, 1001],
        &[1000, 1002],
        &[1000, 1003],
        &[1000, 1007],
        &[1000, 1008],
        &[1000, 1009],
        &[1000, 1010],
        &[1000, 1011],
        &[1000, 3000],
        &[1000, 3999],
        &[1000, 4000],
        &[1000, 4999],
    ];
    for (index, codes) in VALID.into_iter().enumerate() {
        let code = codes.last().copied();
        cases.push(closes(
            &format!("7.7.{}", index + 1),
            close(code, b""),
            codes,
        ));
    }
    for (index, code) in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999]
        .into_iter()
        .enumerate()
    {
        cases.push(closes(
            &format!("7.9.{}", index + 1),
            close(Some(code), b""),
            &[1002],
        ));
    }
    // The suite leaves open the reaction to these two; RFC 6455, 7.4.2 has no such codes.
    cases.push(closes("7.13.1", close(Some(5000), b""), &[1002]));
    cases.push(closes("7.13.2", close(Some(65_535), b""), &[1002]));
    cases
}

/// A case that ends with our close frame.
pub fn case(number: &str, steps: Vec<Step>, strict: Vec<Seen>) -> Case {
    Case {
        number: number.to_owned(),
        steps,
        strict,
        lenient: None,
        close: Close::ByClient,
    }
}

/// One message is sent, one comes back.
pub fn echo(number: &str, steps: Vec<Step>, answer: Seen) -> Case {
    case(number, steps, vec![answer])
}

/// The server fails the connection with 1002. One that does not answer the input before is
/// accepted.
fn violation(number: &str, steps: Vec<Step>, before: Vec<Seen>) -> Case {
    Case {
        lenient: Some(vec![]),
        close: Close::ByServer(1002),
        ..case(number, steps, before)
    }
}

/// A client's frame, whose first byte is `first`, masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let length = u64::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = match payload.len() {
        ..126 => vec![first, 0x80 | length[7]],
        126..65_536 => vec![first, 0xfe, length[6], length[7]],
        _ => [&[first, 0xff], &length[..]].concat(),
    };
    frame.extend_from_slice(&MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// A close frame.
pub fn close(code: Option<u16>, reason: &[u8]) -> Vec<u8> {
    let code = code.map(u16::to_be_bytes);
    let code = code.as_ref().map_or(&[][..], |code| &code[..]);
    frame(CLOSE, &[code, reason].concat())
}

/// All frames in one write.
pub fn whole(frames: &[Vec<u8>]) -> Vec<Step> {
    vec![Step::Write(vec![frames.concat()])]
}

/// Each frame in a write of its own.
pub fn by_frame(frames: &[Vec<u8>]) -> Vec<Step> {
    vec![Step::Write(frames.to_vec())]
}

/// So many bytes a write.
fn chopped(frames: &[Vec<u8>], bytes: usize) -> Vec<Step> {
    let pieces = frames.iter().flat_map(|frame| frame.chunks(bytes));
    vec![Step::Write(pieces.map(<[u8]>::to_vec).collect())]
}

/// A message in fragments of so many bytes, in one write.
pub fn fragmented(first: u8, payload: &[u8], bytes: usize) -> Vec<Step> {
    let count = payload.len().div_ceil(bytes);
    let fragments = payload.chunks(bytes).enumerate().map(|(index, fragment)| {
        let opcode = if index == 0 { first & 0x0f } else { 0 };
        let fin = if index + 1 == count { 0x80 } else { 0 };
        frame(fin | opcode, fragment)
    });
    whole(&fragments.collect::<Vec<_>>())
}

fn message(first: u8, payload: &[u8]) -> Seen {
    if first == TEXT {
        Seen::Text(payload.to_vec())
    } else {
        Seen::Binary(payload.to_vec())
    }
}

pub fn text(payload: &[u8]) -> Seen {
    Seen::Text(payload.to_vec())
}

fn pong(payload: &[u8]) -> Seen {
    Seen::Pong(payload.to_vec())
}

const HELLO: &[u8] = b"Hello, world!";

/// First bytes of frames (RFC 6455, 5.2).
pub const TEXT: u8 = 0x81;
pub const TEXT_BEGUN: u8 = 0x01;
pub const CONTINUED: u8 = 0x00;
pub const CONTINUATION: u8 = 0x80;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
