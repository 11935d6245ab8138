//! The line that is being typed, and the cursor in it.
//!
//! Owns the text and what was deleted last. Its steps are what a person takes for a letter
//! (Unicode's grapheme clusters). Refuses to know keys and terminals.

use unicode_segmentation::UnicodeSegmentation;

use super::keys::Reach;

/// A text and a place in it, always between two letters.
#[derive(Debug, Default)]
pub(super) struct Line {
    text: String,
    /// In bytes.
    cursor: usize,
    killed: String,
}

impl Line {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// What stands before the cursor.
    pub(super) fn before(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// Another text, with the cursor at its end.
    pub(super) fn replace(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.cursor = text.len();
    }

    /// Empties it; returns the text.
    pub(super) fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Writes `text` at the cursor; `false` if the line would get too long.
    pub(super) fn insert(&mut self, text: &str) -> bool {
        let has_room = self.text.len() + text.len() <= LINE_BYTES_MAX;
        if has_room {
            self.text.insert_str(self.cursor, text);
            self.cursor += text.len();
            // Behind what it became one letter with.
            self.cursor = self.boundary_from(self.cursor);
        }
        has_room
    }

    /// Writes `text` in the place of what stands between `start` and the cursor.
    pub(super) fn complete(&mut self, start: usize, text: &str) -> bool {
        if self.text.len() - (self.cursor - start) + text.len() > LINE_BYTES_MAX {
            return false;
        }
        self.text.replace_range(start..self.cursor, text);
        self.cursor = start + text.len();
        true
    }

    pub(super) fn go(&mut self, reach: Reach) {
        self.cursor = self.target(reach);
    }

    pub(super) fn delete(&mut self, reach: Reach) {
        self.cut(reach);
    }

    pub(super) fn kill(&mut self, reach: Reach) {
        let killed = self.cut(reach);
        if !killed.is_empty() {
            self.killed = killed;
        }
    }

    pub(super) fn yank(&mut self) -> bool {
        let killed = std::mem::take(&mut self.killed);
        let has_room = self.insert(&killed);
        self.killed = killed;
        has_room
    }

    /// Exchanges the letters around the cursor, at the end the last two.
    pub(super) fn transpose(&mut self) {
        if self.cursor == self.text.len() {
            self.go(Reach::Left);
        }
        let (middle, start) = (self.cursor, self.target(Reach::Left));
        let end = self.target(Reach::Right);
        let exchanged = [&self.text[middle..end], &self.text[start..middle]].concat();
        self.text.replace_range(start..end, &exchanged);
        self.cursor = self.boundary_from(end);
    }

    fn cut(&mut self, reach: Reach) -> String {
        let target = self.target(reach);
        let (start, end) = (self.cursor.min(target), self.cursor.max(target));
        self.cursor = start;
        let cut = self.text.drain(start..end).collect();
        // The letters around it may have become one.
        self.cursor = self.boundary_from(start);
        cut
    }

    /// The first place between two letters, from `at` on.
    fn boundary_from(&self, at: usize) -> usize {
        if at == self.text.len() {
            return at;
        }
        let mut starts = self.text.grapheme_indices(true).map(|(start, _)| start);
        starts.find(|start| *start >= at).unwrap_or(self.text.len())
    }

    fn target(&self, reach: Reach) -> usize {
        let (left, right) = self.text.split_at(self.cursor);
        let word = |letter: &str| letter.chars().any(char::is_alphanumeric);
        match reach {
            Reach::Start => 0,
            Reach::End => self.text.len(),
            Reach::Left => left
                .grapheme_indices(true)
                .next_back()
                .map_or(0, |(at, _)| at),
            Reach::Right => self.cursor + right.graphemes(true).next().map_or(0, str::len),
            Reach::WordLeft => {
                let mut letters = left.grapheme_indices(true).rev().peekable();
                while letters.next_if(|(_, letter)| !word(letter)).is_some() {}
                while letters.next_if(|(_, letter)| word(letter)).is_some() {}
                letters.next().map_or(0, |(at, letter)| at + letter.len())
            }
            Reach::WordRight => {
                let mut letters = right.grapheme_indices(true).peekable();
                while letters.next_if(|(_, letter)| !word(letter)).is_some() {}
                while letters.next_if(|(_, letter)| word(letter)).is_some() {}
                letters
                    .next()
                    .map_or(self.text.len(), |(at, _)| self.cursor + at)
            }
        }
    }
}

/// More than any payload and its channel take.
const LINE_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The line with `|` for its cursor, after each step.
    fn shown(line: &Line) -> String {
        format!("{}|{}", line.before(), &line.text[line.cursor..])
    }

    #[test]
    fn letters_are_what_a_person_takes_for_one() {
        let mut line = Line::default();
        line.insert("ae\u{301}👨‍👩‍👧🇩🇪");
        for expected in ["ae\u{301}👨‍👩‍👧|🇩🇪", "ae\u{301}|👨‍👩‍👧🇩🇪", "a|e\u{301}👨‍👩‍👧🇩🇪"]
        {
            line.go(Reach::Left);
            assert_eq!(shown(&line), expected);
        }
        line.delete(Reach::Right);
        assert_eq!(shown(&line), "a|👨‍👩‍👧🇩🇪");
        line.insert("\u{301}");
        assert_eq!(shown(&line), "a\u{301}|👨‍👩‍👧🇩🇪", "not inside a letter");
    }

    #[test]
    fn words_are_moved_over_deleted_and_put_back() {
        let mut line = Line::default();
        line.insert("pub my_channel a-b");
        line.go(Reach::WordLeft);
        assert_eq!(shown(&line), "pub my_channel a-|b");
        line.kill(Reach::WordLeft);
        assert_eq!(shown(&line), "pub my_channel |b");
        line.go(Reach::Start);
        line.go(Reach::WordRight);
        assert_eq!(shown(&line), "pub| my_channel b");
        assert!(line.yank());
        assert_eq!(shown(&line), "puba-| my_channel b");
        line.kill(Reach::End);
        line.kill(Reach::Right);
        assert!(line.yank());
        assert_eq!(
            shown(&line),
            "puba- my_channel b|",
            "nothing was killed in between"
        );
        line.kill(Reach::Start);
        assert_eq!(shown(&line), "|");
        line.transpose();
        line.insert("xy");
        line.transpose();
        assert_eq!(shown(&line), "yx|");
        line.go(Reach::Start);
        line.transpose();
        assert_eq!(line.text(), "yx");
    }

    #[test]
    fn a_line_takes_16_kib_and_no_more() {
        let mut line = Line::default();
        assert!(line.insert(&"x".repeat(LINE_BYTES_MAX - 1)));
        assert!(!line.insert("é"));
        assert!(line.insert("x"));
        assert!(!line.insert("x"));
        assert!(!line.complete(LINE_BYTES_MAX - 1, "xy"));
        assert!(line.complete(LINE_BYTES_MAX - 1, "y"));
        assert_eq!(line.text().len(), LINE_BYTES_MAX);
    }
}
