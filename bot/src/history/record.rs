//! From a report to what is stored of each series. Pure.

use crate::db::points::Ratio;
use crate::db::renamed_benchmarks::Renames;
use crate::db::series::Key;
use perfsuite::model::{BenchmarkId, Comparison, Report};
use perfsuite::verdict::comparison::UNBOUNDED;
use std::collections::BTreeSet;

/// What one comparison says of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub key: Key,
    /// The head's, in the metric's unit; `None` where it was not run.
    pub value: Option<f64>,
    /// Head over base.
    pub ratio: Ratio,
}

/// The rows of a report, with those of `known` series that were not run because their code is the same on both sides.
/// What is no number, or has no interval, is left out.
pub fn rows<'a>(report: &Report, known: impl Iterator<Item = &'a Key>) -> Vec<Row> {
    if report.broken_build().is_some() {
        return Vec::new();
    }
    let mut rows: Vec<Row> = report.rows.iter().filter_map(|row| measured(report, row)).collect();
    for key in known {
        let seen = report.rows.iter().any(|row| row.suite == key.suite && row.benchmark.0 == key.benchmark);
        if !seen && is_same_code(report, key) {
            rows.push(Row { key: key.clone(), value: None, ratio: Ratio::SAME });
        }
    }
    rows
}

/// A report whose benchmarks are called as they are now. One that has both names has two benchmarks, and each keeps its
/// own: the figures of one are not the other's.
pub fn renamed(report: &Report, renames: &Renames) -> Report {
    let mut report = report.clone();
    let rows = report.rows.iter().map(|row| (row.suite.clone(), row.benchmark.0.clone()));
    let same = report.unaffected.iter().map(|same| (same.suite.clone(), same.benchmark.0.clone()));
    let has: BTreeSet<(String, String)> = rows.chain(same).collect();
    let now = |suite: &str, benchmark: &mut BenchmarkId| {
        if let Some(name) = renames.get(&(suite.to_owned(), benchmark.0.clone()))
            && !has.contains(&(suite.to_owned(), name.clone()))
        {
            name.clone_into(&mut benchmark.0);
        }
    };
    report.rows.iter_mut().for_each(|row| now(&row.suite, &mut row.benchmark));
    report.unaffected.iter_mut().for_each(|same| now(&same.suite, &mut same.benchmark));
    for failure in &mut report.failures {
        if let Some(benchmark) = &mut failure.benchmark {
            now(&failure.suite, benchmark);
        }
    }
    for one in &mut report.one_sided {
        now(&one.suite, &mut one.benchmark);
        if let Some(other) = &mut one.other_name {
            now(&one.suite, other);
        }
    }
    report
}

fn measured(report: &Report, row: &Comparison) -> Option<Row> {
    if row.visits == 0 || row.high >= UNBOUNDED {
        return None;
    }
    let ratio = match report.is_unaffected(row) {
        // What the clock said of it is noise.
        true => Ratio::SAME,
        false => Ratio::new(1.0 + row.estimate, 1.0 + row.low, 1.0 + row.high)?,
    };
    let value = if report.is_unaffected(row) { row.base } else { row.head };
    let key = Key {
        suite: row.suite.clone(),
        benchmark: row.benchmark.0.clone(),
        metric: row.metric.as_str().into(),
    };
    Some(Row { key, value: (value.is_finite() && value > 0.0).then_some(value), ratio })
}

/// Whether a benchmark that was not run has the same code on both sides. Those of executables that are the same, byte
/// for byte, are not listed: it is one of them where it neither failed nor is on one side only.
fn is_same_code(report: &Report, key: &Key) -> bool {
    let of = |suite: &str, benchmark: &str| suite == key.suite && benchmark == key.benchmark;
    if report.unaffected.iter().any(|same| of(&same.suite, &same.benchmark.0)) {
        return true;
    }
    let failed = report.failures.iter().any(|failure| {
        failure.suite == key.suite
            && failure.benchmark.as_ref().is_none_or(|benchmark| benchmark.0 == key.benchmark)
    });
    let one_sided = report.one_sided.iter().any(|row| {
        let other = row.other_name.as_ref().map(|name| name.0.as_str());
        row.suite == key.suite && (row.benchmark.0 == key.benchmark || other == Some(key.benchmark.as_str()))
    });
    !report.identical.is_empty() && !failed && !one_sided
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures;
    use perfsuite::model::{Metric, OneSided, Side, Unaffected};

    fn key(benchmark: &str) -> Key {
        Key { suite: "s".into(), benchmark: benchmark.into(), metric: "time".into() }
    }

    fn report() -> Report {
        let row = fixtures::row("measured", Metric::Time, 100.0, 0.05, 0.01);
        Report {
            rows: vec![Comparison { suite: "s".into(), visits: 20, ..row }],
            failures: Vec::new(),
            one_sided: Vec::new(),
            identical: Vec::new(),
            unaffected: Vec::new(),
            ..fixtures::report(Vec::new())
        }
    }

    #[test]
    fn a_row_becomes_a_value_and_a_ratio() {
        let rows = rows(&report(), [key("measured"), key("other")].iter());
        assert_eq!(rows.len(), 1, "of the other one nothing is known: {rows:?}");
        assert_eq!(rows[0].key, key("measured"));
        let ratio = rows[0].ratio;
        assert!((ratio.ratio - 1.05).abs() < 1e-9 && (ratio.low - 1.04).abs() < 1e-9, "{ratio:?}");
        assert!(rows[0].value.is_some_and(|value| (value - 105.0).abs() < 1e-6));
    }

    #[test]
    fn what_is_no_number_makes_no_point() {
        for spoil in [
            |row: &mut Comparison| row.visits = 0,
            |row: &mut Comparison| row.estimate = f64::NAN,
            |row: &mut Comparison| row.high = UNBOUNDED,
            |row: &mut Comparison| row.low = -1.5,
        ] {
            let mut report = report();
            spoil(&mut report.rows[0]);
            assert_eq!(rows(&report, [].iter()), []);
        }
        let mut report = report();
        report.rows[0].head = f64::INFINITY;
        assert_eq!(rows(&report, [].iter())[0].value, None);
    }

    #[test]
    fn what_was_renamed_is_called_as_it_is_now() {
        let mut report = report();
        report.identical = vec!["bench".into()];
        let renames = Renames::from([(("s".into(), "measured".into()), "present".into())]);
        let found = rows(&renamed(&report, &renames), [key("present")].iter());
        assert_eq!(found.len(), 1, "what was measured is not the same code besides: {found:?}");
        assert!(found[0].key == key("present") && found[0].ratio.ratio > 1.04);
        let elsewhere = Renames::from([(("t".into(), "measured".into()), "present".into())]);
        assert_eq!(renamed(&report, &elsewhere), report, "of another suite");
        let mut other = report.rows[0].clone();
        other.benchmark = BenchmarkId("present".into());
        report.rows.push(other);
        assert_eq!(renamed(&report, &renames), report, "both are measured, so they are two");
    }

    #[test]
    fn the_same_code_is_the_same_without_a_run() {
        let mut report = report();
        report.unaffected = vec![
            Unaffected { suite: "s".into(), benchmark: BenchmarkId("quiet".into()), functions: 3 },
            Unaffected { suite: "s".into(), benchmark: BenchmarkId("measured".into()), functions: 3 },
        ];
        let known = [key("quiet"), key("measured"), key("gone"), key("elsewhere")];
        let found = rows(&report, known.iter());
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|row| row.ratio == Ratio::SAME), "the clock is not believed: {found:?}");
        report.identical = vec!["bench".into()];
        report.one_sided = vec![OneSided {
            suite: "s".into(),
            benchmark: BenchmarkId("gone".into()),
            side: Side::Base,
            other_name: None,
        }];
        let found = rows(&report, known.iter());
        assert_eq!(found.len(), 3, "what is gone has no point: {found:?}");
    }
}
