//! Notifications for peers that did not hear them, out of our own rings.
//!
//! A wish is granted part by part, each read from the ring when it is said and not before: nothing is
//! copied for a peer that is slow. Where the ring has lost a notification meanwhile, the wish is gone.
//! Knows neither who asks nor why.

use std::collections::VecDeque;

use super::{
    super::epoch::Epoch,
    encoding::BridgeId,
    pieces::{Piece, Wish},
    wire::Message,
};
use crate::channel::Channel;

/// The wishes of peers, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Serving {
    jobs: VecDeque<Job>,
    /// Wishes of all jobs.
    wishes: usize,
}

#[derive(Debug)]
struct Job {
    to: BridgeId,
    number: u64,
    /// Of the next message.
    part: u64,
    wishes: Vec<Wish>,
    /// The wish that is being granted.
    at: usize,
    /// The next notification of it; `None` before the first.
    next: Option<u64>,
    /// So many bytes of that are said.
    offset: usize,
}

/// A notification that is kept in a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Kept {
    pub(in crate::hub) seq: u64,
    /// In the order of all channels.
    pub(in crate::hub) place: u64,
    pub(in crate::hub) payload: String,
    pub(in crate::hub) is_lossy: bool,
}

/// The first notification that is kept of a channel, in this epoch and from this number on.
pub(in crate::hub) type Rings<'a> = &'a dyn Fn(&Channel, Epoch, u64) -> Option<Kept>;

impl Serving {
    /// A peer wishes for notifications.
    pub(super) fn push(&mut self, to: BridgeId, number: u64, wishes: Vec<Wish>) {
        if wishes.is_empty() || self.wishes + wishes.len() > WISHES_MAX {
            return;
        }
        self.wishes += wishes.len();
        self.jobs.push_back(Job {
            to,
            number,
            part: 0,
            wishes,
            at: 0,
            next: None,
            offset: 0,
        });
    }

    /// The next part, with so many bytes of pieces at most.
    pub(super) fn poll_part(&mut self, rings: Rings<'_>, bytes_max: usize) -> Option<Message> {
        let job = self.jobs.front_mut()?;
        let pieces = job.pieces(rings, bytes_max);
        let message = Message::Filled {
            to: job.to,
            number: job.number,
            part: job.part,
            pieces,
        };
        job.part += 1;
        if job.at == job.wishes.len() {
            self.wishes -= job.wishes.len();
            self.jobs.pop_front();
        }
        Some(message)
    }

    /// The peer is gone.
    pub(super) fn forget(&mut self, peer: BridgeId) {
        self.jobs.retain(|job| job.to != peer);
        self.wishes = self.jobs.iter().map(|job| job.wishes.len()).sum();
    }

    /// Nobody is waited for.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Job {
    fn pieces(&mut self, rings: Rings<'_>, bytes_max: usize) -> Vec<Piece> {
        let (mut pieces, mut bytes) = (Vec::new(), 0);
        while let Some(wish) = self.wishes.get(self.at) {
            if bytes + Piece::HEAD_BYTES_MAX >= bytes_max {
                break;
            }
            bytes += Piece::HEAD_BYTES_MAX;
            let Some(kept) = self.kept(wish, rings) else {
                pieces.push(Piece::Gone { wish: self.at });
                self.advance();
                continue;
            };
            let rest = &kept.payload.as_bytes()[self.offset..];
            let taken = rest.len().min(bytes_max - bytes);
            let is_end = taken == rest.len();
            bytes += taken;
            pieces.push(Piece::Text {
                wish: self.at,
                seq: kept.seq,
                place: kept.place,
                is_lossy: kept.is_lossy,
                is_end,
                bytes: rest[..taken].to_vec(),
            });
            if !is_end {
                self.offset += taken;
                self.next = Some(kept.seq);
            } else if kept.seq == wish.through {
                self.advance();
            } else {
                self.offset = 0;
                self.next = Some(kept.seq + 1);
            }
        }
        pieces
    }

    /// The notification that is to be said next.
    fn kept(&self, wish: &Wish, rings: Rings<'_>) -> Option<Kept> {
        let next = self.next.or_else(|| wish.after.map(|after| after + 1));
        let kept = rings(&wish.channel, wish.epoch, next.unwrap_or(0))?;
        let is_next = next.is_none_or(|next| next == kept.seq);
        (is_next && kept.seq <= wish.through).then_some(kept)
    }

    fn advance(&mut self) {
        self.at += 1;
        self.next = None;
        self.offset = 0;
    }
}

/// Wishes kept of all peers: more than the channels of a large bridge.
const WISHES_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    const TO: BridgeId = BridgeId(7);
    const EPOCH: Epoch = Epoch {
        process: 1,
        number: 1,
    };

    fn wish(channel: &str, after: Option<u64>, through: u64) -> Wish {
        Wish {
            channel: Channel::new(channel).unwrap(),
            epoch: EPOCH,
            after,
            through,
        }
    }

    /// Channel `a` has the notifications 3 to 6, and the last one is long.
    fn ring(channel: &Channel, epoch: Epoch, from: u64) -> Option<Kept> {
        let seq = from.max(3);
        (channel.as_str() == "a" && epoch == EPOCH && seq <= 6).then(|| Kept {
            seq,
            place: 10 * seq,
            payload: if seq == 6 {
                "x".repeat(300)
            } else {
                seq.to_string()
            },
            is_lossy: seq == 4,
        })
    }

    /// Each wish's payloads, or that it is gone, out of messages of so many bytes.
    fn served(wishes: Vec<Wish>, bytes_max: usize) -> Vec<(Vec<String>, bool)> {
        let mut serving = Serving::default();
        let mut served = vec![(vec![String::new()], false); wishes.len()];
        serving.push(TO, 5, wishes);
        for expected in 0.. {
            let Some(message) = serving.poll_part(&ring, bytes_max) else {
                break;
            };
            let Message::Filled {
                to: TO,
                number: 5,
                part,
                pieces,
            } = message
            else {
                panic!("{message:?}");
            };
            assert_eq!(part, expected);
            for piece in pieces {
                match piece {
                    Piece::Text {
                        wish,
                        is_end,
                        bytes,
                        ..
                    } => {
                        let texts = &mut served[wish].0;
                        let text = std::str::from_utf8(&bytes).unwrap();
                        texts.last_mut().unwrap().push_str(text);
                        if is_end {
                            texts.push(String::new());
                        }
                    }
                    Piece::Gone { wish } => served[wish].1 = true,
                }
            }
        }
        assert!(serving.jobs.is_empty() && serving.wishes == 0);
        for (texts, _) in &mut served {
            assert_eq!(texts.pop().as_deref(), Some(""));
        }
        served
    }

    #[test]
    fn a_wish_is_granted_whole_in_messages_of_any_size() {
        let long = "x".repeat(300);
        for bytes_max in [60, 100, 5_000] {
            let wishes = vec![wish("a", Some(3), 6), wish("a", None, 4)];
            let served = served(wishes, bytes_max);
            let (texts, is_gone) = &served[0];
            assert_eq!(texts, &["4", "5", long.as_str()], "{bytes_max}");
            assert!(!is_gone);
            assert_eq!(served[1], (vec!["3".to_owned(), "4".to_owned()], false));
        }
    }

    #[test]
    fn a_wish_for_what_is_not_there_is_gone() {
        let wishes = vec![
            wish("a", Some(1), 6),
            wish("b", None, 6),
            wish("a", Some(4), 7),
            wish("a", None, 2),
        ];
        let served = served(wishes, 5_000);
        let gone: Vec<_> = served.iter().map(|it| (it.0.len(), it.1)).collect();
        assert_eq!(gone, [(0, true), (0, true), (2, true), (0, true)]);
    }

    #[test]
    fn so_many_wishes_are_kept_and_none_of_a_peer_that_is_gone() {
        let mut serving = Serving::default();
        let wishes = vec![wish("a", None, 6); WISHES_MAX];
        serving.push(TO, 1, wishes);
        serving.push(BridgeId(8), 1, vec![wish("a", None, 6)]);
        assert_eq!(serving.jobs.len(), 1);
        serving.forget(TO);
        assert!(serving.jobs.is_empty());
        serving.push(BridgeId(8), 2, vec![wish("a", None, 6)]);
        assert_eq!(serving.jobs.len(), 1);
        serving.clear();
        assert!(serving.jobs.is_empty());
    }
}
