//! What operators are told of all workers: health, readiness, metrics.
//!
//! Reads the places, and changes nothing. Knows no connection.

use std::{fmt::Write as _, time::Instant};

use super::{
    admin::Page,
    pages::{self, Pages},
    seat::Seat,
};
use crate::http::response::Status;

/// The status and the text of a page.
pub(super) fn answer(
    page: Page,
    seats: &[Seat],
    is_stopping: bool,
    now: Instant,
) -> (Status, String) {
    match page {
        Page::Health => (Status::Ok, "ok\n".to_owned()),
        Page::Readiness => readiness(seats, is_stopping, now),
        Page::Metrics => (Status::Ok, metrics(seats, now)),
    }
}

fn readiness(seats: &[Seat], is_stopping: bool, now: Instant) -> (Status, String) {
    if is_stopping {
        return (Status::ServiceUnavailable, "shutting down\n".to_owned());
    }
    let mut text = String::new();
    for seat in seats {
        if let Err(reason) = seat.readiness(now) {
            let number = seat.number();
            writeln!(text, "worker {number}: {reason}").expect("a String takes all");
        }
    }
    if text.is_empty() {
        (Status::Ok, "ready\n".to_owned())
    } else {
        (Status::ServiceUnavailable, text)
    }
}

/// What all workers counted, and what is known of each.
fn metrics(seats: &[Seat], now: Instant) -> String {
    let mut pages = Pages::default();
    for process in seats.iter().flat_map(Seat::processes) {
        pages.add(process.page());
    }
    for seat in seats {
        pages.add_pages(seat.ended());
    }
    let mut text = pages.text();
    for (name, kind, help, read) in OF_EACH {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a String takes all");
        for seat in seats {
            if let Some(value) = read(seat, now) {
                let number = seat.number();
                writeln!(text, "{name}{{worker=\"{number}\"}} {value}")
                    .expect("a String takes all");
            }
        }
    }
    text
}

/// A figure of one worker; none while there is no process of it.
type Read = fn(&Seat, Instant) -> Option<String>;

/// What is told of each worker: name, kind, help, and how it is read.
const OF_EACH: [(&str, &str, &str, Read); 8] = [
    (
        "alle_worker_ready",
        "gauge",
        "Whether the worker answers and is ready.",
        |seat, now| Some(u8::from(seat.readiness(now).is_ok()).to_string()),
    ),
    (
        "alle_worker_restarts_total",
        "counter",
        "Times the worker was started again because it had ended.",
        |seat, _| Some(seat.restarts().to_string()),
    ),
    (
        "alle_worker_tries",
        "gauge",
        "Ends within 10 s of a start, one after the other; at 5 the worker is given up.",
        |seat, _| Some(seat.tries().to_string()),
    ),
    (
        "alle_worker_process_id",
        "gauge",
        "The process that is the worker.",
        |seat, _| Some(seat.current()?.id().to_string()),
    ),
    (
        "alle_worker_clients",
        "gauge",
        "Open clients of the worker.",
        |seat, _| of_page(seat, "alle_clients{state=\"open\"}"),
    ),
    (
        "alle_worker_deliveries_total",
        "counter",
        "Notifications that this process put on their way, once per subscriber.",
        |seat, _| of_page(seat, "alle_deliveries_total"),
    ),
    (
        "alle_worker_cpu_seconds_total",
        "counter",
        "Processor time that this process used, in seconds.",
        |seat, _| of_page(seat, "process_cpu_seconds_total"),
    ),
    (
        "alle_worker_resident_memory_bytes",
        "gauge",
        "Memory of the worker in RAM.",
        |seat, _| of_page(seat, "process_resident_memory_bytes"),
    ),
];

fn of_page(seat: &Seat, sample: &str) -> Option<String> {
    pages::value(seat.current()?.page(), sample).map(str::to_owned)
}
