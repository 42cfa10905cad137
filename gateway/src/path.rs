//! Brings a request path into its one normal form, so that gateway and upstream read the same path.
//!
//! Nothing here touches the network or the clock. The form is that of RFC 3986, section 6.2.2, and one
//! step more: escapes of unreserved characters are decoded, the hex digits of all others are upper case,
//! `.` and `..` segments are resolved, and runs of slashes become one. `%2F` stays as it is: a decoded
//! slash would change which segments there are.

use std::borrow::Cow;
use std::fmt;

/// A path longer than this is refused. Eight kilobytes is what common servers take for a whole request
/// line, and an upstream would refuse more anyway.
pub const PATH_MAX_BYTES: usize = 8 * 1024;

/// The normal form of an absolute path (without its query). Borrowed, and so free of allocation, when the
/// path is already in normal form, as nearly every path is.
pub fn normalize(path: &str) -> Result<Cow<'_, str>, BadPath> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(BadPath::NotAbsolute);
    }
    if bytes.len() > PATH_MAX_BYTES {
        return Err(BadPath::TooLong);
    }
    if looks_normal(bytes) {
        return Ok(Cow::Borrowed(path));
    }
    rewrite(path).map(Cow::Owned)
}

/// Why a path has no normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// It does not start with a slash.
    NotAbsolute,
    /// It is longer than [`PATH_MAX_BYTES`].
    TooLong,
    /// A percent sign without two hexadecimal digits.
    BadEscape,
    /// An escaped NUL, which ends a string in too many programs behind a gateway.
    Nul,
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadPath::NotAbsolute => "the path does not start with a slash",
            BadPath::TooLong => "the path is too long",
            BadPath::BadEscape => "the path has a percent sign without two hexadecimal digits",
            BadPath::Nul => "the path has an escaped NUL",
        })
    }
}

impl std::error::Error for BadPath {}

/// True when nothing in the path can need a rewrite. A segment that only begins with a dot is sent to
/// [`rewrite`] too; it is rare, and the test stays one pass.
fn looks_normal(path: &[u8]) -> bool {
    let mut previous = 0;
    for &byte in path {
        if byte == b'%' || (previous == b'/' && (byte == b'/' || byte == b'.')) {
            return false;
        }
        previous = byte;
    }
    true
}

fn rewrite(path: &str) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len());
    let mut ends_in_slash = false;
    for segment in path.split('/').skip(1) {
        let start = out.len();
        out.push('/');
        push_decoded(&mut out, segment)?;
        ends_in_slash = match &out[start..] {
            "/" | "/." => {
                out.truncate(start);
                true
            }
            "/.." => {
                out.truncate(start);
                out.truncate(out.rfind('/').unwrap_or(0));
                true
            }
            _ => false,
        };
    }
    if ends_in_slash {
        out.push('/');
    }
    Ok(out)
}

/// Appends one segment: unreserved escapes decoded, the others in upper case.
fn push_decoded(out: &mut String, segment: &str) -> Result<(), BadPath> {
    let mut rest = segment;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let (high, low) = match rest.as_bytes()[at..] {
            [_, high, low, ..] => (hex_value(high)?, hex_value(low)?),
            _ => return Err(BadPath::BadEscape),
        };
        match high << 4 | low {
            0 => return Err(BadPath::Nul),
            byte if is_unreserved(byte) => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(hex_digit(high));
                out.push(hex_digit(low));
            }
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Ok(())
}

fn hex_value(digit: u8) -> Result<u8, BadPath> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(BadPath::BadEscape),
    }
}

fn hex_digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'A' + value - 10 })
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(path: &str, expect: Result<&str, BadPath>) {
        assert_eq!(normalize(path).as_deref(), expect.as_ref().map(|p| *p), "{path}");
    }

    #[test]
    fn paths_become_normal() {
        check("/", Ok("/"));
        check("/a/b", Ok("/a/b"));
        check("/a/b/", Ok("/a/b/"));
        check("/a//b", Ok("/a/b"));
        check("//", Ok("/"));
        check("/a/./b", Ok("/a/b"));
        check("/a/.", Ok("/a/"));
        check("/a/..", Ok("/"));
        check("/a/b/../c", Ok("/a/c"));
        check("/a/b/../../../c", Ok("/c"));
        check("/..", Ok("/"));
        check("/.well-known/x", Ok("/.well-known/x"));
        check("/...", Ok("/..."));
        check("/%61%7e", Ok("/a~"));
        check("/a%2fb", Ok("/a%2Fb"));
        check("/a/%2e%2E/b", Ok("/b"));
        check("/%25%32%65", Ok("/%252e"));
        check("/caf\u{e9}%c3%a9", Ok("/caf\u{e9}%C3%A9"));
    }

    #[test]
    fn paths_without_a_normal_form_are_refused() {
        check("", Err(BadPath::NotAbsolute));
        check("a/b", Err(BadPath::NotAbsolute));
        check("*", Err(BadPath::NotAbsolute));
        check("/%", Err(BadPath::BadEscape));
        check("/%4", Err(BadPath::BadEscape));
        check("/%4/a", Err(BadPath::BadEscape));
        check("/%zz", Err(BadPath::BadEscape));
        check("/%\u{e9}a", Err(BadPath::BadEscape));
        check("/a%00", Err(BadPath::Nul));
        check(&format!("/{}", "a".repeat(PATH_MAX_BYTES)), Err(BadPath::TooLong));
    }

    #[test]
    fn a_normal_path_is_borrowed() {
        assert!(matches!(normalize("/api/v1/users/12345/orders"), Ok(Cow::Borrowed(_))));
    }

    proptest! {
        #[test]
        fn normal_form_is_stable(path in "/([a-c./%]|%2[eEfF5]|%4[1-9]|\u{e9}){0,24}") {
            if let Ok(once) = normalize(&path) {
                prop_assert_eq!(normalize(&once).expect("a normal path"), once.clone());
                prop_assert!(once.starts_with('/'));
                prop_assert!(once.len() <= path.len());
                prop_assert!(!once.contains("//"));
                prop_assert!(!once.split('/').any(|segment| segment == "." || segment == ".."));
            }
        }

        #[test]
        fn any_text_is_answered(path in ".{0,40}") {
            let _ = normalize(&path);
        }
    }
}
