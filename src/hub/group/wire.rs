//! The messages of a group, each as the bytes of one NOTIFY.
//!
//! Knows the form of each message and nothing of its meaning: who sent it, whether to believe it
//! and what follows from it is decided elsewhere. What does not read to its last byte is no message.

use super::{
    super::epoch::Epoch,
    encoding::{
        BridgeId, EPOCH_BYTES_MAX, Malformed, NUMBER_BYTES_MAX, Reader, Writer, unzigzag, zigzag,
    },
    pieces::{Piece, Wish},
};
use crate::channel::Channel;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A bridge comes, or was away.
    Hello,
    /// The answer of each bridge to `Hello`.
    Welcome { to: BridgeId },
    /// The answer to `Welcome`: each of the two knows now that the other one is there now.
    Greet { to: BridgeId },
    /// The answer to `Greet`: channels that clients of the sender want, or that it listens to for
    /// others.
    Have {
        to: BridgeId,
        is_own: bool,
        is_last: bool,
        channels: Vec<Channel>,
    },
    /// These channels are listened to. The place of the message in PostgreSQL's order is the point
    /// at which all that hear them compare their numbers.
    Begin { entries: Vec<Beginning> },
    /// The sender's own numbers at its `Begin` of this counter, in the order of its entries.
    Began { begin: u64, seqs: Vec<Option<u64>> },
    /// The numbers of another bridge at a `Begin`.
    At {
        to: BridgeId,
        begin: u64,
        places: Vec<Place>,
        is_last: bool,
    },
    /// Once its sender hears it, the sender has heard whatever anybody heard before.
    Barrier,
    /// Clients of the sender do not want these channels any more.
    Left { channels: Vec<Channel> },
    /// The sender stops, and answers nothing from now on.
    Goodbye,
    /// The sender wants notifications that it did not hear. The number counts its wishes.
    Fill {
        to: BridgeId,
        number: u64,
        wishes: Vec<Wish>,
    },
    /// Notifications for a `Fill` of that number, in parts that are counted from 0.
    Filled {
        to: BridgeId,
        number: u64,
        part: u64,
        pieces: Vec<Piece>,
    },
}

/// An entry of [`Message::Begin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) channel: Channel,
    pub(super) epoch: Epoch,
    /// Whether clients of the sender want the channel.
    pub(super) is_own: bool,
}

/// An entry of [`Message::At`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Of the entry of the `Begin`.
    pub(super) index: usize,
    pub(super) epoch: Epoch,
    pub(super) seq: u64,
    /// Other epochs that the sender translates: its number is theirs and this.
    pub(super) others: Vec<(Epoch, i64)>,
}

impl Message {
    /// Appends the message.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        let mut out = Writer(out);
        match self {
            Self::Hello => out.byte(HELLO),
            Self::Welcome { to } => out.addressed(WELCOME, *to),
            Self::Greet { to } => out.addressed(GREET, *to),
            Self::Have {
                to,
                is_own,
                is_last,
                channels,
            } => {
                out.addressed(HAVE, *to);
                out.byte(u8::from(*is_own));
                out.byte(u8::from(*is_last));
                out.channels(channels);
            }
            Self::Begin { entries } => {
                out.byte(BEGIN);
                entries.iter().for_each(|entry| entry.append_to(&mut out));
            }
            Self::Began { begin, seqs } => {
                out.byte(BEGAN);
                out.number(*begin);
                for seq in seqs {
                    out.number(seq.map_or(0, |seq| seq.saturating_add(1)));
                }
            }
            Self::At {
                to,
                begin,
                places,
                is_last,
            } => {
                out.addressed(AT, *to);
                out.number(*begin);
                out.byte(u8::from(*is_last));
                places.iter().for_each(|place| place.append_to(&mut out));
            }
            Self::Barrier => out.byte(BARRIER),
            Self::Goodbye => out.byte(GOODBYE),
            Self::Left { channels } => {
                out.byte(LEFT);
                out.channels(channels);
            }
            Self::Fill { to, number, wishes } => {
                out.addressed(FILL, *to);
                out.number(*number);
                wishes.iter().for_each(|wish| wish.append_to(&mut out));
            }
            Self::Filled {
                to,
                number,
                part,
                pieces,
            } => {
                out.addressed(FILLED, *to);
                out.number(*number);
                out.number(*part);
                pieces.iter().for_each(|piece| piece.append_to(&mut out));
            }
        }
    }

    /// Reads a message; `Ok(None)` for one of a kind that a later version may have added, `Err` for
    /// what is none.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut input = Reader(bytes);
        let message = match input.byte()? {
            HELLO => Self::Hello,
            WELCOME => Self::Welcome { to: input.id()? },
            GREET => Self::Greet { to: input.id()? },
            HAVE => Self::Have {
                to: input.id()?,
                is_own: input.flag()?,
                is_last: input.flag()?,
                channels: input.all(Reader::channel)?,
            },
            BEGIN => Self::Begin {
                entries: input.all(Beginning::parse)?,
            },
            BEGAN => Self::Began {
                begin: input.number()?,
                seqs: input.all(|input| Ok(input.number()?.checked_sub(1)))?,
            },
            AT => Self::At {
                to: input.id()?,
                begin: input.number()?,
                is_last: input.flag()?,
                places: input.all(Place::parse)?,
            },
            BARRIER => Self::Barrier,
            GOODBYE => Self::Goodbye,
            LEFT => Self::Left {
                channels: input.all(Reader::channel)?,
            },
            FILL => Self::Fill {
                to: input.id()?,
                number: input.number()?,
                wishes: input.all(Wish::parse)?,
            },
            FILLED => Self::Filled {
                to: input.id()?,
                number: input.number()?,
                part: input.number()?,
                pieces: input.all(Piece::parse)?,
            },
            _ => return Ok(None),
        };
        if input.0.is_empty() {
            Ok(Some(message))
        } else {
            Err(Malformed)
        }
    }
}

/// The longest form of the entries, in bytes, for those who fill a message.
impl Beginning {
    pub(super) fn bytes_max(channel: &Channel) -> usize {
        channel.as_str().len() + 1 + EPOCH_BYTES_MAX + 1
    }

    fn append_to(&self, out: &mut Writer<'_>) {
        out.channel(&self.channel);
        out.epoch(self.epoch);
        out.byte(u8::from(self.is_own));
    }

    fn parse(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            channel: input.channel()?,
            epoch: input.epoch()?,
            is_own: input.flag()?,
        })
    }
}

impl Place {
    pub(super) fn bytes_max(&self) -> usize {
        3 * NUMBER_BYTES_MAX
            + EPOCH_BYTES_MAX
            + self.others.len() * (EPOCH_BYTES_MAX + NUMBER_BYTES_MAX)
    }

    fn append_to(&self, out: &mut Writer<'_>) {
        out.number(self.index as u64);
        out.epoch(self.epoch);
        out.number(self.seq);
        out.number(self.others.len() as u64);
        for &(epoch, offset) in &self.others {
            out.epoch(epoch);
            out.number(zigzag(offset));
        }
    }

    fn parse(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        let index = input.index()?;
        let (epoch, seq) = (input.epoch()?, input.number()?);
        let mut others = Vec::new();
        for _ in 0..input.number()? {
            others.push((input.epoch()?, unzigzag(input.number()?)));
        }
        Ok(Self {
            index,
            epoch,
            seq,
            others,
        })
    }
}

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const GREET: u8 = 3;
const HAVE: u8 = 4;
const BEGIN: u8 = 5;
const BEGAN: u8 = 6;
const AT: u8 = 7;
const BARRIER: u8 = 8;
const LEFT: u8 = 9;
const FILL: u8 = 10;
const FILLED: u8 = 11;
const GOODBYE: u8 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<Message> {
        let to = BridgeId(u64::MAX - 5);
        let channels: Vec<_> = ["a", "with \"quotes\"", "ü"]
            .map(|name| Channel::new(name).unwrap())
            .into();
        let epoch = |number| Epoch { process: 7, number };
        let entries = channels.iter().zip([true, false, true]);
        let entries = entries.map(|(channel, is_own)| Beginning {
            channel: channel.clone(),
            epoch: epoch(300),
            is_own,
        });
        let place = |index, others| Place {
            index,
            epoch: epoch(u64::MAX),
            seq: 128,
            others,
        };
        vec![
            Message::Hello,
            Message::Welcome { to },
            Message::Greet { to },
            Message::Have {
                to,
                is_own: false,
                is_last: true,
                channels: channels.clone(),
            },
            Message::Begin {
                entries: entries.collect(),
            },
            Message::Began {
                begin: 127,
                seqs: vec![Some(0), None, Some(u64::MAX - 1)],
            },
            Message::At {
                to,
                begin: 1 << 40,
                places: vec![
                    place(0, vec![]),
                    place(2, vec![(epoch(1), 0), (epoch(2), -1), (epoch(3), i64::MAX)]),
                ],
                is_last: false,
            },
            Message::Barrier,
            Message::Goodbye,
            Message::Left {
                channels: channels.clone(),
            },
        ]
    }

    fn fills() -> Vec<Message> {
        let to = BridgeId(7);
        let text = |wish, is_lossy, is_end, bytes: &[u8]| Piece::Text {
            wish,
            seq: 1 << 50,
            place: 5,
            is_lossy,
            is_end,
            bytes: bytes.to_vec(),
        };
        let wishes = [None, Some(0), Some(u64::MAX - 1)].map(|after| Wish {
            channel: Channel::new("a channel").unwrap(),
            epoch: Epoch {
                process: 1,
                number: 2,
            },
            after,
            through: u64::MAX,
        });
        vec![
            Message::Fill {
                to,
                number: 3,
                wishes: wishes.into(),
            },
            Message::Filled {
                to,
                number: 3,
                part: 200,
                pieces: vec![
                    text(0, false, true, b"whole"),
                    Piece::Gone { wish: 1 },
                    text(2, true, false, b""),
                    text(300, false, false, &[0xff; 300]),
                ],
            },
        ]
    }

    fn bytes(message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.append_to(&mut bytes);
        bytes
    }

    #[test]
    fn each_message_is_read_back() {
        for message in messages().into_iter().chain(fills()) {
            assert_eq!(Message::parse(&bytes(&message)), Ok(Some(message)));
        }
    }

    /// Where a message of items is cut between two of them, less is read, and nothing else.
    #[test]
    fn a_message_that_is_cut_or_longer_is_none_or_shorter() {
        for message in messages().into_iter().chain(fills()) {
            let whole = bytes(&message);
            for end in 0..whole.len() {
                let read = Message::parse(&whole[..end]);
                assert!(read != Ok(Some(message.clone())), "{message:?}, {end}");
            }
            let longer = [&whole[..], &[0xff]].concat();
            assert_eq!(Message::parse(&longer), Err(Malformed), "{message:?}");
        }
    }

    #[test]
    fn an_unknown_kind_is_passed_over() {
        assert_eq!(Message::parse(&[200, 1, 2]), Ok(None));
        assert_eq!(Message::parse(&[]), Err(Malformed));
    }
}
