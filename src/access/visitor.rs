//! A client that asks to come in, and the answer of whoever is asked about it.
//!
//! Plain values. Refuses to know how long an answer takes, and what becomes of the client meanwhile.

use std::{fmt, net::IpAddr};

use super::Permissions;
use crate::id::ClientId;

/// A client that asks to come in: its request for an upgrade, for events, or to publish.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Visitor {
    /// The name that its connection has from now on, for as long as it lives.
    pub client: ClientId,
    /// Whence the request comes, where the socket knows: behind a proxy, the proxy's, unless that is
    /// trusted and says for whom it speaks.
    pub address: Option<IpAddr>,
    /// The path and the query, as they were sent.
    pub target: String,
    /// The fields of the head, names and values, in their order. Bytes that are not UTF-8 are
    /// replaced.
    pub fields: Vec<(String, String)>,
}

impl Visitor {
    /// From its parts.
    pub fn new(
        client: ClientId,
        address: Option<IpAddr>,
        target: String,
        fields: Vec<(String, String)>,
    ) -> Self {
        Self {
            client,
            address,
            target,
            fields,
        }
    }

    /// The value of the first field of this name, in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let (_, value) = fields.find(|(it, _)| it.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// The value of this name in the query, as it was sent: nothing in it is decoded.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(it, _)| *it == name).map(|(_, value)| value)
    }
}

/// Without the values, and without the query: there are passwords among them.
impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.fields.iter().map(|(name, _)| name).collect();
        let path = self.target.split('?').next();
        f.debug_struct("Visitor")
            .field("client", &self.client)
            .field("address", &self.address)
            .field("path", &path)
            .field("fields", &names)
            .finish()
    }
}

/// The answer about a [`Visitor`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It may come in, and subscribe and publish as far as both these and the bridge's own
    /// permissions go.
    Admit(Permissions),
    /// It may not: 403, with this line as the body.
    Refuse(String),
    /// It has to say who it is, and did not, or not rightly: 401, with this line as the body.
    Unauthenticated(String),
    /// Nobody can tell at the moment: 503, with this line as the body; to a reader of events, the end of
    /// a stream, which it opens again.
    Unavailable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitor_shows_no_secret() {
        let fields = vec![("Authorization".to_owned(), "Bearer s3cret".to_owned())];
        let client = ClientId {
            slot: 0,
            generation: 0,
        };
        let visitor = Visitor::new(client, None, "/ws?token=s3cret&a=b".to_owned(), fields);
        assert_eq!(visitor.field("authorization"), Some("Bearer s3cret"));
        assert_eq!(visitor.query("token"), Some("s3cret"));
        assert_eq!(visitor.query("c"), None);
        let shown = format!("{visitor:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(
            shown.contains("Authorization") && shown.contains("/ws"),
            "{shown}"
        );
    }
}
