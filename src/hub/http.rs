//! Plain HTTP on the WebSocket port: health, metrics, the playground page, and who may upgrade.
//!
//! Knows neither how a head is read (`ws::request`) nor what a client may do once it is in
//! (`admission`).

use super::{Hub, clients::Kind, eviction::EvictionClass};
use crate::{
    access::{secret::Secret, tokens::TokenId},
    metrics,
    ws::{
        request::{Method, Request, Upgrade},
        response::{Response, Status},
    },
};

/// What becomes of a request.
pub(super) enum Reply {
    /// An answer, then the connection ends.
    Respond(Answer),
    /// The connection becomes a WebSocket.
    Upgrade {
        /// The client's `Sec-WebSocket-Key`.
        key: String,
        /// The token that came with the request.
        token: Option<TokenId>,
    },
}

/// A response, encoded.
pub(super) struct Answer {
    status: Status,
    bytes: Vec<u8>,
}

impl Hub {
    /// Gives the connection its answer, and ends it behind that.
    pub(super) fn respond(&mut self, slot: u32, answer: &Answer) {
        self.metrics.http_responses.add(answer.status.code());
        self.end_with(slot, |out| out.extend_from_slice(&answer.bytes));
    }

    /// What becomes of a request that was read.
    pub(super) fn reply(&mut self, slot: u32, request: &Request<'_>) -> Reply {
        let head_only = request.method == Method::Head;
        let respond = |status, content_type, body: &str| {
            Reply::Respond(Answer::new(status, content_type, body, head_only))
        };
        if self.clients.kind(slot) == Kind::Excess {
            return respond(Status::ServiceUnavailable, TEXT, "no descriptor is left\n");
        }
        let is_to_loopback = self.endpoints.is_to_loopback(slot);
        let is_admin = self.clients.kind(slot) == Kind::Admin;
        let checked = match self.admin_origins.as_ref().filter(|_| is_admin) {
            Some(origins) => origins.check(request.host, request.origin, is_to_loopback),
            None => {
                let access = &self.access;
                access.check_page(request.host, request.origin, is_to_loopback)
            }
        };
        if let Err(refusal) = checked {
            tracing::warn!("refused a request: {refusal}");
            return respond(Status::Forbidden, TEXT, &format!("{refusal}\n"));
        }
        let is_socket = !is_admin && matches!(request.path, "/" | "/ws");
        let is_watched = is_admin || self.admin_origins.is_none();
        match (request.path, &request.upgrade) {
            _ if request.method == Method::Other => respond(
                Status::MethodNotAllowed,
                TEXT,
                "GET and HEAD are taken here\n",
            ),
            (_, Upgrade::WebSocket { key }) if is_socket => self.upgrade(slot, key, request),
            (_, Upgrade::WrongVersion) if is_socket => respond(
                Status::UpgradeRequired,
                TEXT,
                "WebSocket version 13 is spoken here\n",
            ),
            (_, Upgrade::Malformed) if is_socket => {
                respond(Status::BadRequest, TEXT, "malformed WebSocket handshake\n")
            }
            ("/healthz", _) if is_watched => respond(Status::Ok, TEXT, "ok\n"),
            ("/readyz", _) if is_watched => match self.readiness() {
                Ok(()) => respond(Status::Ok, TEXT, "ready\n"),
                Err(reason) => respond(Status::ServiceUnavailable, TEXT, &format!("{reason}\n")),
            },
            ("/metrics", _) if is_watched => {
                let text = self.metrics.text(&self.gauges());
                respond(Status::Ok, metrics::CONTENT_TYPE, &text)
            }
            ("/", _) if is_socket => match self.page {
                Some(page) => respond(Status::Ok, HTML, page),
                None => respond(
                    Status::UpgradeRequired,
                    TEXT,
                    "a WebSocket server: upgrade\n",
                ),
            },
            ("/ws", _) if is_socket => respond(
                Status::UpgradeRequired,
                TEXT,
                "a WebSocket server: upgrade\n",
            ),
            _ => respond(Status::NotFound, TEXT, "not found\n"),
        }
    }

    /// The answer to a sound opening handshake, which is a `GET`.
    fn upgrade(&mut self, slot: u32, key: &str, request: &Request<'_>) -> Reply {
        let (status, text) = if self.is_shutting_down() {
            (Status::ServiceUnavailable, "shutting down\n")
        } else if self.is_full() && self.oldest(EvictionClass::Unauthenticated).is_none() {
            (Status::ServiceUnavailable, "too many clients\n")
        } else if self.address_limit.is_full(slot) {
            let text = "too many clients from this address\n";
            (Status::TooManyRequests, text)
        } else if let Ok(token) = self.token_of(request) {
            let key = key.to_owned();
            return Reply::Upgrade { key, token };
        } else {
            tracing::debug!(client = slot, "refused a token");
            (Status::Unauthorized, "the token is wrong\n")
        };
        Reply::Respond(Answer::new(status, TEXT, text, false))
    }

    /// The token that the request brings. A browser's cannot bring one: it says so in a message.
    fn token_of(&self, request: &Request<'_>) -> Result<Option<TokenId>, WrongToken> {
        match request.bearer {
            Some(token) if self.access.is_token_required() => {
                let token = self.access.authenticate(&Secret::new(token));
                token.map(Some).ok_or(WrongToken)
            }
            Some(_) | None => Ok(None),
        }
    }
}

impl Answer {
    /// Where no head is waited for any more.
    pub(super) fn no_room(text: &str) -> Self {
        Self::new(Status::ServiceUnavailable, TEXT, text, false)
    }

    /// To a head that could not be read.
    pub(super) fn unreadable(status: Status) -> Self {
        Self::new(status, TEXT, status.reason(), false)
    }

    fn new(status: Status, content_type: &str, body: &str, head_only: bool) -> Self {
        let mut bytes = Vec::new();
        Response {
            status,
            content_type,
            body,
        }
        .write(head_only, &mut bytes);
        Self { status, bytes }
    }
}

/// A token that is nobody's.
struct WrongToken;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
