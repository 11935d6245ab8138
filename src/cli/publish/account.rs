//! Which lines are on their way, which were sent, and which was the first to be refused.
//!
//! Pure: knows numbers and sizes, no socket and no clock.

use std::collections::BTreeMap;

use crate::cli::failure::Failure;

/// Every line that was handed over, by its number from 1 on.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// How many were handed over.
    handed_over: u64,
    /// Those without an answer, with the bytes of each.
    awaited: BTreeMap<u64, usize>,
    awaited_bytes: usize,
    /// Whether one of them travels alone.
    is_doubtful: bool,
    sent: u64,
    /// The first refused one, of those known to be.
    refused: Option<(u64, Refusal)>,
    /// Where the sent ones behind it are, as runs.
    sent_behind: Vec<(u64, u64)>,
    /// How many others were refused.
    others_refused: u64,
}

#[derive(Debug)]
struct Refusal {
    message: String,
    is_unknown: bool,
}

/// What became of a line.
#[derive(Debug)]
pub(super) enum Answer {
    Sent,
    Refused(String),
    /// Nobody knows whether it was sent.
    Unknown(String),
}

impl Account {
    /// The number of the next line.
    pub(super) fn next(&self) -> u64 {
        self.handed_over + 1
    }

    /// How many are known to be sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The oldest line without an answer.
    pub(super) fn awaited(&self) -> Option<u64> {
        self.awaited.keys().next().copied()
    }

    /// The first refused line.
    pub(super) fn refused(&self) -> Option<u64> {
        self.refused.as_ref().map(|(number, _)| *number)
    }

    /// Whether a line of so many bytes may go beside those on their way.
    pub(super) fn takes(&self, bytes: usize, is_doubtful: bool) -> bool {
        if self.awaited.is_empty() {
            return true;
        }
        let is_proved = self.sent > 0;
        is_proved
            && !is_doubtful
            && !self.is_doubtful
            && self.awaited.len() < LINES_MAX
            && self.awaited_bytes + bytes <= BYTES_MAX
    }

    /// The next line goes.
    pub(super) fn send(&mut self, bytes: usize, is_doubtful: bool) {
        self.handed_over += 1;
        self.awaited.insert(self.handed_over, bytes);
        self.awaited_bytes += bytes;
        self.is_doubtful = is_doubtful;
    }

    /// Takes an answer; `false` if none was awaited for this line.
    pub(super) fn answer(&mut self, number: u64, answer: Answer) -> bool {
        let Some(bytes) = self.awaited.remove(&number) else {
            return false;
        };
        self.awaited_bytes -= bytes;
        self.is_doubtful = false;
        let (message, is_unknown) = match answer {
            Answer::Sent => {
                self.sent += 1;
                self.note_sent(number);
                return true;
            }
            Answer::Refused(message) => (message, false),
            Answer::Unknown(message) => (message, true),
        };
        if self.refused().is_none_or(|first| number < first) {
            self.others_refused += u64::from(self.refused.is_some());
            let refusal = Refusal {
                message,
                is_unknown,
            };
            self.refused = Some((number, refusal));
        } else {
            self.others_refused += 1;
        }
        true
    }

    /// Why it ends at the first refused line, once all answers are there.
    pub(super) fn failure(&self) -> Failure {
        let Some((number, refusal)) = &self.refused else {
            return Failure::Run("no line was refused".to_owned());
        };
        let behind: Vec<String> = self
            .sent_behind
            .iter()
            .filter(|(first, _)| first > number)
            .map(|(first, last)| run(*first, *last))
            .collect();
        let behind = if behind.is_empty() {
            "none behind it was".to_owned()
        } else {
            format!(
                "already on their way behind it, and sent, were {}",
                behind.join(", ")
            )
        };
        let before = self.before(*number);
        let message = &refusal.message;
        if refusal.is_unknown {
            return Failure::Unknown(format!(
                "line {number}: {message}; it may have been committed: do not repeat it blindly \
                 ({before}, {behind})"
            ));
        }
        Failure::Run(format!("line {number}: {message} ({before}, {behind})"))
    }

    /// The connection is lost for this reason.
    pub(super) fn lost(&self, reason: &str) -> Failure {
        match (self.awaited(), self.awaited.keys().next_back()) {
            (Some(first), Some(last)) => Failure::Unknown(format!(
                "{}: {reason}; it may have been committed: do not repeat it blindly ({})",
                run(first, *last),
                self.before(first)
            )),
            _ => Failure::Run(self.wrong_line(&format!("{reason}; it was not sent"))),
        }
    }

    /// The next line cannot be sent for this reason.
    pub(super) fn wrong_line(&self, reason: &str) -> String {
        let number = self.next();
        format!("line {number}: {reason} ({})", self.before(number))
    }

    fn before(&self, number: u64) -> String {
        match number - 1 {
            0 => "no line was sent before it".to_owned(),
            1 => "the line before it was sent".to_owned(),
            before => format!("the {before} lines before it were sent"),
        }
    }

    /// Only runs near the end are of interest: they are at most as many as are on their way.
    fn note_sent(&mut self, number: u64) {
        match self.sent_behind.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => self.sent_behind.push((number, number)),
        }
        if self.refused.is_none() && self.sent_behind.len() > LINES_MAX {
            self.sent_behind.remove(0);
        }
    }
}

fn run(first: u64, last: u64) -> String {
    if first == last {
        format!("line {first}")
    } else {
        format!("lines {first} to {last}")
    }
}

/// What a bridge puts into one transaction.
const LINES_MAX: usize = 256;
/// What the socket is sure to take.
const BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(failure: Failure) -> (u8, String) {
        match failure {
            Failure::Run(reason) => (1, reason),
            Failure::Unknown(reason) => (3, reason),
            Failure::Usage { reason, .. } => (2, reason),
        }
    }

    fn after(sent: u64, awaited: u64) -> Account {
        let mut account = Account::default();
        for _ in 0..sent + awaited {
            account.send(10, false);
        }
        for number in 1..=sent {
            assert!(account.answer(number, Answer::Sent));
        }
        account
    }

    #[test]
    fn the_first_line_and_a_doubtful_one_travel_alone() {
        let mut account = Account::default();
        assert!(account.takes(1, false));
        account.send(1, false);
        assert!(!account.takes(1, false), "nothing is proved");
        account.answer(1, Answer::Sent);
        account.send(1, false);
        assert!(account.takes(1, false));
        assert!(!account.takes(1, true));
        account.answer(2, Answer::Sent);
        account.send(1, true);
        assert!(!account.takes(1, false));
    }

    #[test]
    fn at_most_256_lines_and_256_kib_are_on_their_way() {
        let account = after(1, 255);
        assert!(account.takes(1, false));
        let account = after(1, 256);
        assert!(!account.takes(1, false));
        let account = after(1, 1);
        assert!(account.takes(BYTES_MAX - 10, false));
        assert!(!account.takes(BYTES_MAX - 9, false));
        assert!(after(1, 0).takes(BYTES_MAX + 1, false), "alone");
    }

    #[test]
    fn the_first_refused_line_is_told_with_what_was_sent_around_it() {
        let mut account = after(4, 5);
        account.answer(6, Answer::Refused("no".to_owned()));
        account.answer(5, Answer::Refused("no 5".to_owned()));
        account.answer(7, Answer::Sent);
        account.answer(8, Answer::Sent);
        assert_eq!(account.awaited(), Some(9));
        account.answer(9, Answer::Refused("no".to_owned()));
        assert!(!account.answer(9, Answer::Sent), "answered once");
        let expected = "line 5: no 5 (the 4 lines before it were sent, already on their way behind \
                        it, and sent, were lines 7 to 8)";
        assert_eq!(text(account.failure()), (1, expected.to_owned()));
        let mut account = after(0, 1);
        account.answer(1, Answer::Unknown("lost".to_owned()));
        let expected = "line 1: lost; it may have been committed: do not repeat it blindly (no line \
                        was sent before it, none behind it was)";
        assert_eq!(text(account.failure()), (3, expected.to_owned()));
    }

    #[test]
    fn a_lost_connection_leaves_what_was_on_its_way_unknown() {
        let expected = "lines 4 to 5: gone; it may have been committed: do not repeat it blindly \
                        (the 3 lines before it were sent)";
        assert_eq!(text(after(3, 2).lost("gone")), (3, expected.to_owned()));
        let expected = "line 4: gone; it was not sent (the 3 lines before it were sent)";
        assert_eq!(text(after(3, 0).lost("gone")), (1, expected.to_owned()));
        assert_eq!(
            after(1, 0).wrong_line("bad"),
            "line 2: bad (the line before it was sent)"
        );
    }
}
