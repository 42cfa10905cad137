//! One pattern of CODEOWNERS: gitignore's language as far as GitHub takes it over.
//!
//! Its differences to gitignore: no `!`, no `[a-z]`, and a last `*` does not go into directories (`docs/*` owns
//! `docs/a.md`, not `docs/b/c.md`).

/// What a pattern asks of a path, component by component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
    /// How the end of the pattern relates to the end of the path.
    end: End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// `**`: any number of components, also none.
    Any,
    Literal(String),
    /// With wildcards within one component.
    Glob(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// `*`
    Star,
    /// `?`
    One,
    Char(char),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The path itself: after a last `*`.
    Here,
    /// The path itself, or anything below it.
    HereOrBelow,
    /// Only what lies below: after a last `/`, and after a last `**`.
    Below,
}

/// By which of a path's parts a pattern can be looked up, so that few patterns have to be tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Paths that are this one, or lie below it. Empty: all.
    Under(String),
    /// Paths with a component of this name.
    Named(String),
    /// Paths with a component of this extension.
    Extension(String),
}

impl Pattern {
    /// Reads one, with `\` before a character that stands for itself. Errors are for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('!') {
            return Err("a pattern cannot be negated with `!`; write it below, without owners".into());
        }
        if text.starts_with("\\#") {
            return Err("a pattern cannot begin with `#`, not even with `\\` before it".into());
        }
        if text.contains("***") {
            return Err("`***` has no meaning".into());
        }
        let rooted = text.strip_prefix('/');
        let inner = rooted.unwrap_or(text);
        let (inner, directory) = match inner.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        if inner.is_empty() || inner.split('/').any(str::is_empty) {
            return Err("a part between slashes is empty".into());
        }
        let mut pieces = Vec::new();
        // Without a slash before its end, a pattern holds at any depth.
        if rooted.is_none() && !inner.contains('/') && inner != "**" {
            pieces.push(Piece::Any);
        }
        for part in inner.split('/') {
            let piece = piece(part)?;
            if piece != Piece::Any || pieces.last() != Some(&Piece::Any) {
                pieces.push(piece);
            }
        }
        let end = if directory || pieces.last() == Some(&Piece::Any) {
            if pieces.last() == Some(&Piece::Any) {
                pieces.pop();
            }
            End::Below
        } else if pieces.last() == Some(&Piece::Glob(vec![Token::Star])) {
            End::Here
        } else {
            End::HereOrBelow
        };
        Ok(Self { pieces, end })
    }

    /// Whether a path, given by its components, is matched.
    ///
    /// Where a `**` was tried at one place and what follows it failed later, only the last `**` need be moved on: so
    /// time is bounded by components times pieces.
    pub fn matches(&self, path: &[&str]) -> bool {
        let (mut piece, mut part) = (0, 0);
        let mut again: Option<(usize, usize)> = None;
        loop {
            if piece == self.pieces.len() {
                let fits = match self.end {
                    End::Here => part == path.len(),
                    End::HereOrBelow => true,
                    End::Below => part < path.len(),
                };
                if fits {
                    return true;
                }
            } else if self.pieces[piece] == Piece::Any {
                again = Some((piece + 1, part));
                piece += 1;
                continue;
            } else if part < path.len() && self.pieces[piece].fits(path[part]) {
                piece += 1;
                part += 1;
                continue;
            }
            let Some((piece_after, part_at)) = again else { return false };
            if part_at >= path.len() {
                return false;
            }
            again = Some((piece_after, part_at + 1));
            (piece, part) = (piece_after, part_at + 1);
        }
    }

    /// The narrowest key of all paths that can match.
    pub fn key(&self) -> Key {
        let literal = |piece: &Piece| match piece {
            Piece::Literal(name) => Some(name.clone()),
            _ => None,
        };
        let prefix: Vec<String> = self.pieces.iter().map_while(literal).collect();
        if !prefix.is_empty() {
            return Key::Under(prefix.join("/"));
        }
        if let Some(name) = self.pieces.iter().rev().find_map(literal) {
            return Key::Named(name);
        }
        let extension = self.pieces.iter().rev().find_map(|piece| match piece {
            Piece::Glob(tokens) => extension(tokens),
            _ => None,
        });
        extension.map_or(Key::Under(String::new()), Key::Extension)
    }
}

/// What stands behind the last point, where no wildcard follows it.
fn extension(tokens: &[Token]) -> Option<String> {
    let point = tokens.iter().rposition(|token| *token == Token::Char('.'))?;
    let letters = tokens[point + 1..].iter().map(|token| match token {
        Token::Char(c) => Some(*c),
        _ => None,
    });
    letters.collect()
}

impl Piece {
    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Literal(text) => text == name,
            Self::Glob(tokens) => glob(tokens, name),
        }
    }
}

fn piece(text: &str) -> Result<Piece, String> {
    if text == "**" {
        return Ok(Piece::Any);
    }
    let mut tokens = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => tokens.push(Token::Char(chars.next().ok_or("a `\\` stands before nothing")?)),
            // Two stars beside something else are one.
            '*' if tokens.last() == Some(&Token::Star) => {}
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::One),
            '[' => return Err("character ranges (`[…]`) do not work; write `\\[` for the character".into()),
            c => tokens.push(Token::Char(c)),
        }
    }
    let literal = tokens.iter().map(|token| match token {
        Token::Char(c) => Some(*c),
        _ => None,
    });
    Ok(match literal.collect::<Option<String>>() {
        Some(name) => Piece::Literal(name),
        None => Piece::Glob(tokens),
    })
}

/// One component against one glob; only the last `*` is ever moved on.
fn glob(tokens: &[Token], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut token, mut at) = (0, 0);
    let mut again: Option<(usize, usize)> = None;
    loop {
        match tokens.get(token) {
            None if at == name.len() => return true,
            Some(Token::Star) => {
                again = Some((token + 1, at));
                token += 1;
                continue;
            }
            Some(Token::One) if at < name.len() => {
                token += 1;
                at += 1;
                continue;
            }
            Some(Token::Char(c)) if name.get(at) == Some(c) => {
                token += 1;
                at += 1;
                continue;
            }
            _ => {}
        }
        let Some((token_after, at_from)) = again else { return false };
        if at_from >= name.len() {
            return false;
        }
        again = Some((token_after, at_from + 1));
        (token, at) = (token_after, at_from + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        Pattern::parse(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}")).matches(&parts)
    }

    /// GitHub's own examples, and gitignore's.
    #[test]
    fn githubs_examples() {
        for (pattern, path, expect) in [
            ("*", "a", true),
            ("*", "a/b/c", true),
            ("*.js", "a.js", true),
            ("*.js", "a/b.js", true),
            ("*.js", "a.jsx", false),
            ("/build/logs/", "build/logs/a/b", true),
            ("/build/logs/", "build/logs", false),
            ("/build/logs/", "x/build/logs/a", false),
            ("docs/*", "docs/getting-started.md", true),
            ("docs/*", "docs/build-app/troubleshooting.md", false),
            ("docs/*", "x/docs/a", false),
            ("apps/", "apps/a", true),
            ("apps/", "x/apps/a/b", true),
            ("apps/", "x/apps", false),
            ("/docs/", "docs/a", true),
            ("/docs/", "x/docs/a", false),
            ("/apps/github", "apps/github", true),
            ("/apps/github", "apps/github/a", true),
            ("/apps/github", "apps/githubs", false),
            ("**/logs", "build/logs/a", true),
            ("**/logs", "logs", true),
            ("**/logs", "deeply/nested/logs/a/b", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/x/y/c", false),
            ("a/**/b", "x/a/b", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**", "a/b", true),
            ("/**", "a/b", true),
            ("/*", "a", true),
            ("/*", "a/b", false),
            ("/a*/x", "ab/x", true),
            ("/a*/x", "ab/c/x", false),
            ("/a?c", "abc", true),
            ("/a?c", "a/c", false),
            ("README.md", "a/README.md", true),
            ("readme.md", "README.md", false),
            ("src/*.rs", "src/a.rs", true),
            ("src/*.rs", "src/b/a.rs", false),
            ("src/**/*.rs", "src/b/c/a.rs", true),
            ("src/**/*.rs", "src/a.rs", true),
            ("a\\ b", "a b", true),
            ("\\[id\\].ts", "x/[id].ts", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("**/a/**/b/*.c", "x/a/b/a/y/b/z.c", true),
            ("foo**bar", "fooxbar", true),
        ] {
            assert_eq!(matches(pattern, path), expect, "{pattern} against {path}");
        }
    }

    #[test]
    fn what_github_does_not_take() {
        for bad in ["!a", "[ab].c", "a/***/b", "/", "//", "a//b", "\\#a", "a\\"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_narrow_the_search() {
        let key = |pattern: &str| Pattern::parse(pattern).map(|p| p.key());
        assert_eq!(key("/a/b/*.c"), Ok(Key::Under("a/b".into())));
        assert_eq!(key("a/b/c"), Ok(Key::Under("a/b/c".into())));
        assert_eq!(key("docs/"), Ok(Key::Named("docs".into())));
        assert_eq!(key("**/a*/logs"), Ok(Key::Named("logs".into())));
        assert_eq!(key("*.d.ts"), Ok(Key::Extension("ts".into())));
        assert_eq!(key("*"), Ok(Key::Under("".into())));
        assert_eq!(key("a*"), Ok(Key::Under("".into())));
    }

    #[test]
    fn stars_without_end_are_read_once() {
        let pattern = "*a".repeat(2_000);
        assert!(!matches(&pattern, &"a".repeat(4_000).replace("aa", "ab")));
        let deep = "**/a*/".repeat(1_000);
        assert!(!matches(&format!("{deep}z"), "ab/".repeat(1_000).trim_end_matches('/')));
    }
}
