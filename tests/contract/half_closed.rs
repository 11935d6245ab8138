//! Clients that send all they have to say and shut their side down, as `nc -N` and `socat` do: they
//! still read.

use alle::internals::sandbox::Sandbox;

use crate::{
    harness::{Bridge, NO_POSTGRES, bridge_and_database},
    raw::Raw,
    slow_reader::with_small_buffer,
};

/// A publish, and nothing behind it.
fn publish(raw: &mut Raw, bridge: &Bridge, payload: &str) {
    let (host, length) = (bridge.address, payload.len());
    raw.write(
        format!(
            "POST /publish/a HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{payload}"
        )
        .as_bytes(),
    );
}

#[test]
fn publishes_are_answered_though_their_client_has_shut_its_side_down() {
    let (bridge, _database) = bridge_and_database();
    let mut raw = Raw::open(bridge.address);
    for payload in ["1", "2", "3"] {
        publish(&mut raw, &bridge, payload);
    }
    // The request that does not come to its end has no answer.
    raw.write(b"POST /publish/a HTTP/1.1\r\n");
    raw.finish();
    for _ in 0..3 {
        let response = raw.response("POST");
        assert_eq!(response.status, 200, "{}", response.body);
    }
    raw.expect_end();
}

/// However long PostgreSQL takes.
#[test]
fn an_answer_that_takes_its_time_comes_behind_the_end_of_the_request() {
    let server = Sandbox::start().unwrap();
    let bridge = Bridge::start(&server.url());
    server.pause().unwrap();
    let mut raw = Raw::open(bridge.address);
    publish(&mut raw, &bridge, "x");
    raw.finish();
    // What came before this was read before this is answered.
    assert_eq!(bridge.get("/healthz").status, 200);
    server.resume().unwrap();
    assert_eq!(raw.response("POST").status, 200);
    raw.expect_end();
}

#[test]
fn a_page_larger_than_its_socket_comes_whole() {
    let bridge = Bridge::serve(NO_POSTGRES, &["--playground"]);
    let mut raw = Raw::on(with_small_buffer(&bridge));
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", bridge.address);
    raw.write(request.as_bytes());
    raw.finish();
    assert!(raw.response("GET").body.trim_end().ends_with("</html>"));
    raw.expect_end();
}

#[test]
fn a_client_that_has_nothing_to_come_is_let_go_at_once() {
    let (bridge, _database) = bridge_and_database();
    let part = format!("POST /publish/a HTTP/1.1\r\nHost: {}\r\n", bridge.address);
    for bytes in ["", &part] {
        let mut raw = Raw::open(bridge.address);
        raw.write(bytes.as_bytes());
        raw.finish();
        raw.expect_end();
    }
    let mut raw = Raw::open(bridge.address);
    publish(&mut raw, &bridge, "x");
    assert_eq!(raw.response("POST").status, 200);
    raw.write(part.as_bytes());
    raw.finish();
    raw.expect_end();
}
