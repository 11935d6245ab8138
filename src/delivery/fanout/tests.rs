//! Passes, runs and their order, without a client.

use super::*;
use crate::delivery::{index::Index, merge::Merge};

const A: ChannelKey = ChannelKey(0);
const B: ChannelKey = ChannelKey(1);

#[derive(Default)]
struct Fixture {
    fanout: Fanout,
    batches: Batches,
    now: u64,
}

impl Fixture {
    fn append(&mut self, key: ChannelKey, audience: usize, text: &str) {
        let (frame, now) = (text.as_bytes(), self.now);
        self.fanout
            .append(key, audience, frame, now, &mut self.batches);
        self.fanout.check_invariants(&self.batches);
    }

    /// Everything a client of `keys` still gets, run by run.
    fn runs(&self, seen: u64, keys: &[ChannelKey]) -> Vec<String> {
        let mut index = Index::default();
        for &key in keys {
            index.subscribe(0, key);
        }
        let (links, mut merge) = (index.subscriptions(0), Merge::default());
        merge.merge(seen, links, &self.fanout, &self.batches);
        let ends = merge.runs().iter().map(|run| run.last);
        assert!([seen].into_iter().chain(ends).is_sorted());
        let texts = merge.runs().iter().map(|run| {
            let bytes = self.batches.bytes(run.span).to_vec();
            String::from_utf8(bytes).unwrap()
        });
        texts.collect()
    }

    /// When the oldest frame of the pass came.
    fn finish(&mut self, audience: usize) -> Option<u64> {
        self.fanout.advance(0);
        let since = self.fanout.finish(audience, &mut self.batches);
        self.fanout.check_invariants(&self.batches);
        since
    }
}

#[test]
fn a_client_gets_its_channels_merged_in_commit_order() {
    let mut fixture = Fixture::default();
    for (key, text) in [
        (A, "a1"),
        (A, "a2"),
        (B, "b1"),
        (EVERYONE, "e"),
        (A, "a3"),
        (B, "b2"),
    ] {
        fixture.append(key, 3, text);
    }
    assert_eq!(fixture.runs(0, &[A, B]), ["a1a2", "b1", "e", "a3", "b2"]);
    assert_eq!(fixture.runs(0, &[B, A]), ["a1a2", "b1", "e", "a3", "b2"]);
    assert_eq!(fixture.runs(0, &[A]), ["a1a2", "e", "a3"]);
    assert_eq!(fixture.runs(1, &[A]), ["a2", "e", "a3"]);
    assert_eq!(fixture.runs(4, &[B]), ["b2"]);
    assert_eq!(fixture.runs(0, &[]), ["e"]);
    assert_eq!(fixture.runs(6, &[A, B]), [""; 0]);
}

#[test]
fn frames_that_come_during_a_pass_make_the_next_one() {
    let mut fixture = Fixture::default();
    fixture.append(A, 10, "1");
    assert_eq!(fixture.fanout.pass(), Some((A, 10)));
    fixture.append(A, 10, "2");
    assert_eq!(
        fixture.runs(0, &[A]),
        ["12"],
        "who is served late gets both at once"
    );
    fixture.finish(10);
    assert_eq!(
        fixture.fanout.pass(),
        Some((A, 10)),
        "the others get the second one"
    );
    assert_eq!(fixture.runs(1, &[A]), ["2"]);
    fixture.finish(10);
    assert!(!fixture.fanout.has_work());
    assert_eq!(
        (fixture.batches.count(), fixture.fanout.unsent_bytes()),
        (0, 0)
    );
}

/// Whatever is under way, what is small goes first in the slice after it came, and the large one
/// goes on in the same.
#[test]
fn a_small_pass_waits_for_no_large_one() {
    let mut fixture = Fixture::default();
    fixture.append(A, 100_000, "large");
    assert_eq!(fixture.fanout.pass().map(|(key, _)| key), Some(A));
    fixture.fanout.end_slice();
    for round in 0..6 {
        fixture.append(B, 3, "small");
        assert_eq!(fixture.fanout.pass(), Some((B, 3)), "{round}");
        fixture.finish(3);
        assert_eq!(
            fixture.fanout.pass().map(|(key, _)| key),
            Some(A),
            "{round}"
        );
        fixture.fanout.advance(99_000 - round * 64);
        fixture.fanout.end_slice();
    }
}

/// Small passes that take up all of a slice leave the next one to the oldest.
#[test]
fn a_large_pass_goes_on_however_many_small_ones_come() {
    let mut fixture = Fixture::default();
    fixture.append(A, 100_000, "large");
    let mut slices = Vec::new();
    for _ in 0..6 {
        fixture.append(B, 60, "small");
        let (key, _) = fixture.fanout.pass().unwrap();
        slices.push(key);
        if key == B {
            fixture.finish(60);
        }
        fixture.fanout.end_slice();
    }
    assert_eq!(slices, [B, A, B, A, B, A]);
}

#[test]
fn frames_over_64_kib_go_on_in_another_batch() {
    let mut fixture = Fixture::default();
    let text = "x".repeat(40_000);
    for _ in 0..3 {
        fixture.append(A, 1, &text);
    }
    assert_eq!(
        fixture.runs(0, &[A]).iter().map(String::len).sum::<usize>(),
        120_000
    );
    assert_eq!(fixture.batches.count(), 3);
    fixture.fanout.pass();
    fixture.finish(1);
    fixture.fanout.pass();
    fixture.finish(1);
    assert_eq!(fixture.batches.count(), 0);
}

#[test]
fn a_forgotten_channel_leaves_nothing() {
    let mut fixture = Fixture::default();
    fixture.append(A, 5, "a");
    fixture.append(B, 5, "b");
    fixture.fanout.pass();
    fixture.fanout.forget(A, &mut fixture.batches);
    fixture.fanout.check_invariants(&fixture.batches);
    assert_eq!(fixture.fanout.pass(), Some((B, 5)));
    fixture.fanout.forget(B, &mut fixture.batches);
    assert!(!fixture.fanout.has_work());
    assert_eq!(fixture.batches.count(), 0);
}

/// A channel that is forgotten while its pass waits may come again, before that one's turn: it has
/// its turn once, and others keep theirs.
#[test]
fn a_pass_that_is_over_has_no_turn_and_takes_none() {
    let mut fixture = Fixture::default();
    let keys = || (0..100).map(ChannelKey);
    for key in keys() {
        fixture.append(key, 1, "before");
    }
    for key in keys().filter(|key| key.0 % 3 == 0) {
        fixture.fanout.forget(key, &mut fixture.batches);
        fixture.fanout.check_invariants(&fixture.batches);
    }
    for key in keys().filter(|key| key.0 % 6 == 0) {
        fixture.append(key, 1, "behind");
    }
    let mut turns = Vec::new();
    while let Some((key, _)) = fixture.fanout.pass() {
        turns.push(key.0);
        fixture.finish(1);
        fixture.fanout.end_slice();
    }
    let stayed = (0..100).filter(|key| key % 3 != 0);
    let expected: Vec<_> = stayed.chain((0..100).step_by(6)).collect();
    assert_eq!(turns, expected);
    assert!(!fixture.fanout.has_work());
    assert_eq!(fixture.batches.count(), 0);
}

#[test]
fn a_pass_knows_when_its_oldest_frame_came() {
    let mut fixture = Fixture::default();
    for now in [3, 5] {
        fixture.now = now;
        fixture.append(A, 10, "of the first pass or behind it");
        fixture.fanout.pass();
    }
    fixture.now = 7;
    fixture.append(A, 10, "behind it");
    assert_eq!(fixture.finish(10), Some(3));
    fixture.fanout.pass();
    assert_eq!(fixture.finish(10), Some(5), "the older one of two");
    assert_eq!(fixture.finish(10), None, "there is no pass");
    fixture.now = 9;
    fixture.append(A, 10, "a pass of its own");
    fixture.fanout.pass();
    assert_eq!(fixture.finish(10), Some(9));
}
