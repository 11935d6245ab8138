//! The head of one HTTP request, parsed where it lies.
//!
//! Owns the rules of RFC 9112 for a head and of RFC 6455, 4.2.1 for an opening handshake. Refuses
//! to know the paths, the permissions and the responses.

use std::str;

use httparse::{EMPTY_HEADER, Header};

use super::response::Status;

/// The longest head, its empty line included.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The methods we tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// Any other method; none of them is allowed.
    Other,
}

/// A request with a complete and valid head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The path as it was sent, without the query; begins with `/` for `GET` and `HEAD`.
    pub path: &'a str,
    /// The host of the request: `Host`, or the authority of a target in absolute form, which
    /// overrides it (RFC 9112, 3.2.2). `None` only under HTTP/1.0.
    pub host: Option<&'a str>,
    /// `Origin`, which browsers send.
    pub origin: Option<&'a str>,
    /// The token of `Authorization: Bearer TOKEN` (RFC 6750, 2.1); credentials of another scheme
    /// are ignored.
    pub bearer: Option<&'a str>,
    /// `If-None-Match`: the entity tags of what the browser has already.
    pub if_none_match: Option<&'a str>,
    /// The upgrade to WebSocket, if the request asks for one.
    pub upgrade: Upgrade<'a>,
    /// The length of the head; the bytes behind it are WebSocket input.
    pub head_bytes: usize,
}

/// The part of a request that asks for an upgrade to WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade<'a> {
    /// No upgrade.
    None,
    /// A valid opening handshake, without a body.
    WebSocket {
        /// `Sec-WebSocket-Key`, to be answered by
        /// [`switching_protocols`](super::response::switching_protocols).
        key: &'a str,
    },
    /// A handshake without a version, or with another than 13, to be answered with 426.
    WrongVersion,
    /// A handshake that breaks another rule of RFC 6455, 4.2.1, to be answered with 400.
    Malformed,
    /// One whose `Upgrade` was lost on the way: nothing else has a `Sec-WebSocket-Key`.
    Dropped,
}

/// Parses the request at the start of `input`: `None` if more bytes are needed, a status if no
/// further byte can help. The result does not change when bytes are added.
pub fn parse(input: &[u8]) -> Result<Option<Request<'_>>, Status> {
    let input = &input[..input.len().min(HEAD_BYTES_MAX)];
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let head_bytes = match request.parse(input) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) if input.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Status::HeaderFieldsTooLarge);
        }
        Err(_) => return Err(Status::BadRequest),
    };
    let headers = &*request.headers;
    let is_http_1_1 = request.version == Some(1);
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some(_) | None => Method::Other,
    };

    let (authority, path) = parse_target(method, request.path.unwrap_or_default())?;
    let mut host = single(headers, "Host")?;
    if is_http_1_1 && host.is_none() {
        return Err(Status::BadRequest);
    }
    host = authority.or(host);
    if host.is_some_and(|host| !is_host(host)) {
        return Err(Status::BadRequest);
    }
    let origin = single(headers, "Origin")?;
    let bearer = single(headers, "Authorization")?.and_then(parse_bearer);
    let if_none_match = values(headers, "If-None-Match").next();
    let has_body = has_body(headers)?;
    let upgrade = if !has_token(headers, "Upgrade", "websocket") {
        let has = |name| values(headers, name).next().is_some();
        if has("Sec-WebSocket-Key") && !has("Upgrade") {
            Upgrade::Dropped
        } else {
            Upgrade::None
        }
    } else if method == Method::Get && is_http_1_1 && !has_body {
        parse_upgrade(headers)
    } else {
        Upgrade::Malformed
    };
    Ok(Some(Request {
        method,
        path,
        host,
        origin,
        bearer,
        if_none_match: if_none_match.and_then(|tags| str::from_utf8(tags).ok()),
        upgrade,
        head_bytes,
    }))
}

/// The target and the fields of a head that [`parse`] took, for somebody who judges the request.
pub fn target_and_fields(head: &[u8]) -> (String, Vec<(String, String)>) {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(&head[..head.len().min(HEAD_BYTES_MAX)]);
    debug_assert!(
        parsed.is_ok_and(|it| it.is_complete()),
        "it was parsed before"
    );
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let fields = request.headers.iter();
    let fields = fields.map(|it| (it.name.to_owned(), text(it.value)));
    let fields = fields.collect();
    (request.path.unwrap_or_default().to_owned(), fields)
}

/// RFC 6455, 4.2.1, items 4 to 6. The fields behind them (protocols, extensions) are declined
/// unread.
fn parse_upgrade<'a>(headers: &[Header<'a>]) -> Upgrade<'a> {
    match single(headers, "Sec-WebSocket-Version") {
        Ok(Some("13")) => {}
        Ok(Some(_) | None) => return Upgrade::WrongVersion,
        Err(_) => return Upgrade::Malformed,
    }
    match single(headers, "Sec-WebSocket-Key") {
        Ok(Some(key)) if is_key(key) && has_token(headers, "Connection", "upgrade") => {
            Upgrade::WebSocket { key }
        }
        Ok(Some(_) | None) | Err(_) => Upgrade::Malformed,
    }
}

/// Authority, if the target has one, and path (RFC 9112, 3.2).
fn parse_target(method: Method, target: &str) -> Result<(Option<&str>, &str), Status> {
    if !target
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        return Err(Status::BadRequest);
    }
    let without_query = target.split_once('?').map_or(target, |(path, _)| path);
    if without_query.starts_with('/') {
        return Ok((None, without_query));
    }
    let rest = match without_query.split_once("://") {
        Some((scheme, rest)) if is_http(scheme) => rest,
        // `OPTIONS *` and `CONNECT host:port` are not allowed, but not malformed either.
        Some(_) | None if method == Method::Other => return Ok((None, without_query)),
        Some(_) | None => return Err(Status::BadRequest),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.is_empty() {
        return Err(Status::BadRequest);
    }
    Ok((Some(authority), if path.is_empty() { "/" } else { path }))
}

/// The scheme is case-insensitive, and spaces follow it (RFC 9110, 11.4).
fn parse_bearer(credentials: &str) -> Option<&str> {
    let (scheme, token) = credentials.split_once(' ').unwrap_or((credentials, ""));
    scheme
        .eq_ignore_ascii_case("Bearer")
        .then(|| token.trim_start_matches(' '))
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// Host and port in the characters of RFC 3986, 3.2.2, without the comma: a list is two hosts.
fn is_host(host: &str) -> bool {
    host.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&byte))
}

/// Base64 of 16 bytes: 22 characters and two of padding.
fn is_key(key: &str) -> bool {
    key.len() == 24
        && key.strip_suffix("==").is_some_and(|key| {
            key.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
        })
}

/// RFC 9112, 6.3. Bodies are not read: only their presence matters.
fn has_body(headers: &[Header<'_>]) -> Result<bool, Status> {
    let length = single(headers, "Content-Length")?.unwrap_or("0");
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Status::BadRequest);
    }
    Ok(length.bytes().any(|byte| byte != b'0')
        || values(headers, "Transfer-Encoding").next().is_some())
}

/// The value of a field that may come once, in printable ASCII.
fn single<'a>(headers: &[Header<'a>], name: &str) -> Result<Option<&'a str>, Status> {
    let mut values = values(headers, name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match str::from_utf8(value) {
        Ok(value) if value.is_ascii() && values.next().is_none() => Ok(Some(value)),
        Ok(_) | Err(_) => Err(Status::BadRequest),
    }
}

/// Whether one of the comma-separated lists of this name contains `token`, in any case.
fn has_token(headers: &[Header<'_>], name: &str, token: &str) -> bool {
    values(headers, name)
        .flat_map(|list| list.split(|&byte| byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn values<'a>(headers: &[Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

/// Browsers send some 20 fields, proxies add some more.
pub(super) const HEADERS_MAX: usize = 100;
