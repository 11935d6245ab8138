//! A queue in which sources take turns: a long one never makes a short one wait.
//!
//! Knows neither what waits nor what a source is.

use std::collections::{HashMap, VecDeque};

/// Items of many sources.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    /// By source, in the order pushed; no queue is empty.
    queues: HashMap<u32, Queue<T>>,
    /// Sources in `queues`, each once, the next one first.
    turns: VecDeque<u32>,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<T>,
    /// At so many, items that are of no use any more are sorted out.
    sort_out_at: usize,
}

impl<T> FairQueue<T> {
    /// Behind all of its source. Where these are many, those that `is_useful` rejects go.
    pub(super) fn push(&mut self, source: u32, item: T, is_useful: impl Fn(&T) -> bool) {
        let queue = self.queues.entry(source).or_insert_with(|| {
            self.turns.push_back(source);
            Queue {
                items: VecDeque::new(),
                sort_out_at: SORT_OUT_MIN,
            }
        });
        if queue.items.len() >= queue.sort_out_at {
            queue.items.retain(is_useful);
            queue.sort_out_at = SORT_OUT_MIN.max(queue.items.len() * 2);
        }
        queue.items.push_back(item);
    }

    /// The next item, of the source whose turn it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let source = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&source)?;
        let item = queue.items.pop_front();
        if queue.items.is_empty() {
            self.queues.remove(&source);
        } else {
            self.turns.push_back(source);
        }
        item
    }

    /// Nothing waits any more.
    pub(super) fn clear(&mut self) {
        self.queues.clear();
        self.turns.clear();
    }

    /// Everything that waits.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.queues.values().flat_map(|queue| &queue.items)
    }
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            queues: HashMap::new(),
            turns: VecDeque::new(),
        }
    }
}

/// Fewer are not worth the look.
const SORT_OUT_MIN: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_take_turns() {
        let mut queue = FairQueue::default();
        for item in [1, 2, 3] {
            queue.push(7, item, |_| true);
        }
        for item in [10, 11] {
            queue.push(8, item, |_| true);
        }
        assert_eq!(queue.pop(), Some(1));
        queue.push(9, 20, |_| true);
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, [10, 2, 20, 11, 3]);
    }

    #[test]
    fn useless_items_do_not_pile_up() {
        let mut queue = FairQueue::default();
        for item in 0..100_000 {
            queue.push(7, item, |&it| item - it < 100);
            assert!(queue.iter().count() <= SORT_OUT_MIN);
        }
    }
}
