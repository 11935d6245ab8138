//! What holds for every row, whichever there are, and the docs beside them.

use std::collections::BTreeSet;

use super::*;
use crate::{laid_out, metrics::text::PAGE_BYTES};

#[test]
fn the_table_of_metrics_in_the_docs_is_that_of_the_program() {
    laid_out::check("docs/operating.md", "src/metrics/table.rs", &docs());
}

/// Each family has its help and type before all of its samples, of which none comes twice.
#[test]
fn the_page_is_well_formed_and_complete_from_the_start() {
    let page = Metrics::default().text(&Gauges::default());
    assert!(page.ends_with('\n') && page.len() < PAGE_BYTES);
    let mut samples = BTreeSet::new();
    let mut lines = page.lines().peekable();
    for family in FAMILIES {
        let Family {
            name, kind, help, ..
        } = family;
        assert_eq!(lines.next(), Some(&*format!("# HELP {name} {help}")));
        assert_eq!(lines.next(), Some(&*format!("# TYPE {name} {kind}")));
        let mut count = 0;
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(samples.insert(sample), "{line}");
            assert!(is_of(family, sample), "{line}");
            count += 1;
        }
        // What the operating system does not tell has none, nor has a certificate that there is not.
        let is_told = !name.starts_with("process_") && !name.ends_with("_expiry_seconds");
        assert_eq!(count > 0, is_told, "{name}");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn a_row_is_named_and_described_as_its_kind_demands() {
    let mut names = BTreeSet::new();
    for Family {
        name,
        kind,
        label,
        help,
        note,
        values,
        ..
    } in FAMILIES
    {
        assert!(names.insert(name), "{name} comes twice");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(
            help.ends_with('.') && !help.contains(['\\', '\n']),
            "{name}"
        );
        assert!(note.is_empty() || note.ends_with('.'), "{name}");
        assert!(
            values.is_empty() || !label.is_empty(),
            "{name} names no label"
        );
    }
}

#[test]
fn the_first_connection_of_a_session_is_no_reconnect() {
    let metrics = Metrics {
        listening_connects: 3,
        publishing_connects: 0,
        ..Metrics::default()
    };
    let page = metrics.text(&Gauges::default());
    for (session, count) in [("listening", 2), ("publishing", 0)] {
        let sample = format!("\nalle_postgres_reconnects_total{{session=\"{session}\"}} {count}\n");
        assert!(page.contains(&sample), "{sample}");
    }
}

/// Whether a sample has the name, the label and the value of a label that its row says.
fn is_of(family: &Family, sample: &str) -> bool {
    let Family {
        name,
        label,
        values,
        ..
    } = family;
    let Some(rest) = sample.strip_prefix(name) else {
        return false;
    };
    if family.kind == Kind::Histogram {
        return ["_bucket{le=\"", "_sum", "_count"]
            .iter()
            .any(|suffix| rest.starts_with(suffix));
    }
    let value = rest
        .strip_prefix(&format!("{{{label}=\""))
        .and_then(|it| it.strip_suffix("\"}"));
    match value {
        None => label.is_empty() && rest.is_empty(),
        Some(value) => values.is_empty() || values.iter().any(|(known, _)| *known == value),
    }
}

fn docs() -> String {
    let mut docs = String::from("\n| metric | type | meaning |\n| --- | --- | --- |\n");
    for family in FAMILIES {
        let Family {
            kind, name, label, ..
        } = family;
        let label = Some(label).filter(|label| !label.is_empty());
        let label = label
            .map(|label| format!("{{{label}}}"))
            .unwrap_or_default();
        docs.push_str(&format!(
            "| `{name}{label}` | {kind} | {} |\n",
            meaning(family)
        ));
    }
    docs.push('\n');
    docs
}

fn meaning(family: &Family) -> String {
    let mut meaning = family.help.to_owned();
    if !family.note.is_empty() {
        meaning.push_str(&format!(" {}", family.note));
    }
    let values = family
        .values
        .iter()
        .map(|(value, meaning)| format!("`{value}`: {meaning}"));
    let values: Vec<_> = values.collect();
    if !values.is_empty() {
        meaning.push_str(&format!(" {}.", values.join("; ")));
    }
    meaning
}
