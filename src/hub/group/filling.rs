//! What is wished for of peers, and what they grant.
//!
//! Each channel is asked of one peer at a time; the one that answered first is asked for all of them,
//! so that what it grants has one order. Another one is asked where it cannot. Knows nothing of our
//! own numbers beyond what it is told.

use std::collections::{BTreeMap, VecDeque};

use super::{
    super::epoch::Epoch,
    encoding::BridgeId,
    pieces::{Piece, Wish},
};
use crate::channel::{Channel, ChannelKey};

/// All wishes under way.
#[derive(Debug, Default)]
pub(super) struct Fills {
    bytes_max: usize,
    channels: BTreeMap<ChannelKey, Filling>,
    /// The peer that answered first.
    preferred: Option<BridgeId>,
    /// Channels of which a peer is to be asked, and some that are so no longer.
    to_ask: VecDeque<ChannelKey>,
    /// Counts what was asked.
    numbers: u64,
    asked: BTreeMap<u64, Asked>,
    texts: Vec<Text>,
    bytes: usize,
}

/// One channel.
#[derive(Debug, Default)]
struct Filling {
    /// The peers that could be asked, the one being asked at the front.
    candidates: VecDeque<Candidate>,
    /// Whichever of them may be asked: the preferred one has said all.
    is_free: bool,
    /// No other one comes.
    is_answered: bool,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    number: u64,
    /// The next notification; `None` before the first, where any will do.
    next: Option<u64>,
    /// The first bytes of it.
    begun: Vec<u8>,
    count: u64,
}

/// Notifications that a peer may have, in the numbers of its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) by: BridgeId,
    pub(super) epoch: Epoch,
    /// Each one behind this one; `None` for as many as it keeps.
    pub(super) after: Option<u64>,
    pub(super) through: u64,
    /// Our own number where it is through.
    pub(super) at_mark: u64,
}

/// A message that was said.
#[derive(Debug)]
struct Asked {
    to: BridgeId,
    keys: Vec<ChannelKey>,
    /// The next part of the answer.
    part: u64,
}

/// A notification that was filled in.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) key: ChannelKey,
    pub(super) text: Vec<u8>,
    pub(super) is_lossy: bool,
    by: BridgeId,
    place: u64,
}

/// A channel of which nothing is missing any more: our number there, and how many notifications were
/// filled in.
pub(super) type Filled = (ChannelKey, u64, u64);

impl Text {
    fn bytes(&self) -> usize {
        self.text.len() + TEXT_BYTES
    }
}

impl Candidate {
    /// Whether nothing is missing.
    pub(super) fn is_nothing(&self) -> bool {
        self.after.unwrap_or(0) == self.through
    }
}

impl Fills {
    /// Keeps so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            ..Self::default()
        }
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// So many are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The peer may have what is missing of the channel.
    pub(super) fn propose(&mut self, key: ChannelKey, candidate: Candidate) {
        let preferred = *self.preferred.get_or_insert(candidate.by);
        let filling = self.channels.entry(key).or_default();
        if candidate.by == preferred && filling.under_way.is_none() {
            filling.candidates.push_front(candidate);
            filling.is_free = true;
        } else {
            filling.candidates.push_back(candidate);
        }
        if filling.is_free {
            self.to_ask.push_back(key);
        }
    }

    /// The peer proposes nothing more for the channel.
    pub(super) fn handle_done(&mut self, key: ChannelKey, peer: BridgeId) {
        if self.preferred.is_none_or(|it| it == peer) {
            self.free(key);
        }
    }

    /// No peer proposes anything more. Whether one does.
    pub(super) fn handle_answered(&mut self, key: ChannelKey) -> bool {
        self.free(key);
        let Some(filling) = self.channels.get_mut(&key) else {
            return false;
        };
        filling.is_answered = true;
        !filling.candidates.is_empty()
    }

    fn free(&mut self, key: ChannelKey) {
        if let Some(filling) = self.channels.get_mut(&key)
            && !std::mem::replace(&mut filling.is_free, true)
        {
            self.to_ask.push_back(key);
        }
    }

    /// What is to be asked next, and of whom. `name` tells a channel's name.
    pub(super) fn poll_wishes<'a>(
        &mut self,
        name: impl Fn(ChannelKey) -> Option<&'a Channel>,
        bytes_max: usize,
    ) -> Option<(BridgeId, u64, Vec<Wish>)> {
        let (mut keys, mut wishes, mut bytes, mut to) = (Vec::new(), Vec::new(), 0, None);
        while let Some(&key) = self.to_ask.front() {
            let filling = self.channels.get_mut(&key);
            let filling = filling.filter(|it| it.under_way.is_none());
            let wanted = filling.and_then(|it| Some((*it.candidates.front()?, it)));
            let (Some((candidate, filling)), Some(channel)) = (wanted, name(key)) else {
                self.to_ask.pop_front();
                continue;
            };
            let wish = Wish {
                channel: channel.clone(),
                epoch: candidate.epoch,
                after: candidate.after,
                through: candidate.through,
            };
            bytes += wish.bytes_max();
            if *to.get_or_insert(candidate.by) != candidate.by || bytes > bytes_max {
                break;
            }
            filling.under_way = Some(UnderWay {
                number: self.numbers + 1,
                next: candidate.after.map(|after| after + 1),
                begun: Vec::new(),
                count: 0,
            });
            keys.push(key);
            wishes.push(wish);
            self.to_ask.pop_front();
        }
        let to = to.filter(|_| !keys.is_empty())?;
        self.numbers += 1;
        let asked = Asked { to, keys, part: 0 };
        self.asked.insert(self.numbers, asked);
        Some((to, self.numbers, wishes))
    }

    /// A part of an answer: the channels of which nothing is missing any more, and those of which
    /// nobody has what is missing. `None` where nobody asked for it.
    pub(super) fn handle_part(
        &mut self,
        by: BridgeId,
        number: u64,
        part: u64,
        pieces: Vec<Piece>,
    ) -> Option<(Vec<Filled>, Vec<ChannelKey>)> {
        let (mut filled, mut given_up) = (Vec::new(), Vec::new());
        let asked = self.asked.get_mut(&number).filter(|it| it.to == by)?;
        if asked.part != part {
            // A part was lost: the rest is not what it seems.
            for key in std::mem::take(&mut asked.keys) {
                given_up.extend(self.fail(key, number));
            }
            self.asked.remove(&number);
            return Some((filled, given_up));
        }
        asked.part += 1;
        let keys = asked.keys.clone();
        for piece in pieces {
            let (Piece::Text { wish, .. } | Piece::Gone { wish }) = &piece;
            let Some(&key) = keys.get(*wish) else {
                continue;
            };
            match self.take_piece(key, number, piece) {
                Ok(it) => filled.extend(it),
                Err(Broken) => given_up.extend(self.fail(key, number)),
            }
        }
        Some((filled, given_up))
    }

    fn take_piece(
        &mut self,
        key: ChannelKey,
        number: u64,
        piece: Piece,
    ) -> Result<Option<Filled>, Broken> {
        let Some(filling) = self.channels.get_mut(&key) else {
            return Ok(None);
        };
        let under_way = filling.under_way.as_mut().filter(|it| it.number == number);
        let (Some(under_way), Some(&candidate)) = (under_way, filling.candidates.front()) else {
            return Ok(None);
        };
        let Piece::Text {
            seq,
            place,
            is_lossy,
            is_end,
            bytes,
            ..
        } = piece
        else {
            return Err(Broken);
        };
        let is_next = under_way.next.is_none_or(|next| next == seq) && seq <= candidate.through;
        let cost = bytes.len() + if is_end { TEXT_BYTES } else { 0 };
        if !is_next || self.bytes + cost > self.bytes_max {
            return Err(Broken);
        }
        self.bytes += cost;
        under_way.begun.extend_from_slice(&bytes);
        under_way.next = Some(seq);
        if !is_end {
            return Ok(None);
        }
        under_way.next = Some(seq.saturating_add(1));
        under_way.count += 1;
        self.texts.push(Text {
            key,
            text: std::mem::take(&mut under_way.begun),
            is_lossy,
            by: candidate.by,
            place,
        });
        if seq < candidate.through {
            return Ok(None);
        }
        let filled = (key, candidate.at_mark, under_way.count);
        self.channels.remove(&key);
        Ok(Some(filled))
    }

    /// The peer that is being asked has not got it. Says so of the channel if nobody has.
    fn fail(&mut self, key: ChannelKey, number: u64) -> Option<ChannelKey> {
        let filling = self.channels.get_mut(&key)?;
        let under_way = filling.under_way.take_if(|it| it.number == number)?;
        self.bytes -= under_way.begun.len();
        filling.candidates.pop_front();
        filling.is_free = true;
        let is_given_up = filling.candidates.is_empty() && filling.is_answered;
        if is_given_up {
            self.channels.remove(&key);
        } else {
            self.to_ask.push_back(key);
        }
        self.drop_texts(|text| text.key == key);
        is_given_up.then_some(key)
    }

    /// The peer is gone. The channels of which nobody else has what is missing.
    pub(super) fn forget_peer(&mut self, peer: BridgeId) -> Vec<ChannelKey> {
        self.preferred.take_if(|it| *it == peer);
        let asked = self.channels.iter().filter_map(|(&key, filling)| {
            let is_asked = filling.candidates.front().is_some_and(|it| it.by == peer);
            let under_way = filling.under_way.as_ref().filter(|_| is_asked)?;
            Some((key, under_way.number))
        });
        let asked: Vec<_> = asked.collect();
        let mut given_up: Vec<_> = asked
            .into_iter()
            .filter_map(|(key, number)| self.fail(key, number))
            .collect();
        for (&key, filling) in &mut self.channels {
            filling.candidates.retain(|it| it.by != peer);
            filling.is_free = true;
            if filling.candidates.is_empty() && filling.is_answered {
                given_up.push(key);
            }
            self.to_ask.push_back(key);
        }
        self.asked.retain(|_, asked| asked.to != peer);
        given_up
    }

    /// The channel is known no longer.
    pub(super) fn forget(&mut self, key: ChannelKey) {
        if let Some(UnderWay { begun, .. }) = self.channels.remove(&key).and_then(|it| it.under_way)
        {
            self.bytes -= begun.len();
        }
        self.drop_texts(|text| text.key == key);
    }

    /// Whatever was asked is not going to be answered.
    pub(super) fn clear(&mut self) {
        *self = Self {
            numbers: self.numbers,
            ..Self::new(self.bytes_max)
        };
    }

    /// What was filled in of these channels, in the order of their peer.
    pub(super) fn take(&mut self, is_wanted: impl Fn(ChannelKey) -> bool) -> Vec<Text> {
        let mut texts = std::mem::take(&mut self.texts);
        self.clear();
        texts.retain(|text| is_wanted(text.key));
        // Those of two peers have no common order.
        texts.sort_by_key(|text| (text.by, text.place));
        texts
    }

    fn drop_texts(&mut self, is_dropped: impl Fn(&Text) -> bool) {
        let bytes = &mut self.bytes;
        self.texts.retain(|text| {
            let is_dropped = is_dropped(text);
            *bytes -= if is_dropped { text.bytes() } else { 0 };
            !is_dropped
        });
    }

    /// Bytes are counted.
    pub(super) fn check_invariants(&self) {
        let under_way = self
            .channels
            .values()
            .filter_map(|it| it.under_way.as_ref());
        let begun: usize = under_way.map(|it| it.begun.len()).sum();
        let texts: usize = self.texts.iter().map(Text::bytes).sum();
        assert_eq!(self.bytes, begun + texts);
        assert!(self.bytes <= self.bytes_max);
    }
}

/// An answer is not what was asked for.
struct Broken;

/// What a notification costs beside its bytes.
const TEXT_BYTES: usize = size_of::<Text>();
