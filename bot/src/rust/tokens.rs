//! The tokens of a Rust file: comments, strings, raw strings, characters and lifetimes are told apart. One pass.

use std::ops::Range;

/// Words, and every other character by itself; comments and white space are no tokens, a literal is one.
pub fn tokens(source: &str) -> Vec<Range<usize>> {
    let bytes = source.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        at = match bytes[at] {
            b if b.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at = line_end(bytes, at);
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at = comment_end(bytes, at);
                continue;
            }
            b'"' => string_end(bytes, at + 1),
            b'\'' => character_end(source, at),
            b if word(b) => {
                let mut end = at;
                while end < bytes.len() && word(bytes[end]) {
                    end += 1;
                }
                // `r"…"`, `br#"…"#`, `b"…"`, `c"…"`, `b'…'`; `r#type` is a word.
                match (&source[at..end], bytes.get(end)) {
                    ("r" | "br" | "cr", Some(b'"' | b'#')) => raw_end(bytes, end).unwrap_or(end),
                    ("b" | "c", Some(b'"')) => string_end(bytes, end + 1),
                    ("b", Some(b'\'')) => character_end(source, end),
                    _ => end,
                }
            }
            _ => at + 1,
        };
        tokens.push(start..at);
    }
    tokens
}

/// Letters, digits, `_`, and every byte beyond ASCII, which stands in words and literals only.
fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |length| at + length)
}

/// Block comments nest.
fn comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `at` is behind the opening quote.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `at` is behind `r`; `None` for a raw word.
fn raw_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at..].iter().take_while(|b| **b == b'#').count();
    if bytes.get(at + hashes) != Some(&b'"') {
        return None;
    }
    let mut from = at + hashes + 1;
    loop {
        let Some(quote) = bytes[from..].iter().position(|b| *b == b'"') else { return Some(bytes.len()) };
        from += quote + 1;
        if bytes[from..].iter().take(hashes).filter(|b| **b == b'#').count() == hashes {
            return Some(from + hashes);
        }
    }
}

/// A character with its quotes, or the quote alone of a lifetime.
fn character_end(source: &str, at: usize) -> usize {
    let mut rest = source[at + 1..].char_indices();
    match rest.next() {
        Some((_, '\\')) => {
            // Behind the escaped character, up to the quote: `'\''`, `'\u{1f600}'`.
            let escaped = rest.next().map_or(source.len(), |(index, c)| at + 1 + index + c.len_utf8());
            source[escaped..].find('\'').map_or(source.len(), |length| escaped + length + 1)
        }
        Some((_, c)) if source[at + 1 + c.len_utf8()..].starts_with('\'') => at + 1 + c.len_utf8() + 1,
        _ => at + 1,
    }
}

/// One past the bracket that closes the one at this token; the end where none does.
pub fn closed(tokens: &[Range<usize>], source: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match &source[token.clone()] {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}
