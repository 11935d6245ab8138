//! Clients that wait for an answer about them, and the answers on their way.
//!
//! Owns who is asked about, and the message that waits meanwhile. Refuses to know who answers, and what
//! becomes of the client.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    access::{
        intent::{Decision, Intent},
        question::{QuestionId, Ruling},
        visitor::Verdict,
    },
    id::ClientId,
    message::{ClientMessage, RequestId},
};

/// By slot. Empty where nobody is asked, which is all that a read of another client looks at.
#[derive(Debug, Default)]
pub(super) struct Asking {
    dialogues: HashMap<u32, Dialogue>,
    /// The number of the next question.
    next: u64,
    /// What the messages that wait cost.
    bytes: usize,
}

/// The questions that one request, or one message, leads to: one after the other.
#[derive(Debug)]
struct Dialogue {
    /// The last one.
    question: QuestionId,
    /// What that is about, and since when its answer is awaited.
    awaited: Option<(About, Instant)>,
    verdict: Option<Verdict>,
    decision: Option<Decision>,
    message: Option<Held>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Visit,
    Do,
}

/// A message that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: ClientMessage,
    pub(super) id: Option<RequestId>,
}

impl Asking {
    /// Somebody is asked whether the client may come in.
    pub(super) fn ask_visit(&mut self, client: ClientId, now: Instant) -> QuestionId {
        self.ask(client, About::Visit, now)
    }

    /// Somebody is asked whether the client may do what it wants.
    pub(super) fn ask_intent(&mut self, client: ClientId, now: Instant) -> QuestionId {
        self.ask(client, About::Do, now)
    }

    /// The same about what a message wants, which waits.
    pub(super) fn hold(&mut self, client: ClientId, held: Held, now: Instant) -> QuestionId {
        let question = self.ask(client, About::Do, now);
        self.bytes += held.bytes();
        if let Some(dialogue) = self.dialogues.get_mut(&client.slot) {
            debug_assert!(dialogue.message.is_none(), "nothing is read behind one");
            dialogue.message = Some(held);
        }
        question
    }

    fn ask(&mut self, client: ClientId, about: About, now: Instant) -> QuestionId {
        let question = QuestionId {
            client,
            number: self.next,
        };
        self.next += 1;
        let dialogue = self.dialogues.entry(client.slot).or_insert(Dialogue {
            question,
            awaited: None,
            verdict: None,
            decision: None,
            message: None,
        });
        dialogue.question = question;
        dialogue.awaited = Some((about, now));
        question
    }

    // ---- answers

    /// An answer; whether it was waited for.
    pub(super) fn answer(&mut self, question: QuestionId, ruling: Ruling) -> bool {
        let dialogue = self.dialogues.get_mut(&question.client.slot);
        let Some(dialogue) = dialogue.filter(|it| it.question == question) else {
            return false;
        };
        let about = dialogue.awaited.map(|(about, _)| about);
        match (about, ruling) {
            (Some(About::Visit), Ruling::Visit(verdict)) => dialogue.verdict = Some(verdict),
            (Some(About::Do), Ruling::Do(decision)) => dialogue.decision = Some(decision),
            (Some(_), _) | (None, _) => return false,
        }
        dialogue.awaited = None;
        true
    }

    /// The clients that have waited for so long.
    pub(super) fn overdue(&self, timeout: Duration, now: Instant) -> Vec<u32> {
        let is_overdue =
            |it: &Dialogue| it.awaited.is_some_and(|(_, since)| now >= since + timeout);
        let overdue = self.dialogues.iter().filter(|(_, it)| is_overdue(it));
        let mut slots: Vec<_> = overdue.map(|(&slot, _)| slot).collect();
        slots.sort_unstable();
        slots
    }

    /// The question whose answer the client waits for, and what counts as that if none comes.
    pub(super) fn unanswered(&self, slot: u32) -> Option<(QuestionId, Ruling)> {
        let dialogue = self.dialogues.get(&slot)?;
        let (about, _) = dialogue.awaited?;
        let in_place = match about {
            About::Visit => Ruling::Visit(Verdict::Unavailable(VISIT_OVERDUE.to_owned())),
            About::Do => Ruling::Do(Decision::Unavailable(INTENT_OVERDUE.to_owned())),
        };
        Some((dialogue.question, in_place))
    }

    /// Whether an answer about the client is still to come.
    pub(super) fn is_waiting(&self, slot: u32) -> bool {
        let dialogue = self.dialogues.get(&slot);
        dialogue.is_some_and(|it| it.awaited.is_some())
    }

    /// Whether the client may come in, once that was answered.
    pub(super) fn verdict(&self, slot: u32) -> Option<&Verdict> {
        self.dialogues.get(&slot)?.verdict.as_ref()
    }

    /// Whether the client may do what it wants, once that was answered.
    pub(super) fn decision(&self, slot: u32) -> Option<&Decision> {
        self.dialogues.get(&slot)?.decision.as_ref()
    }

    /// The message that waited, if one did, with the answer about it.
    pub(super) fn take_decided(&mut self, slot: u32) -> Option<(Held, Decision)> {
        let dialogue = self.dialogues.get_mut(&slot)?;
        let held = dialogue.message.take()?;
        self.bytes -= held.bytes();
        let dialogue = self.dialogues.remove(&slot)?;
        Some((held, dialogue.decision?))
    }

    /// The client is gone, or its request has become what it is to become.
    pub(super) fn forget(&mut self, slot: u32) {
        if self.dialogues.is_empty() {
            return;
        }
        let held = self.dialogues.remove(&slot).and_then(|it| it.message);
        self.bytes -= held.map_or(0, |it| it.bytes());
    }

    /// What the messages that wait cost, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Costs are those of the messages, each of which waits for its answer.
    pub(super) fn check_invariants(&self) {
        let held = self.dialogues.values().filter_map(|it| it.message.as_ref());
        assert_eq!(self.bytes, held.map(Held::bytes).sum::<usize>());
        let mut dialogues = self.dialogues.values();
        assert!(dialogues.all(|it| it.message.is_none() || it.awaited.is_some()));
    }
}

impl Held {
    /// What it costs while it waits, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let id = match &self.id {
            Some(RequestId::Text(text)) => text.len(),
            Some(RequestId::Unsigned(_) | RequestId::Signed(_)) | None => 0,
        };
        let content = match &self.message {
            ClientMessage::Subscribe(channel, since) => {
                channel.as_str().len() + since.as_ref().map_or(0, |it| it.epoch.len())
            }
            ClientMessage::Notify(channel, payload) => {
                channel.as_str().len() + payload.as_str().len()
            }
            ClientMessage::Unsubscribe(_) | ClientMessage::Ping | ClientMessage::Auth(_) => 0,
        };
        size_of::<(u32, Dialogue)>() + id + content
    }

    /// What it wants that somebody may have to be asked about.
    pub(super) fn intent(&self) -> Option<Intent> {
        match &self.message {
            ClientMessage::Subscribe(channel, _) => Some(Intent::Subscribe(vec![channel.clone()])),
            ClientMessage::Notify(channel, _) => Some(Intent::Notify(channel.clone())),
            ClientMessage::Unsubscribe(_) | ClientMessage::Ping | ClientMessage::Auth(_) => None,
        }
    }
}

const VISIT_OVERDUE: &str = "nobody has said in time whether this client may come in";
const INTENT_OVERDUE: &str = "nobody has said in time whether this client may do that";
