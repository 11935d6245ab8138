//! The name of an unbroken stretch of one channel: clients keep it as text, bridges of a group send
//! it to each other in a shorter form.
//!
//! Knows neither the channel nor the numbers that are counted in it.

use std::fmt;

/// One unbroken stretch: no two of all processes have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Epoch {
    /// Random: the process that began it.
    pub(super) process: u64,
    /// Counts the stretches of that process.
    pub(super) number: u64,
}

impl Epoch {
    /// The epoch that a client names; `None` where no bridge gave that name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (process, number) = text.split_at_checked(PROCESS_DIGITS)?;
        let epoch = Self {
            process: u64::from_str_radix(process, 16).ok()?,
            number: u64::from_str_radix(number, 16).ok()?,
        };
        // One name each: signs, capitals and leading zeros are nobody's.
        (epoch.to_string() == text).then_some(epoch)
    }

    /// Whether that is its name.
    pub(super) fn is_named(self, text: &str) -> bool {
        Self::parse(text) == Some(self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, number } = self;
        write!(f, "{process:016x}{number:x}")
    }
}

/// Hexadecimal digits of the first half.
const PROCESS_DIGITS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_no_other_spelling_is() {
        for (process, number) in [(0, 0), (0xab, 0x1f), (u64::MAX, u64::MAX)] {
            let epoch = Epoch { process, number };
            assert_eq!(Epoch::parse(&epoch.to_string()), Some(epoch));
        }
        for text in [
            "",
            "0000000000000001",
            "000000000000000102",
            "+0000000000000011",
            "00000000000000AB1",
            "é000000000000001",
            "00000000000000001ffffffffffffffff",
        ] {
            assert_eq!(Epoch::parse(text), None, "{text}");
        }
    }
}
