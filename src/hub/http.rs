//! HTTP on the port of the clients: one row a path, and what becomes of a request.
//!
//! Knows neither how a head is read (`http::request`), nor how a body is (`requests`), nor what a
//! client may do once it is in (`admission`, `streams`).

use std::borrow::Cow;

use super::{
    Hub,
    answer::{Answer, HTML, JAVASCRIPT, TEXT, not_allowed},
    clients::Kind,
    eviction::EvictionClass,
    page,
    reply::Reply,
    token_refusal::TokenRefusal,
    unlisten_delay::Parting,
};
use crate::{
    access::{Credential, origins},
    http::{
        body::Framing,
        request::{Method, Request},
        response::Status,
    },
    message::ErrorCode,
    metrics,
    ws::{close::CloseReason, handshake::Upgrade},
};

/// One path.
struct Path {
    /// As the README has it.
    name: &'static str,
    audience: Audience,
    resource: Resource,
}

/// What is at a path.
enum Resource {
    /// The status, the media type and the body for `GET` and `HEAD`.
    Text(fn(&Hub) -> Text),
    /// An opening handshake is taken here; the page is for requests without one.
    Socket(fn(&Hub) -> Text),
    /// The module for pages, where we show one of our own.
    Module,
    /// Events for `GET`.
    Events,
    /// What follows the name, up to the next segment, is a channel; `POST` publishes.
    Publish,
}

type Text = (Status, &'static str, Cow<'static, str>);

/// Who is answered.
enum Audience {
    /// Every page of the world: whose it is does not matter.
    Anybody,
    /// Clients.
    Public,
    /// Operators: at the admin address where there is one, else beside the clients.
    Admin,
}

impl Hub {
    /// Gives the connection its answer, and ends it behind that.
    pub(super) fn respond(&mut self, slot: u32, answer: &Answer) {
        self.note_answer(slot, answer);
        self.end_with(slot, Parting::Lost, |out| answer.append_to(out));
    }

    /// Counts the answer, and says in the log why it is a refusal.
    pub(super) fn note_answer(&mut self, slot: u32, answer: &Answer) {
        if !answer.is_interim {
            self.metrics.http_responses.add(answer.status.code());
        }
        if let Some(reason) = &answer.refusal {
            self.log_refusal(slot, answer.status, reason);
        }
    }

    /// What becomes of a request that was read.
    pub(super) fn reply(&mut self, slot: u32, request: &Request<'_>) -> Reply {
        let is_head_only = request.method == Method::Head;
        let path = self.find_path(slot, request.path);
        let resource = path.map(|path| &path.resource);
        let is_for_programs = matches!(resource, Some(Resource::Events | Resource::Publish));
        let is_for_anybody = path.is_some_and(|path| matches!(path.audience, Audience::Anybody));
        let checked = if is_for_anybody && self.page.is_some() {
            Ok(())
        } else {
            self.check_origin(slot, request)
        };
        let fields = match request.origin {
            Some(origin) if is_for_programs && checked.is_ok() => cors_fields(origin),
            // The answer depends on it: no cache may give one origin that of another.
            Some(_) | None if is_for_programs => VARY.to_owned(),
            Some(_) | None => String::new(),
        };
        let reply = if self.clients.kind(slot) == Kind::Excess {
            self.refuse_for_room(resource, request, "no descriptor is left", &fields)
        } else if let Err(refusal) = checked {
            let (status, text) = (Status::Forbidden, refusal.to_string());
            Reply::Respond(if is_for_programs {
                Answer::error_refusal(status, ErrorCode::Forbidden, &text, None)
            } else {
                Answer::refusal(status, &text)
            })
        } else {
            match resource {
                None if request.method == Method::Other => Reply::Respond(not_allowed("GET, HEAD")),
                None => Reply::Respond(Answer::text(Status::NotFound, NOT_FOUND)),
                Some(Resource::Text(text)) => self.reply_text(*text, request),
                Some(Resource::Socket(text)) => self.reply_socket(slot, *text, request),
                Some(Resource::Module) => self.reply_module(request),
                Some(Resource::Events) => self.reply_events(slot, request, &fields),
                Some(Resource::Publish) => self.reply_publish(slot, request, &fields),
            }
        };
        match reply {
            Reply::Respond(answer) => Reply::Respond(
                answer
                    .with_fields(&fields)
                    .head_only(is_head_only)
                    .persistent(is_for_programs && self.may_persist(slot, request)),
            ),
            Reply::Ask | Reply::Upgrade(_) | Reply::Stream(_) | Reply::Publish(_) => reply,
        }
    }

    /// Whether another request may follow on the connection, its own body being of any use or not.
    fn may_persist(&self, slot: u32, request: &Request<'_>) -> bool {
        let is_short = match request.body {
            // What the peer holds back until it is told to send it may never come.
            Framing::Length(_) | Framing::Chunked if request.expects_continue => false,
            Framing::Length(bytes) => bytes <= self.limits.message_bytes_max as u64,
            Framing::None | Framing::Chunked => true,
        };
        let is_kept = self.clients.kind(slot) == Kind::Client && !self.is_shutting_down();
        request.is_persistent && is_short && is_kept
    }

    fn find_path(&self, slot: u32, path: &str) -> Option<&'static Path> {
        let is_admin = self.clients.kind(slot) == Kind::Admin;
        let is_admin_apart = self.admin_origins.is_some();
        let mut paths = PATHS.iter();
        paths.find(|it| {
            let is_named = match it.resource {
                Resource::Publish => publish_segment(path).is_some(),
                Resource::Text(_) | Resource::Socket(_) | Resource::Module | Resource::Events => {
                    it.name == path
                }
            };
            // Where the program has a protocol of its own there are no channels.
            let is_ours = self.custom_protocol.is_none()
                || !matches!(it.resource, Resource::Events | Resource::Publish);
            is_named && is_ours && it.audience.is_met(is_admin, is_admin_apart)
        })
    }

    fn check_origin(&self, slot: u32, request: &Request<'_>) -> Result<(), origins::Refusal> {
        let is_to_loopback = self.endpoints.is_to_loopback(slot);
        let is_admin = self.clients.kind(slot) == Kind::Admin;
        match self.admin_origins.as_ref().filter(|_| is_admin) {
            Some(origins) => origins.check(request.host, request.origin, is_to_loopback),
            None => self.authorization.check_origin(request, is_to_loopback),
        }
    }

    fn reply_text(&self, text: fn(&Self) -> Text, request: &Request<'_>) -> Reply {
        Reply::Respond(match request.method {
            Method::Get | Method::Head => {
                let (status, content_type, body) = text(self);
                Answer::new(status, content_type, body)
            }
            Method::Post | Method::Options | Method::Other => not_allowed("GET, HEAD"),
        })
    }

    /// The module for pages, or that the browser has it.
    fn reply_module(&self, request: &Request<'_>) -> Reply {
        let is_read = matches!(request.method, Method::Get | Method::Head);
        let Some(page) = self.page.as_ref().filter(|_| is_read) else {
            let text = |_: &Self| (Status::NotFound, TEXT, NOT_FOUND.into());
            return self.reply_text(text, request);
        };
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
        Reply::Respond(Answer::new(status, JAVASCRIPT, page::MODULE).public(tag))
    }

    fn reply_socket(&mut self, slot: u32, text: fn(&Self) -> Text, request: &Request<'_>) -> Reply {
        if !matches!(request.method, Method::Get | Method::Head) {
            return Reply::Respond(not_allowed("GET, HEAD"));
        }
        let (status, reason) = match Upgrade::of(request) {
            Upgrade::None => return self.reply_text(text, request),
            Upgrade::WebSocket { key } => return self.reply_handshake(slot, key, request),
            Upgrade::WrongVersion => {
                let reason = "WebSocket version 13 is spoken here";
                (Status::UpgradeRequired, reason)
            }
            Upgrade::Malformed => (Status::BadRequest, "malformed WebSocket handshake"),
            Upgrade::Dropped => (Status::UpgradeRequired, UPGRADE_DROPPED),
        };
        Reply::Respond(Answer::refusal(status, reason))
    }

    /// Why no further client has a place, if so.
    pub(super) fn lack_of_room(&mut self, slot: u32) -> Option<(Status, &'static str)> {
        if self.is_full() && self.oldest(EvictionClass::Unauthenticated).is_none() {
            Some((Status::ServiceUnavailable, "too many clients"))
        } else if self.address_limit.is_full(slot) {
            let reason = "too many clients from this address";
            Some((Status::TooManyRequests, reason))
        } else {
            None
        }
    }

    /// The token that the request brings in its header.
    pub(super) fn token_of(
        &mut self,
        slot: u32,
        request: &Request<'_>,
    ) -> Result<Option<Credential>, TokenRefusal> {
        let bearer = self.authorization.bearer(request);
        bearer
            .map(|token| self.authenticate(slot, &token))
            .transpose()
    }

    /// The same where no message can bring one later.
    pub(super) fn require_token(
        &mut self,
        slot: u32,
        request: &Request<'_>,
    ) -> Result<Option<Credential>, Answer> {
        if self.authorization.access().is_asked {
            let text = "the program decides here about WebSockets alone";
            let (status, code) = (Status::Forbidden, ErrorCode::Forbidden);
            return Err(Answer::error_refusal(status, code, text, None));
        }
        let refusal = match self.token_of(slot, request) {
            Ok(None) if self.authorization.access().is_token_required() => TokenRefusal::Missing,
            Ok(token) => return Ok(token),
            Err(refusal) => refusal,
        };
        let (status, code) = (refusal.status(), refusal.code());
        let answer = Answer::error_refusal(status, code, refusal.text(), None);
        Err(answer.with_fields(refusal.challenge()))
    }

    fn refuse_for_room(
        &mut self,
        resource: Option<&Resource>,
        request: &Request<'_>,
        reason: &str,
        fields: &str,
    ) -> Reply {
        let is_stream = matches!(resource, Some(Resource::Events)) && request.method == Method::Get;
        Reply::Respond(if is_stream {
            self.stream_refusal(CloseReason::Overloaded, reason, fields)
        } else {
            Answer::no_room(reason)
        })
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

/// For a page of an origin that is allowed: it may see the answer.
fn cors_fields(origin: &str) -> String {
    format!("Access-Control-Allow-Origin: {origin}\r\n{VARY}")
}

/// The channel's segment of a path that publishes.
pub(super) fn publish_segment(path: &str) -> Option<&str> {
    let segment = path.strip_prefix("/publish/")?;
    (!segment.contains('/')).then_some(segment)
}

impl Audience {
    fn is_met(&self, is_admin: bool, is_admin_apart: bool) -> bool {
        match self {
            Self::Anybody | Self::Public => !is_admin,
            Self::Admin => is_admin || !is_admin_apart,
        }
    }
}

fn upgrade_required() -> Text {
    let text = "a WebSocket server: upgrade\n";
    (Status::UpgradeRequired, TEXT, text.into())
}

/// Told by the key, which nothing but a handshake has.
const UPGRADE_DROPPED: &str = "a WebSocket handshake without Upgrade: a proxy in between did not \
     pass it on (nginx needs proxy_http_version 1.1, proxy_set_header Upgrade $http_upgrade and \
     proxy_set_header Connection \"upgrade\")";
const NOT_FOUND: &str = "not found\n";
const VARY: &str = "Vary: Origin\r\n";

/// Every path there is.
const PATHS: &[Path] = &[
    Path {
        name: "/",
        audience: Audience::Public,
        resource: Resource::Socket(|hub| match &hub.page {
            Some(page) => (Status::Ok, HTML, page.html().to_owned().into()),
            None => upgrade_required(),
        }),
    },
    Path {
        name: "/ws",
        audience: Audience::Public,
        resource: Resource::Socket(|_| upgrade_required()),
    },
    Path {
        name: "/alle.js",
        audience: Audience::Anybody,
        resource: Resource::Module,
    },
    Path {
        name: "/sse",
        audience: Audience::Public,
        resource: Resource::Events,
    },
    Path {
        name: "/publish/CHANNEL",
        audience: Audience::Public,
        resource: Resource::Publish,
    },
    Path {
        name: "/healthz",
        audience: Audience::Admin,
        resource: Resource::Text(|_| (Status::Ok, TEXT, "ok\n".into())),
    },
    Path {
        name: "/readyz",
        audience: Audience::Admin,
        resource: Resource::Text(|hub| match hub.readiness() {
            Ok(()) => (Status::Ok, TEXT, "ready\n".into()),
            Err(reason) => (
                Status::ServiceUnavailable,
                TEXT,
                format!("{reason}\n").into(),
            ),
        }),
    },
    Path {
        name: "/metrics",
        audience: Audience::Admin,
        resource: Resource::Text(|hub| {
            let text = hub.metrics_text();
            (Status::Ok, metrics::CONTENT_TYPE, text.into())
        }),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_what_each_path_answers() {
        let readme = include_str!("../../README.md");
        for Path { name, .. } in PATHS {
            assert!(
                readme.contains(&format!("\n| `{name}` | ")),
                "README.md: no {name}"
            );
        }
    }
}
