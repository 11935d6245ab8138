//! Tokens with their ids and permissions, and the format of their file.
//!
//! Reads no file: text in, tokens out. Tokens that are read again keep their ids: the id of a
//! client's token stays the same.

use std::{collections::HashMap, fmt, num::NonZeroU32};

use super::{Permissions, globs::Globs, secret::Secret};

/// The id of a token. It is never used again for another token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenId(NonZeroU32);

impl TokenId {
    /// The id of a grant. A token of a file has none of these: they would take 200,000 files.
    pub(super) fn of_grant(at: usize) -> Self {
        let at = u32::try_from(at).expect("clients are fewer than 2^31");
        Self(NonZeroU32::new(GRANTS | at).expect("one bit is set"))
    }

    /// Which grant it is of, if it is of one.
    pub(super) fn grant(self) -> Option<usize> {
        let id = self.0.get();
        (id & GRANTS > 0).then_some((id & !GRANTS) as usize)
    }
}

/// All valid tokens.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// By ascending id, and each secret once.
    tokens: Vec<Token>,
    /// The id of each token. The hash has a random key: the positions of secrets in the table tell
    /// nothing of their bytes, and two that collide are compared as secrets.
    ids: HashMap<Secret, TokenId>,
    /// The id of the next new token.
    next: NonZeroU32,
}

#[derive(Clone, Debug)]
struct Token {
    id: TokenId,
    secret: Secret,
    permissions: Permissions,
}

impl Tokens {
    /// The longest token, in bytes.
    pub const TOKEN_BYTES_MAX: usize = 512;
    /// What is shorter can be guessed, in characters (RFC 6749, 10.10: 128 random bits; base64 has
    /// 6 in a character, and a word of a language far less).
    pub const SAFE_BYTES_MIN: usize = 16;
    /// The most tokens.
    pub const COUNT_MAX: usize = 10_000;

    /// Reads a file of tokens: one a line, `TOKEN [subscribe=GLOBS] [publish=GLOBS]`, separated by
    /// spaces or tabs; what begins with `#` is a comment. A token is printable ASCII.
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        Self::parse_within(text, Self::TOKEN_BYTES_MAX)
    }

    /// The same with tokens of at most so many bytes: a client may have one that is longer than a
    /// bridge would take from such a file.
    pub fn parse_within(text: &str, token_bytes_max: usize) -> Result<Self, TokensError> {
        let mut tokens = Self {
            tokens: Vec::new(),
            ids: HashMap::new(),
            next: NonZeroU32::MIN,
        };
        for (line, number) in text.lines().zip(1..) {
            let at_line = |cause| TokensError::Line(number, cause);
            let Some((secret, permissions)) = parse_line(line, token_bytes_max).map_err(at_line)?
            else {
                continue;
            };
            if tokens.tokens.len() == Self::COUNT_MAX {
                return Err(TokensError::TooMany);
            }
            if tokens.ids.contains_key(&secret) {
                return Err(at_line(LineError::Repeated));
            }
            let id = tokens.next_id();
            tokens.push(id, secret, permissions);
        }
        if tokens.tokens.is_empty() {
            return Err(TokensError::None);
        }
        Ok(tokens)
    }

    /// The first token of such a file, for a client that has to present one.
    pub fn first(&self) -> &Secret {
        &self.tokens[0].secret
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.tokens.len()
    }

    /// How many of them are shorter than [`Self::SAFE_BYTES_MIN`].
    pub fn short_count(&self) -> usize {
        let is_short = |it: &&Token| it.secret.expose().len() < Self::SAFE_BYTES_MIN;
        self.tokens.iter().filter(is_short).count()
    }

    /// The id of a presented token. The cost does not depend on the number of tokens.
    pub(super) fn find(&self, presented: &Secret) -> Option<TokenId> {
        if presented.expose().len() > Self::TOKEN_BYTES_MAX {
            return None;
        }
        self.ids.get(presented).copied()
    }

    /// The permissions of a token; `None` if it was removed.
    pub(super) fn permissions(&self, id: TokenId) -> Option<&Permissions> {
        let found = self.tokens.binary_search_by_key(&id.0, |it| it.id.0);
        found.ok().map(|at| &self.tokens[at].permissions)
    }

    /// Takes over the tokens of a file read again: known ones keep their ids.
    pub fn replace(&mut self, read: Self) {
        let known = std::mem::replace(&mut self.ids, read.ids);
        let mut tokens = read.tokens;
        for Token { id, secret, .. } in &mut tokens {
            *id = known.get(secret).copied().unwrap_or_else(|| self.next_id());
            if let Some(own) = self.ids.get_mut(secret) {
                *own = *id;
            }
        }
        self.tokens = tokens;
        self.tokens.sort_by_key(|token| token.id.0);
    }

    fn push(&mut self, id: TokenId, secret: Secret, permissions: Permissions) {
        self.ids.insert(secret.clone(), id);
        self.tokens.push(Token {
            id,
            secret,
            permissions,
        });
    }

    fn next_id(&mut self) -> TokenId {
        let id = TokenId(self.next);
        // 10,000 new tokens in each of 400,000 files come first.
        self.next = self.next.saturating_add(1);
        id
    }
}

/// What only ids of grants have in them.
const GRANTS: u32 = 1 << 31;

fn parse_line(
    line: &str,
    token_bytes_max: usize,
) -> Result<Option<(Secret, Permissions)>, LineError> {
    let is_text = |field: &&str| !field.starts_with('#');
    let mut fields = line.split_ascii_whitespace().take_while(is_text);
    let Some(token) = fields.next() else {
        return Ok(None);
    };
    if token.len() > token_bytes_max {
        return Err(LineError::TooLong);
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(LineError::NotAscii);
    }
    let (mut subscribe, mut publish) = (None, None);
    for field in fields {
        let (globs, list) = match field.split_once('=') {
            Some(("subscribe", list)) => (&mut subscribe, list),
            Some(("publish", list)) => (&mut publish, list),
            Some(_) | None => return Err(LineError::UnknownField),
        };
        if globs.replace(Globs::parse(list)).is_some() {
            return Err(LineError::UnknownField);
        }
    }
    let permissions = Permissions {
        subscribe: subscribe.unwrap_or_default(),
        publish: publish.unwrap_or_default(),
    };
    Ok(Some((Secret::new(token), permissions)))
}

/// Why a text is not a file of tokens. Shows none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokensError {
    /// The text has no token: no client could connect.
    None,
    /// More than [`Tokens::COUNT_MAX`].
    TooMany,
    /// The line of this number, counted from 1, is malformed.
    Line(usize, LineError),
}

/// The error in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// The token is on an earlier line already.
    Repeated,
    /// The token is over [`Tokens::TOKEN_BYTES_MAX`].
    TooLong,
    /// The token has other bytes than printable ASCII, and could not be sent in a header.
    NotAscii,
    /// A field behind the token that is not one of the two, or is there twice.
    UnknownField,
}

impl fmt::Display for TokensError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, cause) = match self {
            Self::None => return f.write_str("there is no token in it"),
            Self::TooMany => {
                return write!(f, "there are more than {} tokens in it", Tokens::COUNT_MAX);
            }
            Self::Line(line, cause) => (line, cause),
        };
        write!(f, "line {line}: ")?;
        match cause {
            LineError::Repeated => f.write_str("this token was on an earlier line already"),
            LineError::TooLong => {
                write!(f, "a token has at most {} bytes", Tokens::TOKEN_BYTES_MAX)
            }
            LineError::NotAscii => f.write_str("a token is printable ASCII"),
            LineError::UnknownField => f.write_str(
                "behind the token come subscribe=GLOBS and publish=GLOBS, each once at most",
            ),
        }
    }
}

impl std::error::Error for TokensError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(tokens: &Tokens, token: &str) -> Option<TokenId> {
        tokens.find(&Secret::new(token))
    }

    #[test]
    fn a_file_has_tokens_comments_and_permissions() {
        let text = "# who may come in\n\n  ann\t subscribe=a,b*   publish=  # reads only\r\n\
                    bob publish=x\n#eve\nc2VjcmV0==\nsubscribe=x\n";
        let tokens = Tokens::parse(text).unwrap();
        assert_eq!(tokens.first(), &Secret::new("ann"));
        for (token, subscribe, publish) in [
            ("ann", Globs::parse("a,b*"), Globs::parse("")),
            ("bob", Globs::default(), Globs::parse("x")),
            ("c2VjcmV0==", Globs::default(), Globs::default()),
            ("subscribe=x", Globs::default(), Globs::default()),
        ] {
            let id = id_of(&tokens, token).expect(token);
            let expected = Permissions { subscribe, publish };
            assert_eq!(tokens.permissions(id), Some(&expected), "{token}");
        }
        for stranger in ["", "#eve", "eve", "#", "Ann", "an", "anna", "ann "] {
            assert_eq!(id_of(&tokens, stranger), None, "{stranger:?}");
        }
    }

    #[test]
    fn a_malformed_file_is_refused_by_line_and_not_shown() {
        use LineError::{NotAscii, Repeated, UnknownField};
        for (text, error) in [
            ("", TokensError::None),
            ("# none\n \n", TokensError::None),
            ("ann\nbob\nann", TokensError::Line(3, Repeated)),
            ("ann\nb\u{e9}", TokensError::Line(2, NotAscii)),
            ("ann\u{0}", TokensError::Line(1, NotAscii)),
            ("ann secret", TokensError::Line(1, UnknownField)),
            ("ann read=x", TokensError::Line(1, UnknownField)),
            ("ann Subscribe=x", TokensError::Line(1, UnknownField)),
            (
                "ann subscribe=x subscribe=y",
                TokensError::Line(1, UnknownField),
            ),
        ] {
            assert_eq!(Tokens::parse(text).unwrap_err(), error, "{text:?}");
            assert!(!error.to_string().contains("ann"));
        }
    }

    #[test]
    fn a_token_has_at_most_512_bytes_and_a_file_10_000_tokens() {
        for (bytes, is_taken) in [(511, true), (512, true), (513, false)] {
            let token = "x".repeat(bytes);
            assert_eq!(Tokens::parse(&token).is_ok(), is_taken, "{bytes}");
        }
        for (count, is_taken) in [(9_999, true), (10_000, true), (10_001, false)] {
            let lines: Vec<_> = (0..count).map(|number| number.to_string()).collect();
            let parsed = Tokens::parse(&lines.join("\n"));
            assert_eq!(parsed.is_ok(), is_taken, "{count}");
        }
    }

    #[test]
    fn tokens_of_less_than_16_characters_are_short() {
        for (bytes, short) in [(15, 1), (16, 0), (17, 0)] {
            let text = format!("{}\n{}", "x".repeat(bytes), "y".repeat(40));
            assert_eq!(
                Tokens::parse(&text).unwrap().short_count(),
                short,
                "{bytes}"
            );
        }
    }

    #[test]
    fn tokens_read_again_keep_their_ids_and_new_ones_get_new_ones() {
        let mut tokens = Tokens::parse("ann\nbob\neve").unwrap();
        let [ann, bob, eve] = ["ann", "bob", "eve"].map(|it| id_of(&tokens, it).unwrap());
        tokens.replace(Tokens::parse("carl\neve publish=\nann").unwrap());
        assert_eq!(id_of(&tokens, "ann"), Some(ann));
        assert_eq!(id_of(&tokens, "eve"), Some(eve));
        assert_eq!(id_of(&tokens, "bob"), None);
        assert_eq!(tokens.permissions(bob), None);
        assert!(!tokens.permissions(eve).unwrap().publish.matches("x"));
        let carl = id_of(&tokens, "carl").unwrap();
        assert!(![ann, bob, eve].contains(&carl));
        tokens.replace(Tokens::parse("bob").unwrap());
        let again = id_of(&tokens, "bob").unwrap();
        assert!(![ann, bob, eve, carl].contains(&again), "it was removed");
    }
}
