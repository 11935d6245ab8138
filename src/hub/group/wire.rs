//! The messages of a group, each as the bytes of one NOTIFY.
//!
//! Knows the form of each message and nothing of its meaning: who sent it, whether to believe it
//! and what follows from it is decided elsewhere. Numbers have a variable length, names their own
//! length before them. What does not read to its last byte is no message.

use super::super::epoch::Epoch;
use crate::channel::Channel;

/// A bridge of the group, for as long as its publishing session lives: random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct BridgeId(pub(super) u64);

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
            Self::Welcome { to } => {
                out.byte(WELCOME);
                out.word(to.0);
            }
            Self::Greet { to } => {
                out.byte(GREET);
                out.word(to.0);
            }
            Self::Have {
                to,
                is_own,
                is_last,
                channels,
            } => {
                out.byte(HAVE);
                out.word(to.0);
                out.byte(u8::from(*is_own));
                out.byte(u8::from(*is_last));
                channels.iter().for_each(|channel| out.channel(channel));
            }
            Self::Begin { entries } => {
                out.byte(BEGIN);
                for entry in entries {
                    out.channel(&entry.channel);
                    out.epoch(entry.epoch);
                    out.byte(u8::from(entry.is_own));
                }
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
                out.byte(AT);
                out.word(to.0);
                out.number(*begin);
                out.byte(u8::from(*is_last));
                for place in places {
                    out.number(place.index as u64);
                    out.epoch(place.epoch);
                    out.number(place.seq);
                    out.number(place.others.len() as u64);
                    for &(epoch, offset) in &place.others {
                        out.epoch(epoch);
                        out.number(zigzag(offset));
                    }
                }
            }
            Self::Barrier => out.byte(BARRIER),
            Self::Left { channels } => {
                out.byte(LEFT);
                channels.iter().for_each(|channel| out.channel(channel));
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
                entries: input.all(|input| {
                    Ok(Beginning {
                        channel: input.channel()?,
                        epoch: input.epoch()?,
                        is_own: input.flag()?,
                    })
                })?,
            },
            BEGAN => Self::Began {
                begin: input.number()?,
                seqs: input.all(|input| Ok(input.number()?.checked_sub(1)))?,
            },
            AT => Self::At {
                to: input.id()?,
                begin: input.number()?,
                is_last: input.flag()?,
                places: input.all(Reader::place)?,
            },
            BARRIER => Self::Barrier,
            LEFT => Self::Left {
                channels: input.all(Reader::channel)?,
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
}

impl Place {
    pub(super) fn bytes_max(&self) -> usize {
        3 * NUMBER_BYTES_MAX
            + EPOCH_BYTES_MAX
            + self.others.len() * (EPOCH_BYTES_MAX + NUMBER_BYTES_MAX)
    }
}

/// The longest form of a channel's name, in bytes.
pub(super) fn channel_bytes_max(channel: &Channel) -> usize {
    channel.as_str().len() + 1
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Appends numbers and names.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn word(&mut self, word: u64) {
        self.0.extend_from_slice(&word.to_be_bytes());
    }

    /// Seven bits a byte, the lowest first.
    pub(super) fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.byte((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.byte((number & 0x7f) as u8);
    }

    fn channel(&mut self, channel: &Channel) {
        let name = channel.as_str().as_bytes();
        self.number(name.len() as u64);
        self.0.extend_from_slice(name);
    }

    fn epoch(&mut self, Epoch { process, number }: Epoch) {
        self.word(process);
        self.number(number);
    }
}

/// Reads what [`Writer`] wrote.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(byte)
    }

    pub(super) fn word(&mut self) -> Result<u64, Malformed> {
        let (word, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*word))
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Malformed);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn id(&mut self) -> Result<BridgeId, Malformed> {
        self.word().map(BridgeId)
    }

    fn channel(&mut self) -> Result<Channel, Malformed> {
        let bytes = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        let (name, rest) = self.0.split_at_checked(bytes).ok_or(Malformed)?;
        self.0 = rest;
        let name = std::str::from_utf8(name).map_err(|_| Malformed)?;
        Channel::new(name).map_err(|_| Malformed)
    }

    fn epoch(&mut self) -> Result<Epoch, Malformed> {
        Ok(Epoch {
            process: self.word()?,
            number: self.number()?,
        })
    }

    fn place(&mut self) -> Result<Place, Malformed> {
        let index = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        let (epoch, seq) = (self.epoch()?, self.number()?);
        let mut others = Vec::new();
        for _ in 0..self.number()? {
            others.push((self.epoch()?, unzigzag(self.number()?)));
        }
        Ok(Place {
            index,
            epoch,
            seq,
            others,
        })
    }

    /// Items up to the end.
    fn all<T>(
        &mut self,
        item: impl Fn(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let mut items = Vec::new();
        while !self.0.is_empty() {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

/// A number near zero becomes a small one, whatever its sign.
fn zigzag(number: i64) -> u64 {
    let doubled = number.unsigned_abs().wrapping_mul(2);
    doubled.wrapping_sub(u64::from(number < 0))
}

fn unzigzag(number: u64) -> i64 {
    let half = i64::try_from(number >> 1).expect("63 bits fit");
    if number & 1 == 1 { -1 - half } else { half }
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

const NUMBER_BYTES_MAX: usize = 10;
const EPOCH_BYTES_MAX: usize = 8 + NUMBER_BYTES_MAX;

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
            Message::Left { channels },
        ]
    }

    fn bytes(message: &Message) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.append_to(&mut bytes);
        bytes
    }

    #[test]
    fn each_message_is_read_back() {
        for message in messages() {
            assert_eq!(Message::parse(&bytes(&message)), Ok(Some(message)));
        }
    }

    /// Where a message of items is cut between two of them, less is read, and nothing else.
    #[test]
    fn a_message_that_is_cut_or_longer_is_none_or_shorter() {
        for message in messages() {
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

    #[test]
    fn numbers_keep_their_value_and_have_no_65th_bit() {
        for number in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(number)), number);
        }
        let eleven = [0xff; 11];
        assert_eq!(Reader(&eleven).number(), Err(Malformed));
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(Reader(&too_large).number(), Err(Malformed));
        let largest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader(&largest).number(), Ok(u64::MAX));
    }
}
