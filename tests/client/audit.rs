//! What a client heard, against what was sent: nothing missing unseen, nothing out of order.
//!
//! Knows numbers and what stood between them. Refuses to know who sent them and how they came.

use serde_json::Value;

/// What a client wrote down, in order: numbers that were sent, and words.
pub struct Heard(Vec<Value>);

impl Heard {
    pub fn new(log: &Value) -> Self {
        Self(log.as_array().expect("a log").clone())
    }

    /// How often a word stands there.
    pub fn count(&self, word: &str) -> usize {
        self.0.iter().filter(|it| *it == word).count()
    }

    /// The numbers, in order.
    pub fn numbers(&self) -> Vec<u64> {
        self.0.iter().filter_map(Value::as_u64).collect()
    }

    /// Each number comes once and behind the smaller ones; where some are missing, the client was
    /// told of a gap before it went on.
    #[track_caller]
    pub fn assert_nothing_is_missing_unseen(&self) {
        let (mut last, mut is_told) = (0, false);
        for entry in &self.0 {
            if let Some(number) = entry.as_u64() {
                assert!(number > last, "{number} behind {last}: {self}");
                assert!(
                    number == last + 1 || is_told,
                    "{last}, then {number}: {self}"
                );
                (last, is_told) = (number, false);
            } else {
                is_told |= entry == "gap";
            }
        }
    }
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", Value::from(self.0.clone()))
    }
}

#[test]
fn the_audit_finds_what_is_missing_doubled_or_late() {
    let judge = |log: Value| {
        std::panic::catch_unwind(|| Heard::new(&log).assert_nothing_is_missing_unseen()).is_ok()
    };
    for (log, is_sound) in [
        (serde_json::json!([1, 2, "recovered", 3]), true),
        (serde_json::json!([1, "gap", 4, 5]), true),
        (serde_json::json!([1, "gap", 4, 6]), false),
        (serde_json::json!([1, 3]), false),
        (serde_json::json!([2]), false),
        (serde_json::json!([1, "gap", 1]), false),
        (serde_json::json!([1, 2, 2]), false),
        (serde_json::json!([1, "recovered", 3]), false),
    ] {
        assert_eq!(judge(log.clone()), is_sound, "{log}");
    }
}
