//! Keys against the screen of a terminal.

#[path = "../../../../tests/support/screen.rs"]
#[allow(
    unreachable_pub,
    missing_docs,
    reason = "it is shared with the tests of the program"
)]
mod screen;

use proptest::prelude::*;

use self::screen::Screen;
use super::*;

/// An editor at a terminal, and what was entered there.
struct Typist {
    editor: Editor,
    screen: Screen,
    entered: Vec<Input>,
}

impl Typist {
    fn new(columns: usize) -> Self {
        let mut typist = Self {
            editor: Editor::new(columns),
            screen: Screen::new(columns),
            entered: Vec::new(),
        };
        typist.editor.show();
        typist.write();
        typist
    }

    fn press(&mut self, keys: &str) {
        self.editor.push(keys.as_bytes());
        while let Some(input) = self.editor.poll(complete) {
            self.entered.push(input);
            self.editor.show();
        }
        self.write();
    }

    /// Shows a line of somebody else.
    fn print(&mut self, line: &str) {
        self.editor.hide();
        self.write();
        self.screen.write(&format!("{line}\n"));
        self.editor.show();
        self.write();
    }

    fn write(&mut self) {
        self.screen.write(&self.editor.take_output());
    }

    fn text(&self) -> String {
        self.screen.text()
    }
}

fn complete(typed: &str) -> Completion {
    let words = ["sub orders", "sub ördnung", "sub ören", "unsub"];
    let candidates = words.into_iter().filter(|word| word.starts_with(typed));
    Completion {
        start: 0,
        candidates: candidates.map(str::to_owned).collect(),
    }
}

fn line(text: &str) -> Input {
    Input::Line(text.to_owned())
}

#[test]
fn what_is_typed_stays_whatever_is_shown_meanwhile() {
    let mut typist = Typist::new(40);
    typist.press("sub ne");
    typist.print("[news] first");
    assert_eq!(typist.text(), "[news] first\n> sub ne");
    typist.press("w");
    typist.print("[news] second");
    assert_eq!(typist.text(), "[news] first\n[news] second\n> sub new");
    typist.press("sletter\r");
    assert_eq!(typist.entered, [line("sub newsletter")]);
    let expected = "[news] first\n[news] second\n> sub newsletter\n>";
    assert_eq!(typist.text(), expected);
}

#[test]
fn typing_at_the_end_writes_the_letters_and_nothing_else() {
    let mut editor = Editor::new(40);
    editor.show();
    assert_eq!(editor.take_output(), "> ");
    editor.push("aé".as_bytes());
    assert_eq!(editor.poll(complete), None);
    assert_eq!(editor.take_output(), "aé");
    editor.hide();
    assert_eq!(editor.take_output(), "\r\x1b[K");
    editor.show();
    assert_eq!(editor.take_output(), "> aé");
}

#[test]
fn a_line_of_many_rows_is_taken_away_whole_and_comes_back() {
    for length in 0..40 {
        let mut typist = Typist::new(10);
        let typed = "0123456789".repeat(4)[..length].to_owned();
        typist.press(&typed);
        typist.press("\x1b[D\x1b[D");
        typist.print("printed");
        typist.press("\x05!\r");
        assert_eq!(typist.entered, [line(&format!("{typed}!"))]);
        let mut shown = Screen::new(10);
        shown.write(&format!("printed\n> {typed}!\n>"));
        let rows = |text: String| text.replace("\n\n", "\n");
        assert_eq!(rows(typist.text()), rows(shown.text()), "{length}");
    }
}

#[test]
fn keys_edit_as_elsewhere() {
    for (keys, expected) in [
        ("abc\x7f\r", "ab"),
        ("abc\x1b[D\x1b[D\x1b[3~\r", "ac"),
        ("abc\x1b[D\x04\r", "ab"),
        ("bc\x1b[Ha\x1b[Fd\r", "abcd"),
        ("one two\x17three\r", "one three"),
        ("one two\x15\x19\x19\r", "one twoone two"),
        ("ab\x14\r", "ba"),
        ("a\u{202e}\x0bb\r", "ab"),
        ("a\x1bfb\x1b[5~\x1b[200~c\x1b[201~\r", "abc"),
    ] {
        let mut typist = Typist::new(40);
        typist.press(keys);
        assert_eq!(typist.entered, [line(expected)], "{keys:?}");
    }
    let mut typist = Typist::new(40);
    typist.press("a\x7f\x04");
    assert_eq!(typist.entered, [Input::End]);
}

#[test]
fn former_lines_come_back_by_arrow_and_by_search() {
    let mut typist = Typist::new(40);
    typist.press("sub a\rlist\rhalf\x1b[A\x1b[A");
    assert!(typist.text().ends_with("\n> sub a"), "{}", typist.text());
    typist.press("\x1b[A\x1b[B\x1b[B\x1b[B");
    assert!(typist.text().ends_with("\n> half"), "{}", typist.text());
    typist.press("\x12s");
    assert!(
        typist.text().ends_with("\n(search) s: list"),
        "{}",
        typist.text()
    );
    typist.print("[a] b");
    typist.press("\x12\x12");
    assert!(
        typist.text().ends_with("[a] b\n(search) s: sub a"),
        "{}",
        typist.text()
    );
    typist.press("\r");
    assert_eq!(typist.entered.last(), Some(&line("sub a")));
    typist.press("x\x12nothing\x07y\r");
    assert_eq!(typist.entered.last(), Some(&line("xy")));
    typist.press("\x12li\x7f\x7fsu\x1b[D!\r");
    assert_eq!(typist.entered.last(), Some(&line("sub !a")));
}

#[test]
fn tab_goes_on_as_far_as_it_is_sure() {
    let mut typist = Typist::new(40);
    typist.press("un\t\r");
    assert_eq!(typist.entered.pop(), Some(line("unsub")));
    typist.press("s\t\t");
    let choices = ["sub orders", "sub ördnung", "sub ören"].map(str::to_owned);
    assert_eq!(typist.entered.pop(), Some(Input::Choices(choices.to_vec())));
    typist.press("ö\t\r");
    assert_eq!(typist.entered.pop(), Some(line("sub ör")));
    typist.press("sub o\t\r");
    assert_eq!(typist.entered.pop(), Some(line("sub orders")));
    typist.press("nothing\t\r");
    assert_eq!(typist.entered.pop(), Some(line("nothing")));
}

#[test]
fn what_was_typed_ahead_is_handled_line_by_line() {
    let mut editor = Editor::new(40);
    editor.push(b"one\rtwo\rth");
    assert_eq!(editor.poll(complete), Some(line("one")));
    assert_eq!(editor.poll(complete), Some(line("two")));
    assert_eq!(editor.poll(complete), None);
    assert_eq!(editor.take_output(), "", "it is hidden");
    editor.show();
    assert_eq!(editor.take_output(), "> th");
}

#[test]
fn a_screen_that_is_cleared_has_the_line_on_top() {
    let mut typist = Typist::new(40);
    typist.print("a");
    typist.press("sub x\x0c");
    typist.press("y");
    assert_eq!(typist.text(), "> sub xy");
}

#[test]
fn a_line_that_is_left_stays_and_what_follows_is_below_it() {
    for typed in [
        "",
        "short",
        "12345678",
        "1234567890123\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D",
    ] {
        let mut typist = Typist::new(10);
        typist.press(typed);
        let before = typist.text();
        typist.editor.leave();
        typist.write();
        typist.screen.write("$");
        assert_eq!(typist.text(), format!("{before}\n$"), "{typed:?}");
    }
}

proptest! {
    /// Whatever is pressed, printed and resized, each printed line is on the screen whole and
    /// in order, and the line that is typed is below them.
    #[test]
    fn nothing_that_is_printed_is_torn(
        columns in 20_usize..60,
        steps in prop::collection::vec((0_usize..12, "[a-zé漢]{1,30}"), 0..60),
    ) {
        let mut typist = Typist::new(columns);
        let mut printed = Vec::new();
        for (step, text) in steps {
            match step {
                0..=2 => {
                    let name = format!("[{}]", printed.len());
                    typist.print(&name);
                    printed.push(name);
                }
                3..=5 => typist.press(&text),
                6 => typist.press("\x1b[A"),
                7 => typist.press("\x01"),
                8 => typist.press("\x1b[D\x1b[D"),
                9 => typist.press("\r"),
                10 => typist.press("\x17"),
                _ => typist.press("\x12a"),
            }
        }
        typist.press("\x07\x05");
        let shown = typist.text();
        let whole: Vec<_> = shown.lines().filter(|line| line.starts_with('[')).collect();
        prop_assert_eq!(whole, printed);
        let mut last = Screen::new(columns);
        last.write(&typist.editor.view().0);
        prop_assert!(shown.ends_with(&last.text()), "{}", shown);
    }
}
