//! The header fields of one message.
//!
//! Owns the rules for fields that may come once and for comma-separated lists. Knows no field.

use std::str;

use httparse::Header;

use super::response::Status;

/// The fields of a head, borrowed from where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Fields<'a> {
    pub(super) fn new(headers: &[Header<'a>]) -> Self {
        let fields = headers.iter();
        Self(fields.map(|it| (it.name, it.value.trim_ascii())).collect())
    }

    /// Whether there is a field of this name.
    pub fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The value of a field that may come once, in printable ASCII.
    pub fn single(&self, name: &str) -> Result<Option<&'a str>, Status> {
        let mut values = self.values(name);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        match str::from_utf8(value) {
            Ok(value) if value.is_ascii() && values.next().is_none() => Ok(Some(value)),
            Ok(_) | Err(_) => Err(Status::BadRequest),
        }
    }

    /// Whether one of the comma-separated lists of this name contains `token`, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name)
            .any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The items of the comma-separated lists of this name.
    pub fn tokens(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name)
            .flat_map(|list| list.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
    }

    /// The values of the fields of this name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |(it, _)| it.eq_ignore_ascii_case(name))
            .map(|&(_, value)| value)
    }
}
