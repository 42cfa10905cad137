//! Headlines, steps and lines of the comment that need more than one fact.

use super::{Limits, rows};
use crate::{
    format,
    judgement::{Level, Run},
    render::{
        facts::{Facts, Names},
        markdown::code,
        words,
    },
};
use perfsuite::model::{Certainty, Comparison, Metric, Report};

/// Bench executables named in a headline.
const IDENTICAL_SHOWN: usize = 5;

/// Nothing slower, nothing faster: how sure that is.
pub fn unchanged(report: &Report, facts: &Facts<'_>) -> String {
    let (judged, open) = (facts.judged(), facts.inconclusive.len());
    if judged == 0 {
        return if !report.failures.is_empty() {
            "## ❔ Performance could not be measured".into()
        } else if report.has_same_code() {
            let names = report.same_code().map(|name| code(name, rows::NAME_MAX_GRAPHEMES));
            let names = words::listed(names, IDENTICAL_SHOWN);
            format!(
                "✅ **Performance cannot have changed:** both sides run identical machine code ({names}), so nothing was run."
            )
        } else if !report.one_sided.is_empty() {
            "**Performance:** no benchmark is on both sides, so there is no verdict.".into()
        } else {
            "**Performance:** no benchmark was found.".into()
        };
    }
    let suspects = match facts.suspects.len() {
        0 => String::new(),
        count => format!(", {count} perhaps changed by code layout only"),
    };
    let counted = match facts.instruction_changes.len() {
        0 => String::new(),
        1 => ", 1 with other instructions in the same time".to_owned(),
        count => format!(", {count} with other instructions in the same time"),
    };
    let suspects = suspects + &counted;
    let equal = facts.equal.len();
    if open == judged && judged == 1 {
        "## ❔ No verdict: the one comparison is inconclusive".into()
    } else if open == judged {
        format!("## ❔ No verdict: all {judged} comparisons are inconclusive")
    } else if open > 0 {
        format!(
            "✅ **No change found in performance:** {equal} of {judged} comparisons equal, {open} inconclusive{suspects}."
        )
    } else {
        let count = format::count(equal, "comparison", "comparisons");
        format!("✅ **No change in performance:** {count} equal{suspects}.")
    }
}

/// The commands that change messages and fold commits, for what has errors.
pub fn how_to_mend(run: &Run) -> Vec<String> {
    let errors = |fixup: bool| {
        let offending = run.commits.commits.iter().filter(move |commit| {
            commit.findings.iter().any(|f| f.level == Level::Error && (f.rule == "fixup") == fixup)
        });
        offending.count()
    };
    let base = run.base.short();
    let mut steps = Vec::new();
    if run.commits.squash_that_counts().is_some() {
        // The one commit of a pull request gives its message; of several, the title does.
        return vec![
            "edit the pull request's title, which becomes the squashed commit's first line (where there is one commit, \
             its own message does)."
                .to_owned(),
        ];
    }
    match errors(false) {
        0 => {}
        count => steps.push(format!(
            "reword {}: `git rebase -i {base}`, `reword` in front of the commit, then `git push --force-with-lease`.",
            if count == 1 { "it" } else { "them" }
        )),
    }
    if errors(true) > 0 {
        steps.push(format!(
            "fold the `fixup!` commits before the merge: `git rebase -i --autosquash {base}`."
        ));
    }
    steps
}

/// Size, certainty and action: three words that do not stand for one another.
pub fn weight(row: &Comparison, action: &str) -> String {
    let certainty = match row.certainty {
        Certainty::LayoutSuspect => "cannot be told from a change of layout",
        Certainty::InstructionChange => "counted exactly, the time is the same",
        Certainty::Confirmed | Certainty::NotApplicable => "confirmed",
    };
    format!("**Size:** {} · **Certainty:** {certainty} · **Action:** {action}", words::size(row.estimate))
}

/// QPS and latency of each server, one line each, where nothing changed.
pub fn server_lines(facts: &Facts<'_>, names: &Names<'_>, limits: &Limits) -> Vec<String> {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for row in facts
        .all_judged()
        .filter(|row| matches!(row.metric, Metric::QpsPerCore | Metric::LatencyP50 | Metric::LatencyP99))
    {
        let name = rows::name(row, names);
        let (base, head) = (format::value(row.metric, row.base), format::value(row.metric, row.head));
        let figure = format!("{} {base} → {head} ({})", row.metric.title(), format::change(row.estimate));
        match lines.iter_mut().find(|(known, _)| *known == name) {
            Some((_, figures)) => figures.push(figure),
            None => lines.push((name, vec![figure])),
        }
    }
    lines
        .into_iter()
        .take(limits.items)
        .map(|(name, figures)| format!("{name}: {}", figures.join(" · ")))
        .collect()
}
