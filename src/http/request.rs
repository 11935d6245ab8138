//! The head of one HTTP request, parsed where it lies.
//!
//! Owns the rules of RFC 9112 for a head, and how long the body behind it is. Refuses to know the
//! paths, the permissions, the upgrades and the responses.

use std::str;

use httparse::EMPTY_HEADER;

use super::{body::Framing, fields::Fields, response::Status};

/// The longest head, its empty line included.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The methods we tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `OPTIONS`
    Options,
    /// Any other method; none of them is allowed.
    Other,
}

/// A request with a complete and valid head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The path as it was sent, without the query; begins with `/` for `GET`, `HEAD` and `POST`.
    pub path: &'a str,
    /// The query as it was sent, without its `?`; empty where there is none.
    pub query: &'a str,
    /// Whether the request is of HTTP/1.1, and not of HTTP/1.0.
    pub is_http_1_1: bool,
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
    /// How the body is delimited.
    pub body: Framing,
    /// Whether the peer sends the body only when it is told to, by 100 (RFC 9110, 10.1.1).
    pub expects_continue: bool,
    /// Whether another request may follow on the connection (RFC 9112, 9.3).
    pub is_persistent: bool,
    /// All header fields.
    pub fields: Fields<'a>,
    /// The length of the head; the body lies behind it, or what an upgrade brings.
    pub head_bytes: usize,
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
    let is_http_1_1 = request.version == Some(1);
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST") => Method::Post,
        Some("OPTIONS") => Method::Options,
        Some(_) | None => Method::Other,
    };
    let (authority, path, query) = parse_target(method, request.path.unwrap_or_default())?;
    let fields = Fields::new(request.headers);
    let mut host = fields.single("Host")?;
    if is_http_1_1 && host.is_none() {
        return Err(Status::BadRequest);
    }
    host = authority.or(host);
    if host.is_some_and(|host| !is_host(host)) {
        return Err(Status::BadRequest);
    }
    let if_none_match = fields.values("If-None-Match").next();
    let if_none_match = if_none_match.and_then(|tags| str::from_utf8(tags).ok());
    let body = framing(&fields, is_http_1_1)?;
    // What ends a line is where two readers of one stream can part ways.
    if body != Framing::None && has_bare_line_feed(&input[..head_bytes]) {
        return Err(Status::BadRequest);
    }
    Ok(Some(Request {
        method,
        path,
        query,
        is_http_1_1,
        host,
        origin: fields.single("Origin")?,
        bearer: fields.single("Authorization")?.and_then(parse_bearer),
        if_none_match,
        body,
        expects_continue: is_http_1_1 && fields.has_token("Expect", "100-continue"),
        is_persistent: if is_http_1_1 {
            !fields.has_token("Connection", "close")
        } else {
            fields.has_token("Connection", "keep-alive")
        },
        fields,
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

/// Authority, if the target has one, path and query (RFC 9112, 3.2).
fn parse_target(method: Method, target: &str) -> Result<(Option<&str>, &str, &str), Status> {
    if !target
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    {
        return Err(Status::BadRequest);
    }
    let (without_query, query) = target.split_once('?').unwrap_or((target, ""));
    if without_query.starts_with('/') {
        return Ok((None, without_query, query));
    }
    let rest = match without_query.split_once("://") {
        Some((scheme, rest)) if is_http(scheme) => rest,
        // `OPTIONS *` and `CONNECT host:port` are not allowed, but not malformed either.
        Some(_) | None if matches!(method, Method::Options | Method::Other) => {
            return Ok((None, without_query, query));
        }
        Some(_) | None => return Err(Status::BadRequest),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.is_empty() {
        return Err(Status::BadRequest);
    }
    let path = if path.is_empty() { "/" } else { path };
    Ok((Some(authority), path, query))
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

/// RFC 9112, 6.3, and stricter: one length or one coding, and `chunked` is the only one.
fn framing(fields: &Fields<'_>, is_http_1_1: bool) -> Result<Framing, Status> {
    let length = fields.single("Content-Length")?;
    let coding = fields.single("Transfer-Encoding")?;
    match (length, coding) {
        (None, None) => Ok(Framing::None),
        (Some(length), None) => {
            if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Status::BadRequest);
            }
            match length.parse().unwrap_or(u64::MAX) {
                0 => Ok(Framing::None),
                length => Ok(Framing::Length(length)),
            }
        }
        (None, Some(coding)) if is_http_1_1 && coding.eq_ignore_ascii_case("chunked") => {
            Ok(Framing::Chunked)
        }
        (_, Some(_)) => Err(Status::BadRequest),
    }
}

fn has_bare_line_feed(head: &[u8]) -> bool {
    head.iter()
        .enumerate()
        .any(|(at, &byte)| byte == b'\n' && (at == 0 || head[at - 1] != b'\r'))
}

/// Browsers send some 20 fields, proxies add some more.
pub(super) const HEADERS_MAX: usize = 100;
