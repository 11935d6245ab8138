//! The subprotocols of the WebSocket protocol that a client may offer: ours, and a token in the place
//! of one, since a page can send no header with a handshake.
//!
//! Does not know whether the token is anybody's.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::access::secret::Secret;

/// What a client offers.
#[derive(Debug, Default)]
pub(super) struct Offer {
    /// The one of ours that is spoken.
    pub(super) chosen: Option<&'static str>,
    /// The token among them.
    pub(super) token: Option<Secret>,
    /// Whether there are subprotocols, and none is ours: most clients end the connection then.
    pub(super) is_foreign: bool,
}

impl Offer {
    /// Reads the subprotocols in the order offered.
    pub(super) fn read<'a>(offered: impl Iterator<Item = &'a str>) -> Self {
        let mut offer = Self::default();
        let mut has_any = false;
        for protocol in offered {
            has_any = true;
            if let Some(encoded) = protocol.strip_prefix(BEARER_BASE64) {
                // One that cannot be decoded is nobody's token as it is.
                let token = URL_SAFE_NO_PAD.decode(encoded).ok();
                let token = token.and_then(|token| String::from_utf8(token).ok());
                let token = Secret::new(token.as_deref().unwrap_or(protocol));
                offer.token.get_or_insert(token);
            } else if let Some(token) = protocol.strip_prefix(BEARER) {
                offer.token.get_or_insert_with(|| Secret::new(token));
            } else if protocol == NEWEST {
                offer.chosen = Some(NEWEST);
            } else if protocol == ANY {
                offer.chosen.get_or_insert(ANY);
            }
        }
        offer.is_foreign = has_any && offer.chosen.is_none();
        offer
    }
}

/// This version of the JSON protocol.
pub(super) const NEWEST: &str = "alle.v1";
/// Whatever version is the newest.
const ANY: &str = "alle";
/// A token, in the characters of a subprotocol (RFC 9110, 5.6.2).
const BEARER: &str = "alle.bearer.";
/// A token in base64 for URLs, without padding.
const BEARER_BASE64: &str = "alle.bearer64.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_ours_is_chosen_and_never_a_token() {
        for (offered, chosen, is_foreign) in [
            (&[][..], None, false),
            (&["alle.v1"], Some("alle.v1"), false),
            (&["alle"], Some("alle"), false),
            (&["alle", "alle.v1"], Some("alle.v1"), false),
            (&["graphql-ws", "alle"], Some("alle"), false),
            (&["mqtt", "chat"], None, true),
            (&["alle.v2"], None, true),
            (&["Alle.v1"], None, true),
            (&["alle.bearer.abc"], None, true),
            (&["alle.bearer.abc", "alle.v1"], Some("alle.v1"), false),
        ] {
            let offer = Offer::read(offered.iter().copied());
            let found = (offer.chosen, offer.is_foreign);
            assert_eq!(found, (chosen, is_foreign), "{offered:?}");
        }
    }

    #[test]
    fn a_token_comes_as_it_is_or_in_base64() {
        for (offered, token) in [
            (&["alle.v1"][..], None),
            (&["alle.bearer.a.B-1~"], Some("a.B-1~")),
            (&["alle.bearer.a", "alle.bearer.b"], Some("a")),
            (&["alle.bearer64.YS9iPT0"], Some("a/b==")),
            (&["alle.bearer64.w6k"], Some("é")),
            (&["alle.bearer64.!"], Some("alle.bearer64.!")),
            (&["alle.bearer64._w"], Some("alle.bearer64._w")),
        ] {
            let offer = Offer::read(offered.iter().copied());
            assert_eq!(offer.token, token.map(Secret::new), "{offered:?}");
        }
    }
}
