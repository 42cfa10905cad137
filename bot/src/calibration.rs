//! What benchmarks measured against themselves say of a runner, and so which benchmarks may block there. Pure.
//!
//! A benchmark gates only after it was seen to stand still on that runner; one that is noisy there is recorded only. A
//! runner on which identical code seems to change, or raises alarms, is in quarantine: nothing that it measures blocks.

use crate::db::quarantined_benchmarks::Quarantined;
use crate::format;
use perfsuite::model::{BenchmarkId, Calibration, Certainty, Comparison, Metric, Mode, Report};
use std::collections::HashMap;

/// How far back counts: what a machine was before a month of updates it need not be any more, and a benchmark that was
/// noisy gets its way back.
pub const WINDOW_MS: i64 = 30 * 24 * 60 * 60 * 1_000;
/// After so long a runner measures a repository's benchmarks against themselves again.
pub const FRESH_MS: i64 = 24 * 60 * 60 * 1_000;
/// Of the time that a job leaves over: for benchmarks that are not calibrated, or not of late.
pub const CALIBRATE_SECONDS: u64 = 60;
/// The same where all is known: enough to hold a few slowdowns against nothing.
pub const CONTROL_SECONDS: u64 = 10;

/// Visits against itself before a benchmark may gate: the spread of 20 is known to about a sixth.
pub const VISITS_MIN: u32 = 20;
/// A benchmark whose visits spread more than this is noisy: of a change of 5 % it would miss too many.
pub const SPREAD_MAX: f64 = 0.04;
/// More change than this, where there is none, is a bias.
pub const BIAS_MAX: f64 = 0.003;
/// Standard errors beyond the bound before a bias is believed.
const BIAS_ERRORS: f64 = 2.0;
/// Benchmarks measured against themselves before a runner is judged by all of them together.
const RUNNER_MIN: usize = 10;
/// Alarms about nothing: more than one, and more than this share.
const ALARMS_MAX: f64 = 0.01;

/// One benchmark, measured against itself once.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    pub suite: String,
    pub benchmark: BenchmarkId,
    /// As on the wire.
    pub metric: String,
    pub estimate: f64,
    pub spread: f64,
    pub visits: u32,
    pub alarm: bool,
}

impl From<&Calibration> for Observation {
    fn from(seen: &Calibration) -> Self {
        Self {
            suite: seen.suite.clone(),
            benchmark: seen.benchmark.clone(),
            metric: seen.metric.as_str().to_owned(),
            estimate: seen.estimate,
            spread: seen.spread,
            visits: seen.visits,
            alarm: seen.alarm,
        }
    }
}

/// How a benchmark stands on a runner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// Too few visits against itself, or none.
    Uncalibrated {
        visits: u32,
    },
    Good,
    Noisy {
        spread: f64,
    },
    /// It changes where nothing does.
    Biased {
        estimate: f64,
    },
    /// The rule raised alarms about nothing.
    Alarming {
        alarms: u32,
        of: u32,
    },
}

/// How a benchmark stands, by all that was seen of it in the window.
pub fn standing<'a>(seen: impl IntoIterator<Item = &'a Observation>) -> Standing {
    let (mut visits, mut of, mut alarms) = (0u32, 0u32, 0u32);
    let (mut squares, mut sum) = (0.0, 0.0);
    for one in seen.into_iter().filter(|one| one.estimate.is_finite() && one.spread.is_finite()) {
        let weight = f64::from(one.visits);
        visits = visits.saturating_add(one.visits);
        squares += weight * one.spread * one.spread;
        sum += weight * one.estimate;
        of += 1;
        alarms += u32::from(one.alarm);
    }
    if visits < VISITS_MIN {
        return Standing::Uncalibrated { visits };
    }
    let (spread, estimate) = ((squares / f64::from(visits)).sqrt(), sum / f64::from(visits));
    let error = spread / f64::from(visits).sqrt();
    if alarms > 0 {
        Standing::Alarming { alarms, of }
    } else if spread > SPREAD_MAX {
        Standing::Noisy { spread }
    } else if estimate.abs() - BIAS_ERRORS * error > BIAS_MAX {
        Standing::Biased { estimate }
    } else {
        Standing::Good
    }
}

/// What a configured mode comes to, and why where it is another. A change that is `sure` however noisy its benchmark is
/// (the rule called it, and layout cannot have made it) is told even then.
pub fn mode(configured: Mode, standing: Standing, sure: bool) -> (Mode, Option<String>) {
    match (configured, standing) {
        (Mode::Record, _) => (Mode::Record, None),
        (_, Standing::Noisy { spread }) => {
            let spread = format::percent(spread);
            let reason = format!("its visits spread by {spread} on this runner, where nothing changed");
            (if sure { Mode::Advise } else { Mode::Record }, Some(reason))
        }
        (Mode::Advise, _) | (_, Standing::Good) => (configured, None),
        (Mode::Gate, Standing::Uncalibrated { visits: 0 }) => {
            (Mode::Advise, Some("not yet measured against itself on this runner".into()))
        }
        (Mode::Gate, Standing::Uncalibrated { visits }) => {
            let reason =
                format!("measured against itself in only {visits} of {VISITS_MIN} visits on this runner");
            (Mode::Advise, Some(reason))
        }
        (Mode::Gate, Standing::Biased { estimate }) => {
            let estimate = format::change(estimate);
            (Mode::Advise, Some(format!("against itself it seems to change by {estimate} on this runner")))
        }
        (Mode::Gate, Standing::Alarming { alarms, of }) => {
            let reason =
                format!("{alarms} of {of} times it raised a false alarm against itself on this runner");
            (Mode::Advise, Some(reason))
        }
    }
}

/// Why nothing that a runner measures may block, if so: by all benchmarks that it measured against themselves.
pub fn quarantine(seen: &[Observation]) -> Option<String> {
    let estimates: Vec<f64> = seen.iter().map(|one| one.estimate).filter(|e| e.is_finite()).collect();
    if estimates.len() < RUNNER_MIN {
        return None;
    }
    let count = estimates.len() as f64;
    let alarms = seen.iter().filter(|one| one.alarm).count();
    if alarms > 1 && alarms as f64 / count > ALARMS_MAX {
        return Some(format!(
            "{alarms} of {} measurements of identical code raised an alarm",
            format::thousands(count)
        ));
    }
    let mean = estimates.iter().sum::<f64>() / count;
    let variance = estimates.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let error = (variance / count).sqrt();
    (mean.abs() > BIAS_MAX && mean.abs() > BIAS_ERRORS * error).then(|| {
        format!(
            "identical code seems to change by {} on average, over {} measurements",
            format::change(mean),
            format::thousands(count)
        )
    })
}

/// Gives each row of a report the mode that the runner allows. `seen` is of the report's repository on that runner;
/// `quarantined` the reason why nothing of this runner blocks.
///
/// Load scenarios are not measured against themselves, so their modes stay as configured, quarantine apart.
pub fn apply(report: &mut Report, seen: &[Observation], quarantined: Option<&str>) {
    let mut of: HashMap<(&str, &str, &str), Vec<&Observation>> = HashMap::new();
    for one in seen {
        of.entry((&one.suite, &one.benchmark.0, &one.metric)).or_default().push(one);
    }
    for row in report.rows.iter_mut().filter(|row| row.mode_reason.is_none()) {
        if matches!(row.metric, Metric::Time | Metric::Own) {
            let key = (row.suite.as_str(), row.benchmark.0.as_str(), row.metric.as_str());
            let standing = standing(of.get(&key).into_iter().flatten().copied());
            let sure = row.changed() && row.certainty == Certainty::Confirmed;
            (row.mode, row.mode_reason) = mode(row.mode, standing, sure);
        }
        if let (Some(reason), true) = (quarantined, holds(row)) {
            row.mode = Mode::Advise;
            row.mode_reason = Some(format!("the runner is in quarantine: {reason}"));
        }
    }
}

/// Gives rows of benchmarks that somebody put into quarantine their mode, before the runner is asked. Nobody is named:
/// a report stays as it is when a person's name is erased.
pub fn hold(report: &mut Report, held: &[Quarantined]) {
    for row in report.rows.iter_mut().filter(|row| row.mode != Mode::Record) {
        let here = |one: &&Quarantined| one.suite == row.suite && one.benchmark == row.benchmark.0;
        if let Some(one) = held.iter().find(here) {
            row.mode = Mode::Record;
            row.mode_reason =
                Some(format!("in quarantine since {}: {}", format::day(one.since_ms), one.reason));
        }
    }
}

/// Whether a quarantine makes a difference: counts do not depend on how evenly a machine runs.
fn holds(row: &Comparison) -> bool {
    row.mode == Mode::Gate && row.metric != Metric::Instructions
}

/// What the page of a runner says of its calibration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub good: usize,
    pub noisy: usize,
    /// Biased or alarming.
    pub doubtful: usize,
    pub uncalibrated: usize,
    pub measurements: usize,
    pub alarms: usize,
}

impl Summary {
    pub fn of(seen: &[Observation]) -> Summary {
        let mut benchmarks: HashMap<(&str, &str, &str), Vec<&Observation>> = HashMap::new();
        for one in seen {
            benchmarks.entry((&one.suite, &one.benchmark.0, &one.metric)).or_default().push(one);
        }
        let mut summary = Summary {
            measurements: seen.len(),
            alarms: seen.iter().filter(|one| one.alarm).count(),
            ..Summary::default()
        };
        for of_one in benchmarks.into_values() {
            *match standing(of_one) {
                Standing::Good => &mut summary.good,
                Standing::Noisy { .. } => &mut summary.noisy,
                Standing::Biased { .. } | Standing::Alarming { .. } => &mut summary.doubtful,
                Standing::Uncalibrated { .. } => &mut summary.uncalibrated,
            } += 1;
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures;

    fn seen(estimate: f64, spread: f64, visits: u32, alarm: bool) -> Observation {
        Observation {
            suite: "routing".into(),
            benchmark: BenchmarkId("route/match/100000".into()),
            metric: "time".into(),
            estimate,
            spread,
            visits,
            alarm,
        }
    }

    #[test]
    fn a_benchmark_stands_by_what_was_seen_of_it() {
        for (observations, expect) in [
            (vec![], Standing::Uncalibrated { visits: 0 }),
            (vec![seen(0.0, 0.02, 10, false)], Standing::Uncalibrated { visits: 10 }),
            (vec![seen(0.0, 0.02, 10, false); 2], Standing::Good),
            (vec![seen(0.004, 0.02, 20, false)], Standing::Good),
            (vec![seen(0.0, 0.05, 20, false)], Standing::Noisy { spread: 0.05 }),
            (vec![seen(f64::NAN, 0.05, 20, false)], Standing::Uncalibrated { visits: 0 }),
            (vec![seen(0.01, 0.02, 20, true)], Standing::Alarming { alarms: 1, of: 1 }),
        ] {
            match (standing(&observations), expect) {
                (Standing::Noisy { spread }, Standing::Noisy { spread: wanted }) => {
                    assert!((spread - wanted).abs() < 1e-9);
                }
                (got, expect) => assert_eq!(got, expect, "{observations:?}"),
            }
        }
        let biased = vec![seen(0.01, 0.01, 20, false); 20];
        assert!(matches!(standing(&biased), Standing::Biased { estimate } if (estimate - 0.01).abs() < 1e-9));
        // Quiet weeks outweigh a noisy one: the way back.
        let mended = [vec![seen(0.0, 0.06, 20, false)], vec![seen(0.0, 0.02, 20, false); 9]].concat();
        assert_eq!(standing(&mended), Standing::Good);
    }

    #[test]
    fn only_what_stands_still_may_gate() {
        let noisy = Standing::Noisy { spread: 0.051 };
        for (configured, standing, expect, reason) in [
            (Mode::Gate, Standing::Good, Mode::Gate, ""),
            (Mode::Gate, Standing::Uncalibrated { visits: 0 }, Mode::Advise, "not yet measured against"),
            (Mode::Gate, Standing::Uncalibrated { visits: 10 }, Mode::Advise, "only 10 of 20 visits"),
            (Mode::Gate, noisy, Mode::Record, "spread by 5.1 %"),
            (Mode::Gate, Standing::Biased { estimate: 0.008 }, Mode::Advise, "change by +0.8 %"),
            (Mode::Gate, Standing::Alarming { alarms: 1, of: 3 }, Mode::Advise, "1 of 3 times"),
            (Mode::Advise, Standing::Good, Mode::Advise, ""),
            (Mode::Advise, Standing::Uncalibrated { visits: 0 }, Mode::Advise, ""),
            (Mode::Advise, noisy, Mode::Record, "spread"),
            (Mode::Record, noisy, Mode::Record, ""),
        ] {
            let (mode, why) = mode(configured, standing, false);
            assert_eq!(mode, expect, "{configured:?} {standing:?}");
            match (why, reason) {
                (None, "") => {}
                (Some(why), reason) => assert!(!reason.is_empty() && why.contains(reason), "{why}"),
                (None, reason) => panic!("no reason: {reason}"),
            }
        }
        let (told, why) = mode(Mode::Gate, noisy, true);
        assert!(told == Mode::Advise && why.is_some(), "a doubling is not hidden by noise");
        assert_eq!(mode(Mode::Record, noisy, true).0, Mode::Record);
    }

    #[test]
    fn a_runner_that_sees_changes_where_there_are_none_is_in_quarantine() {
        let quiet = |n: usize| -> Vec<Observation> {
            (0..n).map(|at| seen(if at % 2 == 0 { 0.004 } else { -0.004 }, 0.02, 20, false)).collect()
        };
        assert_eq!(quarantine(&[]), None);
        assert_eq!(quarantine(&quiet(100)), None);
        assert_eq!(quarantine(&vec![seen(0.02, 0.02, 20, true); 9]), None, "too few to say");
        let biased = vec![[seen(0.003, 0.01, 20, false), seen(0.007, 0.01, 20, false)]; 10].concat();
        let reason = quarantine(&biased).unwrap();
        assert!(reason.contains("+0.5 % on average, over 20 measurements"), "{reason}");
        let mut alarming = quiet(100);
        alarming[0].alarm = true;
        assert_eq!(quarantine(&alarming), None, "one is luck");
        alarming[1].alarm = true;
        assert!(quarantine(&alarming).unwrap().contains("2 of 100 measurements of identical code"));
        let rare = [quiet(300), alarming[..2].to_vec()].concat();
        assert_eq!(quarantine(&rare), None, "within the promise");
    }

    #[test]
    fn a_report_gets_the_modes_that_its_runner_allows() {
        let mode_of = |report: &Report, name: &str| {
            let row = report.rows.iter().find(|row| row.benchmark.0 == name).unwrap();
            (row.mode, row.mode_reason.clone())
        };
        let calibrated = [seen(0.0, 0.02, 20, false)];
        let mut report = fixtures::regressed();
        apply(&mut report, &calibrated, None);
        assert_eq!(mode_of(&report, "route/match/100000"), (Mode::Gate, None));
        assert!(report.blocks());
        assert_eq!(mode_of(&report, "breaker/closed").0, Mode::Advise);
        assert_eq!(mode_of(&report, "keepalive"), (Mode::Gate, None), "servers keep what is configured");

        let mut report = fixtures::regressed();
        apply(&mut report, &calibrated, Some("it hums"));
        assert!(!report.blocks());
        let reason = mode_of(&report, "route/match/100000").1.unwrap();
        assert_eq!(reason, "the runner is in quarantine: it hums");
    }

    #[test]
    fn what_somebody_put_into_quarantine_is_recorded_only() {
        let row = fixtures::regressed().rows.into_iter().find(|row| row.blocks()).unwrap();
        let held = Quarantined {
            suite: row.suite.clone(),
            benchmark: row.benchmark.0.clone(),
            by: "alice".into(),
            reason: "it reads the clock".into(),
            since_ms: 0,
        };
        let mut report = fixtures::report(vec![row]);
        hold(&mut report, &[Quarantined { suite: "another".into(), ..held.clone() }]);
        assert!(report.blocks());
        hold(&mut report, &[held]);
        apply(&mut report, &[], Some("it hums"));
        let (mode, why) = (report.rows[0].mode, report.rows[0].mode_reason.as_deref());
        assert_eq!(mode, Mode::Record);
        assert_eq!(why, Some("in quarantine since 1970-01-01: it reads the clock"));
        assert!(!report.blocks());
    }

    #[test]
    fn a_runners_benchmarks_are_counted_by_standing() {
        let other = |name: &str, one: Observation| Observation { benchmark: BenchmarkId(name.into()), ..one };
        let all = [
            seen(0.0, 0.02, 20, false),
            seen(0.0, 0.02, 20, false),
            other("b", seen(0.0, 0.06, 20, false)),
            other("c", seen(0.0, 0.01, 20, true)),
            other("d", seen(0.0, 0.01, 5, false)),
        ];
        let expect = Summary { good: 1, noisy: 1, doubtful: 1, uncalibrated: 1, measurements: 5, alarms: 1 };
        assert_eq!(Summary::of(&all), expect);
    }
}
