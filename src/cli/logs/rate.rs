//! How many lines one place of the source may write in a second: a net below the limits of the
//! places themselves, for whatever peers may think of.
//!
//! Holds for errors, warnings and information; whoever asks for more has them all. Knows no text.

#![expect(
    clippy::disallowed_methods,
    reason = "the command line is a shell: it reads the clock"
)]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Event, Level, Metadata, callsite::Identifier};
use tracing_subscriber::layer::{Context, Filter};

use super::queue::Queue;

/// Lets through what is within the rate.
#[derive(Debug)]
pub(super) struct Rate {
    /// By place: as many as there are in the source.
    places: Mutex<HashMap<Identifier, Second>>,
    /// Counts what is dropped.
    queue: Arc<Queue>,
}

/// The second that began with a line.
#[derive(Debug)]
struct Second {
    began: Instant,
    lines: u32,
}

impl Rate {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        Self {
            places: Mutex::default(),
            queue,
        }
    }

    fn takes(&self, place: Identifier, now: Instant) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let second = places.entry(place).or_insert(Second {
            began: now,
            lines: 0,
        });
        if now.saturating_duration_since(second.began) >= Duration::from_secs(1) {
            *second = Second {
                began: now,
                lines: 0,
            };
        }
        second.lines = second.lines.saturating_add(1);
        second.lines <= LINES_MAX
    }
}

impl<S> Filter<S> for Rate {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Lines about clients that left are as many by a count of their own, which tells the rest.
        let is_bounded = *metadata.level() == Level::INFO && metadata.target() == "alle::client";
        let is_taken = *metadata.level() > Level::INFO
            || is_bounded
            || self.takes(metadata.callsite(), Instant::now());
        if !is_taken {
            self.queue.note_dropped();
        }
        is_taken
    }
}

/// Of one place, in a second.
const LINES_MAX: u32 = 50;

#[cfg(test)]
mod tests {
    use tracing::callsite::{Callsite, DefaultCallsite};

    use super::*;

    #[test]
    fn a_place_has_50_lines_a_second() {
        static META: Metadata<'static> = tracing::metadata! {
            name: "a place",
            target: "alle",
            level: Level::WARN,
            fields: &[],
            callsite: &PLACE,
            kind: tracing::metadata::Kind::EVENT,
        };
        static PLACE: DefaultCallsite = DefaultCallsite::new(&META);
        let place = Identifier(&PLACE as &dyn Callsite);
        let rate = Rate::new(Arc::default());
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for (moment, lines) in [(0, 50), (999, 0), (1_000, 50), (2_500, 50)] {
            let taken = (0..60).filter(|_| rate.takes(place.clone(), at(moment)));
            assert_eq!(taken.count(), lines, "{moment}");
        }
    }
}
