//! What tests say of a change: whether it brings any, what the repository's own checks said, whether a fix proves itself.

use super::Level;
use perfsuite::model::Sha;
use perfsuite::model::checks::{CommandEnd, TestCounts, ToolFinding, ToolLevel};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked of a head's tests, and what was found without running any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestsAsked {
    /// Of a check that fails, and of code without tests.
    pub level: Level,
    /// Of a fix that does not prove itself.
    pub prove_fixes: Level,
    /// Of habits on changed lines.
    pub habits: Habits,
    /// Changed sources.
    pub sources: usize,
    /// Those that came without a changed test; further ones are counted.
    pub untested: Vec<String>,
    pub untested_left_out: usize,
    /// Why nothing is run, where nothing is.
    pub skipped: Option<String>,
}

impl TestsAsked {
    pub fn lacking(&self) -> usize {
        self.untested.len() + self.untested_left_out
    }
}

/// Clippy's lints that count on changed lines alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Habits {
    pub level: Level,
    /// Without `clippy::` in front.
    pub lints: Vec<String>,
}

impl Default for Habits {
    /// Off; switched on, what ends a program without a word or drops an outcome unseen.
    fn default() -> Self {
        let lints = ["unwrap_used", "panic", "let_underscore_must_use"].map(str::to_owned);
        Self { level: Level::Off, lints: lints.into() }
    }
}

impl Habits {
    fn has(&self, code: &str) -> bool {
        code.strip_prefix("clippy::").is_some_and(|lint| self.lints.iter().any(|known| known == lint))
    }
}

/// Everything that is known of a head's tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestsJudgement {
    #[serde(flatten)]
    pub asked: TestsAsked,
    pub checks: Checks,
}

/// Where the repository's own checks stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Checks {
    /// Nothing is run, and why.
    Skipped {
        reason: String,
    },
    /// A fork's head that nobody with write permission has allowed to run.
    NeedsApproval,
    /// Waiting for a runner; `position` from 1.
    Queued {
        position: u32,
        runners: u32,
    },
    Running {
        text: String,
        done: u64,
        total: u64,
    },
    Done {
        report: Box<ChecksReport>,
    },
    /// The job could not be done.
    Failed {
        message: String,
        output: String,
    },
    Cancelled {
        by: String,
    },
}

/// What a job of checks came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChecksReport {
    /// The merge result that was checked.
    pub commit: Sha,
    pub commands: Vec<CommandReport>,
    /// On lines that the change brought; further ones are counted.
    pub findings: Vec<PlacedFinding>,
    pub findings_left_out: u64,
    /// What was found on other lines.
    pub elsewhere: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommandReport {
    pub name: String,
    #[serde(flatten)]
    pub end: CommandEnd,
    pub seconds: f64,
    /// The end of what it printed, where it failed.
    pub output: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestCounts>,
}

impl CommandReport {
    pub fn passed(&self) -> bool {
        self.end == CommandEnd::Passed
    }
}

/// A finding, and the check that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlacedFinding {
    pub check: String,
    #[serde(flatten)]
    pub finding: ToolFinding,
}

/// Whether a fix proves itself, and how often it was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProofReport {
    /// How often the tests ran with the fix.
    pub runs: u32,
    #[serde(flatten)]
    pub proof: Proof,
}

/// Whether a fix proves itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Proof {
    /// These fail without the fix, by their own words, and pass with it, every time.
    Proven { tests: Vec<String>, words: String },
    /// The change brings no test.
    NoTests,
    /// The change's tests pass without the fix.
    PassesWithout { tests: Vec<String> },
    /// The change's tests do not compile without the fix, so they show nothing of it.
    DoesNotCompile { output: String },
    /// The tests that fail without the fix fail with it too, or not always pass.
    FailsWith { tests: Vec<String>, words: String },
    /// It cannot be told, and why.
    Unclear { reason: String },
}

impl Proof {
    pub fn proven(&self) -> bool {
        matches!(self, Self::Proven { .. })
    }
}

impl TestsJudgement {
    pub fn report(&self) -> Option<&ChecksReport> {
        match &self.checks {
            Checks::Done { report } => Some(report),
            _ => None,
        }
    }

    /// The level of a finding on a changed line.
    pub fn level_of(&self, finding: &ToolFinding) -> Level {
        match finding.level {
            _ if self.asked.habits.has(&finding.code) => self.asked.habits.level,
            ToolLevel::Error => self.asked.level,
            ToolLevel::Warning => self.asked.level.min(Level::Warn),
        }
    }

    /// The level of how a check ended. What the runner does not have is nobody's fault, and is not passed over.
    pub fn level_of_command(&self, command: &CommandReport) -> Level {
        match command.end {
            CommandEnd::Passed => Level::Off,
            CommandEnd::Missing { .. } => self.asked.level.min(Level::Warn),
            _ => self.asked.level,
        }
    }

    /// The level of a proof.
    pub fn level_of_proof(&self, proof: &Proof) -> Level {
        match proof {
            Proof::Proven { .. } => Level::Off,
            Proof::Unclear { .. } => self.asked.prove_fixes.min(Level::Warn),
            _ => self.asked.prove_fixes,
        }
    }

    pub fn worst(&self) -> Level {
        let untested = if self.asked.lacking() > 0 { self.asked.level } else { Level::Off };
        let ran = self.report().into_iter().flat_map(|report| {
            let commands = report.commands.iter().map(|command| self.level_of_command(command));
            let findings = report.findings.iter().map(|placed| self.level_of(&placed.finding));
            commands.chain(findings).chain(report.proof.iter().map(|proof| self.level_of_proof(&proof.proof)))
        });
        ran.chain([untested]).max().unwrap_or(Level::Off)
    }

    /// Whether something is still to come.
    pub fn pending(&self) -> bool {
        matches!(self.checks, Checks::Queued { .. } | Checks::Running { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgement(level: Level) -> TestsJudgement {
        TestsJudgement {
            asked: TestsAsked {
                level,
                prove_fixes: Level::Error,
                habits: Habits { level: Level::Error, ..Habits::default() },
                sources: 1,
                untested: Vec::new(),
                untested_left_out: 0,
                skipped: None,
            },
            checks: Checks::NeedsApproval,
        }
    }

    #[test]
    fn a_findings_level_is_its_groups() {
        let finding = |level, code: &str| ToolFinding {
            level,
            path: "a.rs".into(),
            line: 1,
            column: 1,
            code: code.into(),
            message: "x".into(),
        };
        let of = |group, level, code: &str| judgement(group).level_of(&finding(level, code));
        assert_eq!(of(Level::Error, ToolLevel::Error, "E0308"), Level::Error);
        assert_eq!(of(Level::Error, ToolLevel::Warning, "dead_code"), Level::Warn);
        assert_eq!(of(Level::Warn, ToolLevel::Error, "E0308"), Level::Warn);
        assert_eq!(of(Level::Off, ToolLevel::Error, "E0308"), Level::Off);
        assert_eq!(of(Level::Off, ToolLevel::Warning, "clippy::panic"), Level::Error, "a habit has its own");
    }

    #[test]
    fn what_cannot_be_told_is_no_error() {
        let of = |proof: Proof| judgement(Level::Warn).level_of_proof(&proof);
        assert_eq!(of(Proof::Unclear { reason: "x".into() }), Level::Warn);
        assert_eq!(of(Proof::NoTests), Level::Error);
        assert_eq!(of(Proof::Proven { tests: vec![], words: String::new() }), Level::Off);
        let mut untested = judgement(Level::Error);
        assert_eq!(untested.worst(), Level::Off);
        untested.asked.untested.push("src/a.rs".into());
        assert_eq!(untested.worst(), Level::Error);
    }
}
