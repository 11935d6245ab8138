//! The pages of metrics of all workers as one: added up, or what fits the family better.
//!
//! Reads Prometheus's text as our own workers write it. Refuses to know what is counted, but for the
//! families of which a sum would be no figure.

use std::{collections::HashMap, fmt::Write as _};

/// Families and samples, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    families: Vec<Family>,
    /// By the name and labels of a sample.
    samples: HashMap<String, f64>,
}

#[derive(Clone, Debug)]
struct Family {
    name: String,
    /// The lines `HELP` and `TYPE`.
    head: String,
    is_gauge: bool,
    /// Names and labels.
    samples: Vec<String>,
}

/// How the figures of two workers make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    Sum,
    Least,
    Most,
}

impl Pages {
    /// Adds a page.
    pub(super) fn add(&mut self, page: &str) {
        self.add_lines(page, true);
    }

    /// Adds what only rises, of a worker that is no more: a sum that fell would be taken for a
    /// restart of everything.
    pub(super) fn add_counters(&mut self, page: &str) {
        self.add_lines(page, false);
    }

    /// The same of pages that were added before.
    pub(super) fn add_pages(&mut self, other: &Self) {
        self.add(&other.text());
    }

    fn add_lines(&mut self, page: &str, has_gauges: bool) {
        let mut at = None;
        let mut help = "";
        for line in page.lines() {
            if line.starts_with("# HELP ") {
                help = line;
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap_or((kind, ""));
                let is_gauge = kind == "gauge";
                at = (has_gauges || !is_gauge).then(|| self.family(name, help, line, is_gauge));
            } else if let (Some(at), Some((sample, value))) = (at, line.rsplit_once(' '))
                && let Ok(value) = value.parse()
            {
                self.note(at, sample, value);
            }
        }
    }

    /// Where the family of this name is.
    fn family(&mut self, name: &str, help: &str, kind: &str, is_gauge: bool) -> usize {
        let known = self.families.iter().position(|it| it.name == name);
        known.unwrap_or_else(|| {
            self.families.push(Family {
                name: name.to_owned(),
                head: format!("{help}\n{kind}\n"),
                is_gauge,
                samples: Vec::new(),
            });
            self.families.len() - 1
        })
    }

    fn note(&mut self, at: usize, sample: &str, value: f64) {
        let family = &mut self.families[at];
        let Some(sum) = self.samples.get_mut(sample) else {
            family.samples.push(sample.to_owned());
            self.samples.insert(sample.to_owned(), value);
            return;
        };
        match join(&family.name, family.is_gauge) {
            Join::Sum => *sum += value,
            Join::Least => *sum = sum.min(value),
            Join::Most => *sum = sum.max(value),
        }
    }

    /// Prometheus's text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for family in &self.families {
            text.push_str(&family.head);
            for sample in &family.samples {
                writeln!(text, "{sample} {}", self.samples[sample]).expect("a String takes all");
            }
        }
        text
    }
}

/// One sample of a page.
pub(super) fn value<'a>(page: &'a str, sample: &str) -> Option<&'a str> {
    let mut lines = page.lines();
    lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))
}

fn join(name: &str, is_gauge: bool) -> Join {
    let unlike = UNLIKE.iter().find(|(family, _)| *family == name);
    match unlike {
        Some((_, join)) if is_gauge => *join,
        Some(_) | None => Join::Sum,
    }
}

/// The gauges that are not added up.
const UNLIKE: [(&str, Join); 14] = [
    ("alle_build_info", Join::Most),
    // One worker that is cut off is a fault of the whole.
    ("alle_postgres_up", Join::Least),
    ("alle_postgres_proved", Join::Least),
    ("alle_postgres_publishing_stalled", Join::Most),
    ("alle_postgres_notification_queue_usage", Join::Most),
    // Each worker has the channels of all.
    ("alle_channels_listened", Join::Most),
    ("alle_channels_used", Join::Most),
    ("alle_channels_kept", Join::Most),
    ("alle_group_peers", Join::Most),
    ("alle_group_channels_mirrored", Join::Most),
    ("alle_group_offsets", Join::Most),
    // They have the same files, and may read them one after the other.
    ("alle_tls_certificate_expiry_seconds", Join::Least),
    ("process_start_time_seconds", Join::Least),
    ("process_max_fds", Join::Least),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Gauges, Metrics};

    const ONE: &str = "# HELP a_total Counted.\n# TYPE a_total counter\n\
        a_total{x=\"1\"} 2\na_total{x=\"2\"} 0.5\n\
        # HELP alle_postgres_up Up.\n# TYPE alle_postgres_up gauge\nalle_postgres_up 1\n";
    const OTHER: &str = "# HELP a_total Counted.\n# TYPE a_total counter\n\
        a_total{x=\"1\"} 40\na_total{x=\"3\"} 7\n\
        # HELP alle_postgres_up Up.\n# TYPE alle_postgres_up gauge\nalle_postgres_up 0\n\
        # HELP b Now.\n# TYPE b gauge\nb 3\n";

    #[test]
    fn samples_are_added_up_and_families_stay_together() {
        let mut pages = Pages::default();
        pages.add(ONE);
        pages.add(OTHER);
        assert_eq!(
            pages.text(),
            "# HELP a_total Counted.\n# TYPE a_total counter\n\
             a_total{x=\"1\"} 42\na_total{x=\"2\"} 0.5\na_total{x=\"3\"} 7\n\
             # HELP alle_postgres_up Up.\n# TYPE alle_postgres_up gauge\nalle_postgres_up 0\n\
             # HELP b Now.\n# TYPE b gauge\nb 3\n"
        );
    }

    #[test]
    fn of_a_worker_that_is_no_more_stays_what_only_rises() {
        let mut ended = Pages::default();
        ended.add_counters(ONE);
        let mut pages = Pages::default();
        pages.add(OTHER);
        pages.add_pages(&ended);
        let text = pages.text();
        assert_eq!(value(&text, "a_total{x=\"1\"}"), Some("42"));
        assert_eq!(value(&text, "alle_postgres_up"), Some("0"));
        assert!(!ended.text().contains("alle_postgres_up"));
    }

    #[test]
    fn a_page_of_ours_alone_stays_as_it_is() {
        let page = Metrics::default().text(&Gauges::default());
        let mut pages = Pages::default();
        pages.add(&page);
        assert_eq!(pages.text(), page);
    }

    #[test]
    fn each_family_that_is_not_added_up_is_a_gauge_of_the_page() {
        let process = Gauges {
            start_seconds: Some(1.0),
            files_max: Some(1),
            ..Gauges::default()
        };
        let metrics = Metrics {
            tls_certificate_expiry: Some(1),
            ..Metrics::default()
        };
        let page = metrics.text(&process);
        for (name, _) in UNLIKE {
            assert!(page.contains(&format!("# TYPE {name} gauge\n")), "{name}");
        }
    }
}
