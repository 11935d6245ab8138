//! What cannot be meant, and the sentence that says so.

use super::*;

#[test]
fn what_cannot_be_meant_is_said_in_a_sentence() {
    for (words, expected) in [
        ("bogus", "unknown command 'bogus'"),
        ("lisen", "unknown command 'lisen'; did you mean 'listen'?"),
        (
            "serve --chanels a",
            "unknown option '--chanels'; did you mean '--channels'?",
        ),
        ("-x", "unknown option '-x'"),
        ("-5", "unknown option '-5'"),
        (
            "publish a --nope",
            "unknown option '--nope'; an operand that begins with a dash goes behind '--'",
        ),
        (
            "publish a -x",
            "unknown option '-x'; an operand that begins with a dash goes behind '--'",
        ),
        (
            "publish a b --ws-ulr x",
            "unknown option '--ws-ulr'; did you mean '--ws-url'?",
        ),
        ("serve extra", "unexpected argument 'extra'"),
        ("help publish extra", "unexpected argument 'extra'"),
        ("help publish help", "unexpected argument 'help'"),
        ("help help extra", "unknown command 'extra'"),
        (
            "help lisen",
            "unknown command 'lisen'; did you mean 'listen'?",
        ),
        ("help man extra", "unexpected argument 'extra'"),
        (
            "help completions",
            "completions needs a SHELL: bash, zsh, fish",
        ),
        (
            "help completions tcsh",
            "no completions for 'tcsh', only for bash, zsh, fish",
        ),
        ("help completions bash extra", "unexpected argument 'extra'"),
        (
            "listen -c a",
            "option '-c' does not belong to 'alle listen'",
        ),
        (
            "--json serve",
            "option '--json' does not belong to 'alle serve'",
        ),
        ("-p", "missing argument for option '-p'"),
        (
            "listen --json=1",
            "unexpected argument for option '--json': \"1\"",
        ),
        ("publish", "publish needs a CHANNEL and a PAYLOAD"),
        (
            "publish a",
            "publish needs a PAYLOAD after the CHANNEL ('-' reads it from stdin)",
        ),
        (
            "publish a b c",
            "publish takes one CHANNEL and one PAYLOAD: put quotes around the payload",
        ),
    ] {
        assert_wrong(words, &[], expected);
    }
}

/// It is taken everywhere, so that one command line works for all commands.
#[test]
fn a_postgres_url_that_does_nothing_gets_a_line() {
    for (words, expected) in [
        ("listen -p x", "listen speaks to a bridge: -w, not -p"),
        ("-p x publish a b", "publish speaks to a bridge: -w, not -p"),
        ("health -p x", "health asks a bridge: -p does nothing"),
    ] {
        assert_eq!(parse_with(words, &[]).unwrap().notes, [expected], "{words}");
    }
    for (words, variables) in [
        ("serve -p x", &[][..]),
        ("listen -l info", &[]),
        ("listen", &[("POSTGRES_URL", "x")]),
    ] {
        assert!(parse_with(words, variables).unwrap().notes.is_empty());
    }
}

#[test]
fn a_value_that_cannot_be_meant_is_shown_in_the_sentence() {
    let long = "x".repeat(64);
    for (words, expected) in [
        (
            "listen --json --timestamps",
            "--timestamps does nothing with --json, which prints each message as it came",
        ),
        (
            "-l verbose",
            "log level 'verbose' is none of off, error, warn, info, debug, trace \
             (or TARGET=LEVEL, comma separated)",
        ),
        (
            "-l ,",
            "log level '' is none of off, error, warn, info, debug, trace \
             (or TARGET=LEVEL, comma separated)",
        ),
        (
            "serve --allow-origin http://a,app.example",
            "--allow-origin takes what browsers send, as https://HOST[:PORT], or '*', \
             not 'app.example'",
        ),
        (
            "serve --allow-origin http://a --allow-origin ,",
            "--allow-origin takes what browsers send, as https://HOST[:PORT], or '*', not ''",
        ),
        (
            &format!("listen {long}"),
            &format!("channel '{long}': channel name has 64 bytes, PostgreSQL takes at most 63"),
        ),
    ] {
        assert_wrong(words, &[], expected);
    }
}

#[test]
fn sizes_and_spans_are_taken_up_to_their_edges() {
    let limits = |words: &str| serve(words, &[]).limits;
    assert_eq!(limits("--history-bytes 0").history_bytes_max, 0);
    assert_eq!(limits("--history 0").history_frames_max, 0);
    assert_eq!(limits("--client-queue 64K").client_queue_bytes_max, 65_536);
    assert_eq!(limits("--retained 1G").retained_bytes_max, 1 << 30);
    assert_eq!(
        limits("--client-rate 4294967296").client_rate_max,
        Some(u32::MAX)
    );
    assert_eq!(
        limits("").retained_bytes_max,
        Limits::default().retained_bytes_max
    );
    for (typed, drain) in [
        ("86399", Duration::from_secs(86_399)),
        ("86400", Duration::from_secs(86_400)),
        ("86400000ms", Duration::from_secs(86_400)),
        ("24h", Duration::from_secs(86_400)),
        ("1d", Duration::from_secs(86_400)),
        ("1500ms", Duration::from_millis(1_500)),
    ] {
        assert_eq!(serve(&format!("--drain {typed}"), &[]).drain, drain);
    }
    for typed in ["86401", "86400001ms", "2d", "99999999999999999999"] {
        let expected = format!("--drain takes from 0 to 86400 seconds, not '{typed}'");
        assert_wrong(&format!("serve --drain {typed}"), &[], &expected);
    }
    for typed in ["-1", "1.5", "5min", "x"] {
        let expected = format!(
            "--drain takes seconds, or a whole number with ms, s, m, h or d, not '{typed}'"
        );
        assert_wrong(&format!("serve --drain {typed}"), &[], &expected);
    }
    for typed in [
        "0",
        "60",
        "65535",
        "63K",
        "17179869184G",
        "99999999999999999999",
    ] {
        let expected = format!(
            "--client-queue takes from 64K to {} bytes, not '{typed}': one message alone can be 64K",
            usize::MAX
        );
        assert_wrong(&format!("serve --client-queue {typed}"), &[], &expected);
    }
    for typed in ["-1", "1.5G", "16MB", "16m"] {
        let expected =
            format!("--client-queue takes bytes, as 65536, 64K, 16M or 1G, not '{typed}'");
        assert_wrong(&format!("serve --client-queue {typed}"), &[], &expected);
    }
    for typed in ["0", "-1", "1K", "99999999999999999999"] {
        let expected = format!("--max-clients takes a whole number from 1 up, not '{typed}'");
        assert_wrong(&format!("serve --max-clients {typed}"), &[], &expected);
    }
}
