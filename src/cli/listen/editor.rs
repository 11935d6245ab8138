//! A line editor without a terminal: the bytes of keys go in, lines and the bytes of a screen come
//! out.
//!
//! So notifications can be shown at any time: whoever owns the terminal hides the line, writes, and
//! shows it again, unchanged. One thread does it all, and no order is lost. Refuses to know files,
//! signals, and which commands there are.
//!
//! The ready-made editors own the terminal and block on it; they would have to be told on another
//! thread what is to be shown, could not leave the foreground without being stopped, and lose what
//! was typed ahead.

mod history;
mod keys;
mod layout;
mod line;

use std::fmt::Write as _;

use alle::internals::escape::is_command;

use self::{
    history::History,
    keys::{Key, Keys, Reach},
    layout::Place,
    line::Line,
};

/// A line being typed, the lines before it, and what of it is on the screen.
///
/// After [`push`](Self::push), [`poll`](Self::poll) until it has nothing more; handle each answer
/// before the next. What is to be written is in [`take_output`](Self::take_output).
#[derive(Debug)]
pub(super) struct Editor {
    keys: Keys,
    line: Line,
    history: History,
    search: Option<Search>,
    columns: usize,
    /// What is on the screen; `None` while the line is hidden.
    drawn: Option<Drawn>,
    output: String,
}

/// What was typed, as far as it concerns others.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A line was entered.
    Line(String),
    /// The person is done: Ctrl-D on an empty line.
    End,
    /// The word may go on in any of these ways.
    Choices(Vec<String>),
}

/// How the text before the cursor may go on.
#[derive(Debug, Default)]
pub(super) struct Completion {
    /// Where the word begins that is to be completed, in bytes.
    pub(super) start: usize,
    /// What may stand there instead.
    pub(super) candidates: Vec<String>,
}

/// A search among the former lines.
#[derive(Debug, Default)]
struct Search {
    wanted: String,
    /// How many lines with it are passed over.
    skipped: usize,
}

/// The line as it is on the screen.
#[derive(Debug)]
struct Drawn {
    /// The prompt and the text.
    shown: String,
    /// Where in it the cursor is, in bytes.
    cursor: usize,
    columns: usize,
}

impl Editor {
    /// An empty line, hidden.
    pub(super) fn new(columns: usize) -> Self {
        Self {
            keys: Keys::default(),
            line: Line::default(),
            history: History::default(),
            search: None,
            columns,
            drawn: None,
            output: String::new(),
        }
    }

    /// Takes what the terminal sent.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.keys.push(bytes);
    }

    /// Handles keys up to one that concerns others. The line is shown if it was before, and
    /// left behind on the screen where it was entered.
    pub(super) fn poll(&mut self, complete: impl Fn(&str) -> Completion) -> Option<Input> {
        while let Some(key) = self.keys.next() {
            let key = match &mut self.search {
                Some(_) => self.handle_search(key),
                None => Some(key),
            };
            let input = key.and_then(|key| self.handle(key, &complete));
            if input.is_some() {
                return input;
            }
        }
        self.refresh();
        None
    }

    /// What is to be written to the terminal since the last time.
    pub(super) fn take_output(&mut self) -> String {
        std::mem::take(&mut self.output)
    }

    /// The screen has another width. What is on it is taken to have moved with it, as most
    /// terminals do.
    pub(super) fn resize(&mut self, columns: usize) {
        self.columns = columns;
        if let Some(drawn) = &mut self.drawn {
            drawn.columns = columns;
        }
        if self.drawn.is_some() {
            self.hide();
            self.show();
        }
    }

    /// Shows the line, where the cursor is.
    pub(super) fn show(&mut self) {
        self.drawn.get_or_insert_with(|| Drawn {
            shown: String::new(),
            cursor: 0,
            columns: self.columns,
        });
        self.refresh();
    }

    /// Takes the line from the screen. The cursor is where it began.
    pub(super) fn hide(&mut self) {
        let Some(drawn) = self.drawn.take() else {
            return;
        };
        let row = drawn.cursor_place().row;
        if row > 0 {
            let _ = write!(self.output, "\x1b[{row}A");
        }
        let is_one_row = drawn.end_place().row == 0;
        self.output
            .push_str(if is_one_row { "\r\x1b[K" } else { "\r\x1b[J" });
    }

    /// Leaves the line on the screen as it is, and goes on below it.
    pub(super) fn leave(&mut self) {
        self.search = None;
        self.refresh();
        let Some(drawn) = self.drawn.take() else {
            return;
        };
        let (from, to) = (drawn.cursor_place(), drawn.end_place());
        if to.row > from.row {
            let _ = write!(self.output, "\x1b[{}B", to.row - from.row);
        }
        // At the start of a row it is there already.
        if to.column > 0 || to.row == 0 {
            self.output.push('\n');
        } else {
            self.output.push('\r');
        }
    }

    /// The screen is somebody else's: nothing is known of what is on it.
    pub(super) fn forget(&mut self) {
        self.drawn = None;
    }

    /// Clears the screen.
    pub(super) fn clear_screen(&mut self) {
        self.drawn = self.drawn.take().map(|drawn| Drawn {
            shown: String::new(),
            cursor: 0,
            ..drawn
        });
        self.output.push_str("\x1b[H\x1b[2J");
    }

    fn handle(&mut self, key: Key, complete: &impl Fn(&str) -> Completion) -> Option<Input> {
        let done = match key {
            Key::Enter => return Some(self.enter()),
            Key::End if self.line.text().is_empty() => return Some(Input::End),
            Key::Tab => return self.complete(complete(self.line.before())),
            Key::Letter(letter) if is_command(letter) => false,
            Key::Letter(letter) => self.line.insert(letter.encode_utf8(&mut [0; 4])),
            Key::Move(reach) => {
                self.line.go(reach);
                true
            }
            Key::Delete(reach) => {
                self.line.delete(reach);
                true
            }
            Key::End => {
                self.line.delete(Reach::Right);
                true
            }
            Key::Kill(reach) => {
                self.line.kill(reach);
                true
            }
            Key::Yank => self.line.yank(),
            Key::Transpose => {
                self.line.transpose();
                true
            }
            Key::Older => self.walk(|history, current| history.older(current)),
            Key::Newer => self.walk(|history, _| history.newer()),
            Key::Search => {
                self.search = Some(Search::default());
                true
            }
            Key::ClearScreen => {
                self.clear_screen();
                true
            }
            Key::Cancel | Key::Unknown => true,
        };
        if !done {
            self.output.push(BELL);
        }
        None
    }

    fn enter(&mut self) -> Input {
        self.leave();
        let line = self.line.take();
        self.history.push(&line);
        Input::Line(line)
    }

    fn walk(
        &mut self,
        step: impl for<'h> FnOnce(&'h mut History, &str) -> Option<&'h str>,
    ) -> bool {
        let found = step(&mut self.history, self.line.text()).map(str::to_owned);
        if let Some(line) = &found {
            self.line.replace(line);
        }
        found.is_some()
    }

    /// Writes as much as all candidates have in common; where that is nothing, they are choices.
    fn complete(&mut self, completion: Completion) -> Option<Input> {
        let Completion { start, candidates } = completion;
        let common = common_start(&candidates);
        let begun = self.line.before().get(start..).unwrap_or_default();
        if common.len() > begun.len() {
            if !self.line.complete(start, common) {
                self.output.push(BELL);
            }
            return None;
        }
        if candidates.len() > 1 {
            return Some(Input::Choices(candidates));
        }
        if candidates.is_empty() {
            self.output.push(BELL);
        }
        None
    }

    /// Handles a key of a search; returns it if it ended the search and means something else too.
    fn handle_search(&mut self, key: Key) -> Option<Key> {
        let mut search = self.search.take()?;
        match key {
            Key::Cancel => return None,
            Key::Search => search.skipped += 1,
            Key::Letter(letter)
                if !is_command(letter) && search.wanted.len() < WANTED_BYTES_MAX =>
            {
                search.wanted.push(letter);
                search.skipped = 0;
            }
            Key::Delete(Reach::Left) => {
                search.wanted.pop();
                search.skipped = 0;
            }
            Key::Letter(_)
            | Key::Enter
            | Key::Tab
            | Key::End
            | Key::ClearScreen
            | Key::Older
            | Key::Newer
            | Key::Move(_)
            | Key::Delete(_)
            | Key::Kill(_)
            | Key::Yank
            | Key::Transpose
            | Key::Unknown => {
                if let Some(found) = self.history.find(&search.wanted, search.skipped) {
                    self.line.replace(found);
                }
                return Some(key);
            }
        }
        let is_found = self.history.find(&search.wanted, search.skipped).is_some();
        if !is_found && search.skipped > 0 {
            // The oldest one stays.
            search.skipped -= 1;
            self.output.push(BELL);
        }
        self.search = Some(search);
        None
    }

    /// The prompt and the text, and where in it the cursor is.
    fn view(&self) -> (String, usize) {
        let Some(search) = &self.search else {
            let cursor = PROMPT.len() + self.line.cursor();
            return (format!("{PROMPT}{}", self.line.text()), cursor);
        };
        let wanted = &search.wanted;
        let found = self
            .history
            .find(wanted, search.skipped)
            .unwrap_or_default();
        let shown = format!("(search) {wanted}: {found}");
        let cursor = "(search) ".len() + wanted.len();
        (shown, cursor)
    }

    /// Brings the screen up to date, if the line is shown.
    fn refresh(&mut self) {
        let Some(drawn) = &self.drawn else {
            return;
        };
        let (shown, cursor) = self.view();
        if drawn.shown == shown && drawn.cursor == cursor {
            return;
        }
        // What is typed at the end is simply written.
        let is_longer = drawn.cursor == drawn.shown.len()
            && cursor == shown.len()
            && shown.starts_with(&drawn.shown);
        if is_longer {
            self.output.push_str(&shown[drawn.shown.len()..]);
        } else {
            self.hide();
            self.output.push_str(&shown);
        }
        let now = Drawn {
            shown,
            cursor,
            columns: self.columns,
        };
        let (from, to) = (now.end_place(), now.cursor_place());
        // A terminal goes to the next row with the next letter only.
        if from.row > 0 && from.column == 0 {
            self.output.push_str("\r\n");
        }
        if from != to {
            if from.row > to.row {
                let _ = write!(self.output, "\x1b[{}A", from.row - to.row);
            }
            self.output.push('\r');
            if to.column > 0 {
                let _ = write!(self.output, "\x1b[{}C", to.column);
            }
        }
        self.drawn = Some(now);
    }
}

impl Drawn {
    fn cursor_place(&self) -> Place {
        layout::end(&self.shown[..self.cursor], self.columns)
    }

    fn end_place(&self) -> Place {
        layout::end(&self.shown, self.columns)
    }
}

/// The longest text with which all of `words` begin.
fn common_start(words: &[String]) -> &str {
    let Some((first, others)) = words.split_first() else {
        return "";
    };
    let is_common = |end: &usize| others.iter().all(|it| it.starts_with(&first[..*end]));
    let ends = first
        .char_indices()
        .map(|(start, letter)| start + letter.len_utf8());
    let end = ends.take_while(is_common).last();
    &first[..end.unwrap_or(0)]
}

const PROMPT: &str = "> ";
const BELL: char = '\x07';
const WANTED_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests;
