//! Hostile, broken and slow peers, as data: the bytes they send, and the allowed ends of a round.
//!
//! Knows no socket.

use std::{fmt::Write as _, net::SocketAddr};

use crate::{
    ledger,
    raw::{BINARY, CLOSE, PING, TEXT, frame, upgrade_request},
};

/// One way to be a nuisance.
pub struct Behaviour {
    pub name: &'static str,
    /// Written at once, most often the request of an upgrade.
    pub opening: Vec<u8>,
    /// Written once it is upgraded.
    pub assault: Vec<u8>,
    pub end: End,
    /// How a round may end; anything else is a fault.
    pub expected: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It reads until the bridge disconnects.
    Heard,
    /// The same, and its opening is sent byte by byte.
    HeardSlowly,
    /// It leaves as soon as everything is written.
    Vanish,
    /// The same, by a reset.
    Reset,
    /// It reads nothing for a while, and then until the bridge disconnects.
    Deaf,
}

/// The end of a round that its own side ends.
pub const LEFT: &str = "left";
/// It did not read for a while, and could read everything it had missed.
pub const CAUGHT_UP: &str = "caught up";
pub const HUNG_UP: &str = "hung up";
pub const RESET: &str = "reset";

/// It subscribes to `busy`, and stops reading.
pub fn stalled(address: SocketAddr, busy: usize) -> Behaviour {
    let channels = [busy, 0].map(ledger::channel_name);
    let assault = channels.map(|it| frame(TEXT, request("subscribe", &it, "").as_bytes()));
    let expected = &["close 4008", RESET, HUNG_UP, CAUGHT_UP];
    upgraded(
        address,
        "stalled reader",
        assault.concat(),
        End::Deaf,
        expected,
    )
}

pub fn hostile(address: SocketAddr) -> Vec<Behaviour> {
    [
        before_the_upgrade(address),
        by_frames(address),
        by_messages(address),
        by_excess(address),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn before_the_upgrade(address: SocketAddr) -> Vec<Behaviour> {
    let plain = |name, opening: Vec<u8>, end, expected| Behaviour {
        name,
        opening,
        assault: Vec::new(),
        end,
        expected,
    };
    let upgrade = upgrade_request(address, "/ws", "");
    let filling = format!("X-Filling: {}\r\n", "x".repeat(8 * 1024));
    let large = upgrade_request(address, "/ws", &filling);
    let by_post = upgrade.replacen("GET", "POST", 1);
    let post = format!("POST / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let garbage = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 hello\r\n\r\n";
    let half = upgrade.as_bytes()[..60].to_vec();
    let mut slowly = upgraded(
        address,
        "head byte by byte",
        close_frame(),
        End::HeardSlowly,
        &[],
    );
    // A machine that is busy may take more than the 10 s that a head may take.
    slowly.expected = &["close 1000", HUNG_UP, RESET];
    vec![
        slowly,
        plain(
            "garbage instead of HTTP",
            garbage.to_vec(),
            End::Heard,
            &["HTTP 400"],
        ),
        plain("half a head, and silence", half, End::Heard, &[HUNG_UP]),
        plain(
            "oversize head",
            large.into_bytes(),
            End::Heard,
            &["HTTP 431"],
        ),
        plain("upgrade by POST", by_post.into(), End::Heard, &["HTTP 405"]),
        plain("wrong method", post.into_bytes(), End::Heard, &["HTTP 405"]),
        plain("connect and vanish", Vec::new(), End::Vanish, &[LEFT]),
        plain("upgrade and vanish", upgrade.into(), End::Vanish, &[LEFT]),
        upgraded(
            address,
            "reset after the upgrade",
            Vec::new(),
            End::Reset,
            &[LEFT],
        ),
    ]
}

/// RFC 6455, 5 and 7.4.1.
fn by_frames(address: SocketAddr) -> Vec<Behaviour> {
    let heard = |name, assault, expected| upgraded(address, name, assault, End::Heard, expected);
    let huge = [&[TEXT, 0xff][..], &(u64::MAX >> 2).to_be_bytes(), b"mask"].concat();
    let pings = frame(PING, &[b'p'; 125]).repeat(2_000);
    let mut fragments = frame(0x01, b" ");
    fragments.extend(frame(0x00, b" ").repeat(20_000));
    fragments.extend(frame(0x80, b" "));
    vec![
        heard("unmasked frame", vec![TEXT, 2, b'{', b'}'], &["close 1002"]),
        heard("reserved opcode", frame(0x83, b"x"), &["close 1002"]),
        heard("RSV bits", frame(0xf1, b"{}"), &["close 1002"]),
        heard(
            "fragmented control frame",
            frame(0x09, b"p"),
            &["close 1002"],
        ),
        heard("huge declared length", huge, &["close 1009"]),
        heard("invalid UTF-8", frame(TEXT, b"\xff\xfe{}"), &["close 1007"]),
        heard(
            "text of 64 KiB + 1",
            frame(TEXT, &[b' '; 65_537]),
            &["close 1009"],
        ),
        heard(
            "flood of pings",
            [pings, close_frame()].concat(),
            &["close 1000"],
        ),
        heard(
            "flood of tiny fragments",
            [fragments, close_frame()].concat(),
            &["close 1000"],
        ),
    ]
}

fn by_messages(address: SocketAddr) -> Vec<Behaviour> {
    let each = |numbers: std::ops::Range<usize>, message: &dyn Fn(usize) -> String| {
        let mut bytes = Vec::new();
        for number in numbers {
            bytes.extend(frame(TEXT, message(number).as_bytes()));
        }
        bytes.extend(close_frame());
        bytes
    };
    let heard = |name, assault| upgraded(address, name, assault, End::Heard, &["close 1000"]);
    let churn = |number| match number % 2 {
        0 => request("subscribe", "churn", ""),
        _ => request("unsubscribe", "churn", ""),
    };
    let large = request("notify", "any", &"x".repeat(8_000));
    let binary = frame(BINARY, b"\0").repeat(500);
    let mut deaf = frame(
        TEXT,
        request("subscribe", &ledger::channel_name(0), "").as_bytes(),
    );
    deaf.extend(close_frame());
    vec![
        heard(
            "flood of subscribes",
            each(0..1_100, &|it| {
                request("subscribe", &format!("flood {it}"), "")
            }),
        ),
        heard("subscribe and unsubscribe", each(0..1_000, &churn)),
        heard("publish too large", each(0..20, &|_| large.clone())),
        heard(
            "flood of bad JSON",
            each(0..1_000, &|it| "{\"type\":[".repeat(it % 50)),
        ),
        heard("flood of binary frames", [binary, close_frame()].concat()),
        upgraded(
            address,
            "close without reading",
            deaf,
            End::Deaf,
            &["close 1000", RESET, HUNG_UP],
        ),
    ]
}

/// Each asks for as much as it may: of memory, of work, of channels, of lines in the log.
fn by_excess(address: SocketAddr) -> Vec<Behaviour> {
    let messages = |texts: &mut dyn Iterator<Item = String>| -> Vec<u8> {
        texts.flat_map(|it| frame(TEXT, it.as_bytes())).collect()
    };
    let since = |epoch: &str, count: usize| {
        let text = format!(
            r#"{{"type":"subscribe","channel":"{}","since":{{"epoch":"{epoch}","seq":1}}}}"#,
            ledger::channel_name(0)
        );
        messages(&mut std::iter::repeat_n(text, count))
    };
    let subscribes = |name: &'static str, count: usize| {
        messages(&mut (0..count).map(move |it| request("subscribe", &format!("{name} {it}"), "")))
    };
    let ping = messages(&mut std::iter::repeat_n(
        r#"{"type":"ping"}"#.to_owned(),
        20_000,
    ));
    let publish =
        messages(&mut (0..2_000).map(|it| {
            format!(r#"{{"type":"notify","channel":"any","payload":"{it}","id":{it}}}"#)
        }));
    let auth = r#"{"type":"auth","token":"a token that nobody has"}"#.to_owned();
    let auth = messages(&mut std::iter::repeat_n(auth, 1_000));
    let begun = frame(0x01, &[b' '; 60_000]);
    let unread = &["close 4008", "close 1013", RESET, HUNG_UP, CAUGHT_UP];
    let closing = |assault: Vec<u8>| [assault, close_frame()].concat();
    let at_once =
        |name, assault| upgraded(address, name, closing(assault), End::Heard, &["close 1000"]);
    let deaf = |name, assault| upgraded(address, name, assault, End::Deaf, unread);
    let evil = upgrade_request(address, "/ws", "Origin: http://evil.example\r\n");
    let mut left = upgrade_request(address, "/ws", "").into_bytes();
    left.extend(subscribes("left", 1_000));
    vec![
        at_once("epochs of 60,000 bytes", since(&"e".repeat(60_000), 40)),
        deaf("recoveries not read", since("0123456789abcdef1", 1_000)),
        deaf("answers not read", ping),
        deaf("publishes, answers not read", publish),
        at_once("subscribes beyond the limit", subscribes("beyond", 4_000)),
        at_once("tokens one after the other", auth),
        upgraded(
            address,
            "a message without its end",
            begun,
            End::Heard,
            &["close 1008"],
        ),
        Behaviour {
            name: "1,000 channels, and vanish",
            opening: left,
            assault: Vec::new(),
            end: End::Vanish,
            expected: &[LEFT],
        },
        Behaviour {
            name: "a page of another origin",
            opening: evil.into_bytes(),
            assault: Vec::new(),
            end: End::Heard,
            expected: &["HTTP 403"],
        },
    ]
}

fn upgraded(
    address: SocketAddr,
    name: &'static str,
    assault: Vec<u8>,
    end: End,
    expected: &'static [&'static str],
) -> Behaviour {
    Behaviour {
        name,
        opening: upgrade_request(address, "/ws", "").into_bytes(),
        assault,
        end,
        expected,
    }
}

fn request(kind: &str, channel: &str, payload: &str) -> String {
    let channel = channel.replace('"', "\\\"");
    let mut text = format!(r#"{{"type":"{kind}","channel":"{channel}""#);
    if kind == "notify" {
        let _ = write!(text, r#","payload":"{payload}""#);
    }
    text + "}"
}

fn close_frame() -> Vec<u8> {
    frame(CLOSE, &1_000_u16.to_be_bytes())
}
