//! How git prints a path that holds control characters, quotes or bytes beyond ASCII: quoted as in C.

use std::borrow::Cow;

/// The path behind one printed line. What is not quoted soundly is taken as it stands.
pub fn unquoted(line: &[u8]) -> Cow<'_, [u8]> {
    let inner = line.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    match inner.and_then(unescaped) {
        Some(path) => Cow::Owned(path),
        None => Cow::Borrowed(line),
    }
}

fn unescaped(inner: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'"' {
            return None;
        }
        if byte != b'\\' {
            path.push(byte);
            continue;
        }
        path.push(match bytes.next()? {
            b'a' => 7,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 11,
            b'f' => 12,
            b'r' => b'\r',
            c @ (b'"' | b'\\') => c,
            first @ b'0'..=b'3' => {
                let mut digit =
                    || bytes.next().filter(u8::is_ascii_digit).map(|digit| digit - b'0').filter(|d| *d < 8);
                (first - b'0') << 6 | digit()? << 3 | digit()?
            }
            _ => return None,
        });
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_quoting_is_undone() {
        for (line, path) in [
            (&b"a b"[..], &b"a b"[..]),
            (b"\"a\\tb\\\\\\\"\"", b"a\tb\\\""),
            (b"\"\\303\\244\\377\"", b"\xc3\xa4\xff"),
            (b"\"a", b"\"a"),
            (b"\"", b"\""),
            (b"\"a\\9\"", b"\"a\\9\""),
            (b"\"a\\400\"", b"\"a\\400\""),
            (b"\"a\\3\"", b"\"a\\3\""),
            (b"\"a\"b\"", b"\"a\"b\""),
        ] {
            assert_eq!(unquoted(line).as_ref(), path, "{}", String::from_utf8_lossy(line));
        }
    }
}
