//! Publishes on their way to PostgreSQL: sources take turns, and several publishes make one
//! transaction.
//!
//! A transaction costs PostgreSQL a lock that all sessions share for NOTIFY, so the publishes that
//! arrive while one transaction is under way gather into the next; none waits for a timer. Four
//! rules keep what is promised to each client:
//!
//! - At most one transaction of several publishes is under way. When PostgreSQL refuses it, nothing
//!   of it was committed, and each member runs again alone, before any later publish: so a refused
//!   publish harms no other, and the order of each source holds.
//! - A transaction holds no pair of channel and payload twice: PostgreSQL would make one
//!   notification of it ("NOTIFY").
//! - A server that converts from UTF-8 may make different pairs equal: there each publish runs alone.
//! - The publishes of one source leave in the order of their arrival.
//!
//! Knows neither the state of a session nor the time, nor the purpose of a publish.

use std::collections::{HashMap, VecDeque};

use super::command::{Notify, Published};
use crate::{
    channel::LengthUnit,
    pg::session::{HandedOver, ServerError},
};

/// Publishes that wait, and those under way.
///
/// [`Self::push`] takes a publish. Whenever bytes can leave, [`Self::poll_transaction`] until
/// `None`: each transaction is answered, in this order, by [`Self::handle_completed`], or at the
/// end of the session by [`Self::handle_lost`].
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// By source, in the order of arrival; no queue is empty.
    waiting: HashMap<u32, VecDeque<Notify>>,
    /// The sources in `waiting`, each once, the next one first.
    turns: VecDeque<u32>,
    /// The members of a refused transaction: each runs alone, before all others.
    again: VecDeque<Notify>,
    /// In the order of sending; no transaction is empty.
    under_way: VecDeque<Vec<Notify>>,
    /// Whether a transaction in `under_way` has several members.
    is_gathered: bool,
    /// What is under way may have to run again, before anything later.
    is_held: bool,
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

    /// The next transaction to be sent, its members in the order of execution.
    pub(super) fn poll_transaction(&mut self, unit: LengthUnit) -> Option<&[Notify]> {
        if self.is_gathered || self.is_held || self.under_way.len() >= TRANSACTIONS_MAX {
            return None;
        }
        let members = match self.again.pop_front() {
            Some(notify) => vec![notify],
            None => self.gather(match unit {
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

    /// PostgreSQL answered the oldest transaction. Reports the outcome of its members, and returns
    /// how many of them were committed.
    pub(super) fn handle_completed(
        &mut self,
        result: Result<(), ServerError>,
        mut report: impl FnMut(u32, Published),
    ) -> usize {
        let Some(members) = self.under_way.pop_front() else {
            debug_assert!(false, "an answer without a transaction");
            return 0;
        };
        self.is_gathered &= members.len() == 1;
        self.is_held &= !self.under_way.is_empty();
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
                tracing::debug!(
                    target: "alle::postgres",
                    "running {} publishes one by one: {error}", members.len()
                );
                debug_assert!(self.again.is_empty(), "one gathered transaction at a time");
                self.again.extend(members);
                0
            }
        }
    }

    /// Nothing is sent until everything under way was answered: its order is to hold, and
    /// [`Self::handle_retried`] may make it run again.
    pub(super) fn hold(&mut self) {
        self.is_held = !self.under_way.is_empty();
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// PostgreSQL refused the oldest transaction for its form alone: each member runs again, alone,
    /// behind those before it.
    pub(super) fn handle_retried(&mut self) {
        let members = self.under_way.pop_front().unwrap_or_default();
        self.is_gathered &= members.len() == 1;
        self.is_held &= !self.under_way.is_empty();
        self.again.extend(members);
    }

    /// The session is gone. `handed_over` says of each transaction under way, oldest first,
    /// whether the server may have seen it. Every publish ends here; none is sent again.
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
        // Rolled back, or never sent; in the order of each source.
        for notify in self.again.drain(..) {
            report(notify.number, Published::NotSent);
        }
        for source in self.turns.drain(..) {
            for notify in self.waiting.remove(&source).into_iter().flatten() {
                report(notify.number, Published::NotSent);
            }
        }
        self.is_gathered = false;
        self.is_held = false;
    }

    /// Takes from each source in turn. A source whose next pair is already in the transaction waits
    /// for the next transaction, with everything behind that pair.
    fn gather(&mut self, members_max: usize) -> Vec<Notify> {
        let mut members: Vec<Notify> = Vec::new();
        // Places in `members`, sorted by the pairs. A hash would need a secret key, since clients
        // choose the pairs; our seed is no secret: every epoch shows it.
        let mut sorted: Vec<usize> = Vec::new();
        let mut held_back = VecDeque::new();
        while members.len() < members_max {
            let Some(source) = self.turns.pop_front() else {
                break;
            };
            let Some(queue) = self.waiting.get_mut(&source) else {
                debug_assert!(false, "a source in turn has a publish that waits");
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
        // Their turn came first.
        held_back.append(&mut self.turns);
        self.turns = held_back;
        members
    }
}

/// PostgreSQL makes one notification of equal pairs in a transaction.
fn pair(notify: &Notify) -> (&str, &str) {
    (notify.payload.as_str(), notify.channel.as_str())
}

/// Publishes in one transaction: a larger one gains nothing at PostgreSQL, and delays its members.
const MEMBERS_MAX: usize = 256;
/// Transactions under way, all but one of them with a single member: a server whose answers nobody
/// reads stops reading.
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
    fn waiting_publishes_gather_and_sources_take_turns() {
        let mut transactions = Transactions::default();
        push(&mut transactions, 7, &["1", "2", "3"]);
        push(&mut transactions, 8, &["4"]);
        push(&mut transactions, 9, &["5", "6"]);
        assert_eq!(next(&mut transactions), ["1", "4", "5", "2", "6", "3"]);
        push(&mut transactions, 9, &["7", "8"]);
        assert!(
            next(&mut transactions).is_empty(),
            "one transaction of several at a time"
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
    fn a_transaction_of_one_publish_delays_no_other() {
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
            "source 2 had its turn first"
        );
        complete(&mut transactions, Ok(()));
        assert_eq!(next(&mut transactions), ["1", "2"]);
    }

    #[test]
    fn a_pair_is_found_among_many_and_differs_by_channel_or_payload() {
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
    fn members_of_a_refused_transaction_run_again_alone_before_all_others() {
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

    /// A source's order holds although later publishes are under way already.
    #[test]
    fn what_is_sent_again_in_another_form_stays_in_order() {
        let mut transactions = Transactions::default();
        push(&mut transactions, 1, &["1"]);
        assert_eq!(next(&mut transactions), ["1"]);
        push(&mut transactions, 1, &["2"]);
        assert_eq!(next(&mut transactions), ["2"]);
        push(&mut transactions, 1, &["3", "4"]);
        assert_eq!(next(&mut transactions), ["3", "4"]);
        push(&mut transactions, 1, &["5"]);
        transactions.hold();
        for _ in 0..3 {
            assert!(transactions.is_held() && next(&mut transactions).is_empty());
            transactions.handle_retried();
        }
        assert!(!transactions.is_held());
        for alone in ["1", "2", "3", "4", "5"] {
            assert_eq!(next(&mut transactions), [alone]);
        }
        for number in 1..=5 {
            let end = format!("{number} Committed");
            assert_eq!(complete(&mut transactions, Ok(())), [end]);
        }
    }

    #[test]
    fn each_publish_runs_alone_where_the_server_converts() {
        let mut transactions = Transactions::default();
        push(&mut transactions, 1, &["1", "2"]);
        for _ in 0..2 {
            let members = transactions.poll_transaction(LengthUnit::Server).unwrap();
            assert_eq!(members.len(), 1);
        }
    }

    #[test]
    fn members_and_transactions_under_way_are_bounded() {
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
    fn each_publish_ends_once_when_the_session_is_lost() {
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
