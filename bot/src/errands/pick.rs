//! Which benchmark a person means: the one that is named, or what changed most in the run of the head. Pure.

use crate::render::facts::Facts;
use crate::text::quoted;
use perfsuite::model::{Comparison, Metric, Report};

/// Benchmarks named in a refusal.
const NAMED_MAX: usize = 5;

/// A benchmark with the metric that tells of its change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    pub suite: String,
    pub benchmark: String,
    pub metric: Metric,
}

/// An error says in words what to do.
pub fn pick(report: Option<&Report>, asked: Option<&str>) -> Result<Picked, String> {
    let Some(report) = report else {
        return Err("No run of this head has ended yet, so no benchmark is known. Wait for it, or write \
                    `/paceline bench`."
            .into());
    };
    match asked {
        None => most_changed(report).ok_or_else(|| {
            "Nothing changed for certain in the run of this head. Name a benchmark behind the command.".into()
        }),
        Some(name) => named(report, name),
    }
}

fn most_changed(report: &Report) -> Option<Picked> {
    let facts = Facts::of(report);
    let row = facts.changed().chain(facts.suspects.iter().copied()).find(|row| timed(row))?;
    Some(of_row(row))
}

/// By its whole name, else by a part that no other has.
fn named(report: &Report, name: &str) -> Result<Picked, String> {
    let mut ids: Vec<(&str, &str)> =
        report.rows.iter().map(|row| (row.suite.as_str(), row.benchmark.0.as_str())).collect();
    ids.extend(report.unaffected.iter().map(|row| (row.suite.as_str(), row.benchmark.0.as_str())));
    ids.sort_unstable();
    ids.dedup();
    let whole: Vec<_> = ids.iter().filter(|(_, id)| *id == name).copied().collect();
    let found: Vec<_> = match whole.is_empty() {
        true => ids.iter().filter(|(_, id)| id.contains(name)).copied().collect(),
        false => whole,
    };
    let listed = |ids: &[(&str, &str)]| {
        let names: Vec<String> = ids.iter().take(NAMED_MAX).map(|(_, id)| quoted(id)).collect();
        let more = if ids.len() > NAMED_MAX { ", …" } else { "" };
        names.join(", ") + more
    };
    match found.as_slice() {
        [(suite, benchmark)] => {
            let rows = report.rows.iter();
            let rows =
                rows.filter(|row| (row.suite.as_str(), row.benchmark.0.as_str()) == (*suite, *benchmark));
            let row =
                rows.filter(|row| timed(row)).max_by(|a, b| a.estimate.abs().total_cmp(&b.estimate.abs()));
            let same = || Picked {
                suite: (*suite).to_owned(),
                benchmark: (*benchmark).to_owned(),
                metric: Metric::Time,
            };
            Ok(row.map_or_else(same, of_row))
        }
        [] => Err(format!(
            "No benchmark of this head's run is called {}. There are {}.",
            quoted(name),
            listed(&ids)
        )),
        several => Err(format!("{} is part of several names: {}.", quoted(name), listed(several))),
    }
}

fn of_row(row: &Comparison) -> Picked {
    Picked { suite: row.suite.clone(), benchmark: row.benchmark.0.clone(), metric: row.metric }
}

fn timed(row: &Comparison) -> bool {
    row.metric.judged() && row.metric != Metric::Instructions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures;

    #[test]
    fn a_benchmark_is_found_by_its_name_or_a_part_of_it() {
        let report = fixtures::regressed();
        let first = pick(Some(&report), None).unwrap();
        assert_eq!(pick(Some(&report), Some(&first.benchmark)).unwrap().benchmark, first.benchmark);
        let part = &first.benchmark[..first.benchmark.len() - 1];
        let found = pick(Some(&report), Some(part));
        assert!(found.is_ok() || found.unwrap_err().contains("several names"));
        assert!(pick(Some(&report), Some("no such")).unwrap_err().contains("is called `no such`"));
        assert!(pick(Some(&report), Some("")).unwrap_err().contains("several names"));
        assert!(pick(None, None).unwrap_err().contains("/paceline bench"));
    }

    #[test]
    fn where_nothing_changed_a_name_is_asked_for() {
        let mut report = fixtures::regressed();
        report.rows.retain(|row| row.verdict == perfsuite::model::Verdict::Equal);
        assert!(pick(Some(&report), None).unwrap_err().contains("Name a benchmark"));
    }
}
