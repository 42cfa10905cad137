//! Whether evidence can be believed to be what the job asked for, before anything is computed from it: pure.
//!
//! A runner is trusted to measure, not to send what is sound: its token may have been stolen, and what it passes on
//! (names, outputs) was written by strangers' programs.

mod checked;
mod profiles;
mod scenarios;

use crate::model::evidence::EVIDENCE_SCHEMA;
use crate::model::{Build, Evidence, JobSpec, Series, Side, Visit};
use std::collections::HashSet;

/// Benchmark-metric pairs of one run, and rows of any other list: the largest suites known have some thousands.
pub const ROWS_MAX: usize = 20_000;
/// The rule ends at 120 visits; a load scenario's windows are some hundreds.
pub const VISITS_MAX: usize = 10_000;
/// A visit takes at most 20 pairs of batches.
pub const PAIRS_MAX: usize = 1_000;
/// Names of suites and benchmarks, shown in tables and kept in columns.
pub const NAME_MAX_CHARS: usize = 1_000;
/// One failure's or build's output. Runners cut theirs at 8,000 characters.
pub const OUTPUT_MAX_BYTES: usize = 256 << 10;
/// A value in nanoseconds, requests or instructions: 31 years.
pub const VALUE_MAX: f64 = 1e18;

/// Evidence that is refused, in words for the runner's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsound(String);

/// Holds evidence against the job that it claims to be of.
pub fn check(evidence: &Evidence, spec: &JobSpec) -> Result<(), Unsound> {
    if evidence.schema != EVIDENCE_SCHEMA {
        return refuse(format!(
            "the evidence has format {}, this server reads {EVIDENCE_SCHEMA}: use a runner of the server's version",
            evidence.schema
        ));
    }
    // The lease may have allowed other spare time than the job.
    let mut of = evidence.spec.clone();
    of.limits.calibrate_seconds = spec.limits.calibrate_seconds;
    if of != *spec {
        return refuse("the evidence is of another job");
    }
    counts(evidence)?;
    for build in &evidence.builds {
        check_build(build, spec)?;
    }
    for side in Side::BOTH {
        if evidence.builds.iter().filter(|build| build.side == side).count() > 1 {
            return refuse(format!("the {} was built twice", side.as_str()));
        }
    }
    let mut seen = HashSet::new();
    for series in &evidence.series {
        check_series(series, spec)?;
        if !seen.insert((&series.suite, &series.benchmark, series.metric)) {
            return refuse(format!("{} has two series of one metric", quoted(&series.benchmark.0)));
        }
    }
    if evidence.calibration.len() > evidence.series.len() {
        return refuse("there are more bases against themselves than benchmarks");
    }
    evidence.calibration.iter().try_for_each(|series| check_series(series, spec))?;
    profiles::check(evidence, spec)?;
    scenarios::check(evidence, spec)?;
    check_others(evidence, spec)?;
    checked::check(evidence.checks.as_ref(), spec.checks.as_ref())
}

fn refuse<T>(words: impl Into<String>) -> Result<T, Unsound> {
    Err(Unsound(words.into()))
}

fn counts(evidence: &Evidence) -> Result<(), Unsound> {
    let environment = &evidence.environment;
    for (what, count) in [
        ("series", evidence.series.len()),
        ("failures", evidence.failures.len()),
        ("one-sided benchmarks", evidence.one_sided.len()),
        ("identical benches", evidence.identical.len()),
        ("unaffected benchmarks", evidence.unaffected.len()),
        ("judged pairs", evidence.judged_pairs as usize),
        ("warnings", environment.warnings.len()),
        ("missing tools", environment.missing.len()),
    ] {
        if count > ROWS_MAX {
            return refuse(format!("{count} {what} are more than {ROWS_MAX}"));
        }
    }
    let times = [evidence.started_ms, evidence.finished_ms, evidence.measure_ms];
    if times.iter().any(|ms| *ms < 0) {
        return refuse("a time is negative");
    }
    Ok(())
}

fn check_build(build: &Build, spec: &JobSpec) -> Result<(), Unsound> {
    let meant = match build.side {
        Side::Base => &spec.base,
        Side::Head => &spec.head,
    };
    if build.commit != *meant {
        return refuse(format!(
            "the {} that was built is {}, not {meant}",
            build.side.as_str(),
            build.commit
        ));
    }
    duration(build.seconds)?;
    output(build.error.as_deref().unwrap_or_default())
}

fn check_series(series: &Series, spec: &JobSpec) -> Result<(), Unsound> {
    name(&series.suite)?;
    name(&series.benchmark.0)?;
    known_suite(&series.suite, spec)?;
    duration(series.seconds)?;
    let of = || quoted(&series.benchmark.0);
    if series.visits.len() > VISITS_MAX {
        return refuse(format!("{} has {} visits, more than {VISITS_MAX}", of(), series.visits.len()));
    }
    for Visit { base, head, pairs, .. } in &series.visits {
        if pairs.len() > PAIRS_MAX {
            return refuse(format!("{} has a visit of {} pairs, more than {PAIRS_MAX}", of(), pairs.len()));
        }
        if !pairs.iter().flatten().chain([base, head]).all(|value| is_measure(*value)) {
            return refuse(format!("{} has a value that nothing can measure", of()));
        }
    }
    let counted = series.instructions.iter().flat_map(|seen| [&seen.base, &seen.head]);
    for counts in counted {
        if counts.len() > PAIRS_MAX || !counts.iter().all(|value| is_measure(*value)) {
            return refuse(format!("{} has counts of instructions that nothing can count", of()));
        }
    }
    Ok(())
}

/// Zero is kept, and left out by the verdict, which says so.
fn is_measure(value: f64) -> bool {
    (0.0..=VALUE_MAX).contains(&value)
}

fn check_others(evidence: &Evidence, spec: &JobSpec) -> Result<(), Unsound> {
    for failure in &evidence.failures {
        name(&failure.suite)?;
        known_suite(&failure.suite, spec)?;
        output(&failure.output)?;
        if let Some(benchmark) = &failure.benchmark {
            name(&benchmark.0)?;
        }
    }
    let named = evidence
        .one_sided
        .iter()
        .flat_map(|row| [Some(&row.benchmark), row.other_name.as_ref()].map(|id| (&row.suite, id)))
        .filter_map(|(suite, id)| Some((suite, id?)))
        .chain(evidence.unaffected.iter().map(|row| (&row.suite, &row.benchmark)));
    for (suite, benchmark) in named {
        name(suite)?;
        name(&benchmark.0)?;
        known_suite(suite, spec)?;
    }
    evidence.identical.iter().try_for_each(|text| name(text))?;
    let environment = &evidence.environment;
    let texts = [
        &environment.hostname,
        &environment.os,
        &environment.kernel,
        &environment.cpu_model,
        &environment.sandbox,
    ];
    let missing = environment.missing.iter().flat_map(|tool| [&tool.hides, &tool.package]);
    texts.into_iter().chain(missing).chain(&environment.warnings).try_for_each(|text| output(text))?;
    let shares = [environment.steal, environment.load_before, environment.load_after, environment.others];
    if !shares.into_iter().flatten().all(is_measure) {
        return refuse("the environment has a figure that nothing can measure");
    }
    Ok(())
}

/// A suite that the job did not name. A job that names none has them found by the runner.
fn known_suite(suite: &str, spec: &JobSpec) -> Result<(), Unsound> {
    if spec.suites.is_empty() || spec.suites.iter().any(|known| known.name == suite) {
        return Ok(());
    }
    refuse(format!("the job has no suite {}", quoted(suite)))
}

fn name(text: &str) -> Result<(), Unsound> {
    if text.chars().count() > NAME_MAX_CHARS {
        return refuse(format!("a name is longer than {NAME_MAX_CHARS} characters"));
    }
    // A NUL is no text to PostgreSQL, a line end is two rows to a table.
    if text.is_empty() || text.chars().any(char::is_control) {
        return refuse(format!("{} is no name", quoted(text)));
    }
    Ok(())
}

fn output(text: &str) -> Result<(), Unsound> {
    if text.len() > OUTPUT_MAX_BYTES {
        return refuse(format!("an output of {} bytes is longer than {OUTPUT_MAX_BYTES}", text.len()));
    }
    Ok(())
}

fn duration(seconds: f64) -> Result<(), Unsound> {
    if is_measure(seconds) { Ok(()) } else { refuse("a duration is negative or endless") }
}

/// As it stands in one line of a log.
fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 100;
    format!("{:?}", text.chars().take(SHOWN_MAX).collect::<String>())
}

#[cfg(test)]
mod tests;
