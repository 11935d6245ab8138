//! Numbers with their units, as options and variables take them.
//!
//! A number alone is bytes or seconds. There are no fractions: a smaller unit says the same, and
//! says it exactly. Knows no option; the caller names it in what it says of an error.

use std::time::Duration;

/// Why a text is not a number of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnitError {
    /// It is not a whole number with one of the units.
    Malformed,
    /// It is one, and too small or too large.
    OutOfRange,
}

/// A whole number.
pub(crate) fn count(text: &str) -> Result<usize, UnitError> {
    let (number, unit) = split(text)?;
    if !unit.is_empty() {
        return Err(UnitError::Malformed);
    }
    number.try_into().map_err(|_| UnitError::OutOfRange)
}

/// A number of bytes: `65536`, `64K`, `16M`, `1G`, by powers of 1,024.
pub(crate) fn bytes(text: &str) -> Result<usize, UnitError> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err(UnitError::Malformed),
    };
    let bytes = number.checked_mul(factor).ok_or(UnitError::OutOfRange)?;
    bytes.try_into().map_err(|_| UnitError::OutOfRange)
}

/// A span of time: `90` (seconds), `1500ms`, `90s`, `15m`, `2h`, `1d`.
pub(crate) fn span(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err(UnitError::Malformed),
    };
    let seconds = number.checked_mul(factor).ok_or(UnitError::OutOfRange)?;
    Ok(Duration::from_secs(seconds))
}

/// What a switch is set to in a variable.
pub(crate) fn switch(text: &str) -> Result<bool, UnitError> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(UnitError::Malformed),
    }
}

/// The digits and what follows them.
fn split(text: &str) -> Result<(u64, &str), UnitError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::Malformed);
    }
    // Digits alone fail for no other reason.
    let number = number.parse().map_err(|_| UnitError::OutOfRange)?;
    Ok((number, unit))
}

#[cfg(test)]
mod tests {
    use super::{UnitError::*, *};

    #[test]
    fn bytes_take_powers_of_1024() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("007", Ok(7)),
            ("65536", Ok(65_536)),
            ("1K", Ok(1_024)),
            ("16M", Ok(16_777_216)),
            ("2G", Ok(2_147_483_648)),
            ("18446744073709551615", Ok(usize::MAX)),
            ("18446744073709551616", Err(OutOfRange)),
            ("17179869183G", Ok(17_179_869_183 << 30)),
            ("17179869184G", Err(OutOfRange)),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn spans_take_seconds_alone_and_five_units() {
        for (text, expected) in [
            ("0", Ok(Duration::ZERO)),
            ("90", Ok(Duration::from_secs(90))),
            ("90s", Ok(Duration::from_secs(90))),
            ("1500ms", Ok(Duration::from_millis(1_500))),
            ("15m", Ok(Duration::from_secs(900))),
            ("2h", Ok(Duration::from_secs(7_200))),
            ("1d", Ok(Duration::from_secs(86_400))),
            ("18446744073709551615", Ok(Duration::from_secs(u64::MAX))),
            (
                "18446744073709551615ms",
                Ok(Duration::from_millis(u64::MAX)),
            ),
            ("18446744073709551616", Err(OutOfRange)),
            (
                "213503982334601d",
                Ok(Duration::from_secs(18_446_744_073_709_526_400)),
            ),
            ("213503982334602d", Err(OutOfRange)),
        ] {
            assert_eq!(span(text), expected, "{text}");
        }
    }

    #[test]
    fn nothing_signs_fractions_spaces_and_other_units_are_refused() {
        for text in [
            "", " ", "-5", "+5", "1.5", "1,5", "1e3", "0x10", "K", "ms", "5 ", " 5", "5 K", "1.5G",
            "5KB", "5KiB", "5k", "5min", "5H", "5w", "∞", "٣",
        ] {
            assert_eq!(bytes(text), Err(Malformed), "{text:?}");
            assert_eq!(span(text), Err(Malformed), "{text:?}");
            assert_eq!(count(text), Err(Malformed), "{text:?}");
        }
        for text in ["5m", "5s", "5ms"] {
            assert_eq!(bytes(text), Err(Malformed), "{text}: a unit of time");
        }
        for text in ["5K", "5M", "5G"] {
            assert_eq!(span(text), Err(Malformed), "{text}: a unit of size");
        }
        assert_eq!(count("5K"), Err(Malformed), "a count has no unit");
        assert_eq!(count("99999999999999999999"), Err(OutOfRange));
    }

    #[test]
    fn switches_take_four_words() {
        assert_eq!(switch("true"), Ok(true));
        assert_eq!(switch("1"), Ok(true));
        assert_eq!(switch("false"), Ok(false));
        assert_eq!(switch("0"), Ok(false));
        for text in ["", "yes", "on", "True", "2", "true "] {
            assert_eq!(switch(text), Err(Malformed), "{text:?}");
        }
    }
}
