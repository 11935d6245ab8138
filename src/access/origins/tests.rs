//! Origins and hosts, one by one.

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
fn local_origins_are_those_of_the_loopback_on_any_port_and_only_where_they_are_allowed() {
    let local = OriginPolicy {
        allow_local_origins: true,
        ..plain()
    };
    for (origin, is_local) in [
        ("http://localhost:5173", true),
        ("https://localhost", true),
        ("http://127.0.0.1:3000", true),
        ("http://[::1]:4321", true),
        ("HTTP://LOCALHOST:80", true),
        ("http://localhost.evil.example:5173", false),
        ("http://evil.example", false),
        ("http://localhost@evil.example", false),
        ("http://192.168.0.2:5173", false),
        ("chrome-extension://localhost", false),
        ("file://localhost", false),
        ("localhost:5173", false),
        ("null", false),
    ] {
        let check = |policy: &OriginPolicy| {
            let checked = policy.check(Some("localhost:8080"), Some(origin), LOOPBACK);
            checked.is_ok()
        };
        assert_eq!(check(&local), is_local, "{origin}");
        assert!(!check(&plain()), "{origin}");
    }
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
    assert!(text.starts_with("origin 'http://?[31m???"), "{text}");
    assert!(text.len() < 400 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    for (chars, shown) in [(99, 99), (100, 100), (101, 103)] {
        assert_eq!(printable(&"x".repeat(chars)).len(), shown);
    }
}

/// Advice that would be refused in its turn is none.
#[test]
fn what_no_option_takes_is_not_advised() {
    for refusal in [
        Refusal::Origin("127.0.0.1".to_owned()),
        Refusal::Origin(String::new()),
        Refusal::Host(String::new()),
    ] {
        let text = refusal.to_string();
        assert!(!text.contains("--allow"), "{text}");
    }
}

#[test]
fn a_cookie_counts_where_the_browser_says_that_no_foreign_page_asked() {
    let mut policy = plain();
    policy.allow_origins = vec!["https://app.example".to_owned()];
    let host = Some("bridge.example");
    for (origin, fetch_site, is_allowed) in [
        (Some("https://bridge.example"), None, true),
        (Some("https://app.example"), Some("cross-site"), true),
        (Some("https://evil.example"), Some("same-origin"), false),
        (Some("null"), None, false),
        (None, Some("same-origin"), true),
        (None, Some("none"), true),
        (None, Some("same-site"), false),
        (None, Some("cross-site"), false),
        (None, Some("Same-Origin"), false),
        (None, None, false),
    ] {
        let found = policy.check_with_cookie(host, origin, fetch_site);
        assert_eq!(found.is_ok(), is_allowed, "{origin:?} {fetch_site:?}");
    }
}

#[test]
fn pages_of_all_the_world_have_these_origins() {
    for (origin, is_any) in [
        ("*", true),
        ("null", true),
        ("NULL", true),
        ("https://a", false),
    ] {
        assert_eq!(is_of_any_page(origin), is_any, "{origin}");
    }
}
