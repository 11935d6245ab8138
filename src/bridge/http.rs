//! Plain HTTP on the WebSocket port: health, the playground page, and who may upgrade.

use super::hub::Hub;
use crate::{
    access::{secret::Secret, tokens::Holder},
    ws::{
        request::{Method, Request, Upgrade},
        response::{Response, Status},
    },
};

/// What becomes of a request.
pub(super) enum Reply {
    /// These bytes, then the connection ends.
    Respond(Vec<u8>),
    /// The connection becomes a WebSocket.
    Upgrade {
        /// The client's `Sec-WebSocket-Key`.
        key: String,
        /// Whose token came with the request.
        holder: Option<Holder>,
    },
}

impl Hub {
    pub(super) fn reply(&self, slot: u32, request: &Request<'_>) -> Reply {
        let head_only = request.method == Method::Head;
        let respond =
            |status, content_type, body: &str| respond(status, content_type, body, head_only);
        if let Err(refusal) = self.access.check_page(request.host, request.origin) {
            tracing::warn!("refused a request: {refusal}");
            return respond(Status::Forbidden, TEXT, &format!("{refusal}\n"));
        }
        let is_socket = matches!(request.path, "/" | "/ws");
        match (request.path, &request.upgrade) {
            (_, Upgrade::WebSocket { key }) if is_socket => {
                if self.stopping {
                    return respond(Status::ServiceUnavailable, TEXT, "shutting down\n");
                }
                if self
                    .limits
                    .clients_max
                    .is_some_and(|max| self.open_clients >= max)
                {
                    return respond(Status::ServiceUnavailable, TEXT, "too many clients\n");
                }
                if self.addresses.is_full(slot) {
                    let text = "too many clients from this address\n";
                    return respond(Status::TooManyRequests, TEXT, text);
                }
                match self.holder_of(request) {
                    Ok(holder) => Reply::Upgrade {
                        key: (*key).to_owned(),
                        holder,
                    },
                    Err(WrongToken) => {
                        tracing::debug!(client = slot, "refused a token");
                        respond(Status::Unauthorized, TEXT, "the token is wrong\n")
                    }
                }
            }
            (_, Upgrade::WrongVersion) if is_socket => respond(
                Status::UpgradeRequired,
                TEXT,
                "WebSocket version 13 is spoken here\n",
            ),
            (_, Upgrade::Malformed) if is_socket => {
                respond(Status::BadRequest, TEXT, "malformed WebSocket handshake\n")
            }
            _ if request.method == Method::Other => respond(
                Status::MethodNotAllowed,
                TEXT,
                "GET and HEAD are taken here\n",
            ),
            ("/healthz", _) => respond(Status::Ok, TEXT, "ok\n"),
            ("/readyz", _) => match self.listening.readiness() {
                Ok(()) => respond(Status::Ok, TEXT, "ready\n"),
                Err(reason) => respond(Status::ServiceUnavailable, TEXT, &format!("{reason}\n")),
            },
            ("/", _) => match self.page {
                Some(page) => respond(Status::Ok, HTML, page),
                None => respond(
                    Status::UpgradeRequired,
                    TEXT,
                    "a WebSocket server: upgrade\n",
                ),
            },
            ("/ws", _) => respond(
                Status::UpgradeRequired,
                TEXT,
                "a WebSocket server: upgrade\n",
            ),
            _ => respond(Status::NotFound, TEXT, "not found\n"),
        }
    }
}

impl Hub {
    /// Whose token the request brings. A browser's cannot bring one: it says so in a message.
    fn holder_of(&self, request: &Request<'_>) -> Result<Option<Holder>, WrongToken> {
        match request.bearer {
            Some(token) if self.access.is_token_required() => {
                let holder = self.access.authenticate(&Secret::new(token));
                holder.map(Some).ok_or(WrongToken)
            }
            Some(_) | None => Ok(None),
        }
    }
}

/// A token that is nobody's.
struct WrongToken;

/// The answer to a head that could not be read.
pub(super) fn refuse(status: Status) -> Reply {
    respond(status, TEXT, status.reason(), false)
}

fn respond(status: Status, content_type: &str, body: &str, head_only: bool) -> Reply {
    let mut out = Vec::new();
    Response {
        status,
        content_type,
        body,
    }
    .write(head_only, &mut out);
    Reply::Respond(out)
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
