//! Contract, section 3: the demands of RFC 6455, frame by frame.

use crate::{
    harness::{Bridge, NO_POSTGRES, bridge_and_database},
    raw::{BINARY, CLOSE, PING, PONG, Raw, TEXT, frame, upgrade_request},
};

/// A connection to a bridge without PostgreSQL, behind the `status` that reports that.
fn connect(bridge: &Bridge) -> Raw {
    let mut raw = Raw::upgraded(bridge.address);
    assert!(raw.text().contains("status"));
    raw
}

fn bridge() -> Bridge {
    Bridge::serve(NO_POSTGRES, &[])
}

#[track_caller]
fn expect_code(bridge: &Bridge, bytes: &[u8], code: u16) {
    let mut raw = connect(bridge);
    raw.write(bytes);
    assert_eq!(raw.close_code(), code, "{bytes:02x?}");
}

#[track_caller]
fn expect_pong(raw: &mut Raw) {
    raw.send(TEXT, br#"{"type":"ping"}"#);
    assert_eq!(raw.text(), r#"{"type":"pong"}"#);
}

#[test]
fn an_unmasked_frame_is_a_protocol_error() {
    let bridge = bridge();
    for bytes in [
        &b"\x81\x02{}"[..],
        b"\x81\x00",
        b"\x89\x00",
        b"\x88\x02\x03\xe8",
    ] {
        expect_code(&bridge, bytes, 1002);
    }
}

#[test]
fn a_reserved_opcode_is_a_protocol_error() {
    let bridge = bridge();
    for opcode in [0x3, 0x7, 0xb, 0xf] {
        expect_code(&bridge, &frame(0x80 | opcode, b""), 1002);
    }
}

#[test]
fn a_reserved_bit_is_a_protocol_error() {
    let bridge = bridge();
    for bit in [0x40, 0x20, 0x10] {
        expect_code(&bridge, &frame(TEXT | bit, b"{}"), 1002);
        expect_code(&bridge, &frame(PING | bit, b""), 1002);
    }
}

#[test]
fn a_control_frame_in_pieces_or_over_125_bytes_is_a_protocol_error() {
    let bridge = bridge();
    for first in [PING, PONG, CLOSE] {
        expect_code(&bridge, &frame(first & 0x7f, b""), 1002);
        expect_code(&bridge, &frame(first, &[b'x'; 126]), 1002);
    }
}

#[test]
fn pieces_out_of_order_are_a_protocol_error() {
    let bridge = bridge();
    expect_code(&bridge, &frame(0x80, b"continues nothing"), 1002);
    expect_code(&bridge, &frame(0x00, b"continues nothing"), 1002);
    let unfinished = [frame(0x01, b"{"), frame(TEXT, b"{}")].concat();
    expect_code(&bridge, &unfinished, 1002);
}

#[test]
fn text_that_is_no_utf_8_is_closed_with_1007() {
    let bridge = bridge();
    for text in [
        &b"\xff"[..],
        b"{\"type\":\"\xc3\"}",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"\xe2\x82",
    ] {
        expect_code(&bridge, &frame(TEXT, text), 1007);
    }
    let pieces = [frame(0x01, b"{\"\xe2\x82"), frame(0x80, b"\"}")].concat();
    expect_code(&bridge, &pieces, 1007);
}

#[test]
fn a_message_of_64_kib_is_read() {
    let bridge = bridge();
    let mut raw = connect(&bridge);
    let ping = br#"{"type":"ping"}"#;
    for length in [125, 126, 127, 65_535, 65_536] {
        let mut message = ping.to_vec();
        message.resize(length, b' ');
        raw.send(TEXT, &message);
        assert_eq!(raw.text(), r#"{"type":"pong"}"#, "{length}");
    }
}

#[test]
fn a_message_of_a_byte_more_than_64_kib_is_closed_with_1009() {
    let bridge = bridge();
    let long = vec![b' '; 65_537];
    expect_code(&bridge, &frame(TEXT, &long), 1009);
    expect_code(&bridge, &frame(BINARY, &long), 1009);
    let pieces = [frame(0x01, &long[..40_000]), frame(0x80, &long[40_000..])].concat();
    expect_code(&bridge, &pieces, 1009);
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
    let bridge = bridge();
    expect_code(&bridge, b"\x81\xff\0\0\0\0\x7f\xff\xff\xff\0\0\0\0", 1009);
    let mut raw = connect(&bridge);
    raw.write(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0");
    let code = raw.close_code();
    assert!(code == 1009 || code == 1002, "{code}");
}

#[test]
fn a_close_frame_no_one_may_send_is_a_protocol_error() {
    let bridge = bridge();
    for payload in [
        &b"\x03"[..],
        &999_u16.to_be_bytes(),
        &1004_u16.to_be_bytes(),
        &1005_u16.to_be_bytes(),
        &1006_u16.to_be_bytes(),
        &1015_u16.to_be_bytes(),
        &1016_u16.to_be_bytes(),
        &2999_u16.to_be_bytes(),
        &5000_u16.to_be_bytes(),
        &0_u16.to_be_bytes(),
    ] {
        expect_code(&bridge, &frame(CLOSE, payload), 1002);
    }
    expect_code(&bridge, &frame(CLOSE, b"\x03\xe8\xff"), 1007);
}

/// The rest of the frame never comes: the first impossible byte is enough.
#[test]
fn text_that_is_no_utf_8_is_refused_before_its_frame_is_complete() {
    let bridge = bridge();
    let whole = frame(TEXT, b"\xf4\x90 and more");
    expect_code(&bridge, &whole[..whole.len() - 9], 1007);
    let pieces = [frame(0x01, b"\xf4"), frame(0x00, b"\x90")].concat();
    expect_code(&bridge, &pieces, 1007);
}

#[test]
fn bytes_behind_a_close_frame_are_not_read() {
    let bridge = bridge();
    for behind in [
        frame(CLOSE, b"\x03\xe9"),
        frame(PING, b"late"),
        frame(TEXT, br#"{"type":"ping"}"#),
        b"\xff not even a frame".to_vec(),
    ] {
        let mut raw = connect(&bridge);
        raw.write(&[frame(CLOSE, b"\x03\xe8"), behind].concat());
        assert_eq!(raw.frame(), (CLOSE, b"\x03\xe8".to_vec()));
        raw.expect_end();
    }
}

#[test]
fn a_close_frame_is_answered_with_its_code_and_the_bridge_disconnects() {
    let bridge = bridge();
    for code in [1000_u16, 1001, 1003, 1011, 3000, 4000, 4999] {
        let mut raw = connect(&bridge);
        raw.send(CLOSE, &[&code.to_be_bytes()[..], b"bye"].concat());
        let (first, payload) = raw.frame();
        assert_eq!((first, &payload[..2]), (CLOSE, &code.to_be_bytes()[..]));
        raw.expect_end();
    }
}

#[test]
fn a_close_frame_without_a_code_is_answered() {
    let bridge = bridge();
    let mut raw = connect(&bridge);
    raw.send(CLOSE, b"");
    assert_eq!(raw.frame().0, CLOSE);
    raw.expect_end();
}

/// A script publishes and leaves: the answer is dropped, the request is not.
#[test]
fn publishes_before_a_close_frame_are_committed() {
    let (bridge, _database) = bridge_and_database();
    let mut listener = bridge.client();
    listener.subscribe("c");
    for n in 0..20 {
        let mut raw = Raw::upgraded(bridge.address);
        let notify = format!(r#"{{"type":"notify","channel":"c","payload":"{n}"}}"#);
        raw.write(&[frame(TEXT, notify.as_bytes()), frame(CLOSE, b"\x03\xe8")].concat());
        assert_eq!(raw.frame().0, CLOSE);
        raw.expect_end();
        assert_eq!(listener.payload(), n.to_string());
    }
}

#[test]
fn a_ping_frame_is_answered_with_its_payload() {
    let bridge = bridge();
    let mut raw = connect(&bridge);
    for payload in [&b""[..], b"hello", b"\xff\0", &[b'x'; 125]] {
        raw.send(PING, payload);
        assert_eq!(raw.frame(), (PONG, payload.to_vec()));
    }
}

#[test]
fn a_pong_frame_nobody_asked_for_is_ignored() {
    let bridge = bridge();
    let mut raw = connect(&bridge);
    raw.send(PONG, b"unasked");
    expect_pong(&mut raw);
}

#[test]
fn a_message_in_pieces_with_a_ping_between_them_is_read() {
    let bridge = bridge();
    let mut raw = connect(&bridge);
    raw.send(0x01, br#"{"ty"#);
    raw.send(PING, b"now");
    raw.send(0x00, b"");
    raw.send(0x00, br#"pe":"pi"#);
    raw.send(0x80, br#"ng"}"#);
    assert_eq!(raw.frame(), (PONG, b"now".to_vec()));
    assert_eq!(raw.text(), r#"{"type":"pong"}"#);
}

#[test]
fn a_handshake_and_frames_are_read_byte_by_byte() {
    let bridge = bridge();
    let mut raw = Raw::open(bridge.address);
    for byte in upgrade_request(bridge.address, "/ws", "").as_bytes() {
        raw.write(&[*byte]);
    }
    assert_eq!(raw.response("GET").status, 101);
    assert!(raw.text().contains("status"));
    for byte in frame(TEXT, br#"{"type":"ping","id":"a byte at a time"}"#) {
        raw.write(&[byte]);
    }
    assert!(raw.text().contains("a byte at a time"));
}

#[test]
fn frames_in_one_packet_with_the_handshake_are_read() {
    let bridge = bridge();
    let mut raw = Raw::open(bridge.address);
    let request = upgrade_request(bridge.address, "/ws", "").into_bytes();
    let ping = frame(TEXT, br#"{"type":"ping"}"#);
    raw.write(&[request, ping.clone(), ping].concat());
    assert_eq!(raw.response("GET").status, 101);
    assert!(raw.text().contains("status"));
    assert_eq!(raw.text(), r#"{"type":"pong"}"#);
    assert_eq!(raw.text(), r#"{"type":"pong"}"#);
}

#[test]
fn many_frames_in_one_packet_are_all_answered() {
    let bridge = bridge();
    let mut raw = connect(&bridge);
    raw.write(&frame(TEXT, br#"{"type":"ping"}"#).repeat(2_000));
    for _ in 0..2_000 {
        assert_eq!(raw.text(), r#"{"type":"pong"}"#);
    }
}

#[test]
fn the_handshake_is_answered_as_the_rfc_computes_it() {
    let bridge = bridge();
    let mut raw = Raw::open(bridge.address);
    raw.write(upgrade_request(bridge.address, "/ws", "").as_bytes());
    let response = raw.response("GET");
    assert_eq!(response.status, 101);
    // RFC 6455, 1.3 has this very key.
    assert_eq!(
        response.header("Sec-WebSocket-Accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(response.header("Sec-WebSocket-Extensions"), None);
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
}

#[test]
fn extensions_and_subprotocols_on_offer_are_declined() {
    let bridge = bridge();
    let mut raw = Raw::open(bridge.address);
    let offers = "Sec-WebSocket-Extensions: permessage-deflate\r\n\
                  Sec-WebSocket-Protocol: graphql-ws, mqtt\r\n";
    raw.write(upgrade_request(bridge.address, "/ws", offers).as_bytes());
    let response = raw.response("GET");
    assert_eq!(response.status, 101);
    assert_eq!(response.header("Sec-WebSocket-Extensions"), None);
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
}

/// Any form of the offer is declined (RFC 7692, 7.1), and compressed frames are refused.
#[test]
fn permessage_deflate_is_declined_and_its_bit_refused() {
    let bridge = bridge();
    for offer in [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10, permessage-deflate",
        "x-webkit-deflate-frame",
        "permessage-deflate; client_max_window_bits=99;;",
    ] {
        let mut raw = Raw::open(bridge.address);
        let offer = format!("Sec-WebSocket-Extensions: {offer}\r\n");
        raw.write(upgrade_request(bridge.address, "/ws", &offer).as_bytes());
        let response = raw.response("GET");
        assert_eq!(response.status, 101);
        assert_eq!(response.header("Sec-WebSocket-Extensions"), None);
        assert!(raw.text().contains("status"));
        expect_pong(&mut raw);
        raw.send(TEXT | 0x40, b"\xaa\x56\x2a\x01\x00");
        assert_eq!(raw.close_code(), 1002, "{offer}");
    }
}
