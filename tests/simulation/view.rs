//! One client from its own point of view: its requests, the answers, and whether the two agree.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::{NEVER, Truth, group_name};

/// A request of a client, as it reached the hub.
#[derive(Clone, Debug)]
pub enum Request {
    Subscribe(String, u64, Option<Since>),
    Unsubscribe(String, u64),
    /// Channel, payload, id.
    Notify(String, String, Option<u64>),
    /// Answered at once by this code, or `pong`.
    Simple(&'static str, u64),
}

/// A position that a client had once, or that never existed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    pub channel: String,
    pub epoch: String,
    pub seq: u64,
}

#[derive(Debug)]
struct Pending {
    is_subscribe: bool,
    id: u64,
    step: u64,
    since: Option<Since>,
    /// Other clients may have all the places.
    may_be_refused: bool,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    listen: usize,
    seq: u64,
    /// The end of its replay, whatever arrived live on other channels.
    replayed_to: u64,
    /// A `status` down arrived, and no message yet said that the channel is complete again.
    doubtful: bool,
}

/// The messages of one client, and the answers it still awaits.
#[derive(Default)]
pub struct View {
    number: u32,
    status: Option<bool>,
    positions: BTreeMap<String, Position>,
    /// Subscribes and unsubscribes by channel, in the order sent.
    pending: BTreeMap<String, VecDeque<Pending>>,
    /// Publishes with an id by channel, in the order sent.
    publishes: BTreeMap<String, VecDeque<(u64, String)>>,
    silent: BTreeSet<String>,
    simple: BTreeMap<u64, &'static str>,
    last_order: u64,
}

impl View {
    pub fn new(number: u32) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    /// The request is complete, and reaches the hub in this step.
    pub fn ask(&mut self, request: &Request, truth: &mut Truth) {
        let step = truth.step;
        let may_be_refused = truth.places.may_be_refused(self.number);
        let mut pend = |channel: &str, is_subscribe, id, since: Option<Since>| {
            let pending = self.pending.entry(channel.to_owned()).or_default();
            pending.push_back(Pending {
                is_subscribe,
                id,
                step,
                since,
                may_be_refused,
            });
        };
        match request {
            Request::Subscribe(channel, id, since) => {
                pend(channel, true, *id, since.clone());
                truth.places.want(self.number, channel);
            }
            Request::Unsubscribe(channel, id) => {
                pend(channel, false, *id, None);
            }
            Request::Notify(channel, payload, id) => {
                let name = group_name(payload).expect("a client's payload");
                let group = truth.groups.entry(name.to_owned()).or_default();
                group.requested += 1;
                group.has_id = id.is_some();
                if let Some(id) = *id {
                    let publishes = self.publishes.entry(channel.clone()).or_default();
                    publishes.push_back((id, name.to_owned()));
                } else {
                    self.silent.insert(channel.clone());
                }
            }
            Request::Simple(code, id) => drop(self.simple.insert(*id, code)),
        }
    }

    /// A message of the server, complete and in its turn.
    pub fn hear(&mut self, message: &Value, truth: &mut Truth) {
        let kind = message["type"].as_str().expect("a message has a type");
        let channel = message["channel"].as_str().unwrap_or_default();
        let epoch = message["epoch"].as_str().unwrap_or_default();
        let seq = message["seq"].as_u64().unwrap_or(NEVER);
        let id = &message["id"];
        let id = id.as_str().map_or(id.as_u64(), |id| id.parse().ok());
        truth.count(message["code"].as_str().unwrap_or(kind));
        match kind {
            "subscribed" => {
                let recovered = message["recovered"].as_bool();
                self.hear_subscribed((channel, epoch, seq), recovered, id, truth);
            }
            "notification" => {
                let payload = message["payload"].as_str().expect("a payload");
                self.hear_notification(channel, payload, seq, truth);
            }
            "gap" => {
                assert_eq!(message["reason"], "postgres_reconnect");
                self.hear_gap(channel, epoch, seq, truth);
            }
            "unsubscribed" => self.hear_unsubscribed(channel, id, truth),
            "notified" => {
                let name = self.take_publish(channel, id, true);
                let group = truth.groups.get_mut(&name).expect("asked");
                group.notified += 1;
                assert!(
                    group.notified <= group.committed,
                    "notified before it was committed: {group:?}"
                );
            }
            "status" => self.hear_status(message["postgres"] == "up"),
            "pong" => assert_eq!(id.and_then(|id| self.simple.remove(&id)), Some("pong")),
            "error" => {
                let code = message["code"].as_str().expect("an error has a code");
                self.hear_error(code, channel, id, truth);
            }
            _ => panic!("no such message"),
        }
    }

    fn take_pending(&mut self, channel: &str, is_subscribe: bool, id: Option<u64>) -> Pending {
        let pending = self.pending.get_mut(channel).and_then(VecDeque::pop_front);
        let pending = pending.expect("an answer without a request");
        assert_eq!(
            (pending.is_subscribe, Some(pending.id)),
            (is_subscribe, id),
            "answers of a channel come in the order asked"
        );
        pending
    }

    fn hear_subscribed(
        &mut self,
        (channel, epoch, seq): (&str, &str, u64),
        recovered: Option<bool>,
        id: Option<u64>,
        truth: &mut Truth,
    ) {
        let pending = self.take_pending(channel, true, id);
        let asked = pending.step;
        let listen = truth.answering(channel, asked, epoch);
        let listen = listen.expect("subscribed before LISTEN was confirmed");
        truth.bind(channel, listen, epoch);
        let it = truth.listen(channel, listen);
        let current = if it.confirmed > asked {
            0
        } else {
            it.fed_before(asked)
        };
        if let Some(before) = self.positions.get(channel) {
            assert_eq!(
                (before.listen, before.seq),
                (listen, current),
                "subscribed again, and still one subscription"
            );
        }
        assert_eq!(recovered.is_some(), pending.since.is_some());
        let since = pending.since.filter(|since| since.epoch == epoch);
        let missed = since.and_then(|since| current.checked_sub(since.seq));
        let is_recovered = recovered == Some(true);
        let is_recoverable = missed.is_some_and(|missed| truth.may_be_kept(missed));
        assert!(is_recoverable || !is_recovered, "recovered what is gone");
        if missed.is_some_and(|missed| truth.must_be_kept(missed)) {
            assert!(is_recovered, "the ring holds what it missed");
        }
        let expected = match missed {
            Some(missed) if is_recovered => current - missed,
            _ => current,
        };
        assert_eq!(seq, expected, "subscribed says where it begins");
        truth.count(match recovered {
            Some(true) if missed > Some(0) => "replay",
            Some(true) => "nothing missed",
            Some(false) => "not recovered",
            None => "from now on",
        });
        let position = Position {
            listen,
            seq,
            replayed_to: current,
            doubtful: false,
        };
        self.positions.insert(channel.to_owned(), position);
    }

    fn hear_notification(&mut self, channel: &str, payload: &str, seq: u64, truth: &Truth) {
        let position = self.positions.get_mut(channel);
        let position = position.expect("a notification without a subscription");
        position.seq += 1;
        assert_eq!(seq, position.seq, "seq is consecutive");
        let listen = truth.listen(channel, position.listen);
        let at = usize::try_from(seq - 1).expect("small");
        let fed = listen.fed.get(at).expect("more than PostgreSQL sent");
        assert_eq!(payload, fed.payload, "in commit order");
        if seq > position.replayed_to {
            assert!(fed.order > self.last_order, "commit order across channels");
            self.last_order = fed.order;
        }
    }

    fn hear_gap(&mut self, channel: &str, epoch: &str, seq: u64, truth: &mut Truth) {
        let position = self.positions.get_mut(channel);
        let position = position.expect("a gap without a subscription");
        let listens = &truth.channels[channel].listens;
        let before = &listens[position.listen];
        assert_ne!(before.ended, NEVER, "a gap, and nothing was lost");
        assert_eq!(
            position.seq,
            before.fed.len() as u64,
            "a gap stands behind all that came before it"
        );
        let next = position.listen + 1;
        assert!(
            next < listens.len(),
            "a gap before LISTEN was confirmed again"
        );
        assert_eq!(seq, 0);
        *position = Position {
            listen: next,
            seq,
            replayed_to: 0,
            doubtful: false,
        };
        truth.bind(channel, next, epoch);
    }

    fn hear_unsubscribed(&mut self, channel: &str, id: Option<u64>, truth: &mut Truth) {
        let asked = self.take_pending(channel, false, id).step;
        let position = self.positions.remove(channel);
        self.note_unwanted(channel, truth);
        let Some(position) = position else {
            return;
        };
        let listen = truth.listen(channel, position.listen);
        assert_eq!(
            position.seq,
            listen.fed_before(asked),
            "unsubscribed stands behind all that came before it"
        );
        let next = truth.channels[channel].listens.get(position.listen + 1);
        assert!(
            next.is_none_or(|next| next.confirmed > asked),
            "unsubscribed, and not told of a gap"
        );
    }

    /// It uses the channel no longer, unless it is subscribed or still waits.
    fn note_unwanted(&self, channel: &str, truth: &mut Truth) {
        let pending = self.pending.get(channel);
        let is_awaited = pending.is_some_and(|it| it.iter().any(|it| it.is_subscribe));
        if !is_awaited && !self.positions.contains_key(channel) {
            truth.places.unwant(self.number, channel);
        }
    }

    fn hear_status(&mut self, up: bool) {
        assert_ne!(self.status.unwrap_or(true), up, "status alternates");
        self.status = Some(up);
        for (channel, position) in &mut self.positions {
            assert!(
                !(up && position.doubtful),
                "{channel}: up before its gap was told"
            );
            position.doubtful = !up;
        }
    }

    fn hear_error(&mut self, code: &str, channel: &str, id: Option<u64>, truth: &mut Truth) {
        if let Some(expected) = id.and_then(|id| self.simple.remove(&id)) {
            assert_eq!(code, expected);
            return;
        }
        let is_subscribe = self
            .pending
            .get(channel)
            .is_some_and(|pending| pending.iter().any(|it| Some(it.id) == id));
        match code {
            "cancelled" => self.hear_cancelled(channel, id, truth),
            "postgres_error" if is_subscribe => {
                let asked = self.take_pending(channel, true, id).step;
                let refused = &truth.channels[channel].refused;
                assert!(refused.iter().any(|&it| it > asked), "nothing was refused");
            }
            "postgres_error" if id.is_none() && self.positions.contains_key(channel) => {
                let refused = truth.channels.get(channel).map(|it| it.refused.len());
                assert!(
                    refused > Some(0) || self.silent.contains(channel),
                    "nothing was refused"
                );
                if let Some(position) = self.positions.get_mut(channel) {
                    position.doubtful = false;
                }
            }
            "too_many_subscriptions" | "too_many_channels" | "rate_limited" if is_subscribe => {
                assert!(truth.is_limited, "no limit is near");
                let pending = self.pending.get_mut(channel).expect("it has some");
                // It may overtake those that still wait for PostgreSQL.
                let at = pending.iter().position(|it| Some(it.id) == id);
                let refused = at.and_then(|at| pending.remove(at)).expect("found");
                let has_place = code == "too_many_channels" && !refused.may_be_refused;
                assert!(!has_place, "{channel}: there is a place for that client");
                self.note_unwanted(channel, truth);
            }
            "postgres_error" | "postgres_down" | "unknown_outcome" | "rate_limited" => {
                if id.is_none() {
                    assert!(self.silent.contains(channel), "an error out of nowhere");
                    return;
                }
                let name = self.take_publish(channel, id, code != "rate_limited");
                let group = truth.groups.get_mut(&name).expect("asked");
                match code {
                    "unknown_outcome" => group.unknown += 1,
                    _ => group.failed += 1,
                }
                assert!(
                    group.committed <= group.requested - group.failed,
                    "{code}, and yet it was committed: {group:?}"
                );
            }
            _ => panic!("no reason for this error"),
        }
    }

    fn hear_cancelled(&mut self, channel: &str, id: Option<u64>, truth: &Truth) {
        let asked = self.take_pending(channel, true, id).step;
        let overtaker = self.pending[channel].iter().find(|it| !it.is_subscribe);
        let overtaker = overtaker.expect("cancelled by no unsubscribe").step;
        if let Some(at) = truth.answering(channel, asked, "") {
            let listen = truth.listen(channel, at);
            assert!(
                listen.confirmed >= overtaker || listen.ended <= asked,
                "cancelled, and yet LISTEN had been confirmed"
            );
        }
    }

    /// The publishes of one channel are answered in the order sent; one that is refused at once may
    /// overtake those that still wait for PostgreSQL.
    fn take_publish(&mut self, channel: &str, id: Option<u64>, in_order: bool) -> String {
        let publishes = self
            .publishes
            .get_mut(channel)
            .expect("an answer without a publish");
        let at = publishes.iter().position(|&(it, _)| Some(it) == id);
        let at = at.expect("an answer without a request, or the second one");
        assert!(at == 0 || !in_order, "publishes are answered in order");
        publishes.remove(at).expect("it is there").1
    }

    /// All is quiet and PostgreSQL is up: the first unanswered or missing message, if there is one.
    pub fn fault(&self, truth: &Truth) -> Option<String> {
        if let Some(pending) = self.pending.iter().find(|(_, it)| !it.is_empty()) {
            return Some(format!("never answered: {pending:?}"));
        }
        if let Some(publishes) = self.publishes.iter().find(|(_, it)| !it.is_empty()) {
            return Some(format!("never answered: {publishes:?}"));
        }
        if !self.simple.is_empty() {
            return Some(format!("never answered: {:?}", self.simple));
        }
        if self.status == Some(false) {
            return Some("never told that PostgreSQL is up".to_owned());
        }
        self.positions.iter().find_map(|(channel, position)| {
            let listens = &truth.channels[channel].listens;
            let listen = &listens[position.listen];
            if position.listen + 1 != listens.len() {
                return Some(format!("{channel}: no gap was told"));
            }
            if listen.ended != NEVER {
                return Some(format!("{channel}: not listened to any more"));
            }
            let missing = listen.fed.len() as u64 - position.seq;
            (missing > 0).then(|| format!("{channel}: {missing} are missing at the end"))
        })
    }

    /// The channels that it is subscribed to, and did not ask to leave.
    pub fn subscribed(&self) -> impl Iterator<Item = &str> {
        let channels = self.positions.keys().map(String::as_str);
        channels.filter(|&channel| {
            let pending = self.pending.get(channel);
            pending.is_none_or(|it| it.iter().all(|it| it.is_subscribe))
        })
    }

    /// Its position on each channel, from which it may resume another time.
    pub fn positions(&self, truth: &Truth) -> Vec<Since> {
        let positions = self.positions.iter().map(|(channel, position)| Since {
            channel: channel.clone(),
            epoch: truth.epoch(channel, position.listen).to_owned(),
            seq: position.seq,
        });
        positions.collect()
    }
}
