//! What a commit's type claims about its change, held against the change. Pure.

use super::what_if::WhatIf;
use crate::judgement::{Claim, Level, Performance, Run, WaitingClaims};
use crate::pull::Commit;
use crate::render::facts::Facts;
use crate::repo_config::{self, ClaimsConfig};
use crate::text::quoted;
use perfsuite::model::{Certainty, Report, Sha, Side};

/// Claims told of one pull request; a pull request with more has said enough.
const CLAIMS_MAX: usize = 20;
/// Items or paths named in one.
const NAMED_MAX: usize = 3;

/// What was read of the change for this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimFacts {
    /// Commits that say `docs`, with the files of theirs that are none.
    pub docs: Vec<(Sha, Vec<String>)>,
    /// Public items of the base that the head does not have, or has otherwise. Read where a commit says `refactor`.
    pub gone: Vec<String>,
}

/// The type and the mark of a commit that follows the convention.
pub fn said(commit: &Commit) -> Option<(String, bool)> {
    let parts = super::parse(&commit.message).parts?;
    Some((parts.kind.to_lowercase(), parts.breaking))
}

/// Every claim that the change does not bear out. `described` is the pull request's own text.
pub fn judge(
    commits: &[Commit],
    facts: &ClaimFacts,
    changed: &[String],
    described: &str,
    what_if: Option<&WhatIf>,
    config: &ClaimsConfig,
) -> Vec<Claim> {
    if config.level == Level::Off {
        return Vec::new();
    }
    let mut messages = Vec::new();
    for (sha, paths) in &facts.docs {
        let named = named(paths);
        messages.push(format!("`{}` says `docs`, and changes {named}.", sha.short()));
    }
    let types: Vec<(&Commit, String, bool)> = commits
        .iter()
        .filter_map(|commit| said(commit).map(|(kind, breaking)| (commit, kind, breaking)))
        .collect();
    let breaking = types.iter().any(|(_, _, breaking)| *breaking);
    let refactors = types.iter().any(|(_, kind, _)| kind == "refactor");
    // Where another commit adds or mends something, it may be the one that changes what others see.
    let only_refactors = types.iter().all(|(_, kind, _)| kind != "feat" && kind != "fix");
    if refactors && only_refactors && !breaking && !facts.gone.is_empty() {
        messages.push(format!(
            "This says `refactor` without `!`, and public items are gone or changed: {}.",
            named(&facts.gone)
        ));
    }
    if types.iter().any(|(_, kind, _)| kind == "fix") {
        let linked =
            types.iter().filter(|(_, kind, _)| kind == "fix").any(|(commit, ..)| links(&commit.message));
        if !linked && !links(described) {
            messages
                .push("This says `fix`, and links no issue (`Fixes #12` in the description does).".into());
        }
    }
    if changed.iter().any(|path| path == repo_config::PATH) {
        let would = what_if.map(|what_if| format!(" {}", what_if.in_words())).unwrap_or_default();
        messages.push(format!(
            "This changes `{}`: how pull requests are judged, from its merge on.{would}",
            repo_config::PATH
        ));
    }
    messages.truncate(CLAIMS_MAX);
    messages.into_iter().map(|message| Claim { level: config.level, message }).collect()
}

/// What is kept of a judgement, to hold claims against what will be measured.
pub fn waiting(commits: &[Commit], changed: &[String], config: &ClaimsConfig) -> Option<WaitingClaims> {
    if config.level == Level::Off {
        return None;
    }
    let perf: Vec<Sha> = commits
        .iter()
        .filter(|commit| said(commit).is_some_and(|(kind, _)| kind == "perf"))
        .map(|commit| commit.sha.clone())
        .take(CLAIMS_MAX)
        .collect();
    let benches: Vec<String> = changed
        .iter()
        .filter(|path| path.split('/').any(|part| part == "benches"))
        .take(CLAIMS_MAX)
        .cloned()
        .collect();
    (!perf.is_empty() || !benches.is_empty()).then_some(WaitingClaims { level: config.level, perf, benches })
}

/// A run with the claims that its report does not bear out.
pub fn with_measured(mut run: Run) -> Run {
    if let (Some(waiting), Performance::Done { report }) = (&run.commits.waiting, &run.performance) {
        run.commits.claims.extend(measured(waiting, report));
    }
    run
}

/// Holds them against a finished report: `perf` without a gain, and a benchmark that went, or was changed, together with a
/// slowdown.
pub fn measured(waiting: &WaitingClaims, report: &Report) -> Vec<Claim> {
    let facts = Facts::of(report);
    let mut messages = Vec::new();
    let fewer =
        report.rows.iter().any(|row| row.certainty == Certainty::InstructionChange && row.estimate < 0.0);
    if !waiting.perf.is_empty() && facts.judged() > 0 && facts.faster.is_empty() && !fewer {
        let shas: Vec<String> = waiting.perf.iter().map(|sha| sha.short().to_owned()).collect();
        let undecided = match facts.inconclusive.len() {
            0 => String::new(),
            count => format!(" ({count} could not be decided)"),
        };
        messages.push(format!(
            "{} says `perf`, and of {} comparisons none got faster{undecided}.",
            named(&shas),
            facts.judged()
        ));
    }
    let slower = facts.blocking.first().or(facts.advised.first());
    if let Some(slower) = slower {
        let slower = quoted(&slower.benchmark.0);
        let gone: Vec<String> = report
            .one_sided
            .iter()
            .filter(|one| one.side == Side::Base && one.other_name.is_none())
            .map(|one| one.benchmark.0.clone())
            .collect();
        if !gone.is_empty() {
            messages.push(format!(
                "{slower} gets slower where these benchmarks are taken out: {}.",
                named(&gone)
            ));
        }
        if !waiting.benches.is_empty() {
            messages.push(format!(
                "{slower} gets slower where the benchmarks' own code is changed: {}.",
                named(&waiting.benches)
            ));
        }
    }
    messages.into_iter().map(|message| Claim { level: waiting.level, message }).collect()
}

fn named(names: &[String]) -> String {
    let shown = names.iter().take(NAMED_MAX).map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Whether a text names an issue: `#12`, `owner/name#12`, `GH-12`, or an address of one.
fn links(text: &str) -> bool {
    let digit_after = |at: usize| text[at..].starts_with(|c: char| c.is_ascii_digit());
    let hash = text.match_indices('#').any(|(at, _)| digit_after(at + 1));
    let named = ["GH-", "/issues/"]
        .iter()
        .any(|word| text.match_indices(word).any(|(at, _)| digit_after(at + word.len())));
    hash || named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures;
    use perfsuite::model::{BenchmarkId, Comparison, Metric, OneSided};

    fn commit(message: &str) -> Commit {
        Commit {
            sha: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            message: message.into(),
            parents: 1,
            author_name: "a".into(),
        }
    }

    fn told(messages: &[&str], facts: &ClaimFacts, changed: &[&str], described: &str) -> String {
        let commits: Vec<Commit> = messages.iter().map(|message| commit(message)).collect();
        let changed: Vec<String> = changed.iter().map(|path| (*path).to_owned()).collect();
        let claims = judge(&commits, facts, &changed, described, None, &ClaimsConfig::default());
        claims.into_iter().map(|claim| claim.message).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_fix_links_an_issue() {
        let none = ClaimFacts::default();
        assert!(told(&["fix: x"], &none, &[], "").contains("links no issue"));
        for (message, described) in [
            ("fix: x (#12)", ""),
            ("fix: x\n\nCloses #3", ""),
            ("fix: x", "Fixes owner/name#4"),
            ("fix: x", "see https://github.com/a/b/issues/5"),
            ("fix: x", "GH-6"),
            ("feat: x", ""),
            ("Fixing", ""),
        ] {
            assert_eq!(told(&[message], &none, &[], described), "", "{message} {described}");
        }
        assert!(told(&["fix: x # y"], &none, &[], "#one").contains("links no issue"));
    }

    fn found(messages: &[&str], changed: &[&str], report: &Report) -> String {
        let commits: Vec<Commit> = messages.iter().map(|message| commit(message)).collect();
        let changed: Vec<String> = changed.iter().map(|path| (*path).to_owned()).collect();
        let waiting = waiting(&commits, &changed, &ClaimsConfig::default());
        let claims = waiting.map(|waiting| measured(&waiting, report)).unwrap_or_default();
        claims.into_iter().map(|claim| claim.message).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn perf_wants_a_gain() {
        let equal = fixtures::report(fixtures::equal_rows());
        let mut faster = equal.clone();
        faster.rows.push(fixtures::row("fast", Metric::Time, 10.0, -0.1, 0.01));
        let mut fewer = equal.clone();
        let counted = fixtures::row("fewer", Metric::Instructions, 1e6, -0.02, 0.0);
        fewer.rows.push(Comparison { certainty: Certainty::InstructionChange, ..counted });
        let told = found(&["perf: x"], &[], &equal);
        assert!(told.contains("says `perf`") && told.contains("none got faster"), "{told}");
        let mut undecided = equal.clone();
        undecided.rows.push(fixtures::row("open", Metric::Time, 10.0, 0.01, 0.05));
        assert!(found(&["perf: x"], &[], &undecided).contains("(1 could not be decided)"));
        for (messages, report) in
            [(&["perf: x"], &faster), (&["perf: x"], &fewer), (&["feat: x"], &equal), (&["perf: x"], &none())]
        {
            assert_eq!(found(messages, &[], report), "", "{messages:?}");
        }
    }

    fn none() -> Report {
        fixtures::report(Vec::new())
    }

    #[test]
    fn a_benchmark_that_goes_or_changes_with_a_slowdown_is_told() {
        let gone = |other_name: Option<&str>| OneSided {
            suite: "routing".into(),
            benchmark: BenchmarkId("route/match/1".into()),
            side: Side::Base,
            other_name: other_name.map(|name| BenchmarkId(name.into())),
        };
        let mut slower = fixtures::regressed();
        slower.one_sided = vec![gone(None)];
        let benches = ["gateway/benches/route.rs", "src/lib.rs"];
        let told = found(&["feat: x"], &benches, &slower);
        assert!(told.contains("gets slower where these benchmarks are taken out: `route/match/1`"), "{told}");
        assert!(
            told.contains("benchmarks' own code is changed: `gateway/benches/route.rs`."),
            "only what is a bench: {told}"
        );
        slower.one_sided = vec![gone(Some("route/match/one"))];
        assert!(!found(&["feat: x"], &benches, &slower).contains("taken out"), "a new name is no loss");
        let mut equal = fixtures::report(fixtures::equal_rows());
        equal.one_sided = vec![gone(None)];
        assert_eq!(found(&["feat: x"], &benches, &equal), "", "without a slowdown nobody gains by it");
        assert_eq!(found(&["feat: x"], &["src/lib.rs"], &slower), "");
    }

    #[test]
    fn what_was_claimed_is_held_against_what_was_done() {
        let facts = ClaimFacts {
            docs: vec![(commit("").sha, vec!["src/a.rs".into()])],
            gone: vec!["fn a ( )".into(), "b".into(), "c".into(), "d".into()],
        };
        let words = told(&["docs: x", "refactor: y"], &facts, &[".github/paceline.toml"], "");
        for part in [
            "says `docs`, and changes `src/a.rs`",
            "`fn a ( )`, `b`, `c` and 1 more",
            "how pull requests are judged",
        ] {
            assert!(words.contains(part), "{part} in {words}");
        }
        let api = ClaimFacts { docs: vec![], ..facts };
        for fine in [
            &["refactor!: y"][..],
            &["refactor: y", "feat: z"],
            &["refactor: y\n\nBREAKING CHANGE: z"],
            &["chore: y"],
        ] {
            assert_eq!(told(fine, &api, &[], ""), "", "{fine:?}");
        }
        let off = ClaimsConfig { level: Level::Off };
        assert!(judge(&[commit("fix: x")], &api, &[], "", None, &off).is_empty());
    }
}
