//! The channels that this client wants, their confirmations, and its position on each of them.
//!
//! Pure: requests come out as JSON for the owner of the socket, answers go in as [`Message`]s and
//! come out as [`Report`]s for the screen. After a lost connection every wanted channel is
//! requested again from its position, so that a gap is either filled by the bridge or reported.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::cli::wire::{self, Message, Position, Request, RequestId};

/// Every channel wanted, and every request without an answer yet.
#[derive(Debug)]
pub(super) struct Subscriptions {
    channels: BTreeMap<String, Subscription>,
    /// The names that were ever wanted or published to, to be offered again.
    names: BTreeSet<String>,
    /// By id; empty while there is no connection.
    requests: BTreeMap<u64, Asked>,
    /// The channels that the bridge refused for now, in that order; empty while there is no
    /// connection.
    delayed: VecDeque<String>,
    is_connected: bool,
    next_id: u64,
}

#[derive(Debug)]
struct Subscription {
    /// The origin of its next request if the connection is lost: `Again` once it was confirmed.
    origin: Origin,
    /// Whether it was confirmed on this connection.
    is_live: bool,
    /// Whether it was said that it is refused for now, since it was last confirmed.
    is_delay_told: bool,
    /// `Some` if the bridge confirmed it with a position.
    position: Option<Position>,
}

#[derive(Debug)]
enum Asked {
    Subscribe { channel: String, origin: Origin },
    Unsubscribe { channel: String },
    Publish { channel: String },
}

/// The origin of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The command line.
    Start,
    /// `sub`.
    Typed,
    /// It was confirmed before the connection was lost.
    Again,
}

/// An event to show.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// A notification.
    Notification { channel: String, payload: String },
    /// A typed subscribe is confirmed.
    Subscribed(String),
    /// A typed unsubscribe is confirmed.
    Unsubscribed(String),
    /// Notifications of a channel may be missing.
    Gap { channel: String, cause: GapCause },
    /// PostgreSQL committed a typed notification.
    Published(String),
    /// The answer to a typed notification is lost with the connection.
    Unanswered(String),
    /// The bridge refuses a channel, and it is no longer wanted.
    Refused { channel: String, message: String },
    /// The bridge refuses a channel for now, and it is asked for again.
    Delayed { channel: String, message: String },
    /// A request failed, or a subscription has an error.
    Error {
        channel: Option<String>,
        message: String,
    },
    /// PostgreSQL was lost or is back.
    Postgres { is_up: bool },
}

/// The cause of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GapCause {
    /// The bridge was without PostgreSQL.
    Postgres,
    /// The client was without the bridge.
    Connection,
}

impl Subscriptions {
    /// Wants `channels`; none of them is requested yet.
    pub(super) fn new(channels: &[String]) -> Self {
        let start = |channel: &String| {
            (
                channel.clone(),
                Subscription {
                    origin: Origin::Start,
                    is_live: false,
                    is_delay_told: false,
                    position: None,
                },
            )
        };
        Self {
            channels: channels.iter().map(start).collect(),
            names: channels.iter().take(NAMES_MAX).cloned().collect(),
            requests: BTreeMap::new(),
            delayed: VecDeque::new(),
            is_connected: false,
            next_id: 1,
        }
    }

    /// The connection is up. Returns the requests to send on it.
    pub(super) fn handle_connected(&mut self) -> Vec<String> {
        debug_assert!(
            self.requests.is_empty(),
            "no request outlives its connection"
        );
        self.is_connected = true;
        self.ask(self.channels.keys().cloned().collect())
    }

    /// How many channels wait to be asked for again.
    pub(super) fn delayed_count(&self) -> usize {
        self.delayed.len()
    }

    /// It is time for some of the channels that were refused for now. Returns the requests to
    /// send.
    pub(super) fn ask_delayed(&mut self) -> Vec<String> {
        let count = self.delayed.len().min(ASKED_AGAIN_MAX);
        let delayed = self.delayed.drain(..count).collect();
        self.ask(delayed)
    }

    fn ask(&mut self, channels: Vec<String>) -> Vec<String> {
        let mut requests = Vec::with_capacity(channels.len());
        for channel in channels {
            let id = self.next_id();
            let Some(subscription) = self.channels.get(&channel) else {
                continue;
            };
            let request = Request::Subscribe {
                channel: &channel,
                id,
                since: subscription.position.as_ref(),
            };
            requests.push(request.to_json());
            let origin = subscription.origin;
            self.requests
                .insert(id, Asked::Subscribe { channel, origin });
        }
        requests
    }

    /// The connection is lost, and with it every subscription that was being ended.
    pub(super) fn handle_disconnected(&mut self) -> Vec<Report> {
        self.is_connected = false;
        self.delayed.clear();
        for subscription in self.channels.values_mut() {
            subscription.is_live = false;
        }
        let asked = std::mem::take(&mut self.requests).into_values();
        asked
            .filter_map(|asked| match asked {
                Asked::Subscribe { .. } => None,
                Asked::Unsubscribe { channel } => Some(Report::Unsubscribed(channel)),
                Asked::Publish { channel } => Some(Report::Unanswered(channel)),
            })
            .collect()
    }

    /// Wants `channel` too. Returns the request to send, if there is a connection.
    pub(super) fn subscribe(&mut self, channel: &str) -> Option<String> {
        let typed = Subscription {
            origin: Origin::Typed,
            is_live: false,
            is_delay_told: false,
            position: None,
        };
        self.know(channel);
        self.delayed.retain(|delayed| delayed != channel);
        self.channels.entry(channel.to_owned()).or_insert(typed);
        let id = self.next_id();
        let asked = Asked::Subscribe {
            channel: channel.to_owned(),
            origin: Origin::Typed,
        };
        self.is_connected.then(|| {
            self.requests.insert(id, asked);
            Request::Subscribe {
                channel,
                id,
                since: None,
            }
            .to_json()
        })
    }

    /// No longer wants `channel`. Returns the request to send, `None` if none is needed.
    pub(super) fn unsubscribe(&mut self, channel: &str) -> Option<String> {
        self.channels.remove(channel);
        self.delayed.retain(|delayed| delayed != channel);
        let id = self.next_id();
        self.is_connected.then(|| {
            self.requests.insert(
                id,
                Asked::Unsubscribe {
                    channel: channel.to_owned(),
                },
            );
            Request::Unsubscribe { channel, id }.to_json()
        })
    }

    /// Publishes `payload`. Returns the request to send, `None` if there is no connection.
    pub(super) fn publish(&mut self, channel: &str, payload: &str) -> Option<String> {
        self.know(channel);
        let id = self.next_id();
        self.is_connected.then(|| {
            let asked = Asked::Publish {
                channel: channel.to_owned(),
            };
            self.requests.insert(id, asked);
            Request::Notify {
                channel,
                payload,
                id: RequestId::Number(id),
            }
            .to_json()
        })
    }

    /// Whether so many requests wait for their answers that further ones have to wait.
    pub(super) fn is_busy(&self) -> bool {
        self.requests.len() >= REQUESTS_MAX
    }

    /// Whether no channel is wanted.
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// The names that may be meant, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The channels wanted, sorted, and whether each was ever confirmed.
    pub(super) fn list(&self) -> impl Iterator<Item = (&str, bool)> {
        self.channels
            .iter()
            .map(|(channel, subscription)| (channel.as_str(), subscription.origin == Origin::Again))
    }

    /// Whether every subscription but those typed since has its answer.
    pub(super) fn is_settled(&self) -> bool {
        let is_typed = |channel: &String| {
            let subscription = self.channels.get(channel);
            subscription.is_none_or(|it| it.origin == Origin::Typed)
        };
        self.delayed.iter().all(is_typed)
            && !self.requests.values().any(|asked| match asked {
                Asked::Subscribe { origin, .. } => *origin != Origin::Typed,
                Asked::Unsubscribe { .. } | Asked::Publish { .. } => false,
            })
    }

    /// Handles a message of the bridge.
    pub(super) fn handle_message(&mut self, message: Message) -> Option<Report> {
        match message {
            Message::Notification {
                channel,
                payload,
                seq,
            } => {
                if let (Some(position), Some(seq)) = (self.position_mut(&channel), seq) {
                    position.seq = seq;
                }
                Some(Report::Notification { channel, payload })
            }
            Message::Subscribed {
                channel,
                id,
                epoch,
                seq,
                recovered,
            } => {
                let origin = self.answered_subscribe(wire::our_id(id.as_ref()), &channel)?;
                let subscription = self.channels.get_mut(&channel)?;
                subscription.origin = Origin::Again;
                subscription.is_live = true;
                subscription.is_delay_told = false;
                subscription.position = wire::position(epoch, seq);
                match origin {
                    Origin::Start => None,
                    Origin::Typed => Some(Report::Subscribed(channel)),
                    Origin::Again if recovered == Some(true) => None,
                    Origin::Again => Some(Report::Gap {
                        channel,
                        cause: GapCause::Connection,
                    }),
                }
            }
            Message::Unsubscribed { channel, id } => {
                self.answered_unsubscribe(wire::our_id(id.as_ref()), &channel);
                Some(Report::Unsubscribed(channel))
            }
            Message::Error {
                message,
                channel,
                id,
                code,
            } => {
                let is_passing = PASSING_CODES.contains(&&*code);
                self.handle_error(wire::our_id(id.as_ref()), channel, message, is_passing)
            }
            Message::Gap {
                channel,
                epoch,
                seq,
            } => {
                if let Some(subscription) = self.channels.get_mut(&channel) {
                    subscription.position = wire::position(epoch, seq);
                }
                Some(Report::Gap {
                    channel,
                    cause: GapCause::Postgres,
                })
            }
            Message::Status { postgres } => Some(Report::Postgres {
                is_up: postgres == "up",
            }),
            Message::Notified { channel, id } => {
                self.handle_notified(wire::our_id(id.as_ref())?, channel)
            }
            Message::Other => None,
        }
    }

    fn handle_notified(&mut self, id: u64, channel: String) -> Option<Report> {
        let asked = self.requests.get(&id);
        if !matches!(asked, Some(Asked::Publish { channel: it }) if *it == channel) {
            return None;
        }
        self.requests.remove(&id);
        Some(Report::Published(channel))
    }

    /// A refused subscription is dropped, unless it stands since before, is requested again, or
    /// the reason passes. `None` where that was told before.
    fn handle_error(
        &mut self,
        id: Option<u64>,
        channel: Option<String>,
        message: String,
        is_passing: bool,
    ) -> Option<Report> {
        let channel = match id.and_then(|id| self.requests.remove(&id)) {
            Some(Asked::Subscribe { channel, .. }) => {
                let is_asked_again = self.requests.values().any(|asked| match asked {
                    Asked::Subscribe { channel: other, .. } => *other == channel,
                    Asked::Unsubscribe { .. } | Asked::Publish { .. } => false,
                });
                match self.channels.get_mut(&channel) {
                    Some(subscription) if !is_asked_again && !subscription.is_live => {
                        if is_passing {
                            self.delayed.push_back(channel.clone());
                            let was_told = std::mem::replace(&mut subscription.is_delay_told, true);
                            return (!was_told).then_some(Report::Delayed { channel, message });
                        }
                        self.channels.remove(&channel);
                        self.names.remove(&channel);
                        return Some(Report::Refused { channel, message });
                    }
                    Some(_) | None => {}
                }
                Some(channel)
            }
            Some(Asked::Unsubscribe { channel } | Asked::Publish { channel }) => Some(channel),
            None => channel,
        };
        Some(Report::Error { channel, message })
    }

    /// Ends the request this answers: by id, or the oldest one for `channel` if there is none.
    fn answered_subscribe(&mut self, id: Option<u64>, channel: &str) -> Option<Origin> {
        let is_answered = |id: &u64, asked: &Asked| match asked {
            Asked::Subscribe {
                channel: other,
                origin,
            } if other == channel => Some((*id, *origin)),
            Asked::Subscribe { .. } | Asked::Unsubscribe { .. } | Asked::Publish { .. } => None,
        };
        let mut of_channel = self
            .requests
            .iter()
            .filter_map(|(id, asked)| is_answered(id, asked));
        let (id, origin) = of_channel.find(|(known, _)| id.is_none_or(|id| id == *known))?;
        self.requests.remove(&id);
        Some(origin)
    }

    fn answered_unsubscribe(&mut self, id: Option<u64>, channel: &str) {
        let is_answered = |known: &u64, asked: &Asked| match asked {
            Asked::Subscribe { .. } | Asked::Publish { .. } => false,
            Asked::Unsubscribe { channel: other } => {
                other == channel && id.is_none_or(|id| id == *known)
            }
        };
        let answered = self
            .requests
            .iter()
            .find(|(known, asked)| is_answered(known, asked));
        if let Some(id) = answered.map(|(id, _)| *id) {
            self.requests.remove(&id);
        }
    }

    fn position_mut(&mut self, channel: &str) -> Option<&mut Position> {
        self.channels.get_mut(channel)?.position.as_mut()
    }

    /// A name that is too long for a channel would be offered in vain.
    fn know(&mut self, channel: &str) {
        if self.names.len() < NAMES_MAX && channel.len() <= CHANNEL_BYTES_MAX {
            self.names.insert(channel.to_owned());
        }
    }

    fn next_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

const NAMES_MAX: usize = 1_000;
const CHANNEL_BYTES_MAX: usize = 63;
const REQUESTS_MAX: usize = 256;
/// A bridge that counts messages takes so few at once.
const ASKED_AGAIN_MAX: usize = 64;
/// Of refusals that may be none when the same is asked again.
const PASSING_CODES: [&str; 4] = [
    "rate_limited",
    "too_many_channels",
    "postgres_down",
    "postgres_error",
];

#[cfg(test)]
mod tests;
