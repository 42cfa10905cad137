//! The first line of a commit message: `type(scope)!: description`, read by Conventional Commits 1.0.0.
//!
//! One pass from left to right, no back-tracking: linear in the line's length.

/// A header that follows the specification, as slices of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    pub kind: &'a str,
    pub scope: Option<&'a str>,
    pub breaking: bool,
    pub description: &'a str,
    /// Where the description starts, in bytes of the line.
    pub description_at: usize,
}

/// Why a line is no header, and at which byte that shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderFault {
    pub at: usize,
    pub message: String,
}

/// Longer lines get no suggestion: nobody copies them.
const SUGGESTED_MAX_BYTES: usize = 1_000;

/// Reads one line.
pub fn scan(line: &str) -> Result<Header<'_>, HeaderFault> {
    let fault = |at: usize, message: &str| Err(HeaderFault { at, message: message.into() });
    if line.trim().is_empty() {
        return fault(0, "The commit message is empty.");
    }
    if line.starts_with(char::is_whitespace) {
        return fault(0, "White space comes before the type.");
    }
    let kind_end = line.find(ends_type).unwrap_or(line.len());
    let kind = &line[..kind_end];
    if !is_type(kind) {
        return fault(0, "The header does not start with a type, such as `feat: ` or `fix(parser): `.");
    }
    let mut at = kind_end;
    let mut scope = None;
    if line[at..].starts_with('(') {
        let Some(length) = line[at + 1..].find(')') else {
            return fault(at, "The scope's `(` is never closed.");
        };
        let inner = &line[at + 1..at + 1 + length];
        check_scope(inner, at + 1)?;
        scope = Some(inner);
        at += length + 2;
    }
    let breaking = line[at..].starts_with('!');
    if breaking {
        at += 1;
    }
    let rest = &line[at..];
    let Some(after) = rest.strip_prefix(':') else {
        return Err(HeaderFault { at, message: no_colon(line, rest, scope.is_some(), breaking) });
    };
    at += 1;
    if after.trim().is_empty() {
        return fault(at, "There is no description after the colon.");
    }
    if !after.starts_with(' ') {
        let text = match after.chars().next() {
            Some(c) if c.is_whitespace() => {
                "The colon must be followed by a plain space, not by another kind of white space."
            }
            _ => "A space is missing after the colon.",
        };
        return fault(at, text);
    }
    let description = after.trim();
    let description_at = at + (after.len() - after.trim_start().len());
    Ok(Header { kind, scope, breaking, description, description_at })
}

/// The header as its writer most likely meant it. Always a header that [`scan`] accepts.
pub fn repaired(line: &str) -> Option<String> {
    if line.len() > SUGGESTED_MAX_BYTES {
        return None;
    }
    offered(&repunctuated(line).or_else(|| guessed(line))?)
}

/// A header as a suggestion: only one that is right itself, and short enough to be copied.
pub fn offered(line: &str) -> Option<String> {
    scan(line).ok()?;
    short_enough(line.to_owned())
}

/// A suggestion of any number of lines, unless nobody would copy it for its length.
pub fn short_enough(lines: String) -> Option<String> {
    (lines.len() <= SUGGESTED_MAX_BYTES).then_some(lines)
}

/// Puts the parts together; the opposite of [`scan`].
pub fn written(kind: &str, scope: Option<&str>, breaking: bool, description: &str) -> String {
    let scope = scope.map(|s| format!("({s})")).unwrap_or_default();
    let mark = if breaking { "!" } else { "" };
    format!("{kind}{scope}{mark}: {description}")
}

fn ends_type(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | ':' | '!' | '：')
}

/// A noun: starts with a letter or a digit and holds no control characters (`feat`, `foo-bar`, `foo2bar`).
fn is_type(word: &str) -> bool {
    word.starts_with(char::is_alphanumeric) && !word.contains(char::is_control)
}

fn check_scope(inner: &str, at: usize) -> Result<(), HeaderFault> {
    let message = if inner.trim().is_empty() {
        "The scope is empty: name one, or leave the parentheses out."
    } else if inner.contains('(') {
        "A scope cannot hold parentheses."
    } else if inner.trim() != inner {
        "White space stands at the edge of the scope."
    } else {
        return Ok(());
    };
    Err(HeaderFault { at, message: message.into() })
}

/// What stands where the colon should be.
fn no_colon(line: &str, rest: &str, scoped: bool, breaking: bool) -> String {
    let meant = repunctuated(line).is_some();
    let text = match rest.chars().next() {
        Some('(') if breaking => "The scope comes before the `!`: `feat(scope)!: `.",
        Some('(') if scoped => "There are two scopes; write one, such as `feat(a,b): `.",
        Some('!') if breaking => "One `!` is enough.",
        Some('：') => "The colon is a full-width one; it must be `:`.",
        Some(c) if c.is_whitespace() && meant => match rest.trim_start().chars().next() {
            Some('(') => "White space stands between the type and its scope.",
            Some('!') => "White space stands before the `!`.",
            _ => "White space stands before the colon.",
        },
        Some(c) if !c.is_whitespace() && (scoped || breaking) => "A colon is missing before the description.",
        _ if scoped || breaking => "A colon and a description are missing.",
        _ => "The header does not start with a type and a colon, such as `feat: ` or `fix(parser): `.",
    };
    text.into()
}

/// Type, scopes, marks and colon in the right order, when all that is wrong is what stands between them.
fn repunctuated(line: &str) -> Option<String> {
    let line = line.trim();
    let kind_end = line.find(ends_type)?;
    let kind = &line[..kind_end];
    if !is_type(kind) {
        return None;
    }
    let mut scopes: Vec<String> = Vec::new();
    let mut breaking = false;
    let mut rest = line[kind_end..].trim_start();
    loop {
        let next = rest.chars().next()?;
        let after = &rest[next.len_utf8()..];
        match next {
            '(' => {
                let (inner, beyond) = after.split_once(')')?;
                let inner = inner.replace('(', " ");
                if !inner.trim().is_empty() {
                    scopes.push(inner.trim().to_owned());
                }
                rest = beyond.trim_start();
            }
            ')' if !scopes.is_empty() => rest = after.trim_start(),
            '!' => {
                breaking = true;
                rest = after.trim_start();
            }
            // An address is no type with a description.
            ':' if after.starts_with("//") => return None,
            ':' | '：' => {
                let description = after.trim();
                let scope = (!scopes.is_empty()).then(|| scopes.join(","));
                return (!description.is_empty())
                    .then(|| written(kind, scope.as_deref(), breaking, description));
            }
            _ => return None,
        }
    }
}

/// A type from the first word of a plain sentence: a guess, offered as a suggestion only.
fn guessed(line: &str) -> Option<String> {
    let (first, rest) = line.trim().split_once(char::is_whitespace)?;
    let word = first.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let rest = rest.trim();
    if rest.is_empty() {
        return None;
    }
    let kind = match word.as_str() {
        "fix" | "fixes" | "fixed" | "fixing" | "bugfix" | "hotfix" => {
            return Some(written("fix", None, false, rest));
        }
        "feat" | "feature" => return Some(written("feat", None, false, rest)),
        "chore" | "docs" | "test" | "perf" | "refactor" | "build" | "ci" | "style"
            if first.starts_with(['[', '<']) =>
        {
            return Some(written(&word, None, false, rest));
        }
        "add" | "adds" | "added" | "introduce" | "implement" | "support" | "allow" | "enable" => "feat",
        "correct" | "prevent" | "avoid" | "handle" | "repair" => "fix",
        "document" | "docs" | "doc" | "explain" | "readme" => "docs",
        "refactor" | "rename" | "move" | "extract" | "simplify" | "clean" | "cleanup" | "split" | "tidy" => {
            "refactor"
        }
        "test" | "tests" => "test",
        "optimise" | "optimize" | "speed" | "cache" => "perf",
        "bump" | "upgrade" | "update" | "release" | "remove" | "delete" | "drop" => "chore",
        _ => return None,
    };
    Some(written(kind, None, false, &format!("{word} {rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_specification_allows() {
        type Parts = (&'static str, Option<&'static str>, bool, &'static str);
        #[rustfmt::skip]
        let table: &[(&str, Parts)] = &[
            ("feat: x", ("feat", None, false, "x")),
            ("FEAT: x", ("FEAT", None, false, "x")),
            ("Feat: x", ("Feat", None, false, "x")),
            ("feat!: x", ("feat", None, true, "x")),
            ("feat(a)!: x", ("feat", Some("a"), true, "x")),
            ("feat(@org/pkg): x", ("feat", Some("@org/pkg"), false, "x")),
            ("feat(a/b): x", ("feat", Some("a/b"), false, "x")),
            ("feat(a.b): x", ("feat", Some("a.b"), false, "x")),
            ("feat(a,b): x", ("feat", Some("a,b"), false, "x")),
            ("feat(a:b): x", ("feat", Some("a:b"), false, "x")),
            ("feat(a b): x", ("feat", Some("a b"), false, "x")),
            ("foo-bar: x", ("foo-bar", None, false, "x")),
            ("foo2bar: x", ("foo2bar", None, false, "x")),
            ("fix: x (#12)", ("fix", None, false, "x (#12)")),
            ("fix: a: b", ("fix", None, false, "a: b")),
            ("fix: (a): b!: c", ("fix", None, false, "(a): b!: c")),
            ("fix:  two spaces", ("fix", None, false, "two spaces")),
            ("功能: 新路由", ("功能", None, false, "新路由")),
        ];
        for (line, (kind, scope, breaking, description)) in table {
            let header = scan(line).unwrap_or_else(|f| panic!("{line:?}: {f:?}"));
            assert_eq!(
                (header.kind, header.scope, header.breaking, header.description),
                (*kind, *scope, *breaking, *description),
                "{line:?}"
            );
            assert!(line[header.description_at..].starts_with(header.description));
        }
    }

    #[test]
    fn refuses_the_rest_and_says_what_was_meant() {
        #[rustfmt::skip]
        let table: &[(&str, usize, Option<&str>)] = &[
            ("feat:x", 5, Some("feat: x")),
            ("feat : x", 4, Some("feat: x")),
            (" feat: x", 0, Some("feat: x")),
            ("feat (a): x", 4, Some("feat(a): x")),
            ("feat(): x", 5, Some("feat: x")),
            ("feat(a):", 8, None),
            ("feat(a): ", 8, None),
            ("feat(a)(b): x", 7, Some("feat(a,b): x")),
            ("feat!(a): x", 5, Some("feat(a)!: x")),
            ("feat!!: x", 5, Some("feat!: x")),
            ("feat( ): x", 5, Some("feat: x")),
            ("feat( a ): x", 5, Some("feat(a): x")),
            ("feat((a)): x", 5, Some("feat(a): x")),
            ("feat(a: x", 4, None),
            ("feat：x", 4, Some("feat: x")),
            ("feat:\tx", 5, Some("feat: x")),
            ("feat:\u{a0}x", 5, Some("feat: x")),
            ("feat(a) x", 7, None),
            ("feat", 4, None),
            (": x", 0, None),
            ("(a): x", 0, None),
            ("", 0, None),
            ("   ", 0, None),
            ("Fix the parser", 3, Some("fix: the parser")),
            ("Add a cache", 3, Some("feat: add a cache")),
            ("[docs] say more", 0, Some("docs: say more")),
            ("Rust is nice", 4, None),
            ("Update (again) the list", 6, Some("chore: update (again) the list")),
            ("https://example.org/ is down", 6, None),
        ];
        for (line, at, suggestion) in table {
            let fault = scan(line).expect_err(line);
            assert_eq!(fault.at, *at, "{line:?}: {}", fault.message);
            assert_eq!(repaired(line).as_deref(), *suggestion, "{line:?}: {}", fault.message);
        }
    }
}
