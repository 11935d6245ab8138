//! What must be true of every run.
//!
//! [`Tap`] reads what passes between the core and PostgreSQL, and writes down in [`Truth`] when
//! each LISTEN was confirmed and which notifications reached the core after it. What a client is to
//! see follows from that and from when its own requests reached the core; [`View`] follows one
//! client and compares. Every call of the core is one step: "before" and "after" are by step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use crate::backend::{bound, take_message, text};

pub const NEVER: u64 = u64::MAX;

/// One unbroken LISTEN of a channel.
pub struct Listen {
    /// The step in which ReadyForQuery reached the core.
    pub confirmed: u64,
    /// The step in which the core asked for UNLISTEN, or lost the session.
    pub ended: u64,
    fed: Vec<Fed>,
    /// As clients were told.
    epoch: Option<String>,
}

struct Fed {
    step: u64,
    /// Counts the notifications of all channels.
    order: u64,
    payload: String,
}

impl Listen {
    fn fed_before(&self, step: u64) -> u64 {
        self.fed.partition_point(|fed| fed.step < step) as u64
    }
}

/// Publishes of one client with the same channel and payload.
#[derive(Default, Debug)]
pub struct Group {
    pub requested: u32,
    /// Binds the core wrote.
    pub emitted: u32,
    pub committed: u32,
    pub notified: u32,
    pub unknown: u32,
    /// Answered in a way that means it never happened.
    pub failed: u32,
    pub has_id: bool,
}

/// What happened between the core and PostgreSQL.
#[derive(Default)]
pub struct Truth {
    pub step: u64,
    fed: u64,
    /// What clients were told, by type, code of an error and close code.
    pub told: BTreeMap<String, u64>,
    /// Limits are so small that requests may be refused for them.
    is_limited: bool,
    channels: BTreeMap<String, Channel>,
    pub groups: BTreeMap<String, Group>,
    last_committed: BTreeMap<String, u32>,
    epochs: BTreeSet<String>,
}

#[derive(Default)]
struct Channel {
    listens: Vec<Listen>,
    refused: Vec<u64>,
}

impl Truth {
    pub fn new(is_limited: bool) -> Self {
        Self {
            is_limited,
            ..Self::default()
        }
    }

    pub fn count(&mut self, kind: &str) {
        match self.told.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.told.insert(kind.to_owned(), 1)),
        }
    }

    fn live(&mut self, channel: &str) -> Option<&mut Listen> {
        let listen = self.channels.get_mut(channel)?.listens.last_mut()?;
        (listen.ended == NEVER).then_some(listen)
    }

    fn end(&mut self, channel: &str) {
        let step = self.step;
        if let Some(listen) = self.live(channel) {
            listen.ended = step;
        }
    }

    fn lose_session(&mut self) {
        let names: Vec<_> = self.channels.keys().cloned().collect();
        for name in names {
            self.end(&name);
        }
    }

    fn feed(&mut self, channel: &str, payload: String) {
        let step = self.step;
        self.fed += 1;
        let order = self.fed;
        if let Some(listen) = self.live(channel) {
            listen.fed.push(Fed {
                step,
                order,
                payload,
            });
        }
    }

    /// A commit of a client's publish: in the order its client asked.
    pub fn note_commit(&mut self, payload: &str) {
        let Some(name) = group_name(payload) else {
            return;
        };
        let group = self.groups.get_mut(name).expect("somebody asked for it");
        group.committed += 1;
        assert!(
            group.committed <= group.requested - group.failed,
            "{name} was committed once too often: {group:?}"
        );
        let (client, number) = name.split_once('.').expect("a client and a number");
        let number: u32 = number.parse().expect("a number");
        let last = self.last_committed.entry(client.to_owned()).or_default();
        assert!(*last <= number, "{client}: {number} commits after {last}");
        *last = number;
    }

    /// At the end: what was acknowledged is committed, once, and what was refused is not.
    pub fn check_publishes(&self) {
        for (name, group) in &self.groups {
            let most = group.requested - group.failed;
            assert!(
                (group.notified..=most).contains(&group.committed),
                "{name}: {group:?}"
            );
        }
    }

    /// The LISTEN that answers a subscribe which reached the core in step `asked`.
    fn answering(&self, channel: &str, asked: u64, epoch: &str) -> Option<usize> {
        let listens = &self.channels.get(channel)?.listens;
        listens.iter().position(|it| {
            // Within one step a client may leave and come back.
            it.ended > asked || it.ended == asked && it.epoch.as_deref() == Some(epoch)
        })
    }

    fn bind(&mut self, channel: &str, at: usize, epoch: &str) {
        let listens = &mut self.channels.get_mut(channel).expect("listened to").listens;
        match &listens[at].epoch {
            Some(known) => assert_eq!(known, epoch, "{channel}: one epoch a LISTEN"),
            None => {
                listens[at].epoch = Some(epoch.to_owned());
                assert!(epoch.len() > 16, "an epoch has 64 random bits");
                assert!(
                    self.epochs.insert(epoch.to_owned()),
                    "{channel}: epoch {epoch} is used again for another LISTEN"
                );
            }
        }
    }

    fn listen(&self, channel: &str, at: usize) -> &Listen {
        &self.channels[channel].listens[at]
    }
}

/// `c7.12` of `c7.12-xxxx`.
fn group_name(payload: &str) -> Option<&str> {
    let name = payload.split('-').next()?;
    (name.starts_with('c') && name.contains('.')).then_some(name)
}

enum Ask {
    /// Start-up, set-up, heartbeat.
    Other,
    Listen(String),
    Unlisten(String),
    Notify,
}

/// Reads along on the connection of one session.
#[derive(Default)]
pub struct Tap {
    written: VecDeque<u8>,
    read: VecDeque<u8>,
    started: bool,
    asked: VecDeque<Ask>,
    failed: bool,
    listened: BTreeSet<String>,
    /// Channels with a LISTEN or UNLISTEN under way.
    under_way: BTreeSet<String>,
}

impl Tap {
    /// The core wrote this.
    pub fn write(&mut self, bytes: &[u8], truth: &mut Truth) {
        self.written.extend(bytes);
        while let Some((tag, body)) = take_message(&mut self.written, self.started) {
            if !std::mem::replace(&mut self.started, true) {
                self.asked.push_back(Ask::Other);
                continue;
            }
            match tag {
                b'Q' => self.query(&text(&body[..body.len() - 1]), truth),
                b'B' => {
                    let (_, payload) = bound(&body);
                    let name = group_name(&payload).expect("only clients publish here");
                    let group = truth.groups.get_mut(name).expect("somebody asked for it");
                    group.emitted += 1;
                    assert!(
                        group.emitted <= group.requested,
                        "{name} is sent again: {group:?}"
                    );
                }
                b'S' => self.asked.push_back(Ask::Notify),
                _ => {}
            }
        }
    }

    fn query(&mut self, sql: &str, truth: &mut Truth) {
        let Some((tag, name)) = sql.split_once(" \"") else {
            self.asked.push_back(Ask::Other);
            return;
        };
        let name = name
            .strip_suffix('"')
            .expect("quoted")
            .replace("\"\"", "\"");
        assert!(
            self.under_way.insert(name.clone()),
            "{sql}: one LISTEN or UNLISTEN of a channel at a time"
        );
        let listened = self.listened.contains(&name);
        self.asked.push_back(if tag == "LISTEN" {
            assert!(!listened, "{sql}: it is listened to");
            Ask::Listen(name)
        } else {
            assert!(listened, "{sql}: it is not listened to");
            truth.end(&name);
            Ask::Unlisten(name)
        });
    }

    /// The core is about to read this.
    pub fn read(&mut self, bytes: &[u8], truth: &mut Truth) {
        self.read.extend(bytes);
        while let Some((tag, body)) = take_message(&mut self.read, true) {
            match tag {
                b'E' => self.failed = true,
                b'A' => {
                    let mut parts = body[4..].split(|&byte| byte == 0);
                    let mut part = || text(parts.next().expect("two texts"));
                    let (channel, payload) = (part(), part());
                    truth.feed(&channel, payload);
                }
                b'Z' => self.answer(truth),
                _ => {}
            }
        }
    }

    fn answer(&mut self, truth: &mut Truth) {
        let failed = std::mem::take(&mut self.failed);
        match self.asked.pop_front() {
            Some(Ask::Listen(name)) => {
                self.under_way.remove(&name);
                let channel = truth.channels.entry(name.clone()).or_default();
                if failed {
                    channel.refused.push(truth.step);
                } else {
                    channel.listens.push(Listen {
                        confirmed: truth.step,
                        ended: NEVER,
                        fed: Vec::new(),
                        epoch: None,
                    });
                    self.listened.insert(name);
                }
            }
            Some(Ask::Unlisten(name)) => {
                self.under_way.remove(&name);
                self.listened.remove(&name);
            }
            Some(Ask::Other | Ask::Notify) => {}
            None => panic!("the simulated PostgreSQL answers what nobody asked"),
        }
    }

    /// The core gave the session up.
    pub fn lose(&mut self, is_listening: bool, truth: &mut Truth) {
        if is_listening {
            truth.lose_session();
        }
        *self = Self::default();
    }

    pub fn listened(&self) -> impl Iterator<Item = &str> {
        self.listened.iter().map(String::as_str)
    }
}

/// A request of a client, as it reached the core.
#[derive(Clone, Debug)]
pub enum Request {
    Subscribe(String, u64),
    Unsubscribe(String, u64),
    /// Channel, payload, id.
    Notify(String, String, Option<u64>),
    /// Answered at once by this code, or `pong`.
    Simple(&'static str, u64),
}

#[derive(Debug)]
struct Pending {
    is_subscribe: bool,
    id: u64,
    step: u64,
}

#[derive(Clone, Copy, Debug)]
struct Position {
    listen: usize,
    seq: u64,
    /// A `status` down came, and nothing yet said that the channel is whole again.
    doubtful: bool,
}

/// What one client was told, and what it still awaits.
#[derive(Default)]
pub struct View {
    status: Option<bool>,
    positions: BTreeMap<String, Position>,
    /// Subscribes and unsubscribes by channel, in the order asked.
    pending: BTreeMap<String, VecDeque<Pending>>,
    /// Publishes with an id by channel, in the order asked.
    publishes: BTreeMap<String, VecDeque<(u64, String)>>,
    silent: BTreeSet<String>,
    simple: BTreeMap<u64, &'static str>,
    last_order: u64,
}

impl View {
    /// The request is whole, and the core gets it in this step.
    pub fn ask(&mut self, request: &Request, truth: &mut Truth) {
        let step = truth.step;
        let mut pend = |channel: &str, is_subscribe, id| {
            let pending = self.pending.entry(channel.to_owned()).or_default();
            pending.push_back(Pending {
                is_subscribe,
                id,
                step,
            });
        };
        match request {
            Request::Subscribe(channel, id) => pend(channel, true, *id),
            Request::Unsubscribe(channel, id) => pend(channel, false, *id),
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

    /// A message of the server, whole and in its turn.
    pub fn hear(&mut self, message: &Value, truth: &mut Truth) {
        let kind = message["type"].as_str().expect("a message has a type");
        let channel = message["channel"].as_str().unwrap_or_default();
        let epoch = message["epoch"].as_str().unwrap_or_default();
        let seq = message["seq"].as_u64().unwrap_or(NEVER);
        let id = &message["id"];
        let id = id.as_str().map_or(id.as_u64(), |id| id.parse().ok());
        truth.count(message["code"].as_str().unwrap_or(kind));
        match kind {
            "subscribed" => self.hear_subscribed(channel, epoch, seq, id, truth),
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
        let pending = pending.expect("an answer nobody asked for");
        assert_eq!(
            (pending.is_subscribe, Some(pending.id)),
            (is_subscribe, id),
            "answers of a channel come in the order asked"
        );
        pending
    }

    fn hear_subscribed(
        &mut self,
        channel: &str,
        epoch: &str,
        seq: u64,
        id: Option<u64>,
        truth: &mut Truth,
    ) {
        let asked = self.take_pending(channel, true, id).step;
        let listen = truth.answering(channel, asked, epoch);
        let listen = listen.expect("subscribed before LISTEN was confirmed");
        truth.bind(channel, listen, epoch);
        let it = truth.listen(channel, listen);
        let expected = if it.confirmed > asked {
            0
        } else {
            it.fed_before(asked)
        };
        assert_eq!(seq, expected, "subscribed says where it begins");
        if let Some(before) = self.positions.get(channel) {
            assert_eq!(
                (before.listen, before.seq),
                (listen, seq),
                "subscribed again, and still one subscription"
            );
        }
        let doubtful = false;
        let position = Position {
            listen,
            seq,
            doubtful,
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
        assert!(fed.order > self.last_order, "commit order across channels");
        self.last_order = fed.order;
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
            doubtful: false,
        };
        truth.bind(channel, next, epoch);
    }

    fn hear_unsubscribed(&mut self, channel: &str, id: Option<u64>, truth: &Truth) {
        let asked = self.take_pending(channel, false, id).step;
        let Some(position) = self.positions.remove(channel) else {
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
            "too_many_subscriptions" | "rate_limited" if is_subscribe => {
                assert!(truth.is_limited, "no limit is near");
                let pending = self.pending.get_mut(channel).expect("it has some");
                // It may overtake those that still wait for PostgreSQL.
                pending.retain(|it| Some(it.id) != id);
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

    /// Answers of one channel's publishes come in the order asked; what is refused at once may
    /// overtake those that still wait for PostgreSQL.
    fn take_publish(&mut self, channel: &str, id: Option<u64>, in_order: bool) -> String {
        let publishes = self.publishes.get_mut(channel).expect("nobody published");
        let at = publishes.iter().position(|&(it, _)| Some(it) == id);
        let at = at.expect("an answer nobody asked for, or the second one");
        assert!(at == 0 || !in_order, "publishes are answered in order");
        publishes.remove(at).expect("it is there").1
    }

    /// All is quiet and PostgreSQL is up: what is unanswered or missing, if anything.
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

    // Resuming (`since`, `recovered`) is not there yet. When it is: `Request::Subscribe` carries the
    // position asked for, `hear_subscribed` decides from `Truth` whether the ring still held it,
    // expects `recovered` to say so, and begins the new position at the old seq.
}
