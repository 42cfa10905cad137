//! A run's outcome in one line and one or two sentences. Pure.

use super::parts::{Kind, clean};
use crate::format;
use crate::judgement::{Performance, Run};
use crate::render::facts::{Facts, Names, broken_by_head};
use crate::render::words;
use perfsuite::model::{Comparison, Report};
use perfsuite::verdict::sequential::EQUAL_WITHIN;

/// What stands at the top of a run.
#[derive(Debug, PartialEq)]
pub struct Headline {
    pub kind: Kind,
    pub title: String,
    pub sentence: String,
}

impl Headline {
    fn new(kind: Kind, title: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { kind, title: title.into(), sentence: sentence.into() }
    }
}

pub fn of(run: &Run) -> Headline {
    match &run.performance {
        Performance::Queued { position, runners, .. } => {
            let waiting = match position {
                0 | 1 => "It is next in the queue.".to_owned(),
                ahead => format!("It is number {ahead} in the queue."),
            };
            let served = match runners {
                0 => {
                    "No runner has been heard of for a while, so nothing will be measured until one is back."
                        .into()
                }
                1 => "One runner is at work.".into(),
                many => format!("{many} runners are at work."),
            };
            Headline::new(Kind::Waiting, "Waiting for a runner", format!("{waiting} {served}"))
        }
        Performance::Running { text, .. } => Headline::new(Kind::Running, "Being measured", sentence(text)),
        Performance::Done { report } => done(report),
        Performance::Failed { message, .. } => {
            Headline::new(Kind::Broken, "Could not be measured", sentence(message))
        }
        Performance::NeedsApproval { head } => Headline::new(
            Kind::Waiting,
            "Waiting for approval",
            format!(
                "The head comes from a fork. Somebody with write permission can allow it to run: \
                 /paceline run {head}"
            ),
        ),
        Performance::Skipped { reason } => Headline::new(Kind::Quiet, "Nothing to measure", sentence(reason)),
        Performance::Cancelled { by } => {
            Headline::new(Kind::Quiet, "Not measured to the end", format!("Ended by {by}."))
        }
    }
}

fn done(report: &Report) -> Headline {
    if let Some(build) = report.broken_build() {
        return Headline::new(
            Kind::Broken,
            format!("The {} does not build", build.side.as_str()),
            "So there is nothing to compare. The end of the compiler's output is below.",
        );
    }
    if report.rows.is_empty() {
        return without_rows(report);
    }
    let (facts, names) = (Facts::of(report), Names::of(report));
    let balance = balance(report, &facts);
    let broken = broken_by_head(report);
    if !facts.blocking.is_empty() {
        return Headline::new(
            Kind::Slower,
            format!("Slower: {}", first_of(&facts.blocking, &names)),
            balance,
        );
    }
    if broken > 0 {
        let title = format!("{} on the head", format::count(broken, "benchmark fails", "benchmarks fail"));
        let sentence = format!("What does not run is not known to be as fast as before. {balance}");
        return Headline::new(Kind::Broken, title, sentence);
    }
    if !facts.advised.is_empty() {
        let title = format!("Slower, not blocking: {}", first_of(&facts.advised, &names));
        return Headline::new(Kind::Slower, title, balance);
    }
    if !facts.faster.is_empty() {
        return Headline::new(Kind::Faster, format!("Faster: {}", first_of(&facts.faster, &names)), balance);
    }
    if !facts.suspects.is_empty() {
        let sentence = format!("What moved may have moved by the layout of the program alone. {balance}");
        return Headline::new(Kind::Equal, "No confirmed change", sentence);
    }
    if facts.equal.is_empty() && !facts.inconclusive.is_empty() {
        return Headline::new(Kind::Unsure, "Inconclusive", balance);
    }
    Headline::new(Kind::Equal, "No change seen", balance)
}

fn without_rows(report: &Report) -> Headline {
    if !report.failures.is_empty() {
        return Headline::new(
            Kind::Broken,
            "Every benchmark failed",
            "Nothing could be compared. What they said last is below.",
        );
    }
    if report.has_same_code() {
        return Headline::new(
            Kind::Equal,
            "No change: the machine code is identical",
            "Base and head run the same machine code, so nothing can have become slower or faster and nothing was run.",
        );
    }
    Headline::new(Kind::Quiet, "Nothing was measured", "No benchmark exists on both sides.")
}

/// `route/match/1000 time +18.4 % (95 % interval +15.1 to +22.0) and 2 more`
fn first_of(rows: &[&Comparison], names: &Names<'_>) -> String {
    let Some(row) = rows.first() else { return String::new() };
    let more = match rows.len() - 1 {
        0 => String::new(),
        count => format!(" and {} more", format::thousands(count as f64)),
    };
    format!(
        "{} {} {} (95 % interval {}){more}",
        clean(&names.name(&row.suite, &row.benchmark.0)),
        row.metric.title(),
        format::change(row.estimate),
        format::interval(row.low, row.high)
    )
}

/// All rows in one sentence, and what the run could have seen.
fn balance(report: &Report, facts: &Facts<'_>) -> String {
    let counts = [
        (facts.slower(), "slower".to_owned()),
        (facts.faster.len(), "faster".into()),
        (facts.suspects.len(), "perhaps moved by layout".into()),
        (facts.equal.len(), format!("equal within {}", format::percent(EQUAL_WITHIN))),
        (facts.inconclusive.len(), "inconclusive".into()),
        (facts.instruction_changes.len(), "with other instructions in the same time".into()),
        (facts.shown.len(), "shown, not judged".into()),
        (report.failures.len(), "failed".into()),
        (report.one_sided.len(), "on one side only".into()),
    ];
    let parts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{} {words}", format::thousands(*count as f64)))
        .collect();
    let mut text = format!("{}.", parts.join(", "));
    if let Some((low, high)) = facts.smallest_visible() {
        text += &format!(" A change of {} would have been seen", words::range(low, high));
        text += if facts.judged() > 1 { ", by row." } else { "." };
    }
    text
}

/// A line from elsewhere as a sentence: first letter large, a full stop at its end.
fn sentence(text: &str) -> String {
    let text = clean(text.trim());
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    let mut out: String = first.to_uppercase().chain(chars).collect();
    if !out.ends_with(['.', '!', '?', '…', ':']) {
        out.push('.');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_sentences() {
        assert_eq!(sentence("only documentation changed"), "Only documentation changed.");
        assert_eq!(sentence("ready?"), "Ready?");
        assert_eq!(sentence(""), "");
    }
}
