//! From one thread to another: a queue that a thread or a task can wait for, and that can wake a
//! reactor.
//!
//! Knows whether either end is gone. The [`Store`] knows the items, and bounds their number.

pub(crate) mod lifecycle;
pub(crate) mod notifications;
pub(crate) mod requests;

use std::{
    fmt,
    future::Future,
    iter,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, TryRecvError},
    },
    task::{self, Context, Poll},
    time::Duration,
};

use mio::Waker;
use slab::Slab;

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

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().store.is_empty()
    }

    /// From now on, wakes a reactor whenever an item arrives in the empty queue.
    pub(crate) fn attach(&self, waker: Option<Arc<Waker>>) {
        self.lock().waker = waker;
    }

    pub(crate) fn recv(&self) -> Option<S::Item> {
        let waited = self.changed.wait_while(self.lock(), |it| it.is_pending());
        waited.unwrap_or_else(PoisonError::into_inner).store.pop()
    }

    pub(crate) fn recv_timeout(&self, timeout: Duration) -> Result<S::Item, RecvTimeoutError> {
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

    pub(crate) fn try_recv(&self) -> Result<S::Item, TryRecvError> {
        let mut state = self.lock();
        match state.store.pop() {
            Some(item) => Ok(item),
            None if state.closed => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    /// The sending end is gone: the items that wait can still be received.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        wake(state);
    }

    /// The receiving end is gone: the items that wait are dropped.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        while state.store.pop().is_some() {}
    }

    /// The next item, or the task of `waker` is woken when there may be one. `key` names the task
    /// from one poll to the next: a task that goes is to be [forgotten](Receive::forget).
    pub(crate) fn poll_recv(
        &self,
        key: &mut Option<usize>,
        waker: &task::Waker,
    ) -> Poll<Option<S::Item>> {
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

/// The receiving end of a queue, whatever its store.
trait Receive<T>: Sync {
    fn wait(&self) -> Option<T>;

    fn poll(&self, key: &mut Option<usize>, waker: &task::Waker) -> Poll<Option<T>>;

    fn forget(&self, key: Option<usize>);
}

impl<S: Store> Receive<S::Item> for Queue<S> {
    fn wait(&self) -> Option<S::Item> {
        self.recv()
    }

    fn poll(&self, key: &mut Option<usize>, waker: &task::Waker) -> Poll<Option<S::Item>> {
        self.poll_recv(key, waker)
    }

    fn forget(&self, key: Option<usize>) {
        let forgotten = key.map(|key| self.lock().tasks.remove(key));
        drop(forgotten);
    }
}

/// Waits for the next item: await it, or [`wait`](Self::wait) for it.
///
/// To drop it is to wait no longer; no item is lost by that.
#[must_use = "the item comes once it is awaited, or waited for by `.wait()`"]
pub struct Recv<'a, T> {
    queue: &'a dyn Receive<T>,
    key: Option<usize>,
}

impl<'a, T> Recv<'a, T> {
    fn new(queue: &'a dyn Receive<T>) -> Self {
        Self { queue, key: None }
    }

    /// Blocks until there is an item, or until there will be none any more.
    pub fn wait(self) -> Option<T> {
        self.queue.wait()
    }
}

impl<T> Future for Recv<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let queue = self.queue;
        queue.poll(&mut self.key, context.waker())
    }
}

impl<T> Drop for Recv<'_, T> {
    fn drop(&mut self) {
        self.queue.forget(self.key);
    }
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recv")
    }
}

/// An iterator that blocks until each item is there.
pub(crate) type Blocking<'a, T> = iter::FromFn<Box<dyn FnMut() -> Option<T> + Send + 'a>>;

pub(crate) fn blocking<'a, T>(next: impl FnMut() -> Option<T> + Send + 'a) -> Blocking<'a, T> {
    iter::from_fn(Box::new(next))
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
