//! The tests' part of the report for a terminal.

use super::{Colour, OUTPUT_MAX_BYTES, Screen};
use crate::checks;
use crate::judgement::{Checks, Level, Run};
use crate::render::markdown::{tail, visible};

/// Findings and files that are listed; the JSON has all.
const LISTED_MAX: usize = 100;

impl Screen {
    pub(super) fn tests(&mut self, run: &Run) {
        let Some(tests) = &run.tests else { return };
        // Nothing was asked for, and nothing is missing.
        if matches!(tests.checks, Checks::Skipped { .. }) && tests.asked.lacking() == 0 {
            return;
        }
        let colour = match tests.worst() {
            Level::Error => Colour::Red,
            Level::Warn => Colour::Yellow,
            Level::Off => Colour::Green,
        };
        self.blank();
        self.title(colour, "Tests", &checks::told(tests));
        for path in tests.asked.untested.iter().take(LISTED_MAX) {
            self.line(&format!("  {} changed without a test beside it", visible(path)));
        }
        let Some(report) = tests.report() else { return };
        if let Some(proof) = &report.proof {
            self.wrapped("  ", &visible(&checks::proof_sentence(proof)));
        }
        for placed in report.findings.iter().take(LISTED_MAX) {
            let finding = &placed.finding;
            let first = finding.message.lines().next().unwrap_or_default();
            let (path, message) = (visible(&finding.path), visible(first));
            self.line(&format!(
                "  {path}:{}:{}: {message} ({})",
                finding.line,
                finding.column,
                visible(&placed.check)
            ));
        }
        for command in report.commands.iter().filter(|command| !command.passed()) {
            self.line(&format!("  the end of {}:", visible(&command.name)));
            for line in tail(&command.output, OUTPUT_MAX_BYTES).lines() {
                self.line(&format!("    {line}"));
            }
        }
    }
}
