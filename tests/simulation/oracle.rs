//! The invariants of every run.
//!
//! [`Tap`] reads the bytes between the hub and PostgreSQL, and records in [`Truth`] when each
//! LISTEN was confirmed and which notifications reached the hub after it. The messages that a
//! client must see follow from that and from when its own requests reached the hub; [`View`]
//! follows one client and compares. Every call of the hub is one step: "before" and "after" are by
//! step.

#[path = "places.rs"]
mod places;
#[path = "stream.rs"]
mod stream;
#[path = "view.rs"]
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use self::{
    places::Places,
    stream::{StreamId, StreamView},
    view::{Request, Since, View},
};
use crate::{
    backend::{is_probe, take_message},
    wire::{bound, text},
};

pub const NEVER: u64 = u64::MAX;

/// One unbroken LISTEN of a channel.
pub struct Listen {
    /// The step in which ReadyForQuery reached the hub.
    pub confirmed: u64,
    /// The moment of that.
    began: u64,
    /// The step in which the hub asked for UNLISTEN, or lost the session.
    pub ended: u64,
    fed: Vec<Fed>,
    /// As clients were told.
    epoch: Option<String>,
}

struct Fed {
    step: u64,
    /// Its moment.
    order: u64,
    payload: String,
}

impl Listen {
    fn fed_before(&self, step: u64) -> u64 {
        self.fed.partition_point(|fed| fed.step < step) as u64
    }

    fn fed_up_to(&self, moment: u64) -> u64 {
        self.fed.partition_point(|fed| fed.order <= moment) as u64
    }
}

/// Publishes of one client with the same channel and payload.
#[derive(Default, Debug)]
pub struct Group {
    pub requested: u32,
    /// Binds the hub wrote, less those of transactions that ran and were rolled back.
    pub emitted: u32,
    pub committed: u32,
    pub notified: u32,
    pub unknown: u32,
    /// Answered with a code that means it was never committed.
    pub failed: u32,
    pub has_id: bool,
}

/// The events between the hub and PostgreSQL.
#[derive(Default)]
pub struct Truth {
    pub step: u64,
    /// Counts the notifications of all channels, and the answers to LISTEN.
    moments: u64,
    /// The messages to clients, by type, code of an error and close code.
    pub told: BTreeMap<String, u64>,
    /// Limits are so small that requests may be refused for them.
    is_limited: bool,
    /// Notifications kept of each channel.
    history: u64,
    /// Fewer may be, for their bytes.
    is_history_tight: bool,
    channels: BTreeMap<String, Channel>,
    pub groups: BTreeMap<String, Group>,
    pub places: Places,
    last_committed: BTreeMap<String, u32>,
    epochs: BTreeSet<String>,
}

#[derive(Default)]
struct Channel {
    listens: Vec<Listen>,
    /// Steps in which a LISTEN was refused.
    refused: Vec<u64>,
    /// The moments of those.
    refused_at: Vec<u64>,
}

impl Truth {
    pub fn new(places: Places, history: usize, is_history_tight: bool) -> Self {
        Self {
            is_limited: places.is_limited,
            places,
            history: history as u64,
            is_history_tight,
            ..Self::default()
        }
    }

    pub fn count(&mut self, kind: &str) {
        match self.told.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.told.insert(kind.to_owned(), 1)),
        }
    }

    /// Whether the hub knows that the channel is listened to.
    pub fn is_live(&mut self, channel: &str) -> bool {
        self.live(channel).is_some()
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
        self.places.lose_session();
    }

    fn feed(&mut self, channel: &str, payload: String) {
        let (step, order) = (self.step, self.moment());
        if let Some(listen) = self.live(channel) {
            listen.fed.push(Fed {
                step,
                order,
                payload,
            });
        }
    }

    /// The next moment, which is now.
    fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }

    /// The commit of a client's publish: in the order that its client sent.
    pub fn note_commit(&mut self, payload: &str) {
        let Some(name) = group_name(payload) else {
            return;
        };
        let group = self.groups.get_mut(name).expect("a client asked for it");
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

    /// At the end: every acknowledged publish is committed, once, and no refused one is.
    pub fn check_publishes(&self) {
        for (name, group) in &self.groups {
            let most = group.requested - group.failed;
            assert!(
                (group.notified..=most).contains(&group.committed),
                "{name}: {group:?}"
            );
        }
    }

    /// The LISTEN that answers a subscribe which reached the hub in step `asked`.
    fn answering(&self, channel: &str, asked: u64, epoch: &str) -> Option<usize> {
        let listens = &self.channels.get(channel)?.listens;
        listens.iter().position(|it| {
            // Within one step a client may leave and come back, and be the first to hear the epoch.
            let is_named = it.epoch.as_deref().is_none_or(|known| known == epoch);
            it.ended > asked || it.ended == asked && it.confirmed < asked && is_named
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

    /// Whether the last so many of a channel can be told again.
    fn may_be_kept(&self, missed: u64) -> bool {
        missed <= self.history
    }

    fn must_be_kept(&self, missed: u64) -> bool {
        missed == 0 || !self.is_history_tight && missed <= self.history
    }

    fn epoch(&self, channel: &str, at: usize) -> &str {
        let epoch = self.listen(channel, at).epoch.as_deref();
        epoch.expect("told when it was subscribed to")
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
    /// One transaction.
    Listen(Vec<String>),
    Unlisten(String),
    /// One transaction, by the names of its groups.
    Notify(Vec<String>),
}

/// Reads along on the connection of one session.
#[derive(Default)]
pub struct Tap {
    written: VecDeque<u8>,
    read: VecDeque<u8>,
    started: bool,
    asked: VecDeque<Ask>,
    /// The pairs bound and not yet synced.
    bound: Vec<(String, String)>,
    failed: bool,
    listened: BTreeSet<String>,
    /// Channels with a LISTEN or UNLISTEN under way.
    under_way: BTreeSet<String>,
}

impl Tap {
    /// The hub wrote this.
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
                    let pair = bound(&body);
                    if is_probe(&pair.0) {
                        continue;
                    }
                    let name = group_name(&pair.1).expect("only clients publish here");
                    let group = truth.groups.get_mut(name).expect("a client asked for it");
                    group.emitted += 1;
                    assert!(
                        group.emitted <= group.requested,
                        "{name} is sent again: {group:?}"
                    );
                    assert!(
                        !self.bound.contains(&pair),
                        "{name}: PostgreSQL makes one notification of equal ones"
                    );
                    self.bound.push(pair);
                }
                b'S' => self.sync(),
                _ => {}
            }
        }
    }

    fn sync(&mut self) {
        if self.bound.is_empty() {
            self.asked.push_back(Ask::Other);
            return;
        }
        let members = self.bound.drain(..);
        let names: Vec<String> = members
            .filter_map(|(_, payload)| group_name(&payload).map(str::to_owned))
            .collect();
        let is_gathered = |ask: &Ask| matches!(ask, Ask::Notify(names) if names.len() > 1);
        assert!(
            !self.asked.iter().any(is_gathered),
            "behind a transaction whose members may run again nothing is sent"
        );
        self.asked.push_back(Ask::Notify(names));
    }

    fn query(&mut self, sql: &str, truth: &mut Truth) {
        let commands: Vec<_> = sql
            .split("; ")
            .filter_map(|it| it.split_once(" \""))
            .collect();
        let is_about_channels = !commands.is_empty() && !is_probe(sql);
        if !is_about_channels {
            self.asked.push_back(Ask::Other);
            return;
        }
        let mut listens = Vec::new();
        for (tag, name) in &commands {
            let name = name
                .strip_suffix('"')
                .expect("quoted")
                .replace("\"\"", "\"");
            assert!(
                self.under_way.insert(name.clone()),
                "{sql}: one LISTEN or UNLISTEN of a channel at a time"
            );
            let listened = self.listened.contains(&name);
            if *tag == "LISTEN" {
                assert!(!listened, "{sql}: it is listened to");
                listens.push(name);
            } else {
                assert!(listened, "{sql}: it is not listened to");
                assert_eq!(commands.len(), 1, "{sql}");
                truth.end(&name);
                truth.places.check_unlisten(&name);
                self.asked.push_back(Ask::Unlisten(name));
            }
        }
        if !listens.is_empty() {
            self.asked.push_back(Ask::Listen(listens));
        }
    }

    /// The hub is about to read this.
    pub fn read(&mut self, bytes: &[u8], truth: &mut Truth) {
        self.read.extend(bytes);
        while let Some((tag, body)) = take_message(&mut self.read, true) {
            match tag {
                b'E' => self.failed = true,
                b'A' => {
                    let mut parts = body[4..].split(|&byte| byte == 0);
                    let mut part = || text(parts.next().expect("two texts"));
                    let (channel, payload) = (part(), part());
                    if !is_probe(&channel) {
                        truth.feed(&channel, payload);
                    }
                }
                b'Z' => self.answer(truth),
                _ => {}
            }
        }
    }

    fn answer(&mut self, truth: &mut Truth) {
        let failed = std::mem::take(&mut self.failed);
        match self.asked.pop_front() {
            // Each is asked for again alone.
            Some(Ask::Listen(names)) if failed && names.len() > 1 => {
                for name in &names {
                    self.under_way.remove(name);
                }
            }
            Some(Ask::Listen(names)) => {
                for name in names {
                    self.answer_listen(name, failed, truth);
                }
            }
            Some(Ask::Unlisten(name)) => {
                self.under_way.remove(&name);
                self.listened.remove(&name);
            }
            Some(Ask::Notify(names)) => {
                let may_run_again = failed && names.len() > 1;
                for name in names.iter().filter(|_| may_run_again) {
                    truth
                        .groups
                        .get_mut(name)
                        .expect("it was asked for")
                        .emitted -= 1;
                }
            }
            Some(Ask::Other) => {}
            None => panic!("the simulated PostgreSQL answers without a request"),
        }
    }

    fn answer_listen(&mut self, name: String, failed: bool, truth: &mut Truth) {
        self.under_way.remove(&name);
        let began = truth.moment();
        let channel = truth.channels.entry(name.clone()).or_default();
        if failed {
            channel.refused.push(truth.step);
            channel.refused_at.push(began);
        } else {
            channel.listens.push(Listen {
                confirmed: truth.step,
                began,
                ended: NEVER,
                fed: Vec::new(),
                epoch: None,
            });
            self.listened.insert(name);
        }
    }

    /// The hub gave the session up.
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
