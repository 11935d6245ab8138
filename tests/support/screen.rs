//! What a person sees on a terminal: the bytes that a program wrote, on rows and columns.
//!
//! Understands what `alle` writes and no more; anything else is shown, and fails the test that
//! compares.

use unicode_width::UnicodeWidthChar;

/// A screen so many columns wide; nothing scrolls out of it at the top.
pub struct Screen {
    columns: usize,
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// A sequence that has not come whole.
    begun: String,
    /// Where the visible part begins, since it was cleared.
    top: usize,
}

impl Screen {
    pub fn new(columns: usize) -> Self {
        Self {
            columns,
            rows: vec![Vec::new()],
            row: 0,
            column: 0,
            begun: String::new(),
            top: 0,
        }
    }

    /// Shows what a program wrote.
    pub fn write(&mut self, text: &str) {
        for letter in text.chars() {
            if self.begun.is_empty() && letter != '\x1b' {
                self.put(letter);
                continue;
            }
            self.begun.push(letter);
            if self.begun.len() > 2 && letter.is_ascii_alphabetic() {
                let sequence = std::mem::take(&mut self.begun);
                self.obey(&sequence);
            }
        }
    }

    /// The rows, without the space at their ends and without empty ones at the end of all.
    pub fn text(&self) -> String {
        let rows = self.rows[self.top..].iter().map(|row| {
            // The right half of a wide letter.
            let letters: String = row.iter().filter(|letter| **letter != '\0').collect();
            letters.trim_end().to_owned() + "\n"
        });
        let text: String = rows.collect();
        text.trim_end().to_owned()
    }

    fn put(&mut self, letter: char) {
        match letter {
            '\r' => self.column = 0,
            '\n' => self.go_down(),
            '\x07' => {}
            _ => {
                let width = letter.width().unwrap_or(0);
                if width == 0 {
                    let row = &mut self.rows[self.row];
                    row.insert(self.column.min(row.len()), letter);
                    // Letters and columns are the same thing here, but for these.
                    self.column += 1;
                    return;
                }
                if self.column + width > self.columns {
                    self.column = 0;
                    self.go_down();
                }
                let row = &mut self.rows[self.row];
                row.resize(row.len().max(self.column + width), ' ');
                row[self.column] = letter;
                if width == 2 {
                    row[self.column + 1] = '\0';
                }
                self.column += width;
            }
        }
    }

    fn go_down(&mut self) {
        self.row += 1;
        if self.row == self.rows.len() {
            self.rows.push(Vec::new());
        }
        self.column = 0;
    }

    fn obey(&mut self, sequence: &str) {
        let (parameters, last) = sequence[2..].split_at(sequence.len() - 3);
        let count = parameters.parse().unwrap_or(1);
        match (last, parameters) {
            ("A", _) => self.row = self.row.saturating_sub(count).max(self.top),
            ("B", _) => self.row = (self.row + count).min(self.rows.len() - 1),
            ("C", _) => self.column = (self.column + count).min(self.columns - 1),
            ("K", "") => self.rows[self.row].truncate(self.column),
            ("J", "") => {
                self.rows[self.row].truncate(self.column);
                self.rows.truncate(self.row + 1);
            }
            ("J", "2") => {
                self.top = self.rows.len();
                self.rows.push(Vec::new());
                self.row = self.top;
            }
            ("H", "") => (self.row, self.column) = (self.top, 0),
            ("m", _) => {}
            _ => sequence.chars().for_each(|letter| self.put(letter)),
        }
    }
}
