//! 6: valid and invalid UTF-8, and how soon the latter is noticed.

use std::time::Duration;

use super::{
    cases::{
        CONTINUATION, CONTINUED, Case, Close, TEXT, TEXT_BEGUN, case, echo, fragmented, frame,
        text, whole,
    },
    peer::{PATIENCE, Seen, Step},
};

/// κόσμε, a surrogate, "edited".
pub const SURROGATE: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
const COSMOS: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

/// 6.1 to 6.23.
pub fn all() -> Vec<Case> {
    let mut cases = empty_fragments();
    cases.extend(valid_in_fragments());
    cases.extend([
        invalid("6.3.1", whole(&[frame(TEXT, SURROGATE)])),
        invalid("6.3.2", fragmented(TEXT, SURROGATE, 1)),
    ]);
    cases.extend(failing_fast());
    for (group, sequences) in (5..).zip(sequences()) {
        for (index, (is_valid, bytes)) in sequences.into_iter().enumerate() {
            let number = format!("6.{group}.{}", index + 1);
            let steps = whole(&[frame(TEXT, &bytes)]);
            cases.push(if is_valid {
                echo(&number, steps, text(&bytes))
            } else {
                invalid(&number, steps)
            });
        }
    }
    cases
}

fn empty_fragments() -> Vec<Case> {
    let around = |middle: &[u8]| {
        whole(&[
            frame(TEXT_BEGUN, b""),
            frame(CONTINUED, middle),
            frame(CONTINUATION, b""),
        ])
    };
    vec![
        echo("6.1.1", whole(&[frame(TEXT, b"")]), text(b"")),
        echo("6.1.2", around(b""), text(b"")),
        echo("6.1.3", around(b"middle"), text(b"middle")),
    ]
}

fn valid_in_fragments() -> Vec<Case> {
    let (head, tail) = ("Hello-µ@ßöä", "üàá-UTF-8!!");
    let both = format!("{head}{tail}").into_bytes();
    let two = [
        frame(TEXT_BEGUN, head.as_bytes()),
        frame(CONTINUATION, tail.as_bytes()),
    ];
    vec![
        echo("6.2.1", whole(&[frame(TEXT, &both)]), text(&both)),
        echo("6.2.2", whole(&two), text(&both)),
        echo("6.2.3", fragmented(TEXT, &both, 1), text(&both)),
        echo("6.2.4", fragmented(TEXT, COSMOS, 1), text(COSMOS)),
    ]
}

/// 6.4: a character beyond U+10FFFF, in fragments and in pieces of one frame. The server accepts
/// the bytes before it, and fails at its second byte, long before the end.
fn failing_fast() -> Vec<Case> {
    let message = [COSMOS, b"\xf4\x90\x80\x80", b"edited"].concat();
    let mut cases = Vec::new();
    for (index, [valid, bad]) in [[11, 15], [12, 13]].into_iter().enumerate() {
        let parts = [&message[..valid], &message[valid..bad], &message[bad..]];
        let frames = [
            frame(TEXT_BEGUN, parts[0]),
            frame(CONTINUED, parts[1]),
            frame(CONTINUATION, parts[2]),
        ];
        cases.push(fast(&format!("6.4.{}", index + 1), frames));
    }
    for (index, [valid, bad]) in [[11, 15], [12, 13]].into_iter().enumerate() {
        let whole = frame(TEXT, &message);
        let header_bytes = whole.len() - message.len();
        let (valid, bad) = (header_bytes + valid, header_bytes + bad);
        let pieces = [&whole[..valid], &whole[valid..bad], &whole[bad..]];
        cases.push(fast(
            &format!("6.4.{}", index + 3),
            pieces.map(<[u8]>::to_vec),
        ));
    }
    cases
}

fn fast(number: &str, [valid, bad, rest]: [Vec<u8>; 3]) -> Case {
    let write = |bytes| Step::Write(vec![bytes]);
    Case {
        strict: vec![Seen::Silence],
        lenient: Some(vec![Seen::Silence, Seen::Silence]),
        ..invalid(
            number,
            vec![
                write(valid),
                Step::Pause(Duration::from_millis(50)),
                write(bad),
                // A server that fails fast does so at once, but the machine may be busy.
                Step::Pause(PATIENCE),
                write(rest),
            ],
        )
    }
}

fn invalid(number: &str, steps: Vec<Step>) -> Case {
    Case {
        close: Close::ByServer(1007),
        ..case(number, steps, vec![])
    }
}

type Group = Vec<(bool, Vec<u8>)>;

fn valid(sequences: &[&[u8]]) -> Group {
    sequences
        .iter()
        .map(|bytes| (true, bytes.to_vec()))
        .collect()
}

fn bad(sequences: &[&[u8]]) -> Group {
    sequences
        .iter()
        .map(|bytes| (false, bytes.to_vec()))
        .collect()
}

/// 6.5 to 6.23, after Markus Kuhn's stress test of decoders.
fn sequences() -> Vec<Group> {
    let mut groups = correct();
    groups.extend(boundaries());
    groups.extend(malformed());
    groups.extend(overlong());
    groups.extend(surrogates());
    groups.extend(uncommon());
    groups
}

/// Some text; each beginning of one, which is text where a character ends.
fn correct() -> Vec<Group> {
    let ends = [2, 5, 7, 9, 11];
    let beginning = |end| (ends.contains(&end), COSMOS[..end].to_vec());
    vec![
        valid(&[
            b"hello\x24world",
            b"hello\xc2\xa2world",
            b"hello\xe2\x82\xacworld",
            b"hello\xf0\xa4\xad\xa2world",
            COSMOS,
        ]),
        (1..=COSMOS.len()).map(beginning).collect(),
    ]
}

/// The first and the last sequence of each length, and those beyond Unicode.
fn boundaries() -> Vec<Group> {
    let mut others = valid(&[
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\xef\xbf\xbd",
        b"\xf4\x8f\xbf\xbf",
    ]);
    others.extend(bad(&[b"\xf4\x90\x80\x80"]));
    vec![
        valid(&[b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"]),
        bad(&[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]),
        valid(&[b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"]),
        bad(&[
            b"\xf7\xbf\xbf\xbf",
            b"\xfb\xbf\xbf\xbf\xbf",
            b"\xfd\xbf\xbf\xbf\xbf\xbf",
        ]),
        others,
    ]
}

/// Stray continuations, incomplete beginnings, missing ends, bytes that never occur.
fn malformed() -> Vec<Group> {
    const CUT: [&[u8]; 10] = [
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
    ];
    let alternating = b"\x80\xbf\x80\xbf\x80\xbf";
    let mut continuations = bad(&[b"\x80", b"\xbf"]);
    continuations.extend((2..=6).map(|end| (false, alternating[..end].to_vec())));
    continuations.push((false, (0x80..=0xbe).collect()));
    let starts = [
        0xc0..=0xde,
        0xe0..=0xee,
        0xf0..=0xf6,
        0xf8..=0xfa,
        0xfc..=0xfc,
    ];
    let lonely = starts.map(|starts| (false, starts.flat_map(|start| [start, b' ']).collect()));
    vec![
        continuations,
        lonely.to_vec(),
        bad(&CUT),
        vec![(false, CUT.concat())],
        bad(&[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
    ]
}

/// `/`, the last of each length that is too long, and NUL.
fn overlong() -> Vec<Group> {
    vec![
        bad(&[
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf",
            b"\xf8\x80\x80\x80\xaf",
            b"\xfc\x80\x80\x80\x80\xaf",
        ]),
        bad(&[
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf8\x87\xbf\xbf\xbf",
            b"\xfc\x83\xbf\xbf\xbf\xbf",
        ]),
        bad(&[
            b"\xc0\x80",
            b"\xe0\x80\x80",
            b"\xf0\x80\x80\x80",
            b"\xf8\x80\x80\x80\x80",
            b"\xfc\x80\x80\x80\x80\x80",
        ]),
    ]
}

/// UTF-16's, single and in pairs.
fn surrogates() -> Vec<Group> {
    let pairs = [
        b"\xed\xa0\x80",
        b"\xed\xad\xbf",
        b"\xed\xae\x80",
        b"\xed\xaf\xbf",
    ]
    .iter()
    .flat_map(|high| [b"\xed\xb0\x80", b"\xed\xbf\xbf"].map(|low| [&high[..], low].concat()));
    vec![
        bad(&[
            b"\xed\xa0\x80",
            b"\xed\xad\xbf",
            b"\xed\xae\x80",
            b"\xed\xaf\xbf",
            b"\xed\xb0\x80",
            b"\xed\xbe\x80",
            b"\xed\xbf\xbf",
        ]),
        pairs.map(|pair| (false, pair)).collect(),
    ]
}

/// Code points that are no characters, and the special ones before them: UTF-8 all the same (RFC
/// 3629).
fn uncommon() -> Vec<Group> {
    let mut last_two = valid(&[b"\xef\xbf\xbe", b"\xef\xbf\xbf"]);
    for plane in 1..=16 {
        for last in [0xfffe, 0xffff] {
            let code_point = char::from_u32(plane << 16 | last).unwrap();
            last_two.push((true, code_point.to_string().into_bytes()));
        }
    }
    let specials = ('\u{fff9}'..='\u{ffff}').map(|it| (true, it.to_string().into_bytes()));
    vec![last_two, specials.collect()]
}
