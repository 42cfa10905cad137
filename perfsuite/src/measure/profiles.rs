//! After the clock has spoken: where the time of what changed for certain went.

use crate::artifact::stopped;
use crate::model::profile::Touched;
use crate::model::{BenchmarkId, Certainty, Focus, Mode, Profile, Series, Side, Verdict};
use crate::suite::criterion::{self, Bench, Benchmark, Effort};
use crate::suite::load::{self, LoadContext};
use crate::verdict::{Rule, judge_series};
use std::time::{Duration, Instant};

/// Benchmarks and scenarios that are profiled: who mends the first has mended most of them.
const PROFILED_MAX: usize = 4;
/// Of all profiles of a job together.
pub(super) const ALL: Duration = Duration::from_secs(60);
/// Of one benchmark, and one scenario; these start two servers each round.
const BENCHMARK: Duration = Duration::from_secs(15);
const SCENARIO: Duration = Duration::from_secs(25);
const ROUNDS: usize = 6;
/// No profile begins with less time than this.
const LEAST: Duration = Duration::from_secs(3);

/// What was measured, and how to run it again.
pub(super) struct Ask<'a> {
    pub(super) bench: &'a Bench<'a>,
    pub(super) rule: &'a Rule,
    pub(super) seed: u64,
    pub(super) series: &'a [Series],
    pub(super) benchmarks: &'a [Benchmark],
    /// With their rates.
    pub(super) scenarios: &'a [(LoadContext<'a>, f64)],
    /// Modules of changed files: of a server built by its own command, nothing else is known.
    pub(super) modules: &'a [String],
    /// What is to be profiled even where it did not change.
    pub(super) focus: Option<&'a Focus>,
}

#[derive(Default)]
pub(super) struct Taken {
    pub(super) profiles: Vec<Profile>,
    pub(super) notes: Vec<String>,
}

pub(super) fn take(ask: &Ask) -> anyhow::Result<Taken> {
    let mut taken = Taken::default();
    let begun = Instant::now();
    let mut wanted = changed(ask.rule, ask.series);
    if let Some(focus) = ask.focus {
        add(&mut wanted, ask.series.iter().filter(|series| focus.wants(&series.benchmark)));
    }
    for (suite, id) in wanted {
        stopped(ask.bench.observer)?;
        let left = ALL.saturating_sub(begun.elapsed());
        if taken.profiles.len() >= PROFILED_MAX || left < LEAST {
            break;
        }
        let benchmark = ask.benchmarks.iter().find(|b| (b.suite.as_str(), &b.id) == (suite, id));
        let scenario =
            ask.scenarios.iter().find(|(of, _)| of.suite == suite && load::benchmark(suite) == *id);
        let outcome = match (benchmark, scenario) {
            (Some(benchmark), _) => {
                let effort = Effort { budget: left.min(BENCHMARK), seed: ask.seed, ..Effort::default() };
                criterion::profile(ask.bench, benchmark, &Side::BOTH, effort)?
            }
            (None, Some((scenario, rate))) if scenario.load.profile.enabled => {
                let mut outcome = load::profile(scenario, &Side::BOTH, *rate, ROUNDS, left.min(SCENARIO))?;
                if let Ok(profile) = &mut outcome {
                    profile.touched = Some(Touched { modules: ask.modules.to_vec(), ..Touched::default() });
                }
                outcome
            }
            _ => continue,
        };
        match outcome {
            Ok(profile) => taken.profiles.push(profile),
            Err(reason) => {
                let note = format!("{id} was not profiled: {reason}");
                ask.bench.observer.log(&note);
                // What refuses one refuses all.
                let known = taken.notes.iter().any(|note: &String| note.ends_with(&reason));
                taken.notes.extend((!known).then_some(note));
            }
        }
    }
    Ok(taken)
}

/// What changed for certain: slower before faster, the largest first, each once.
fn changed<'a>(rule: &Rule, series: &'a [Series]) -> Vec<(&'a str, &'a BenchmarkId)> {
    let judged = series.iter().filter(|series| series.metric.judged());
    let judged = judged.map(|series| (series, judge_series(rule, series, Mode::Gate)));
    let mut changed: Vec<_> =
        judged.filter(|(_, row)| row.changed() && row.certainty == Certainty::Confirmed).collect();
    changed.sort_by(|(_, a), (_, b)| {
        let size = |estimate: f64| estimate.ln_1p().abs();
        let faster = |verdict: Verdict| verdict == Verdict::Faster;
        faster(a.verdict).cmp(&faster(b.verdict)).then(size(b.estimate).total_cmp(&size(a.estimate)))
    });
    let mut ids = Vec::new();
    add(&mut ids, changed.into_iter().map(|(series, _)| series));
    ids
}

/// Adds each benchmark once.
fn add<'a>(ids: &mut Vec<(&'a str, &'a BenchmarkId)>, series: impl Iterator<Item = &'a Series>) {
    for series in series {
        let id = (series.suite.as_str(), &series.benchmark);
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Metric, Visit};

    fn series(name: &str, metric: Metric, ratio: f64) -> Series {
        let visit = |n: u32| Visit::single(Side::Base, 100.0, 100.0 * ratio * (1.0 + f64::from(n % 5) / 1e4));
        Series {
            suite: "s".into(),
            benchmark: BenchmarkId(name.into()),
            metric,
            visits: (0..30).map(visit).collect(),
            seconds: 1.0,
            instructions: None,
        }
    }

    #[test]
    fn the_worst_comes_first_and_what_is_equal_never() {
        let all = [
            series("equal", Metric::Time, 1.0),
            series("faster", Metric::Time, 0.5),
            series("slower", Metric::Time, 1.2),
            series("suspect", Metric::Time, 1.04),
            series("server", Metric::LatencyP50, 1.5),
            series("server", Metric::QpsPerCore, 0.8),
        ];
        let rule = Rule::new(0.01, 6);
        let names: Vec<&str> = changed(&rule, &all).into_iter().map(|(_, id)| id.0.as_str()).collect();
        assert_eq!(names, ["server", "slower", "faster"]);
        let mut ids = changed(&rule, &all);
        add(&mut ids, all.iter());
        let names: Vec<&str> = ids.into_iter().map(|(_, id)| id.0.as_str()).collect();
        assert_eq!(
            names,
            ["server", "slower", "faster", "equal", "suspect"],
            "what is asked for follows, once"
        );
    }
}
