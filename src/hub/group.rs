//! A group: bridges of one name on one database, each of which takes over the others' clients.
//!
//! PostgreSQL delivers all notifications to all listeners in one order. Two bridges that hear a
//! channel count the same ones, so their numbers differ by a constant, which they learn once: at a
//! `begin`, a message on the group's control channel that both hear. From then on a client's
//! position in the one's epoch is a position in the other's. What the others' clients want is
//! listened to here as well. What a bridge did not hear, because it lost its listening session or
//! because it came later, it fills in from the others.
//!
//! Owns the peers, the offsets, and what is said and asked. Refuses to know the hub, clients,
//! subscriptions and sockets: messages come in with the PID that PostgreSQL stamped on them, and
//! messages and outcomes go out. Where a channel of ours stands is asked of the caller at the
//! very moment at which a message is heard, because that place of the order is all that counts.

mod barriers;
mod catching_up;
mod comparisons;
mod encoding;
mod filling;
mod gathering;
mod hearing;
mod held;
mod held_back;
mod joining;
mod ledger;
mod mirrors;
mod offsets;
mod peers;
mod pieces;
mod resuming;
mod roll_call;
mod saying;
mod seal;
mod serving;
mod settings;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    cell::Cell,
    collections::VecDeque,
    time::{Duration, Instant},
};

use self::{
    barriers::Barriers,
    catching_up::{CatchUp, JOIN_TIMEOUT_MAX},
    comparisons::Comparisons,
    encoding::BridgeId,
    ledger::Ledger,
    mirrors::Mirrors,
    peers::Peers,
    seal::Seal,
    serving::Serving,
    wire::Message,
};
pub(super) use self::{barriers::Patience, held::Replayed, held_back::Verdict, serving::Kept};
pub use self::{
    roll_call::{Reply, RollCall},
    seal::GroupKey,
    settings::GroupSettings,
};
use super::epoch::Epoch;
use crate::{
    channel::{Channel, ChannelKey},
    message::Since,
};

/// The part of a bridge that is in a group.
///
/// After any method: [`Self::poll_outcome`] until `None`, then [`Self::poll_message`] as long as a
/// publishing session takes them.
#[derive(Debug)]
pub(super) struct Group {
    seal: Seal,
    seed: u64,
    /// Ids that we had, this one included.
    ids: u64,
    /// When the server of the listening session, which is up, was started.
    listening: Option<i64>,
    /// The same of the session before, or of this one.
    listened_to: Option<i64>,
    /// The publishing session, which is up.
    publishing: Option<Publishing>,
    /// The start of the server to which all that is known belongs.
    server_start: Option<i64>,
    identity: Option<Identity>,
    /// The id and the PID that we had before.
    former: Option<(BridgeId, i32)>,
    joined: Option<Joined>,
    /// When we come again, PostgreSQL having refused a message of ours.
    rejoin_due: Option<Instant>,
    leaving: Leaving,
    /// All peers have said all that they were asked, or were waited for long enough.
    is_ready: Cell<bool>,
    peers: Peers,
    ledger: Ledger,
    comparisons: Comparisons,
    mirrors: Mirrors,
    barriers: Barriers,
    catch_up: CatchUp,
    serving: Serving,
    /// Messages to be said.
    outbox: VecDeque<Message>,
    /// Channels that clients of ours want no longer, to be said.
    left: Vec<Channel>,
    outcomes: VecDeque<Outcome>,
    /// The backends that PostgreSQL is being asked about.
    asked: Option<Vec<i32>>,
    /// When the next question about backends is due.
    presence_due: Option<Instant>,
    /// What was counted.
    pub(super) counts: Counts,
    complaints: Complaints,
    /// The last number of bridges in the log, which has none of a private group.
    told_size: Option<usize>,
}

/// A publishing session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Publishing {
    pid: i32,
    server_start: i64,
}

/// Who we are to the others, for as long as the publishing session lives.
#[derive(Clone, Copy, Debug)]
struct Identity {
    id: BridgeId,
    pid: i32,
    /// Of the last message that we sent.
    sent: u64,
    /// Of the last one that came back.
    heard: u64,
}

/// Both sessions are up, and our hello is said.
#[derive(Clone, Debug)]
struct Joined {
    at: Instant,
    hello_heard_at: Option<Instant>,
    /// The backends that were in the group before; `None` while PostgreSQL has not said.
    members: Option<Vec<i32>>,
    /// When PostgreSQL is asked again whether those that have not answered are there still.
    members_due: Option<Instant>,
    /// Channels may be announced: whoever is there has answered the hello.
    has_begun: bool,
    /// Sent and not come back.
    unheard: usize,
}

/// Whether the bridge stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// The others are being told, and until then that is waited for.
    Until(Instant),
    Done,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) messages_sent: u64,
    pub(super) messages_heard: u64,
    pub(super) messages_refused: u64,
    pub(super) contradictions: u64,
    /// Channels that went on after a lost session as if nothing had been.
    pub(super) resumed: u64,
    /// Notifications that a peer filled in.
    pub(super) filled: u64,
}

/// What was said in the log, once each.
#[derive(Clone, Copy, Debug, Default)]
struct Complaints {
    version: bool,
    refused: bool,
    crowded: bool,
    relayed: bool,
}

/// Where one of our channels stands at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) key: ChannelKey,
    pub(super) epoch: Epoch,
    pub(super) seq: u64,
}

/// What follows for the owner of the channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Peers want the channel: it is to be listened to.
    Mirror(Channel),
    /// Peers want it no longer.
    Unmirror(Channel),
    /// A channel that was held back goes on like this, though not yet: what is held of it comes by
    /// [`Group::poll_replayed`], and [`Group::poll_released`] follows.
    Settle(ChannelKey, Verdict),
    /// Subscribes that wait on the channel are to be decided, with so much patience left.
    Release(ChannelKey, Patience),
    /// PostgreSQL is to be told that our publishing session is one of the group, and asked which others
    /// are; [`Group::handle_members`] takes the answer.
    AskMembers,
    /// PostgreSQL is to be asked which of these backends are there;
    /// [`Group::handle_present`] takes the answer.
    AskPresent {
        pids: Vec<i32>,
        /// Only those of our own role count.
        own_role: bool,
    },
}

/// What a client's position in another epoch comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// In our own numbers.
    Position(u64),
    /// Nobody knows.
    Unknown,
    /// The subscribe waits for [`Outcome::Release`].
    Wait,
}

impl Group {
    pub(super) fn new(settings: GroupSettings) -> Self {
        Self {
            seal: Seal::new(settings.control, settings.key),
            seed: settings.seed,
            ids: 0,
            listening: None,
            listened_to: None,
            publishing: None,
            server_start: None,
            identity: None,
            former: None,
            joined: None,
            rejoin_due: None,
            leaving: Leaving::No,
            is_ready: Cell::new(false),
            peers: Peers::default(),
            ledger: Ledger::default(),
            comparisons: Comparisons::default(),
            mirrors: Mirrors::default(),
            barriers: Barriers::default(),
            catch_up: CatchUp::new(settings.fill_bytes_max),
            serving: Serving::default(),
            outbox: VecDeque::new(),
            left: Vec::new(),
            outcomes: VecDeque::new(),
            asked: None,
            presence_due: None,
            counts: Counts::default(),
            complaints: Complaints::default(),
            told_size: (!settings.is_private).then_some(1),
        }
    }

    /// Peers to be reckoned with.
    pub(super) fn peer_count(&self) -> usize {
        self.peers.count()
    }

    /// Channels that peers want.
    pub(super) fn mirrored_count(&self) -> usize {
        self.mirrors.count()
    }

    /// Offsets between our epochs and others.
    pub(super) fn offset_count(&self) -> usize {
        self.ledger.offset_count()
    }

    // ---- channels

    /// The LISTEN of a channel is confirmed, and it counts from 0 in this epoch.
    pub(super) fn handle_epoch(
        &mut self,
        key: ChannelKey,
        name: &Channel,
        epoch: Epoch,
        is_own: bool,
    ) {
        self.ledger.begin(key, name, epoch, is_own);
    }

    /// Whether clients of ours want a channel has changed.
    pub(super) fn handle_own(&mut self, key: ChannelKey, is_own: bool) {
        let name = self.ledger.set_own(key, is_own);
        // While nobody is there, nobody is told: a newcomer is told what there is.
        let is_told = !is_own && self.peers.count() > 0;
        self.left.extend(name.filter(|_| is_told));
    }

    /// The channel is listened to no longer.
    pub(super) fn forget(&mut self, key: ChannelKey) {
        self.ledger.forget(key);
        self.barriers.forget(key);
        self.catch_up.forget(key);
    }

    /// What a client's position on a channel is to us, where its epoch is not our own and `current`
    /// is our number. `patience` says what the subscribe may wait for.
    pub(super) fn judge(
        &mut self,
        key: ChannelKey,
        current: u64,
        since: &Since,
        patience: Patience,
        now: Instant,
    ) -> Judgement {
        let Some(epoch) = Epoch::parse(&since.epoch) else {
            return Judgement::Unknown;
        };
        let Some(offset) = self.ledger.offset(key, epoch) else {
            let can_wait = self.joined.is_some() && self.peers.count() > 0;
            if patience == Patience::Answers && can_wait && !self.ledger.is_answered(key) {
                self.barriers.await_answers(key, now);
                return Judgement::Wait;
            }
            return Judgement::Unknown;
        };
        match since.seq.checked_add_signed(offset) {
            Some(seq) if seq <= current => Judgement::Position(seq),
            Some(_) if patience >= Patience::Barrier && self.joined.is_some() => {
                self.barriers.await_barrier(key, now);
                Judgement::Wait
            }
            Some(_) | None => Judgement::Unknown,
        }
    }

    /// Why not every peer has said where it stands, if so; after a while that is not waited for any
    /// more. `heard` tells where a channel stands.
    pub(super) fn readiness(
        &self,
        heard: &dyn Fn(&str) -> Option<Heard>,
        now: Instant,
    ) -> Result<(), &'static str> {
        let Some(joined) = &self.joined else {
            return Ok(());
        };
        // What makes progress is worth the wait.
        let is_joining = self.catch_up.is_on() && !self.catch_up.is_replaying();
        let timeout = if is_joining {
            JOIN_TIMEOUT_MAX
        } else {
            READY_TIMEOUT
        };
        let is_ready = self.is_ready.get()
            || now >= joined.at + timeout
            || joined.has_begun
                && !self.catch_up.is_on()
                && self.peers.have_all_ended()
                && self.ledger.is_settled()
                && (self.mirrors.channels()).all(|it| heard(it.as_str()).is_some());
        self.is_ready.set(is_ready);
        if is_ready {
            Ok(())
        } else {
            Err("the other bridges of the group have not answered yet")
        }
    }

    /// What follows from what happened.
    pub(super) fn poll_outcome(&mut self, now: Instant) -> Option<Outcome> {
        while let Some(keys) = self.comparisons.poll_answered(now) {
            for key in keys {
                self.ledger.handle_answered(key);
                self.catch_up.handle_answered(key);
            }
        }
        if self.catch_up.is_decided() {
            self.finish_catch_up(now);
        }
        if let Some(outcome) = self.outcomes.pop_front() {
            return Some(outcome);
        }
        let is_answered = |key| self.ledger.is_answered(key);
        let release = self.barriers.poll_release(is_answered, now);
        release.map(|(key, patience)| Outcome::Release(key, patience))
    }

    // ---- time

    /// When [`Self::handle_timeout`] is wanted.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let joined = self.joined.as_ref().filter(|it| !it.has_begun);
        let leaving = match self.leaving {
            Leaving::Until(due) => Some(due),
            Leaving::No | Leaving::Done => None,
        };
        [
            joined.map(Joined::settled_at),
            joined.and_then(|it| it.members_due),
            leaving,
            self.rejoin_due,
            self.presence_due,
            self.comparisons.poll_timeout(),
            self.barriers.poll_timeout(),
            self.mirrors.poll_timeout(),
            self.catch_up.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The time has come for whatever was due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.comparisons.handle_timeout(now);
        if matches!(self.leaving, Leaving::Until(due) if due <= now) {
            self.leaving = Leaving::Done;
        }
        let unwanted = self.mirrors.handle_timeout(now).into_iter();
        self.outcomes.extend(unwanted.map(Outcome::Unmirror));
        if self.catch_up.poll_timeout().is_some_and(|due| due <= now) {
            self.finish_catch_up(now);
        }
        if self.presence_due.is_some_and(|due| due <= now) {
            self.presence_due = None;
            self.ask_present();
        }
        if let Some(joined) = &mut self.joined {
            let due = joined.members_due.take_if(|due| *due <= now);
            let is_due = due.is_some() && !joined.has_begun;
            self.outcomes.extend(is_due.then_some(Outcome::AskMembers));
        }
        if self.peers.is_full() && self.rejoin_due.is_none() {
            self.handle_message_lost(now);
        }
        if self.rejoin_due.is_some_and(|due| due <= now) {
            self.join(now);
        }
    }

    /// The parts agree with themselves.
    pub(super) fn check_invariants(&self) {
        self.peers.check_invariants();
        self.ledger.check_invariants();
        self.barriers.check_invariants();
        self.mirrors.check_invariants();
        self.catch_up.check_invariants();
        assert!(self.joined.is_none() || self.identity.is_some());
        assert!(self.outbox.len() <= saying::OUTBOX_MAX + 1);
    }
}

impl Joined {
    /// Nobody is waited for who has not answered our hello by then.
    fn settled_at(&self) -> Instant {
        let heard_at = self.hello_heard_at.map(|it| it + SETTLE_TIME);
        let is_known = self.members.as_ref().is_some_and(Vec::is_empty);
        let last = self.at + MEMBERS_TIMEOUT;
        heard_at
            .filter(|_| is_known)
            .map_or(last, |it| it.min(last))
    }
}

/// From our hello on, for those of which PostgreSQL does not know: they are of an earlier version.
const SETTLE_TIME: Duration = Duration::from_millis(250);
/// From our hello on, for those of which PostgreSQL says that they are in the group.
const MEMBERS_TIMEOUT: Duration = Duration::from_secs(2);
/// From our hello on, until peers that have not answered count as gone.
const READY_TIMEOUT: Duration = Duration::from_secs(3);
