//! A repository's own checks: what a runner is asked to run on the merge result, and what it saw.

use super::Sha;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is to be run on `head` of the job, which is the merge result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChecksSpec {
    /// In this order. One that fails does not keep the next from running.
    pub commands: Vec<CheckCommand>,
    /// A fix that is to prove itself; `base` of the job is then its graft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofSpec>,
    /// Clippy's lints that only count on changed lines, without `clippy::` in front.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub habits: Vec<String>,
    /// Lines of the merge result that the change brought, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<ChangedLines>,
}

/// A command of `[[tests.check]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckCommand {
    pub name: String,
    /// Program and arguments; no shell.
    pub command: Vec<String>,
    pub deadline_seconds: u64,
}

impl CheckCommand {
    /// Whether cargo's subcommand is this one.
    pub fn is_cargo(&self, subcommand: &str) -> bool {
        let mut words = self.command.iter().map(String::as_str);
        words.next() == Some("cargo")
            && words.find(|word| !word.starts_with('+')).is_some_and(|word| word == subcommand)
    }
}

/// How a fix is to prove itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofSpec {
    /// The base as it is, without the fix's tests: asked where those do not compile.
    pub base: Sha,
    /// Paths that were grafted: the tests of the packages that hold them are run.
    pub grafted: Vec<String>,
    /// How often the tests must pass with the fix.
    pub runs: u32,
}

/// Ranges of lines of one file, from 1, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedLines {
    pub path: String,
    pub lines: Vec<(u32, u32)>,
}

impl ChecksSpec {
    /// Whether the change brought that line.
    pub fn brought(&self, path: &str, line: u32) -> bool {
        let of = self.changed.iter().find(|changed| changed.path == path);
        of.is_some_and(|changed| changed.lines.iter().any(|(from, to)| (*from..=*to).contains(&line)))
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    pub commands: Vec<CommandRan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofRan>,
}

/// One command, after it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandRan {
    pub name: String,
    pub end: CommandEnd,
    pub seconds: f64,
    /// The end of what it printed.
    pub output: String,
    /// What it found, with a place each: those on changed lines first.
    pub findings: Vec<ToolFinding>,
    /// Findings beyond those that are kept.
    pub findings_left_out: u64,
    /// Where it ran tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestCounts>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum CommandEnd {
    Passed,
    /// By itself, with another code than zero.
    Failed {
        code: i32,
    },
    TimedOut,
    /// Ended by the system or its limits, in words.
    Killed {
        words: String,
    },
    /// The runner has no such program.
    Missing {
        words: String,
    },
}

/// Something that a tool said about a place in the code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolFinding {
    pub level: ToolLevel,
    /// Within the repository.
    pub path: String,
    /// From 1.
    pub line: u32,
    /// From 1; zero when not known.
    #[serde(default)]
    pub column: u32,
    /// `clippy::unwrap_used`, `E0308`, a test's name; empty where there is none.
    #[serde(default)]
    pub code: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ToolLevel {
    Warning,
    Error,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestCounts {
    pub passed: u64,
    pub failed: u64,
    pub ignored: u64,
}

/// What came of building and running tests for a proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofRan {
    /// The fix's tests upon the base.
    pub graft: Ran,
    /// The base as it is, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Ran>,
    /// With the fix: as often as it was run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<Ran>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ran", rename_all = "kebab-case")]
pub enum Ran {
    /// The compiler's words.
    DoesNotCompile {
        output: String,
    },
    Tests {
        tests: Vec<TestRan>,
    },
}

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestRan {
    /// `test inner/overflow`: kind, package and target.
    pub target: String,
    pub test: String,
    pub ended: Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ended", rename_all = "kebab-case")]
pub enum Ended {
    Passed,
    Ignored,
    /// It said so itself: an assertion, or another panic, with the first lines of its words.
    Failed {
        words: String,
    },
    /// It took its whole process with it, or never came to an end.
    Crashed {
        words: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_known_by_its_subcommand() {
        let check = |words: &[&str], subcommand: &str, expect: bool| {
            let command = CheckCommand {
                name: "x".into(),
                command: words.iter().map(|word| (*word).to_owned()).collect(),
                deadline_seconds: 1,
            };
            assert_eq!(command.is_cargo(subcommand), expect, "{words:?}");
        };
        check(&["cargo", "clippy", "--workspace"], "clippy", true);
        check(&["cargo", "+nightly", "clippy"], "clippy", true);
        check(&["cargo", "test"], "clippy", false);
        check(&["cargo"], "clippy", false);
        check(&["make", "clippy"], "clippy", false);
    }

    #[test]
    fn changed_lines_hold_both_their_ends() {
        let spec = ChecksSpec {
            changed: vec![ChangedLines { path: "a.rs".into(), lines: vec![(2, 3), (7, 7)] }],
            ..ChecksSpec::default()
        };
        let brought: Vec<u32> = (1..9).filter(|line| spec.brought("a.rs", *line)).collect();
        assert_eq!(brought, [2, 3, 7]);
        assert!(!spec.brought("b.rs", 2));
    }
}
