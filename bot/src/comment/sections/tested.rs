//! The tests' part of the comment: what fails, what stands on changed lines, whether a fix proves itself.

use super::super::Limits;
use super::Sections;
use crate::checks::{complaints, proof_sentence};
use crate::judgement::{Level, Run};
use crate::render::markdown::fenced_tail;

impl Sections<'_> {
    /// The repository's own checks: a heading where one is an error.
    pub(super) fn tests(&mut self, run: &Run, limits: &Limits) {
        let Some(tests) = &run.tests else { return };
        let complaints = complaints(tests);
        let proof = tests.report().and_then(|report| report.proof.as_ref());
        if tests.worst() == Level::Error {
            let failing = tests.report().is_some_and(|report| report.commands.iter().any(|c| !c.passed()));
            let unproven = proof.is_some_and(|proof| tests.level_of_proof(&proof.proof) == Level::Error);
            let (headline, next) = if failing {
                ("## 🔴 The repository's own checks fail", "make them pass; what they printed is below.")
            } else if unproven {
                (
                    "## 🔴 The fix does not prove itself",
                    "add a test that fails without the fix, and passes with it.",
                )
            } else if tests.report().is_some_and(|report| !report.findings.is_empty()) {
                ("## 🔴 Changed lines need a change", "see the findings of the check run `paceline/tests`.")
            } else {
                ("## 🔴 Code changed without a test", "add a test beside it.")
            };
            self.head_with(headline.into());
            self.next.push(next.into());
        }
        let sign = if tests.worst() == Level::Error { "🔴" } else { "⚠️" };
        for (sentence, output) in complaints {
            let output = match output.trim().is_empty() {
                true => String::new(),
                false => fenced_tail(&output, limits.output_bytes / 2),
            };
            self.tests.push((format!("{sign} **Tests:** {sentence}"), output));
        }
        self.tests.extend(proof.map(|proof| (proof_sentence(proof), String::new())));
        self.tests.truncate(limits.items);
    }

    /// In the calm states, that not all is well with the tests.
    pub(super) fn untold_tests(&mut self, run: &Run) {
        let Some(tests) = &run.tests else { return };
        if self.loud() || tests.report().is_some() {
            return;
        }
        // Code without a test, and nothing worse: a word in the table of a loud comment, none in a calm one.
        if tests.worst() < Level::Error {
            self.tests.clear();
        }
    }
}
