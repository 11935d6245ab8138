//! The JSON inside a JWT: read strictly, and asked for what it says.
//!
//! A name that stands twice in an object is refused: two readers could take one each (RFC 7519, 4).
//! Knows no rule about any claim.

use std::{fmt, time::Duration};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::access::globs::Globs;

/// The object in `bytes`, if it is one and nothing else.
pub(super) fn parse_object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Strict(Value::Object(object))) => Some(object),
        Ok(_) | Err(_) => None,
    }
}

/// What stands under a path: the names in it between dots, from outside in. What begins with the scheme
/// of a URI (RFC 7519, 4.2) is one name, whatever dots are in it.
pub(super) fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        Some((outermost, _)) if outermost.contains(':') => claims.get(path),
        Some(_) | None => walk(claims, path),
    }
}

fn walk<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        Some((outer, inner)) => walk(claims.get(outer)?.as_object()?, inner),
        None => claims.get(path),
    }
}

/// The claim as it stands in a pattern: a string, or an integer.
pub(super) fn text(claims: &Map<String, Value>, path: &str) -> Option<String> {
    match find(claims, path)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        Value::Number(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

/// The patterns of the claim: a string of them, comma separated, or a list of strings, one each.
/// Of anything else, nothing matches.
pub(super) fn globs(claims: &Map<String, Value>, path: &str) -> Globs {
    match find(claims, path) {
        Some(Value::String(list)) => Globs::parse(list),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            Globs::of(items.iter().filter_map(Value::as_str))
        }
        Some(_) | None => Globs::none(),
    }
}

/// A moment (RFC 7519, 2: NumericDate), as the time since 1970.
pub(super) fn moment(value: &Value) -> Option<Duration> {
    let number = value.as_number()?;
    if let Some(seconds) = number.as_u64() {
        return Some(Duration::from_secs(seconds));
    }
    let seconds = number.as_f64()?.max(0.0);
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

/// Whether the claim, a string or a list of them, names one of these.
pub(super) fn names_one_of(value: &Value, names: &[String]) -> bool {
    let is_known = |value: &Value| {
        value
            .as_str()
            .is_some_and(|it| names.iter().any(|n| n == it))
    };
    match value {
        Value::Array(items) => items.iter().all(Value::is_string) && items.iter().any(is_known),
        Value::String(_) => is_known(value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// A value in which no object has a name twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("no number"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = fields.next_entry::<String, _>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Map<String, Value> {
        parse_object(text.as_bytes()).expect(text)
    }

    #[test]
    fn only_one_object_in_which_each_name_stands_once_is_read() {
        for text in [
            "",
            "{",
            "[]",
            "null",
            "{} {}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            "{\"a\":\"\u{1}\"}",
        ] {
            assert_eq!(parse_object(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), None, "not UTF-8");
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(4_000), "]".repeat(4_000));
        assert_eq!(parse_object(deep.as_bytes()), None, "deep");
        let text = r#" {"a":{"b":1},"c":[1,-1,1.5,"x",null,true],"b":{"b":{}}} "#;
        let plain: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Value::Object(object(text)), plain);
    }

    #[test]
    fn a_claim_is_found_by_its_name_or_by_the_path_to_it() {
        let claims = object(
            r#"{"sub":"ann","https://x.example/ch":"u","a":{"b":{"c":7},"b.c":8},"a.x":1,"a.b.c":9,
                "https://x":{"example/ch":"other","y":{"z":1}},"of":{"api://x":{"z":"in"}}}"#,
        );
        for (path, expected) in [
            ("sub", Some("ann")),
            ("https://x.example/ch", Some("u")),
            // A name with a dot in it is no path, and does not stand for one.
            ("a.b.c", Some("7")),
            ("a.x", None),
            // A URI is no path.
            ("https://x.y.z", None),
            // What is inside of a claim may have any name without a dot.
            ("of.api://x.z", Some("in")),
            ("a.b", None),
            ("a.b.c.d", None),
            ("sub.x", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(text(&claims, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn only_a_string_or_an_integer_stands_in_a_pattern() {
        for (value, expected) in [
            (r#""ann""#, Some("ann")),
            (r#""""#, Some("")),
            ("7", Some("7")),
            ("-7", Some("-7")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("1.5", None),
            ("7.0", None),
            ("1e3", None),
            ("true", None),
            ("null", None),
            (r#"["ann"]"#, None),
        ] {
            let claims = object(&format!(r#"{{"sub":{value}}}"#));
            assert_eq!(text(&claims, "sub").as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_claim_of_patterns_is_a_string_or_a_list_of_strings() {
        for (value, expected) in [
            (r#""a, b*""#, Globs::parse("a,b*")),
            (r#"["a","b*"]"#, Globs::parse("a,b*")),
            (r#"["a,b"]"#, Globs::of(["a,b"])),
            (r#""""#, Globs::none()),
            ("[]", Globs::none()),
            (r#"["a",1]"#, Globs::none()),
            ("7", Globs::none()),
            ("true", Globs::none()),
            ("null", Globs::none()),
            (r#"{"a":"*"}"#, Globs::none()),
        ] {
            let claims = object(&format!(r#"{{"can":{{"hear":{value}}}}}"#));
            assert_eq!(globs(&claims, "can.hear"), expected, "{value}");
        }
        assert_eq!(globs(&object("{}"), "can.hear"), Globs::none());
    }

    #[test]
    fn a_moment_is_a_number() {
        for (value, expected) in [
            ("0", Some(Duration::ZERO)),
            ("1300819380", Some(Duration::from_secs(1_300_819_380))),
            ("1.5", Some(Duration::from_millis(1_500))),
            ("-1", Some(Duration::ZERO)),
            ("1e300", Some(Duration::MAX)),
            (r#""1300819380""#, None),
            ("true", None),
            ("null", None),
        ] {
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!(moment(&value), expected, "{value}");
        }
    }
}
