//! Connections under TLS that are about to end: what they cost the others until they have.

use std::{collections::HashSet, fs, io::Write, path::PathBuf};

use super::secured::Secured;
use crate::{
    harness::{Database, wait_until},
    raw::frame,
};

/// A figure on the page of metrics.
fn figure(secured: &Secured, name: &str) -> u64 {
    let page = secured.admin("/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

/// What the bridge has open, each thing by a name of its own.
fn open_files(secured: &Secured) -> HashSet<PathBuf> {
    let files = fs::read_dir(secured.bridge.proc("fd")).unwrap();
    // One may be closed meanwhile.
    files
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .collect()
}

/// The peer has said goodbye, and leaves its socket open: the bridge waits, and does nothing else.
#[test]
fn a_peer_that_does_not_close_its_socket_keeps_nothing_busy() {
    let secured = Secured::start_without_postgres(&[]);
    let others = open_files(&secured);
    let mut tls = secured.websocket(&secured.files.shared_config());
    let own = &open_files(&secured) - &others;
    assert!(!own.is_empty());
    tls.write_all(&frame(0x88, &1000_u16.to_be_bytes()))
        .unwrap();
    wait_until("the client is not one any more", || {
        figure(&secured, "alle_closes_total{reason=\"normal\"} ") == 1
    });
    let before = figure(&secured, "alle_turns_total ");
    // Nobody asks the bridge meanwhile: each question is a turn.
    wait_until("the bridge lets the socket go", || {
        own.is_disjoint(&open_files(&secured))
    });
    let turns = figure(&secured, "alle_turns_total ") - before;
    assert!(turns < 1_000, "{turns} turns while nothing happened");
}

/// Past `--owned` those go that have most of it, and what they have begun goes with them.
#[test]
fn too_many_records_begun_cost_those_who_began_them() {
    let database = Database::create();
    let secured = Secured::start(&database.url(), &["--owned", "1M"]);
    let mut innocent: Vec<_> = (0..10).map(|_| secured.client()).collect();
    for client in &mut innocent {
        client.subscribe("c");
    }
    let config = secured.files.shared_config();
    let guilty = (0..90).map(|_| {
        let mut tls = secured.websocket(&config);
        tls.conn.writer().write_all(&[0; 16_000]).unwrap();
        let mut record = Vec::new();
        tls.conn.write_tls(&mut record).unwrap();
        // It may be closed by then.
        let _sent = tls.sock.0.write_all(&record[..record.len() - 5]);
        tls
    });
    let guilty: Vec<_> = guilty.collect();
    wait_until("somebody is closed", || {
        figure(&secured, "alle_closes_total{reason=\"overloaded\"} ") > 0
    });
    for client in &mut innocent {
        client.expect_silence();
    }
    let closed = figure(&secured, "alle_closes_total{reason=\"overloaded\"} ");
    let count = guilty.len() as u64;
    assert!(closed < count, "{closed} of {count}: some had room");
    assert!(figure(&secured, "alle_owned_bytes ") <= 1 << 20);
}
