//! Patterns with claims in them, as `user.{sub}.*`: one row of the configuration, and each user has
//! channels of its own.
//!
//! Owns the rules by which a claim takes its place in a pattern. They are there so that no user can
//! choose a name that opens the channels of another one:
//!
//! - A value is literal: no character of it is a wildcard.
//! - A value that is missing, empty, over [`VALUE_BYTES_MAX`] bytes, or has a NUL matches nothing.
//! - A value that contains the character behind the claim matches nothing, nor does one that contains
//!   the character before it where a `*` stands further ahead: `*` crosses that character, and the
//!   user `a` would hear the channels of the user `a.b`.
//! - A wildcard, or another claim, directly beside a claim is a mistake: nothing tells where the
//!   value ends.
//!
//! Knows neither tokens nor where a claim comes from.

use std::fmt;

use super::globs::{Globs, LITERAL, WILDCARDS};

/// The templates of one list of patterns.
#[derive(Clone, Debug, Default)]
pub struct Templates(Vec<Template>);

#[derive(Clone, Debug)]
struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    /// As it was configured, with its wildcards; never empty.
    Text(String),
    /// The value of a claim.
    Claim {
        name: String,
        /// A value that has one of these matches nothing.
        excluded: Vec<char>,
    },
}

impl Templates {
    /// Takes the templates out of a list of patterns, in which the others stay.
    pub fn take(globs: &mut Globs) -> Result<Self, TemplateError> {
        let taken = globs.take(|pattern| pattern.contains(BRACES));
        let parsed = taken.into_iter().map(|pattern| {
            Template::parse(&pattern).map_err(|cause| TemplateError { pattern, cause })
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns with the values of `claim` in them.
    pub fn fill(&self, claim: impl Fn(&str) -> Option<String>) -> Globs {
        let mut globs = Globs::none();
        for template in &self.0 {
            if let Some(filled) = template.fill(&claim) {
                if template.has_wildcard() {
                    globs.add_escaped(filled);
                } else {
                    globs.add_name(filled);
                }
            }
        }
        globs
    }
}

impl Template {
    fn parse(pattern: &str) -> Result<Self, TemplateCause> {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while let Some(at) = rest.find(BRACES) {
            let (text, behind) = rest.split_at(at);
            let inside = behind.strip_prefix('{').ok_or(TemplateCause::Brace)?;
            let (name, behind) = inside.split_once('}').ok_or(TemplateCause::Brace)?;
            if name.is_empty() || name.contains('{') {
                return Err(TemplateCause::Brace);
            }
            if !text.is_empty() {
                pieces.push(Piece::Text(text.to_owned()));
            }
            let is_behind_claim = matches!(pieces.last(), Some(Piece::Claim { .. }));
            let is_open = text.ends_with(WILDCARDS) || behind.starts_with(WILDCARDS);
            if is_behind_claim || is_open {
                return Err(TemplateCause::Beside);
            }
            let has_run = pattern[..pattern.len() - inside.len()].contains('*');
            let before = text.chars().next_back().filter(|_| has_run);
            let excluded = behind.chars().next().into_iter().chain(before).collect();
            pieces.push(Piece::Claim {
                name: name.to_owned(),
                excluded,
            });
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    fn has_wildcard(&self) -> bool {
        let is_wild = |piece: &Piece| matches!(piece, Piece::Text(it) if it.contains(WILDCARDS));
        self.0.iter().any(is_wild)
    }

    /// With its claims in their places; `None` if it matches nothing.
    fn fill(&self, claim: impl Fn(&str) -> Option<String>) -> Option<String> {
        let has_wildcard = self.has_wildcard();
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Claim { name, excluded } => {
                    let value = claim(name)?;
                    let is_sound = (1..=VALUE_BYTES_MAX).contains(&value.len())
                        && !value.contains(LITERAL)
                        && !value.contains(&excluded[..]);
                    if !is_sound {
                        return None;
                    }
                    for character in value.chars() {
                        if has_wildcard && WILDCARDS.contains(&character) {
                            filled.push(LITERAL);
                        }
                        filled.push(character);
                    }
                }
            }
        }
        Some(filled)
    }
}

/// A pattern with braces that is no template.
#[derive(Debug)]
pub struct TemplateError {
    pattern: String,
    cause: TemplateCause,
}

#[derive(Debug)]
enum TemplateCause {
    /// A brace without the other one, or with nothing in between.
    Brace,
    /// A wildcard or another claim is beside a claim.
    Beside,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the pattern '{}': ", self.pattern)?;
        f.write_str(match self.cause {
            TemplateCause::Brace => "braces come in pairs, around the name of a claim, as in {sub}",
            TemplateCause::Beside => {
                "a wildcard or another claim directly beside a claim would let one user have the \
                 channels of another: put a character in between, as in user.{sub}.*"
            }
        })
    }
}

impl std::error::Error for TemplateError {}

/// The longest value, in bytes: as long as the longest name of a channel.
pub const VALUE_BYTES_MAX: usize = 63;
const BRACES: [char; 2] = ['{', '}'];

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(list: &str, sub: &str) -> Globs {
        let mut globs = Globs::parse(list);
        let templates = Templates::take(&mut globs).unwrap();
        assert_eq!(globs, Globs::none(), "{list}");
        templates.fill(|name| (name == "sub").then(|| sub.to_owned()))
    }

    #[test]
    fn each_user_has_what_its_own_name_gives() {
        for (list, sub, matching, others) in [
            (
                "user.{sub}",
                "ann",
                &["user.ann"][..],
                &["user.bob", "user.annx", "user.{sub}"][..],
            ),
            (
                "user.{sub}.*",
                "ann",
                &["user.ann.", "user.ann.a.b"],
                &["user.ann", "user.bob.a"],
            ),
            (
                "a.{sub},b.{sub}.?",
                "7",
                &["a.7", "b.7.x"],
                &["a.x", "b.7."],
            ),
            ("{sub}/in", "ann", &["ann/in"], &["bob/in"]),
            // A value is literal.
            (
                "user.{sub}.*",
                "*",
                &["user.*.x"],
                &["user.ann.x", "user.**.x"],
            ),
            ("user.{sub}.*", "?", &["user.?.x"], &["user.a.x"]),
            ("user.{sub}", "*", &["user.*"], &["user.ann"]),
            ("user.{sub}", "a,b", &["user.a,b"], &["user.a", "b"]),
            // One that reaches behind its place matches nothing.
            ("user.{sub}.*", "a.b", &[], &["user.a.b.x", "user.a.b."]),
            ("user.{sub}", "a.b", &["user.a.b"], &["user.a"]),
            ("*.{sub}", "a.b", &[], &["x.a.b"]),
            ("user.{sub}-x", "a-b", &[], &["user.a-b-x"]),
            // One that is not there, and one of a claim that is not.
            ("user.{sub}.*", "", &[], &["user..x"]),
            ("user.{other}.*", "ann", &[], &["user.ann.x", "user..x"]),
            (
                "user.{sub}.{other}",
                "ann",
                &[],
                &["user.ann.", "user.ann.x"],
            ),
            ("user.{sub}.*", "a\0*", &[], &["user.a*.x", "user.ab.x"]),
        ] {
            let globs = filled(list, sub);
            for name in matching {
                assert!(globs.matches(name), "{list} of {sub:?}: {name}");
            }
            for name in others {
                assert!(!globs.matches(name), "{list} of {sub:?}: {name}");
            }
        }
    }

    /// Whatever two users are called, no channel is both of one and of the other.
    #[test]
    fn no_name_opens_the_channels_of_another() {
        let alphabet = ['a', '.', '*', '?', '\0'];
        let names = || {
            let one = alphabet.iter().map(|a| a.to_string());
            let two = alphabet
                .iter()
                .flat_map(|a| alphabet.map(|b| format!("{a}{b}")));
            let three = alphabet
                .iter()
                .flat_map(|a| alphabet.map(|b| format!("a{a}{b}")));
            one.chain(two).chain(three).collect::<Vec<_>>()
        };
        for list in ["user.{sub}.*", "user.{sub}", "*.{sub}"] {
            for ann in names() {
                let globs = filled(list, &ann);
                for bob in names().into_iter().filter(|bob| *bob != ann) {
                    for rest in ["a", "", "a.a", "*"] {
                        let channel = list.replace('*', rest).replace("{sub}", &bob);
                        let is_bobs = filled(list, &bob).matches(&channel);
                        assert!(
                            !(is_bobs && globs.matches(&channel)),
                            "{list}: {ann:?} has {channel:?} of {bob:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_value_has_1_to_63_bytes() {
        for (bytes, is_taken) in [(0, false), (1, true), (62, true), (63, true), (64, false)] {
            let sub = "x".repeat(bytes);
            assert_eq!(filled("{sub}", &sub).matches(&sub), is_taken, "{bytes}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused_and_shown() {
        for (pattern, words) in [
            ("user.{", "braces"),
            ("user.}", "braces"),
            ("user.{}", "braces"),
            ("user.{sub", "braces"),
            ("user.{{sub}}", "braces"),
            ("user.{sub}}", "braces"),
            ("user.{sub}*", "beside"),
            ("user.{sub}?", "beside"),
            ("user.*{sub}", "beside"),
            ("{a}{b}", "beside"),
        ] {
            let error = Templates::take(&mut Globs::parse(pattern))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(words) && error.contains(pattern),
                "{pattern}: {error}"
            );
        }
        let mut globs = Globs::parse("a,b*,user.{sub}");
        assert!(!Templates::take(&mut globs).unwrap().is_empty());
        assert_eq!(globs, Globs::parse("a,b*"));
    }
}
