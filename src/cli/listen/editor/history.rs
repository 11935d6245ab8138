//! The lines that were typed before, and the way back through them.
//!
//! Kept for one run only: what is typed may be secret. Refuses to know keys and terminals.

use std::collections::VecDeque;

/// Former lines, and where among them the person is.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Oldest first; none is empty, none equals the one before it.
    lines: VecDeque<String>,
    /// How many of the latest lie behind the one that is shown; 0 is the line being typed.
    back: usize,
    /// What was being typed when the way back began.
    typed: String,
}

impl History {
    /// Takes a line that was entered; the next way back begins with it.
    pub(super) fn push(&mut self, line: &str) {
        self.back = 0;
        if line.trim().is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }

    /// The line before, if there is one. `current` is kept where it is what was being typed.
    pub(super) fn older(&mut self, current: &str) -> Option<&str> {
        if self.back == self.lines.len() {
            return None;
        }
        if self.back == 0 {
            current.clone_into(&mut self.typed);
        }
        self.back += 1;
        self.shown()
    }

    /// The line behind, in the end what was being typed.
    pub(super) fn newer(&mut self) -> Option<&str> {
        self.back = self.back.checked_sub(1)?;
        self.shown()
    }

    /// The latest line with `wanted` in it, `skipped` of them aside.
    pub(super) fn find(&self, wanted: &str, skipped: usize) -> Option<&str> {
        if wanted.is_empty() {
            return None;
        }
        let lines = self.lines.iter().rev().map(String::as_str);
        lines.filter(|line| line.contains(wanted)).nth(skipped)
    }

    fn shown(&self) -> Option<&str> {
        match self.back {
            0 => Some(&self.typed),
            back => self.lines.get(self.lines.len() - back).map(String::as_str),
        }
    }
}

const LINES_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_ends_at_the_oldest_and_returns_to_what_was_being_typed() {
        let mut history = History::default();
        for line in ["list", "", "sub a", "sub a", "  "] {
            history.push(line);
        }
        assert_eq!(history.older("half"), Some("sub a"));
        assert_eq!(history.older("sub a"), Some("list"));
        assert_eq!(history.older("list"), None);
        assert_eq!(history.newer(), Some("sub a"));
        assert_eq!(history.newer(), Some("half"));
        assert_eq!(history.newer(), None);
        assert_eq!(history.find("l", 0), Some("list"));
        assert_eq!(history.find("l", 1), None);
        assert_eq!(history.find("", 0), None);
    }

    #[test]
    fn the_last_500_are_kept() {
        let mut history = History::default();
        for number in 0..=LINES_MAX {
            history.push(&number.to_string());
        }
        assert_eq!(history.lines.len(), LINES_MAX);
        assert_eq!(history.find("0", 0), Some("500"));
        let mut last = String::new();
        while let Some(line) = history.older("") {
            last = line.to_owned();
        }
        assert_eq!(last, "1");
    }
}
