//! HTTP responses: short pages, each behind its head.
//!
//! Owns the status lines, and the headers that keep a browser from any other use of a page than
//! ours. Refuses to know the content of a page and the request that it answers.

/// The statuses of our responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200.
    Ok,
    /// 204: the answer to `OPTIONS` is in its fields.
    NoContent,
    /// 304: the client has it already.
    NotModified,
    /// 400: not HTTP, or a malformed opening handshake.
    BadRequest,
    /// 401: the token is unknown.
    Unauthorized,
    /// 403: the origin or the host is not allowed.
    Forbidden,
    /// 404.
    NotFound,
    /// 405: the fields say which are allowed.
    MethodNotAllowed,
    /// 408: the request took too long.
    RequestTimeout,
    /// 413: the body is over its limit.
    PayloadTooLarge,
    /// 426: the WebSocket upgrade must have version 13.
    UpgradeRequired,
    /// 429: too much at a time; try again in a second.
    TooManyRequests,
    /// 431: the head is over [`HEAD_BYTES_MAX`](super::request::HEAD_BYTES_MAX).
    HeaderFieldsTooLarge,
    /// 502: PostgreSQL refused the request.
    BadGateway,
    /// 503: try again in a second.
    ServiceUnavailable,
    /// 504: PostgreSQL was asked, and its answer was lost.
    GatewayTimeout,
}

impl Status {
    /// All codes.
    pub const CODES: [u16; 16] = [
        200, 204, 304, 400, 401, 403, 404, 405, 408, 413, 426, 429, 431, 502, 503, 504,
    ];

    /// The code of the status line.
    pub fn code(self) -> u16 {
        self.row().0
    }

    /// The reason phrase of the status line.
    pub fn reason(self) -> &'static str {
        self.row().1
    }

    /// The table: code, reason phrase, and the header fields that a status requires.
    fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Ok => (200, "OK", ""),
            Self::NoContent => (204, "No Content", ""),
            Self::NotModified => (304, "Not Modified", ""),
            Self::BadRequest => (400, "Bad Request", ""),
            Self::Unauthorized => (401, "Unauthorized", ""),
            Self::Forbidden => (403, "Forbidden", ""),
            Self::NotFound => (404, "Not Found", ""),
            Self::MethodNotAllowed => (405, "Method Not Allowed", ""),
            Self::RequestTimeout => (408, "Request Timeout", ""),
            Self::PayloadTooLarge => (413, "Content Too Large", ""),
            // RFC 6455, 4.4; RFC 9110, 15.5.22.
            Self::UpgradeRequired => (
                426,
                "Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            ),
            // RFC 6585, 4.
            Self::TooManyRequests => (429, "Too Many Requests", "Retry-After: 1\r\n"),
            Self::HeaderFieldsTooLarge => (431, "Request Header Fields Too Large", ""),
            Self::BadGateway => (502, "Bad Gateway", ""),
            Self::ServiceUnavailable => (503, "Service Unavailable", "Retry-After: 1\r\n"),
            Self::GatewayTimeout => (504, "Gateway Timeout", ""),
        }
    }
}

/// A whole response. No `Date`: the core has no clock, and RFC 9110, 6.6.1 excuses a server without
/// one.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The status.
    pub status: Status,
    /// The media type: ours, never a peer's, and therefore written unchecked.
    pub content_type: &'a str,
    /// More header fields, each with the end of its line.
    pub fields: &'a str,
    /// The body; of [`Status::NotModified`] and [`Status::NoContent`] nothing is sent.
    pub body: &'a str,
    /// The entity tag of what every page of the world may load, and keep for as long as the tag is
    /// the same. `None`: it is for this request alone.
    pub public_tag: Option<&'a str>,
    /// Whether the connection ends behind it.
    pub is_last: bool,
}

impl Response<'_> {
    /// Appends the response. `head_only` (the answer to `HEAD`) leaves out the body and nothing else.
    pub fn write(&self, head_only: bool, out: &mut Vec<u8>) {
        let (code, reason, fields) = self.status.row();
        let connection = match (self.status, self.is_last) {
            // A sender of `Upgrade` lists it as a connection option (RFC 9110, 7.8).
            (Status::UpgradeRequired, _) => "Upgrade, close",
            (_, true) => "close",
            (_, false) => "keep-alive",
        };
        let mut head = format!("HTTP/1.1 {code} {reason}\r\n{fields}Connection: {connection}\r\n");
        // RFC 9110, 8.6: a length here would be that of the body which the client has.
        let has_body = !matches!(self.status, Status::NoContent | Status::NotModified);
        if has_body {
            let (content_type, length) = (self.content_type, self.body.len());
            head += &format!("Content-Type: {content_type}\r\nContent-Length: {length}\r\n");
        }
        head += &match self.public_tag {
            None => "Cache-Control: no-store\r\n".to_owned(),
            Some(tag) => format!(
                "Cache-Control: no-cache\r\nETag: {tag}\r\n\
                 Access-Control-Allow-Origin: *\r\nCross-Origin-Resource-Policy: cross-origin\r\n"
            ),
        };
        head += "X-Content-Type-Options: nosniff\r\n";
        if self.content_type.starts_with("text/html") {
            head += CONTENT_POLICY;
        }
        for part in [&head, self.fields, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        if has_body && !head_only {
            out.extend_from_slice(self.body.as_bytes());
        }
    }
}

/// For a page with its own script and style, which may open WebSockets and loads our module alone.
const CONTENT_POLICY: &str = "Content-Security-Policy: default-src 'none'; \
    style-src 'unsafe-inline'; script-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss:; \
    img-src data:; frame-ancestors 'none'; base-uri 'none'\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Status; 16] = [
        Status::Ok,
        Status::NoContent,
        Status::NotModified,
        Status::BadRequest,
        Status::Unauthorized,
        Status::Forbidden,
        Status::NotFound,
        Status::MethodNotAllowed,
        Status::RequestTimeout,
        Status::PayloadTooLarge,
        Status::UpgradeRequired,
        Status::TooManyRequests,
        Status::HeaderFieldsTooLarge,
        Status::BadGateway,
        Status::ServiceUnavailable,
        Status::GatewayTimeout,
    ];

    fn written(status: Status, content_type: &str, head_only: bool) -> String {
        let mut out = Vec::new();
        Response {
            status,
            content_type,
            fields: "X-Field: value\r\n",
            body: "bödy",
            public_tag: None,
            is_last: true,
        }
        .write(head_only, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_page_to_the_letter() {
        assert_eq!(
            written(Status::Ok, "text/plain", false),
            "HTTP/1.1 200 OK\r\n\
             Connection: close\r\n\
             Content-Type: text/plain\r\n\
             Content-Length: 5\r\n\
             Cache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\n\
             X-Field: value\r\n\r\nbödy"
        );
    }

    #[test]
    fn every_response_is_a_head_that_parses_and_the_body_it_announces() {
        assert_eq!(ALL.map(Status::code), Status::CODES);
        for status in ALL {
            for content_type in ["text/plain; charset=utf-8", "text/html; charset=utf-8"] {
                let whole = written(status, content_type, false);
                let mut headers = [httparse::EMPTY_HEADER; 16];
                let mut response = httparse::Response::new(&mut headers);
                let head_bytes = response.parse(whole.as_bytes()).unwrap().unwrap();
                assert_eq!(response.code, Some(status.code()));
                assert_eq!(response.reason, Some(status.reason()));
                let has_body = !matches!(status, Status::NoContent | Status::NotModified);
                let body = if has_body { "bödy" } else { "" };
                assert_eq!(&whole[head_bytes..], body);
                assert_eq!(written(status, content_type, true), whole[..head_bytes]);
            }
        }
    }

    #[test]
    fn the_header_fields_that_a_status_requires() {
        let has = |status, field: &str| {
            assert!(written(status, "text/plain", true).contains(&format!("\r\n{field}\r\n")));
        };
        has(Status::UpgradeRequired, "Upgrade: websocket");
        has(Status::UpgradeRequired, "Connection: Upgrade, close");
        has(Status::UpgradeRequired, "Sec-WebSocket-Version: 13");
        has(Status::ServiceUnavailable, "Retry-After: 1");
        has(Status::TooManyRequests, "Retry-After: 1");
    }

    #[test]
    fn what_is_public_may_be_loaded_by_any_page_and_kept_while_its_tag_is_the_same() {
        for (status, described) in [
            (Status::Ok, "Content-Type: a/b\r\nContent-Length: 1\r\n"),
            (Status::NotModified, ""),
        ] {
            let mut out = Vec::new();
            Response {
                status,
                content_type: "a/b",
                fields: "",
                body: "c",
                public_tag: Some("\"t\""),
                is_last: true,
            }
            .write(true, &mut out);
            let expected = format!(
                "Connection: close\r\n{described}Cache-Control: no-cache\r\nETag: \"t\"\r\n\
                 Access-Control-Allow-Origin: *\r\nCross-Origin-Resource-Policy: cross-origin\r\n\
                 X-Content-Type-Options: nosniff\r\n\r\n"
            );
            let written = String::from_utf8(out).unwrap();
            assert!(written.ends_with(&expected), "{written}");
        }
    }

    #[test]
    fn only_html_has_a_content_policy() {
        let policy = "\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
            script-src 'self' 'unsafe-inline'; connect-src 'self' ws: wss:; img-src data:; \
            frame-ancestors 'none'; base-uri 'none'\r\n";
        assert!(written(Status::Ok, "text/html; charset=utf-8", true).contains(policy));
        assert!(!written(Status::Ok, "text/plain", true).contains("Content-Security-Policy"));
    }
}
