//! Text for people: the words, other people's text made harmless, and the report of `paceline review`.

pub mod causes;
pub mod facts;
#[cfg(any(test, fuzzing))]
pub(crate) mod fixtures;
pub mod markdown;
mod terminal;
pub mod words;

pub use terminal::{Style, terminal};

use crate::judgement::{Level, Performance, Run};
use facts::{Facts, broken_by_head};
use perfsuite::model::Side;

/// The run as JSON, by `docs/schema/run.schema.json`; ends with a line end.
pub fn json(run: &Run) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(run)? + "\n")
}

/// What `paceline review` ends with: 0 clean, 1 a finding, 2 could not judge. A finding outweighs what is unknown.
pub fn exit_code(run: &Run) -> u8 {
    let tests = run.tests.as_ref().map_or(Level::Off, |tests| tests.worst());
    let (mut finding, mut unknown) =
        (run.commits.worst_with_claims().max(tests) == Level::Error, run.config_error.is_some());
    match &run.performance {
        Performance::Done { report } => {
            let facts = Facts::of(report);
            let broken = report.broken_build();
            finding |=
                report.blocks() || broken_by_head(report) > 0 || broken.is_some_and(|b| b.side == Side::Head);
            let undecided = facts.judged() > 0 && facts.inconclusive.len() == facts.judged();
            unknown |= broken.is_some() || !report.failures.is_empty() || undecided;
        }
        Performance::Skipped { .. } => {}
        Performance::Queued { .. }
        | Performance::Running { .. }
        | Performance::Failed { .. }
        | Performance::NeedsApproval { .. }
        | Performance::Cancelled { .. } => unknown = true,
    }
    match (finding, unknown) {
        (true, _) => 1,
        (false, true) => 2,
        (false, false) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_what_was_found() {
        let expect = |name: &str| match name {
            "equal" | "commits_warned" | "advised" | "faster" | "one_inconclusive" | "identical"
            | "nothing_found" | "skipped" | "layout_suspect" | "instruction_change" | "all_measured"
            | "uncalibrated" => 0,
            "regressed" | "regressed_and_commits" | "commits_only" | "troubled" | "head_does_not_build" => 1,
            _ => 2,
        };
        for (name, run) in fixtures::states() {
            assert_eq!(exit_code(&run), expect(name), "{name}");
        }
    }

    #[test]
    fn json_is_read_back() {
        for (name, run) in fixtures::states() {
            let read: Run = serde_json::from_str(&json(&run).unwrap()).unwrap();
            assert_eq!((&read.commits, &read.config_error), (&run.commits, &run.config_error), "{name}");
            assert_eq!(terminal(&read, &Style::default()), terminal(&run, &Style::default()), "{name}");
        }
    }
}
