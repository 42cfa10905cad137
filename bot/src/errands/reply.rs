//! What an errand's reply says, from its first moment to its end. Pure: facts in, Markdown out.

use super::{Errand, Search, SearchCommit};
use crate::checks;
use crate::db::jobs::Job;
use crate::format;
use crate::history::bisect::Outcome;
use crate::judgement::{Performance, Run};
use crate::queue::JobState;
use crate::render::causes;
use crate::render::facts::Facts;
use crate::render::markdown::{code, inline};
use perfsuite::bisect::Measured;
use perfsuite::model::profile::ProfileSummary;
use perfsuite::model::{Report, Sha, Verdict};

const NAME_MAX_GRAPHEMES: usize = 100;
const LINE_MAX_GRAPHEMES: usize = 300;
/// Functions shown of a profile; its page has more.
const FUNCTIONS_MAX: usize = 8;
/// Commits listed where a search could not tell them apart.
const CANDIDATES_MAX: usize = 10;
/// That it decides nothing: who reads a red figure in a reply should know what blocks.
const WEIGHS_NOTHING: &str = "*Asked for by a command: it weighs nothing in the checks.*";

/// When it has just been queued.
pub fn begun(errand: &Errand, head: &Sha, url: &str) -> String {
    let what = match errand {
        Errand::Against { base, name } => {
            format!("`{}` is measured against {}", head.short(), named(name, base))
        }
        Errand::Profile { base, benchmark } => format!(
            "{} is profiled on `{}` and its base `{}`",
            code(benchmark, NAME_MAX_GRAPHEMES),
            head.short(),
            base.short()
        ),
        Errand::Bisect(search) => format!(
            "{} is looked for among {}",
            change_of(search),
            format::count(search.commits.len(), "commit", "commits")
        ),
    };
    format!("⏳ {what}: [the run]({url}). This comment is renewed as it goes on.")
}

/// While a search goes on.
pub fn searching(search: &Search, (base, head): (&Sha, &Sha), url: &str) -> String {
    format!(
        "⏳ {} is looked for among {}. {} made; now `{}` against `{}`: [the run]({url}).",
        change_of(search),
        format::count(search.commits.len(), "commit", "commits"),
        format::count(search.seen.len(), "comparison is", "comparisons are"),
        head.short(),
        base.short()
    )
}

/// It was cancelled, or a push made it pointless.
pub fn stopped(job: &Job, head: &Sha) -> String {
    let by = inline(job.error.as_deref().unwrap_or("a maintainer"), LINE_MAX_GRAPHEMES);
    match job.state {
        JobState::Superseded => format!("Ended by {by}: it was about `{}`.", head.short()),
        _ => format!("Cancelled by {by}."),
    }
}

/// The head against another commit.
pub fn compared(run: &Run, errand: &Errand, url: &str) -> String {
    let against = match errand {
        Errand::Against { base, name } => named(name, base),
        _ => format!("`{}`", run.base.short()),
    };
    let check = checks::performance_check(run, "");
    let title = inline(&check.title, LINE_MAX_GRAPHEMES);
    format!(
        "**`{}` against {against}:** {title}\n\n{}\n\n[The run]({url})\n\n{WEIGHS_NOTHING}",
        run.head.short(),
        check.summary
    )
}

/// Where the time of one benchmark goes.
pub fn profiled(run: &Run, benchmark: &str, url: &str) -> String {
    let name = code(benchmark, NAME_MAX_GRAPHEMES);
    let Performance::Done { report } = &run.performance else {
        let check = checks::performance_check(run, "");
        let title = inline(&check.title, LINE_MAX_GRAPHEMES);
        return format!("{name} was not profiled. {title}\n\n{}\n\n[The run]({url})", check.summary);
    };
    let found = report.profiles.iter().enumerate().find(|(_, profile)| profile.benchmark.0 == benchmark);
    let Some((place, profile)) = found else {
        return format!("{name} was not profiled: {}\n\n[The run]({url})", why_not(report, benchmark));
    };
    let because = match profile.cause.is_some() || profile.doubt.is_some() {
        true => format!("it is {}", causes::markdown(profile)),
        false => "no function changed for certain.".into(),
    };
    let at = format!("{url}/profile/{place}");
    format!(
        "**{name}** takes {} of CPU time per {} on the base, {} on the head; {because}\n\n{}\n\
         Flame graphs: [difference]({at}/difference.svg), [base]({at}/base-flame.svg), [head]({at}/head-flame.svg) · \
         [all functions]({at}) · [the run]({url})\n\n{WEIGHS_NOTHING}",
        format::nanoseconds(profile.base_ns),
        profile.unit.as_str(),
        format::nanoseconds(profile.head_ns),
        table(profile)
    )
}

/// What a search came to.
pub fn searched(search: &Search) -> String {
    let name = code(&search.benchmark, NAME_MAX_GRAPHEMES);
    let commit = |sha: &Sha| {
        let known = search.commits.iter().find(|commit| commit.sha == *sha);
        known.map_or_else(|| format!("`{}`", sha.short()), one)
    };
    let took = format!(
        "{}, {}.",
        format::count(search.commits.len(), "commit", "commits"),
        format::count(search.seen.len(), "comparison", "comparisons")
    );
    let words = match &search.outcome {
        Some(Outcome::Found { commit: sha, change }) => {
            let way = if change.verdict == Verdict::Faster { "faster" } else { "slower" };
            format!("**{} made {name} {way}:** {}.", commit(sha), measured(change))
        }
        Some(Outcome::None { ends }) => {
            format!("{name} does not differ between the merge base and the head: {}.", measured(ends))
        }
        Some(Outcome::Among { candidates }) => {
            let listed: Vec<String> =
                candidates.iter().take(CANDIDATES_MAX).map(|sha| format!("- {}", commit(sha))).collect();
            let more = match candidates.len().saturating_sub(CANDIDATES_MAX) {
                0 => String::new(),
                more => format!("\n- and {more} more"),
            };
            format!(
                "One of these changed {name}; those before the last cannot be measured:\n\n{}{more}\n\n",
                listed.join("\n")
            )
        }
        Some(Outcome::Unconfirmed { commit: sha, seen }) => format!(
            "The search for the change of {name} came to {}, which against the commit before it shows {}. It may be a \
             drift over several commits, or noise.",
            commit(sha),
            measured(seen)
        ),
        Some(Outcome::Broken { reason }) => {
            format!(
                "The search for the change of {name} could not go on: {}.",
                inline(reason, LINE_MAX_GRAPHEMES)
            )
        }
        None => format!("The search for the change of {name} has ended."),
    };
    let between = if words.ends_with('\n') { "" } else { " " };
    format!("{words}{between}{took}\n\n{WEIGHS_NOTHING}")
}

fn change_of(search: &Search) -> String {
    format!("The change of {}", code(&search.benchmark, NAME_MAX_GRAPHEMES))
}

fn named(name: &str, base: &Sha) -> String {
    match base.as_str().starts_with(name) {
        true => format!("`{}`", base.short()),
        false => format!("{} (`{}`)", code(name, NAME_MAX_GRAPHEMES), base.short()),
    }
}

fn one(commit: &SearchCommit) -> String {
    format!("`{}` ({})", commit.sha.short(), code(&commit.subject, NAME_MAX_GRAPHEMES))
}

fn measured(change: &Measured) -> String {
    let interval = format::interval(change.low, change.high);
    format!("{} (95 % CI {interval})", format::change(change.estimate))
}

/// Why a report has no profile of a benchmark, as far as the runner said.
fn why_not(report: &Report, benchmark: &str) -> String {
    if let Some(build) = report.broken_build() {
        return format!("the {} does not build.", build.side.as_str());
    }
    let of_it = |failed: &&perfsuite::model::Failure| {
        failed.benchmark.as_ref().is_none_or(|failed| failed.0 == benchmark)
    };
    if report.failures.iter().any(|failed| of_it(&failed)) {
        return "it fails.".into();
    }
    let said = report.environment.warnings.iter().find(|note| note.contains("was not profiled"));
    match said {
        Some(note) => inline(note, LINE_MAX_GRAPHEMES),
        None if Facts::of(report).judged() == 0 => {
            "no benchmark of that name runs different code on both sides.".into()
        }
        None => "the runner took no samples of it.".into(),
    }
}

fn table(profile: &ProfileSummary) -> String {
    if profile.functions.is_empty() {
        return String::new();
    }
    let mut table =
        format!("| function | base, per {} | head | change |\n|---|---|---|---|\n", profile.unit.as_str());
    for function in profile.functions.iter().take(FUNCTIONS_MAX) {
        table += &format!(
            "| {} | {} | {} | {}{} |\n",
            code(&function.name, NAME_MAX_GRAPHEMES),
            format::nanoseconds(function.base_ns),
            format::nanoseconds(function.head_ns),
            function.change.estimate.map_or_else(|| "new".into(), format::change),
            if function.changed { "" } else { ", not for certain" }
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::Order;
    use super::*;
    use crate::render::fixtures;
    use perfsuite::bisect::Seen;
    use perfsuite::model::{JobLimits, Metric};

    fn search(outcome: Option<Outcome>) -> Search {
        let commit =
            |digit: char, subject: &str| SearchCommit { sha: fixtures::sha(digit), subject: subject.into() };
        let seen = Measured { verdict: Verdict::Slower, estimate: 0.099, low: 0.092, high: 0.106 };
        Search {
            benchmark: "route/match/1000".into(),
            metric: Metric::Time,
            good: fixtures::sha('a'),
            commits: vec![commit('b', "feat: accept `|` and <b>comments</b>"), commit('c', "fix: @everyone")],
            seen: vec![Seen::Measured(seen); 3],
            order: Order { suites: vec![], limits: JobLimits::default(), budget: 0.01 },
            outcome,
        }
    }

    #[test]
    fn replies_read_well() {
        let url = "https://paceline.example/runs/1";
        let head = fixtures::sha('d');
        let change = Measured { verdict: Verdict::Slower, estimate: 0.099, low: 0.092, high: 0.106 };
        let run = fixtures::done(fixtures::regressed());
        let against = Errand::Against { base: fixtures::sha('a'), name: "v1.2".into() };
        let all = [
            begun(&against, &head, url),
            compared(&run, &against, url),
            profiled(&run, "route/match/100000", url),
            profiled(&run, "limit/one", url),
            begun(&Errand::Bisect(Box::new(search(None))), &head, url),
            searching(&search(None), (&fixtures::sha('a'), &fixtures::sha('b')), url),
            searched(&search(Some(Outcome::Found { commit: fixtures::sha('b'), change }))),
            searched(&search(Some(Outcome::None { ends: Measured::SAME }))),
            searched(&search(Some(Outcome::Among {
                candidates: vec![fixtures::sha('b'), fixtures::sha('c')],
            }))),
            searched(&search(Some(Outcome::Unconfirmed { commit: fixtures::sha('c'), seen: change }))),
            searched(&search(Some(Outcome::Broken { reason: "it does not build: <b>@x".into() }))),
        ];
        insta::assert_snapshot!(all.join("\n\n--------\n\n"));
    }
}
