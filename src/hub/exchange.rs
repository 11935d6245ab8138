//! What one connection asks over HTTP and is answered, one request behind the other.
//!
//! Owns the request that is being read, and the order of the answers: one that is ready waits for
//! those before it. Knows neither what a request may ask for nor what is answered.

use std::collections::VecDeque;

use super::{
    answer::Answer,
    reply::{Publish, Reply},
};
use crate::http::{
    body::Framing,
    reader::{Event, Reader},
    request::Request,
};

/// The requests of one connection, and the answers to them.
///
/// [`Self::read`] says what the next bytes come to. A request that has its head [begins](Self::begin);
/// the answer to one that is complete is [reserved](Self::reserve) a place, and
/// [given](Self::give) at any time. [`Self::poll_answer`] has them in order.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    reader: Reader,
    /// The request whose body is being read.
    asked: Option<Asked>,
    answers: Answers,
    /// The next request is one that takes the connection over, and waits for the answers.
    takes_over: bool,
}

/// What the next bytes of a connection come to.
pub(super) enum Step<'a> {
    /// More of them are needed.
    Wait,
    /// A request has its head.
    Head(Request<'a>),
    /// Something of a request was read, which costs so many units of work.
    Read(usize),
    /// A request to publish is complete, with this body.
    Publish(Publish, Vec<u8>),
}

/// A request with its head.
#[derive(Debug)]
struct Asked {
    /// What becomes of it when its body is here.
    publish: Result<Publish, Answer>,
    /// What came of its body so far, if that is of use.
    body: Vec<u8>,
    /// How much came of it.
    body_bytes: usize,
}

/// The answers in the order asked.
#[derive(Debug, Default)]
struct Answers {
    /// `None` for one that is awaited.
    queue: VecDeque<Option<Answer>>,
    /// The number of the first of them.
    first: u64,
    /// Nothing more is read: the connection ends behind the last answer.
    is_last: bool,
}

impl Exchange {
    /// A connection whose first request has its head, and a body like this.
    pub(super) fn behind_head(framing: Framing) -> Self {
        Self {
            reader: Reader::behind_head(framing),
            ..Self::default()
        }
    }

    // ---- requests

    /// Reads up to the next step, and says how many bytes that took. A body may have `body_bytes_max`
    /// bytes.
    pub(super) fn read<'a>(
        &'a mut self,
        input: &'a [u8],
        body_bytes_max: usize,
    ) -> (usize, Step<'a>) {
        let (consumed, event) = match self.reader.read(input) {
            Ok(read) => read,
            Err(status) => {
                self.answers.finish_with(Answer::unreadable(status));
                return (0, Step::Read(0));
            }
        };
        let step = match event {
            None => Step::Wait,
            Some(Event::Head(request)) => Step::Head(request),
            Some(Event::Data(bytes)) => {
                if let Some(answer) = take_body(&mut self.asked, bytes, body_bytes_max) {
                    self.answers.finish_with(answer);
                }
                Step::Read(bytes.len() / BYTES_A_UNIT)
            }
            Some(Event::End) => match self.asked.take() {
                Some(Asked {
                    publish: Ok(publish),
                    body,
                    ..
                }) => Step::Publish(publish, body),
                Some(Asked {
                    publish: Err(answer),
                    ..
                }) => {
                    self.answers.push(answer);
                    Step::Read(1)
                }
                None => Step::Read(1),
            },
        };
        (consumed, step)
    }

    /// The head that was read last, of so many bytes; `piece` is what was read of it last.
    pub(super) fn head<'a>(&'a self, head_bytes: usize, piece: &'a [u8]) -> &'a [u8] {
        match self.reader.lent_head() {
            Some(head) => &head[..head_bytes],
            None => piece,
        }
    }

    /// A request has its head, and is to become this, which takes no connection over.
    pub(super) fn begin(&mut self, reply: Reply, asks_to_go_on: bool) {
        let publish = match reply {
            Reply::Publish(publish) => {
                if asks_to_go_on {
                    self.answers.push(Answer::go_on());
                }
                Ok(publish)
            }
            Reply::Respond(answer) if answer.is_last => {
                // Its body is of no use to anybody.
                self.answers.finish_with(answer);
                return;
            }
            Reply::Respond(answer) => Err(answer),
            Reply::Ask { .. } | Reply::Wait | Reply::Upgrade(_) | Reply::Stream(_) => {
                debug_assert!(false, "these take the connection over");
                return;
            }
        };
        self.asked = Some(Asked {
            publish,
            body: Vec::new(),
            body_bytes: 0,
        });
    }

    /// The next request takes the connection over: it waits for the answers to those before it.
    pub(super) fn wait_to_take_over(&mut self) {
        self.reader = Reader::default();
        self.takes_over = true;
    }

    /// The head that was read last is read again.
    pub(super) fn wait_to_read_again(&mut self) {
        self.reader = Reader::default();
    }

    /// Whether the next request takes the connection over.
    pub(super) fn takes_over(&self) -> bool {
        self.takes_over
    }

    // ---- answers

    /// The answer of this number will follow.
    pub(super) fn reserve(&mut self) -> u64 {
        self.answers.queue.push_back(None);
        self.answers.first + self.answers.queue.len() as u64 - 1
    }

    /// The answer that was awaited.
    pub(super) fn give(&mut self, number: u64, answer: Answer) {
        let at = number.checked_sub(self.answers.first);
        let at = at.and_then(|at| usize::try_from(at).ok());
        if let Some(place) = at.and_then(|at| self.answers.queue.get_mut(at)) {
            debug_assert!(place.is_none(), "each is answered once");
            *place = Some(answer);
        } else {
            debug_assert!(false, "it has a place until it is given");
        }
    }

    /// An answer behind those before it.
    pub(super) fn push(&mut self, answer: Answer) {
        self.answers.push(answer);
    }

    /// The next answer that is ready.
    pub(super) fn poll_answer(&mut self) -> Option<Answer> {
        self.answers.queue.front()?.as_ref()?;
        self.answers.first += 1;
        self.answers.queue.pop_front().flatten()
    }

    /// No further request is read.
    pub(super) fn finish(&mut self) {
        self.answers.is_last = true;
    }

    /// The same, and this is the last answer.
    pub(super) fn finish_with(&mut self, answer: Answer) {
        self.answers.finish_with(answer);
    }

    // ---- where it stands

    /// Requests without their answer, and answers that wait for one of those.
    pub(super) fn unanswered_count(&self) -> usize {
        self.answers.queue.len()
    }

    /// Whether no further request is read.
    pub(super) fn is_last(&self) -> bool {
        self.answers.is_last
    }

    /// Whether nothing more is to be read for now, `max` answers being the most that may be awaited.
    pub(super) fn is_full(&self, max: usize) -> bool {
        let unanswered = self.unanswered_count();
        unanswered >= max || self.takes_over && unanswered > 0
    }

    /// Whether everything asked is answered, and nothing more was asked.
    pub(super) fn is_idle(&self) -> bool {
        self.unanswered_count() == 0 && !self.is_inside_request() && !self.is_last()
    }

    /// Whether all is answered, and nothing more is read.
    pub(super) fn is_done(&self) -> bool {
        self.unanswered_count() == 0 && self.is_last()
    }

    /// Whether a request has begun and is not complete.
    pub(super) fn is_inside_request(&self) -> bool {
        !self.is_last() && self.reader.is_inside_request()
    }

    /// The memory of what is not complete.
    pub(super) fn held_bytes(&self) -> usize {
        let body = self.asked.as_ref().map_or(0, |asked| asked.body.len());
        self.reader.held_bytes() + body
    }
}

impl Answers {
    fn push(&mut self, answer: Answer) {
        self.queue.push_back(Some(answer));
    }

    fn finish_with(&mut self, answer: Answer) {
        self.push(answer);
        self.is_last = true;
    }
}

/// Takes bytes of the body of the request; the last answer, if that is too long.
fn take_body(asked: &mut Option<Asked>, bytes: &[u8], bytes_max: usize) -> Option<Answer> {
    let request = asked.as_mut()?;
    request.body_bytes += bytes.len();
    if request.body_bytes <= bytes_max {
        if request.publish.is_ok() {
            request.body.extend_from_slice(bytes);
        }
        return None;
    }
    Some(match asked.take()?.publish {
        Ok(publish) => {
            let channel = Some(publish.channel.as_str());
            Answer::too_large(bytes_max, channel).with_fields(&publish.fields)
        }
        Err(answer) => answer.persistent(false),
    })
}

/// Bytes of a body that cost a unit of work.
const BYTES_A_UNIT: usize = 2_048;

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
