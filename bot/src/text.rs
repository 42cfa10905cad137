//! Lengths, columns and cuts of text as people see it: in graphemes, linear in the text's length.

use unicode_segmentation::UnicodeSegmentation;

/// Of a quoted piece of somebody's text in a message.
const QUOTE_MAX_GRAPHEMES: usize = 40;

/// Number of graphemes. Never more than the number of bytes.
pub fn graphemes(text: &str) -> usize {
    text.graphemes(true).count()
}

/// Whether the text has more than `max` graphemes; looks no further than it must.
pub fn longer_than(text: &str, max: usize) -> bool {
    text.len() > max && text.graphemes(true).nth(max).is_some()
}

/// Column from 1 of the byte offset `at`, in graphemes. `at` lies on a character boundary.
pub fn column(text: &str, at: usize) -> u32 {
    u32::try_from(graphemes(&text[..at])).unwrap_or(u32::MAX).saturating_add(1)
}

/// The byte offset of the grapheme with this index, or the text's length.
pub fn offset(text: &str, index: usize) -> usize {
    text.grapheme_indices(true).nth(index).map_or(text.len(), |(at, _)| at)
}

/// The first `max` graphemes; a text that was cut ends with `…` (which counts).
///
/// A grapheme can hold any number of combining characters, so its bytes are bounded too.
pub fn cut(text: &str, max: usize) -> String {
    /// Longest grapheme in use (a family emoji with skin tones) is 41 bytes.
    const GRAPHEME_MAX_BYTES: usize = 64;
    let mut kept = String::new();
    for (count, grapheme) in text.graphemes(true).enumerate() {
        if count + 1 == max && kept.len() + grapheme.len() < text.len() {
            kept.push('…');
            return kept;
        }
        if grapheme.len() > GRAPHEME_MAX_BYTES {
            kept.push('\u{fffd}');
        } else {
            kept.push_str(grapheme);
        }
    }
    kept
}

/// A piece of somebody's text within a message: bounded, and in back-quotes that it cannot close.
pub fn quoted(piece: &str) -> String {
    format!("`{}`", cut(piece, QUOTE_MAX_GRAPHEMES).replace('`', "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_counts_what_people_see() {
        assert_eq!(column("fe\u{301}at: x", 4), 3);
        assert_eq!(column("👩‍👩‍👧: x", "👩‍👩‍👧".len()), 2);
        assert_eq!(column("", 0), 1);
    }

    #[test]
    fn a_cut_keeps_its_bound() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("", 3), "");
        let zalgo = format!("a{}", "\u{301}".repeat(1000));
        assert_eq!(cut(&zalgo, 3), "\u{fffd}");
        assert!(longer_than("abcd", 3) && !longer_than("abc", 3) && !longer_than("ééé", 3));
    }
}
