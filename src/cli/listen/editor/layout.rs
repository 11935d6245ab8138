//! Where the letters of a line are on a screen that is so many columns wide.
//!
//! Knows widths (Unicode's) and that a screen goes on in the next row. Refuses to know how a cursor
//! is moved.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// A place on the screen, from that of the first letter on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) row: usize,
    /// Less than the columns there are.
    pub(super) column: usize,
}

/// Where the letter behind `text` is.
pub(super) fn end(text: &str, columns: usize) -> Place {
    let columns = columns.max(COLUMNS_MIN);
    let mut place = Place::default();
    for letter in text.graphemes(true) {
        let width = letter.width();
        if place.column + width > columns {
            place.row += 1;
            place.column = 0;
        }
        place.column += width;
        if place.column == columns {
            place.row += 1;
            place.column = 0;
        }
    }
    place
}

/// A wide letter fits.
const COLUMNS_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_full_is_followed_by_the_next() {
        for (text, columns, row, column) in [
            ("", 10, 0, 0),
            ("123456789", 10, 0, 9),
            ("1234567890", 10, 1, 0),
            ("1234567890a", 10, 1, 1),
            ("漢字", 10, 0, 4),
            ("123漢", 4, 1, 2),
            ("e\u{301}", 10, 0, 1),
            ("漢", 0, 1, 0),
        ] {
            assert_eq!(
                end(text, columns),
                Place { row, column },
                "{text:?} {columns}"
            );
        }
    }
}
