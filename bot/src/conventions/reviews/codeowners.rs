//! CODEOWNERS: who owns a path. The last line that matches wins; a line without owners takes ownership away.

use super::pattern::{Key, Pattern};
use crate::judgement::BadLine;
use std::collections::HashMap;

/// Where GitHub looks for the file, in its order: the first that exists counts.
pub const PLACES: [&str; 3] = [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"];

/// GitHub loads no larger file.
pub const CODEOWNERS_MAX_BYTES: usize = 3 << 20;
/// Bad lines that are told; further ones are only counted.
const BAD_LINES_MAX: usize = 100;

/// The file as it was read. Lines that are no good are left out, as GitHub does, and told.
#[derive(Debug, Default)]
pub struct CodeOwners {
    rules: Vec<Rule>,
    /// Indices of rules, ascending, by what their paths have in common.
    by_key: HashMap<Key, Vec<usize>>,
    pub bad: Vec<BadLine>,
    pub bad_left_out: usize,
}

#[derive(Debug)]
struct Rule {
    pattern: Pattern,
    owners: Vec<Owner>,
}

/// Whom a line names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A login, or an address: a person.
    Person(String),
    /// `org/team`.
    Team(String),
}

impl CodeOwners {
    /// Reads the whole file; never fails.
    pub fn parse(text: &str) -> Self {
        let mut file = Self::default();
        for (index, line) in text.lines().enumerate() {
            match parse_line(line) {
                Ok(None) => {}
                Ok(Some(rule)) => {
                    file.by_key.entry(rule.pattern.key()).or_default().push(file.rules.len());
                    file.rules.push(rule);
                }
                Err(_) if file.bad.len() >= BAD_LINES_MAX => file.bad_left_out += 1,
                Err(message) => {
                    let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
                    file.bad.push(BadLine { line, message });
                }
            }
        }
        file
    }

    /// The owners of a path by the last line that matches; none where no line does, or where it names nobody.
    pub fn owners(&self, path: &str) -> &[Owner] {
        let parts: Vec<&str> = path.split('/').collect();
        let mut best: Option<usize> = None;
        for key in keys(path, &parts) {
            for index in self.by_key.get(&key).into_iter().flatten().rev() {
                if best.is_some_and(|best| *index < best) {
                    break;
                }
                if self.rules[*index].pattern.matches(&parts) {
                    best = Some(*index);
                    break;
                }
            }
        }
        best.map_or(&[], |index| &self.rules[index].owners)
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Every team that a line names, without repetition, in order.
    pub fn teams(&self) -> Vec<&str> {
        let mut teams: Vec<&str> = self
            .rules
            .iter()
            .flat_map(|rule| &rule.owners)
            .filter_map(|owner| match owner {
                Owner::Team(name) => Some(name.as_str()),
                Owner::Person(_) => None,
            })
            .collect();
        teams.sort_unstable();
        teams.dedup();
        teams
    }
}

/// Every key under which a pattern that matches this path may lie.
fn keys(path: &str, parts: &[&str]) -> Vec<Key> {
    let mut keys = vec![Key::Under(String::new())];
    keys.extend(path.match_indices('/').map(|(at, _)| Key::Under(path[..at].into())));
    keys.push(Key::Under(path.into()));
    for part in parts {
        keys.push(Key::Named((*part).into()));
        if let Some((_, extension)) = part.rsplit_once('.') {
            keys.push(Key::Extension(extension.into()));
        }
    }
    keys
}

fn parse_line(line: &str) -> Result<Option<Rule>, String> {
    let mut words = words(line).into_iter();
    let Some(pattern) = words.next() else { return Ok(None) };
    let pattern = Pattern::parse(&pattern)?;
    let owners = words.map(|word| owner(&word)).collect::<Result<Vec<Owner>, String>>()?;
    Ok(Some(Rule { pattern, owners }))
}

/// A line's words; `\` keeps a space within one, and stays for whoever reads the pattern. `#` begins a comment where a
/// word could begin.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), String::new());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                word.push(c);
                word.extend(chars.next());
            }
            '#' if word.is_empty() => break,
            c if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `@login`, `@org/team` or an address.
fn owner(word: &str) -> Result<Owner, String> {
    /// Of a login, a team's name, an address: GitHub's own bounds are lower.
    const OWNER_MAX_BYTES: usize = 254;
    let named = |name: &str| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '[' | ']'))
    };
    // Without the quotes and escapes that RFC 5321 has, too, and nobody's address needs.
    let mailbox = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c))
    };
    let shown = crate::text::quoted(word);
    if word.len() > OWNER_MAX_BYTES {
        return Err(format!("{shown} is too long for an owner"));
    }
    match word.strip_prefix('@') {
        Some(name) => match name.split_once('/') {
            Some((org, team)) if named(org) && named(team) => Ok(Owner::Team(name.into())),
            None if named(name) => Ok(Owner::Person(name.into())),
            _ => Err(format!("{shown} is no `@login` and no `@org/team`")),
        },
        None => match word.split_once('@') {
            Some((local, host)) if mailbox(local) && host.contains('.') && named(host) => {
                Ok(Owner::Person(word.into()))
            }
            _ => Err(format!("{shown} is no owner: an owner is `@login`, `@org/team` or an e-mail address")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(file: &CodeOwners, path: &str) -> String {
        let names = file.owners(path).iter().map(|owner| match owner {
            Owner::Person(name) => name.clone(),
            Owner::Team(name) => format!("team {name}"),
        });
        names.collect::<Vec<_>>().join(" ")
    }

    const FILE: &str = "\
# GitHub's own example, shortened
*       @global1 @global2
*.js    @js #This is an inline comment.
*.go docs@example.com
*.txt @octo-org/octocats
/build/logs/ @doctocat
docs/* docs@example.com
apps/ @octocat
/docs/ @doctocat
/scripts/ @doctocat @octocat
**/logs @octocat
/apps/ @octocat
/apps/github
";

    #[test]
    fn the_last_line_that_matches_wins() {
        let file = CodeOwners::parse(FILE);
        assert_eq!(file.bad, []);
        for (path, owners) in [
            ("a.rs", "global1 global2"),
            ("x/a.js", "js"),
            ("a.go", "docs@example.com"),
            ("a.txt", "team octo-org/octocats"),
            ("build/logs/a.txt", "octocat"),
            ("docs/a.js", "doctocat"),
            ("x/docs/a.js", "js"),
            ("scripts/a", "doctocat octocat"),
            ("apps/a", "octocat"),
            ("apps/github", ""),
            ("apps/github/a.js", ""),
        ] {
            assert_eq!(shown(&file, path), owners, "{path}");
        }
        assert_eq!(file.teams(), ["octo-org/octocats"]);
    }

    #[test]
    fn bad_lines_are_left_out_and_told() {
        let file = CodeOwners::parse("* @a\n!x @b\nx b\n[ab] @b\r\ny @a/b/c\nz @\n\\#q @b\nw @b\\\n");
        let lines: Vec<u32> = file.bad.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(shown(&file, "x"), "a");
        let odd = CodeOwners::parse("* a\\b@c.d\n* a@b.\\\r");
        assert_eq!(odd.bad.len(), 2, "an address has no escapes: {odd:?}");
        let many = CodeOwners::parse(&"!x @b\n".repeat(1_000));
        assert_eq!((many.bad.len(), many.bad_left_out), (100, 900));
    }

    #[test]
    fn a_hundred_thousand_lines_answer_for_thousands_of_paths() {
        let kinds = ["/d{n}/ @a{n}", "/d{n}/*.rs @b{n}", "**/n{n}.c @c{n}", "*.e{n} @d{n}"];
        let line = |n: usize| kinds[n % 4].replace("{n}", &(n / 4).to_string()) + "\n";
        let file = CodeOwners::parse(&(0..100_000).map(line).collect::<String>());
        assert_eq!(file.rules.len(), 100_000);
        for n in 0..3_000 {
            assert_eq!(shown(&file, &format!("d{n}/a.rs")), format!("b{n}"));
            assert_eq!(shown(&file, &format!("d{n}/x/n{n}.c")), format!("c{n}"));
            assert_eq!(shown(&file, &format!("q/z.e{n}")), format!("d{n}"));
        }
    }

    proptest! {
        /// The look-up by keys finds what trying every line finds.
        #[test]
        fn the_index_hides_nothing(
            patterns in proptest::collection::vec("(/|\\*\\*/)?([ab*?]{1,3}|\\*\\*)(/([ab*?.]{1,3}|\\*\\*)){0,2}/?", 1..12),
            path in "[ab.]{1,3}(/[ab.]{1,3}){0,3}",
        ) {
            let text: String =
                patterns.iter().enumerate().map(|(n, pattern)| format!("{pattern} @p{n}\n")).collect();
            let file = CodeOwners::parse(&text);
            let parts: Vec<&str> = path.split('/').collect();
            let last = file.rules.iter().rev().find(|rule| rule.pattern.matches(&parts));
            prop_assert_eq!(file.owners(&path), last.map_or(&[][..], |rule| &rule.owners), "{} for {}", text, path);
        }

        #[test]
        fn nothing_panics(text: String, path: String) {
            CodeOwners::parse(&text).owners(&path);
        }
    }
}
