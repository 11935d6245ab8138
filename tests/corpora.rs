//! Every input kept under `fuzz/corpus` still passes, and so do some random ones.

#[path = "../fuzz/bodies/lib.rs"]
mod bodies;
#[path = "corpora/frames.rs"]
mod frames;

use std::{fs, path::Path};

use proptest::prelude::*;

/// Runs the target over its corpus, and names every file on which it fails.
fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&corpus).expect("each target has a corpus");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a corpus is readable").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", corpus.display());
    paths.retain(|path| {
        let data = fs::read(path).expect("a corpus is readable");
        std::panic::catch_unwind(|| body(&data)).is_err()
    });
    assert!(paths.is_empty(), "see above; these fail: {paths:#?}");
}

#[test]
fn backend_bytes() {
    replay("backend_bytes", bodies::pg::backend_bytes);
}

#[test]
fn bridge_ops() {
    replay("bridge_ops", bodies::bridge::bridge_ops);
}

#[test]
fn client_bytes() {
    replay("client_bytes", bodies::echo::client_bytes);
}

#[cfg(feature = "tls")]
#[test]
fn client_hello() {
    replay("client_hello", bodies::tls::client_hello);
}

#[test]
fn client_message() {
    replay("client_message", bodies::message::client_message);
}

#[test]
fn index_ops() {
    replay("index_ops", bodies::index::index_ops);
}

#[test]
fn pg_url() {
    replay("pg_url", bodies::dsn::pg_url);
}

#[test]
fn proxy_words() {
    replay("proxy_words", bodies::http::proxy_words);
}

#[test]
fn request_head() {
    replay("request_head", bodies::http::request_head);
}

#[test]
fn request_stream() {
    replay("request_stream", bodies::http::request_stream);
}

fn bytes(bytes_max: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..bytes_max)
}

/// A field of the protocol, mostly with a value that some field may have.
fn field() -> impl Strategy<Value = String> {
    const NAMES: [&str; 6] = ["type", "channel", "payload", "id", "since", "new"];
    const VALUES: [&str; 20] = [
        r#""subscribe""#,
        r#""unsubscribe""#,
        r#""notify""#,
        r#""ping""#,
        r#""""#,
        r#""\u0000""#,
        r#""orders""#,
        r#""caf\u00e9""#,
        "0",
        "-7",
        "1.5",
        "18446744073709551616",
        "null",
        "true",
        "[1]",
        "{}",
        r#"{"epoch":"e","seq":1}"#,
        r#"{"epoch":"e","seq":-1}"#,
        r#"{"seq":1}"#,
        r#""0123456789012345678901234567890123456789012345678901234567890123""#,
    ];
    let select = |of: &'static [&'static str]| proptest::sample::select(of);
    // Most messages shall be parsed as far as their channel.
    let likely = proptest::sample::select(
        &[
            r#""type":"subscribe""#,
            r#""type":"notify""#,
            r#""channel":"orders""#,
            r#""payload":"x""#,
        ][..],
    );
    prop_oneof![
        likely.prop_map(str::to_owned),
        (select(&NAMES), select(&VALUES)).prop_map(|(name, value)| format!("\"{name}\":{value}")),
    ]
}

/// A piece of a stream of requests, in likely order or not.
fn part_of_a_request() -> impl Strategy<Value = String> {
    const PARTS: [&str; 24] = [
        "POST /publish/a HTTP/1.1\r\nHost: a\r\n",
        "GET /sse?channel=a HTTP/1.1\r\nHost: a\r\n",
        "POST /publish/a HTTP/1.0\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Expect: 100-continue\r\n",
        "Connection: close\r\n",
        " folded\r\n",
        "X: y\n",
        "\r\n",
        "hello",
        "5\r\nhello\r\n",
        "3;a=b\r\nabc\r\n",
        "0\r\n\r\n",
        "0\r\nTrailer: x\r\n\r\n",
        "ffffffffffffffff\r\n",
        "5\n",
        "\n",
        "\r",
        "\0",
        "x",
    ];
    let whole = "POST /publish/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "POST /publish/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2\r\nab\r\n0\r\n\r\n";
    prop_oneof![
        proptest::sample::select(&PARTS[..]).prop_map(str::to_owned),
        Just(whole.to_owned()),
        Just(chunked.to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_may_come_from_a_backend(data in bytes(400)) {
        bodies::pg::backend_bytes(&data);
    }

    #[test]
    fn any_order_of_events_may_come_to_the_core(data in bytes(2_000)) {
        bodies::bridge::bridge_ops(&data);
    }

    #[test]
    fn the_index_takes_any_operations(data in bytes(400)) {
        bodies::index::index_ops(&data);
    }

    #[test]
    fn any_text_may_come_as_a_message(text in ".{0,200}") {
        bodies::message::client_message(text.as_bytes());
    }

    #[test]
    fn any_fields_may_come_in_a_message(fields in proptest::collection::vec(field(), 0..6)) {
        bodies::message::client_message(format!("{{{}}}", fields.join(",")).as_bytes());
    }

    #[test]
    fn any_text_may_be_a_connection_string(
        start in "(postgres://|host=db |password=')?",
        text in "[a-z%:@/?=&,'\\\\ \\[\\]0-9é\0\n*#]{0,80}",
    ) {
        bodies::dsn::pg_url((start + &text).as_bytes());
    }

    #[test]
    fn any_bytes_may_come_in_front_of_a_head(data in bytes(600)) {
        bodies::http::proxy_words(&data);
    }

    #[test]
    fn whatever_a_stranger_writes_a_proxy_names_the_client(
        text in r#"[a-z0-9=;,. "\\:\[\]_]{0,60}"#,
    ) {
        bodies::http::proxy_words(text.as_bytes());
    }

    #[test]
    fn any_bytes_may_come_as_a_head(data in bytes(400)) {
        bodies::http::request_head(&data);
    }

    #[test]
    fn any_requests_may_come_one_behind_the_other(
        parts in proptest::collection::vec(part_of_a_request(), 0..24),
    ) {
        bodies::http::request_stream(parts.concat().as_bytes());
    }
}
