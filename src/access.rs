//! Who may come in, and who may subscribe and publish where.
//!
//! The one place that decides it, and the seam for other ways to know a client: each answers a token
//! with a [`Credential`] or a [`Denial`]. The order: where there are keys for JWTs, a token with two
//! dots is one, and its failure is final; any other is looked for in the file of tokens; and whose one
//! that is not there is, a function of the database may say.
//!
//! Where somebody else has to be asked ([`Access::is_asked`]), the client waits as a
//! [`visitor::Visitor`], and the [`visitor::Verdict`] on it becomes a grant: permissions under an id
//! that are this client's alone.
//!
//! Pure and without a protocol: it is given values and says yes or no; what a refusal looks like,
//! and what becomes of the client, others know.

pub mod certificate;
pub mod cookie;
pub mod function;
pub mod globs;
pub mod grants;
pub mod intent;
pub mod jwt;
pub mod origins;
pub mod proxies;
pub mod question;
pub mod secret;
pub mod shared;
pub mod templates;
pub mod tokens;
pub mod visitor;

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use self::{
    certificate::CertificateGrant,
    cookie::TokenCookie,
    function::FunctionGrant,
    globs::Globs,
    grants::Grants,
    jwt::{Jwt, JwtFault, JwtGrant, Keys},
    origins::{OriginPolicy, Refusal},
    secret::Secret,
    shared::SharedGrants,
    tokens::{TokenId, Tokens},
};

/// The rules, as they were configured.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Which web pages may talk to us.
    pub origins: OriginPolicy,
    /// What anybody may do; a token narrows it.
    pub everybody: Permissions,
    /// Whom a token lets in; `None`: there is no file of tokens.
    pub tokens: Option<Tokens>,
    /// Whom a JWT lets in; `None`: there are no keys.
    pub jwt: Option<Jwt>,
    /// Whether a certificate of the client's own counts as a token does.
    pub has_certificates: bool,
    /// Whether a function of the database is asked about tokens that are neither JWTs nor in the file.
    pub has_function: bool,
    /// The cookie that may bring a token; `None`: none does.
    pub cookie: Option<TokenCookie>,
    /// What the JWTs of clients have in common.
    pub shared: SharedGrants,
    /// Whether somebody is asked about each client that wants to come in, instead of looking at a
    /// token of its request.
    pub is_asked: bool,
    /// Whether somebody is asked about each subscribe and each publish as well, once these rules allow it.
    pub asks_intents: bool,
    /// To those that were let in.
    pub grants: Grants,
}

/// The channels one may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Permissions {
    /// Those one may subscribe to.
    pub subscribe: Globs,
    /// Those one may publish to.
    pub publish: Globs,
}

/// What let a client in. It costs little: what several clients have in common, they share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    grant: Grant,
    /// In milliseconds since 1970.
    ends_at: Option<NonZeroU64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Grant {
    Token(TokenId),
    Jwt(Arc<JwtGrant>),
    Function(Arc<FunctionGrant>),
    Certificate(Arc<CertificateGrant>),
}

impl Credential {
    /// When it comes to its end, as the time since 1970; `None`: never.
    pub fn ends_at(&self) -> Option<Duration> {
        self.ends_at.map(|it| Duration::from_millis(it.get()))
    }

    /// Whose it is, where that has a name: the `sub` of a JWT. Never the token.
    pub fn identity(&self) -> Option<&str> {
        match &self.grant {
            Grant::Token(_) => None,
            Grant::Jwt(grant) => grant.identity(),
            Grant::Function(grant) => grant.identity(),
            Grant::Certificate(grant) => Some(grant.identity()),
        }
    }

    /// Whether the other one is for the same, but for its end.
    pub fn grants_the_same(&self, other: &Self) -> bool {
        self.grant == other.grant
    }
}

/// Why a token lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It is nobody's.
    Unknown,
    /// It is a JWT, and not a good one.
    Jwt(JwtFault),
}

/// What was read again.
#[derive(Debug)]
pub struct Credentials {
    /// The file of tokens, where there is one.
    pub tokens: Option<Tokens>,
    /// The keys for JWTs, where there are some.
    pub keys: Option<Keys>,
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

    /// Checks a request whose token is the cookie's or a certificate: a browser may have added it for any page. One
    /// without `Origin` has to say by `Sec-Fetch-Site` that no other page made it.
    pub fn check_cookie_origin(
        &self,
        host: Option<&str>,
        origin: Option<&str>,
        fetch_site: Option<&str>,
    ) -> Result<(), Refusal> {
        self.origins.check_with_cookie(host, origin, fetch_site)
    }

    /// Whether a page of this origin may make requests with the cookies, or the certificate, of whoever
    /// looks at it.
    pub fn may_send_cookies(&self, host: Option<&str>, origin: &str) -> bool {
        let checked = || self.check_cookie_origin(host, Some(origin), None);
        (self.cookie.is_some() || self.has_certificates) && checked().is_ok()
    }

    /// Whether clients have to say who they are.
    pub fn is_token_required(&self) -> bool {
        self.tokens.is_some() || self.jwt.is_some() || self.has_function || self.has_certificates
    }

    /// Whether the token is taken for a JWT: to verify one costs far more than to look one up.
    pub fn is_jwt(&self, token: &Secret) -> bool {
        let dots = token.expose().bytes().filter(|&byte| byte == b'.');
        self.jwt.is_some() && dots.count() == 2
    }

    /// What the token lets its bearer do, if it is anybody's. `now` is the time since 1970.
    pub fn authenticate(&mut self, token: &Secret, now: Duration) -> Result<Credential, Denial> {
        if let Some(jwt) = self.jwt.as_ref().filter(|_| self.is_jwt(token)) {
            let (grant, end) = jwt.verify(token.expose(), now).map_err(Denial::Jwt)?;
            let milliseconds = |end: Duration| u64::try_from(end.as_millis()).unwrap_or(u64::MAX);
            return Ok(Credential {
                grant: Grant::Jwt(self.shared.share(grant)),
                ends_at: end.and_then(|end| NonZeroU64::new(milliseconds(end))),
            });
        }
        let found = self.tokens.as_ref().and_then(|it| it.find(token));
        let id = found.ok_or(Denial::Unknown)?;
        Ok(Credential {
            grant: Grant::Token(id),
            ends_at: None,
        })
    }

    /// Takes over what was read again.
    pub fn replace(&mut self, read: Credentials) {
        if let Some(read) = read.tokens {
            match &mut self.tokens {
                Some(tokens) => tokens.replace(read),
                None => self.tokens = Some(read),
            }
        }
        if let (Some(jwt), Some(read)) = (&mut self.jwt, read.keys) {
            jwt.replace_keys(read);
        }
    }

    /// Whether what a client presented earlier still lets it in, its end aside: that is for the
    /// clock to say.
    pub fn is_current(&self, credential: &Credential) -> bool {
        match &credential.grant {
            Grant::Token(id) => self.of_token(*id).is_some(),
            Grant::Jwt(grant) => self.jwt.as_ref().is_some_and(|it| it.is_current(grant)),
            Grant::Function(_) => self.has_function,
            Grant::Certificate(_) => self.has_certificates,
        }
    }

    /// Whether the channel may be subscribed to, with this or, where no token is required, with
    /// nothing.
    pub fn may_subscribe(&self, credential: Option<&Credential>, channel: &str) -> bool {
        let everybody = &self.everybody.subscribe;
        match credential.map(|it| &it.grant) {
            // Where somebody is asked, that has said yes already.
            None => (self.is_asked || !self.is_token_required()) && everybody.matches(channel),
            Some(Grant::Token(id)) => {
                let own = self.of_token(*id);
                everybody.matches(channel) && own.is_some_and(|it| it.subscribe.matches(channel))
            }
            Some(Grant::Jwt(grant)) => grant.may_subscribe(everybody, channel),
            Some(Grant::Function(grant)) => {
                let own = &grant.permissions().subscribe;
                everybody.matches(channel) && own.matches(channel)
            }
            Some(Grant::Certificate(_)) => everybody.matches(channel),
        }
    }

    /// How many patterns [`Self::may_subscribe`] may have to look at.
    pub fn subscribe_steps(&self, credential: Option<&Credential>) -> usize {
        let own = match credential.map(|it| &it.grant) {
            None | Some(Grant::Certificate(_)) => 0,
            Some(Grant::Token(id)) => self.of_token(*id).map_or(0, |it| it.subscribe.steps()),
            Some(Grant::Jwt(grant)) => grant.subscribe_steps(),
            Some(Grant::Function(grant)) => grant.permissions().subscribe.steps(),
        };
        self.everybody.subscribe.steps() + own
    }

    /// Whether the channel may be published to.
    pub fn may_publish(&self, credential: Option<&Credential>, channel: &str) -> bool {
        let everybody = &self.everybody.publish;
        match credential.map(|it| &it.grant) {
            // Where somebody is asked, that has said yes already.
            None => (self.is_asked || !self.is_token_required()) && everybody.matches(channel),
            Some(Grant::Token(id)) => {
                let own = self.of_token(*id);
                everybody.matches(channel) && own.is_some_and(|it| it.publish.matches(channel))
            }
            Some(Grant::Jwt(grant)) => grant.may_publish(everybody, channel),
            Some(Grant::Function(grant)) => {
                let own = &grant.permissions().publish;
                everybody.matches(channel) && own.matches(channel)
            }
            Some(Grant::Certificate(_)) => everybody.matches(channel),
        }
    }

    /// Whether no client may publish to any channel, whatever its token: the bridge only listens.
    pub fn is_publishing_forbidden(&self) -> bool {
        self.everybody.publish.is_nothing()
    }

    /// A client may come in with these permissions, until [`Self::release`].
    pub fn grant(&mut self, permissions: Permissions) -> Credential {
        Credential {
            grant: Grant::Token(self.grants.insert(permissions)),
            ends_at: None,
        }
    }

    /// A client that came in by this has these permissions from now on. Whether it is a grant.
    pub fn grant_anew(&mut self, credential: &Credential, permissions: Permissions) -> bool {
        match &credential.grant {
            Grant::Token(id) => self.grants.replace(*id, permissions),
            Grant::Jwt(_) | Grant::Function(_) | Grant::Certificate(_) => false,
        }
    }

    /// Whoever came in by this is gone, or came in by another now.
    pub fn release(&mut self, credential: &Credential) {
        match &credential.grant {
            Grant::Token(id) => self.grants.release(*id),
            Grant::Jwt(_) | Grant::Function(_) | Grant::Certificate(_) => {}
        }
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
        let mut access = access("a*", Some("ann subscribe=*b publish=x\nbob"));
        let mut find = |token| access.authenticate(&Secret::new(token), Duration::ZERO);
        let (ann, bob) = (find("ann").ok(), find("bob").ok());
        assert!(ann.is_some() && bob.is_some() && ann != bob);
        let (ann, bob) = (ann.as_ref(), bob.as_ref());
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
        let mut without = access("*", None);
        assert!(without.may_subscribe(None, "a") && without.may_publish(None, "a"));
        let mut with = access("*", Some("ann"));
        assert!(!with.may_subscribe(None, "a") && !with.may_publish(None, "a"));
        for (access, token) in [(&mut without, "ann"), (&mut with, "eve")] {
            let found = access.authenticate(&Secret::new(token), Duration::ZERO);
            assert_eq!(found, Err(Denial::Unknown));
        }
    }
}
