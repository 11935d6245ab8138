//! Who may come in, and who may subscribe and publish where.
//!
//! The one place that decides it, and the seam for other ways to know a client. Who can be known by a
//! credential at once is [`tokens`]' to say. Where somebody else has to be asked
//! ([`Access::is_asked`]), the client waits as a [`visitor::Visitor`], and the
//! [`visitor::Verdict`] on it becomes a grant: permissions under an id that are this client's alone.
//! Pure and without a protocol: it is given values and says yes or no; what a refusal looks like,
//! and what becomes of the client, others know.

pub mod globs;
pub mod grants;
pub mod origins;
pub mod secret;
pub mod tokens;
pub mod visitor;

use self::{
    globs::Globs,
    grants::Grants,
    origins::{OriginPolicy, Refusal},
    secret::Secret,
    tokens::{TokenId, Tokens},
};

/// The rules, as they were configured.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Which web pages may talk to us.
    pub origins: OriginPolicy,
    /// What anybody may do; a token narrows it.
    pub everybody: Permissions,
    /// Whom a token lets in; `None`: none is asked for.
    pub tokens: Option<Tokens>,
    /// Whether somebody is asked about each client that wants to come in, instead of looking at a
    /// token of its request.
    pub is_asked: bool,
    /// To those that were let in.
    pub grants: Grants,
}

/// The channels one may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Those one may subscribe to.
    pub subscribe: Globs,
    /// Those one may publish to.
    pub publish: Globs,
}

impl Access {
    /// Checks the `Host` and `Origin` of any request, whose connection came to a loopback address
    /// or to another one.
    pub fn check_origin(
        &self,
        host: Option<&str>,
        origin: Option<&str>,
        is_to_loopback: bool,
    ) -> Result<(), Refusal> {
        // Whoever is asked may go by a cookie, which a browser adds for any page.
        if self.is_token_required() && !self.is_asked {
            self.origins.check_with_token(host, origin)
        } else {
            self.origins.check(host, origin, is_to_loopback)
        }
    }

    /// Whether clients have to say who they are.
    pub fn is_token_required(&self) -> bool {
        self.tokens.is_some()
    }

    /// Who presents this token, if it is anybody's.
    pub fn authenticate(&self, token: &Secret) -> Option<TokenId> {
        self.tokens.as_ref()?.find(token)
    }

    /// Whether a token presented earlier still lets its client in.
    pub fn is_current(&self, token: TokenId) -> bool {
        self.of_token(token).is_some()
    }

    /// Whether the channel may be subscribed to, with this token or, where none is required,
    /// without one.
    pub fn may_subscribe(&self, token: Option<TokenId>, channel: &str) -> bool {
        self.everybody.subscribe.matches(channel)
            && self.narrows(token, |own| own.subscribe.matches(channel))
    }

    /// How many patterns [`Self::may_subscribe`] may have to look at.
    pub fn subscribe_steps(&self, token: Option<TokenId>) -> usize {
        let own = token.and_then(|token| self.of_token(token));
        self.everybody.subscribe.steps() + own.map_or(0, |own| own.subscribe.steps())
    }

    /// Whether the channel may be published to.
    pub fn may_publish(&self, token: Option<TokenId>, channel: &str) -> bool {
        self.everybody.publish.matches(channel)
            && self.narrows(token, |own| own.publish.matches(channel))
    }

    /// Whether the token's own permissions, where a token is required, say yes.
    fn narrows(&self, token: Option<TokenId>, is_match: impl Fn(&Permissions) -> bool) -> bool {
        match token {
            Some(token) => self.of_token(token).is_some_and(is_match),
            None => !self.is_token_required(),
        }
    }

    /// A client may come in with these permissions, until [`Self::release`].
    pub fn grant(&mut self, permissions: Permissions) -> TokenId {
        self.grants.insert(permissions)
    }

    /// Whoever came in by this is gone, or came in by another now.
    pub fn release(&mut self, token: TokenId) {
        self.grants.release(token);
    }

    /// How many clients are in by a grant.
    pub fn grant_count(&self) -> usize {
        self.grants.len()
    }

    fn of_token(&self, token: TokenId) -> Option<&Permissions> {
        let granted = self.grants.find(token);
        granted.or_else(|| self.tokens.as_ref()?.permissions(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(subscribe: &str, tokens: Option<&str>) -> Access {
        Access {
            everybody: Permissions {
                subscribe: Globs::parse(subscribe),
                publish: Globs::default(),
            },
            tokens: tokens.map(|text| Tokens::parse(text).unwrap()),
            ..Access::default()
        }
    }

    #[test]
    fn a_token_narrows_what_everybody_may_and_never_widens_it() {
        let access = access("a*", Some("ann subscribe=*b publish=x\nbob"));
        let ann = access.authenticate(&Secret::new("ann"));
        let bob = access.authenticate(&Secret::new("bob"));
        assert!(ann.is_some() && bob.is_some() && ann != bob);
        for (channel, by_ann, by_bob) in [
            ("ab", true, true),
            ("a", false, true),
            ("b", false, false),
            ("cb", false, false),
        ] {
            assert_eq!(access.may_subscribe(ann, channel), by_ann, "{channel}");
            assert_eq!(access.may_subscribe(bob, channel), by_bob, "{channel}");
        }
        assert!(access.may_publish(ann, "x") && !access.may_publish(ann, "y"));
        assert!(access.may_publish(bob, "y"));
    }

    #[test]
    fn where_a_token_is_required_nobody_is_nobody() {
        let without = access("*", None);
        assert!(without.may_subscribe(None, "a") && without.may_publish(None, "a"));
        assert_eq!(without.authenticate(&Secret::new("ann")), None);
        let with = access("*", Some("ann"));
        assert!(!with.may_subscribe(None, "a") && !with.may_publish(None, "a"));
        assert_eq!(with.authenticate(&Secret::new("eve")), None);
    }
}
