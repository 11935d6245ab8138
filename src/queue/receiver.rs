//! The receiving end of a queue, as a program has it: for threads and for tasks.
//!
//! Refuses to know who sends, and what an item means.

use std::{
    fmt,
    future::Future,
    iter,
    pin::Pin,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, TryRecvError},
    },
    task::{self, Context, Poll},
    time::Duration,
};

use futures_core::Stream;

use super::{Queue, Store};

/// The receiving end of a queue whose other end a server or a listener has: [`Notifications`],
/// [`IncomingRequests`] and [`LifecycleEvents`] say what comes, and what becomes of it while nobody
/// receives.
///
/// A program without an async runtime iterates over it, or over a reference to it; a program with
/// one awaits [`recv`](Self::recv), or takes it for the [`Stream`] (`futures_core`) that it also is, and
/// that may be moved. It ends when the sender is gone and every item was received.
///
/// [`Notifications`]: crate::Notifications
/// [`IncomingRequests`]: crate::IncomingRequests
/// [`LifecycleEvents`]: crate::LifecycleEvents
pub struct Receiver<T> {
    queue: Arc<dyn Receive<T>>,
    /// Of the task that polls the stream.
    task: Option<usize>,
}

impl<T> Receiver<T> {
    pub(crate) fn new<S: Store<Item = T> + 'static>(queue: Arc<Queue<S>>) -> Self {
        Self { queue, task: None }
    }

    /// Waits for the next item; `None` when the sender is gone and every item was received. Await it,
    /// or block by [`.wait()`](Recv::wait).
    pub fn recv(&self) -> Recv<'_, T> {
        Recv {
            queue: &*self.queue,
            key: None,
        }
    }

    /// Blocks for at most `timeout` until the next item is there.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if no item arrived, [`RecvTimeoutError::Disconnected`] if none
    /// will: the sender is gone and every item was received.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.queue.wait_for(timeout)
    }

    /// The next item, if one waits.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if none waits, [`TryRecvError::Disconnected`] if none will arrive: the
    /// sender is gone and every item was received.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.queue.take()
    }

    /// Iterates over all items, blocking until each is there, until the sender is gone.
    pub fn iter(&self) -> impl Iterator<Item = T> + Send + '_ {
        self.into_iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// From now on, wakes a reactor whenever an item arrives in the empty queue.
    pub(crate) fn attach(&self, waker: Option<Arc<mio::Waker>>) {
        self.queue.attach(waker);
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Self { queue, task } = self.get_mut();
        queue.poll(task, context.waker())
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Blocking<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        blocking(|| self.recv().wait())
    }
}

impl<T: 'static> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = Blocking<'static, T>;

    fn into_iter(self) -> Self::IntoIter {
        blocking(move || self.recv().wait())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
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

impl<T> Recv<'_, T> {
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

/// A queue of these items, whatever its store.
pub(super) trait Receive<T>: Send + Sync {
    fn wait(&self) -> Option<T>;

    fn wait_for(&self, timeout: Duration) -> Result<T, RecvTimeoutError>;

    fn take(&self) -> Result<T, TryRecvError>;

    /// The next item, or the task of `waker` is woken when there may be one. `key` names the task
    /// from one poll to the next: a task that goes is to be forgotten.
    fn poll(&self, key: &mut Option<usize>, waker: &task::Waker) -> Poll<Option<T>>;

    fn forget(&self, key: Option<usize>);

    fn is_empty(&self) -> bool;

    /// From now on, wakes a reactor whenever an item arrives in the empty queue.
    fn attach(&self, waker: Option<Arc<mio::Waker>>);

    /// The receiving end is gone: the items that wait are dropped.
    fn abandon(&self);
}

/// An iterator that blocks until each item is there.
type Blocking<'a, T> = iter::FromFn<Box<dyn FnMut() -> Option<T> + Send + 'a>>;

fn blocking<'a, T>(next: impl FnMut() -> Option<T> + Send + 'a) -> Blocking<'a, T> {
    iter::from_fn(Box::new(next))
}
