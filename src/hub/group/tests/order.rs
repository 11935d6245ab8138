//! One order of commits, and bridges that read it at their own pace.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::super::*;
use crate::random::Random;

/// A commit.
#[derive(Clone, Debug)]
enum Commit {
    Notification(String),
    Control { pid: i32, payload: String },
}

/// The order, and all that read it.
pub(super) struct Order {
    log: Vec<Commit>,
    pub(super) bridges: Vec<Bridge>,
    pub(super) server_start: i64,
    /// Bridges whose backend is of another role.
    pub(super) strangers: BTreeSet<usize>,
    now: Instant,
    key: Option<GroupKey>,
    epochs: u64,
    pids: i32,
    /// For each epoch, of which channel it is, and the notifications of that before its start.
    bases: BTreeMap<Epoch, (String, u64)>,
}

/// One bridge: its group, and the channels that it counts.
pub(super) struct Bridge {
    pub(super) group: Group,
    /// It reads nothing and says nothing.
    pub(super) is_frozen: bool,
    pid: i32,
    is_up: bool,
    /// How much of the order it has read.
    read: usize,
    channels: BTreeMap<String, Counted>,
    names: Vec<String>,
    released: Vec<(String, Patience)>,
}

#[derive(Debug)]
struct Counted {
    key: ChannelKey,
    epoch: Epoch,
    seq: u64,
    is_own: bool,
    is_mirrored: bool,
}

pub(super) const SERVER_START: i64 = 1_000;

/// What a payload says behind its version.
pub(super) fn payload_of(text: &str) -> Option<&str> {
    text.split_once(' ').map(|(_, body)| body)
}

impl Order {
    #[expect(clippy::disallowed_methods, reason = "a point to count from")]
    pub(super) fn new(bridges: usize, key: Option<GroupKey>) -> Self {
        let mut order = Self {
            log: Vec::new(),
            bridges: Vec::new(),
            server_start: SERVER_START,
            strangers: BTreeSet::new(),
            now: Instant::now(),
            key,
            epochs: 0,
            pids: 100,
            bases: BTreeMap::new(),
        };
        for bridge in 0..bridges {
            let group = order.group(bridge, order.key.clone());
            order.bridges.push(Bridge {
                group,
                is_frozen: false,
                pid: 0,
                is_up: false,
                read: 0,
                channels: BTreeMap::new(),
                names: Vec::new(),
                released: Vec::new(),
            });
        }
        order
    }

    pub(super) fn group(&mut self, bridge: usize, key: Option<GroupKey>) -> Group {
        self.epochs += 1;
        Group::new(GroupSettings {
            control: GroupSettings::control_channel("g").unwrap(),
            key,
            seed: bridge as u64 * 1_000_000 + self.epochs,
        })
    }

    // ---- what happens

    /// Both sessions come up.
    pub(super) fn come_up(&mut self, bridge: usize) {
        self.pids += 1;
        let (pid, start, now) = (self.pids, self.server_start, self.now);
        let it = &mut self.bridges[bridge];
        it.read = self.log.len();
        it.is_up = true;
        it.pid = pid;
        it.group.handle_listening_up(start, now);
        it.group.handle_publishing_up(pid, start, now);
    }

    /// Both sessions are lost.
    pub(super) fn go_down(&mut self, bridge: usize) {
        let it = &mut self.bridges[bridge];
        it.is_up = false;
        it.channels.clear();
        it.group.handle_listening_down();
        it.group.handle_publishing_down();
    }

    /// The process is killed, and another one takes its place.
    pub(super) fn kill(&mut self, bridge: usize) {
        let group = self.group(bridge, self.key.clone());
        let it = &mut self.bridges[bridge];
        it.is_up = false;
        it.channels.clear();
        it.names.clear();
        it.group = group;
    }

    /// PostgreSQL refuses a message of the bridge.
    pub(super) fn refuse(&mut self, bridge: usize) {
        let now = self.now;
        self.bridges[bridge].group.handle_message_lost(now);
    }

    /// The publishing session is lost, and replaced.
    fn replace_publishing(&mut self, bridge: usize) {
        self.pids += 1;
        let (pid, start, now) = (self.pids, self.server_start, self.now);
        let it = &mut self.bridges[bridge];
        it.pid = pid;
        it.group.handle_publishing_down();
        it.group.handle_publishing_up(pid, start, now);
    }

    /// The LISTEN of a channel is confirmed, unless it is already.
    pub(super) fn listen(&mut self, bridge: usize, name: &str, is_own: bool) {
        // What was committed before does not come any more.
        self.read_all(bridge);
        self.epochs += 1;
        let epoch = Epoch {
            process: bridge as u64 + 1,
            number: self.epochs,
        };
        let base = self.count(name, self.log.len());
        let it = &mut self.bridges[bridge];
        if !it.is_up {
            return;
        }
        if let Some(counted) = it.channels.get_mut(name) {
            counted.is_mirrored |= !is_own;
            if is_own && !std::mem::replace(&mut counted.is_own, true) {
                it.group.handle_own(counted.key, true);
            }
            return;
        }
        let known = it.names.iter().position(|known| known == name);
        let key = known.unwrap_or_else(|| {
            it.names.push(name.to_owned());
            it.names.len() - 1
        });
        let key = ChannelKey(u32::try_from(key).unwrap());
        let channel = Channel::new(name).unwrap();
        it.group.handle_epoch(key, &channel, epoch, is_own);
        it.channels.insert(
            name.to_owned(),
            Counted {
                key,
                epoch,
                seq: 0,
                is_own,
                is_mirrored: !is_own,
            },
        );
        self.bases.insert(epoch, (name.to_owned(), base));
    }

    pub(super) fn set_own(&mut self, bridge: usize, name: &str, is_own: bool) {
        let it = &mut self.bridges[bridge];
        if let Some(counted) = it.channels.get_mut(name) {
            counted.is_own = is_own;
            it.group.handle_own(counted.key, is_own);
        }
    }

    pub(super) fn notify(&mut self, name: &str) {
        self.log.push(Commit::Notification(name.to_owned()));
    }

    /// A backend says something on the control channel that no bridge meant it to.
    pub(super) fn forge(&mut self, pid: i32, payload: &str) {
        self.log.push(Commit::Control {
            pid,
            payload: payload.to_owned(),
        });
    }

    /// Time passes.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        for bridge in 0..self.bridges.len() {
            let now = self.now;
            self.bridges[bridge].group.handle_timeout(now);
            self.carry_out(bridge);
        }
    }

    /// One message of the bridge is committed; whether there was one.
    pub(super) fn say(&mut self, bridge: usize) -> bool {
        let now = self.now;
        let it = &mut self.bridges[bridge];
        if !it.is_up || it.is_frozen {
            return false;
        }
        let pid = it.pid;
        let Some(payload) = it.group.poll_message(now) else {
            return false;
        };
        let payload = payload.as_str().to_owned();
        self.log.push(Commit::Control { pid, payload });
        true
    }

    /// The bridge reads the next commit; whether there was one.
    fn read(&mut self, bridge: usize) -> bool {
        let now = self.now;
        let it = &mut self.bridges[bridge];
        if !it.is_up || it.is_frozen || it.read >= self.log.len() {
            return false;
        }
        it.read += 1;
        match &self.log[it.read - 1] {
            Commit::Notification(name) => {
                if let Some(counted) = it.channels.get_mut(name) {
                    counted.seq += 1;
                }
            }
            Commit::Control { pid, payload } => {
                let channels = &it.channels;
                let heard = |name: &str| channels.get(name).map(Counted::heard);
                it.group
                    .handle_message(*pid, payload.as_bytes(), &heard, now);
            }
        }
        self.carry_out(bridge);
        true
    }

    pub(super) fn read_all(&mut self, bridge: usize) {
        while self.read(bridge) {}
    }

    fn carry_out(&mut self, bridge: usize) {
        let now = self.now;
        while let Some(outcome) = self.bridges[bridge].group.poll_outcome(now) {
            match outcome {
                Outcome::Mirror(channel) => self.listen(bridge, channel.as_str(), false),
                Outcome::Unmirror(channel) => {
                    let it = &mut self.bridges[bridge];
                    if let Some(counted) = it.channels.get_mut(channel.as_str()) {
                        counted.is_mirrored = false;
                        if !counted.is_own {
                            it.group.forget(counted.key);
                            it.channels.remove(channel.as_str());
                        }
                    }
                }
                Outcome::Release(key, patience) => {
                    let it = &mut self.bridges[bridge];
                    let name = it.names[key.index()].clone();
                    it.released.push((name, patience));
                }
                Outcome::AskPresent { pids, own_role } => {
                    let is_there = |pid: &i32| {
                        self.bridges.iter().enumerate().any(|(other, it)| {
                            it.is_up
                                && it.pid == *pid
                                && !(own_role && self.strangers.contains(&other))
                        })
                    };
                    let present: Vec<_> = pids.into_iter().filter(is_there).collect();
                    let group = &mut self.bridges[bridge].group;
                    group.handle_present(&present, now);
                }
            }
        }
        self.bridges[bridge].group.check_invariants();
    }

    /// All say and read everything, until nobody has anything more to say, and some time passes.
    pub(super) fn settle(&mut self) {
        for _ in 0..4 {
            let mut is_busy = true;
            while is_busy {
                is_busy = false;
                for bridge in 0..self.bridges.len() {
                    while self.say(bridge) {
                        is_busy = true;
                    }
                    self.read_all(bridge);
                }
            }
            self.pass(Duration::from_millis(200));
        }
    }

    /// Something, at random.
    pub(super) fn happen(&mut self, random: &mut Random) {
        let mut below = |max: u64| usize::try_from(random.bits() % max).unwrap();
        let bridge = below(self.bridges.len() as u64);
        let name = ["a", "b", "c"][below(3)];
        match below(100) {
            0..20 => self.notify(name),
            20..45 => drop(self.say(bridge)),
            45..85 => drop(self.read(bridge)),
            85..88 if self.bridges[bridge].is_up => self.listen(bridge, name, true),
            88 => self.set_own(bridge, name, below(2) == 0),
            89 if self.bridges[bridge].is_up => self.go_down(bridge),
            90 => self.kill(bridge),
            91 if self.bridges[bridge].is_up && below(2) == 0 => self.refuse(bridge),
            91 if self.bridges[bridge].is_up => self.replace_publishing(bridge),
            92..96 if !self.bridges[bridge].is_up => self.come_up(bridge),
            96 => self.pass(Duration::from_secs(below(20) as u64)),
            _ => self.pass(Duration::from_millis(below(300) as u64)),
        }
        self.check();
    }

    // ---- what is seen

    /// Each offset is that of the order.
    pub(super) fn check(&self) {
        for (at, bridge) in self.bridges.iter().enumerate() {
            assert_eq!(bridge.group.counts.contradictions, 0);
            for (name, counted) in &bridge.channels {
                let own = self.bases[&counted.epoch].1;
                for (epoch, (of, theirs)) in &self.bases {
                    let Some(offset) = bridge.group.ledger.offset(counted.key, *epoch) else {
                        continue;
                    };
                    assert_eq!(of, name, "bridge {at}: {epoch}");
                    let truth = i64::try_from(*theirs).unwrap() - i64::try_from(own).unwrap();
                    assert_eq!(offset, truth, "bridge {at}: {epoch} of {name}");
                }
            }
        }
    }

    pub(super) fn offset_count(&self) -> usize {
        let counts = self.bridges.iter().map(|it| it.group.offset_count());
        counts.sum()
    }

    pub(super) fn is_ready(&mut self, bridge: usize) -> bool {
        let now = self.now;
        let Bridge {
            group, channels, ..
        } = &mut self.bridges[bridge];
        let heard = |name: &str| channels.get(name).map(Counted::heard);
        group.readiness(&heard, now).is_ok()
    }

    /// Whether the bridge counts the channel.
    pub(super) fn stands(&self, bridge: usize, name: &str) -> bool {
        self.bridges[bridge].channels.contains_key(name)
    }

    /// The position of the bridge on a channel, so many notifications back.
    pub(super) fn since(&self, bridge: usize, name: &str, back: u64) -> Since {
        let counted = &self.bridges[bridge].channels[name];
        Since {
            epoch: counted.epoch.to_string().into(),
            seq: counted.seq - back,
        }
    }

    pub(super) fn judge(&mut self, bridge: usize, name: &str, since: &Since) -> Judgement {
        self.judged(bridge, name, since, Patience::Answers)
    }

    pub(super) fn judge_at_last(&mut self, bridge: usize, name: &str, since: &Since) -> Judgement {
        self.judged(bridge, name, since, Patience::None)
    }

    fn judged(
        &mut self,
        bridge: usize,
        name: &str,
        since: &Since,
        patience: Patience,
    ) -> Judgement {
        let now = self.now;
        let it = &mut self.bridges[bridge];
        let Counted { key, seq, .. } = it.channels[name];
        it.group.judge(key, seq, since, patience, now)
    }

    pub(super) fn released(&mut self, bridge: usize) -> Vec<(String, Patience)> {
        std::mem::take(&mut self.bridges[bridge].released)
    }

    /// Everything that was said on the control channel.
    pub(super) fn recorded(&self) -> Vec<(i32, String)> {
        let said = self.log.iter().filter_map(|commit| match commit {
            Commit::Control { pid, payload } => Some((*pid, payload.clone())),
            Commit::Notification(_) => None,
        });
        said.collect()
    }

    pub(super) fn control_bytes(&self) -> usize {
        self.recorded().iter().map(|it| it.1.len()).sum()
    }

    /// Notifications of the channel among the first so many commits.
    fn count(&self, name: &str, commits: usize) -> u64 {
        let log = self.log[..commits].iter();
        let of = log.filter(|it| matches!(it, Commit::Notification(of) if of == name));
        of.count() as u64
    }
}

impl Counted {
    fn heard(&self) -> Heard {
        Heard {
            key: self.key,
            epoch: self.epoch,
            seq: self.seq,
        }
    }
}
