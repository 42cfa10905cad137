//! A whole commit message: which kind it is, its parts, and where it departs from Conventional Commits 1.0.0.
//!
//! Written by the specification, since lenient parsers accept what it refuses. Linear in the length of any input.

use super::{
    footers::{self, Below, Footer},
    header::{self, Header},
};
use crate::text;

/// What is read of one message. Git has no bound; the longest in use (generated change lists) are below 300 KiB.
pub const MESSAGE_MAX_BYTES: usize = 1 << 20;

/// Whose words a message is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person's: it must follow the convention.
    Ordinary,
    /// Git's or GitHub's own for a merge.
    Merge,
    /// Git's own for `git revert`, and for the revert of a revert.
    Revert,
    /// `fixup!`, `squash!`, `amend!`: to be folded into another commit before it lands.
    Fixup,
}

/// The parts of a message that follows the convention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conventional {
    /// As written; compared without regard to case (rule 15).
    pub kind: String,
    pub scope: Option<String>,
    /// By `!` or by a footer.
    pub breaking: bool,
    pub description: String,
    pub body: Option<String>,
    pub footers: Vec<Footer>,
}

/// A departure from the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub rule: &'static str,
    /// From 1.
    pub line: u32,
    /// From 1, in graphemes.
    pub column: u32,
    pub message: String,
    /// The line as it was most likely meant.
    pub suggestion: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    /// The parts, where the header could be read; also beside faults below the header.
    pub parts: Option<Conventional>,
    /// Empty for messages that are not a person's.
    pub faults: Vec<Fault>,
}

impl Message {
    /// `None` where the convention does not speak of this kind of message.
    pub fn compliant(&self) -> Option<bool> {
        (self.kind == Kind::Ordinary).then_some(self.faults.is_empty())
    }
}

/// Reads one message.
pub fn parse(message: &str) -> Message {
    let text = Text::new(message);
    read(&text, &footers::split(&text))
}

/// Reads a message whose lines were split before.
pub fn read(text: &Text, below: &Below) -> Message {
    let line = text.header();
    let kind = kind_of(line);
    if kind != Kind::Ordinary {
        return Message { kind, parts: None, faults: Vec::new() };
    }
    let mut faults = Vec::new();
    let parts = match header::scan(line) {
        Ok(header) => Some(assemble(header, below)),
        Err(fault) => {
            faults.push(Fault {
                rule: "header-form",
                line: text.line_number(text.header),
                column: text::column(line, fault.at),
                message: fault.message,
                suggestion: header::repaired(line),
            });
            None
        }
    };
    if let Some((index, second)) = text.below_header().next().filter(|(_, second)| !second.trim().is_empty())
    {
        faults.push(Fault {
            rule: "body-leading-blank",
            line: text.line_number(index),
            column: 1,
            message: format!("An empty line is missing between the header and {}.", text::quoted(second)),
            suggestion: after_blank(second),
        });
    }
    Message { kind, parts, faults }
}

/// A line with the empty one that is missing before it.
pub fn after_blank(line: &str) -> Option<String> {
    header::short_enough(format!("\n{line}"))
}

fn assemble(header: Header, below: &Below) -> Conventional {
    Conventional {
        kind: header.kind.to_owned(),
        scope: header.scope.map(str::to_owned),
        breaking: header.breaking || below.footers.iter().any(Footer::breaking),
        description: header.description.to_owned(),
        body: below.body.clone(),
        footers: below.footers.clone(),
    }
}

/// By the words that git and GitHub themselves write.
fn kind_of(header: &str) -> Kind {
    const FIXUPS: [&str; 3] = ["fixup! ", "squash! ", "amend! "];
    const REVERTS: [&str; 2] = ["Revert \"", "Reapply \""];
    const MERGES: [&str; 10] = [
        "branch '",
        "branches '",
        "tag '",
        "tags '",
        "commit '",
        "commits '",
        "remote-tracking branch '",
        "remote-tracking branches '",
        "pull request #",
        "refs/",
    ];
    if FIXUPS.iter().any(|start| header.starts_with(start)) {
        Kind::Fixup
    } else if REVERTS.iter().any(|start| header.starts_with(start)) {
        Kind::Revert
    } else if let Some(rest) = header.strip_prefix("Merge ") {
        let of_shas = || rest.split_once(" into ").is_some_and(|(a, b)| is_sha(a) && is_sha(b));
        if MERGES.iter().any(|what| rest.starts_with(what)) || of_shas() {
            Kind::Merge
        } else {
            Kind::Ordinary
        }
    } else {
        Kind::Ordinary
    }
}

fn is_sha(word: &str) -> bool {
    (7..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// A message as lines, without their ends, without git's comments and without what stands below the scissors.
#[derive(Debug)]
pub struct Text<'a> {
    pub lines: Vec<&'a str>,
    /// Index of the header: the first line that is neither empty nor a comment.
    pub header: usize,
    /// Whether the message was longer than what is read of it.
    pub cut: bool,
}

/// Git's line above which a message ends (`git commit --verbose`).
const SCISSORS: &str = "# ------------------------ >8 ------------------------";

impl<'a> Text<'a> {
    pub fn new(message: &'a str) -> Self {
        let end = message.floor_char_boundary(MESSAGE_MAX_BYTES);
        let lines: Vec<&str> = message[..end]
            .split('\n')
            .map(|line| line.trim_end_matches('\r'))
            .take_while(|line| *line != SCISSORS)
            .collect();
        let header = lines.iter().position(|line| !line.trim().is_empty() && !is_comment(line)).unwrap_or(0);
        Self { lines, header, cut: end < message.len() }
    }

    /// The empty text for a message without any.
    pub fn header(&self) -> &'a str {
        self.lines.get(self.header).copied().filter(|line| !is_comment(line)).unwrap_or("")
    }

    /// The lines after the header with their indices, without comments.
    pub fn below_header(&self) -> impl Iterator<Item = (usize, &'a str)> + '_ {
        self.lines.iter().copied().enumerate().skip(self.header + 1).filter(|(_, line)| !is_comment(line))
    }

    /// From 1.
    pub fn line_number(&self, index: usize) -> u32 {
        u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// As git writes them: `#` alone or before white space. `#12 …` is somebody's text.
pub fn is_comment(line: &str) -> bool {
    line.strip_prefix('#').is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_own_words_are_not_judged() {
        for (message, kind) in [
            ("Merge branch 'main' into topic", Kind::Merge),
            ("Merge branches 'a' and 'b'", Kind::Merge),
            ("Merge remote-tracking branch 'origin/main'", Kind::Merge),
            ("Merge tag 'v1'", Kind::Merge),
            ("Merge pull request #7 from a/b", Kind::Merge),
            ("Merge 0123456789abcdef0123456789abcdef01234567 into fedcba9", Kind::Merge),
            ("Revert \"feat: x\"\n\nThis reverts commit 0123456.", Kind::Revert),
            ("Revert \"Revert \"feat: x\"\"", Kind::Revert),
            ("Reapply \"feat: x\"", Kind::Revert),
            ("fixup! feat: x", Kind::Fixup),
            ("fixup! fixup! feat: x", Kind::Fixup),
            ("squash! feat: x", Kind::Fixup),
            ("amend! feat: x\n\nfeat: y", Kind::Fixup),
        ] {
            let parsed = parse(message);
            assert_eq!((parsed.kind, parsed.compliant()), (kind, None), "{message:?}");
        }
    }

    #[test]
    fn a_persons_words_are() {
        for message in
            ["Merge the two caches", "Merge a into b", "revert: feat: x", "fixup!", "Revert the cache"]
        {
            assert_eq!(parse(message).kind, Kind::Ordinary, "{message:?}");
        }
        assert_eq!(parse("revert: feat: x").compliant(), Some(true));
    }

    #[test]
    fn the_second_line_is_empty() {
        let faults = parse("feat: x\nbody").faults;
        assert_eq!(faults.len(), 1);
        assert_eq!((faults[0].rule, faults[0].line, faults[0].column), ("body-leading-blank", 2, 1));
        assert_eq!(faults[0].suggestion.as_deref(), Some("\nbody"));
        assert!(parse("feat: x\n\nbody").faults.is_empty());
        assert!(parse("feat: x\r\n\r\nbody").faults.is_empty());
        assert!(parse("feat: x\n").faults.is_empty());
    }

    #[test]
    fn comments_and_scissors_are_gits() {
        let message =
            format!("# Please enter\n\nfeat: x\n# On branch\n\nbody\n{SCISSORS}\ndiff --git a b\nfoo: bar");
        let parsed = parse(&message);
        assert_eq!(parsed.compliant(), Some(true), "{:?}", parsed.faults);
        assert_eq!(parsed.parts.unwrap().body.as_deref(), Some("body"));
    }

    #[test]
    fn an_empty_message_has_no_type() {
        for message in ["", "\n\n", "# only a comment"] {
            let parsed = parse(message);
            assert_eq!(parsed.compliant(), Some(false), "{message:?}");
            assert_eq!(parsed.faults[0].message, "The commit message is empty.");
        }
    }

    #[test]
    fn breaking_by_mark_or_by_footer() {
        assert!(parse("feat!: x").parts.unwrap().breaking);
        assert!(parse("feat: x\n\nBREAKING CHANGE: y").parts.unwrap().breaking);
        assert!(!parse("feat: x\n\nBREAKING CHANGE #1").parts.unwrap().breaking);
    }
}
