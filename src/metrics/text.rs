//! Prometheus's text (exposition format 0.0.4): the only place that knows that format.
//!
//! Refuses to know which metrics there are.

use std::fmt::{self, Display, Write as _};

use super::{histogram::Histogram, tally::Tally};

/// The media type of [`Metrics::text`](super::Metrics::text).
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text, family after family: [`begin`](Self::begin), then all samples of that family.
pub(super) struct Page {
    text: String,
    name: &'static str,
    /// Empty if the samples have none.
    label: &'static str,
}

impl Page {
    /// The head of a family; all samples up to the next one are its own.
    pub(super) fn begin(
        &mut self,
        kind: Kind,
        name: &'static str,
        label: &'static str,
        help: &str,
    ) {
        (self.name, self.label) = (name, label);
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// The samples of a field. `value` is that of the label; it is empty if the family has none, or
    /// if the field has a sample for each value.
    pub(super) fn samples(&mut self, value: &str, field: &impl Samples) {
        field.append_to(self, value);
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn sample(&mut self, value: impl Display, number: impl Display) {
        let (name, label) = (self.name, self.label);
        if label.is_empty() {
            self.line(format_args!("{name} {number}"));
        } else {
            self.line(format_args!("{name}{{{label}=\"{value}\"}} {number}"));
        }
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a String takes everything");
    }
}

impl Default for Page {
    fn default() -> Self {
        Self {
            text: String::with_capacity(PAGE_BYTES),
            name: "",
            label: "",
        }
    }
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// The type of a field of the table.
pub(super) trait Samples {
    fn append_to(&self, page: &mut Page, value: &str);
}

impl Samples for u64 {
    fn append_to(&self, page: &mut Page, value: &str) {
        page.sample(value, self);
    }
}

impl Samples for usize {
    fn append_to(&self, page: &mut Page, value: &str) {
        page.sample(value, self);
    }
}

impl Samples for f64 {
    fn append_to(&self, page: &mut Page, value: &str) {
        page.sample(value, self);
    }
}

/// Where it is unknown there is no sample.
impl<S: Samples> Samples for Option<S> {
    fn append_to(&self, page: &mut Page, value: &str) {
        if let Some(known) = self {
            known.append_to(page, value);
        }
    }
}

impl Samples for bool {
    fn append_to(&self, page: &mut Page, value: &str) {
        page.sample(value, u8::from(*self));
    }
}

impl<K: Copy + Display + PartialEq, const N: usize> Samples for Tally<K, N> {
    fn append_to(&self, page: &mut Page, _value: &str) {
        for (key, count) in self.iter() {
            page.sample(key, count);
        }
    }
}

impl Samples for Histogram {
    fn append_to(&self, page: &mut Page, _value: &str) {
        let (name, per_unit) = (page.name, self.per_unit());
        for (bound, count) in self.cumulated() {
            let bound = bound as f64 / per_unit;
            page.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {count}"));
        }
        let (count, sum) = (self.count(), self.sum() as f64 / per_unit);
        page.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {count}"));
        page.line(format_args!("{name}_sum {sum}"));
        page.line(format_args!("{name}_count {count}"));
    }
}

/// The version of this crate, as the label of a constant 1.
#[derive(Clone, Copy, Debug)]
pub struct Build;

impl Samples for Build {
    fn append_to(&self, page: &mut Page, _value: &str) {
        page.sample(env!("CARGO_PKG_VERSION"), 1);
    }
}

/// More than a page has.
pub(super) const PAGE_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests;
