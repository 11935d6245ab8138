//! The requests of a stand-alone server's clients, on their way to the program around it.
//!
//! The queue stays bounded even if no thread receives. Knows no client: a request is one of all
//! clients together.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    channel::Channel,
    hub::feed::{Incoming, Taken},
    queue::{Queue, Receiver, Store},
};

/// The requests of the clients of a [`WebSocketServer`](crate::WebSocketServer).
///
/// Receiving is optional. Without it, a subscribe and an unsubscribe of the same channel cancel
/// each other, so that at most one of them waits for each channel; up to [`PUBLISHES_MAX`](Receiver::PUBLISHES_MAX)
/// publishes wait, and further ones are refused with `rate_limited`. Once the receiver is dropped,
/// publishes are refused with `postgres_down`.
pub type IncomingRequests = Receiver<Incoming>;

impl IncomingRequests {
    /// The most publishes that wait to be received; further ones are refused.
    pub const PUBLISHES_MAX: usize = 1_024;
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct RequestSender {
    queue: Arc<Queue<Requests>>,
}

impl RequestSender {
    pub(crate) fn hand_over(&self, request: Incoming) -> Taken {
        self.queue
            .put(|requests| requests.push(request))
            .unwrap_or(Taken::Never)
    }
}

impl Drop for RequestSender {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Both ends.
pub(crate) fn channel() -> (RequestSender, IncomingRequests) {
    let queue = Arc::new(Queue::new(Requests::default()));
    let sender = RequestSender {
        queue: Arc::clone(&queue),
    };
    (sender, IncomingRequests::new(queue))
}

/// Requests that wait to be received.
#[derive(Debug, Default)]
struct Requests {
    /// In the order of arrival: of each channel at most one subscribe or unsubscribe, and at most
    /// `PUBLISHES_MAX` publishes.
    items: BTreeMap<u64, Incoming>,
    /// The position in `items` of the subscribe or unsubscribe of a channel.
    changes: HashMap<Channel, u64>,
    next: u64,
}

impl Requests {
    fn push(&mut self, request: Incoming) -> Taken {
        match &request {
            Incoming::Subscribe(channel) | Incoming::Unsubscribe(channel) => {
                // The two alternate on a channel: the one that still waits is the opposite.
                if let Some(position) = self.changes.remove(channel) {
                    self.items.remove(&position);
                    return Taken::Yes;
                }
                self.changes.insert(channel.clone(), self.next);
            }
            Incoming::Notify(..) => {
                if self.items.len() - self.changes.len() >= IncomingRequests::PUBLISHES_MAX {
                    return Taken::Full;
                }
            }
        }
        self.items.insert(self.next, request);
        self.next += 1;
        Taken::Yes
    }
}

impl Store for Requests {
    type Item = Incoming;

    fn pop(&mut self) -> Option<Incoming> {
        let (_, request) = self.items.pop_first()?;
        match &request {
            Incoming::Subscribe(channel) | Incoming::Unsubscribe(channel) => {
                self.changes.remove(channel);
            }
            Incoming::Notify(..) => {}
        }
        Some(request)
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Payload;

    fn subscribe(name: &str) -> Incoming {
        Incoming::Subscribe(Channel::new(name).unwrap())
    }

    fn unsubscribe(name: &str) -> Incoming {
        Incoming::Unsubscribe(Channel::new(name).unwrap())
    }

    fn notify() -> Incoming {
        Incoming::Notify(Channel::new("a").unwrap(), Payload::new("").unwrap())
    }

    #[test]
    fn changes_that_nobody_received_cancel_each_other() {
        let mut requests = Requests::default();
        for _ in 0..100 {
            for request in [subscribe("a"), notify(), unsubscribe("a"), subscribe("b")] {
                requests.push(request);
                assert!(requests.changes.len() <= 2);
            }
            requests.push(unsubscribe("b"));
        }
        assert_eq!(requests.items.len(), 100, "the publishes");

        requests = Requests::default();
        requests.push(subscribe("a"));
        requests.push(subscribe("b"));
        assert_eq!(requests.pop(), Some(subscribe("a")));
        requests.push(unsubscribe("a"));
        assert_eq!(requests.pop(), Some(subscribe("b")));
        assert_eq!(requests.pop(), Some(unsubscribe("a")));
        assert_eq!(requests.pop(), None);
        assert!(requests.is_empty() && requests.changes.is_empty());
    }

    #[test]
    fn publishes_beyond_the_limit_are_refused() {
        let mut requests = Requests::default();
        requests.push(subscribe("a"));
        for _ in 0..IncomingRequests::PUBLISHES_MAX {
            assert_eq!(requests.push(notify()), Taken::Yes);
        }
        assert_eq!(requests.push(notify()), Taken::Full);
        assert_eq!(requests.push(subscribe("b")), Taken::Yes);
        assert_eq!(requests.pop(), Some(subscribe("a")));
        assert_eq!(requests.push(notify()), Taken::Full);
        assert_eq!(requests.pop(), Some(notify()));
        assert_eq!(requests.push(notify()), Taken::Yes);
    }

    #[test]
    fn nothing_is_taken_once_the_receiver_is_gone() {
        let (sender, incoming) = channel();
        assert_eq!(sender.hand_over(notify()), Taken::Yes);
        drop(incoming);
        assert_eq!(sender.hand_over(notify()), Taken::Never);
    }
}
