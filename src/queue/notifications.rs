//! The notifications that a listener hands to another thread.
//!
//! A full queue neither blocks nor loses notifications in silence: [`Received::Overflow`] takes the
//! place of the dropped ones. Knows neither their sender nor their use.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    channel::Channel,
    hub::feed::Fed,
    queue::{Queue, Receiver, Store},
};

/// A notification of PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification {
    /// The channel of the notification.
    pub channel: Channel,
    /// The payload; bytes that are not UTF-8 are replaced.
    pub payload: String,
    /// The id of the server's process whose session notified, as `pg_stat_activity.pid` has it.
    pub process_id: u32,
}

/// An item that a [`PostgresListener`](crate::PostgresListener) hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// A notification, in commit order.
    Notification(Notification),
    /// The connection was lost, and the channel is listened to again: the notifications in between
    /// are missing here. Each such channel has a gap of its own.
    Gap(Channel),
    /// The queue was full: notifications, or gaps, of any channel are missing here.
    Overflow,
}

/// The receiving end of a [`PostgresListener`](crate::PostgresListener).
///
/// A program without an async runtime iterates over it, or over a reference to it:
///
/// ```no_run
/// use alle::{PostgresListener, Received};
///
/// let (listener, notifications) =
///     PostgresListener::connect("postgresql://localhost/postgres", 1000).wait()?;
/// listener.listen("my_channel").wait()?;
/// for received in &notifications {
///     match received {
///         Received::Notification(it) => println!("[{}] {}", it.channel, it.payload),
///         Received::Gap(channel) => println!("something may be missing on {channel}"),
///         Received::Overflow => println!("we were too slow: something is missing"),
///         other => println!("new in this version of alle: {other:?}"),
///     }
/// }
/// # Ok::<(), alle::ListenerError>(())
/// ```
///
/// A program with one awaits [`recv`](Receiver::recv):
///
/// ```no_run
/// # async fn f(notifications: alle::Notifications) {
/// while let Some(received) = notifications.recv().await {
///     println!("{received:?}");
/// }
/// # }
/// ```
///
/// It ends when the listener is gone and every item was received.
pub type Notifications = Receiver<Received>;

impl Notifications {
    /// Of no listener: none will come.
    pub(crate) fn none() -> Self {
        let queue = Queue::new(Arrivals::new(1));
        queue.close();
        Self::new(Arc::new(queue))
    }

    pub(crate) fn poll_fed(&self) -> Option<Fed> {
        Some(match self.try_recv().ok()? {
            Received::Notification(it) => Fed::Notification(it.channel, it.payload),
            Received::Gap(channel) => Fed::Gap(channel),
            Received::Overflow => Fed::Overflow,
        })
    }
}

/// The items that wait to be received.
pub(crate) struct Arrivals {
    /// At most `capacity`, and an overflow behind them.
    items: VecDeque<Received>,
    /// At least one.
    capacity: usize,
}

impl Arrivals {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            items: VecDeque::new(),
            capacity: capacity.max(1),
        }
    }

    /// Takes `received`, or an overflow in its place if the queue is full.
    pub(crate) fn push(&mut self, received: Received) {
        if self.items.len() < self.capacity {
            self.items.push_back(received);
        } else if self.items.back() != Some(&Received::Overflow) {
            self.items.push_back(Received::Overflow);
        }
        debug_assert!(self.items.len() <= self.capacity + 1, "bounded");
    }
}

impl Store for Arrivals {
    type Item = Received;

    fn pop(&mut self) -> Option<Received> {
        self.items.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{RecvTimeoutError, TryRecvError},
        time::Duration,
    };

    use super::*;

    fn notification(payload: &str) -> Received {
        Received::Notification(Notification {
            channel: Channel::new("c").unwrap(),
            payload: payload.to_owned(),
            process_id: 1,
        })
    }

    fn queue(capacity: usize) -> (Arc<Queue<Arrivals>>, Notifications) {
        let queue = Arc::new(Queue::new(Arrivals::new(capacity)));
        (Arc::clone(&queue), Notifications::new(queue))
    }

    #[test]
    fn a_full_queue_leaves_one_overflow_where_it_dropped() {
        for (sent, kept) in [(1, 1), (2, 2), (3, 2), (9, 2)] {
            let (queue, notifications) = queue(2);
            for number in 1..=sent {
                queue.put(|arrivals| arrivals.push(notification(&number.to_string())));
            }
            for number in 1..=kept {
                let number = number.to_string();
                assert_eq!(notifications.try_recv(), Ok(notification(&number)));
            }
            queue.put(|arrivals| arrivals.push(notification("later")));
            if sent > kept {
                assert_eq!(notifications.try_recv(), Ok(Received::Overflow));
            }
            assert_eq!(notifications.try_recv(), Ok(notification("later")));
            assert_eq!(notifications.try_recv(), Err(TryRecvError::Empty));
        }
    }

    #[test]
    fn a_queue_of_no_capacity_takes_one() {
        let (queue, notifications) = queue(0);
        for payload in ["1", "2"] {
            queue.put(|arrivals| arrivals.push(notification(payload)));
        }
        queue.close();
        let received: Vec<_> = notifications.iter().collect();
        assert_eq!(received, [notification("1"), Received::Overflow]);
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_then_ends() {
        let (queue, notifications) = queue(2);
        queue.put(|arrivals| arrivals.push(notification("1")));
        let none = notifications.recv_timeout(Duration::ZERO);
        assert_eq!(none, Ok(notification("1")));
        let none = notifications.recv_timeout(Duration::ZERO);
        assert_eq!(none, Err(RecvTimeoutError::Timeout));
        queue.put(|arrivals| arrivals.push(notification("2")));
        queue.close();
        assert_eq!(queue.put(|arrivals| arrivals.push(notification("3"))), None);
        assert_eq!(notifications.recv().wait(), Some(notification("2")));
        assert_eq!(notifications.recv().wait(), None);
        assert_eq!(notifications.try_recv(), Err(TryRecvError::Disconnected));
        let none = notifications.recv_timeout(Duration::ZERO);
        assert_eq!(none, Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn a_thread_that_waits_is_woken_by_an_arrival_and_by_the_end() {
        let (queue, notifications) = queue(1);
        std::thread::scope(|scope| {
            let receiver = scope.spawn(|| [(); 2].map(|()| notifications.recv().wait()));
            queue.put(|arrivals| arrivals.push(notification("1")));
            queue.close();
            let received = receiver.join().expect("it does not panic");
            assert_eq!(received, [Some(notification("1")), None]);
        });
    }
}
