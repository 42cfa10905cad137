//! Body and footers below a commit's header, by Conventional Commits 1.0.0, rules 6 to 10 and 12.

use super::message::Text;

/// `token: value` or `token #value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    pub token: String,
    /// What follows the separator; may hold line breaks.
    pub value: String,
    /// Whether the separator is a colon and a space; only then can it announce a breaking change.
    pub colon: bool,
}

impl Footer {
    pub fn breaking(&self) -> bool {
        self.colon && is_breaking(&self.token)
    }
}

/// What stands below the header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Below {
    pub body: Option<String>,
    pub footers: Vec<Footer>,
    /// Index of the first line of the footers, or one past the last line.
    pub footers_at: usize,
    /// Lines that announce a breaking change and are no footer, for lack of an empty line before them.
    pub unheard: Vec<usize>,
}

/// Splits the lines after the header. Each line is looked at once.
///
/// Footers begin at the first line that has a token and stands after an empty line. From there on a line either begins
/// the next footer or continues the last one's value (rule 10), empty lines and indented ones included.
pub fn split(text: &Text) -> Below {
    let mut below = Below { footers_at: text.lines.len(), ..Below::default() };
    let mut body: Vec<&str> = Vec::new();
    let mut after_blank = false;
    for (index, line) in text.below_header() {
        match token(line) {
            Some(footer) if after_blank || !below.footers.is_empty() => {
                below.footers_at = below.footers_at.min(index);
                below.footers.push(footer);
            }
            found => {
                if found.is_some_and(|f| f.breaking()) {
                    below.unheard.push(index);
                }
                match below.footers.last_mut() {
                    Some(last) => {
                        last.value.push('\n');
                        last.value.push_str(line);
                    }
                    None => body.push(line),
                }
            }
        }
        after_blank = line.trim().is_empty();
    }
    for footer in &mut below.footers {
        footer.value.truncate(footer.value.trim_end().len());
    }
    let body = body.join("\n");
    let body = body.trim_matches('\n').trim_end();
    below.body = (!body.trim().is_empty()).then(|| body.to_owned());
    below
}

/// Whether a line begins a footer, where one may begin.
pub fn begins(line: &str) -> bool {
    token(line).is_some()
}

/// The token at the start of a line: letters, digits and `-`, or `BREAKING CHANGE`; then `: ` or ` #`; then a value.
fn token(line: &str) -> Option<Footer> {
    let end = if line.starts_with("BREAKING CHANGE") {
        "BREAKING CHANGE".len()
    } else {
        line.find(|c: char| !(c.is_alphanumeric() || c == '-'))?
    };
    let (token, rest) = line.split_at(end);
    if !token.starts_with(char::is_alphanumeric) {
        return None;
    }
    let (value, colon) = match (rest.strip_prefix(": "), rest.strip_prefix(" #")) {
        (Some(value), _) => (value, true),
        (_, Some(value)) => (value, false),
        _ => return None,
    };
    let value = value.trim();
    (!value.is_empty()).then(|| Footer { token: token.into(), value: value.into(), colon })
}

/// Upper case only (rule 15); with a space or a hyphen (rule 16).
fn is_breaking(token: &str) -> bool {
    token == "BREAKING CHANGE" || token == "BREAKING-CHANGE"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, body: Option<&str>, footers: &[(&str, &str)], breaking: bool) {
        let below = split(&Text::new(message));
        let found: Vec<_> = below.footers.iter().map(|f| (f.token.as_str(), f.value.as_str())).collect();
        assert_eq!(found, footers, "{message:?}");
        assert_eq!(below.body.as_deref(), body, "{message:?}");
        assert_eq!(below.footers.iter().any(Footer::breaking), breaking, "{message:?}");
    }

    #[test]
    fn footers_of_the_specification() {
        check(
            "fix: x\n\nbody\n\nReviewed-by: Z\nRefs: #123",
            Some("body"),
            &[("Reviewed-by", "Z"), ("Refs", "#123")],
            false,
        );
        check("fix: x\n\nCloses #12", None, &[("Closes", "12")], false);
        check("fix: x\n\nFixes: #1, #2", None, &[("Fixes", "#1, #2")], false);
        check("fix: x\n\nBREAKING CHANGE: all\nof it", None, &[("BREAKING CHANGE", "all\nof it")], true);
        check("fix: x\n\nBREAKING-CHANGE: all", None, &[("BREAKING-CHANGE", "all")], true);
        check("fix: x\n\nBREAKING CHANGE #1", None, &[("BREAKING CHANGE", "1")], false);
        check("fix: x\n\nBREAKING-CHANGE #1", None, &[("BREAKING-CHANGE", "1")], false);
        check("fix: x\n\nbreaking-change: y", None, &[("breaking-change", "y")], false);
        check("fix: x\n\nbreaking change: y", Some("breaking change: y"), &[], false);
    }

    #[test]
    fn values_go_on_until_the_next_token() {
        check(
            "fix: x\n\nNote: one\n  two: three\n\nfour\nAcked-by: A",
            None,
            &[("Note", "one\n  two: three\n\nfour"), ("Acked-by", "A")],
            false,
        );
    }

    #[test]
    fn what_is_no_footer() {
        for body in [
            "  key: value",
            "https://example.org/a: b",
            "https://example.org",
            "see also: this",
            "Closes:",
            "-x: y",
            "one line\nCloses: after a line of text",
            "---\nupdated-dependencies:\n- dependency-name: a\n  dependency-type: direct:production\n...",
        ] {
            check(&format!("fix: x\n\n{body}"), Some(body), &[], false);
        }
    }

    #[test]
    fn dependabot_signs_below_its_yaml() {
        let yaml = "Bumps a.\n\n---\nupdated-dependencies:\n- dependency-name: a\n...";
        check(
            &format!("build(deps): bump a\n\n{yaml}\n\nSigned-off-by: dependabot[bot] <s@example.org>"),
            Some(yaml),
            &[("Signed-off-by", "dependabot[bot] <s@example.org>")],
            false,
        );
    }

    #[test]
    fn windows_line_ends_and_many_paragraphs() {
        check(
            "fix: x\r\n\r\none\r\n\r\ntwo\r\n\r\nCloses #3\r\n",
            Some("one\n\ntwo"),
            &[("Closes", "3")],
            false,
        );
        check("fix: x\r\n\none\r\n\n\n\ntwo", Some("one\n\n\n\ntwo"), &[], false);
    }

    #[test]
    fn a_breaking_change_without_an_empty_line_is_not_heard() {
        let below = split(&Text::new("fix: x\n\ntext\nBREAKING CHANGE: y"));
        assert_eq!(below.unheard, [3]);
        assert!(below.footers.is_empty());
    }
}
