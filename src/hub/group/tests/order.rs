//! One order of commits, and bridges that read it at their own pace.

mod chance;
mod seen;
mod sessions;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use super::super::{seal::Header, *};

/// A commit.
#[derive(Clone, Debug)]
enum Commit {
    /// Of a channel, the one of this number, counted from 1.
    Notification(String, u64),
    Control {
        pid: i32,
        payload: String,
    },
}

/// The order, and all that read it.
pub(super) struct Order {
    log: Vec<Commit>,
    pub(super) bridges: Vec<Bridge>,
    pub(super) server_start: i64,
    /// Bridges whose backend is of another role.
    pub(super) strangers: BTreeSet<usize>,
    now: Instant,
    /// What each may hold back.
    pub(super) held_bytes_max: usize,
    key: Option<GroupKey>,
    epochs: u64,
    pids: i32,
    /// For each epoch, of which channel it is, and the notification of that before its first one.
    bases: BTreeMap<Epoch, (String, i64)>,
    /// Notifications of each channel.
    counts: BTreeMap<String, u64>,
}

/// One bridge: its group, and the channels that it counts.
pub(super) struct Bridge {
    pub(super) group: Group,
    /// It reads nothing and says nothing.
    pub(super) is_frozen: bool,
    pid: i32,
    is_up: bool,
    /// Its listening session is there.
    is_listening: bool,
    /// How much of the order it has read.
    read: usize,
    channels: BTreeMap<String, Counted>,
    names: Vec<String>,
    released: Vec<(String, Patience)>,
    /// What clients were told of gaps.
    pub(super) gaps: usize,
    /// The number in an epoch, and the notification, of those delivered and not checked yet.
    delivered: Vec<(Epoch, u64, u64)>,
    /// Counts the notifications of all channels.
    place: u64,
}

#[derive(Debug)]
struct Counted {
    key: ChannelKey,
    epoch: Epoch,
    seq: u64,
    is_own: bool,
    is_mirrored: bool,
    /// Its LISTEN is confirmed.
    is_listened: bool,
    /// Its notifications count.
    is_counted: bool,
    ring: VecDeque<Kept>,
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
            held_bytes_max: usize::MAX,
            key,
            epochs: 0,
            pids: 100,
            bases: BTreeMap::new(),
            counts: BTreeMap::new(),
        };
        for bridge in 0..bridges {
            let group = order.group(bridge, order.key.clone());
            order.bridges.push(Bridge {
                group,
                is_frozen: false,
                pid: 0,
                is_up: false,
                is_listening: false,
                read: 0,
                channels: BTreeMap::new(),
                names: Vec::new(),
                released: Vec::new(),
                gaps: 0,
                delivered: Vec::new(),
                place: 0,
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
            is_private: false,
            fill_bytes_max: 1 << 20,
        })
    }

    /// The channel counts from here on, in a new epoch.
    fn begin(&mut self, bridge: usize, name: &str) {
        self.begin_epoch(bridge, name);
        self.counted(bridge, name).is_counted = true;
    }

    fn begin_epoch(&mut self, bridge: usize, name: &str) {
        let epoch = self.epoch(bridge);
        let base = i64::try_from(self.count(name, self.bridges[bridge].read)).unwrap();
        self.bases.insert(epoch, (name.to_owned(), base));
        let counted = self.counted(bridge, name);
        (counted.epoch, counted.seq) = (epoch, 0);
        counted.ring.clear();
        let (key, is_own) = (counted.key, counted.is_own);
        let channel = Channel::new(name).unwrap();
        let group = &mut self.bridges[bridge].group;
        group.handle_epoch(key, &channel, epoch, is_own);
    }

    fn epoch(&mut self, bridge: usize) -> Epoch {
        self.epochs += 1;
        Epoch {
            process: bridge as u64 + 1,
            number: self.epochs,
        }
    }

    fn counted(&mut self, bridge: usize, name: &str) -> &mut Counted {
        self.bridges[bridge].channels.get_mut(name).unwrap()
    }

    /// The process is killed, and another one takes its place.
    pub(super) fn kill(&mut self, bridge: usize) {
        let group = self.group(bridge, self.key.clone());
        let it = &mut self.bridges[bridge];
        it.is_up = false;
        it.is_listening = false;
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

    /// The channel is wanted, and listened to at once if there is a session.
    pub(super) fn listen(&mut self, bridge: usize, name: &str, is_own: bool) {
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
        let counted = Counted {
            key: ChannelKey(u32::try_from(key).unwrap()),
            epoch: Epoch {
                process: 0,
                number: 0,
            },
            seq: 0,
            is_own,
            is_mirrored: !is_own,
            is_listened: false,
            is_counted: false,
            ring: VecDeque::new(),
        };
        it.channels.insert(name.to_owned(), counted);
        self.confirm(bridge, name);
    }

    pub(super) fn set_own(&mut self, bridge: usize, name: &str, is_own: bool) {
        let it = &mut self.bridges[bridge];
        if let Some(counted) = it.channels.get_mut(name) {
            counted.is_own = is_own;
            it.group.handle_own(counted.key, is_own);
        }
    }

    pub(super) fn notify(&mut self, name: &str) {
        let count = self.counts.entry(name.to_owned()).or_default();
        *count += 1;
        self.log.push(Commit::Notification(name.to_owned(), *count));
    }

    /// The bridge stops.
    pub(super) fn leave(&mut self, bridge: usize) {
        let now = self.now;
        self.bridges[bridge].group.leave(now);
    }

    /// The bridge says something that only a later version knows.
    pub(super) fn say_of_another_kind(&mut self, bridge: usize) {
        let group = &mut self.bridges[bridge].group;
        let identity = group.identity.as_mut().unwrap();
        identity.sent += 1;
        let header = Header {
            id: identity.id,
            pid: identity.pid,
            counter: identity.sent,
            server_start: self.server_start,
        };
        let sealed = group.seal.seal(header, &Message::Barrier);
        let mut body = STANDARD_NO_PAD
            .decode(payload_of(sealed.as_str()).unwrap())
            .unwrap();
        *body.last_mut().unwrap() = 200;
        let payload = format!("1 {}", STANDARD_NO_PAD.encode(&body));
        self.forge(header.pid, &payload);
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
        self.replay(bridge);
        let it = &mut self.bridges[bridge];
        if !it.is_up || it.is_frozen {
            return false;
        }
        let (pid, channels) = (it.pid, &it.channels);
        let rings = |channel: &Channel, epoch: Epoch, from: u64| {
            let counted = channels.get(channel.as_str());
            let counted = counted.filter(|it| it.is_counted && it.epoch == epoch)?;
            let mut ring = counted.ring.iter();
            ring.find(|kept| kept.seq >= from).cloned()
        };
        let payload = it.group.poll_message(&rings, now);
        self.carry_out(bridge);
        let Some(payload) = payload else {
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
        if !it.is_listening || it.is_frozen || it.read >= self.log.len() {
            return false;
        }
        it.read += 1;
        match &self.log[it.read - 1] {
            Commit::Notification(name, number) => {
                let counted = it.channels.get(name).filter(|it| it.is_listened);
                let payload = payload(*number);
                match counted {
                    Some(counted) if counted.is_counted => it.deliver(name, &payload),
                    Some(counted) => {
                        it.group
                            .hold(counted.key, payload.as_bytes(), self.held_bytes_max);
                    }
                    None => {}
                }
            }
            Commit::Control { pid, payload } => {
                let channels = &it.channels;
                let heard = |name: &str| channels.get(name).and_then(Counted::heard);
                it.group
                    .handle_message(*pid, payload.as_bytes(), &heard, now);
            }
        }
        self.carry_out(bridge);
        true
    }

    /// Delivers what is late.
    fn replay(&mut self, bridge: usize) {
        let it = &mut self.bridges[bridge];
        while let Some(replayed) = it.group.poll_replayed() {
            let name = it.names[replayed.key.index()].clone();
            let text = String::from_utf8(replayed.payload).unwrap();
            it.deliver(&name, &text);
        }
        let Some((keys, late)) = it.group.poll_released() else {
            return;
        };
        for key in keys {
            let it = &mut self.bridges[bridge];
            let name = it.names[key.index()].clone();
            let counted = it.channels.get_mut(&name).unwrap();
            counted.is_counted = true;
            let (epoch, seq) = (counted.epoch, counted.seq);
            let count = self.count(&name, self.bridges[bridge].read);
            let base = i64::try_from(count).unwrap() - i64::try_from(seq).unwrap();
            self.bases.entry(epoch).or_insert((name, base));
        }
        for key in late {
            let name = self.bridges[bridge].names[key.index()].clone();
            self.bridges[bridge].gaps += 1;
            self.begin(bridge, &name);
        }
    }

    /// The bridge reads everything; whether there was anything.
    pub(super) fn read_all(&mut self, bridge: usize) -> bool {
        let mut has_read = false;
        while self.read(bridge) {
            has_read = true;
        }
        has_read
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
                        if !counted.is_own && (counted.is_counted || !counted.is_listened) {
                            it.group.forget(counted.key);
                            it.channels.remove(channel.as_str());
                        }
                    }
                }
                Outcome::Settle(key, verdict) => {
                    let it = &mut self.bridges[bridge];
                    let name = it.names[key.index()].clone();
                    match verdict {
                        Verdict::Resumed => {}
                        Verdict::Begun(seq) => self.counted(bridge, &name).seq = seq,
                        Verdict::Missed => {
                            it.gaps += 1;
                            self.begin_epoch(bridge, &name);
                            // What is held still counts in it: the release tells its base.
                            let epoch = self.counted(bridge, &name).epoch;
                            self.bases.remove(&epoch);
                        }
                    }
                }
                Outcome::Release(key, patience) => {
                    let it = &mut self.bridges[bridge];
                    let name = it.names[key.index()].clone();
                    it.released.push((name, patience));
                }
                Outcome::AskMembers => self.answer_members(bridge),
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
        for bridge in 0..self.bridges.len() {
            if self.bridges[bridge].is_up {
                if !self.bridges[bridge].is_listening {
                    self.listen_again(bridge);
                }
                self.confirm_all(bridge);
            }
        }
        for _ in 0..SETTLE_STEPS {
            let mut is_busy = true;
            while is_busy {
                is_busy = false;
                for bridge in 0..self.bridges.len() {
                    while self.say(bridge) {
                        is_busy = true;
                    }
                    is_busy |= self.read_all(bridge);
                }
            }
            self.pass(Duration::from_millis(200));
        }
    }
}

impl Bridge {
    fn deliver(&mut self, name: &str, payload: &str) {
        self.place += 1;
        let counted = self.channels.get_mut(name).unwrap();
        counted.seq += 1;
        counted.ring.push_back(Kept {
            seq: counted.seq,
            place: self.place,
            payload: payload.to_owned(),
            is_lossy: false,
        });
        if counted.ring.len() > RING_MAX {
            counted.ring.pop_front();
        }
        let number = payload.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(payload, self::payload(number));
        self.delivered.push((counted.epoch, counted.seq, number));
    }
}

impl Counted {
    fn heard(&self) -> Option<Heard> {
        self.is_counted.then_some(Heard {
            key: self.key,
            epoch: self.epoch,
            seq: self.seq,
        })
    }
}

/// The payload of the notification of a channel with this number; some are longer than a message.
fn payload(number: u64) -> String {
    let padding = if number.is_multiple_of(11) { 7_000 } else { 0 };
    format!("{number} {}", "x".repeat(padding))
}

/// Notifications that a ring holds.
pub(super) const RING_MAX: usize = 16;
/// Steps of 200 ms until all is quiet.
const SETTLE_STEPS: usize = 8;
