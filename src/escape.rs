//! The one escape for what strangers write: servers, clients, and whoever answers in their place.
//!
//! Owns which characters command a terminal, or end a line of a log, rather than show something.
//! Knows neither who wrote the text nor where it goes.

use std::{borrow::Cow, fmt::Write as _};

/// `text` on one line, every character of it that [commands](is_command) something written out, as
/// `\n` or `\u{1b}`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escaped_where(text, is_command)
}

/// `text` with the characters for which `is_escaped` holds written out.
pub fn escaped_where(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    let Some(first) = text.find(&is_escaped) else {
        return Cow::Borrowed(text);
    };
    let (harmless, rest) = text.split_at(first);
    let mut shown = String::with_capacity(text.len() + 16);
    shown.push_str(harmless);
    for letter in rest.chars() {
        if is_escaped(letter) {
            let _ = write!(shown, "{}", letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
}

/// `json` with the characters for which `is_escaped` holds written out as JSON has it (RFC 8259, 7):
/// they can be in its strings alone, and mean the same there.
pub fn escaped_in_json(json: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !json.contains(&is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for letter in json.chars() {
        if is_escaped(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
}

/// Control characters but the tab, the other ends of a line, and those that turn the direction of
/// the text around them.
pub fn is_command(letter: char) -> bool {
    letter.is_control() && letter != '\t'
        || matches!(letter, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(letter, '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_is_written_out_and_what_shows_stays() {
        for (text, shown) in [
            (
                "plain 'x' \"y\" \\ grüße 🐘\t.",
                "plain 'x' \"y\" \\ grüße 🐘\t.",
            ),
            ("a\nb\r\nc\0", "a\\nb\\r\\nc\\u{0}"),
            ("\x1b[31mred\x7f", "\\u{1b}[31mred\\u{7f}"),
            (
                "\u{9b}2J\u{85}\u{2028}\u{2029}",
                "\\u{9b}2J\\u{85}\\u{2028}\\u{2029}",
            ),
            ("\u{202e}fdp\u{2066}", "\\u{202e}fdp\\u{2066}"),
        ] {
            assert_eq!(escaped(text), shown);
        }
        let json = escaped_in_json("{\"a\":\"\u{202e}b\u{85}\"}", is_command);
        assert_eq!(json, "{\"a\":\"\\u202eb\\u0085\"}");
        assert!(matches!(escaped("plain"), Cow::Borrowed("plain")));
        assert_eq!(escaped_where("a\nb\x1b", |it| it == '\n'), "a\\nb\x1b");
    }
}
