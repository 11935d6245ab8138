//! What `alle --version` says beside the version: the compiler, and the commit of a release build.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to a build script through the environment"
)]

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ALLE_BUILD_COMMIT");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = first_line(&rustc, &["--version"]).unwrap_or_default();
    // "rustc 1.88.0 (6b00bc388 2025-06-23)"
    let rustc = rustc.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=ALLE_BUILD_RUSTC={rustc}");
    println!("cargo::rustc-env=ALLE_BUILD_COMMIT={}", commit());
}

/// The commit, as the builder named it or as git knows it; empty where nobody does. Only for
/// release builds: all others would be made anew after each commit.
fn commit() -> String {
    if let Ok(named) = env::var("ALLE_BUILD_COMMIT") {
        return named;
    }
    if env::var("PROFILE").as_deref() != Ok("release") {
        return String::new();
    }
    // Not that of another repository in which the sources were unpacked.
    let root = first_line("git", &["rev-parse", "--show-toplevel"]);
    let here = env::var("CARGO_MANIFEST_DIR").ok();
    if root.is_none() || root != here {
        return String::new();
    }
    // Each commit and each checkout adds a line to it.
    if let Some(log) = first_line("git", &["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    first_line("git", &["rev-parse", "--short=10", "HEAD"]).unwrap_or_default()
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next().filter(|_| output.status.success())?;
    Some(line.to_owned())
}
