//! The spelling that was probably meant.
//!
//! Knows words and the distance between two of them, not what they stand for.

/// The candidate that `typed` begins or that takes the fewest changes, at most a third of it.
pub(crate) fn nearest<'a>(
    typed: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance = |candidate: &'a str| {
        if typed.len() >= PREFIX_BYTES_MIN && candidate.starts_with(typed) {
            return 1;
        }
        changes(typed, candidate)
    };
    let (distance, candidate) = candidates
        .map(|candidate| (distance(candidate), candidate))
        .min()?;
    (distance <= candidate.len().div_ceil(3)).then_some(candidate)
}

/// A question to append to an error, where there is a `nearest` word.
pub(crate) fn did_you_mean(prefix: &str, nearest: Option<&str>) -> String {
    nearest
        .map(|nearest| format!("; did you mean '{prefix}{nearest}'?"))
        .unwrap_or_default()
}

/// How many insertions, deletions and replacements lead from `from` to `to` (Levenshtein).
fn changes(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[to.len()]
}

/// Shorter beginnings fit too much.
const PREFIX_BYTES_MIN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word_and_nonsense_finds_none() {
        let words = ["channels", "ws-bind-addr", "postgres-url", "json"];
        for (typed, expected) in [
            ("chanels", Some("channels")),
            ("ws-bind-adr", Some("ws-bind-addr")),
            ("postgres", Some("postgres-url")),
            ("jsn", Some("json")),
            ("frobnicate", None),
        ] {
            assert_eq!(nearest(typed, words.into_iter()), expected, "{typed}");
        }
    }
}
