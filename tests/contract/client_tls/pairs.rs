//! Which certificate a client gets, and which pairs are refused.

use std::fs;

use super::secured::Files;
use crate::program::{alle_with, run};

/// At the start there is nothing to fall back to.
#[test]
fn what_is_no_pair_is_exit_status_2_and_named() {
    let files = Files::new();
    files.sign("other", &["other.example"]);
    files.sign_for("old", &["localhost"], 2001, 2002);
    files.sign_for("early", &["localhost"], 2090, 2091);
    fs::write(files.path("empty"), "").unwrap();
    let half = fs::read(files.path("localhost.crt")).unwrap();
    fs::write(files.path("half.crt"), &half[..half.len() / 2]).unwrap();
    for (arguments, expected) in WRONG {
        for command in ["serve", "check"] {
            let mut words = vec![
                command,
                "-w",
                "127.0.0.1:0",
                "-p",
                "postgresql://127.0.0.1:1/x",
            ];
            words.extend(arguments.split(' '));
            let mut alle = alle_with(&words);
            alle.current_dir(files.path(""));
            let (code, stdout, stderr) = run(alle);
            assert_eq!(code, Some(2), "{arguments}: {stderr}");
            for text in *expected {
                assert!(
                    format!("{stdout}{stderr}").contains(text),
                    "{text}: {stdout}{stderr}"
                );
            }
        }
    }
}

/// Options, and what the answer has to name.
const WRONG: &[(&str, &[&str])] = &[
    (
        "--tls-cert localhost.crt",
        &["there are 1 of the first and 0"],
    ),
    (
        "--tls-key localhost.key",
        &["--tls-key means nothing without --tls-cert"],
    ),
    (
        "--admin-tls",
        &["--admin-tls means nothing without --tls-cert"],
    ),
    (
        "--tls-cert localhost.crt --tls-key other.key",
        &["other.key: not the key of the certificate", "localhost.crt"],
    ),
    (
        "--tls-cert localhost.crt,other.crt --tls-key other.key,localhost.key",
        &["other.key: not the key of the certificate"],
    ),
    (
        "--tls-cert none.crt --tls-key localhost.key",
        &["none.crt: ", "No such file"],
    ),
    (
        "--tls-cert empty --tls-key localhost.key",
        &["empty: no certificate in it"],
    ),
    (
        "--tls-cert half.crt --tls-key localhost.key",
        &["half.crt: it is cut off: its line -----END CERTIFICATE----- is missing"],
    ),
    (
        "--tls-cert localhost.crt --tls-key empty",
        &["empty: nothing usable in it"],
    ),
    (
        "--tls-cert localhost.crt --tls-key localhost.crt",
        &["localhost.crt: nothing usable"],
    ),
    (
        "--tls-cert old.crt --tls-key old.key",
        &["old.crt: the certificate has expired"],
    ),
    (
        "--tls-cert early.crt --tls-key early.key",
        &["early.crt: the certificate is not valid yet"],
    ),
    (
        "--tls-cert= --tls-key localhost.key",
        &["--tls-cert takes paths of files"],
    ),
];
