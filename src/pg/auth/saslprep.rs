//! The password as SCRAM takes it (RFC 4013), the way PostgreSQL does it.
//!
//! The server made its verifier from a password prepared by its own `saslprep.c`, which looks for
//! what is prohibited *before* it normalizes, and takes a password of which nothing is left as it
//! is. The crate `stringprep` follows the RFC instead; so its tables are taken, and not its order.

use std::borrow::Cow;

use stringprep::tables;
use unicode_normalization::UnicodeNormalization as _;

/// What a password is prepared to; itself where it cannot be prepared, as in PostgreSQL.
pub(super) fn prepare(password: &[u8]) -> Cow<'_, [u8]> {
    let text = std::str::from_utf8(password).ok();
    match text.filter(|text| !text.is_ascii()).and_then(prepared) {
        Some(prepared) => Cow::Owned(prepared.into_bytes()),
        None => Cow::Borrowed(password),
    }
}

fn prepared(text: &str) -> Option<String> {
    let mapped = text.chars().filter_map(|c| {
        if tables::non_ascii_space_character(c) {
            Some(' ')
        } else {
            Some(c).filter(|&c| !tables::commonly_mapped_to_nothing(c))
        }
    });
    let mapped: String = mapped.collect();
    let is_prohibited = mapped.is_empty() || mapped.contains(is_prohibited) || mixes(&mapped);
    (!is_prohibited).then(|| mapped.nfkc().collect())
}

/// RFC 4013, 2.3 and 2.5.
fn is_prohibited(c: char) -> bool {
    tables::non_ascii_space_character(c)
        || tables::ascii_control_character(c)
        || tables::non_ascii_control_character(c)
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::surrogate_code(c)
        || tables::inappropriate_for_plain_text(c)
        || tables::inappropriate_for_canonical_representation(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
        || tables::unassigned_code_point(c)
}

/// Whether both directions of writing are in it, or the one from the right does not enclose it
/// (RFC 3454, 6).
fn mixes(text: &str) -> bool {
    let is_right = tables::bidi_r_or_al;
    let encloses = text.starts_with(is_right) && text.ends_with(is_right);
    text.contains(is_right) && (text.contains(tables::bidi_l) || !encloses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_prepared_as_postgresql_prepares_it() {
        for (password, expected) in [
            ("plain", "plain"),
            ("with\x07bell", "with\x07bell"),
            // RFC 4013, 3.
            ("I\u{ad}X", "IX"),
            ("\u{aa}", "a"),
            ("\u{2168}", "IX"),
            ("\u{627}\u{31}", "\u{627}\u{31}"),
            ("a\u{a0}b", "a b"),
            // Nothing would be left.
            ("\u{ad}", "\u{ad}"),
            ("\u{feff}\u{ad}", "\u{feff}\u{ad}"),
            // A space that is nothing to the RFC as well: the space comes first.
            ("a\u{200b}b", "a b"),
            // Prohibited as it stands, though not once it is normalized.
            ("a\u{340}", "a\u{340}"),
            // Unknown to Unicode 3.2, though not what it is normalized to.
            ("\u{3250}", "\u{3250}"),
            ("\u{1f600}", "\u{1f600}"),
            ("\u{627}\u{aa}\u{627}", "\u{627}\u{aa}\u{627}"),
        ] {
            let prepared = prepare(password.as_bytes());
            assert_eq!(prepared, expected.as_bytes(), "{password:?}");
        }
        assert_eq!(prepare(b"J\xfcrgen"), &b"J\xfcrgen"[..]);
    }
}
