//! The other bridges of the group, and whether to believe that a message is theirs.
//!
//! A message that was recorded and is sent again would make a wrong offset, so nothing is believed
//! that could be old. A peer's id comes with one PID for life, its counter only rises, and an id
//! that was retired never comes back. That rules out repetitions within our own life; to rule out
//! those from before it, a peer is heard only once it has named our own id, which is random. Without
//! a key, PostgreSQL has to say before that, that the backend is of our role.
//!
//! Refuses to know what messages say beyond that.

use std::collections::{BTreeMap, VecDeque};

use super::{encoding::BridgeId, seal::Header};

/// All bridges that were heard of.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: BTreeMap<BridgeId, Peer>,
    /// Ids whose time is over, the one retired first at the front.
    retired: VecDeque<BridgeId>,
}

/// One of them.
#[derive(Debug)]
struct Peer {
    pid: i32,
    /// Of its last message.
    counter: u64,
    /// Its backend is one of a bridge, as far as we can tell.
    is_vouched: bool,
    /// It named our id.
    is_fresh: bool,
    /// It answered our last hello.
    has_welcomed: bool,
    /// It came after our last hello, and we have met.
    has_greeted: bool,
    /// It said everything that its clients want, since our last hello.
    has_ended: bool,
    /// The message that is to be answered once it is vouched for.
    first: Option<First>,
}

/// A message by which a peer becomes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    /// `Hello`: it names nobody.
    Hello,
    /// `Welcome`, to us.
    Welcome,
    /// `Greet`, to us.
    Greet,
}

/// Why a message is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disbelief {
    /// PID or counter do not fit, or the id is over: somebody sends again what a peer sent.
    Repeated,
    /// The sender did not say hello, as far as we know.
    Stranger,
    /// There are as many peers as there may be.
    Crowded,
}

/// What is to be asked or done about a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belief {
    /// The message is to be heard.
    Heard,
    /// PostgreSQL is to be asked whose backend that is; the message waits.
    Asked,
}

impl Peers {
    /// How many are to be reckoned with.
    pub(super) fn count(&self) -> usize {
        self.fresh().count()
    }

    /// Those to be reckoned with.
    pub(super) fn fresh(&self) -> impl Iterator<Item = BridgeId> {
        let fresh = self.known.iter().filter(|(_, peer)| peer.is_heard());
        fresh.map(|(&id, _)| id)
    }

    /// The backends of all, known or claimed.
    pub(super) fn pids(&self) -> Vec<i32> {
        self.known.values().map(|peer| peer.pid).collect()
    }

    /// Whether all answered our last hello; there is at least one.
    pub(super) fn have_all_welcomed(&self) -> bool {
        let mut heard = self.known.values().filter(|it| it.is_heard()).peekable();
        heard.peek().is_some() && heard.all(|it| it.has_welcomed)
    }

    /// Whether these backends are those of peers that we have met since our last hello.
    pub(super) fn have_met<'a>(&self, mut pids: impl Iterator<Item = &'a i32>) -> bool {
        pids.all(|&pid| {
            let mut met = self
                .known
                .values()
                .filter(|it| it.has_welcomed || it.has_greeted);
            met.any(|it| it.pid == pid)
        })
    }

    /// Whether all that answered our last hello said what they have.
    pub(super) fn have_all_ended(&self) -> bool {
        let mut welcoming = self.known.values().filter(|it| it.has_welcomed);
        welcoming.all(|it| it.has_ended)
    }

    /// A message comes with this header; `first` tells by which kind a peer becomes known, if it is
    /// of one.
    pub(super) fn hear(
        &mut self,
        header: Header,
        first: Option<First>,
        is_vouched: bool,
    ) -> Result<Belief, Disbelief> {
        let Header {
            id, pid, counter, ..
        } = header;
        if self.retired.contains(&id) {
            return Err(Disbelief::Repeated);
        }
        if let Some(peer) = self.known.get_mut(&id) {
            if peer.pid != pid || peer.counter >= counter {
                return Err(Disbelief::Repeated);
            }
            peer.counter = counter;
            return peer.hear(first);
        }
        let first = first.ok_or(Disbelief::Stranger)?;
        if self.known.len() >= PEERS_MAX {
            return Err(Disbelief::Crowded);
        }
        let mut peer = Peer {
            pid,
            counter,
            is_vouched,
            is_fresh: false,
            has_welcomed: false,
            has_greeted: false,
            has_ended: false,
            first: None,
        };
        let belief = peer.hear(Some(first));
        self.known.insert(id, peer);
        belief
    }

    /// Our last hello was said: all are to answer it.
    pub(super) fn handle_hello_said(&mut self) {
        for peer in self.known.values_mut() {
            peer.has_welcomed = false;
            peer.has_greeted = false;
            peer.has_ended = false;
        }
    }

    /// It answered our last hello.
    pub(super) fn note_welcome(&mut self, id: BridgeId) {
        if let Some(peer) = self.known.get_mut(&id) {
            peer.has_welcomed = true;
        }
    }

    /// It answered our answer to its hello.
    pub(super) fn note_greet(&mut self, id: BridgeId) {
        if let Some(peer) = self.known.get_mut(&id) {
            peer.has_greeted = true;
        }
    }

    /// It said everything that its clients want.
    pub(super) fn note_end(&mut self, id: BridgeId) {
        if let Some(peer) = self.known.get_mut(&id) {
            peer.has_ended = true;
        }
    }

    /// PostgreSQL was asked about backends, and these are those of a bridge. Reports what waited
    /// for that, and the peers that are no more.
    pub(super) fn handle_present(
        &mut self,
        asked: &[i32],
        present: &[i32],
    ) -> (Vec<(BridgeId, First)>, Vec<BridgeId>) {
        let (mut heard, mut gone) = (Vec::new(), Vec::new());
        for (&id, peer) in &mut self.known {
            if !asked.contains(&peer.pid) {
                continue;
            }
            if !present.contains(&peer.pid) {
                gone.push(id);
            } else if !std::mem::replace(&mut peer.is_vouched, true) {
                heard.extend(peer.first.take().map(|first| (id, first)));
            }
        }
        for &id in &gone {
            self.retire(id);
        }
        (heard, gone)
    }

    /// The peer is no more.
    pub(super) fn retire(&mut self, id: BridgeId) {
        if self.known.remove(&id).is_some() {
            self.retired.push_back(id);
        }
    }

    /// Our own id is another from now on: what named the old one proves nothing any more, and a
    /// message of ours that is sent again is nobody's.
    pub(super) fn retire_own(&mut self, id: BridgeId) {
        self.retired.push_back(id);
    }

    /// Whether so many ids are over that the oldest have to be forgotten, which is safe only under
    /// another id of our own.
    pub(super) fn is_full(&self) -> bool {
        self.retired.len() >= RETIRED_MAX
    }

    /// Forgets the older half of the ids that are over.
    pub(super) fn forget_oldest(&mut self) {
        self.retired.drain(..self.retired.len() / 2);
    }

    /// The server is another: nobody of it is known.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// No id is known and over at once.
    pub(super) fn check_invariants(&self) {
        assert!(self.known.len() <= PEERS_MAX);
        for (id, peer) in &self.known {
            assert!(!self.retired.contains(id), "{id:?}");
            assert!(peer.is_vouched || peer.first.is_some(), "{peer:?}");
        }
    }
}

impl Peer {
    fn is_heard(&self) -> bool {
        self.is_vouched && self.is_fresh
    }

    fn hear(&mut self, first: Option<First>) -> Result<Belief, Disbelief> {
        self.is_fresh |= matches!(first, Some(First::Welcome | First::Greet));
        match first {
            Some(first) if !self.is_vouched => {
                // The last one decides: a greeting follows a welcome, and a welcome a hello.
                self.first = Some(first);
                Ok(Belief::Asked)
            }
            Some(_) => Ok(Belief::Heard),
            None if self.is_heard() => Ok(Belief::Heard),
            None => Err(Disbelief::Stranger),
        }
    }
}

/// Bridges of a group that one of them reckons with.
const PEERS_MAX: usize = 64;
/// Ids that are over and remembered.
const RETIRED_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(id: u64, pid: i32, counter: u64) -> Header {
        Header {
            id: BridgeId(id),
            pid,
            counter,
            server_start: 0,
        }
    }

    #[test]
    fn a_peer_is_heard_once_it_has_named_us() {
        let mut peers = Peers::default();
        let mut hear = |counter, first| peers.hear(header(1, 10, counter), first, true);
        assert_eq!(hear(1, None), Err(Disbelief::Stranger));
        assert_eq!(hear(1, Some(First::Hello)), Ok(Belief::Heard));
        assert_eq!(hear(2, None), Err(Disbelief::Stranger));
        assert_eq!(hear(3, Some(First::Greet)), Ok(Belief::Heard));
        assert_eq!(hear(4, None), Ok(Belief::Heard));
        assert_eq!(peers.count(), 1);
        peers.check_invariants();
    }

    #[test]
    fn nothing_is_heard_twice_nor_from_another_backend() {
        let mut peers = Peers::default();
        let welcome = Some(First::Welcome);
        assert_eq!(
            peers.hear(header(1, 10, 5), welcome, true),
            Ok(Belief::Heard)
        );
        for (pid, counter) in [(10, 5), (10, 4), (11, 6)] {
            let heard = peers.hear(header(1, pid, counter), welcome, true);
            assert_eq!(heard, Err(Disbelief::Repeated));
        }
        let (_, gone) = peers.handle_present(&[10], &[]);
        assert_eq!(gone, [BridgeId(1)]);
        let again = peers.hear(header(1, 10, 99), welcome, true);
        assert_eq!(again, Err(Disbelief::Repeated), "its time is over");
        peers.retire_own(BridgeId(2));
        let own = peers.hear(header(2, 12, 1), Some(First::Hello), true);
        assert_eq!(own, Err(Disbelief::Repeated));
    }

    #[test]
    fn without_a_key_postgresql_vouches_for_the_backend_first() {
        let mut peers = Peers::default();
        let hear =
            |peers: &mut Peers, counter, first| peers.hear(header(1, 10, counter), first, false);
        assert_eq!(hear(&mut peers, 1, Some(First::Hello)), Ok(Belief::Asked));
        assert_eq!(hear(&mut peers, 2, Some(First::Greet)), Ok(Belief::Asked));
        assert_eq!(hear(&mut peers, 3, None), Err(Disbelief::Stranger));
        assert_eq!(peers.count(), 0);
        let (heard, gone) = peers.handle_present(&[10], &[10]);
        assert_eq!(heard, [(BridgeId(1), First::Greet)]);
        assert!(gone.is_empty());
        assert_eq!(hear(&mut peers, 4, None), Ok(Belief::Heard));
        assert_eq!(peers.handle_present(&[10], &[10]), (vec![], vec![]));
    }

    #[test]
    fn only_so_many_peers_are_reckoned_with() {
        let mut peers = Peers::default();
        let max = PEERS_MAX as u64;
        for id in 0..max {
            let heard = peers.hear(header(id, 10, 1), Some(First::Hello), true);
            assert_eq!(heard, Ok(Belief::Heard));
        }
        let one_more = peers.hear(header(max, 10, 1), Some(First::Hello), true);
        assert_eq!(one_more, Err(Disbelief::Crowded));
        peers.check_invariants();
    }

    #[test]
    fn ids_that_are_over_are_forgotten_under_another_name_alone() {
        let mut peers = Peers::default();
        for id in 0..RETIRED_MAX as u64 {
            assert!(!peers.is_full());
            peers.retire_own(BridgeId(id));
        }
        assert!(peers.is_full());
        peers.forget_oldest();
        assert!(!peers.is_full());
    }
}
