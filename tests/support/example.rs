//! Where the programs of `examples/` are.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The program of this example.
///
/// Examples are built by `cargo test`; not by `cargo test --test NAME`, which must not run an
/// outdated one.
pub fn example(name: &str) -> PathBuf {
    let how = format!("first: cargo build --example {name}");
    let tests = std::env::current_exe().unwrap();
    let path = tests
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples")
        .join(name);
    let built = last_change(&path).expect(&how);
    // The files it was built from, as cargo recorded them.
    let sources = fs::read_to_string(path.with_extension("d")).unwrap();
    let mut sources = sources.split_whitespace().skip(1).map(Path::new);
    let newer = sources.find(|path| last_change(path).is_none_or(|changed| changed > built));
    assert_eq!(newer, None, "{how}");
    path
}

fn last_change(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
