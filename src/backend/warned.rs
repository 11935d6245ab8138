//! Warnings of the surroundings that were given, and still hold.
//!
//! Each is given once, and again once it held for neither session any more. Knows no file.

use crate::pg::config::Warning;

#[derive(Debug, Default)]
pub(super) struct Warned(Vec<Warning>);

impl Warned {
    /// The settings of one session were read: `warnings` hold for it, `other` for the other session.
    pub(super) fn handle_resolved(&mut self, warnings: &[Warning], other: &[Warning]) {
        self.0
            .retain(|it| warnings.contains(it) || other.contains(it));
        for warning in warnings {
            if !self.0.contains(warning) {
                tracing::warn!(target: "alle::postgres", "{warning}");
                self.0.push(warning.clone());
            }
        }
    }
}
