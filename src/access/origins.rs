//! Which web pages may talk to us: the rules for `Origin` and `Host`.
//!
//! Owns the defence against foreign pages (any page may open a WebSocket to any host) and against
//! DNS rebinding (a name of the page's own that resolves to a loopback address). Refuses to know
//! HTTP: it is given two values and says yes, or which option would have allowed it.

use std::fmt;

/// The rules, as they were configured.
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    /// Origins allowed besides our own, whole (`https://app.example`), or `*` for any.
    pub allow_origins: Vec<String>,
    /// Whether the origins of servers under the loopback's names are allowed, with any port.
    pub allow_local_origins: bool,
    /// Hosts allowed besides the loopback's names, with a port, or without for every port. Where
    /// there is one, the rule about `Host` holds on every address, not on the loopback alone.
    pub allow_hosts: Vec<String>,
}

/// Why a request is refused; says which option allows it. Safe to log and to send: bounded, and
/// cleaned of everything but the characters of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The origin is neither ours nor allowed.
    Origin(String),
    /// The origin is `null`, which names nobody.
    OpaqueOrigin,
    /// The host is neither loopback nor allowed.
    Host(String),
    /// Nothing says which page made a request whose token is a cookie or a certificate.
    Unnamed,
}

impl OriginPolicy {
    /// Checks the `Host` and `Origin` of any request, whose connection came to a loopback address
    /// or to another one.
    ///
    /// A request without `Host` passes the rule about it: only HTTP/1.0 knows such requests (health
    /// checks), no browser sends them and so no page can.
    pub fn check(
        &self,
        host: Option<&str>,
        origin: Option<&str>,
        is_to_loopback: bool,
    ) -> Result<(), Refusal> {
        if let Some(host) = host {
            let is_judged = is_to_loopback || !self.allow_hosts.is_empty();
            if is_judged && !is_loopback(host) && !self.is_allowed_host(host) {
                return Err(Refusal::Host(printable(host)));
            }
        }
        self.check_origin(host, origin)
    }

    /// Checks a request where a token decides who comes in: no page has one by being opened, so
    /// that its host is nobody's concern, and its origin only where origins were listed.
    pub fn check_with_token(
        &self,
        host: Option<&str>,
        origin: Option<&str>,
    ) -> Result<(), Refusal> {
        if self.allow_origins.is_empty() {
            return Ok(());
        }
        self.check_origin(host, origin)
    }

    /// Checks a request whose token is a cookie, which browsers add whichever page asks. Where there
    /// is no `Origin`, `Sec-Fetch-Site` has to say that it was our own page, or the person.
    pub fn check_with_cookie(
        &self,
        host: Option<&str>,
        origin: Option<&str>,
        fetch_site: Option<&str>,
    ) -> Result<(), Refusal> {
        match (origin, fetch_site) {
            (None, Some("same-origin" | "none")) => Ok(()),
            (None, Some(_) | None) => Err(Refusal::Unnamed),
            (Some(_), _) => self.check_origin(host, origin),
        }
    }

    fn check_origin(&self, host: Option<&str>, origin: Option<&str>) -> Result<(), Refusal> {
        match origin {
            Some(origin) if !is_same(origin, host) && !self.is_allowed_origin(origin) => {
                Err(if origin == "null" {
                    Refusal::OpaqueOrigin
                } else {
                    Refusal::Origin(printable(origin))
                })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn is_allowed_host(&self, host: &str) -> bool {
        let Some((name, _)) = split_port(host) else {
            return false;
        };
        self.allow_hosts
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(host) || allowed.eq_ignore_ascii_case(name))
    }

    fn is_allowed_origin(&self, origin: &str) -> bool {
        let mut allowed = self.allow_origins.iter();
        allowed.any(|it| it == "*" || it.eq_ignore_ascii_case(origin))
            || self.allow_local_origins && is_local(origin)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Advice that would be refused in its turn is none.
            Self::Origin(origin) if !is_origin(origin) => {
                write!(
                    f,
                    "origin '{origin}' is not allowed here: no browser sends it"
                )
            }
            Self::Host(host) if host.is_empty() => f.write_str("no empty host is allowed here"),
            Self::Origin(origin) => write!(
                f,
                "origin '{origin}' is not allowed here; \
                 to allow it, start alle with `--allow-origin {origin}`"
            ),
            // HTML, 7.1.1: a sandboxed frame, a file, a redirect across origins.
            Self::OpaqueOrigin => f.write_str(
                "origin 'null' is not allowed here: it names no page, and any page can send it \
                 from a sandboxed frame; serve your page over http, for `--allow-origin null` \
                 would let in every page of the world",
            ),
            Self::Host(host) => write!(
                f,
                "host '{host}' is not allowed here; \
                 to allow it, start alle with `--allow-host {host}`"
            ),
            Self::Unnamed => f.write_str(
                "a cookie or certificate, which browsers add by themselves, counts only with an Origin, \
                 or with Sec-Fetch-Site same-origin or none: a program that is no browser sends \
                 Sec-Fetch-Site: none, or its token as Authorization: Bearer TOKEN",
            ),
        }
    }
}

/// Whether an `Origin` can be this text (RFC 6454, 6.2), or it stands for all of them. A path, a
/// lone name or a pattern would be allowed and never come.
pub fn is_origin(text: &str) -> bool {
    match text.split_once("://") {
        Some((scheme, host)) => {
            !scheme.is_empty() && !host.contains(['/', '?', '#', '@', '*', ','])
        }
        None => text == "*" || text == "null",
    }
}

/// Whether any page of the world can be of this origin: `null` is what a sandboxed frame has.
pub fn is_of_any_page(origin: &str) -> bool {
    origin == "*" || origin.eq_ignore_ascii_case("null")
}

/// Whole names only: `localhost.evil.example` resolves wherever its owner likes.
fn is_loopback(host: &str) -> bool {
    split_port(host).is_some_and(|(name, _)| {
        ["localhost", "127.0.0.1", "[::1]"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// Whether a server of this machine's own, such as one for development, has this origin.
fn is_local(origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(scheme, authority)| {
        let is_web = ["http", "https"]
            .iter()
            .any(|it| it.eq_ignore_ascii_case(scheme));
        is_web && is_loopback(authority)
    })
}

/// Whether `origin` is a page served under `host`, or a native client that names `host` itself:
/// `ws` and `wss` are schemes that no browser sends there. A missing port is the default of the
/// origin's scheme on both sides: a proxy that ends TLS passes `Host` on as it came.
fn is_same(origin: &str, host: Option<&str>) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let is_any_of = |schemes: [&str; 2]| schemes.iter().any(|it| it.eq_ignore_ascii_case(scheme));
    let default_port = if is_any_of(["http", "ws"]) {
        80
    } else if is_any_of(["https", "wss"]) {
        443
    } else {
        return false;
    };
    match (split_port(authority), host.and_then(split_port)) {
        (Some((origin_name, origin_port)), Some((host_name, host_port))) => {
            origin_name.eq_ignore_ascii_case(host_name)
                && origin_port.unwrap_or(default_port) == host_port.unwrap_or(default_port)
        }
        (_, _) => false,
    }
}

/// Name and port of `name`, `name:` or `name:port`; `None` if it is neither. An IPv6 address keeps
/// its brackets.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let name_bytes = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, rest) = authority.split_at(name_bytes);
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"/?#@\\,".contains(&b));
    let port = match rest.strip_prefix(':') {
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        Some(_) => return None,
        None if rest.is_empty() => None,
        None => return None,
    };
    is_name.then_some((name, port))
}

/// `value` for a log line, a terminal, and a shell that somebody pastes the option into: the
/// characters of names, ports and schemes, `?` for all others (`*` among them).
fn printable(value: &str) -> String {
    let mut printable: String = value
        .chars()
        .take(SHOWN_CHARS_MAX)
        .map(|char| match char {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | ':' | '/' | '[' | ']' => char,
            _ => '?',
        })
        .collect();
    if value.chars().nth(SHOWN_CHARS_MAX).is_some() {
        printable.push_str("...");
    }
    printable
}

/// As much of an origin or host as is shown.
const SHOWN_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests;
