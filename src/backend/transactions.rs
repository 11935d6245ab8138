//! Publishes on their way to PostgreSQL: sources take turns, and many make one transaction.
//!
//! A transaction costs PostgreSQL a lock that all who notify share, so whatever waits while one is
//! under way gathers into the next; nothing waits for a timer. Four rules keep what each client may
//! count on:
//!
//! - At most one transaction of several is under way. When PostgreSQL refuses it nothing of it was
//!   committed, and each member runs again alone, before anything that came later: so one refused
//!   publish harms no other, and each source's order holds.
//! - A transaction holds no pair of channel and payload twice: PostgreSQL would make one
//!   notification of it ("NOTIFY").
//! - A server that converts from UTF-8 may make equal what was not: there each runs alone.
//! - What one source asks leaves in the order asked.
//!
//! Knows neither sessions' states nor time, nor what a publish is for.

use std::collections::{HashMap, VecDeque};

use super::command::{Notify, Published};
use crate::{
    channel::LengthUnit,
    pg::session::{HandedOver, ServerError},
};

/// Publishes that wait, and those under way.
///
/// [`Self::push`] what is asked. Whenever bytes can leave, [`Self::poll_transaction`] until `None`,
/// each answered, in this order, by [`Self::handle_completed`] or at the end of the session by
/// [`Self::handle_lost`].
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// By source, in the order asked; no queue is empty.
    waiting: HashMap<u32, VecDeque<Notify>>,
    /// Sources in `waiting`, each once, the next one first.
    turns: VecDeque<u32>,
    /// Of a refused transaction: each runs alone, before all else.
    again: VecDeque<Notify>,
    /// Transactions in the order sent, none empty.
    under_way: VecDeque<Vec<Notify>>,
    /// One of `under_way` has several members.
    is_gathered: bool,
}

impl Transactions {
    /// One more publish.
    pub(super) fn push(&mut self, notify: Notify) {
        let queue = self.waiting.entry(notify.source).or_default();
        if queue.is_empty() {
            self.turns.push_back(notify.source);
        }
        queue.push_back(notify);
    }

    /// The next transaction to be sent, its members in the order to be executed.
    pub(super) fn poll_transaction(&mut self, measure: LengthUnit) -> Option<&[Notify]> {
        if self.is_gathered || self.under_way.len() >= TRANSACTIONS_MAX {
            return None;
        }
        let members = match self.again.pop_front() {
            Some(notify) => vec![notify],
            None => self.gather(match measure {
                LengthUnit::Utf8 => MEMBERS_MAX,
                LengthUnit::Server => 1,
            }),
        };
        if members.is_empty() {
            return None;
        }
        self.is_gathered = members.len() > 1;
        self.under_way.push_back(members);
        self.under_way.back().map(Vec::as_slice)
    }

    /// PostgreSQL answered the oldest transaction; `report` learns how its members ended. Returns
    /// how many of them were committed.
    pub(super) fn handle_completed(
        &mut self,
        result: Result<(), ServerError>,
        mut report: impl FnMut(u32, Published),
    ) -> usize {
        let Some(members) = self.under_way.pop_front() else {
            debug_assert!(false, "what is answered was asked");
            return 0;
        };
        self.is_gathered &= members.len() == 1;
        match result {
            Ok(()) => {
                for member in &members {
                    report(member.number, Published::Committed);
                }
                members.len()
            }
            Err(error) if members.len() == 1 => {
                report(members[0].number, Published::Refused(error));
                0
            }
            Err(error) => {
                tracing::debug!("running {} publishes one by one: {error}", members.len());
                debug_assert!(self.again.is_empty(), "one gathered transaction at a time");
                self.again.extend(members);
                0
            }
        }
    }

    /// The session is gone. `handed_over` says of each transaction under way, oldest first,
    /// whether the server may have seen it; everything ends here, nothing is sent again.
    pub(super) fn handle_lost(
        &mut self,
        mut handed_over: impl Iterator<Item = HandedOver>,
        mut report: impl FnMut(u32, Published),
    ) {
        for members in self.under_way.drain(..) {
            let handed_over = handed_over.next();
            for member in members {
                report(
                    member.number,
                    match handed_over {
                        Some(HandedOver::Yes) => Published::Unknown,
                        Some(HandedOver::No) | None => Published::NotSent,
                    },
                );
            }
        }
        // Rolled back, or never sent. In each source's order.
        for notify in self.again.drain(..) {
            report(notify.number, Published::NotSent);
        }
        for source in self.turns.drain(..) {
            for notify in self.waiting.remove(&source).into_iter().flatten() {
                report(notify.number, Published::NotSent);
            }
        }
        self.is_gathered = false;
    }

    /// Takes from each source in turn. One whose next pair is in the transaction already waits
    /// for the next one, with all that is behind it.
    fn gather(&mut self, members_max: usize) -> Vec<Notify> {
        let mut members: Vec<Notify> = Vec::new();
        // Where in `members` each is, sorted by the pairs. A hash would have to be secret, since
        // clients choose what is hashed; the seed is none: every epoch shows it.
        let mut sorted: Vec<usize> = Vec::new();
        let mut held_back = VecDeque::new();
        while members.len() < members_max {
            let Some(source) = self.turns.pop_front() else {
                break;
            };
            let Some(queue) = self.waiting.get_mut(&source) else {
                debug_assert!(false, "a source in turn has something waiting");
                continue;
            };
            let place = queue.front().and_then(|next| {
                let found = sorted.binary_search_by(|&at| pair(&members[at]).cmp(&pair(next)));
                found.err()
            });
            let Some(place) = place else {
                held_back.push_back(source);
                continue;
            };
            sorted.insert(place, members.len());
            members.extend(queue.pop_front());
            if queue.is_empty() {
                self.waiting.remove(&source);
            } else {
                self.turns.push_back(source);
            }
        }
        // They were due first.
        held_back.append(&mut self.turns);
        self.turns = held_back;
        members
    }
}

/// What PostgreSQL would make one notification of.
fn pair(notify: &Notify) -> (&str, &str) {
    (notify.payload.as_str(), notify.channel.as_str())
}

/// Publishes in one transaction: beyond this PostgreSQL gains nothing, and the last one waits.
const MEMBERS_MAX: usize = 256;
/// Transactions under way at a time, all but one of a single publish: a server that is written
/// to without being read stalls.
const TRANSACTIONS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::channel::{Channel, Payload};

    fn push(transactions: &mut Transactions, source: u32, texts: &[&str]) {
        for text in texts {
            let number = text.parse().unwrap_or(0);
            transactions.push(Notify {
                number,
                source,
                channel: Channel::new("a").unwrap(),
                payload: Payload::new(text).unwrap(),
            });
        }
    }

    fn next(transactions: &mut Transactions) -> Vec<String> {
        let members = transactions
            .poll_transaction(LengthUnit::Utf8)
            .unwrap_or_default();
        let texts = members.iter().map(|it| it.payload.as_str().to_owned());
        texts.collect()
    }

    fn complete(transactions: &mut Transactions, result: Result<(), ServerError>) -> Vec<String> {
        let mut ends = Vec::new();
        transactions.handle_completed(result, |number, published| {
            ends.push(format!("{number} {published:?}"));
        });
        ends
    }

    fn refusal() -> ServerError {
        ServerError::parse(b"SERROR\0VERROR\0C22023\0Mno\0\0").unwrap()
    }

    #[test]
    fn what_waits_gathers_and_sources_take_turns() {
        let mut transactions = Transactions::default();
        push(&mut transactions, 7, &["1", "2", "3"]);
        push(&mut transactions, 8, &["4"]);
        push(&mut transactions, 9, &["5", "6"]);
        assert_eq!(next(&mut transactions), ["1", "4", "5", "2", "6", "3"]);
        push(&mut transactions, 9, &["7", "8"]);
        assert!(
            next(&mut transactions).is_empty(),
            "one of several at a time"
        );
        assert_eq!(complete(&mut transactions, Ok(())).len(), 6);
        assert_eq!(next(&mut transactions), ["7", "8"]);
        assert_eq!(
            complete(&mut transactions, Ok(())),
            ["7 Committed", "8 Committed"]
        );
        assert!(next(&mut transactions).is_empty());
    }

    #[test]
    fn a_single_one_holds_up_nothing() {
        let mut transactions = Transactions::default();
        push(&mut transactions, 1, &["1"]);
        assert_eq!(next(&mut transactions), ["1"]);
        push(&mut transactions, 1, &["2", "3"]);
        assert_eq!(next(&mut transactions), ["2", "3"]);
        assert_eq!(complete(&mut transactions, Ok(())), ["1 Committed"]);
        push(&mut transactions, 1, &["4"]);
        assert!(next(&mut transactions).is_empty(), "2 and 3 may run again");
    }

    #[test]
    fn equal_pairs_never_meet_and_no_source_overtakes_itself() {
        let mut transactions = Transactions::default();
        push(&mut transactions, 1, &["1", "1", "2"]);
        push(&mut transactions, 2, &["1", "3"]);
        push(&mut transactions, 3, &["4"]);
        assert_eq!(next(&mut transactions), ["1", "4"]);
        complete(&mut transactions, Ok(()));
        assert_eq!(
            next(&mut transactions),
            ["1", "3"],
            "source 2 was due first"
        );
        complete(&mut transactions, Ok(()));
        assert_eq!(next(&mut transactions), ["1", "2"]);
    }

    #[test]
    fn a_pair_is_known_among_many_and_either_half_tells_two_apart() {
        let mut transactions = Transactions::default();
        let texts: Vec<_> = (0..100).map(|text| text.to_string()).collect();
        let upwards: Vec<_> = texts.iter().map(String::as_str).collect();
        let downwards: Vec<_> = texts.iter().rev().map(String::as_str).collect();
        push(&mut transactions, 1, &upwards);
        push(&mut transactions, 2, &downwards);
        transactions.push(Notify {
            number: 0,
            source: 3,
            channel: Channel::new("b").unwrap(),
            payload: Payload::new("0").unwrap(),
        });
        for expected in [101, 100] {
            let members = transactions.poll_transaction(LengthUnit::Utf8).unwrap();
            assert_eq!(members.len(), expected);
            assert_eq!(
                members.iter().map(pair).collect::<HashSet<_>>().len(),
                expected
            );
            complete(&mut transactions, Ok(()));
        }
        assert!(next(&mut transactions).is_empty());
    }

    #[test]
    fn members_of_a_refused_transaction_run_again_alone_before_anything_else() {
        let mut transactions = Transactions::default();
        push(&mut transactions, 1, &["1", "2"]);
        push(&mut transactions, 2, &["3"]);
        assert_eq!(next(&mut transactions), ["1", "3", "2"]);
        push(&mut transactions, 1, &["4"]);
        push(&mut transactions, 2, &["5"]);
        assert!(complete(&mut transactions, Err(refusal())).is_empty());
        for alone in ["1", "3", "2"] {
            assert_eq!(next(&mut transactions), [alone]);
        }
        assert_eq!(next(&mut transactions), ["4", "5"]);
        assert_eq!(complete(&mut transactions, Ok(())), ["1 Committed"]);
        let refused = complete(&mut transactions, Err(refusal()));
        assert!(refused[0].starts_with("3 Refused"), "{refused:?}");
        assert_eq!(complete(&mut transactions, Ok(())), ["2 Committed"]);
        assert_eq!(complete(&mut transactions, Ok(())).len(), 2);
    }

    #[test]
    fn where_the_server_converts_each_runs_alone() {
        let mut transactions = Transactions::default();
        push(&mut transactions, 1, &["1", "2"]);
        for _ in 0..2 {
            let members = transactions.poll_transaction(LengthUnit::Server).unwrap();
            assert_eq!(members.len(), 1);
        }
    }

    #[test]
    fn a_transaction_and_what_is_under_way_are_bounded() {
        let mut transactions = Transactions::default();
        for number in 0..=MEMBERS_MAX {
            push(&mut transactions, 1, &[&number.to_string()]);
        }
        assert_eq!(next(&mut transactions).len(), MEMBERS_MAX);
        complete(&mut transactions, Ok(()));
        assert_eq!(next(&mut transactions).len(), 1);

        let mut transactions = Transactions::default();
        push(&mut transactions, 1, &["same"; TRANSACTIONS_MAX + 1]);
        for _ in 0..TRANSACTIONS_MAX {
            assert_eq!(next(&mut transactions).len(), 1);
        }
        assert!(next(&mut transactions).is_empty());
        complete(&mut transactions, Ok(()));
        assert_eq!(next(&mut transactions).len(), 1);
    }

    #[test]
    fn each_ends_once_when_the_session_is_lost() {
        let mut transactions = Transactions::default();
        push(&mut transactions, 1, &["1"]);
        assert_eq!(next(&mut transactions), ["1"]);
        push(&mut transactions, 1, &["2", "3"]);
        push(&mut transactions, 2, &["4"]);
        assert_eq!(next(&mut transactions), ["2", "4", "3"]);
        push(&mut transactions, 2, &["5"]);
        let mut ends = Vec::new();
        let handed_over = [HandedOver::Yes, HandedOver::No].into_iter();
        transactions.handle_lost(handed_over, |number, published| {
            ends.push(format!("{number} {published:?}"));
        });
        assert_eq!(
            ends,
            [
                "1 Unknown",
                "2 NotSent",
                "4 NotSent",
                "3 NotSent",
                "5 NotSent"
            ]
        );
        push(&mut transactions, 2, &["6", "7"]);
        assert_eq!(next(&mut transactions), ["6", "7"]);
    }
}
