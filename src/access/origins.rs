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
        self.allow_origins
            .iter()
            .any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
        }
    }
}

/// Whether an `Origin` can be this text (RFC 6454, 6.2), or it stands for all of them. A path, a
/// lone name or a pattern would be allowed and never come.
pub fn is_origin(text: &str) -> bool {
    match text.split_once("://") {
        Some((scheme, host)) => !scheme.is_empty() && !host.contains(['/', '?', '#', '@', '*']),
        None => text == "*" || text == "null",
    }
}

/// Whole names only: `localhost.evil.example` resolves wherever its owner likes.
fn is_loopback(host: &str) -> bool {
    split_port(host).is_some_and(|(name, _)| {
        ["localhost", "127.0.0.1", "[::1]"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
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
mod tests {
    use super::*;

    /// A connection that came to a loopback address, and one that came elsewhere.
    const LOOPBACK: bool = true;
    const ELSEWHERE: bool = false;

    fn plain() -> OriginPolicy {
        OriginPolicy::default()
    }

    #[test]
    fn an_origin_is_what_a_browser_may_send_or_all_of_them() {
        for origin in [
            "*",
            "null",
            "https://app.example",
            "http://[::1]:8080",
            "app://x",
        ] {
            assert!(is_origin(origin), "{origin}");
        }
        for other in [
            "",
            "app.example",
            "app.example:443",
            "://app.example",
            "https://app.example/",
            "https://app.example/page",
            "https://u@app.example",
            "https://*.example",
        ] {
            assert!(!is_origin(other), "{other}");
        }
    }

    #[test]
    fn a_loopback_bind_is_reached_by_loopback_names_only() {
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST:1",
            "localhost:",
            "127.0.0.1",
            "127.0.0.1:65535",
            "[::1]",
            "[::1]:8080",
            "[::1]:",
        ] {
            assert_eq!(plain().check(Some(host), None, LOOPBACK), Ok(()), "{host}");
        }
        for host in [
            "",
            ":8080",
            "example.com",
            "localhost.evil.com",
            "localhost.",
            "evil-localhost",
            "127.0.0.1.nip.io",
            "127.0.0.1.nip.io:8080",
            "localhost@evil",
            "localhost:80@evil.com",
            "evil.com#localhost",
            "127.0.0.2",
            "127.1",
            "0.0.0.0",
            "2130706433",
            "::1",
            "[::1",
            "[::1]evil",
            "[::2]",
            "[::ffff:127.0.0.1]",
            "localhost:x",
            "localhost:+80",
            "localhost:65536",
            "localhost:80:80",
            "localhost,evil.com",
            "localhost evil",
            "localhost\0",
        ] {
            let expected = Err(Refusal::Host(printable(host)));
            assert_eq!(
                plain().check(Some(host), None, LOOPBACK),
                expected,
                "{host}"
            );
        }
        assert_eq!(plain().check(None, None, LOOPBACK), Ok(()));
        assert_eq!(plain().check(Some("example.com"), None, ELSEWHERE), Ok(()));
    }

    #[test]
    fn allowed_hosts_are_whole_names_with_every_port_or_one() {
        let policy = OriginPolicy {
            allow_hosts: vec!["app.example".to_owned(), "api.example:8443".to_owned()],
            ..plain()
        };
        for host in [
            "app.example",
            "APP.example:80",
            "api.example:8443",
            "localhost",
        ] {
            assert_eq!(policy.check(Some(host), None, LOOPBACK), Ok(()), "{host}");
        }
        for host in [
            "api.example",
            "api.example:8444",
            "x.app.example",
            "app.example.evil",
        ] {
            assert!(policy.check(Some(host), None, LOOPBACK).is_err(), "{host}");
        }
    }

    #[test]
    fn hosts_that_are_named_hold_on_every_address() {
        let named = OriginPolicy {
            allow_hosts: vec!["app.example".to_owned()],
            ..plain()
        };
        for (policy, host, is_to_loopback, is_allowed) in [
            (&named, "app.example:8080", ELSEWHERE, true),
            (&named, "app.example:8080", LOOPBACK, true),
            (&named, "localhost", ELSEWHERE, true),
            (&named, "192.0.2.1", ELSEWHERE, false),
            (&named, "evil.example", ELSEWHERE, false),
            (&named, "evil.example", LOOPBACK, false),
            (&plain(), "evil.example", ELSEWHERE, true),
            (&plain(), "evil.example", LOOPBACK, false),
        ] {
            let checked = policy.check(Some(host), None, is_to_loopback);
            assert_eq!(checked.is_ok(), is_allowed, "{host} {is_to_loopback}");
        }
    }

    #[test]
    fn an_opaque_origin_is_refused_with_what_allowing_it_would_open() {
        for host in [Some("null"), Some("localhost"), None] {
            let refusal = plain().check(host, Some("null"), ELSEWHERE).unwrap_err();
            assert_eq!(refusal, Refusal::OpaqueOrigin);
            let text = refusal.to_string();
            assert!(
                text.contains("sandboxed") && text.contains("every page"),
                "{text}"
            );
        }
    }

    #[test]
    fn an_origin_equals_its_host() {
        for (origin, host) in [
            ("http://localhost:8080", "localhost:8080"),
            ("HTTP://LocalHost:8080", "localhost:8080"),
            ("http://localhost", "localhost"),
            ("http://localhost", "localhost:80"),
            ("http://localhost:80", "localhost"),
            ("https://app.example", "app.example"),
            ("https://app.example", "app.example:443"),
            ("https://app.example:443", "app.example"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("ws://app.example:8080", "app.example:8080"),
            ("WS://app.example", "app.example:80"),
            ("wss://app.example", "app.example"),
            ("wss://app.example:443", "app.example"),
        ] {
            assert_eq!(
                plain().check(Some(host), Some(origin), ELSEWHERE),
                Ok(()),
                "{origin}"
            );
        }
        for (origin, host) in [
            ("", ""),
            ("ws://app.example:8081", "app.example:8080"),
            ("ws://app.example", "app.example:443"),
            ("wss://evil.example", "app.example"),
            ("wsx://app.example", "app.example"),
            ("http://", ""),
            ("://localhost", "localhost"),
            ("localhost", "localhost"),
            ("file://", "localhost"),
            ("file://localhost", "localhost"),
            ("chrome-extension://localhost", "localhost"),
            ("http://localhost:8081", "localhost:8080"),
            ("http://localhost", "localhost:443"),
            ("https://localhost", "localhost:80"),
            ("http://localhost", "localhost:8080"),
            ("http://127.0.0.1:8080", "localhost:8080"),
            ("http://localhost.evil.com:8080", "localhost:8080"),
            ("http://evil.com@localhost:8080", "localhost:8080"),
            ("http://localhost:8080@evil.com", "localhost:8080"),
            ("http://localhost:8080/", "localhost:8080"),
            ("http://localhost:8080 http://evil.com", "localhost:8080"),
            ("http://evil.com/?localhost", "localhost"),
        ] {
            let expected = Err(Refusal::Origin(printable(origin)));
            assert_eq!(
                plain().check(Some(host), Some(origin), ELSEWHERE),
                expected,
                "{origin}"
            );
        }
        let expected = Err(Refusal::Origin("http://localhost".to_owned()));
        assert_eq!(
            plain().check(None, Some("http://localhost"), ELSEWHERE),
            expected
        );
    }

    #[test]
    fn allowed_origins_are_whole_or_any() {
        let allowing = |origins: &[&str]| OriginPolicy {
            allow_origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
            ..plain()
        };
        let policy = allowing(&["https://app.example", "null", "chrome-extension://abc"]);
        for origin in [
            "https://app.example",
            "https://APP.example",
            "null",
            "chrome-extension://abc",
        ] {
            assert_eq!(
                policy.check(Some("localhost"), Some(origin), LOOPBACK),
                Ok(()),
                "{origin}"
            );
        }
        for origin in [
            "http://app.example",
            "https://app.example.evil",
            "https://app.example:8443",
        ] {
            assert!(
                policy
                    .check(Some("localhost"), Some(origin), LOOPBACK)
                    .is_err(),
                "{origin}"
            );
        }
        assert_eq!(
            allowing(&["*"]).check(Some("localhost"), Some("null"), LOOPBACK),
            Ok(())
        );
        // Allowing origins does not allow hosts: a rebound name is still refused.
        let expected = Err(Refusal::Host("evil.com".to_owned()));
        assert_eq!(
            allowing(&["*"]).check(Some("evil.com"), Some("http://evil.com"), LOOPBACK),
            expected
        );
    }

    #[test]
    fn where_a_token_decides_only_listed_origins_narrow() {
        let rebound = (Some("evil.example"), Some("https://page.example"));
        assert_eq!(plain().check_with_token(rebound.0, rebound.1), Ok(()));
        let narrowed = OriginPolicy {
            allow_origins: vec!["https://app.example".to_owned()],
            ..plain()
        };
        for (origin, is_allowed) in [
            (None, true),
            (Some("https://app.example"), true),
            (Some("http://evil.example"), true),
            (Some("https://page.example"), false),
            (Some("null"), false),
        ] {
            let checked = narrowed.check_with_token(Some("evil.example"), origin);
            assert_eq!(checked.is_ok(), is_allowed, "{origin:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_option_and_nothing_dangerous() {
        let refusal = plain()
            .check(Some("app.example:80"), None, LOOPBACK)
            .unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "host 'app.example:80' is not allowed here; \
             to allow it, start alle with `--allow-host app.example:80`"
        );
        let origin = format!("http://\u{1b}[31m\r\n\u{202e}{}", "é".repeat(10_000));
        let refusal = plain()
            .check(Some("localhost"), Some(&origin), ELSEWHERE)
            .unwrap_err();
        let text = refusal.to_string();
        assert!(text.contains("`--allow-origin http://?[31m???"));
        assert!(text.len() < 400 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        for (chars, shown) in [(99, 99), (100, 100), (101, 103)] {
            assert_eq!(printable(&"x".repeat(chars)).len(), shown);
        }
    }
}
