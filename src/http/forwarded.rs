//! For whom a proxy speaks: `X-Forwarded-For`, and `Forwarded` (RFC 7239).
//!
//! Both are lists to which each proxy on the way appends the peer that it saw. Everything left of the
//! entries of proxies that are believed was written by strangers. So a list is read from its end, and
//! no further than the first address that is not a proxy's; what lies left of that can be anything, and
//! changes nothing. Knows neither who is believed nor what follows from an address.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str,
};

use super::fields::Fields;

/// The client of a request whose connection came from `peer`, by its `X-Forwarded-For`.
pub fn by_x_forwarded_for(
    fields: &Fields<'_>,
    peer: IpAddr,
    is_believed: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let lines: Vec<_> = fields.values("X-Forwarded-For").collect();
    let entries = lines
        .into_iter()
        .rev()
        .flat_map(|line| line.rsplit(|&it| it == b','));
    // An empty entry is none (RFC 9110, 5.6.1.2).
    let entries = entries.filter(|entry| !entry.trim_ascii().is_empty());
    search(entries.map(address_of), peer, is_believed)
}

/// The same by its `Forwarded`.
pub fn by_forwarded(
    fields: &Fields<'_>,
    peer: IpAddr,
    is_believed: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let lines: Vec<_> = fields.values("Forwarded").collect();
    // A quoted string does not go on in another line.
    let elements = lines.into_iter().rev().flat_map(Elements::of);
    let elements = elements.filter(|it| it.is_none_or(|it| !it.trim_ascii().is_empty()));
    search(elements.map(|it| it.and_then(node_of)), peer, is_believed)
}

/// From the last entry on: the first address that is not believed, else the last good one.
fn search(
    entries: impl Iterator<Item = Option<IpAddr>>,
    peer: IpAddr,
    is_believed: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut found = peer;
    for entry in entries {
        if !is_believed(found) {
            break;
        }
        match entry {
            Some(address) => found = address.to_canonical(),
            None => break,
        }
    }
    found
}

/// The address of an entry: plain, as some write it in brackets, and with a port or without one.
fn address_of(entry: &[u8]) -> Option<IpAddr> {
    let entry = str::from_utf8(entry.trim_ascii()).ok()?;
    if let Ok(address) = entry.parse() {
        return Some(address);
    }
    if let Some(inside) = entry.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        return inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    entry.parse::<SocketAddr>().ok().map(|it| it.ip())
}

// ---- RFC 7239, 4

/// The elements of a line, from the last one on; `None` for one that has no form.
///
/// A quotation mark that is met from behind ends a quoted string, since what stands behind it is sound.
/// The string begins with the nearest one that is not quoted itself. So a mark that a stranger left
/// open cannot swallow the elements of proxies, as it could from the front.
struct Elements<'a> {
    /// What is not read yet; `None` behind the first element.
    rest: Option<&'a [u8]>,
}

impl<'a> Elements<'a> {
    fn of(line: &'a [u8]) -> Self {
        Self { rest: Some(line) }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        let Some(comma) = last_outside(rest, b',') else {
            self.rest = None;
            return Some(None);
        };
        self.rest = comma.map(|at| &rest[..at]);
        Some(Some(&rest[comma.map_or(0, |at| at + 1)..]))
    }
}

/// Where the last `mark` outside of quoted strings stands, if there is one. `None`: a quoted string has
/// no beginning.
fn last_outside(text: &[u8], mark: u8) -> Option<Option<usize>> {
    let mut end = text.len();
    while let Some(at) = end.checked_sub(1) {
        end = match text[at] {
            b'"' => opening(&text[..at])?,
            it if it == mark => return Some(Some(at)),
            _ => at,
        };
    }
    Some(None)
}

/// Where the quoted string begins whose inside ends with this: at the nearest quotation mark that is not
/// part of a quoted pair.
fn opening(inside: &[u8]) -> Option<usize> {
    let mut end = inside.len();
    loop {
        let at = inside[..end].iter().rposition(|&it| it == b'"')?;
        let slashes = inside[..at]
            .iter()
            .rev()
            .take_while(|&&it| it == b'\\')
            .count();
        if slashes % 2 == 0 {
            return Some(at);
        }
        end = at;
    }
}

/// The address that an element names by its `for`. `None`: it has none, has two, is malformed, or names
/// the client on purpose by no address (`unknown`, `_hidden`; RFC 7239, 6.2 and 6.3).
fn node_of(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = Some(element);
    while let Some(pairs) = rest {
        let semicolon = last_outside(pairs, b';')?;
        let pair = &pairs[semicolon.map_or(0, |at| at + 1)..];
        rest = semicolon.map(|at| &pairs[..at]);
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let (name, value) = parse_pair(pair)?;
        if name.eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
            return None;
        }
    }
    address_of_node(str::from_utf8(&found?).ok()?)
}

/// The name and the value of a pair, the value without its quotation marks (RFC 7239, 4).
fn parse_pair(pair: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let equals = pair.iter().position(|&it| it == b'=')?;
    let (name, value) = (&pair[..equals], &pair[equals + 1..]);
    if !is_token(name) {
        return None;
    }
    if is_token(value) {
        return Some((name, value.to_vec()));
    }
    let inside = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut unquoted = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => unquoted.push(*bytes.next()?),
            _ => unquoted.push(byte),
        }
    }
    Some((name, unquoted))
}

/// The address of a node, which has that of IPv6 in brackets, and may have a port, or a hidden one
/// (RFC 7239, 6).
fn address_of_node(node: &str) -> Option<IpAddr> {
    let (address, port) = match node.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)?, port)
        }
        None => {
            let (address, port) = node.split_at(node.find(':').unwrap_or(node.len()));
            (IpAddr::V4(address.parse().ok()?), port)
        }
    };
    is_port(port).then_some(address)
}

/// Nothing, or a colon and digits or a hidden port.
fn is_port(port: &str) -> bool {
    let Some(port) = port.strip_prefix(':') else {
        return port.is_empty();
    };
    match port.strip_prefix('_') {
        Some(hidden) => {
            let is_hidden = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
            !hidden.is_empty() && hidden.bytes().all(is_hidden)
        }
        None => (1..=5).contains(&port.len()) && port.bytes().all(|it| it.is_ascii_digit()),
    }
}

/// RFC 9110, 5.6.2.
fn is_token(text: &[u8]) -> bool {
    let is_tchar = |it: &u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(it);
    !text.is_empty() && text.iter().all(is_tchar)
}

#[cfg(test)]
mod tests {
    use httparse::Header;

    use super::*;

    /// The client behind the proxy 10.0.0.1, where all of 10.0.0.0/8 and fd00::/8 is believed.
    fn client_of(name: &'static str, lines: &[&str]) -> String {
        let headers: Vec<_> = lines
            .iter()
            .map(|line| Header {
                name,
                value: line.as_bytes(),
            })
            .collect();
        let fields = Fields::new(&headers);
        let is_believed = |address: IpAddr| {
            let text = address.to_string();
            text.starts_with("10.") || text.starts_with("fd00:")
        };
        let peer = "10.0.0.1".parse().unwrap();
        let found = if name == "Forwarded" {
            by_forwarded(&fields, peer, is_believed)
        } else {
            by_x_forwarded_for(&fields, peer, is_believed)
        };
        found.to_string()
    }

    #[test]
    fn x_forwarded_for_is_read_from_its_end() {
        for (lines, client) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["  192.0.2.1\t,  10.0.0.7 "], "192.0.2.1"),
            (&["192.0.2.1, fd00::7"], "192.0.2.1"),
            (&["10.9.9.9, 10.0.0.7"], "10.9.9.9"),
            // All lines are one list.
            (&["203.0.113.9", "192.0.2.1", "10.0.0.7"], "192.0.2.1"),
            (&["192.0.2.1", "", " , 10.0.0.7,"], "192.0.2.1"),
            // What a stranger wrote stands left of what a proxy wrote.
            (&["203.0.113.9, 192.0.2.1"], "192.0.2.1"),
            (&["10.0.0.9, 192.0.2.1"], "192.0.2.1"),
            (&["\"192.0.2.9, 192.0.2.1"], "192.0.2.1"),
            // The search ends at what is no address.
            (&["unknown"], "10.0.0.1"),
            (&["192.0.2.1, unknown, 10.0.0.7"], "10.0.0.7"),
            (&["192.0.2.1 10.0.0.7"], "10.0.0.1"),
            (&["192.0.2.1:99999"], "10.0.0.1"),
            (&["192.0.2.256"], "10.0.0.1"),
            (&["[192.0.2.1]"], "10.0.0.1"),
            (&["for=192.0.2.1"], "10.0.0.1"),
            (&["192.0.2.1\u{e9}"], "10.0.0.1"),
        ] {
            assert_eq!(client_of("X-Forwarded-For", lines), client, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_has_it() {
        for (lines, client) in [
            (&[][..], "10.0.0.1"),
            // RFC 7239, 4.
            (&[r#"for="_gazonk""#], "10.0.0.1"),
            (&[r#"For="[2001:db8:cafe::17]:4711""#], "2001:db8:cafe::17"),
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
            (&["for=192.0.2.43, for=10.51.100.17"], "192.0.2.43"),
            // RFC 7239, 6 and 7.
            (&[r#"for="192.0.2.43:47011""#], "192.0.2.43"),
            (&[r#"for="[2001:db8:cafe::17]""#], "2001:db8:cafe::17"),
            (&[r#"for="192.0.2.43:_port-1.x""#], "192.0.2.43"),
            (&["for=_hidden, for=_SEVKISEK"], "10.0.0.1"),
            (&["for=192.0.2.1, for=unknown, for=10.0.0.7"], "10.0.0.7"),
            (
                &[r#"for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown"#],
                "10.0.0.1",
            ),
            (
                &["for=192.0.2.43", "for=10.0.0.7, for=10.0.0.8"],
                "192.0.2.43",
            ),
            // Order, case and space, and what an extension may say.
            (&["PROTO=http;FOR=192.0.2.1;by=_x"], "192.0.2.1"),
            (&["", " ,;for=192.0.2.1;; , for=10.0.0.7 ;, "], "192.0.2.1"),
            (&["proto=http ; for=192.0.2.1 ; by=_x"], "192.0.2.1"),
            (
                &[r#"for="192.0.2.1";ext="a,b;for=192.0.2.9\"""#],
                "192.0.2.1",
            ),
            (&[r#"for=192.0.2.1;ext="\\""#], "192.0.2.1"),
            (&[r#"for="192\.0.2.1""#], "192.0.2.1"),
            // A quotation mark that a stranger left open swallows nothing.
            (&[r#"for="192.0.2.9, for=192.0.2.1"#], "192.0.2.1"),
            (&[r#"for="192.0.2.9, for="[2001:db8::1]""#], "2001:db8::1"),
            (&[r#"for="192.0.2.9\, for="[2001:db8::1]""#], "2001:db8::1"),
            (&[r#"for="192.0.2.9"#, "for=192.0.2.1"], "192.0.2.1"),
            (&[r#"for="192.0.2.9"#, r#"for="192.0.2.1""#], "192.0.2.1"),
            // The search ends at what has no form, or names nobody.
            (&["for=192.0.2.1, proto=http"], "10.0.0.1"),
            (&["for=192.0.2.1;for=192.0.2.2"], "10.0.0.1"),
            (&["for = 192.0.2.1"], "10.0.0.1"),
            (&["for=192.0.2.1:4711"], "10.0.0.1"),
            (&["for=2001:db8::1"], "10.0.0.1"),
            (&[r#"for="2001:db8::1""#], "10.0.0.1"),
            (&[r#"for="[192.0.2.1]""#], "10.0.0.1"),
            (&[r#"for="192.0.2.1:123456""#], "10.0.0.1"),
            (&[r#"for="192.0.2.1:_""#], "10.0.0.1"),
            (&[r#"for="192.0.2.1"x"#], "10.0.0.1"),
            (&[r#"for=192.0.2.1""#], "10.0.0.1"),
            (&["192.0.2.1"], "10.0.0.1"),
        ] {
            assert_eq!(client_of("Forwarded", lines), client, "{lines:?}");
        }
    }

    #[test]
    fn a_peer_that_is_not_believed_is_the_client_whatever_it_says() {
        let headers = ["X-Forwarded-For", "Forwarded"].map(|name| Header {
            name,
            value: b"for=192.0.2.1, 192.0.2.1",
        });
        let fields = Fields::new(&headers);
        let peer = "203.0.113.9".parse().unwrap();
        assert_eq!(by_x_forwarded_for(&fields, peer, |_| false), peer);
        assert_eq!(by_forwarded(&fields, peer, |_| false), peer);
    }
}
