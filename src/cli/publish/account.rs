//! Which lines are on their way, which were sent, and what became of the others.
//!
//! Pure: knows numbers and sizes, no socket and no clock.

use std::collections::BTreeMap;

use crate::cli::failure::Failure;

/// Every line that was handed over, by its number from 1 on.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// How many were handed over.
    handed_over: u64,
    /// Those that are not known to be sent: no more than may be on their way at once.
    open: BTreeMap<u64, Fate>,
    awaited_bytes: usize,
    /// Whether one of them travels alone.
    is_doubtful: bool,
}

#[derive(Debug)]
enum Fate {
    /// So many bytes, without an answer.
    Awaited(usize),
    Refused(String),
    Unknown(String),
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
        self.handed_over - self.open.len() as u64
    }

    /// The oldest line without an answer.
    pub(super) fn awaited(&self) -> Option<u64> {
        let mut open = self.open.iter();
        open.find_map(|(number, fate)| matches!(fate, Fate::Awaited(_)).then_some(*number))
    }

    /// Whether a line was answered by anything else than that it was sent.
    pub(super) fn has_failed(&self) -> bool {
        let mut open = self.open.values();
        open.any(|fate| !matches!(fate, Fate::Awaited(_)))
    }

    /// Whether a line of so many bytes may go beside those on their way.
    pub(super) fn takes(&self, bytes: usize, is_doubtful: bool) -> bool {
        if self.open.is_empty() {
            return true;
        }
        let is_proved = self.sent() > 0;
        is_proved
            && !is_doubtful
            && !self.is_doubtful
            && self.open.len() < LINES_MAX
            && self.awaited_bytes + bytes <= BYTES_MAX
    }

    /// The next line goes.
    pub(super) fn send(&mut self, bytes: usize, is_doubtful: bool) {
        self.handed_over += 1;
        self.open.insert(self.handed_over, Fate::Awaited(bytes));
        self.awaited_bytes += bytes;
        self.is_doubtful = is_doubtful;
    }

    /// Takes an answer; `false` if none was awaited for this line.
    pub(super) fn answer(&mut self, number: u64, answer: Answer) -> bool {
        let Some(Fate::Awaited(bytes)) = self.open.get(&number) else {
            return false;
        };
        self.awaited_bytes -= bytes;
        self.is_doubtful = false;
        match answer {
            Answer::Sent => self.open.remove(&number),
            Answer::Refused(message) => self.open.insert(number, Fate::Refused(message)),
            Answer::Unknown(message) => self.open.insert(number, Fate::Unknown(message)),
        };
        true
    }

    /// No more answers come, for this reason: what is known of the lines.
    pub(super) fn lost(&mut self, reason: &str) -> Failure {
        if self.open.is_empty() {
            return Failure::Run(self.wrong_line(&format!("{reason}; it was not sent")));
        }
        while let Some(number) = self.awaited() {
            self.answer(number, Answer::Unknown(reason.to_owned()));
        }
        self.failure()
    }

    /// Why it ends, once all answers are there and one of them was no success.
    pub(super) fn failure(&self) -> Failure {
        let mut refused: Option<(u64, &str)> = None;
        let mut unknown: Option<(&str, Vec<u64>)> = None;
        for (number, fate) in &self.open {
            match fate {
                Fate::Awaited(_) => {}
                Fate::Refused(message) => {
                    refused.get_or_insert((*number, message));
                }
                Fate::Unknown(message) => {
                    let (_, numbers) = unknown.get_or_insert_with(|| (message, Vec::new()));
                    numbers.push(*number);
                }
            }
        }
        let mut said = Vec::new();
        if let Some((number, message)) = refused {
            said.push((number, format!("line {number}: {message}")));
        }
        let count = unknown.as_ref().map_or(0, |(_, numbers)| numbers.len());
        let is_unknown = count > 0;
        if let Some((message, numbers)) = unknown {
            let (they, them) = match count {
                1 => ("it", "it"),
                _ => ("they", "them"),
            };
            let first = numbers.first().copied().unwrap_or_default();
            let lines = runs(numbers);
            said.push((
                first,
                format!(
                    "{lines}: {message}; {they} may have been committed: do not repeat {them} blindly"
                ),
            ));
        }
        said.sort_unstable();
        let named = count + usize::from(refused.is_some());
        let around = self.around(if named == 1 { "it" } else { "them" });
        let said: Vec<_> = said.into_iter().map(|(_, words)| words).collect();
        let reason = format!("{} ({around})", said.join("; "));
        if is_unknown {
            Failure::Unknown(reason)
        } else {
            Failure::Run(reason)
        }
    }

    /// What was sent before the lines that have failed, and behind the first of `them`.
    fn around(&self, them: &str) -> String {
        let first = self.open.keys().next().copied();
        let first = first.unwrap_or_else(|| self.next());
        let before = self.before(first, them);
        let sent = (first..=self.handed_over).filter(|it| !self.open.contains_key(it));
        match runs(sent) {
            sent if sent.is_empty() => format!("{before}, none behind {them} was"),
            sent => {
                let first = if them == "it" {
                    "it"
                } else {
                    &format!("line {first}")
                };
                format!("{before}, already on their way behind {first}, and sent, were {sent}")
            }
        }
    }

    /// The next line cannot be sent for this reason.
    pub(super) fn wrong_line(&self, reason: &str) -> String {
        let number = self.next();
        format!("line {number}: {reason} ({})", self.before(number, "it"))
    }

    fn before(&self, number: u64, them: &str) -> String {
        match number - 1 {
            0 => format!("no line was sent before {them}"),
            1 => format!("the line before {them} was sent"),
            before => format!("the {before} lines before {them} were sent"),
        }
    }
}

/// Rising numbers in words.
fn runs(numbers: impl IntoIterator<Item = u64>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let words = runs.iter().map(|(first, last)| match first == last {
        true => format!("line {first}"),
        false => format!("lines {first} to {last}"),
    });
    words.collect::<Vec<_>>().join(", ")
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
        assert_eq!(text(account.lost("gone")), (1, expected.to_owned()));
        assert_eq!(account.sent(), 6);
    }

    #[test]
    fn each_line_whose_outcome_is_unknown_is_named() {
        let unknown = || Answer::Unknown("lost".to_owned());
        let mut account = after(0, 1);
        account.answer(1, unknown());
        let expected = "line 1: lost; it may have been committed: do not repeat it blindly (no line \
                        was sent before it, none behind it was)";
        assert_eq!(text(account.failure()), (3, expected.to_owned()));
        let mut account = after(3, 4);
        for number in 4..=7 {
            account.answer(number, unknown());
        }
        let expected = "lines 4 to 7: lost; they may have been committed: do not repeat them blindly \
                        (the 3 lines before them were sent, none behind them was)";
        assert_eq!(text(account.failure()), (3, expected.to_owned()));
        let mut account = after(1, 4);
        account.answer(2, unknown());
        account.answer(3, Answer::Sent);
        let expected = "line 2, lines 4 to 5: lost; they may have been committed: do not repeat them \
                        blindly (the line before them was sent, already on their way behind line 2, \
                        and sent, were line 3)";
        assert_eq!(text(account.lost("gone")), (3, expected.to_owned()));
    }

    #[test]
    fn what_was_refused_behind_lines_of_unknown_outcome_is_told_behind_them() {
        let mut account = after(1, 4);
        for number in 2..=3 {
            account.answer(number, Answer::Unknown("lost".to_owned()));
        }
        for number in 4..=5 {
            account.answer(number, Answer::Refused("down".to_owned()));
        }
        let expected = "lines 2 to 3: lost; they may have been committed: do not repeat them blindly; \
                        line 4: down (the line before them was sent, none behind them was)";
        assert_eq!(text(account.failure()), (3, expected.to_owned()));
    }

    #[test]
    fn a_lost_connection_leaves_what_was_on_its_way_unknown() {
        let expected = "lines 4 to 5: gone; they may have been committed: do not repeat them blindly \
                        (the 3 lines before them were sent, none behind them was)";
        assert_eq!(text(after(3, 2).lost("gone")), (3, expected.to_owned()));
        let expected = "line 4: gone; it was not sent (the 3 lines before it were sent)";
        assert_eq!(text(after(3, 0).lost("gone")), (1, expected.to_owned()));
        assert_eq!(
            after(1, 0).wrong_line("bad"),
            "line 2: bad (the line before it was sent)"
        );
        let mut account = after(1, 3);
        account.answer(2, Answer::Refused("no".to_owned()));
        let expected = "line 2: no; lines 3 to 4: gone; they may have been committed: do not repeat \
                        them blindly (the line before them was sent, none behind them was)";
        assert_eq!(text(account.lost("gone")), (3, expected.to_owned()));
    }
}
