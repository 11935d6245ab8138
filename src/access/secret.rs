//! A token that can be compared and is never shown.

use std::{
    fmt,
    hash::{Hash, Hasher},
    hint::black_box,
};

/// A token, as it was configured or presented.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes `text` as a secret.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text, for sending it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// In a time that depends on the lengths alone, so that a secret cannot be found out byte by byte:
/// the differences of all bytes are gathered before the decision, and [`black_box`] hides the
/// decision from the compiler. Lengths are no secret.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (self.0.as_bytes(), other.0.as_bytes());
        let pairs = one.iter().zip(other);
        let differing = pairs.fold(0, |differing, (a, b)| differing | (a ^ b));
        black_box(differing) == 0 && one.len() == other.len()
    }
}

impl Eq for Secret {}

/// Hashes all of the text, in a time that depends on its length alone.
impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_equal_when_their_texts_are() {
        for (one, other) in [
            ("", ""),
            ("a", "a"),
            ("a", "b"),
            ("ab", "a"),
            ("a", "ab"),
            ("", "a"),
            ("aba", "abb"),
            ("bba", "aba"),
        ] {
            let (secret, presented) = (Secret::new(one), Secret::new(other));
            assert_eq!(secret == presented, one == other, "{one} {other}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("ann's")), "Secret(..)");
    }
}
