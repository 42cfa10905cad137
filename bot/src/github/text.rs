//! Texts cut to GitHub's limits: on a character, with a note that something is missing.

/// What stands at the end of a text that was cut.
const NOTE: &str = "\n\n*… cut here: GitHub's limit of characters is reached.*\n";
/// Closes a code block that the cut fell into, so that the note is not part of it.
const CLOSED: &str = "\n```";

/// `text` when it fits, else as much of it as fits together with a note.
pub(super) fn cut_markdown(text: &str, max_chars: usize) -> String {
    if fits(text, max_chars) {
        return text.to_owned();
    }
    let room = max_chars.saturating_sub(NOTE.chars().count() + CLOSED.chars().count());
    let kept = first_chars(text, room);
    let fences = kept.lines().filter(|l| l.trim_start().starts_with("```")).count();
    let closed = if fences % 2 == 1 { CLOSED } else { "" };
    first_chars(&format!("{kept}{closed}{NOTE}"), max_chars).to_owned()
}

/// One line, cut with an ellipsis.
pub(super) fn cut_line(text: &str, max_chars: usize) -> String {
    if fits(text, max_chars) {
        return text.to_owned();
    }
    format!("{}…", first_chars(text, max_chars.saturating_sub(1)))
}

fn fits(text: &str, max_chars: usize) -> bool {
    text.len() <= max_chars || text.chars().nth(max_chars).is_none()
}

fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_left_alone() {
        assert_eq!(cut_markdown("äöü", 3), "äöü");
        assert_eq!(cut_line("äöü", 3), "äöü");
        assert_eq!(cut_line("", 0), "");
    }

    #[test]
    fn a_cut_text_fits_and_says_so() {
        for unit in ["a", "é", "漢", "🦀", "a\n"] {
            let cut = cut_markdown(&unit.repeat(70_000), 65_535);
            assert!(cut.chars().count() <= 65_535, "{unit:?}");
            assert!(cut.ends_with(NOTE), "{unit:?}");
        }
        assert_eq!(cut_line("abcdef", 4), "abc…");
    }

    #[test]
    fn the_note_never_stands_in_a_code_block() {
        let cut = cut_markdown(&format!("```\n{}", "x\n".repeat(1000)), 500);
        assert!(cut.contains("\n```\n\n*…"), "{cut}");
        assert!(cut.chars().count() <= 500);
        let cut = cut_markdown(&format!("```\ncode\n```\n{}", "x\n".repeat(1000)), 500);
        assert_eq!(cut.matches("```").count(), 2);
    }
}
