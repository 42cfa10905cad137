//! What the rounds of a scenario have shown: series for the verdict, faults that end it, notes for people.

use super::{LoadContext, METRICS, Totals, benchmark, failure};
use crate::{
    artifact::to_millis,
    load::wire::{ErrorKind, RoundResult, SideResult},
    model::{Failure, FailureReason, Metric, Series, Side, Visit},
    verdict::{Decision, Rule, VISITS_MAX, comparison::log_ratio},
};
use std::{collections::BTreeMap, time::Duration};

/// Requests of a side that may fail in a round that counts.
const FAILED_SHARE_MAX: f64 = 0.01;
/// Rounds above that share before the side has failed: one hiccup of the machine is none of the server's.
const BAD_ROUNDS_MAX: u32 = 2;
/// Requests that the generator may leave unsent in a round before its figures mean nothing.
const UNSENT_SHARE_MAX: f64 = 0.01;
/// A generator that is later than this with half of its requests was behind for half of the round: on a machine that
/// keeps up it is some ten microseconds, on a busy one some milliseconds at p99.
const LATENESS_P50_MAX_NS: u64 = 10_000_000;
/// Share of the round that a generator is at work when it is what both sides waited for.
const GENERATOR_BUSY: f64 = 0.8;

/// All rounds so far.
pub(super) struct Seen {
    series: Vec<Series>,
    results: Vec<RoundResult>,
    pub(super) bad_rounds: u32,
    /// What was wrong with the newest round that was left out.
    forgiven: Vec<Failure>,
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
        Self { series: METRICS.map(series).into(), results: Vec::new(), bad_rounds: 0, forgiven: Vec::new() }
    }

    pub(super) fn rounds(&self) -> usize {
        self.results.len()
    }

    /// What was wrong, where no round was any good and there was no time for another one.
    pub(super) fn only_faults(&self) -> Option<&[Failure]> {
        (self.results.is_empty() && !self.forgiven.is_empty()).then_some(&self.forgiven)
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
            if !self.forgives() {
                return Some(failures);
            }
            self.forgiven = failures;
            return None;
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

    /// All rounds of each side together.
    pub(super) fn totals(&self) -> BTreeMap<Side, Totals> {
        let of = |side| Totals::of(self.results.iter().filter_map(|result| result.sides.get(&side)));
        Side::BOTH.into_iter().map(|side| (side, of(side))).filter(|(_, totals)| totals.rounds > 0).collect()
    }

    /// Of the middle one of the rounds.
    pub(super) fn lateness_p99_ns(&self) -> Option<u64> {
        let mut late: Vec<u64> = self.results.iter().map(|result| result.lateness_p99_ns).collect();
        late.sort_unstable();
        late.get(late.len() / 2).copied()
    }

    /// CPU time of the generator for a request, over all rounds.
    pub(super) fn generator_cpu_ns(&self) -> Option<f64> {
        let requests: u64 =
            self.results.iter().flat_map(|result| result.sides.values()).map(|side| side.scheduled).sum();
        let spent: u64 = self.results.iter().map(|result| result.generator_cpu_ns).sum();
        (requests > 0 && spent > 0).then(|| spent as f64 / requests as f64)
    }

    /// What speaks against the figures.
    pub(super) fn notes(&self, ctx: &LoadContext<'_>, totals: &BTreeMap<Side, Totals>) -> Vec<String> {
        let mut notes = Vec::new();
        for (side, totals) in totals {
            let (suite, side) = (ctx.suite, side.as_str());
            if let Some([first, last]) = totals.behind_ns {
                notes.push(format!(
                    "{suite}: {side} is slower than the schedule: requests of the first quarter of a round waited {:.0} ms, those of the last {:.0} ms",
                    first as f64 / 1e6,
                    last as f64 / 1e6
                ));
            }
            if let Some(bytes) = totals.leak_bytes() {
                notes.push(format!(
                    "{suite}: {side} keeps memory for every request: {bytes:.0} bytes for each in the middle one of the rounds"
                ));
            }
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
    let unsent = result.unsent as f64 > scheduled as f64 * UNSENT_SHARE_MAX;
    if unsent || result.lateness_p50_ns > LATENESS_P50_MAX_NS {
        let output = format!(
            "the generator could not keep {rate:.0} requests a second on this machine: {} of {scheduled} were never sent, half of the others {:.1} ms late or more. This says nothing about the servers: lower the rate, or use rate = \"auto\"",
            result.unsent,
            result.lateness_p50_ns as f64 / 1e6
        );
        return vec![failure(suite, None, FailureReason::Refused, &output)];
    }
    let bad = |side: &SideResult| side.failed() as f64 > side.scheduled as f64 * FAILED_SHARE_MAX;
    let unanswered =
        |side: &SideResult| side.errors.get(&ErrorKind::Unanswered).is_some_and(|&n| n * 2 > side.failed());
    let sides = || result.sides.values();
    if sides().len() > 1 && sides().all(|side| bad(side) && unanswered(side)) {
        let failed: u64 = sides().map(SideResult::failed).sum();
        let busy = result.generator_cpu_ns as f64 / result.elapsed_ns.max(1) as f64;
        let who = match busy > GENERATOR_BUSY {
            true => "the generator could not keep",
            false => "neither the servers nor the generator kept",
        };
        let output = format!(
            "{who} {rate:.0} requests a second on this machine: {failed} of {scheduled} had no answer in the end, alike on both sides, and the generator was at work for {:.0} % of the time. This says nothing about the servers: lower the rate, or use rate = \"auto\"",
            busy * 100.0
        );
        return vec![failure(suite, None, FailureReason::Refused, &output)];
    }
    if sides().all(|side| !bad(side) && side.behind()) {
        let waited = sides().map(|side| side.quarters_ns[3]).min().unwrap_or(0);
        let output = format!(
            "both servers are slower than {rate:.0} requests a second: their queues grew through the whole round, to {:.0} ms and more. Latencies then say how long the round was: lower the rate, or use rate = \"auto\"",
            waited as f64 / 1e6
        );
        return vec![failure(suite, None, FailureReason::Refused, &output)];
    }
    let bad = result.sides.iter().filter(|(_, side)| bad(side));
    bad.map(|(&side, of)| {
        let kinds: Vec<String> = of.errors.iter().map(|(kind, n)| format!("{n} {}", kind.title())).collect();
        let why = if unanswered(of) { "; the server is slower than the schedule" } else { "" };
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
            memory_growth_bytes: None,
            quarters_ns: [1_000_000; 4],
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
            generator_cpu_ns: 1,
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
        assert!(faults[0].2.contains("900 requests a second on this machine: 300 of 2300 were never sent"));
    }

    #[test]
    fn what_neither_side_answers_is_blamed_on_neither() {
        let broken = [(ErrorKind::Unanswered, 700)];
        let faults = check(side(1000, &broken), side(1000, &broken), 0);
        assert_eq!((faults.len(), faults[0].0, faults[0].1), (1, None, FailureReason::Refused));
        // The generator was at work for one of one nanoseconds.
        assert!(faults[0].2.starts_with("the generator could not keep 900 requests a second"), "{faults:?}");
        assert!(faults[0].2.contains("1400 of 2000 had no answer in the end"), "{faults:?}");
        let refused = [(ErrorKind::Status, 700)];
        let faults = check(side(1000, &refused), side(1000, &refused), 0);
        assert_eq!(
            faults.iter().map(|fault| fault.0).collect::<Vec<_>>(),
            [Some(Side::Base), Some(Side::Head)]
        );
    }

    #[test]
    fn a_queue_that_grows_on_one_side_is_a_result_and_on_both_the_rate() {
        let quarters_ns = [50_000_000, 150_000_000, 250_000_000, 350_000_000];
        let growing = || SideResult { quarters_ns, ..side(1000, &[]) };
        assert_eq!(check(side(1000, &[]), growing(), 0), []);
        let faults = check(growing(), growing(), 0);
        assert_eq!((faults.len(), faults[0].0, faults[0].1), (1, None, FailureReason::Refused));
        assert!(faults[0].2.contains("slower than 900 requests a second"), "{faults:?}");
    }
}
