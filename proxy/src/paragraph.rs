//! Text for a terminal: wrapped at blanks, with what others chose made visible. Pure.

use std::fmt::Write as _;

/// What a terminal shows without wrapping by itself.
pub const WIDTH: usize = 100;
/// Characters of a text that somebody else chose; its beginning tells which is meant.
const SHOWN: usize = 48;

/// Breaks a text at blanks so that no line is longer than [`WIDTH`], and begins every line but the first with `indent` blanks. The
/// first one begins at column `from`. A word that is longer than a line stays whole: it is an ARN or a command, and will be copied.
#[must_use]
pub fn wrap(text: &str, from: usize, indent: usize) -> String {
    let (mut wrapped, mut column) = (String::new(), from);
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if !wrapped.is_empty() && column + 1 + length > WIDTH {
            let _infallible = write!(wrapped, "\n{:indent$}", "");
            column = indent;
        } else if !wrapped.is_empty() {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

/// A text that a job may have chosen: control and direction characters are escaped, and a long one is cut.
#[must_use]
pub fn show(text: &str) -> String {
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == SHOWN {
            shown.push('…');
            break;
        }
        match character {
            ' '..='~' => shown.push(character),
            // What is beyond ASCII can look like something else, or turn the line around.
            _ => shown.extend(character.escape_unicode()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_broken_at_blanks() {
        let text = "word ".repeat(30);
        let wrapped = wrap(&text, 4, 8);
        let lines: Vec<&str> = wrapped.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len() + 4, 98);
        assert!(lines[1].starts_with("        word"));
    }

    #[test]
    fn what_a_job_chose_cannot_move_the_cursor_or_turn_the_line() {
        assert_eq!(show("main\u{1b}[2J\n\u{202e}x"), "main\\u{1b}[2J\\u{a}\\u{202e}x");
        assert_eq!(show(&"x".repeat(60)), format!("{}…", "x".repeat(48)));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_line_of_short_words_is_too_long(words in proptest::collection::vec("[a-z]{1,40}", 0..40), indent in 0_usize..20) {
            let wrapped = wrap(&words.join(" "), indent, indent);
            prop_assert_eq!(wrapped.split_whitespace().collect::<Vec<_>>(), words);
            for (number, line) in wrapped.lines().enumerate() {
                let before = if number == 0 { indent } else { 0 };
                prop_assert!(line.len() + before <= WIDTH, "{:?}", line);
            }
        }

        #[test]
        fn what_is_shown_is_ascii_that_a_terminal_prints(text in any::<String>()) {
            prop_assert!(show(&text).chars().all(|c| matches!(c, ' '..='~' | '…')));
        }
    }
}
