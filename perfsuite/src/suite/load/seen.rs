//! What the rounds of a scenario have shown: series for the verdict, faults that end it, notes for people.

use super::{LoadContext, METRICS, benchmark, failure};
use crate::{
    artifact::to_millis,
    load::wire::{ErrorKind, RoundResult, SideResult, decode, histogram},
    model::{Failure, FailureReason, Metric, Series, Side, Visit},
    verdict::{Decision, Rule, VISITS_MAX, comparison::log_ratio},
};
use std::time::Duration;

/// Requests of a side that may fail in a round that counts.
const FAILED_SHARE_MAX: f64 = 0.01;
/// Rounds above that share before the side has failed: one hiccup of the machine is none of the server's.
const BAD_ROUNDS_MAX: u32 = 2;
/// Requests that the generator may leave unsent in a round before its figures mean nothing.
const UNSENT_SHARE_MAX: f64 = 0.01;

/// All rounds so far.
pub(super) struct Seen {
    series: Vec<Series>,
    results: Vec<RoundResult>,
    pub(super) bad_rounds: u32,
}

impl Seen {
    pub(super) fn new(ctx: &LoadContext<'_>) -> Self {
        let series = |metric| Series {
            suite: ctx.suite.to_owned(),
            benchmark: benchmark(ctx.suite),
            metric,
            visits: Vec::new(),
            seconds: 0.0,
            instructions: None,
        };
        Self { series: METRICS.map(series).into(), results: Vec::new(), bad_rounds: 0 }
    }

    pub(super) fn rounds(&self) -> usize {
        self.results.len()
    }

    pub(super) fn decided(&self, rule: &Rule) -> bool {
        self.series.iter().filter(|series| series.metric.judged()).all(|series| {
            let ratios: Vec<f64> = series.visits.iter().filter_map(log_ratio).collect();
            series.visits.len() >= VISITS_MAX || rule.decide(&ratios) != Decision::Go
        })
    }

    /// Counts a round that cannot be used; false when it was one too many.
    pub(super) fn forgives(&mut self) -> bool {
        self.bad_rounds += 1;
        self.bad_rounds < BAD_ROUNDS_MAX
    }

    /// Takes a round; failures when it was one too many that cannot be used.
    pub(super) fn add(
        &mut self,
        ctx: &LoadContext<'_>,
        first: Side,
        result: RoundResult,
        rate: f64,
    ) -> Option<Vec<Failure>> {
        let failures = faults(ctx.suite, &result, rate);
        if !failures.is_empty() {
            return (!self.forgives()).then_some(failures);
        }
        let (Some(base), Some(head)) = (result.sides.get(&Side::Base), result.sides.get(&Side::Head)) else {
            let output = "the round's result lacks a side";
            return Some(vec![failure(ctx.suite, None, FailureReason::BadOutput, output)]);
        };
        for series in &mut self.series {
            // Zero stands for "not known", which the verdict leaves out.
            let value = |side: &SideResult| match series.metric {
                Metric::LatencyP50 => side.p50_ns as f64,
                Metric::LatencyP99 => side.p99_ns as f64,
                Metric::LatencyP999 => side.p999_ns as f64,
                _ => side.qps_per_core().unwrap_or(0.0),
            };
            series.visits.push(Visit::single(first, value(base), value(head)));
        }
        self.results.push(result);
        None
    }

    pub(super) fn into_series(mut self, spent: Duration) -> Vec<Series> {
        for series in &mut self.series {
            series.seconds = to_millis(spent);
        }
        self.series.retain(|series| series.visits.iter().any(|visit| visit.base > 0.0 && visit.head > 0.0));
        self.series
    }

    /// What the rows do not say: all rounds' latencies together, memory, and what speaks against the figures.
    pub(super) fn notes(&self, ctx: &LoadContext<'_>) -> Vec<String> {
        let mut notes = Vec::new();
        for side in Side::BOTH {
            let mut pooled = histogram();
            let mut memory = 0;
            for result in self.results.iter().filter_map(|result| result.sides.get(&side)) {
                if let Some(latency) = decode(&result.latency) {
                    // Same bounds on both ends of the wire, so it fits.
                    let _ = pooled.add(&latency);
                }
                memory = memory.max(result.memory_peak_bytes.unwrap_or(0));
            }
            if !pooled.is_empty() {
                let us = |quantile| pooled.value_at_quantile(quantile) as f64 / 1e3;
                notes.push(format!(
                    "{}: {}: p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs of {} requests; memory peak {:.1} MiB",
                    ctx.suite,
                    side.as_str(),
                    us(0.5),
                    us(0.99),
                    us(0.999),
                    pooled.len(),
                    memory as f64 / f64::from(1 << 20),
                ));
            }
        }
        let mut late: Vec<u64> = self.results.iter().map(|result| result.lateness_p99_ns).collect();
        late.sort_unstable();
        if let Some(&late) = late.get(late.len() / 2) {
            notes.push(format!(
                "{}: requests were sent {:.0} µs late at p99, which both sides' latencies contain",
                ctx.suite,
                late as f64 / 1e3
            ));
        }
        if self.results.iter().any(|result| !result.pinned) {
            notes
                .push(format!("{}: servers and generator shared all cores: expect a wide spread", ctx.suite));
        }
        notes
    }
}

/// What makes a round unusable: requests that one or both sides did not answer well, or that were never sent.
fn faults(suite: &str, result: &RoundResult, rate: f64) -> Vec<Failure> {
    let scheduled: u64 = result.sides.values().map(|side| side.scheduled).sum::<u64>() + result.unsent;
    if result.unsent as f64 > scheduled as f64 * UNSENT_SHARE_MAX {
        let output = format!(
            "the generator could not keep {rate:.0} requests a second on this machine: {} of {scheduled} were never sent (p99 of lateness {:.1} ms). This says nothing about the servers: lower the rate, or use rate = \"auto\"",
            result.unsent,
            result.lateness_p99_ns as f64 / 1e6
        );
        return vec![failure(suite, None, FailureReason::Refused, &output)];
    }
    let bad = result
        .sides
        .iter()
        .filter(|(_, side)| side.failed() as f64 > side.scheduled as f64 * FAILED_SHARE_MAX);
    bad.map(|(&side, of)| {
        let kinds: Vec<String> = of.errors.iter().map(|(kind, n)| format!("{n} {}", kind.title())).collect();
        let slow = of.errors.get(&ErrorKind::Unanswered).is_some_and(|&n| n * 2 > of.failed());
        let why = if slow { "; the server is slower than the schedule" } else { "" };
        let output =
            format!("{} of {} requests failed: {}{why}", of.failed(), of.scheduled, kinds.join(", "));
        failure(suite, Some(side), FailureReason::BadOutput, &output)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(scheduled: u64, errors: &[(ErrorKind, u64)]) -> SideResult {
        let failed: u64 = errors.iter().map(|(_, n)| n).sum();
        SideResult {
            scheduled,
            answered: scheduled - failed,
            errors: errors.iter().copied().collect(),
            p50_ns: 1,
            p99_ns: 2,
            p999_ns: 3,
            cpu_ns: 4,
            memory_peak_bytes: None,
            latency: String::new(),
        }
    }

    /// Side, reason and words of the faults of a round.
    fn check(base: SideResult, head: SideResult, unsent: u64) -> Vec<(Option<Side>, FailureReason, String)> {
        let result = RoundResult {
            sides: [(Side::Base, base), (Side::Head, head)].into(),
            pinned: true,
            lateness_p50_ns: 1_000,
            lateness_p99_ns: 7_000_000,
            unsent,
            elapsed_ns: 1,
        };
        faults("proxy", &result, 900.0).into_iter().map(|f| (f.side, f.reason, f.output)).collect()
    }

    #[test]
    fn a_good_round_has_no_faults_and_one_error_in_a_thousand_is_good() {
        assert_eq!(check(side(1000, &[]), side(1000, &[(ErrorKind::Status, 1)]), 0), []);
    }

    #[test]
    fn errors_of_one_side_are_its_failure() {
        let faults = check(side(1000, &[]), side(1000, &[(ErrorKind::Status, 600)]), 0);
        let output = "600 of 1000 requests failed: 600 answers of 400 and above".to_owned();
        assert_eq!(faults, [(Some(Side::Head), FailureReason::BadOutput, output)]);
    }

    #[test]
    fn a_server_slower_than_the_schedule_is_called_that() {
        let faults = check(side(1000, &[(ErrorKind::Unanswered, 700)]), side(1000, &[]), 0);
        assert!(faults[0].2.ends_with("the server is slower than the schedule"), "{faults:?}");
    }

    #[test]
    fn a_generator_that_is_too_slow_is_nobodys_failure() {
        let broken = [(ErrorKind::Unanswered, 700)];
        let faults = check(side(1000, &broken), side(1000, &broken), 300);
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].0, None);
        assert!(faults[0].2.contains("says nothing about the servers"), "{faults:?}");
    }
}
