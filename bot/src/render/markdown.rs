//! Somebody else's text within our Markdown: it is shown as it is, and does nothing.
//!
//! It must not become HTML, a link, a mention that notifies people, a reference that marks other issues, or the end of
//! the table that it stands in; and it must not turn the line around with marks of direction.

use crate::text;

/// Text in a code span: nothing in it is read as Markdown, and GitHub looks for no mentions there. At most `max`
/// graphemes. Safe within tables.
pub fn code(content: &str, max: usize) -> String {
    let content = text::cut(&visible(content), max);
    let content = content.trim();
    if content.is_empty() {
        // Without emphasis: two of them in a row would be read as one, with asterisks in it.
        return "(empty)".into();
    }
    let fence = "`".repeat(longest_run(content, '`') + 1);
    // A table's cell ends at a pipe even within a code span, and a backslash before it is taken away there only.
    let content = content.replace('|', "\u{2758}");
    let pad = if content.starts_with('`') || content.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{content}{pad}{fence}")
}

/// Text within a sentence, everything escaped; not for the start of a line. At most `max` graphemes.
pub fn inline(content: &str, max: usize) -> String {
    /// Stands unseen after a character that would start a mention, a reference or a link.
    const BREAK: char = '\u{200b}';
    let content = text::cut(&visible(content), max);
    let mut out = String::with_capacity(content.len() * 2);
    for (at, c) in content.char_indices() {
        let before = &content[..at];
        let follows = |word: &str| {
            before
                .get(before.len().saturating_sub(word.len())..)
                .is_some_and(|b| b.eq_ignore_ascii_case(word))
        };
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '|' | '~' | '!' | '$' => {
                out.push('\\');
                out.push(c);
            }
            '@' => out.extend(['@', BREAK]),
            '#' => out.extend(['\\', '#', BREAK]),
            ':' if content[at..].starts_with("://") => out.extend([':', BREAK]),
            '-' if follows("gh") => out.extend(['-', BREAK]),
            '.' if follows("www") => out.extend([BREAK, '.']),
            _ => out.push(c),
        }
    }
    out
}

/// One empty line where a template left several, none at the ends: blocks that are absent leave no gap.
pub fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = true;
    let mut fence: Option<usize> = None;
    for line in text.lines() {
        let ticks = line.bytes().take_while(|b| *b == b'`').count();
        match fence {
            Some(opened) if ticks >= opened && line.len() == ticks => fence = None,
            None if ticks >= 3 => fence = Some(ticks),
            _ => {}
        }
        let blank = line.trim().is_empty();
        if blank && empty && fence.is_none() {
            continue;
        }
        out.push_str(line.trim_end());
        out.push('\n');
        empty = blank;
    }
    out.truncate(out.trim_end().len());
    out
}

/// One of our own sentences, in which pieces of other people's text stand in back-quotes.
pub fn prose(sentence: &str, max: usize) -> String {
    let sentence = text::cut(&visible(sentence), max);
    let pieces: Vec<&str> = sentence.split('`').collect();
    if pieces.len().is_multiple_of(2) {
        return inline(&sentence, max);
    }
    let mut out = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        match (index % 2, *piece) {
            (1, "") => out.push_str("\\`\\`"),
            (1, quoted) => out.push_str(&code(quoted, max)),
            (_, "") => {}
            (_, plain) => out.push_str(&inline(plain, max)),
        }
    }
    out
}

/// The end of a program's output as a fenced block: at most `max_bytes` of whole lines, without terminal colours.
pub fn fenced_tail(output: &str, max_bytes: usize) -> String {
    let tail = tail(output, max_bytes);
    let fence = "`".repeat(longest_run(&tail, '`').max(2) + 1);
    format!("{fence}text\n{tail}\n{fence}")
}

/// The end of a program's output: whole lines, no colours, nothing that moves the cursor or turns the text.
pub fn tail(output: &str, max_bytes: usize) -> String {
    let cut = output.len().saturating_sub(max_bytes);
    let start = (cut..=output.len()).find(|at| output.is_char_boundary(*at)).unwrap_or(output.len());
    let kept = &output[start..];
    let kept = match kept.find('\n') {
        Some(newline) if start > 0 => &kept[newline + 1..],
        _ => kept,
    };
    let lines: Vec<String> = without_colours(kept).lines().map(visible).collect();
    let shown = lines.join("\n").trim_matches('\n').to_owned();
    if start > 0 { format!("…\n{shown}") } else { shown }
}

/// One line, with everything replaced that is not seen or that turns the text around it.
pub fn visible(content: &str) -> String {
    content
        .chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            c if c.is_control() || turns_or_hides(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Marks of direction, invisible letters, tags. The joiner of emoji (U+200D) stays.
fn turns_or_hides(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Without the escape sequences of a terminal (`ESC [ … letter`, `ESC ] … BEL`).
fn without_colours(output: &str) -> String {
    let mut out = String::with_capacity(output.len());
    let mut chars = output.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            out.push(c);
            continue;
        }
        match chars.peek() {
            Some('[') => {
                chars.next();
                while chars.next_if(|c| !c.is_ascii_alphabetic() && *c != '\n').is_some() {}
                chars.next_if(char::is_ascii_alphabetic);
            }
            Some(']') => while chars.next_if(|c| *c != '\u{7}' && *c != '\n').is_some() {},
            _ => {}
        }
    }
    out.replace('\u{7}', "")
}

fn longest_run(content: &str, wanted: char) -> usize {
    content
        .chars()
        .fold((0, 0), |(run, longest), c| {
            let run = if c == wanted { run + 1 } else { 0 };
            (run, longest.max(run))
        })
        .1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_spans_cannot_be_closed() {
        assert_eq!(code("a", 50), "`a`");
        assert_eq!(code("a`b", 50), "``a`b``");
        assert_eq!(code("`a`", 50), "`` `a` ``");
        assert_eq!(code("a|b\nc", 50), "`a❘b c`");
        assert_eq!(code(" \n", 50), "(empty)");
        assert_eq!(code("abcdef", 3), "`ab…`");
        assert_eq!(code("a\u{202e}b", 50), "`a\u{fffd}b`");
    }

    #[test]
    fn inline_text_does_nothing() {
        assert_eq!(inline("<b>&", 50), "&lt;b&gt;&amp;");
        assert_eq!(inline("@alice", 50), "@\u{200b}alice");
        assert_eq!(inline("#12", 50), "\\#\u{200b}12");
        assert_eq!(inline("see https://x", 50), "see https:\u{200b}//x");
        assert_eq!(inline("GH-12", 50), "GH-\u{200b}12");
        assert_eq!(inline("[x](y)|`*_", 50), "\\[x\\]\\(y\\)\\|\\`\\*\\_");
        assert_eq!(inline("none: why, a-b 6.1.0", 50), "none: why, a-b 6.1.0");
        assert_eq!(inline("www.x", 50), "www\u{200b}.x");
        assert_eq!(inline("a\nb", 50), "a b");
        assert_eq!(inline("$x$", 50), "\\$x\\$", "GitHub reads mathematics between dollars");
    }

    #[test]
    fn sentences_keep_their_quotes() {
        assert_eq!(prose("The type `@x` is bad", 99), "The type `@x` is bad");
        assert_eq!(prose("one ` alone @x", 99), "one \\` alone @\u{200b}x");
        assert_eq!(prose("`a` `b`", 99), "`a` `b`");
    }

    #[test]
    fn output_loses_colours_and_keeps_its_end() {
        assert_eq!(tail("\u{1b}[1;31merror\u{1b}[0m: x\n", 100), "error: x");
        assert_eq!(tail("first\nsecond\nthird", 8), "…\nthird");
        assert_eq!(fenced_tail("a ``` b", 100), "````text\na ``` b\n````");
        assert_eq!(tail("\u{1b}]0;title\u{7}x", 100), "x");
        assert_eq!(tail("é".repeat(10).as_str(), 3), "…\né");
    }
}
