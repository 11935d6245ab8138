//! Lists of patterns for channel names.
//!
//! Knows no channel: a name is any text.

use std::{collections::BTreeSet, str::Chars};

/// Patterns, one of which has to match; without a list every name matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Globs {
    /// `None`: everything matches.
    list: Option<List>,
}

/// Empty, it matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct List {
    /// Patterns without a wildcard: one look-up for all of them.
    names: BTreeSet<String>,
    /// The others, tried one after the other. A character behind [`LITERAL`] stands for itself.
    patterns: Vec<String>,
}

impl Globs {
    /// Parses a comma-separated list: in each pattern `*` stands for any number of characters, `?`
    /// for one, and every other character for itself. The empty list matches nothing. There is no
    /// escape: `?` stands for a comma, too.
    pub fn parse(list: &str) -> Self {
        Self::of(list.split(',').map(str::trim))
    }

    /// The same of patterns that are apart already: a comma stands for itself.
    pub fn of<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut list = List::default();
        for pattern in patterns {
            // No channel has a NUL.
            if pattern.is_empty() || pattern.contains(LITERAL) {
                continue;
            }
            if pattern.contains(WILDCARDS) {
                list.patterns.push(pattern.to_owned());
            } else {
                list.names.insert(pattern.to_owned());
            }
        }
        Self { list: Some(list) }
    }

    /// The list that matches nothing.
    pub fn none() -> Self {
        Self::of([])
    }

    /// Whether there is no list: everything matches.
    pub fn is_everything(&self) -> bool {
        self.list.is_none()
    }

    /// Whether nothing matches.
    pub fn is_nothing(&self) -> bool {
        let list = self.list.as_ref();
        list.is_some_and(|it| it.names.is_empty() && it.patterns.is_empty())
    }

    /// Adds a name, every character of which stands for itself.
    pub(super) fn add_name(&mut self, name: String) {
        self.list.get_or_insert_default().names.insert(name);
    }

    /// Adds a pattern in which [`LITERAL`] may stand.
    pub(super) fn add_escaped(&mut self, pattern: String) {
        self.list.get_or_insert_default().patterns.push(pattern);
    }

    /// Takes the patterns out for which `is_taken` holds.
    pub(super) fn take(&mut self, is_taken: impl Fn(&str) -> bool) -> Vec<String> {
        let Some(list) = &mut self.list else {
            return Vec::new();
        };
        let names = std::mem::take(&mut list.names).into_iter();
        let patterns = std::mem::take(&mut list.patterns).into_iter();
        let (taken_names, names) = names.partition(|it: &String| is_taken(it));
        let (taken, patterns): (Vec<_>, _) = patterns.partition(|it| is_taken(it));
        let mut all: Vec<String> = taken_names;
        all.extend(taken);
        list.names = names.into_iter().collect::<BTreeSet<_>>();
        list.patterns = patterns;
        all
    }

    /// Whether the whole of `name` matches one of the patterns.
    pub fn matches(&self, name: &str) -> bool {
        self.list.as_ref().is_none_or(|list| {
            let is_match = |pattern: &String| is_match(pattern, name);
            list.names.contains(name) || list.patterns.iter().any(is_match)
        })
    }

    /// The number of patterns that are compared with a name one after the other.
    pub fn steps(&self) -> usize {
        self.list.as_ref().map_or(0, |list| 1 + list.patterns.len())
    }
}

/// Whether `pattern` matches the whole of `name`. Takes no more steps than the product of their
/// lengths: only the last `*` passed is ever tried again, since an earlier one can take nothing
/// that this one could not.
fn is_match(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (Wanted(pattern.chars()), name.chars());
    // The pattern behind the last `*`, and the position in the name at which it was tried.
    let mut star = None;
    loop {
        let (wanted, found) = (pattern.clone().next(), name.clone().next());
        match (wanted, found) {
            (Some(Want::Run), _) => {
                pattern.next();
                star = Some((pattern.clone(), name.clone()));
            }
            (Some(wanted), Some(found)) if wanted == Want::Any || wanted == Want::One(found) => {
                pattern.next();
                name.next();
            }
            (None, None) => return true,
            (_, _) => {
                let Some((behind, from)) = &mut star else {
                    return false;
                };
                if from.next().is_none() {
                    return false;
                }
                (pattern, name) = (behind.clone(), from.clone());
            }
        }
    }
}

/// What a pattern wants next of a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    /// Any number of characters.
    Run,
    /// One character, whichever.
    Any,
    /// This character.
    One(char),
}

/// The wants of a pattern, in order.
#[derive(Clone)]
struct Wanted<'a>(Chars<'a>);

impl Iterator for Wanted<'_> {
    type Item = Want;

    fn next(&mut self) -> Option<Want> {
        Some(match self.0.next()? {
            '*' => Want::Run,
            '?' => Want::Any,
            LITERAL => Want::One(self.0.next()?),
            other => Want::One(other),
        })
    }
}

/// The characters that do not stand for themselves.
pub(super) const WILDCARDS: [char; 2] = ['*', '?'];
/// Before a wildcard that does. No name of a channel has it.
pub(super) const LITERAL: char = '\0';

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_matches_as_its_patterns_do() {
        for (list, matching, others) in [
            ("", &[][..], &["", "a", "*"][..]),
            (" , ,", &[], &["", "a"]),
            ("*", &["", "a", "a.b c", "日本"], &[]),
            ("orders", &["orders"], &["Orders", "orders2", "my orders"]),
            ("orders.*", &["orders.", "orders.eu.1"], &["orders", "x"]),
            ("*.eu", &[".eu", "a.eu", "a.eu.eu"], &["eu", "a.eu.x"]),
            ("a*b*c", &["abc", "aXbYc", "abcbc"], &["ab", "acb", "abcd"]),
            ("?", &["a", "é", "日", "*"], &["", "ab"]),
            ("a?c", &["abc", "a,c", "a🐘c"], &["ac", "abbc"]),
            ("*?", &["a", "日本"], &[""]),
            ("a, b ,c*", &["a", "b", "c", "cc"], &["a,", " b ", "d"]),
            ("[ab]\\*", &["[ab]\\", "[ab]\\x"], &["a", "[ab]*"]),
        ] {
            let globs = Globs::parse(list);
            for name in matching {
                assert!(globs.matches(name), "{list:?} {name:?}");
            }
            for name in others {
                assert!(!globs.matches(name), "{list:?} {name:?}");
            }
        }
        assert!(Globs::default().matches("anything"));
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = format!("{}b", "*a".repeat(1_000));
        assert!(!is_match(&pattern, &"a".repeat(10_000)));
    }

    /// The definition, word by word.
    fn is_match_by_definition(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], _) => name.is_empty(),
            (['*', behind @ ..], _) => {
                (0..=name.len()).any(|taken| is_match_by_definition(behind, &name[taken..]))
            }
            (['?', behind @ ..], [_, rest @ ..]) => is_match_by_definition(behind, rest),
            ([wanted, behind @ ..], [found, rest @ ..]) => {
                wanted == found && is_match_by_definition(behind, rest)
            }
            (_, []) => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 20_000,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn the_matcher_keeps_to_the_definition(
            pattern in "[ab*?é]{0,8}",
            name in "[abcé]{0,10}",
        ) {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = is_match_by_definition(&chars(&pattern), &chars(&name));
            prop_assert_eq!(is_match(&pattern, &name), expected);
        }
    }
}
