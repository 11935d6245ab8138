//! Clients whose request waits for an answer about them, and the answers on their way.
//!
//! Owns who is asked about. Refuses to know who answers, and how a client is let in.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::access::visitor::Verdict;

/// By slot. Empty where nobody is asked, which is all that a read of another client looks at.
#[derive(Debug, Default)]
pub(super) struct Asking(HashMap<u32, Question>);

#[derive(Debug)]
enum Question {
    /// At that time.
    Asked(Instant),
    Answered(Verdict),
}

impl Asking {
    /// Somebody is asked about the client.
    pub(super) fn begin(&mut self, slot: u32, now: Instant) {
        self.0.insert(slot, Question::Asked(now));
    }

    /// The clients that have waited for so long.
    pub(super) fn overdue(&self, timeout: Duration, now: Instant) -> Vec<u32> {
        let is_overdue = |question: &Question| match question {
            Question::Asked(at) => now >= *at + timeout,
            Question::Answered(_) => false,
        };
        let overdue = self.0.iter().filter(|(_, question)| is_overdue(question));
        let mut slots: Vec<_> = overdue.map(|(&slot, _)| slot).collect();
        slots.sort_unstable();
        slots
    }

    /// Whether the answer about the client is still to come.
    pub(super) fn is_waiting(&self, slot: u32) -> bool {
        matches!(self.0.get(&slot), Some(Question::Asked(_)))
    }

    /// The answer; whether it was waited for.
    pub(super) fn answer(&mut self, slot: u32, verdict: Verdict) -> bool {
        let is_waiting = self.is_waiting(slot);
        if is_waiting {
            self.0.insert(slot, Question::Answered(verdict));
        }
        is_waiting
    }

    /// The answer, once.
    pub(super) fn take(&mut self, slot: u32) -> Option<Verdict> {
        match self.0.remove(&slot)? {
            Question::Answered(verdict) => Some(verdict),
            Question::Asked(_) => {
                debug_assert!(false, "its head is not looked at before it is answered");
                None
            }
        }
    }

    /// The client is gone, or has its answer.
    pub(super) fn forget(&mut self, slot: u32) {
        if !self.0.is_empty() {
            self.0.remove(&slot);
        }
    }
}
