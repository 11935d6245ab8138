//! What one connection asks over HTTP and is answered, one request behind the other.
//!
//! Owns the request that is being read, and the order of the answers: one that is ready waits for
//! those before it. Knows neither what a request may ask for nor what is answered.

use std::collections::VecDeque;

use super::answer::Answer;
use crate::{
    access::Credential,
    channel::Channel,
    http::{body::Framing, reader::Reader},
};

/// The requests of one connection, and the answers to them.
///
/// A request [begins](Self::begin) with its head and ends with its body; its answer is
/// [reserved](Self::reserve) a place then, and [given](Self::give) at any time. [`Self::poll_answer`]
/// has them in order.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    pub(super) reader: Reader,
    /// The request whose body is being read.
    asked: Option<Asked>,
    /// In the order asked; `None` for one that is awaited.
    answers: VecDeque<Option<Answer>>,
    /// The number of the first of them.
    first: u64,
    /// Nothing more is read: the connection ends behind the last answer.
    is_last: bool,
    /// The next request is one that takes the connection over, and waits for the answers.
    takes_over: bool,
}

/// A request with its head.
#[derive(Debug)]
pub(super) struct Asked {
    /// What becomes of it when its body is here.
    pub(super) publish: Result<Publish, Answer>,
    /// What came of its body so far, if that is of use.
    pub(super) body: Vec<u8>,
    /// How much came of it.
    pub(super) body_bytes: usize,
}

/// A publish that lacks its payload.
#[derive(Clone, Debug)]
pub(super) struct Publish {
    pub(super) channel: Channel,
    pub(super) token: Option<Credential>,
    /// Another request may follow.
    pub(super) is_persistent: bool,
    /// The header fields that its answer has besides its own.
    pub(super) fields: String,
}

impl Exchange {
    /// A connection whose first request has its head, and a body like this.
    pub(super) fn behind_head(framing: Framing) -> Self {
        Self {
            reader: Reader::behind_head(framing),
            ..Self::default()
        }
    }

    /// A request has its head.
    pub(super) fn begin(&mut self, publish: Result<Publish, Answer>) {
        self.asked = Some(Asked {
            publish,
            body: Vec::new(),
            body_bytes: 0,
        });
    }

    /// The request whose body is being read.
    pub(super) fn asked_mut(&mut self) -> Option<&mut Asked> {
        self.asked.as_mut()
    }

    /// The request is complete.
    pub(super) fn take_asked(&mut self) -> Option<Asked> {
        self.asked.take()
    }

    /// The answer of this number will follow.
    pub(super) fn reserve(&mut self) -> u64 {
        self.answers.push_back(None);
        self.first + self.answers.len() as u64 - 1
    }

    /// The answer that was awaited.
    pub(super) fn give(&mut self, number: u64, answer: Answer) {
        let at = number.checked_sub(self.first);
        let at = at.and_then(|at| usize::try_from(at).ok());
        if let Some(place) = at.and_then(|at| self.answers.get_mut(at)) {
            debug_assert!(place.is_none(), "each is answered once");
            *place = Some(answer);
        } else {
            debug_assert!(false, "it has a place until it is given");
        }
    }

    /// An answer behind those before it.
    pub(super) fn push(&mut self, answer: Answer) {
        self.answers.push_back(Some(answer));
    }

    /// The next answer that is ready.
    pub(super) fn poll_answer(&mut self) -> Option<Answer> {
        self.answers.front()?.as_ref()?;
        self.first += 1;
        self.answers.pop_front().flatten()
    }

    /// Requests without their answer, and answers that wait for one of those.
    pub(super) fn unanswered_count(&self) -> usize {
        self.answers.len()
    }

    /// No further request is read.
    pub(super) fn finish(&mut self) {
        self.is_last = true;
    }

    /// Whether no further request is read.
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    /// The next request takes the connection over: it waits for the answers to those before it.
    pub(super) fn wait_to_take_over(&mut self) {
        self.reader = Reader::default();
        self.takes_over = true;
    }

    /// Whether nothing more is to be read for now, `max` answers being the most that may be awaited.
    pub(super) fn is_full(&self, max: usize) -> bool {
        self.answers.len() >= max || self.takes_over && !self.answers.is_empty()
    }

    /// Whether the next request takes the connection over.
    pub(super) fn takes_over(&self) -> bool {
        self.takes_over
    }

    /// Whether everything asked is answered, and nothing more was asked.
    pub(super) fn is_idle(&self) -> bool {
        self.answers.is_empty() && !self.is_inside_request() && !self.is_last
    }

    /// Whether a request has begun and is not complete.
    pub(super) fn is_inside_request(&self) -> bool {
        !self.is_last && self.reader.is_inside_request()
    }

    /// The memory of what is not complete.
    pub(super) fn held_bytes(&self) -> usize {
        let body = self.asked.as_ref().map_or(0, |asked| asked.body.len());
        self.reader.held_bytes() + body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::Status;

    fn answer(text: &str) -> Answer {
        Answer::text(Status::Ok, text)
    }

    #[test]
    fn answers_leave_in_the_order_asked() {
        let mut exchange = Exchange::default();
        assert!(exchange.is_idle());
        let first = exchange.reserve();
        let second = exchange.reserve();
        exchange.push(answer("third"));
        let fourth = exchange.reserve();
        assert!(exchange.is_full(4) && !exchange.is_full(5));
        exchange.give(second, answer("second"));
        assert!(exchange.poll_answer().is_none());
        exchange.give(first, answer("first"));
        for expected in ["first", "second", "third"] {
            assert_eq!(exchange.poll_answer().unwrap().body(), expected);
        }
        assert!(exchange.poll_answer().is_none());
        exchange.give(fourth, answer("fourth"));
        assert!(exchange.poll_answer().is_some());
        assert!(exchange.is_idle());
    }

    #[test]
    fn a_request_that_takes_over_waits_for_the_answers_before_it() {
        let mut exchange = Exchange::default();
        let first = exchange.reserve();
        exchange.wait_to_take_over();
        assert!(exchange.is_full(16));
        exchange.give(first, answer("first"));
        exchange.poll_answer();
        assert!(!exchange.is_full(16));
    }
}
