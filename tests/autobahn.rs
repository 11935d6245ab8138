//! The cases 1 to 7 and 10 of the Autobahn test suite for servers, by their numbers, against
//! `examples/echo.rs`. The suite itself needs Python 2; these are its cases, not its code.
//!
//! `make autobahn` prints the report.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test is a shell: it opens sockets and waits, with a time-out, for what it expects"
)]
#![allow(unreachable_pub, reason = "a test binary has no public interface")]

#[path = "autobahn/cases.rs"]
mod cases;
#[path = "support/example.rs"]
mod example;
#[path = "autobahn/peer.rs"]
mod peer;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "the tests of the program need the rest")]
mod program;
#[path = "autobahn/utf8.rs"]
mod utf8;

use std::{fmt, net::SocketAddr, process::Command};

use self::{
    cases::{Case, Close},
    example::example,
    peer::{End, Record, Seen},
    program::{Program, environment::clean},
};

/// The outcome of a case, in the words of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    NonStrict,
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "OK",
            Self::NonStrict => "NON-STRICT",
            Self::Failed => "FAILED",
        })
    }
}

#[test]
fn every_case_passes_strictly() {
    let mut command = Command::new(example("echo"));
    clean(&mut command);
    command.arg("127.0.0.1:0");
    let server = Program::start(command);
    let line = server.stdout.next();
    let address = line.strip_prefix("listening on ws://").expect(&line);
    let address: SocketAddr = address.parse().unwrap();
    let mut faults = Vec::new();
    for case in cases::all() {
        let record = play(address, &case);
        let verdict = judge(&case, &record);
        println!("{:<8} {verdict}", case.number);
        if verdict != Verdict::Ok {
            faults.push(format!("{} {verdict}: {}", case.number, shown(&record)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The suite has this many cases, and each number once.
#[test]
fn no_case_is_missing() {
    let mut numbers: Vec<String> = cases::all().into_iter().map(|case| case.number).collect();
    let count = |prefix: &str| numbers.iter().filter(|it| it.starts_with(prefix)).count();
    let counts = ["1.", "2.", "3.", "4.", "5.", "6.", "7.", "10."].map(count);
    assert_eq!(counts, [16, 11, 7, 10, 20, 145, 37, 1]);
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 247);
}

#[test]
fn a_verdict_is_as_good_as_what_was_seen() {
    let case = |number: &str| {
        cases::all()
            .into_iter()
            .find(|it| it.number == number)
            .unwrap()
    };
    let closed = |code| End::Closed(Some(code));
    let check = |number: &str, seen: &[Seen], end, expected| {
        let seen = seen.to_vec();
        let verdict = judge(&case(number), &Record { seen, end });
        assert_eq!(verdict, expected, "{number}");
    };
    let hello = [Seen::Text(b"Hello, world!".to_vec())];
    check("7.1.1", &hello, closed(1000), Verdict::Ok);
    check("7.1.1", &hello, closed(1001), Verdict::Failed);
    check("7.1.1", &hello, End::Dropped, Verdict::Failed);
    check("7.1.1", &hello, End::Open, Verdict::Failed);
    check("7.1.1", &[], closed(1000), Verdict::Failed);
    check("7.1.4", &hello, closed(1000), Verdict::Failed);
    check("3.2", &hello, closed(1002), Verdict::Ok);
    check("3.2", &[], closed(1002), Verdict::NonStrict);
    check("3.2", &hello, End::Dropped, Verdict::NonStrict);
    check(
        "3.2",
        &[hello.clone(), hello].concat(),
        closed(1002),
        Verdict::Failed,
    );
    let quiet = [Seen::Silence, Seen::Silence];
    check("6.4.1", &quiet[..1], closed(1007), Verdict::Ok);
    check("6.4.1", &quiet, closed(1007), Verdict::NonStrict);
    check("6.4.1", &[], closed(1007), Verdict::Failed);
    check("6.3.1", &[], closed(1002), Verdict::Failed);
    check("7.7.2", &[], closed(1001), Verdict::Ok);
    check("7.7.2", &[], closed(1002), Verdict::Failed);
}

fn play(address: SocketAddr, case: &Case) -> Record {
    let close = cases::close(Some(1000), b"");
    let close = match case.close {
        Close::ByClient => Some(&close[..]),
        Close::InSteps(_) | Close::ByServer(_) => None,
    };
    peer::play(address, &case.steps, case.strict.len(), close)
}

fn judge(case: &Case, record: &Record) -> Verdict {
    let seen = if record.seen == case.strict {
        Verdict::Ok
    } else if case.lenient.as_ref() == Some(&record.seen) {
        Verdict::NonStrict
    } else {
        Verdict::Failed
    };
    let codes = match &case.close {
        Close::ByClient => &[1000],
        Close::InSteps(codes) => *codes,
        Close::ByServer(code) => std::slice::from_ref(code),
    };
    let is_clean_close_needed = matches!(codes, [1000, ..]);
    let end = match record.end {
        End::Closed(Some(code)) if codes.contains(&code) => Verdict::Ok,
        // Failing a connection, the suite takes that as well.
        End::Dropped if !is_clean_close_needed => Verdict::NonStrict,
        End::Closed(_) | End::Dropped | End::Open => Verdict::Failed,
    };
    match (seen, end) {
        (Verdict::Failed, _) | (_, Verdict::Failed) => Verdict::Failed,
        (Verdict::NonStrict, _) | (_, Verdict::NonStrict) => Verdict::NonStrict,
        (Verdict::Ok, Verdict::Ok) => Verdict::Ok,
    }
}

/// The observation, shortened.
fn shown(record: &Record) -> String {
    let mut text = format!("{record:?}");
    text.truncate(300);
    text
}
