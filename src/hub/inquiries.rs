//! Questions to the function of the database, and who waits for the answers.
//!
//! One question for a token, whoever asks; so many at a time; so many that wait, and so long. Owns
//! what was answered a short while ago. Knows neither how a question reaches PostgreSQL nor what
//! becomes of a client: it answers, and the hub acts.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use super::complaints::Complaints;
use crate::{
    access::{
        Credential,
        function::{TokenDigest, Verdicts},
        secret::Secret,
    },
    id::{ClientId, Clock},
    message::RequestId,
};

/// The questions, and the answers that are remembered.
#[derive(Debug)]
pub(super) struct Inquiries {
    verdicts: Verdicts,
    timeout: Duration,
    /// Not answered, by number.
    inquiries: HashMap<u32, Inquiry>,
    /// The number of each.
    numbers: HashMap<TokenDigest, u32>,
    /// Those that are not under way, in their order.
    queue: VecDeque<u32>,
    under_way: usize,
    /// Clients by slot.
    waiting: HashMap<u32, Waiting>,
    /// To be told.
    concerns: VecDeque<Concern>,
    complaints: Complaints,
    next: u32,
}

/// Where a question comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub(super) slot: u32,
    pub(super) address: Option<IpAddr>,
    /// Of the request; a message has none.
    pub(super) path: Option<&'a str>,
}

/// One question.
#[derive(Debug)]
pub(super) struct Inquiry {
    pub(super) token: Secret,
    pub(super) address: Option<String>,
    pub(super) path: Option<String>,
    digest: TokenDigest,
    /// Since then it is under way; `None`: it is not.
    asked_at: Option<Instant>,
    /// Clients that wait.
    slots: Vec<u32>,
    /// Clients that are in by this token already.
    holders: Vec<ClientId>,
}

#[derive(Debug)]
struct Waiting {
    digest: TokenDigest,
    since: Instant,
    answer: Option<Answer>,
    /// The message that brought the token, if one did.
    auth: Option<(Secret, Option<RequestId>)>,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The token is somebody's, or nobody's.
    Verdict(Option<Credential>),
    /// The function failed.
    Failed,
    /// Too many wait, or the database is silent for too long.
    Unavailable,
}

/// Who is concerned by an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Concern {
    /// The client waited for it, and has it now.
    Waiting(u32),
    /// The client is in by the token, which is this now.
    Holder(ClientId, Option<Credential>),
}

impl Inquiries {
    /// At most `verdicts_max` answers are remembered, and nobody waits for longer than `timeout`.
    pub(super) fn new(verdicts_max: usize, timeout: Duration) -> Self {
        Self {
            verdicts: Verdicts::new(verdicts_max),
            timeout,
            inquiries: HashMap::new(),
            numbers: HashMap::new(),
            queue: VecDeque::new(),
            under_way: 0,
            waiting: HashMap::new(),
            concerns: VecDeque::new(),
            complaints: Complaints::default(),
            next: 0,
        }
    }

    /// Whose the token is, as far as that is known; `None`: the client waits from now on, if it did
    /// not before.
    pub(super) fn ask(&mut self, token: &Secret, from: Origin<'_>, now: Instant) -> Option<Answer> {
        let digest = TokenDigest::of(token);
        match self.waiting.get_mut(&from.slot) {
            Some(waiting) if waiting.digest == digest => {
                let answer = waiting.answer.take()?;
                self.waiting.remove(&from.slot);
                return Some(answer);
            }
            Some(_) => self.forget(from.slot),
            None => {}
        }
        if let Some(verdict) = self.verdicts.find(digest, now) {
            return Some(Answer::Verdict(verdict));
        }
        if self.waiting.len() >= WAITING_MAX {
            return Some(Answer::Unavailable);
        }
        let inquiry = self.inquiry(token, digest, from.address, from.path);
        inquiry.slots.push(from.slot);
        let waiting = Waiting {
            digest,
            since: now,
            answer: None,
            auth: None,
        };
        self.waiting.insert(from.slot, waiting);
        None
    }

    /// The same about the token that a client is in by.
    pub(super) fn ask_again(
        &mut self,
        token: &Secret,
        client: ClientId,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Option<Option<Credential>> {
        let digest = TokenDigest::of(token);
        let known = self.verdicts.find(digest, now);
        if known.is_none() {
            let inquiry = self.inquiry(token, digest, address, None);
            inquiry.holders.push(client);
        }
        known
    }

    fn inquiry(
        &mut self,
        token: &Secret,
        digest: TokenDigest,
        address: Option<IpAddr>,
        path: Option<&str>,
    ) -> &mut Inquiry {
        let number = match self.numbers.get(&digest) {
            Some(&number) => number,
            None => {
                let number = self.next;
                self.next = self.next.wrapping_add(1);
                self.numbers.insert(digest, number);
                self.queue.push_back(number);
                number
            }
        };
        self.inquiries.entry(number).or_insert_with(|| Inquiry {
            token: token.clone(),
            address: address.map(|it| it.to_string()),
            path: path.map(str::to_owned),
            digest,
            asked_at: None,
            slots: Vec::new(),
            holders: Vec::new(),
        })
    }

    // ---- to the database and back

    /// The next question, which is under way from now on.
    pub(super) fn poll(&mut self, now: Instant) -> Option<(u32, &Inquiry)> {
        if self.under_way >= UNDER_WAY_MAX {
            return None;
        }
        loop {
            let number = self.queue.pop_front()?;
            // Nobody may want to know any more.
            if let Some(inquiry) = self.inquiries.get_mut(&number) {
                inquiry.asked_at = Some(now);
                self.under_way += 1;
                break Some((number, &self.inquiries[&number]));
            }
        }
    }

    /// A question was answered.
    pub(super) fn handle_answer(
        &mut self,
        number: u32,
        answer: impl FnOnce(&Inquiry) -> Answer,
        clock: &Clock,
    ) {
        let Some(inquiry) = self.inquiries.remove(&number) else {
            debug_assert!(false, "a question under way stays");
            return;
        };
        self.under_way -= 1;
        self.numbers.remove(&inquiry.digest);
        let answer = answer(&inquiry);
        if let Answer::Verdict(verdict) = &answer {
            let (now, since_1970) = (clock.now(), clock.since_1970());
            self.verdicts
                .insert(inquiry.digest, verdict.clone(), now, since_1970);
            let holders = inquiry.holders.into_iter();
            let concerns = holders.map(|it| Concern::Holder(it, verdict.clone()));
            self.concerns.extend(concerns);
        }
        for slot in inquiry.slots {
            if let Some(waiting) = self.waiting.get_mut(&slot) {
                waiting.answer = Some(answer.clone());
                self.concerns.push_back(Concern::Waiting(slot));
            }
        }
    }

    /// Who is to be told next.
    pub(super) fn poll_concern(&mut self) -> Option<Concern> {
        while let Some(concern) = self.concerns.pop_front() {
            // It may be gone, and its slot another one's.
            let is_gone = match concern {
                Concern::Waiting(slot) => !self.has_answer(slot),
                Concern::Holder(..) => false,
            };
            if !is_gone {
                return Some(concern);
            }
        }
        None
    }

    /// Whether somebody is.
    pub(super) fn has_concerns(&self) -> bool {
        !self.concerns.is_empty()
    }

    /// The function failed; whether the log is to say so.
    pub(super) fn handle_failure(&mut self, number: u32, sqlstate: &str, clock: &Clock) -> bool {
        self.handle_answer(number, |_| Answer::Failed, clock);
        self.complaints.is_due(sqlstate, clock.now())
    }

    /// Whether the question that is under way was asked so long ago.
    pub(super) fn has_waited(&self, number: u32, time: Duration, now: Instant) -> bool {
        let asked_at = self.inquiries.get(&number).and_then(|it| it.asked_at);
        asked_at.is_some_and(|asked_at| now >= asked_at + time)
    }

    /// A question is to be asked again, before the others.
    pub(super) fn handle_again(&mut self, number: u32) {
        if let Some(inquiry) = self.inquiries.get_mut(&number) {
            inquiry.asked_at = None;
            self.under_way -= 1;
            self.queue.push_front(number);
            self.drop_if_unwanted(number);
        }
    }

    /// The session is gone: what was under way is asked again.
    pub(super) fn handle_down(&mut self) {
        let mut lost: Vec<_> = self
            .inquiries
            .iter()
            .filter(|(_, inquiry)| inquiry.asked_at.is_some())
            .map(|(&number, _)| number)
            .collect();
        // In the order asked, as far as numbers tell.
        lost.sort_unstable_by(|one, other| other.cmp(one));
        for number in lost {
            self.handle_again(number);
        }
        debug_assert_eq!(self.under_way, 0, "all of them were asked on that session");
    }

    /// Everything that was said may be otherwise by now.
    pub(super) fn clear_verdicts(&mut self) {
        self.verdicts.clear();
    }

    // ---- who waits

    /// Whether the client waits for an answer.
    pub(super) fn is_waiting(&self, slot: u32) -> bool {
        let waiting = self.waiting.get(&slot);
        waiting.is_some_and(|waiting| waiting.answer.is_none())
    }

    fn has_answer(&self, slot: u32) -> bool {
        let waiting = self.waiting.get(&slot);
        waiting.is_some_and(|waiting| waiting.answer.is_some())
    }

    /// How many do.
    pub(super) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// The client waits, for what came in a message.
    pub(super) fn keep_auth(&mut self, slot: u32, token: Secret, id: Option<RequestId>) {
        if let Some(waiting) = self.waiting.get_mut(&slot) {
            waiting.auth = Some((token, id));
        }
    }

    /// The message that is answered now, if it was one.
    pub(super) fn take_auth(&mut self, slot: u32) -> Option<(Secret, Option<RequestId>)> {
        self.waiting.get_mut(&slot)?.auth.take()
    }

    /// Clients that have waited for too long are told so.
    pub(super) fn note_overdue(&mut self, now: Instant) {
        let mut overdue = Vec::new();
        for (&slot, waiting) in &mut self.waiting {
            if waiting.answer.is_none() && now >= waiting.since + self.timeout {
                waiting.answer = Some(Answer::Unavailable);
                overdue.push((slot, waiting.digest));
            }
        }
        overdue.sort_unstable();
        for (slot, digest) in overdue {
            self.leave(slot, digest);
            self.concerns.push_back(Concern::Waiting(slot));
        }
    }

    /// The client is gone, or waits no longer.
    pub(super) fn forget(&mut self, slot: u32) {
        if let Some(waiting) = self.waiting.remove(&slot) {
            self.leave(slot, waiting.digest);
        }
    }

    fn leave(&mut self, slot: u32, digest: TokenDigest) {
        let Some(&number) = self.numbers.get(&digest) else {
            return;
        };
        if let Some(inquiry) = self.inquiries.get_mut(&number) {
            inquiry.slots.retain(|&it| it != slot);
        }
        self.drop_if_unwanted(number);
    }

    /// A question that nobody waits for is not asked.
    fn drop_if_unwanted(&mut self, number: u32) {
        let Some(inquiry) = self.inquiries.get(&number) else {
            return;
        };
        let is_wanted = !inquiry.slots.is_empty() || !inquiry.holders.is_empty();
        if !is_wanted && inquiry.asked_at.is_none() {
            self.numbers.remove(&inquiry.digest);
            self.inquiries.remove(&number);
        }
    }

    /// Counts are those of the questions, and whoever waits has one.
    pub(super) fn check_invariants(&self) {
        let under_way = self.inquiries.values().filter(|it| it.asked_at.is_some());
        assert_eq!(self.under_way, under_way.count());
        assert!(self.under_way <= UNDER_WAY_MAX && self.waiting.len() <= WAITING_MAX);
        assert_eq!(self.inquiries.len(), self.numbers.len());
        let mut slots = self.inquiries.values().flat_map(|it| &it.slots);
        assert!(slots.all(|slot| self.waiting.contains_key(slot)));
    }
}

/// Questions under way at a time.
pub(super) const UNDER_WAY_MAX: usize = 64;
/// Clients that wait at a time.
pub(super) const WAITING_MAX: usize = 1_024;

#[cfg(test)]
mod tests;
