//! Numbers, names and epochs as bytes, in the form that messages of a group have.
//!
//! Knows no message. Numbers have a variable length, names and texts their own length before them.

use super::super::epoch::Epoch;
use crate::channel::Channel;

/// A bridge of the group, for as long as its publishing session lives: random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct BridgeId(pub(super) u64);

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

    /// The kind of a message, and for whom it is.
    pub(super) fn addressed(&mut self, kind: u8, to: BridgeId) {
        self.byte(kind);
        self.word(to.0);
    }

    /// Seven bits a byte, the lowest first.
    pub(super) fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.byte((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.byte((number & 0x7f) as u8);
    }

    pub(super) fn channel(&mut self, channel: &Channel) {
        let name = channel.as_str().as_bytes();
        self.number(name.len() as u64);
        self.0.extend_from_slice(name);
    }

    pub(super) fn channels(&mut self, channels: &[Channel]) {
        channels.iter().for_each(|channel| self.channel(channel));
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text);
    }

    pub(super) fn epoch(&mut self, Epoch { process, number }: Epoch) {
        self.word(process);
        self.number(number);
    }
}

/// Reads what [`Writer`] wrote.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
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

    pub(super) fn index(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    pub(super) fn id(&mut self) -> Result<BridgeId, Malformed> {
        self.word().map(BridgeId)
    }

    pub(super) fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let bytes = self.index()?;
        let (text, rest) = self.0.split_at_checked(bytes).ok_or(Malformed)?;
        self.0 = rest;
        Ok(text)
    }

    pub(super) fn channel(&mut self) -> Result<Channel, Malformed> {
        let name = std::str::from_utf8(self.text()?).map_err(|_| Malformed)?;
        Channel::new(name).map_err(|_| Malformed)
    }

    pub(super) fn epoch(&mut self) -> Result<Epoch, Malformed> {
        Ok(Epoch {
            process: self.word()?,
            number: self.number()?,
        })
    }

    /// Items up to the end.
    pub(super) fn all<T>(
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
pub(super) fn zigzag(number: i64) -> u64 {
    let doubled = number.unsigned_abs().wrapping_mul(2);
    doubled.wrapping_sub(u64::from(number < 0))
}

pub(super) fn unzigzag(number: u64) -> i64 {
    let half = i64::try_from(number >> 1).expect("63 bits fit");
    if number & 1 == 1 { -1 - half } else { half }
}

/// The longest form of a number.
pub(super) const NUMBER_BYTES_MAX: usize = 10;
/// The longest form of an epoch.
pub(super) const EPOCH_BYTES_MAX: usize = 8 + NUMBER_BYTES_MAX;

/// The longest form of a channel's name, in bytes.
pub(super) fn channel_bytes_max(channel: &Channel) -> usize {
    channel.as_str().len() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

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
