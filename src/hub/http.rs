//! Plain HTTP on the WebSocket port: one row a path, and who may upgrade.
//!
//! Knows neither how a head is read (`ws::request`) nor what a client may do once it is in
//! (`admission`).

use std::borrow::Cow;

use super::{
    Hub,
    authorization::TokenRefusal,
    clients::Kind,
    eviction::EvictionClass,
    page::{self, Page},
    unlisten_delay::Parting,
};
use crate::{
    access::{secret::Secret, tokens::TokenId, visitor::Verdict},
    escape, metrics,
    ws::{
        request::{Method, Request, Upgrade},
        response::{Response, Status},
    },
};

/// What becomes of a request.
pub(super) enum Reply {
    /// An answer, then the connection ends.
    Respond(Answer),
    /// Somebody is to be asked about the client; until the answer, the connection waits.
    Ask,
    /// The connection becomes a WebSocket.
    Upgrade {
        /// The client's `Sec-WebSocket-Key`.
        key: String,
        /// The token that came with the request.
        token: Option<TokenId>,
    },
}

/// One path.
struct Path {
    path: &'static str,
    audience: Audience,
    /// Whether an opening handshake is taken here.
    is_socket: bool,
    /// The status, the media type and the body for `GET` and `HEAD` without an upgrade.
    answer: fn(&Hub) -> (Status, &'static str, Cow<'static, str>),
}

/// Who is answered.
enum Audience {
    /// Every page of the world, where we show one of our own: whose it is does not matter.
    Anybody,
    /// Clients.
    Public,
    /// Operators: at the admin address where there is one, else beside the clients.
    Admin,
}

/// A response, encoded.
pub(super) struct Answer {
    status: Status,
    bytes: Vec<u8>,
    /// Why the client is refused, for the log; `None` where it is not, or nobody cares.
    refusal: Option<String>,
}

impl Hub {
    /// Gives the connection its answer, and ends it behind that.
    pub(super) fn respond(&mut self, slot: u32, answer: &Answer) {
        self.metrics.http_responses.add(answer.status.code());
        if let Some(reason) = &answer.refusal {
            self.log_refusal(slot, answer.status, reason);
        }
        self.end_with(slot, Parting::Lost, |out| {
            out.extend_from_slice(&answer.bytes)
        });
    }

    /// What becomes of a request that was read.
    pub(super) fn reply(&mut self, slot: u32, request: &Request<'_>) -> Reply {
        let head_only = request.method == Method::Head;
        let respond = |status, content_type, body: &str| {
            Reply::Respond(Answer::new(status, content_type, body, head_only))
        };
        if self.clients.kind(slot) == Kind::Excess {
            return Reply::Respond(Answer::no_room("no descriptor is left"));
        }
        let is_to_loopback = self.endpoints.is_to_loopback(slot);
        let is_admin = self.clients.kind(slot) == Kind::Admin;
        if let Some(page) = self
            .page
            .as_ref()
            .filter(|_| !is_admin && is_for_anybody(request))
        {
            return Reply::Respond(Answer::module(page, request));
        }
        let checked = match self.admin_origins.as_ref().filter(|_| is_admin) {
            Some(origins) => origins.check(request.host, request.origin, is_to_loopback),
            None => {
                let access = &self.access;
                access.check_origin(request.host, request.origin, is_to_loopback)
            }
        };
        let refuse =
            |status, reason: &str| Reply::Respond(Answer::refusal(status, reason, head_only));
        if let Err(refusal) = checked {
            return refuse(Status::Forbidden, &refusal.to_string());
        }
        if request.method == Method::Other {
            let text = "GET and HEAD are taken here\n";
            return respond(Status::MethodNotAllowed, TEXT, text);
        }
        let is_admin_apart = self.admin_origins.is_some();
        let Some(path) = PATHS.iter().find(|path| {
            path.path == request.path && path.audience.is_met(is_admin, is_admin_apart)
        }) else {
            return respond(Status::NotFound, TEXT, NOT_FOUND);
        };
        if path.is_socket {
            match &request.upgrade {
                Upgrade::None => {}
                Upgrade::WebSocket { key } => return self.upgrade(slot, key, request),
                Upgrade::WrongVersion => {
                    let reason = "WebSocket version 13 is spoken here";
                    return refuse(Status::UpgradeRequired, reason);
                }
                Upgrade::Malformed => {
                    return refuse(Status::BadRequest, "malformed WebSocket handshake");
                }
                Upgrade::Dropped => return refuse(Status::UpgradeRequired, UPGRADE_DROPPED),
            }
        }
        let (status, content_type, body) = (path.answer)(self);
        respond(status, content_type, &body)
    }

    /// The answer to a sound opening handshake, which is a `GET`.
    fn upgrade(&mut self, slot: u32, key: &str, request: &Request<'_>) -> Reply {
        let (status, reason) = if self.is_shutting_down() {
            let answer = Answer::new(Status::ServiceUnavailable, TEXT, "shutting down\n", false);
            return Reply::Respond(answer);
        } else if self.is_full() && self.oldest(EvictionClass::Unauthenticated).is_none() {
            (Status::ServiceUnavailable, "too many clients")
        } else if self.address_limit.is_full(slot) {
            let reason = "too many clients from this address";
            (Status::TooManyRequests, reason)
        } else if self.access.is_asked {
            return self.upgrade_if_admitted(slot, key);
        } else {
            match self.token_of(slot, request) {
                Ok(token) => {
                    let key = key.to_owned();
                    return Reply::Upgrade { key, token };
                }
                Err(refusal) => (refusal.status(), refusal.text()),
            }
        };
        Reply::Respond(Answer::refusal(status, reason, false))
    }

    /// The answer to a sound opening handshake where somebody else decides about it.
    fn upgrade_if_admitted(&mut self, slot: u32, key: &str) -> Reply {
        let (status, reason) = match self.asking.take(slot) {
            None => return Reply::Ask,
            Some(Verdict::Admit(permissions)) => {
                let token = Some(self.access.grant(permissions));
                let key = key.to_owned();
                return Reply::Upgrade { key, token };
            }
            Some(Verdict::Refuse(reason)) => (Status::Forbidden, reason),
            Some(Verdict::Unauthenticated(reason)) => (Status::Unauthorized, reason),
            Some(Verdict::Unavailable(reason)) => (Status::ServiceUnavailable, reason),
        };
        Reply::Respond(Answer::refusal(status, &escape::escaped(&reason), false))
    }

    /// The token that the request brings. A browser's cannot bring one: it says so in a message.
    fn token_of(
        &mut self,
        slot: u32,
        request: &Request<'_>,
    ) -> Result<Option<TokenId>, TokenRefusal> {
        match request.bearer {
            Some(token) if self.access.is_token_required() => {
                self.authenticate(slot, &Secret::new(token)).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Says in the log why a client is refused, unless others of the kind were within the second.
    pub(super) fn log_refusal(&mut self, slot: u32, status: Status, reason: &str) {
        if self.refusals.note(status, self.clock.now()) {
            let code = status.code();
            match self.endpoints.peer(slot) {
                Some(peer) => tracing::warn!("refused {peer} with {code}: {reason}"),
                None => tracing::warn!("refused a client with {code}: {reason}"),
            }
        }
    }

    /// Says how many were refused without a word.
    pub(super) fn log_refusals(&mut self) {
        while let Some((code, count)) = self.refusals.poll(self.clock.now()) {
            tracing::warn!("refused {count} more with {code} since");
        }
    }
}

impl Answer {
    /// Where no head is waited for any more.
    pub(super) fn no_room(reason: &str) -> Self {
        Self::refusal(Status::ServiceUnavailable, reason, false)
    }

    /// To a head that could not be read.
    pub(super) fn unreadable(status: Status) -> Self {
        let reason = if status == Status::HeaderFieldsTooLarge {
            HEAD_TOO_LARGE
        } else {
            "the request is malformed"
        };
        Self::refusal(status, reason, false)
    }

    /// What the client does not get, and why; one line.
    fn refusal(status: Status, reason: &str, head_only: bool) -> Self {
        Self {
            refusal: Some(reason.to_owned()),
            ..Self::new(status, TEXT, &format!("{reason}\n"), head_only)
        }
    }

    fn new(status: Status, content_type: &str, body: &str, head_only: bool) -> Self {
        let mut bytes = Vec::new();
        Response {
            status,
            content_type,
            body,
            public_tag: None,
        }
        .write(head_only, &mut bytes);
        Self {
            status,
            bytes,
            refusal: None,
        }
    }

    /// The module for pages, or that the browser has it.
    fn module(page: &Page, request: &Request<'_>) -> Self {
        let tag = page.tag();
        let is_known = request.if_none_match.is_some_and(|tags| {
            // RFC 9110, 13.1.2: compared weakly.
            let mut tags = tags.split(',').map(str::trim);
            tags.any(|it| it == "*" || it.trim_start_matches("W/") == tag)
        });
        let status = if is_known {
            Status::NotModified
        } else {
            Status::Ok
        };
        let mut bytes = Vec::new();
        Response {
            status,
            content_type: JAVASCRIPT,
            body: page::MODULE,
            public_tag: Some(tag),
        }
        .write(request.method == Method::Head, &mut bytes);
        Self {
            status,
            bytes,
            refusal: None,
        }
    }
}

impl Audience {
    fn is_met(&self, is_admin: bool, is_admin_apart: bool) -> bool {
        match self {
            Self::Anybody | Self::Public => !is_admin,
            Self::Admin => is_admin || !is_admin_apart,
        }
    }
}

fn is_for_anybody(request: &Request<'_>) -> bool {
    let is_read = request.method != Method::Other;
    let mut paths = PATHS.iter().filter(|it| it.path == request.path);
    is_read && paths.any(|it| matches!(it.audience, Audience::Anybody))
}

fn upgrade_required() -> (Status, &'static str, Cow<'static, str>) {
    let text = "a WebSocket server: upgrade\n";
    (Status::UpgradeRequired, TEXT, text.into())
}

/// Told by the key, which nothing but a handshake has.
const UPGRADE_DROPPED: &str = "a WebSocket handshake without Upgrade: a proxy in between did not \
     pass it on (nginx needs proxy_http_version 1.1, proxy_set_header Upgrade $http_upgrade and \
     proxy_set_header Connection \"upgrade\")";
const HEAD_TOO_LARGE: &str = "the head of the request, its cookies included, has more than 8 KiB \
     or 100 fields";
const NOT_FOUND: &str = "not found\n";
const TEXT: &str = "text/plain; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// Every path there is.
const PATHS: &[Path] = &[
    Path {
        path: "/",
        audience: Audience::Public,
        is_socket: true,
        answer: |hub| match &hub.page {
            Some(page) => (Status::Ok, HTML, page.html().to_owned().into()),
            None => upgrade_required(),
        },
    },
    Path {
        path: "/ws",
        audience: Audience::Public,
        is_socket: true,
        answer: |_| upgrade_required(),
    },
    Path {
        path: "/alle.js",
        audience: Audience::Anybody,
        is_socket: false,
        // Where there is a page, it has been answered.
        answer: |_| (Status::NotFound, TEXT, NOT_FOUND.into()),
    },
    Path {
        path: "/healthz",
        audience: Audience::Admin,
        is_socket: false,
        answer: |_| (Status::Ok, TEXT, "ok\n".into()),
    },
    Path {
        path: "/readyz",
        audience: Audience::Admin,
        is_socket: false,
        answer: |hub| match hub.readiness() {
            Ok(()) => (Status::Ok, TEXT, "ready\n".into()),
            Err(reason) => (
                Status::ServiceUnavailable,
                TEXT,
                format!("{reason}\n").into(),
            ),
        },
    },
    Path {
        path: "/metrics",
        audience: Audience::Admin,
        is_socket: false,
        answer: |hub| {
            let text = hub.metrics_text();
            (Status::Ok, metrics::CONTENT_TYPE, text.into())
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_what_each_path_answers() {
        let readme = include_str!("../../README.md");
        for Path { path, .. } in PATHS {
            assert!(
                readme.contains(&format!("\n| `{path}` | ")),
                "README.md: no {path}"
            );
        }
    }
}
