//! Percent-encoded text of a target (RFC 3986, 2.1), decoded once.
//!
//! Knows neither paths nor parameters.

/// The text of one segment of a path; `None` if an escape is broken, or the text is not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    decode_with(text, |byte| byte)
}

/// The text of a name or a value in a query, in which a plus is a space (URL Standard, 5.1).
pub fn decode_form(text: &str) -> Option<String> {
    decode_with(text, |byte| if byte == b'+' { b' ' } else { byte })
}

/// The pairs of a query, as they were sent.
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn decode_with(text: &str, plain: impl Fn(u8) -> u8) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let value = digit()? << 4 | digit()?;
            out.push(u8::try_from(value).ok()?);
        } else {
            out.push(plain(byte));
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_decoded_once() {
        for (text, path, form) in [
            ("orders", Some("orders"), Some("orders")),
            ("a%2Fb", Some("a/b"), Some("a/b")),
            ("a%252Fb", Some("a%2Fb"), Some("a%2Fb")),
            ("a+b%20c", Some("a+b c"), Some("a b c")),
            ("caf%C3%A9", Some("café"), Some("café")),
            ("%00", Some("\0"), Some("\0")),
            ("%", None, None),
            ("%2", None, None),
            ("%2g", None, None),
            ("%+1", None, None),
            ("%FF", None, None),
            ("", Some(""), Some("")),
        ] {
            assert_eq!(decode(text).as_deref(), path, "{text}");
            assert_eq!(decode_form(text).as_deref(), form, "{text}");
        }
    }

    #[test]
    fn a_query_is_pairs() {
        let all: Vec<_> = pairs("channel=a&&channel=b%26&x&y=1=2").collect();
        let expected = [
            ("channel", "a"),
            ("channel", "b%26"),
            ("x", ""),
            ("y", "1=2"),
        ];
        assert_eq!(all, expected);
        assert_eq!(pairs("").count(), 0);
    }
}
