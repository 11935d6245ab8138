//! What holds for every row, whichever there are, and the docs beside them.

use std::{collections::BTreeSet, env, fs, path::Path};

use super::*;
use crate::metrics::text::PAGE_BYTES;

#[test]
fn the_table_of_metrics_in_the_docs_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let written = fs::read_to_string(&path).unwrap();
    let (before, rest) = written.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}{}{END}{after}", docs());
    if env::var_os(UPDATE).is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == expected,
        "docs/operating.md is behind src/metrics/table.rs; this lays its table out again: \
         {UPDATE}=1 cargo test --lib the_table_of_metrics"
    );
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
        assert!(count > 0, "{name} has no sample");
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

const BEGIN: &str = "<!-- laid out from src/metrics/table.rs: begin -->\n";
const END: &str = "\n<!-- laid out from src/metrics/table.rs: end -->";
/// Set, the test writes what it wants to see.
const UPDATE: &str = "ALLE_UPDATE_DOCS";
