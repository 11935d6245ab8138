//! The URL of a bridge: taken apart, and shown without what may be secret in it.
//!
//! Opens nothing and looks nothing up.

use std::{borrow::Cow, error::Error, fmt};

use tungstenite::http::Uri;

/// The URL of a bridge, `ws://` or `wss://` and with a host.
#[derive(Clone)]
pub(crate) struct WsUrl {
    /// As it was typed, the values of a query aside: bridges and proxies take tokens there.
    shown: String,
    uri: Uri,
}

impl WsUrl {
    /// Takes `text` apart, or says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, WsUrlError> {
        let wrong = |cause| WsUrlError {
            shown: without_values(&without_user(text)),
            cause,
            meant: meant(text),
        };
        if has_scheme_of_postgres(text) {
            return Err(wrong(WsUrlCause::Postgres));
        }
        let uri = with_small_scheme(text).parse();
        let uri: Uri = uri.map_err(|_| wrong(WsUrlCause::Malformed))?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") if cfg!(feature = "tls") => {}
            Some("wss") => return Err(wrong(WsUrlCause::Tls)),
            _ => return Err(wrong(WsUrlCause::Scheme)),
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(wrong(WsUrlCause::Password));
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.contains(']'));
        let is_hostless = uri.host().is_none_or(str::is_empty);
        if is_hostless || (has_port && uri.port_u16().is_none_or(|port| port == 0)) {
            return Err(wrong(WsUrlCause::Malformed));
        }
        Ok(Self {
            shown: without_values(text),
            uri,
        })
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn host(&self) -> &str {
        let host = self.uri.host().unwrap_or_default();
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    pub(super) fn port(&self) -> u16 {
        let default = if self.is_secure() { 443 } else { 80 };
        self.uri.port_u16().unwrap_or(default)
    }

    pub(super) fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("wss")
    }
}

impl fmt::Display for WsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for WsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WsUrl({self})")
    }
}

/// The same URL: schemes are the same in capitals (RFC 3986, 3.1), and not to all who read this.
fn with_small_scheme(text: &str) -> Cow<'_, str> {
    match text.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()).into(),
        None => text.into(),
    }
}

/// A URL as long as nothing is known of it: whatever stands before an `@` may be a password.
fn without_user(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + "://".len());
    match text[start..].rfind('@') {
        Some(at) => format!("{}{MASK}{}", &text[..start], &text[start + at..]),
        None => text.to_owned(),
    }
}

/// What follows `?` or `#`, without all but the names in it.
fn without_values(text: &str) -> String {
    let Some(at) = text.find(['?', '#']) else {
        return text.to_owned();
    };
    let (place, items) = text.split_at(at + 1);
    let items = items.split('&').map(|item| match item.split_once('=') {
        Some((name, _)) => format!("{name}={MASK}"),
        None if item.is_empty() => String::new(),
        None => MASK.to_owned(),
    });
    format!("{place}{}", items.collect::<Vec<_>>().join("&"))
}

const MASK: &str = "***";

/// The URL that was probably meant: of a port, of an address, of a page. Never one that would be
/// refused in its turn.
fn meant(text: &str) -> Option<String> {
    if text.contains(['@', '?', '#']) {
        return None;
    }
    let url = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => format!("ws://{rest}"),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => format!("wss://{rest}"),
        Some(_) => return None,
        None => {
            let port = text.trim_start_matches(':');
            if port.parse::<u16>().is_ok() {
                format!("ws://127.0.0.1:{port}")
            } else {
                format!("ws://{text}")
            }
        }
    };
    WsUrl::parse(&url).is_ok().then_some(url)
}

fn has_scheme_of_postgres(text: &str) -> bool {
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
    ["postgres", "postgresql"]
        .iter()
        .any(|it| it.eq_ignore_ascii_case(scheme))
}

/// Why a text is not the URL of a bridge.
#[derive(Debug)]
pub(crate) struct WsUrlError {
    shown: String,
    cause: WsUrlCause,
    meant: Option<String>,
}

#[derive(Debug)]
enum WsUrlCause {
    Malformed,
    Scheme,
    Tls,
    Password,
    Postgres,
}

impl fmt::Display for WsUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.shown;
        match self.cause {
            WsUrlCause::Malformed => {
                write!(
                    f,
                    "WebSocket URL '{shown}' is malformed, expected ws://HOST:PORT, as \
                     ws://127.0.0.1:8080"
                )
            }
            WsUrlCause::Scheme => {
                write!(f, "WebSocket URL '{shown}' must begin with ws:// or wss://")?;
                match &self.meant {
                    Some(meant) => write!(f, "; did you mean '{meant}'?"),
                    None => f.write_str(", as ws://127.0.0.1:8080"),
                }
            }
            WsUrlCause::Postgres => f.write_str(
                "that is the URL of a PostgreSQL: this command speaks to a bridge, as \
                 ws://127.0.0.1:8080, and the bridge (alle serve -p) to PostgreSQL",
            ),
            WsUrlCause::Tls => {
                write!(
                    f,
                    "WebSocket URL '{shown}': this program was built without TLS, only ws://"
                )
            }
            WsUrlCause::Password => {
                f.write_str("a WebSocket URL with a user or password is not supported")
            }
        }
    }
}

impl Error for WsUrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_ws_with_a_host_and_maybe_a_port() {
        for (text, host, port) in [
            ("ws://127.0.0.1:8080", "127.0.0.1", 8080),
            ("ws://[::1]:9/ws?x=1", "::1", 9),
            ("ws://bridge.example", "bridge.example", 80),
            ("ws://[::1]", "::1", 80),
            ("WS://bridge.example", "bridge.example", 80),
            ("wss://bridge.example", "bridge.example", 443),
            ("wss://bridge.example:9", "bridge.example", 9),
            ("Wss://bridge.example", "bridge.example", 443),
        ] {
            if !cfg!(feature = "tls") && text.to_lowercase().starts_with("wss:") {
                continue;
            }
            let url = WsUrl::parse(text).unwrap();
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn what_may_be_secret_in_a_url_is_used_and_not_shown() {
        for (text, shown) in [
            ("ws://x:9/ws", "ws://x:9/ws"),
            ("ws://x:9/ws?token=s3cret", "ws://x:9/ws?token=***"),
            ("ws://x/?a=s3cret&b&c=", "ws://x/?a=***&***&c=***"),
            ("ws://x?s3cret", "ws://x?***"),
            ("ws://x?a=s3c=ret#s3cret", "ws://x?a=***"),
            ("ws://x/#s3cret", "ws://x/#***"),
        ] {
            let url = WsUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("s3c"), "{url:?}");
        }
        let url = WsUrl::parse("ws://x:9/ws?token=s3cret").unwrap();
        assert_eq!(url.uri.path_and_query().unwrap(), "/ws?token=s3cret");
    }

    #[test]
    fn anything_else_is_refused_in_words() {
        for (text, expected) in [
            (
                "http://x",
                "WebSocket URL 'http://x' must begin with ws:// or wss://; did you mean 'ws://x'?",
            ),
            (
                "localhost:8080",
                "WebSocket URL 'localhost:8080' must begin with ws:// or wss://; did you mean \
                 'ws://localhost:8080'?",
            ),
            (
                ":8080",
                "WebSocket URL ':8080' must begin with ws:// or wss://; did you mean \
                 'ws://127.0.0.1:8080'?",
            ),
            (
                "8080",
                "WebSocket URL '8080' must begin with ws:// or wss://; did you mean \
                 'ws://127.0.0.1:8080'?",
            ),
            (
                "postgresql://u:secret@db/x",
                "that is the URL of a PostgreSQL: this command speaks to a bridge, as \
                 ws://127.0.0.1:8080, and the bridge (alle serve -p) to PostgreSQL",
            ),
            (
                "ws://",
                "WebSocket URL 'ws://' is malformed, expected ws://HOST:PORT, as ws://127.0.0.1:8080",
            ),
            (
                "ws://x:99999",
                "WebSocket URL 'ws://x:99999' is malformed, expected ws://HOST:PORT, as ws://127.0.0.1:8080",
            ),
            (
                "ws://x:0",
                "WebSocket URL 'ws://x:0' is malformed, expected ws://HOST:PORT, as ws://127.0.0.1:8080",
            ),
            (
                "ws://a:secret@x",
                "a WebSocket URL with a user or password is not supported",
            ),
            (
                "http://a:secret@x?token=s3cret",
                "WebSocket URL 'http://***@x?token=***' must begin with ws:// or wss://, as \
                 ws://127.0.0.1:8080",
            ),
            (
                "a:secret@x",
                "WebSocket URL '***@x' must begin with ws:// or wss://, as ws://127.0.0.1:8080",
            ),
            (
                "ws://a:sec?ret@x ?s3cret",
                "WebSocket URL 'ws://***@x ?***' is malformed, expected ws://HOST:PORT, as ws://127.0.0.1:8080",
            ),
        ] {
            assert_eq!(WsUrl::parse(text).unwrap_err().to_string(), expected);
        }
    }
}
