//! A connection string of keywords and values taken apart: `host=db user='a b'`.
//!
//! Follows libpq's grammar (PostgreSQL, "Keyword/Value Connection Strings"). Knows no default.

use super::{
    error::{ConfigError, is_word},
    settings::Settings,
};

/// Whether `text` is meant as such a list: nothing, or a word and `=` in front.
pub(super) fn is_list(text: &str) -> bool {
    let text = text.trim_matches(is_space);
    text.is_empty()
        || text.split_once('=').is_some_and(|(name, _)| {
            name.split(is_space)
                .all(|part| is_word(part) || part.is_empty())
        })
}

/// Splits where libpq's `conninfo_parse` splits; the last of equal names wins.
pub(super) fn read(text: &str, settings: &mut Settings) -> Result<(), ConfigError> {
    if text.contains('\0') {
        return Err(ConfigError::Nul {
            part: "connection string",
        });
    }
    let mut rest = text.trim_start_matches(is_space);
    // A password with a space in it, and without quotes, goes on in the next name.
    let mut is_doubtful = false;
    while !rest.is_empty() {
        let end = rest
            .find(|c| c == '=' || is_space(c))
            .ok_or(ConfigError::KeywordWithoutValue)?;
        let (name, behind) = rest.split_at(end);
        let behind = behind.trim_start_matches(is_space);
        let behind = behind
            .strip_prefix('=')
            .ok_or(ConfigError::KeywordWithoutValue)?;
        let text = behind.trim_start_matches(is_space);
        let (value, behind) = value(text)?;
        if !settings.set_named(name, value.into_bytes())? {
            return Err(ConfigError::unknown(name, is_doubtful));
        }
        if is_doubtful {
            settings.doubt(name);
        }
        is_doubtful |= name == "password" && !text.starts_with('\'');
        rest = behind.trim_start_matches(is_space);
    }
    Ok(())
}

/// The value in front, quotes and backslashes taken off, and what follows it.
fn value(text: &str) -> Result<(String, &str), ConfigError> {
    let mut value = String::new();
    let quoted = text.strip_prefix('\'');
    let mut rest = quoted.unwrap_or(text).chars();
    loop {
        let before = rest.as_str();
        match rest.next() {
            Some('\\') => value.extend(rest.next()),
            Some('\'') if quoted.is_some() => return Ok((value, rest.as_str())),
            Some(c) if quoted.is_none() && is_space(c) => return Ok((value, before)),
            Some(c) => value.push(c),
            None if quoted.is_some() => return Err(ConfigError::QuoteOpen),
            None => return Ok((value, "")),
        }
    }
}

/// What C's `isspace` takes for space.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}
