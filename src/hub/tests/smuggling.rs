//! Requests that two readers of one stream could read differently.

use super::{responses::responses, world::World};

#[test]
fn what_could_be_read_two_ways_is_400_and_the_end() {
    let head = "POST /publish/a HTTP/1.1\r\nHost: localhost\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let long = format!("{chunked}1;{}\r\na\r\n0\r\n\r\n", "x".repeat(1_024));
    for rest in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "Content-Length: 3, 4\r\n\r\nabcd",
        "Content-Length: 3 4\r\n\r\nabcd",
        "Content-Length: -3\r\n\r\nabc",
        "Content-Length: +3\r\n\r\nabc",
        "Content-Length: 0x3\r\n\r\nabc",
        "Content-Length: 3;\r\n\r\nabc",
        "Content-Length:\r\n\r\n",
        "Content-Length : 3\r\n\r\nabc",
        "Content-Length\t: 3\r\n\r\nabc",
        "Content-Length: 3\r\n X: folded\r\n\r\nabc",
        "X: a\r\n\tfolded\r\nContent-Length: 3\r\n\r\nabc",
        "X: a\nContent-Length: 3\r\n\r\nabc",
        "Content-Length: 3\n\r\nabc",
        "Content-Length: 3\r\n\nabc",
        "X: a\rb\r\nContent-Length: 3\r\n\r\nabc",
        "X: a\0b\r\nContent-Length: 3\r\n\r\nabc",
        "Transfer-Encoding: gzip\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        &format!("{chunked}3\nabc\r\n0\r\n\r\n"),
        &format!("{chunked}3\r\nabc\n0\r\n\r\n"),
        &format!("{chunked}3\r\nabcd\r\n0\r\n\r\n"),
        &format!("{chunked}g\r\n"),
        &format!("{chunked}-1\r\n"),
        &format!("{chunked}0x3\r\nabc\r\n0\r\n\r\n"),
        &format!("{chunked} 3\r\nabc\r\n0\r\n\r\n"),
        &format!("{chunked}3 \r\nabc\r\n0\r\n\r\n"),
        &format!("{chunked}10000000000000000\r\n"),
        &format!("{chunked}3;a\nb\r\nabc\r\n0\r\n\r\n"),
        &format!("{chunked}0\r\nA : b\r\n\r\n"),
        &format!("{chunked}0\r\nA: b\r\n folded\r\n\r\n"),
        &format!("{chunked}0\r\nA: b\n\r\n"),
        &format!("{chunked}0\r\n\n"),
        &long,
    ] {
        let mut world = World::connected();
        let client = world.connect();
        let behind = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        world.input(client, format!("{head}{rest}{behind}").as_bytes());
        let [(status, head, _)] = &responses(&mut world, client)[..] else {
            panic!("one response to {rest:?}");
        };
        assert_eq!(*status, 400, "{rest:?}");
        assert!(head.contains("\r\nConnection: close\r\n"), "{rest:?}");
        assert_eq!(world.hub.metrics().publishes, 0, "{rest:?}");
    }
}
