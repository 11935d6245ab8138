//! A token that is compared, and never shown.

use std::{
    fmt,
    hash::{Hash, Hasher},
    hint::black_box,
};

/// A token, as it was configured or presented.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps `text` to itself.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text, for sending it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// In a time that depends on the lengths alone, so that nobody can find out a secret byte by byte:
/// the differences of all bytes are gathered before anything is decided, and [`black_box`] hides
/// from the compiler what is decided by them. Lengths are no secret.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (self.0.as_bytes(), other.0.as_bytes());
        let pairs = one.iter().zip(other);
        let differing = pairs.fold(0, |differing, (a, b)| differing | (a ^ b));
        black_box(differing) == 0 && one.len() == other.len()
    }
}

impl Eq for Secret {}

/// All of the text, in a time that depends on its length alone.
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
