//! From what a runner saw of a repository's own checks to what is told of it. Pure.

use crate::judgement::{ChecksReport, CommandReport, PlacedFinding, ProofReport};
use crate::proof;
use perfsuite::model::Sha;
use perfsuite::model::checks::{Checked, ChecksSpec, CommandEnd};
use std::collections::HashSet;

/// Findings that are kept of all checks together; annotations are bounded by it too.
const FINDINGS_MAX: usize = 500;

/// Decides. What was found where the change brought nothing is counted, and shows in the output of what failed.
pub fn decide(commit: &Sha, spec: &ChecksSpec, found: &Checked) -> ChecksReport {
    let mut seen = HashSet::new();
    let (mut findings, mut elsewhere, mut left_out) = (Vec::new(), 0, 0);
    for ran in &found.commands {
        left_out += ran.findings_left_out;
        for finding in &ran.findings {
            if !spec.brought(&finding.path, finding.line) {
                elsewhere += 1;
            } else if seen.insert((&finding.path, finding.line, &finding.message)) {
                findings.push(PlacedFinding { check: ran.name.clone(), finding: finding.clone() });
            }
        }
    }
    left_out += findings.len().saturating_sub(FINDINGS_MAX) as u64;
    findings.truncate(FINDINGS_MAX);
    ChecksReport {
        commit: commit.clone(),
        commands: found
            .commands
            .iter()
            .map(|ran| CommandReport {
                name: ran.name.clone(),
                end: ran.end.clone(),
                seconds: ran.seconds,
                output: if ran.end == CommandEnd::Passed { String::new() } else { ran.output.clone() },
                tests: ran.tests,
            })
            .collect(),
        findings,
        findings_left_out: left_out,
        elsewhere,
        proof: spec.proof.as_ref().zip(found.proof.as_ref()).map(|(asked, ran)| ProofReport {
            runs: asked.runs,
            proof: match asked.grafted.is_empty() {
                true => crate::judgement::Proof::NoTests,
                false => proof::decide(ran),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perfsuite::model::checks::{ChangedLines, CommandRan, ToolFinding, ToolLevel};

    #[test]
    fn only_what_the_change_brought_is_told_and_once() {
        let finding = |line, message: &str| ToolFinding {
            level: ToolLevel::Warning,
            path: "src/lib.rs".into(),
            line,
            column: 1,
            code: String::new(),
            message: message.into(),
        };
        let ran = |name: &str, end: CommandEnd, findings: Vec<ToolFinding>| CommandRan {
            name: name.into(),
            end,
            seconds: 1.0,
            output: "words".into(),
            findings,
            findings_left_out: 1,
            tests: None,
        };
        let found = Checked {
            commands: vec![
                ran("clippy", CommandEnd::Passed, vec![finding(3, "a"), finding(9, "b")]),
                ran("test", CommandEnd::Failed { code: 101 }, vec![finding(3, "a"), finding(4, "c")]),
            ],
            proof: None,
        };
        let changed = vec![ChangedLines { path: "src/lib.rs".into(), lines: vec![(3, 4)] }];
        let spec = ChecksSpec { changed, ..ChecksSpec::default() };
        let report = decide(&"1".repeat(40).parse().unwrap(), &spec, &found);
        let told: Vec<(&str, u32)> =
            report.findings.iter().map(|f| (f.check.as_str(), f.finding.line)).collect();
        assert_eq!(told, [("clippy", 3), ("test", 4)]);
        assert_eq!((report.elsewhere, report.findings_left_out), (1, 2));
        assert_eq!(report.commands[0].output, "", "what passed has nothing to say");
        assert_eq!(report.commands[1].output, "words");
    }
}
