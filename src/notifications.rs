//! A bounded queue from one thread to another, which can also wake a reactor.
//!
//! When it is full nothing waits and nothing vanishes unseen: what does not fit is dropped, and
//! an [`Received::Gap`] stands in its place.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mio::Waker;

use crate::{bridge::feed::Fed, channel::Channel};

/// A notification of PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The channel it came on.
    pub channel: Channel,
    /// What it carries; bytes that were not UTF-8 are replaced.
    pub payload: String,
}

/// What a [`PostgresListener`](crate::PostgresListener) hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A notification, in commit order.
    Notification(Notification),
    /// Something may be missing here: the connection was lost and is back, or the queue was full.
    Gap,
}

/// The receiving end of a [`PostgresListener`](crate::PostgresListener).
#[derive(Debug)]
pub struct Notifications {
    queue: Arc<Queue<Received>>,
}

impl Notifications {
    pub(crate) fn new(queue: Arc<Queue<Received>>) -> Self {
        Self { queue }
    }

    /// Waits for the next one; `None` when the listener is gone.
    pub fn recv(&self) -> Option<Received> {
        self.queue.recv(None)
    }

    /// Waits at most `timeout` for the next one.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Received> {
        self.queue.recv(Some(timeout))
    }

    /// The next one, if it is there.
    pub fn try_recv(&self) -> Option<Received> {
        self.queue.lock().items.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().items.is_empty()
    }

    pub(crate) fn poll_fed(&self) -> Option<Fed> {
        Some(match self.try_recv()? {
            Received::Notification(it) => Fed::Notification(it.channel, it.payload),
            Received::Gap => Fed::Overflow,
        })
    }

    /// Wakes a reactor with each arrival from now on.
    pub(crate) fn attach(&self, waker: Option<Arc<Waker>>) {
        self.queue.lock().waker = waker;
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Items on their way from one thread to another.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// One of the two ends is gone.
    closed: bool,
    waker: Option<Arc<Waker>>,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            closed: false,
            waker: None,
        };
        Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            capacity: capacity.max(1),
        }
    }

    /// False when it is full, or nobody receives any more: the item is dropped.
    pub(crate) fn push(&self, item: T) -> bool {
        let mut state = self.lock();
        if state.closed || state.items.len() >= self.capacity {
            return false;
        }
        self.put(&mut state, item);
        true
    }

    pub(crate) fn recv(&self, timeout: Option<Duration>) -> Option<T> {
        let state = self.lock();
        let is_waiting = |state: &mut State<T>| state.items.is_empty() && !state.closed;
        let mut state = match timeout {
            None => self.arrived.wait_while(state, is_waiting),
            Some(timeout) => self
                .arrived
                .wait_timeout_while(state, timeout, is_waiting)
                .map(|(state, _)| state)
                .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
        }
        .unwrap_or_else(PoisonError::into_inner);
        state.items.pop_front()
    }

    /// Nothing more is taken; what is there can still be received.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    fn put(&self, state: &mut State<T>, item: T) {
        state.items.push_back(item);
        self.arrived.notify_one();
        if state.items.len() == 1 {
            if let Some(waker) = &state.waker {
                // It fails only when the poll is gone, and then nobody is left to be woken.
                let _woken = waker.wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue<Received> {
    /// Hands over `received`, or leaves a gap in its place.
    pub(crate) fn hand_over(&self, received: Received) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if state.items.len() < self.capacity {
            self.put(&mut state, received);
        } else if state.items.back() != Some(&Received::Gap) {
            self.put(&mut state, Received::Gap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(payload: &str) -> Received {
        let channel = Channel::new("c").unwrap();
        Received::Notification(Notification {
            channel,
            payload: payload.to_owned(),
        })
    }

    #[test]
    fn a_full_queue_leaves_one_gap_where_it_dropped() {
        let queue = Arc::new(Queue::new(2));
        let notifications = Notifications::new(Arc::clone(&queue));
        for payload in ["1", "2", "3", "4"] {
            queue.hand_over(notification(payload));
        }
        assert_eq!(notifications.recv(), Some(notification("1")));
        assert_eq!(notifications.recv(), Some(notification("2")));
        queue.hand_over(notification("5"));
        assert_eq!(notifications.recv(), Some(Received::Gap));
        assert_eq!(notifications.recv(), Some(notification("5")));
        assert_eq!(notifications.try_recv(), None);
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_then_ends() {
        let queue = Arc::new(Queue::new(2));
        let notifications = Notifications::new(Arc::clone(&queue));
        queue.hand_over(notification("1"));
        queue.close();
        queue.hand_over(notification("2"));
        assert_eq!(notifications.recv(), Some(notification("1")));
        assert_eq!(notifications.recv(), None);
    }
}
