//! What a server tells its program of clients and of itself, on its way to another thread.
//!
//! A full queue neither blocks the server nor leaves something out in silence:
//! [`LifecycleEvent::Omitted`] takes the place of what is missing.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    hub::lifecycle::LifecycleEvent,
    queue::{Queue, Receiver, Store},
};

/// The receiving end of [`Bridge::with_lifecycle`](crate::Bridge::with_lifecycle).
///
/// A reader that is too slow delays nobody: what does not fit is counted, and
/// [`LifecycleEvent::Omitted`] says how much is missing where it is. Once this is dropped, nothing is
/// kept any more.
pub type LifecycleEvents = Receiver<LifecycleEvent>;

/// The server's end.
#[derive(Debug)]
pub(crate) struct LifecycleSender {
    queue: Arc<Queue<Events>>,
}

impl LifecycleSender {
    /// Never blocks for longer than the receiver takes to take one.
    pub(crate) fn tell(&self, event: LifecycleEvent) {
        self.queue.put(|events| events.push(event));
    }
}

impl Drop for LifecycleSender {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Both ends, for at most `capacity` events that wait.
pub(crate) fn channel(capacity: usize) -> (LifecycleSender, LifecycleEvents) {
    let queue = Arc::new(Queue::new(Events {
        items: VecDeque::new(),
        capacity: capacity.max(1),
    }));
    let sender = LifecycleSender {
        queue: Arc::clone(&queue),
    };
    (sender, LifecycleEvents::new(queue))
}

/// Events that wait to be received.
#[derive(Debug)]
struct Events {
    /// At most `capacity`, and the number of those that are missing behind them.
    items: VecDeque<LifecycleEvent>,
    /// At least one.
    capacity: usize,
}

impl Events {
    fn push(&mut self, event: LifecycleEvent) {
        if self.items.len() < self.capacity {
            self.items.push_back(event);
        } else if let Some(LifecycleEvent::Omitted(count)) = self.items.back_mut() {
            *count += 1;
        } else {
            self.items.push_back(LifecycleEvent::Omitted(1));
        }
        debug_assert!(self.items.len() <= self.capacity + 1, "bounded");
    }
}

impl Store for Events {
    type Item = LifecycleEvent;

    fn pop(&mut self) -> Option<LifecycleEvent> {
        self.items.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::receiver::Receive as _;

    #[test]
    fn what_a_full_queue_leaves_out_is_counted_where_it_is_missing() {
        for (told, kept, omitted) in [(1, 1, 0), (2, 2, 0), (3, 2, 1), (9, 2, 7)] {
            let (sender, events) = channel(2);
            for _ in 0..told {
                sender.tell(LifecycleEvent::Up);
            }
            for _ in 0..kept {
                assert_eq!(events.try_recv(), Ok(LifecycleEvent::Up));
            }
            sender.tell(LifecycleEvent::Down);
            if omitted > 0 {
                assert_eq!(events.try_recv(), Ok(LifecycleEvent::Omitted(omitted)));
            }
            assert_eq!(events.try_recv(), Ok(LifecycleEvent::Down));
            drop(sender);
            assert_eq!(events.iter().next(), None);
        }
    }

    #[test]
    fn a_queue_of_no_capacity_takes_one() {
        let (sender, events) = channel(0);
        for _ in 0..2 {
            sender.tell(LifecycleEvent::Up);
        }
        drop(sender);
        let told: Vec<_> = events.into_iter().collect();
        assert_eq!(told, [LifecycleEvent::Up, LifecycleEvent::Omitted(1)]);
    }

    #[test]
    fn nothing_is_kept_for_a_reader_that_is_gone() {
        let (sender, events) = channel(2);
        sender.tell(LifecycleEvent::Up);
        drop(events);
        sender.tell(LifecycleEvent::Down);
        assert!(sender.queue.is_empty());
    }
}
