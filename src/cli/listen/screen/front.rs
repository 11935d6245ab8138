//! The line at the bottom of a terminal, at which a person types, if there is one.
//!
//! Owns whether it is there at the moment. Writes into what it is given and refuses to know files.

use crate::cli::listen::editor::{Completion, Editor, Input};

/// The line: edited by us, by the terminal, or by nobody.
pub(super) struct Front {
    kind: Kind,
    state: State,
}

enum Kind {
    /// No person types.
    Nobody,
    /// The terminal shows what is typed; we show a prompt.
    Plain,
    Editor(Box<Editor>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not before the first texts are out.
    Later,
    Hidden,
    Shown,
    /// Somebody else has the terminal; `Later` if that was so.
    Away {
        later: bool,
    },
}

impl Front {
    pub(super) fn nobody() -> Self {
        Self::of(Kind::Nobody)
    }

    pub(super) fn plain() -> Self {
        Self::of(Kind::Plain)
    }

    pub(super) fn editor(columns: usize) -> Self {
        Self::of(Kind::Editor(Box::new(Editor::new(columns))))
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            state: State::Later,
        }
    }

    pub(super) fn has_editor(&self) -> bool {
        matches!(self.kind, Kind::Editor(_))
    }

    /// From now on it may be there.
    pub(super) fn allow(&mut self) {
        match self.state {
            State::Later => self.state = State::Hidden,
            State::Away { .. } => self.state = State::Away { later: false },
            State::Hidden | State::Shown => {}
        }
    }

    /// The terminal shows a line that was typed, and the cursor is below it.
    pub(super) fn line_typed(&mut self) {
        if self.state == State::Shown && matches!(self.kind, Kind::Plain) {
            self.state = State::Hidden;
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Kind::Editor(editor) = &mut self.kind {
            editor.push(bytes);
        }
        // Nobody types blind.
        self.allow();
    }

    pub(super) fn poll(
        &mut self,
        complete: impl Fn(&str) -> Completion,
        page: &mut String,
    ) -> Option<Input> {
        self.show(page);
        let Kind::Editor(editor) = &mut self.kind else {
            return None;
        };
        let input = editor.poll(complete);
        page.push_str(&editor.take_output());
        if matches!(input, Some(Input::Line(_))) && self.state == State::Shown {
            self.state = State::Hidden;
        }
        input
    }

    pub(super) fn show(&mut self, page: &mut String) {
        if self.state != State::Hidden {
            return;
        }
        match &mut self.kind {
            Kind::Nobody => {}
            Kind::Plain => page.push_str("> "),
            Kind::Editor(editor) => {
                editor.show();
                page.push_str(&editor.take_output());
            }
        }
        self.state = State::Shown;
    }

    pub(super) fn hide(&mut self, page: &mut String) {
        if self.state != State::Shown {
            return;
        }
        match &mut self.kind {
            Kind::Nobody => {}
            // Such a terminal cannot take anything back.
            Kind::Plain => page.push('\n'),
            Kind::Editor(editor) => {
                editor.hide();
                page.push_str(&editor.take_output());
            }
        }
        self.state = State::Hidden;
    }

    pub(super) fn clear(&mut self, page: &mut String) {
        if let Kind::Editor(editor) = &mut self.kind {
            editor.clear_screen();
            page.push_str(&editor.take_output());
        }
    }

    pub(super) fn resize(&mut self, columns: usize, page: &mut String) {
        if let Kind::Editor(editor) = &mut self.kind {
            editor.resize(columns);
            page.push_str(&editor.take_output());
        }
    }

    /// No longer there. It stays on the screen where that `is_ours`, and what follows is below it.
    pub(super) fn leave(&mut self, is_ours: bool, page: &mut String) {
        let later = match self.state {
            State::Later => true,
            State::Hidden => false,
            State::Away { .. } => return,
            State::Shown => {
                match &mut self.kind {
                    Kind::Nobody => {}
                    Kind::Plain if is_ours => page.push('\n'),
                    Kind::Plain => {}
                    Kind::Editor(editor) if is_ours => {
                        editor.leave();
                        page.push_str(&editor.take_output());
                    }
                    Kind::Editor(editor) => editor.forget(),
                }
                false
            }
        };
        self.state = State::Away { later };
    }

    /// There again, below whatever is on the screen.
    pub(super) fn return_to(&mut self) {
        match self.state {
            State::Away { later: true } => self.state = State::Later,
            State::Away { later: false } => self.state = State::Hidden,
            State::Later | State::Hidden | State::Shown => {}
        }
    }
}
