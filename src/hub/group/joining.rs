//! Coming and going: the two sessions, who we are to the others, and which of those are there.
//!
//! A bridge is in the group while both of its sessions are up and of one server. It says hello
//! whenever one of them is new, and announces all its channels after that.

use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::{
    Group, Identity, Joined, Leaving, Outcome, Publishing, SETTLE_TIME, encoding::BridgeId,
    wire::Message,
};

impl Group {
    /// The listening session is up, hears the control channel, and its server was started then.
    pub(in crate::hub) fn handle_listening_up(&mut self, server_start: i64, now: Instant) {
        self.listening = Some(server_start);
        match self.listened_to.replace(server_start) {
            None => self.catch_up.join(now),
            // Its queue was lost: nobody heard what we missed.
            Some(before) if before != server_start => {
                self.ledger.clear();
                self.catch_up.reset();
            }
            Some(_) => self.catch_up.handle_up(now),
        }
        self.join(now);
    }

    /// The listening session is gone. Where peers hear on, every epoch of ours may go on; else they
    /// end. Whether they may.
    pub(in crate::hub) fn handle_listening_down(&mut self) -> bool {
        self.listening = None;
        self.joined = None;
        self.barriers.clear();
        self.serving.clear();
        self.quiet();
        let may_resume = self.peers.count() > 0;
        if may_resume {
            self.catch_up.suspend(self.ledger.suspend());
        } else {
            self.ledger.clear();
            self.catch_up.reset();
        }
        may_resume
    }

    /// The publishing session is up.
    pub(in crate::hub) fn handle_publishing_up(
        &mut self,
        pid: i32,
        server_start: i64,
        now: Instant,
    ) {
        self.publishing = Some(Publishing { pid, server_start });
        self.join(now);
    }

    /// The publishing session is gone, or one of its messages is: we come again under another name.
    pub(in crate::hub) fn handle_publishing_down(&mut self) {
        self.publishing = None;
        self.drop_identity();
    }

    /// A message of ours was not committed, though the session lives.
    pub(in crate::hub) fn handle_message_lost(&mut self, now: Instant) {
        if self.publishing.is_some() {
            self.drop_identity();
            if self.catch_up.is_joining() {
                self.finish_catch_up(now);
            }
            // What refused one message may refuse the next one.
            self.rejoin_due = Some(now + REJOIN_PAUSE);
        }
    }

    fn drop_identity(&mut self) {
        if let Some(identity) = self.identity.take() {
            self.former = Some((identity.id, identity.pid));
            self.peers.retire_own(identity.id);
        }
        self.joined = None;
        self.serving.clear();
        self.quiet();
    }

    /// Nothing said or asked so far counts any more.
    fn quiet(&mut self) {
        self.rejoin_due = None;
        self.outbox.clear();
        self.comparisons.clear();
        self.barriers.handle_lost();
        self.asked = None;
        self.presence_due = None;
    }

    pub(super) fn join(&mut self, now: Instant) {
        self.rejoin_due = None;
        let (Some(server_start), Some(publishing)) = (self.listening, self.publishing) else {
            return;
        };
        if publishing.server_start != server_start {
            // One of the two is about to be lost.
            return;
        }
        if self.server_start.replace(server_start) != Some(server_start) {
            self.peers.clear();
            self.identity = None;
            let unwanted = self.mirrors.clear().into_iter();
            self.outcomes.extend(unwanted.map(Outcome::Unmirror));
        }
        if self.peers.is_full() {
            self.identity = None;
            self.peers.forget_oldest();
        }
        if self.identity.is_none() {
            self.ids += 1;
            self.identity = Some(Identity {
                id: bridge_id(self.seed, self.ids),
                pid: publishing.pid,
                sent: 0,
                heard: 0,
            });
        }
        self.quiet();
        self.catch_up.handle_renamed();
        self.catch_up.handle_have(now);
        self.joined = Some(Joined {
            at: now,
            hello_heard_at: None,
            members: None,
            members_due: None,
            has_begun: false,
            unheard: 0,
        });
        self.is_ready.set(false);
        self.peers.handle_hello_said();
        for peer in self.peers.fresh() {
            self.mirrors.leave_behind(peer, now);
        }
        self.ledger.unsay_all();
        self.outbox.push_back(Message::Hello);
        self.outcomes.push_back(Outcome::AskMembers);
        self.ask_present();
    }

    /// These backends were in the group when we came, as far as PostgreSQL knows: their answers to our
    /// hello are waited for.
    pub(in crate::hub) fn handle_members(&mut self, pids: Vec<i32>, now: Instant) {
        if let Some(joined) = &mut self.joined {
            joined.members_due = (!pids.is_empty()).then_some(now + SETTLE_TIME);
            joined.members = Some(pids);
            self.catch_up.handle_have(now);
        }
    }

    /// The bridge stops: the others are told, so that they wait for nothing of ours, and
    /// [`Self::has_left`] soon.
    pub(in crate::hub) fn leave(&mut self, now: Instant) {
        if self.leaving != Leaving::No {
            return;
        }
        self.leaving = Leaving::Done;
        if self.joined.is_some() && self.peers.count() > 0 {
            self.outbox.clear();
            self.outbox.push_back(Message::Goodbye);
            self.leaving = Leaving::Until(now + GOODBYE_TIMEOUT);
        }
    }

    /// Whether the others were told, or could not be.
    pub(in crate::hub) fn has_left(&self) -> bool {
        self.leaving == Leaving::Done
    }

    /// The peer is gone.
    pub(super) fn part_from(&mut self, peer: BridgeId, now: Instant) {
        self.comparisons.forget(peer);
        self.catch_up.forget_peer(peer);
        self.serving.forget(peer);
        self.mirrors.leave_behind(peer, now);
    }

    // ---- presence

    /// PostgreSQL is asked which peers are there. Nothing is said to anybody.
    pub(super) fn ask_present(&mut self) {
        let pids = self.peers.pids();
        if self.asked.is_none() && self.joined.is_some() && !pids.is_empty() {
            self.asked = Some(pids.clone());
            self.outcomes.push_back(Outcome::AskPresent {
                pids,
                own_role: !self.seal.has_key(),
            });
        }
    }

    /// PostgreSQL cannot be asked now.
    pub(in crate::hub) fn handle_unasked(&mut self) {
        self.asked = None;
    }

    /// These of the backends that were asked about are there.
    pub(in crate::hub) fn handle_present(&mut self, present: &[i32], now: Instant) {
        let Some(asked) = self.asked.take() else {
            return;
        };
        let (heard, gone) = self.peers.handle_present(&asked, present);
        for id in gone {
            self.part_from(id, now);
        }
        for (id, first) in heard {
            self.meet(id, first, now);
        }
        self.tell_size();
        let pids = self.peers.pids();
        if pids.iter().any(|pid| !asked.contains(pid)) {
            self.ask_present();
        } else {
            self.presence_due = (!pids.is_empty()).then_some(now + PRESENCE_INTERVAL);
        }
    }
}

/// No id follows from another.
pub(super) fn bridge_id(seed: u64, number: u64) -> BridgeId {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(number.to_be_bytes());
    let bits = hash.finalize();
    let bits = bits.first_chunk().expect("a hash has 32 bytes");
    BridgeId(u64::from_be_bytes(*bits))
}

/// PostgreSQL commits a goodbye by then, or it is not waited for.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(250);
/// From a message that PostgreSQL refused to the next hello.
const REJOIN_PAUSE: Duration = Duration::from_secs(1);
/// Between two questions about the backends of peers.
pub(super) const PRESENCE_INTERVAL: Duration = Duration::from_secs(15);
