//! What a function of the database said of a token, and for how long that is remembered.
//!
//! The clock is an argument. Refuses to know how the function is asked, and who waits for it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use super::{Credential, Grant, Permissions, secret::Secret};

/// What the function granted to the bearer of a token.
#[derive(Clone, PartialEq, Eq)]
pub struct FunctionGrant {
    identity: Option<Box<str>>,
    own: Permissions,
    /// For asking again.
    token: Secret,
}

/// A token, without showing it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenDigest([u8; 32]);

/// The answers of the function, by token: those of which the last use is the longest ago make room.
#[derive(Debug)]
pub struct Verdicts {
    /// As many as there are in `order`.
    known: HashMap<TokenDigest, Known>,
    /// From the one that was used the longest ago.
    order: BTreeMap<u64, TokenDigest>,
    next: u64,
    count_max: usize,
}

#[derive(Debug)]
struct Known {
    /// `None`: the token is nobody's.
    credential: Option<Credential>,
    until: Instant,
    /// Its place in the order.
    used: u64,
}

impl FunctionGrant {
    pub(super) fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// What it permits, within what everybody may.
    pub(super) fn permissions(&self) -> &Permissions {
        &self.own
    }
}

/// Without the token.
impl fmt::Debug for FunctionGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionGrant")
            .field("identity", &self.identity)
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

impl Credential {
    /// What the function granted to the bearer of the token, until so many milliseconds after the
    /// beginning of 1970.
    pub fn of_function(
        token: Secret,
        identity: Option<String>,
        own: Permissions,
        ends_at: Option<i64>,
    ) -> Self {
        let identity = identity.map(Into::into);
        let grant = FunctionGrant {
            identity,
            own,
            token,
        };
        // What ended before 1970 has ended.
        let end = ends_at.map(|it| u64::try_from(it).unwrap_or(0).max(1));
        Self {
            grant: Grant::Function(Arc::new(grant)),
            ends_at: end.and_then(NonZeroU64::new),
        }
    }

    /// The token, if the function is to be asked about it again.
    pub fn token_of_function(&self) -> Option<&Secret> {
        match &self.grant {
            Grant::Function(grant) => Some(&grant.token),
            Grant::Token(_) | Grant::Jwt(_) | Grant::Certificate(_) => None,
        }
    }
}

impl TokenDigest {
    /// Of this token.
    pub fn of(token: &Secret) -> Self {
        Self(Sha256::digest(token.expose()).into())
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

impl Verdicts {
    /// At most so many.
    pub fn new(count_max: usize) -> Self {
        Self {
            known: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            count_max,
        }
    }

    /// What was said of the token, if it was a short while ago.
    pub fn find(&mut self, token: TokenDigest, now: Instant) -> Option<Option<Credential>> {
        let known = self.known.get_mut(&token)?;
        if known.until <= now {
            self.remove(token);
            return None;
        }
        self.order.remove(&known.used);
        known.used = self.next;
        self.order.insert(self.next, token);
        self.next += 1;
        Some(known.credential.clone())
    }

    /// The function said this. It is not remembered where the end is so near that the function may have
    /// put it off by the next time: it is asked then.
    pub fn insert(
        &mut self,
        token: TokenDigest,
        credential: Option<Credential>,
        now: Instant,
        since_1970: Duration,
    ) {
        self.remove(token);
        let end = credential.as_ref().and_then(Credential::ends_at);
        let time = match end {
            Some(end) if end <= since_1970 => NO_TIME,
            Some(end) if end < since_1970 + YES_TIME + END_TOLD => return,
            Some(_) => YES_TIME,
            None if credential.is_some() => YES_TIME,
            None => NO_TIME,
        };
        if self.known.len() >= self.count_max {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            self.known.remove(&oldest);
        }
        let known = Known {
            credential,
            until: now + time,
            used: self.next,
        };
        self.known.insert(token, known);
        self.order.insert(self.next, token);
        self.next += 1;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.known.clear();
        self.order.clear();
    }

    fn remove(&mut self, token: TokenDigest) {
        if let Some(known) = self.known.remove(&token) {
            self.order.remove(&known.used);
        }
    }
}

/// For so long a token is somebody's without another question.
pub const YES_TIME: Duration = Duration::from_secs(60);
/// So long before its end a client is to bring its token again.
const END_TOLD: Duration = Duration::from_secs(60);
/// For so long it is nobody's.
pub const NO_TIME: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    const TODAY: Duration = Duration::from_secs(1_800_000_000);

    fn digest(token: &str) -> TokenDigest {
        TokenDigest::of(&Secret::new(token))
    }

    fn credential(token: &str) -> Credential {
        Credential::of_function(Secret::new(token), None, Permissions::default(), None)
    }

    #[test]
    fn a_yes_holds_for_60_s_and_a_no_for_5() {
        let now = start();
        let mut verdicts = Verdicts::new(10);
        verdicts.insert(digest("ann"), Some(credential("ann")), now, TODAY);
        verdicts.insert(digest("eve"), None, now, TODAY);
        let before = Duration::from_millis(1);
        for (token, time, expected) in [
            ("eve", NO_TIME - before, Some(None)),
            ("eve", NO_TIME, None),
            ("ann", YES_TIME - before, Some(Some(credential("ann")))),
            ("ann", YES_TIME, None),
            ("bob", Duration::ZERO, None),
        ] {
            assert_eq!(
                verdicts.find(digest(token), now + time),
                expected,
                "{token}"
            );
        }
        assert!(verdicts.known.is_empty() && verdicts.order.is_empty());
    }

    #[test]
    fn the_one_that_was_used_the_longest_ago_makes_room() {
        let now = start();
        let mut verdicts = Verdicts::new(2);
        verdicts.insert(digest("ann"), None, now, TODAY);
        verdicts.insert(digest("bob"), None, now, TODAY);
        assert!(verdicts.find(digest("ann"), now).is_some());
        verdicts.insert(digest("eve"), None, now, TODAY);
        verdicts.insert(digest("eve"), None, now, TODAY);
        for (token, is_known) in [("ann", true), ("bob", false), ("eve", true)] {
            let found = verdicts.find(digest(token), now);
            assert_eq!(found.is_some(), is_known, "{token}");
        }
        verdicts.clear();
        assert_eq!(verdicts.find(digest("ann"), now), None);
        let mut none = Verdicts::new(0);
        none.insert(digest("ann"), None, now, TODAY);
        assert_eq!(none.find(digest("ann"), now), None);
    }

    /// A session that is prolonged by use: whoever comes again near its end gets the new one.
    #[test]
    fn a_yes_is_not_remembered_into_the_last_minute_before_its_end() {
        let now = start();
        let mut verdicts = Verdicts::new(10);
        let minute = Duration::from_secs(60);
        let before = Duration::from_millis(1);
        for (left, remembered) in [
            (2 * minute, Some(YES_TIME)),
            (2 * minute - before, None),
            (before, None),
            (Duration::ZERO, Some(NO_TIME)),
        ] {
            let end = i64::try_from((TODAY + left).as_millis()).unwrap();
            let permissions = Permissions::default();
            let ann = Credential::of_function(Secret::new("ann"), None, permissions, Some(end));
            verdicts.insert(digest("ann"), Some(ann), now, TODAY);
            let mut is_known_after = |time| verdicts.find(digest("ann"), now + time).is_some();
            assert_eq!(
                is_known_after(Duration::ZERO),
                remembered.is_some(),
                "{left:?}"
            );
            if let Some(time) = remembered {
                assert!(is_known_after(time - before) && !is_known_after(time));
            }
        }
    }

    #[test]
    fn no_token_is_shown() {
        let shown = format!("{:?} {:?}", credential("s3cret"), digest("s3cret"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
