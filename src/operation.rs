//! [`Operation`]: a call that takes time, for programs with an async runtime and for those without.
//!
//! Owns the one place where an outcome waits, and the wakers of its one waiter. Knows no runtime, and
//! not what the call is about: the work is done by the thread that waits, or by one of ours.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

/// A call under way, and its outcome.
///
/// A program with an async runtime awaits it: it is a [`Future`], driven by the waker of whatever
/// runtime polls it, and it never blocks the thread that polls. A program without one calls
/// [`wait`](Self::wait), which blocks. Neither needs a runtime of this crate; there is none.
///
/// ```no_run
/// # use alle::{ListenerError, PostgresListener};
/// # fn without_a_runtime(listener: &PostgresListener) -> Result<(), ListenerError> {
/// listener.notify("orders", "new").wait()?;
/// # Ok(())
/// # }
/// # async fn with_a_runtime(listener: &PostgresListener) -> Result<(), ListenerError> {
/// listener.notify("orders", "new").await?;
/// # Ok(())
/// # }
/// ```
///
/// To drop it is to wait no longer. That neither blocks nor takes anything back: a notification
/// that was on its way is still sent. The one exception is an operation that serves
/// ([`Bridge::run`](crate::Bridge::run) and its kin): nobody else would end it, so the server is
/// asked to stop.
#[must_use = "the outcome is known once it is awaited, or waited for by `.wait()`"]
pub struct Operation<T> {
    state: State<T>,
}

enum State<T> {
    /// The outcome is known.
    Ready(T),
    /// The call begins when somebody waits for it.
    Unbegun(Box<Task<T>>),
    /// Another thread tells.
    Pending(Pending<T>),
    /// The outcome was taken.
    Taken,
}

/// A call that serves until it is told to stop.
pub(crate) struct Task<T> {
    /// The name of the thread, where it needs one.
    pub(crate) name: &'static str,
    /// The call itself.
    pub(crate) run: Box<dyn FnOnce() -> T + Send>,
    /// Asks it to stop, without waiting.
    pub(crate) stop: Box<dyn FnOnce() + Send>,
    /// The outcome where the system has no thread for it, or the thread panicked.
    pub(crate) lost: fn(io::Error) -> T,
}

struct Pending<T> {
    place: Arc<Place<T>>,
    lost: fn(io::Error) -> T,
    stop: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Operation<T> {
    /// The outcome is known.
    pub(crate) fn ready(outcome: T) -> Self {
        let state = State::Ready(outcome);
        Self { state }
    }

    /// A call that begins when it is waited for.
    pub(crate) fn unbegun(task: Task<T>) -> Self {
        let state = State::Unbegun(Box::new(task));
        Self { state }
    }

    /// A call whose outcome comes by the promise; by `lost` where that is dropped.
    pub(crate) fn pending(lost: fn(io::Error) -> T) -> (Promise<T>, Self) {
        let place = Arc::new(Place::default());
        let promise = Promise(Some(Arc::clone(&place)));
        let stop = None;
        let state = State::Pending(Pending { place, lost, stop });
        (promise, Self { state })
    }

    /// The outcome of a call that another thread does, if it is there already.
    #[cfg(test)]
    pub(crate) fn try_outcome(&self) -> Option<T> {
        match &self.state {
            State::Pending(pending) => pending.place.lock().outcome.take(),
            State::Ready(_) | State::Unbegun(_) | State::Taken => None,
        }
    }

    /// Blocks until the call is over.
    ///
    /// An operation that serves does it on this very thread. Inside an async runtime, `.await` the
    /// operation instead.
    ///
    /// # Panics
    ///
    /// If it was polled to its end before.
    pub fn wait(mut self) -> T {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready(outcome) => outcome,
            State::Unbegun(task) => (task.run)(),
            State::Pending(pending) => {
                let outcome = pending.place.wait();
                outcome.unwrap_or_else(|| (pending.lost)(thread_ended()))
            }
            State::Taken => panic!("{TAKEN}"),
        }
    }
}

impl<T: Send + 'static> Operation<T> {
    /// Begins the call on a thread of its own.
    ///
    /// # Errors
    ///
    /// The system has no thread for it.
    pub(crate) fn spawn(task: Task<T>) -> io::Result<Self> {
        let Task {
            name,
            run,
            stop,
            lost,
        } = task;
        let (promise, mut operation) = Self::pending(lost);
        let thread = thread::Builder::new().name(name.to_owned());
        // It is never joined: nothing of ours blocks where a destructor runs.
        thread.spawn(move || promise.keep(run()))?;
        if let State::Pending(pending) = &mut operation.state {
            pending.stop = Some(stop);
        }
        Ok(operation)
    }
}

impl<T: Send + 'static> Future for Operation<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if let State::Pending(pending) = &mut self.state {
            let polled = pending.place.poll(context.waker());
            let Poll::Ready(outcome) = polled else {
                return Poll::Pending;
            };
            let outcome = outcome.unwrap_or_else(|| (pending.lost)(thread_ended()));
            self.state = State::Taken;
            return Poll::Ready(outcome);
        }
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready(outcome) => Poll::Ready(outcome),
            State::Unbegun(task) => {
                let lost = task.lost;
                match Self::spawn(*task) {
                    Ok(mut begun) => {
                        std::mem::swap(&mut self.state, &mut begun.state);
                        self.poll(context)
                    }
                    Err(error) => Poll::Ready(lost(error)),
                }
            }
            State::Pending(_) | State::Taken => panic!("{TAKEN}"),
        }
    }
}

/// No pointer into it exists.
impl<T> Unpin for Operation<T> {}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take().filter(|_| !self.place.is_over()) {
            stop();
        }
        self.place.abandon();
    }
}

impl<T> fmt::Debug for Operation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Ready(_) => "Operation(ready)",
            State::Unbegun(_) => "Operation(not begun)",
            State::Pending(_) => "Operation(pending)",
            State::Taken => "Operation(over)",
        })
    }
}

fn thread_ended() -> io::Error {
    io::Error::other("the thread that does it has ended")
}

/// The side that brings the outcome. To drop it tells that there will be none.
pub(crate) struct Promise<T>(Option<Arc<Place<T>>>);

impl<T> Promise<T> {
    /// Brings the outcome; if nobody waits for it any more, that is dropped.
    pub(crate) fn keep(mut self, outcome: T) {
        if let Some(place) = self.0.take() {
            place.end(Some(outcome));
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(place) = self.0.take() {
            place.end(None);
        }
    }
}

impl<T> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}

/// Where an outcome waits for the one that wants it.
struct Place<T> {
    state: Mutex<PlaceState<T>>,
    changed: Condvar,
}

struct PlaceState<T> {
    outcome: Option<T>,
    /// The promise was kept, or dropped.
    is_over: bool,
    /// Nobody wants the outcome any more.
    is_abandoned: bool,
    waker: Option<Waker>,
}

impl<T> Default for Place<T> {
    fn default() -> Self {
        let state = PlaceState {
            outcome: None,
            is_over: false,
            is_abandoned: false,
            waker: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }
}

impl<T> Place<T> {
    /// The call is over. What is dropped or woken here is so without the lock.
    fn end(&self, outcome: Option<T>) {
        let mut state = self.lock();
        state.is_over = true;
        let unwanted = if state.is_abandoned {
            outcome
        } else {
            state.outcome = outcome;
            None
        };
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        drop(unwanted);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait(&self) -> Option<T> {
        let waited = self.changed.wait_while(self.lock(), |it| !it.is_over);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.outcome.take()
    }

    fn poll(&self, waker: &Waker) -> Poll<Option<T>> {
        let mut state = self.lock();
        if state.is_over {
            return Poll::Ready(state.outcome.take());
        }
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            unknown => *unknown = Some(waker.clone()),
        }
        Poll::Pending
    }

    fn is_over(&self) -> bool {
        self.lock().is_over
    }

    fn abandon(&self) {
        let mut state = self.lock();
        state.is_abandoned = true;
        let unwanted = (state.outcome.take(), state.waker.take());
        drop(state);
        drop(unwanted);
    }

    fn lock(&self) -> MutexGuard<'_, PlaceState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const TAKEN: &str = "an operation is not polled again, nor waited for, once it has its outcome";

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        task::Wake,
    };

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll<T: Send + 'static>(operation: &mut Operation<T>, counter: &Arc<Counter>) -> Poll<T> {
        let waker = Waker::from(Arc::clone(counter));
        Pin::new(operation).poll(&mut Context::from_waker(&waker))
    }

    fn pending() -> (Promise<&'static str>, Operation<&'static str>) {
        Operation::pending(|_| "lost")
    }

    #[test]
    fn a_promise_that_is_kept_wakes_the_task_once() {
        let counter = Arc::default();
        let (promise, mut operation) = pending();
        for _ in 0..3 {
            assert_eq!(poll(&mut operation, &counter), Poll::Pending);
        }
        promise.keep("done");
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
        assert_eq!(poll(&mut operation, &counter), Poll::Ready("done"));
    }

    #[test]
    fn the_task_that_polled_last_is_woken() {
        let counters: [Arc<Counter>; 2] = Default::default();
        let (promise, mut operation) = pending();
        for counter in &counters {
            assert_eq!(poll(&mut operation, counter), Poll::Pending);
        }
        promise.keep("done");
        assert_eq!(counters.map(|it| it.0.load(Ordering::SeqCst)), [0, 1]);
    }

    #[test]
    fn a_promise_that_is_dropped_is_a_lost_call() {
        let (promise, operation) = pending();
        drop(promise);
        assert_eq!(operation.wait(), "lost");
    }

    #[test]
    fn a_thread_that_waits_gets_the_outcome() {
        let (promise, operation) = pending();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| operation.wait());
            promise.keep("done");
            assert_eq!(waiting.join().expect("it does not panic"), "done");
        });
    }

    #[test]
    fn an_outcome_that_nobody_wants_is_dropped_at_once() {
        let kept = Arc::new(());
        let (promise, operation) = Operation::pending(|_| unreachable!("it is kept"));
        drop(operation);
        promise.keep(Arc::clone(&kept));
        assert_eq!(Arc::strong_count(&kept), 1);

        let (promise, operation) = Operation::pending(|_| unreachable!("it is kept"));
        promise.keep(Arc::clone(&kept));
        assert_eq!(Arc::strong_count(&kept), 2);
        drop(operation);
        assert_eq!(Arc::strong_count(&kept), 1);
    }

    fn serving() -> (Task<&'static str>, mpsc::Receiver<()>) {
        let (stop, stopped) = mpsc::channel();
        let (told, seen) = mpsc::channel();
        let task = Task {
            name: "served",
            run: Box::new(move || {
                let is_stopped = stopped.recv().is_ok();
                told.send(()).expect("it is looked at");
                if is_stopped { "stopped" } else { "forgotten" }
            }),
            stop: Box::new(move || stop.send(()).expect("it runs")),
            lost: |_| "lost",
        };
        (task, seen)
    }

    #[test]
    fn what_serves_does_not_begin_before_it_is_polled_and_stops_when_it_is_dropped() {
        let (task, seen) = serving();
        drop(Operation::unbegun(task));
        assert!(seen.recv().is_err(), "it never ran");

        let (task, seen) = serving();
        let mut operation = Operation::unbegun(task);
        assert_eq!(poll(&mut operation, &Arc::default()), Poll::Pending);
        drop(operation);
        assert_eq!(seen.recv(), Ok(()), "it ran to its end");
    }

    #[test]
    fn a_thread_that_panics_is_a_lost_call() {
        let task = Task {
            name: "panics",
            run: Box::new(|| panic!("on purpose")),
            stop: Box::new(|| {}),
            lost: |error| error.to_string(),
        };
        let operation = Operation::spawn(task).expect("a thread");
        assert_eq!(operation.wait(), "the thread that does it has ended");
    }
}
