//! What is at which path, at the address of clients and at the admin address: one row a path.
//!
//! Judges a request by its head as far as that alone goes: path, method, origin. Knows neither how a
//! head and a body are read, nor what the hub has to say about itself, nor what a client may do once
//! it is in.

use super::{
    answer::{Answer, HTML, JAVASCRIPT, not_allowed, preflight},
    authorization::Authorization,
    clients::Kind,
    page::{self, Page},
};
use crate::{
    access::origins::{self, OriginPolicy},
    http::{
        body::Framing,
        request::{Method, Request},
        response::Status,
    },
    message::ErrorCode,
    ws::handshake::Upgrade,
};

/// Everything that can be asked for.
#[derive(Debug)]
pub(super) struct Site {
    /// The page at `GET /`, where there is one.
    page: Option<Page>,
    /// Who may use the admin address, where there is one: health and metrics are only there then.
    admin_origins: Option<OriginPolicy>,
    /// Where the program speaks a protocol of its own with clients there are no channels.
    has_channels: bool,
    /// The longest body that is read.
    body_bytes_max: usize,
}

/// Which way a request came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) kind: Kind,
    pub(super) is_to_loopback: bool,
}

/// A request whose path, method and origin were looked at.
pub(super) struct Visit<'a> {
    pub(super) wanted: Wanted<'a>,
    /// Header fields that the response has besides its own.
    pub(super) fields: String,
    /// Another request may follow on the connection, its own body being of any use or not.
    pub(super) may_persist: bool,
}

/// What a request is for.
pub(super) enum Wanted<'a> {
    /// This, whoever asks.
    Answer(Answer),
    /// What the hub has to say about itself.
    Report(Report),
    /// A WebSocket: the opening handshake is sound.
    WebSocket {
        /// `Sec-WebSocket-Key`
        key: &'a str,
    },
    /// A WebSocket, by a handshake that lost something on its way.
    Lost(Lost),
    /// Events.
    Events,
    /// Events, for whose connection no descriptor is left.
    EventsRefused,
    /// To publish on the channel that this segment of the path names.
    Publish {
        /// As it was sent.
        segment: &'a str,
    },
}

/// What a proxy did to a handshake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    status: Status,
    pub(super) what: &'static str,
    /// And what to do about it.
    pub(super) why: &'static str,
}

impl Lost {
    /// What the client is told.
    pub(super) fn answer(self) -> Answer {
        let Self { status, what, why } = self;
        Answer::refusal(status, what).with_body(format!("{what}: {why}\n"))
    }
}

/// What the hub is asked about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// Whether it is ready.
    Readiness,
    /// What it counted, and what there is.
    Metrics,
}

/// One path.
struct Path {
    /// As the README has it.
    name: &'static str,
    audience: Audience,
    resource: Resource,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    /// An opening handshake is taken here; the page, where there is one, is for requests without one.
    Page,
    /// An opening handshake is taken here.
    Socket,
    /// The module for pages, where we show one of our own.
    Module,
    /// Events for `GET`.
    Events,
    /// What follows the name, up to the next segment, is a channel; `POST` publishes.
    Publish,
    /// A text that is always the same.
    Text(&'static str),
    /// What the hub has to say about itself.
    Report(Report),
}

/// Who is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// Every page of the world: whose it is does not matter.
    Anybody,
    /// Clients.
    Public,
    /// Operators: at the admin address where there is one, else beside the clients.
    Admin,
}

impl Site {
    /// Bodies of at most `body_bytes_max` bytes are read.
    pub(super) fn new(
        page: Option<Page>,
        admin_origins: Option<OriginPolicy>,
        body_bytes_max: usize,
    ) -> Self {
        Self {
            page,
            admin_origins,
            has_channels: true,
            body_bytes_max,
        }
    }

    /// There are no channels here.
    pub(super) fn close_channels(&mut self) {
        self.has_channels = false;
    }

    /// Whether there are channels here.
    pub(super) fn has_channels(&self) -> bool {
        self.has_channels
    }

    /// What becomes of a request that was read, as far as its head says.
    pub(super) fn visit<'a>(
        &self,
        request: &Request<'a>,
        way: Way,
        authorization: &Authorization,
    ) -> Visit<'a> {
        let path = self.find(request.path, way);
        let resource = path.map(|path| path.resource);
        let is_for_programs = matches!(resource, Some(Resource::Events | Resource::Publish));
        let is_for_anybody = path.is_some_and(|path| path.audience == Audience::Anybody);
        let checked = if is_for_anybody {
            Ok(())
        } else {
            self.check_origin(request, way, authorization)
        };
        let fields = match request.origin {
            Some(origin) if is_for_programs && checked.is_ok() => {
                let access = authorization.access();
                cors_fields(origin, access.may_send_cookies(request.host, origin))
            }
            // The answer depends on it: no cache may give one origin that of another.
            Some(_) | None if is_for_programs => VARY.to_owned(),
            Some(_) | None => String::new(),
        };
        let wanted = match checked {
            _ if way.kind == Kind::Excess => {
                let is_get = request.method == Method::Get;
                if is_get && resource == Some(Resource::Events) {
                    Wanted::EventsRefused
                } else {
                    Wanted::Answer(Answer::no_room(NO_DESCRIPTOR))
                }
            }
            Err(refusal) if is_for_programs => {
                let text = refusal.to_string();
                Wanted::Answer(Answer::error_refusal(ErrorCode::Forbidden, &text, None))
            }
            Err(refusal) => {
                let text = refusal.to_string();
                Wanted::Answer(Answer::refusal(Status::Forbidden, &text))
            }
            Ok(()) => self.find_wanted(resource, request),
        };
        let may_persist = is_for_programs && way.kind == Kind::Client && self.may_persist(request);
        Visit {
            wanted,
            fields,
            may_persist,
        }
    }

    fn may_persist(&self, request: &Request<'_>) -> bool {
        let is_short = match request.body {
            // What the peer holds back until it is told to send it may never come.
            Framing::Length(_) | Framing::Chunked if request.expects_continue => false,
            Framing::Length(bytes) => bytes <= self.body_bytes_max as u64,
            Framing::None | Framing::Chunked => true,
        };
        request.is_persistent && is_short
    }

    fn find(&self, path: &str, way: Way) -> Option<&'static Path> {
        let is_admin = way.kind == Kind::Admin;
        let mut paths = PATHS.iter();
        paths.find(|it| {
            let is_named = if it.resource == Resource::Publish {
                publish_segment(path).is_some()
            } else {
                it.name == path
            };
            let is_there = match it.resource {
                Resource::Events | Resource::Publish => self.has_channels,
                Resource::Module => self.page.is_some(),
                Resource::Page | Resource::Socket | Resource::Text(_) | Resource::Report(_) => true,
            };
            let is_met = match it.audience {
                Audience::Anybody | Audience::Public => !is_admin,
                Audience::Admin => is_admin || self.admin_origins.is_none(),
            };
            is_named && is_there && is_met
        })
    }

    fn check_origin(
        &self,
        request: &Request<'_>,
        way: Way,
        authorization: &Authorization,
    ) -> Result<(), origins::Refusal> {
        let is_admin = way.kind == Kind::Admin;
        match self.admin_origins.as_ref().filter(|_| is_admin) {
            Some(origins) => origins.check(request.host, request.origin, way.is_to_loopback),
            None => authorization.check_origin(request, way.is_to_loopback),
        }
    }

    fn find_wanted<'a>(&self, resource: Option<Resource>, request: &Request<'a>) -> Wanted<'a> {
        let Some(resource) = resource else {
            return Wanted::Answer(Answer::text(Status::NotFound, NOT_FOUND));
        };
        let method = request.method;
        let is_read = matches!(method, Method::Get | Method::Head);
        let (methods, is_taken) = match resource {
            Resource::Events => ("GET, HEAD, OPTIONS", is_read || method == Method::Options),
            Resource::Publish => (
                "POST, OPTIONS",
                matches!(method, Method::Post | Method::Options),
            ),
            Resource::Page
            | Resource::Socket
            | Resource::Module
            | Resource::Text(_)
            | Resource::Report(_) => ("GET, HEAD", is_read),
        };
        if !is_taken {
            return Wanted::Answer(not_allowed(methods));
        }
        match resource {
            Resource::Events | Resource::Publish if method == Method::Options => {
                Wanted::Answer(preflight(methods))
            }
            Resource::Events => Wanted::Events,
            Resource::Publish => Wanted::Publish {
                segment: publish_segment(request.path).unwrap_or_default(),
            },
            Resource::Page => self.find_socket(self.page.as_ref(), request),
            Resource::Socket => self.find_socket(None, request),
            Resource::Module => Wanted::Answer(self.answer_module(request)),
            Resource::Text(text) => Wanted::Answer(Answer::text(Status::Ok, text)),
            Resource::Report(report) => Wanted::Report(report),
        }
    }

    fn find_socket<'a>(&self, page: Option<&Page>, request: &Request<'a>) -> Wanted<'a> {
        Wanted::Answer(match Upgrade::of(request) {
            Upgrade::WebSocket { key } => return Wanted::WebSocket { key },
            Upgrade::None => match page {
                Some(page) => Answer::new(Status::Ok, HTML, page.html()),
                None => Answer::text(Status::UpgradeRequired, "a WebSocket server: upgrade\n"),
            },
            Upgrade::WrongVersion => {
                let reason = "WebSocket version 13 is spoken here";
                Answer::refusal(Status::UpgradeRequired, reason)
            }
            Upgrade::Malformed => {
                Answer::refusal(Status::BadRequest, "malformed WebSocket handshake")
            }
            Upgrade::Dropped => return Wanted::Lost(UPGRADE_DROPPED),
            Upgrade::Unconnected => return Wanted::Lost(CONNECTION_DROPPED),
            Upgrade::Http10 => return Wanted::Lost(HTTP_1_0),
        })
    }

    /// The module for pages, or that the browser has it.
    fn answer_module(&self, request: &Request<'_>) -> Answer {
        let Some(page) = &self.page else {
            return Answer::text(Status::NotFound, NOT_FOUND);
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
        Answer::new(status, JAVASCRIPT, page::MODULE).public(tag)
    }
}

/// For a page of an origin that is allowed: it may see the answer, that to a request with cookies
/// only where it may send them.
fn cors_fields(origin: &str, may_send_cookies: bool) -> String {
    let credentials = if may_send_cookies {
        "Access-Control-Allow-Credentials: true\r\n"
    } else {
        ""
    };
    format!("Access-Control-Allow-Origin: {origin}\r\n{credentials}{VARY}")
}

/// The channel's segment of a path that publishes.
fn publish_segment(path: &str) -> Option<&str> {
    let segment = path.strip_prefix("/publish/")?;
    (!segment.contains('/')).then_some(segment)
}

/// Told by the key, which nothing but a handshake has.
const UPGRADE_DROPPED: Lost = Lost {
    status: Status::UpgradeRequired,
    what: "a WebSocket handshake without Upgrade",
    why: "a proxy in between did not pass it on (nginx needs proxy_http_version 1.1, \
          proxy_set_header Upgrade $http_upgrade and proxy_set_header Connection \"upgrade\")",
};
const CONNECTION_DROPPED: Lost = Lost {
    status: Status::BadRequest,
    what: "a WebSocket handshake without Connection: Upgrade",
    why: "a proxy in between did not pass it on (nginx needs proxy_set_header Connection \"upgrade\")",
};
const HTTP_1_0: Lost = Lost {
    status: Status::UpgradeRequired,
    what: "a WebSocket handshake in HTTP/1.0, which has no upgrades",
    why: "a proxy in between speaks it (nginx needs proxy_http_version 1.1)",
};
const NOT_FOUND: &str = "not found\n";
const VARY: &str = "Vary: Origin\r\n";
/// Why a connection that came too late is refused.
pub(super) const NO_DESCRIPTOR: &str = "no descriptor is left";

/// Every path there is.
const PATHS: &[Path] = &[
    Path {
        name: "/",
        audience: Audience::Public,
        resource: Resource::Page,
    },
    Path {
        name: "/ws",
        audience: Audience::Public,
        resource: Resource::Socket,
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
        resource: Resource::Text("ok\n"),
    },
    Path {
        name: "/readyz",
        audience: Audience::Admin,
        resource: Resource::Report(Report::Readiness),
    },
    Path {
        name: "/metrics",
        audience: Audience::Admin,
        resource: Resource::Report(Report::Metrics),
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
