//! A function of the database that says whose a token is: its name, and what it answers.
//!
//! Values, and the binary form of what comes back (PostgreSQL, "Message Formats", DataRow). Knows no
//! statement, and not what an answer is good for.

mod fault;

use std::{error::Error, fmt};

pub use self::fault::FunctionFault;

/// The name of a function, with its schema: whatever the search path is, it means the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionName {
    pub(super) schema: String,
    pub(super) name: String,
}

/// This names no function with its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionNameError(String);

impl FunctionName {
    /// Takes `SCHEMA.NAME`, each to the letter.
    pub fn parse(text: &str) -> Result<Self, FunctionNameError> {
        let is_identifier = |part: &str| {
            let is_short = (1..=IDENTIFIER_BYTES_MAX).contains(&part.len());
            is_short && !part.contains(['.', '"', '(', '\0']) && part.trim() == part
        };
        match text.split_once('.') {
            Some((schema, name)) if is_identifier(schema) && is_identifier(name) => Ok(Self {
                schema: schema.to_owned(),
                name: name.to_owned(),
            }),
            Some(_) | None => Err(FunctionNameError(text.to_owned())),
        }
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

impl fmt::Display for FunctionNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(f, "{text:?} is not SCHEMA.NAME, the name of a function")
    }
}

impl Error for FunctionNameError {}

/// What the function is asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Whose this is.
    pub token: &'a str,
    /// Whence it came, where that is known.
    pub address: Option<&'a str>,
    /// With which path, if it came with a request.
    pub path: Option<&'a str>,
}

/// Without the token.
impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("address", &self.address)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What the function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `(token text, address text, path text)`
    Three,
    /// `(token text)`
    One,
}

/// What the function says of the bearer of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Who it is.
    pub identity: Option<String>,
    /// The patterns of the channels to subscribe to; `None`: what everybody may.
    pub subscribe: Option<Vec<String>>,
    /// Those of the channels to publish to.
    pub publish: Option<Vec<String>>,
    /// The end of it, in milliseconds since 1970; `None`: never.
    pub ends_at: Option<i64>,
}

/// A row as the function's statement has it: each value in its binary form.
pub(super) type Row = Vec<Option<Vec<u8>>>;

/// What a row says; `Ok(None)`: the token is nobody's. `Err`: it is none of the rows that were asked
/// for.
pub(super) fn bearer(form: Form, row: &Row) -> Result<Option<Bearer>, ()> {
    let text = |value: &Option<Vec<u8>>| match value {
        Some(bytes) => String::from_utf8(bytes.clone()).map(Some).map_err(|_| ()),
        None => Ok(None),
    };
    match (form, &row[..]) {
        (Form::Three, [identity, subscribe, publish, ends_at]) => Ok(Some(Bearer {
            identity: text(identity)?,
            subscribe: subscribe.as_deref().map(texts).transpose()?,
            publish: publish.as_deref().map(texts).transpose()?,
            ends_at: match ends_at {
                Some(bytes) => Some(i64::from_be_bytes(bytes[..].try_into().map_err(|_| ())?)),
                None => None,
            },
        })),
        (Form::One, [identity, is_authenticated]) => match is_authenticated.as_deref() {
            Some([1]) => Ok(Some(Bearer {
                identity: text(identity)?,
                subscribe: None,
                publish: None,
                ends_at: None,
            })),
            Some([0]) | None => Ok(None),
            Some(_) => Err(()),
        },
        (Form::Three | Form::One, _) => Err(()),
    }
}

/// The values of a DataRow.
pub(super) fn row(body: &[u8]) -> Option<Row> {
    let (count, mut rest) = body.split_first_chunk()?;
    let mut row = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        row.push(value(&mut rest)?.map(<[u8]>::to_vec));
    }
    rest.is_empty().then_some(row)
}

/// One value behind its length, where -1 is null.
fn value<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (bytes, behind) = rest.split_first_chunk()?;
    let Ok(bytes) = usize::try_from(i32::from_be_bytes(*bytes)) else {
        *rest = behind;
        return Some(None);
    };
    let (value, behind) = behind.split_at_checked(bytes)?;
    *rest = behind;
    Some(Some(value))
}

/// The elements of a `text[]`, whatever its dimensions, without those that are null (array_send).
fn texts(bytes: &[u8]) -> Result<Vec<String>, ()> {
    let (dimensions, rest) = bytes.split_first_chunk().ok_or(())?;
    // Whether there are nulls, and the type of the elements.
    let mut rest = rest.get(8..).ok_or(())?;
    let mut count = usize::from(u32::from_be_bytes(*dimensions) > 0);
    for _ in 0..u32::from_be_bytes(*dimensions) {
        // The length of the dimension, and where it begins.
        let (length, behind) = rest.split_first_chunk().ok_or(())?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| ())?;
        count = count.checked_mul(length).ok_or(())?;
        rest = behind.get(4..).ok_or(())?;
    }
    let mut texts = Vec::new();
    for _ in 0..count {
        if let Some(text) = value(&mut rest).ok_or(())? {
            texts.push(String::from_utf8(text.to_vec()).map_err(|_| ())?);
        }
    }
    Ok(texts)
}

/// What PostgreSQL keeps of an identifier.
const IDENTIFIER_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_schema() {
        for (text, is_name) in [
            ("auth.check", true),
            ("Auth.Check It", true),
            ("check", false),
            ("a.b.c", false),
            (".b", false),
            ("a.", false),
            ("a.b()", false),
            ("a.\"b\"", false),
            ("a. b", false),
            ("", false),
        ] {
            assert_eq!(FunctionName::parse(text).is_ok(), is_name, "{text}");
        }
    }

    fn array(dimensions: &[u32], elements: &[Option<&str>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |number: u32| bytes.extend_from_slice(&number.to_be_bytes());
        put(u32::try_from(dimensions.len()).unwrap());
        put(1);
        put(25);
        for &length in dimensions {
            put(length);
            put(1);
        }
        for element in elements {
            let length = element.map_or(u32::MAX, |it| u32::try_from(it.len()).unwrap());
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(element.unwrap_or_default().as_bytes());
        }
        bytes
    }

    #[test]
    fn an_array_is_taken_apart_or_refused() {
        assert_eq!(texts(&array(&[], &[])), Ok(vec![]));
        let pair = array(&[2], &[Some("a,*"), Some("")]);
        assert_eq!(texts(&pair), Ok(vec!["a,*".to_owned(), String::new()]));
        let with_null = array(&[1, 2], &[None, Some("b")]);
        assert_eq!(texts(&with_null), Ok(vec!["b".to_owned()]));
        for length in 0..pair.len() {
            assert_eq!(texts(&pair[..length]), Err(()), "{length}");
        }
        assert_eq!(texts(&array(&[u32::MAX, u32::MAX, u32::MAX], &[])), Err(()));
    }

    #[test]
    fn a_row_says_whose_the_token_is() {
        let row = |values: &[Option<&[u8]>]| -> Row {
            values.iter().map(|it| it.map(<[u8]>::to_vec)).collect()
        };
        let somebody = Bearer {
            identity: Some("ann".to_owned()),
            subscribe: None,
            publish: None,
            ends_at: None,
        };
        let ann = Some(&b"ann"[..]);
        for (found, expected) in [
            (
                bearer(Form::One, &row(&[ann, Some(&[1])])),
                Ok(Some(somebody.clone())),
            ),
            (bearer(Form::One, &row(&[ann, Some(&[0])])), Ok(None)),
            (bearer(Form::One, &row(&[ann, None])), Ok(None)),
            (bearer(Form::One, &row(&[ann])), Err(())),
            (
                bearer(Form::Three, &row(&[ann, None, None, None])),
                Ok(Some(somebody)),
            ),
            (
                bearer(Form::Three, &row(&[ann, None, None, Some(&[1])])),
                Err(()),
            ),
            (
                bearer(Form::Three, &row(&[Some(&[0xff]), None, None, None])),
                Err(()),
            ),
        ] {
            assert_eq!(found, expected);
        }
        let subscribe = array(&[1], &[Some("user.*")]);
        let end = 1_000_i64.to_be_bytes();
        let found = bearer(
            Form::Three,
            &row(&[None, Some(&subscribe), None, Some(&end)]),
        );
        let found = found.unwrap().unwrap();
        assert_eq!(found.subscribe, Some(vec!["user.*".to_owned()]));
        assert_eq!((found.identity, found.ends_at), (None, Some(1_000)));
    }
}
