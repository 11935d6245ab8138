//! The requests of callers to the listener's thread, and how many of them may be unanswered.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::ListenerError;
use crate::{
    channel::{Channel, Payload},
    operation::Promise,
};

/// A call under way, or the end.
#[derive(Debug)]
pub(super) enum Request {
    Listen(Channel, Reply),
    Unlisten(Channel, Reply),
    Notify(Channel, Payload, Reply),
    /// What was asked before is finished first; then the caller, if there is one, is told.
    End(Option<Promise<()>>),
}

/// The answer owed to a caller. It holds the caller's place among the unanswered ones.
#[derive(Debug)]
pub(super) struct Reply {
    promise: Promise<Result<(), ListenerError>>,
    _place: Option<Place>,
}

impl Reply {
    pub(super) fn new(promise: Promise<Result<(), ListenerError>>, place: Option<Place>) -> Self {
        let _place = place;
        Self { promise, _place }
    }
}

/// Answers a caller.
pub(super) fn answer(reply: Reply, result: Result<(), ListenerError>) {
    reply.promise.keep(result);
}

/// The calls that are not answered yet, counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Unanswered(Arc<AtomicUsize>);

/// The place of one of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Unanswered);

impl Unanswered {
    /// A place for one more, unless there are `max` already.
    pub(super) fn take_place(&self, max: usize) -> Option<Place> {
        let place = Place(self.clone());
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        (before < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let unanswered = Unanswered::default();
        let places = [(); 2].map(|()| unanswered.take_place(2));
        assert!(places.iter().all(Option::is_some));
        assert!(unanswered.take_place(2).is_none());
        drop(places);
        assert!(unanswered.take_place(1).is_some());
    }
}
