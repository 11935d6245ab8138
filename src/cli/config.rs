//! `alle config`: every option with its value and its origin, as a file for `--config`.
//!
//! Lays out what was found, in the order of the table. Secrets are masked, and stand in comments:
//! the file that is printed holds none.

use super::{
    args::Setting,
    flags::{Default, Flag, Value},
    output::Output,
};

/// Prints the settings.
pub(crate) fn run(settings: &[Setting], output: &mut Output) {
    for setting in settings {
        output.line(&line(setting));
    }
}

/// One setting, in TOML: a comment where there is no value to take over.
fn line(setting: &Setting) -> String {
    let flag = setting.flag;
    let long = flag.long;
    let Some(given) = &setting.given else {
        let without = match flag.default {
            Default::Described(words) => words,
            Default::None | Default::Typed(_) => "not set",
        };
        return format!("# {long}: {without}");
    };
    let is_secret = matches!(flag.value, Value::Secret(..));
    let shown = |value: &String| {
        if is_secret {
            masked(value)
        } else {
            value.clone()
        }
    };
    let values: Vec<_> = given.values.iter().map(shown).collect();
    let is_masked = values != given.values;
    let comment = if is_masked { "# " } else { "" };
    let kind = if is_masked { "masked, from the " } else { "" };
    format!(
        "{comment}{long} = {} # {kind}{}",
        toml(flag, &values),
        given.origin
    )
}

/// The values in TOML.
fn toml(flag: &Flag, values: &[String]) -> String {
    let last = values.last().map_or("", String::as_str);
    match flag.value {
        Value::Request(_) => String::new(),
        Value::Switch(_) => matches!(last, "true" | "1").to_string(),
        Value::List(..) | Value::Files(_) => {
            let items = values.iter().filter(|item| !item.is_empty());
            let items: Vec<_> = items.map(|item| string(item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Count(..) => last.to_owned(),
        Value::Bytes(..) | Value::Span(..) | Value::CountOrAuto(_)
            if last.bytes().all(|it| it.is_ascii_digit()) =>
        {
            last.to_owned()
        }
        Value::Text(..)
        | Value::Secret(..)
        | Value::Filter(_)
        | Value::File(_)
        | Value::CountOrAuto(_)
        | Value::Bytes(..)
        | Value::Span(..) => string(last),
    }
}

/// A basic string (TOML 1.0, "String").
fn string(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            it if it.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(it))),
            it => quoted.push(it),
        }
    }
    quoted.push('"');
    quoted
}

/// A connection string without its password: the password of a URL is cut out where nobody can
/// mistake where it ends, and all else that may hold one is shown not at all.
fn masked(secret: &str) -> String {
    if secret.is_empty() || secret.starts_with('@') {
        return secret.to_owned();
    }
    let Some((scheme, rest)) = secret.split_once("://") else {
        return if may_hold_password(secret) {
            HIDDEN.to_owned()
        } else {
            secret.to_owned()
        };
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let is_clear = !path.contains('@') && !may_hold_password(path);
    match authority.rsplit_once('@') {
        _ if !is_clear => HIDDEN.to_owned(),
        None => secret.to_owned(),
        Some((user, host)) => match user.split_once(':') {
            None => secret.to_owned(),
            Some((user, _)) => format!("{scheme}://{user}:{HIDDEN}@{host}{path}"),
        },
    }
}

/// Whether a parameter of it may be a password, of the role or of a key.
fn may_hold_password(text: &str) -> bool {
    text.to_ascii_lowercase().contains("password")
}

const HIDDEN: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown_and_the_rest_of_a_url_is() {
        for (secret, shown) in [
            ("postgresql://h/db", "postgresql://h/db"),
            (
                "postgresql://u@h:1/db?sslmode=require",
                "postgresql://u@h:1/db?sslmode=require",
            ),
            ("postgresql://u:pw@h/db", "postgresql://u:***@h/db"),
            (
                "postgresql://u:p:w@x@h1,h2/db",
                "postgresql://u:***@h1,h2/db",
            ),
            ("postgresql://u:12/pw@h/db", "***"),
            ("postgresql://u:1?pw@h/db", "***"),
            ("postgresql://h/db?password=pw", "***"),
            ("postgresql://h/db?sslpassword=pw", "***"),
            ("host=h user=u password=pw", "***"),
            ("host=h user=u", "host=h user=u"),
            ("@/run/secrets/url", "@/run/secrets/url"),
            ("", ""),
        ] {
            assert_eq!(masked(secret), shown, "{secret}");
        }
    }

    #[test]
    fn a_string_is_quoted_as_toml_wants_it() {
        assert_eq!(string("a\"b\\c\n\u{1}µ"), "\"a\\\"b\\\\c\\n\\u0001µ\"");
    }
}
