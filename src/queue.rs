//! From one thread to another: a queue that a thread or a task can wait for, and that can wake a
//! reactor.
//!
//! Knows whether either end is gone. The [`Store`] knows the items, and bounds their number.

pub(crate) mod lifecycle;
pub(crate) mod notifications;
mod receiver;
pub(crate) mod requests;

use std::{
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, TryRecvError},
    },
    task::{self, Poll},
    time::Duration,
};

use mio::Waker;
use slab::Slab;

use self::receiver::Receive;
pub use self::receiver::{Receiver, Recv};

/// The items that wait in a [`Queue`]. A store bounds itself.
pub(crate) trait Store: Send {
    type Item;

    fn pop(&mut self) -> Option<Self::Item>;

    fn is_empty(&self) -> bool;
}

/// Items on their way from one thread to another.
pub(crate) struct Queue<S> {
    state: Mutex<State<S>>,
    changed: Condvar,
}

struct State<S> {
    store: S,
    /// One of the two ends is gone.
    closed: bool,
    /// Of a reactor that is fed.
    waker: Option<Arc<Waker>>,
    /// Tasks that wait, each under its own key until it goes; a woken one has left its place empty.
    tasks: Slab<Option<task::Waker>>,
}

impl<S: Store> Queue<S> {
    pub(crate) fn new(store: S) -> Self {
        let state = State {
            store,
            closed: false,
            waker: None,
            tasks: Slab::new(),
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Lets `put` add to the store; `None`, without a call of it, when an end is gone.
    pub(crate) fn put<R>(&self, put: impl FnOnce(&mut S) -> R) -> Option<R> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        let was_empty = state.store.is_empty();
        let result = put(&mut state.store);
        if !state.store.is_empty() {
            self.changed.notify_one();
            if let (true, Some(waker)) = (was_empty, &state.waker) {
                // An error means that the poll is gone, and then no reactor is left to be woken.
                let _woken = waker.wake();
            }
            wake(state);
        }
        Some(result)
    }

    /// The sending end is gone: the items that wait can still be received.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        wake(state);
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes every task that waits, without the lock: a waker may do whatever it likes.
fn wake<S>(mut state: MutexGuard<'_, State<S>>) {
    if state.tasks.is_empty() {
        return;
    }
    let tasks = state.tasks.iter_mut();
    let woken: Vec<_> = tasks.filter_map(|(_, task)| task.take()).collect();
    drop(state);
    woken.into_iter().for_each(task::Waker::wake);
}

impl<S: Store> Receive<S::Item> for Queue<S> {
    fn wait(&self) -> Option<S::Item> {
        let waited = self.changed.wait_while(self.lock(), |it| it.is_pending());
        waited.unwrap_or_else(PoisonError::into_inner).store.pop()
    }

    fn wait_for(&self, timeout: Duration) -> Result<S::Item, RecvTimeoutError> {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), timeout, |it| it.is_pending());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.store.pop() {
            Some(item) => Ok(item),
            None if state.closed => Err(RecvTimeoutError::Disconnected),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    fn take(&self) -> Result<S::Item, TryRecvError> {
        let mut state = self.lock();
        match state.store.pop() {
            Some(item) => Ok(item),
            None if state.closed => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    fn poll(&self, key: &mut Option<usize>, waker: &task::Waker) -> Poll<Option<S::Item>> {
        let mut state = self.lock();
        if !state.is_pending() {
            return Poll::Ready(state.store.pop());
        }
        let key = *key.get_or_insert_with(|| state.tasks.insert(None));
        match &mut state.tasks[key] {
            Some(known) => known.clone_from(waker),
            gone => *gone = Some(waker.clone()),
        }
        Poll::Pending
    }

    fn forget(&self, key: Option<usize>) {
        let forgotten = key.map(|key| self.lock().tasks.remove(key));
        drop(forgotten);
    }

    fn is_empty(&self) -> bool {
        self.lock().store.is_empty()
    }

    fn attach(&self, waker: Option<Arc<Waker>>) {
        self.lock().waker = waker;
    }

    fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        while state.store.pop().is_some() {}
    }
}

impl<S: Store> State<S> {
    fn is_pending(&self) -> bool {
        self.store.is_empty() && !self.closed
    }
}

impl<S> fmt::Debug for Queue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}
