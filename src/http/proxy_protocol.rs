//! The preamble in which a proxy says for whom a connection is: the PROXY protocol, versions 1 and 2.
//!
//! Owns its form ("The PROXY protocol", versions 1 and 2, of the makers of haproxy), and takes no
//! more than [`PREAMBLE_BYTES_MAX`] of it. Knows neither who may send one nor what follows from an
//! address.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str,
};

/// The longest preamble: what arrives in one piece on every path (section 2.2).
pub const PREAMBLE_BYTES_MAX: usize = 536;

/// A complete preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The client's address. `None`: the proxy speaks for itself (`LOCAL`), or for a client without an
    /// address (`UNKNOWN`, `UNSPEC`, a Unix socket).
    pub client: Option<IpAddr>,
    /// Its length; what is behind it is the client's.
    pub bytes: usize,
}

/// Why this is no preamble; no further byte can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreambleError {
    /// It begins as neither version does.
    Missing,
    /// It is of another version than 1 and 2.
    UnknownVersion,
    /// It is longer than it may be.
    TooLong,
    /// Something else.
    Malformed,
}

impl fmt::Display for PreambleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "its connection does not begin with a PROXY preamble",
            Self::UnknownVersion => "its PROXY preamble is of neither version 1 nor 2",
            Self::TooLong => "its PROXY preamble is over 536 bytes long",
            Self::Malformed => "its PROXY preamble is malformed",
        })
    }
}

/// Parses the preamble at the start of `input`: `None` if more bytes are needed. The result does not
/// change when bytes are added.
pub fn parse(input: &[u8]) -> Result<Option<Preamble>, PreambleError> {
    if begins(input, SIGNATURE) {
        parse_binary(input)
    } else if begins(input, TEXT_BEGIN) {
        parse_text(input)
    } else {
        Err(PreambleError::Missing)
    }
}

/// Whether the input may begin with this, as far as it goes.
fn begins(input: &[u8], with: &[u8]) -> bool {
    input.iter().zip(with).all(|(one, other)| one == other)
}

/// Version 1, a line (section 2.1).
fn parse_text(input: &[u8]) -> Result<Option<Preamble>, PreambleError> {
    let within = &input[..input.len().min(TEXT_BYTES_MAX)];
    let Some(at) = within.iter().position(|&it| it == b'\n') else {
        return if within.len() < TEXT_BYTES_MAX {
            Ok(None)
        } else {
            Err(PreambleError::TooLong)
        };
    };
    let client = within[..at]
        .strip_suffix(b"\r")
        .and_then(|line| str::from_utf8(line).ok())
        .and_then(parse_line)
        .ok_or(PreambleError::Malformed)?;
    Ok(Some(Preamble {
        client,
        bytes: at + 1,
    }))
}

/// The client that a line names, if it does; `None` if it has no form.
fn parse_line(line: &str) -> Option<Option<IpAddr>> {
    let rest = line.strip_prefix("PROXY ")?;
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let parts: Vec<_> = rest.split(' ').collect();
    let &[protocol, source, destination, source_port, destination_port] = &parts[..] else {
        return None;
    };
    let address = |text: &str| match protocol {
        "TCP4" => text.parse().ok().map(IpAddr::V4),
        "TCP6" => text.parse().ok().map(IpAddr::V6),
        _ => None,
    };
    let source = address(source)?;
    address(destination)?;
    (is_port(source_port) && is_port(destination_port)).then_some(Some(source))
}

/// In decimal digits, without zeros in front of them.
fn is_port(text: &str) -> bool {
    let is_canonical = text == "0" || !text.starts_with('0');
    is_canonical && text.bytes().all(|it| it.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Version 2 (section 2.2): a head of 16 bytes, addresses, and values that are skipped.
fn parse_binary(input: &[u8]) -> Result<Option<Preamble>, PreambleError> {
    let Some(&version_and_command) = input.get(SIGNATURE.len()) else {
        return Ok(None);
    };
    if version_and_command >> 4 != 2 {
        return Err(PreambleError::UnknownVersion);
    }
    let Some((&[_, family, high, low], _)) = input[SIGNATURE.len()..].split_first_chunk::<4>()
    else {
        return Ok(None);
    };
    let bytes = HEAD_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if bytes > PREAMBLE_BYTES_MAX {
        return Err(PreambleError::TooLong);
    }
    let Some(block) = input.get(HEAD_BYTES..bytes) else {
        return Ok(None);
    };
    let client = match version_and_command & 0xF {
        // LOCAL: whatever else it says means nothing.
        0 => None,
        1 => parse_addresses(family, block).ok_or(PreambleError::Malformed)?,
        _ => return Err(PreambleError::Malformed),
    };
    Ok(Some(Preamble { client, bytes }))
}

/// The client that the addresses of a connection name, if they do; `None` if they have no form, or
/// cannot be those of a TCP connection.
fn parse_addresses(family: u8, block: &[u8]) -> Option<Option<IpAddr>> {
    match family {
        UNSPECIFIED => Some(None),
        TCP_OVER_IPV4 => {
            let source = block.get(..12)?.first_chunk::<4>()?;
            Some(Some(Ipv4Addr::from(*source).into()))
        }
        TCP_OVER_IPV6 => {
            let source = block.get(..36)?.first_chunk::<16>()?;
            Some(Some(Ipv6Addr::from(*source).into()))
        }
        UNIX_STREAM => block.get(..216).map(|_| None),
        _ => None,
    }
}

const TEXT_BEGIN: &[u8] = b"PROXY ";
/// The longest line, its end included (section 2.1).
const TEXT_BYTES_MAX: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Of version 2: signature, version and command, family, length.
const HEAD_BYTES: usize = 16;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<u8> {
        format!("{text}\r\n").into_bytes()
    }

    fn binary(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[version_and_command, family], &length, block].concat()
    }

    /// 192.0.2.1:4711 to 198.51.100.2:443.
    const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 1, 0xBB];

    fn ipv6() -> Vec<u8> {
        let source: Ipv6Addr = "2001:db8::1".parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0x12, 0x67, 1, 0xBB]].concat()
    }

    /// Whatever lies behind it, and in whatever pieces it comes.
    #[track_caller]
    fn check(preamble: &[u8], expected: Result<Option<&str>, PreambleError>) {
        let behind = [preamble, b"GET / HTTP/1.1\r\n"].concat();
        let expected = expected.map(|client| {
            Some(Preamble {
                client: client.map(|it| it.parse().unwrap()),
                bytes: preamble.len(),
            })
        });
        assert_eq!(parse(&behind), expected, "{}", preamble.escape_ascii());
        let mut decided = None;
        for end in 0..=behind.len() {
            let result = parse(&behind[..end]);
            match decided {
                None if result == Ok(None) => {}
                None => decided = Some(result),
                Some(decided) => assert_eq!(result, decided, "it does not change"),
            }
        }
        assert_eq!(decided, Some(expected));
    }

    #[test]
    fn a_line_names_the_client() {
        for (text, client) in [
            (
                "PROXY TCP4 192.0.2.1 198.51.100.2 4711 443",
                Some("192.0.2.1"),
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535",
                Some("255.255.255.255"),
            ),
            (
                "PROXY TCP6 2001:db8::1 2001:db8::2 0 443",
                Some("2001:db8::1"),
            ),
            (
                "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
                Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ),
            ("PROXY UNKNOWN", None),
            ("PROXY UNKNOWN 2001:db8::1 2001:db8::2 1 2", None),
        ] {
            check(&line(text), Ok(client));
        }
        // The longest one.
        let text = format!("PROXY UNKNOWN {}", "x".repeat(TEXT_BYTES_MAX - 16));
        assert_eq!(line(&text).len(), TEXT_BYTES_MAX);
        check(&line(&text), Ok(None));
        check(&line(&(text + "x")), Err(PreambleError::TooLong));
    }

    #[test]
    fn a_line_without_form_is_none() {
        for text in [
            "PROXY ",
            "PROXY TCP4",
            "PROXY UNKNOWNX",
            "PROXY unknown",
            "PROXY TCP4 192.0.2.1 198.51.100.2 4711",
            "PROXY TCP4 192.0.2.1 198.51.100.2 4711 443 1",
            "PROXY TCP4 192.0.2.1 198.51.100.2 4711 443 ",
            "PROXY TCP4  192.0.2.1 198.51.100.2 4711 443",
            "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443",
            "PROXY TCP4 192.0.2.1 198.51.100.2 04711 443",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443",
            "PROXY TCP4 192.0.2.1 198.51.100.2  443",
            "PROXY TCP4 192.0.2.256 198.51.100.2 1 443",
            "PROXY TCP4 192.0.2.1 x 1 443",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 443",
            "PROXY TCP6 192.0.2.1 198.51.100.2 1 443",
            "PROXY UDP4 192.0.2.1 198.51.100.2 1 443",
            "PROXY TCP4 192.0.2.1\t198.51.100.2 1 443",
        ] {
            check(&line(text), Err(PreambleError::Malformed));
        }
        check(
            b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n",
            Err(PreambleError::Malformed),
        );
        for other in [
            "GET / HTTP/1.1\r\n",
            "proxy TCP4\r\n",
            "\x16\x03\x01",
            "PROXX",
        ] {
            check(other.as_bytes(), Err(PreambleError::Missing));
        }
    }

    #[test]
    fn a_binary_preamble_names_the_client_and_whatever_else_it_says_is_skipped() {
        let tlv: &[u8] = &[0x04, 0, 3, 1, 2, 3];
        check(&binary(0x21, 0x11, IPV4), Ok(Some("192.0.2.1")));
        check(
            &binary(0x21, 0x11, &[IPV4, tlv].concat()),
            Ok(Some("192.0.2.1")),
        );
        check(&binary(0x21, 0x21, &ipv6()), Ok(Some("2001:db8::1")));
        check(
            &binary(0x21, 0x21, &[&ipv6(), tlv].concat()),
            Ok(Some("2001:db8::1")),
        );
        check(&binary(0x21, 0x31, &[0; 216]), Ok(None));
        check(&binary(0x21, 0x00, tlv), Ok(None));
        check(&binary(0x20, 0x00, b""), Ok(None));
        check(&binary(0x20, 0x11, IPV4), Ok(None));
        check(&binary(0x20, 0xFF, b"x"), Ok(None));
        let longest = vec![0; PREAMBLE_BYTES_MAX - HEAD_BYTES];
        check(&binary(0x21, 0x11, &longest), Ok(Some("0.0.0.0")));
    }

    #[test]
    fn a_binary_preamble_without_form_is_none() {
        let malformed = Err(PreambleError::Malformed);
        check(&binary(0x21, 0x11, &IPV4[..11]), malformed);
        check(&binary(0x21, 0x21, &ipv6()[..35]), malformed);
        check(&binary(0x21, 0x31, &[0; 215]), malformed);
        // Not of a TCP connection.
        for family in [0x12, 0x22, 0x32, 0x10, 0x01, 0x41, 0xFF] {
            check(&binary(0x21, family, &[0; 216]), malformed);
        }
        check(&binary(0x22, 0x11, IPV4), malformed);
        for version in [0x11, 0x31, 0x01] {
            check(
                &binary(version, 0x11, IPV4),
                Err(PreambleError::UnknownVersion),
            );
        }
        let too_long = vec![0; PREAMBLE_BYTES_MAX - HEAD_BYTES + 1];
        check(&binary(0x21, 0x11, &too_long), Err(PreambleError::TooLong));
        let nothing = [SIGNATURE, &[0x21, 0x11, 0xFF, 0xFF]].concat();
        check(&nothing, Err(PreambleError::TooLong));
        check(b"\r\n\r\n\0\r\nQUIX\n", Err(PreambleError::Missing));
    }
}
