//! Holds a table of the docs to the rows in the code from which it is laid out.
//!
//! For tests alone. Owns the marks around a table and the variable that has it written. Refuses to
//! know what a table says.

use std::{env, fs, path::Path};

/// Panics unless what `document` has between the marks of `source` is `table`. `make tables` has it
/// written instead.
#[track_caller]
pub(crate) fn check(document: &str, source: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let written = fs::read_to_string(&path).expect("the document is there");
    let begin = format!("<!-- laid out from {source}: begin -->\n");
    let end = format!("<!-- laid out from {source}: end -->");
    let (before, rest) = written.split_once(&begin).expect("it has a first mark");
    let (found, after) = rest.split_once(&end).expect("it has a second mark");
    if env::var_os("ALLE_UPDATE_DOCS").is_some() {
        let whole = [before, &begin, table, &end, after].concat();
        fs::write(&path, whole).expect("the document can be written");
        return;
    }
    assert!(
        found == table,
        "{document} is behind {source}; `make tables` lays its table out again"
    );
}
