//! What people write to Paceline: comment text -> [`Command`].

use perfsuite::model::Sha;

/// Characters of a comment that are looked at; a command stands at the start of a line near the top.
const COMMENT_MAX_CHARS: usize = 10_000;
/// A reason is a sentence or two.
pub const REASON_MAX_CHARS: usize = 500;
/// Of what was not understood, so much is repeated.
const UNKNOWN_MAX_CHARS: usize = 100;
/// Names of suites have at most 60.
const SUITE_MAX_CHARS: usize = 61;
/// Longer than any benchmark's, tag's or branch's name that people write.
const NAME_MAX_CHARS: usize = 250;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Allow this head of a fork to run.
    Run {
        head: Sha,
    },
    /// Measure the head again: one suite, or what the configuration names.
    Bench {
        suite: Option<String>,
    },
    /// Measure the head against another commit than its merge base: one suite, or what the configuration names.
    Against {
        suite: Option<String>,
        name: String,
    },
    /// Show where the time of a benchmark goes: this one, or what changed most.
    Profile {
        benchmark: Option<String>,
    },
    /// Find the commit of the pull request that changed a benchmark.
    Bisect {
        benchmark: Option<String>,
    },
    /// Measure the head again, and run its checks again.
    Retry,
    /// Stop what runs or waits.
    Cancel,
    /// Take the head's slowdown, and say why.
    Accept {
        reason: String,
    },
    Help,
    /// Addressed to us, but not understood.
    Unknown {
        text: String,
    },
}

/// What a person may ask for, as `/paceline help` shows it.
pub const HELP: &str = "\
| command | what it does |
|---|---|
| `/paceline run SHA` | allow this head of a fork's pull request to run; refused when the head has moved |
| `/paceline bench [SUITE]` | measure the head again: every suite, or this one, whatever changed |
| `/paceline bench [SUITE] against REF` | the same against a tag, a branch, a commit or `latest-release`; told in an answer of its own |
| `/paceline profile [BENCHMARK]` | show where the time of a benchmark goes, on base and head: this one, or what changed most |
| `/paceline bisect [BENCHMARK]` | find the commit of this pull request that changed a benchmark |
| `/paceline retry` | measure the head and run the repository's own checks again |
| `/paceline cancel` | stop what runs or waits for this pull request |
| `/paceline accept REASON` | take this head's slowdown: it blocks no more, and the reason is kept |
| `/paceline help` | this table |

Commands are taken from people with write permission.";

/// The first command of a comment: a line that starts with `/paceline`, outside quotes and code blocks.
pub fn parse(comment: &str) -> Option<Command> {
    let mut fenced = false;
    for line in comment.chars().take(COMMENT_MAX_CHARS).collect::<String>().lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let Some(rest) = line.strip_prefix("/paceline") else { continue };
        if fenced || !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
            continue;
        }
        let words: Vec<&str> = rest.split_whitespace().collect();
        return Some(match words.as_slice() {
            ["run", sha] => match sha.parse() {
                Ok(head) => Command::Run { head },
                Err(_) => Command::Unknown { text: format!("run {sha}") },
            },
            ["bench"] => Command::Bench { suite: None },
            ["bench", "against", name] => Command::Against { suite: None, name: cut(name, NAME_MAX_CHARS) },
            ["bench", suite, "against", name] => {
                Command::Against { suite: Some(cut(suite, SUITE_MAX_CHARS)), name: cut(name, NAME_MAX_CHARS) }
            }
            ["bench", suite] => Command::Bench { suite: Some(cut(suite, SUITE_MAX_CHARS)) },
            // Names of benchmarks may have spaces.
            ["profile", name @ ..] => Command::Profile { benchmark: name_of(name) },
            ["bisect", name @ ..] => Command::Bisect { benchmark: name_of(name) },
            ["retry"] => Command::Retry,
            ["cancel"] => Command::Cancel,
            ["accept", reason @ ..] if !reason.is_empty() => {
                Command::Accept { reason: cut(&reason.join(" "), REASON_MAX_CHARS) }
            }
            [] | ["help"] => Command::Help,
            _ => Command::Unknown { text: cut(&words.join(" "), UNKNOWN_MAX_CHARS) },
        });
    }
    None
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

fn name_of(words: &[&str]) -> Option<String> {
    (!words.is_empty()).then(|| cut(&words.join(" "), NAME_MAX_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_lines_of_their_own() {
        let check = |text: &str, expect: Option<Command>| assert_eq!(parse(text), expect, "{text:?}");
        let sha = "0123456789abcdef0123456789abcdef01234567";
        check("/paceline bench", Some(Command::Bench { suite: None }));
        check("/paceline bench routing", Some(Command::Bench { suite: Some("routing".into()) }));
        let against = |suite: Option<&str>, name: &str| {
            Some(Command::Against { suite: suite.map(Into::into), name: name.into() })
        };
        check("/paceline bench against v1.2", against(None, "v1.2"));
        check("/paceline bench routing against feature/x", against(Some("routing"), "feature/x"));
        check("/paceline bench against", Some(Command::Bench { suite: Some("against".into()) }));
        check("/paceline bench a against b c", Some(Command::Unknown { text: "bench a against b c".into() }));
        check("/paceline profile", Some(Command::Profile { benchmark: None }));
        check(
            "/paceline profile route/match 1",
            Some(Command::Profile { benchmark: Some("route/match 1".into()) }),
        );
        check("/paceline bisect", Some(Command::Bisect { benchmark: None }));
        check("/paceline bisect parse", Some(Command::Bisect { benchmark: Some("parse".into()) }));
        check("thanks!\r\n/paceline retry\r\n", Some(Command::Retry));
        check(&format!("/paceline run {sha}"), Some(Command::Run { head: sha.parse().unwrap() }));
        check("/paceline run 0123456", Some(Command::Unknown { text: "run 0123456".into() }));
        check(
            "/paceline accept  it is\tworth it ",
            Some(Command::Accept { reason: "it is worth it".into() }),
        );
        check("/paceline accept", Some(Command::Unknown { text: "accept".into() }));
        check("/paceline", Some(Command::Help));
        check("/paceline dance now", Some(Command::Unknown { text: "dance now".into() }));
        check("> /paceline bench", None);
        check("```\n/paceline bench\n```", None);
        check("/pacelines bench", None);
        check("please /paceline bench", None);
        check("", None);
    }
}
