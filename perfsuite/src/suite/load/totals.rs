//! All rounds of one side of a scenario together.

use crate::load::wire::{ErrorKind, SideResult, decode, encode, histogram};
use crate::model::scenario::{Knee, Percentile, ScenarioSide, shares};
use crate::verdict::sample::median;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Memory that a server may keep for each request without a word: caches fill, allocators hold back, and a round has
/// thousands of requests only.
const KEPT_BYTES_MAX: f64 = 256.0;
/// A server's memory grows by this much in a round before anything is said: an allocator's own steps are smaller.
const GROWTH_MIN_BYTES: f64 = (1 << 20) as f64;

#[derive(Clone, Debug, PartialEq)]
pub struct Totals {
    pub rounds: usize,
    pub scheduled: u64,
    pub answered: u64,
    pub errors: BTreeMap<ErrorKind, u64>,
    /// From the scheduled time, in nanoseconds.
    pub latency: Histogram<u64>,
    /// CPU time of a request, in nanoseconds: one value a round.
    pub cpu_per_request: Histogram<u64>,
    pub memory_peak_bytes: Option<u64>,
    /// Growth within a round, median over the rounds.
    pub memory_growth_bytes: Option<f64>,
    /// Where most rounds were slower than the schedule: mean latencies of the first and the last quarter of
    /// a round, medians over the rounds.
    pub behind_ns: Option<[u64; 2]>,
}

impl Totals {
    pub(super) fn of<'a>(rounds: impl Iterator<Item = &'a SideResult>) -> Totals {
        let rounds: Vec<&SideResult> = rounds.collect();
        let mut totals = Totals {
            rounds: rounds.len(),
            scheduled: rounds.iter().map(|round| round.scheduled).sum(),
            answered: rounds.iter().map(|round| round.answered).sum(),
            errors: BTreeMap::new(),
            latency: histogram(),
            cpu_per_request: histogram(),
            memory_peak_bytes: rounds.iter().filter_map(|round| round.memory_peak_bytes).max(),
            memory_growth_bytes: None,
            behind_ns: None,
        };
        for round in &rounds {
            for (kind, count) in &round.errors {
                *totals.errors.entry(*kind).or_default() += count;
            }
            if let Some(latency) = decode(&round.latency) {
                // Same bounds on both ends of the wire, so it fits.
                let _ = totals.latency.add(&latency);
            }
            if let Some(cpu_ns) = round.cpu_ns.checked_div(round.answered) {
                totals.cpu_per_request.saturating_record(cpu_ns);
            }
        }
        let growths: Vec<f64> =
            rounds.iter().filter_map(|round| round.memory_growth_bytes).map(|bytes| bytes as f64).collect();
        totals.memory_growth_bytes = median(&growths);
        let behind: Vec<&&SideResult> = rounds.iter().filter(|round| round.behind()).collect();
        if behind.len() * 2 > rounds.len() {
            let quarter = |at: usize| {
                let means: Vec<f64> = behind.iter().map(|round| round.quarters_ns[at] as f64).collect();
                median(&means).unwrap_or_default() as u64
            };
            totals.behind_ns = Some([quarter(0), quarter(3)]);
        }
        totals
    }

    pub(super) fn side(&self, knee: Option<Knee>) -> ScenarioSide {
        ScenarioSide {
            requests: self.latency.len(),
            percentiles: shares()
                .into_iter()
                .map(|share| Percentile { share, ns: self.latency.value_at_quantile(share) })
                .collect(),
            memory_peak_bytes: self.memory_peak_bytes,
            latency: encode(&self.latency),
            knee,
        }
    }

    /// Memory that is kept for each request, where it is more than servers do.
    pub fn leak_bytes(&self) -> Option<f64> {
        let growth = self.memory_growth_bytes.filter(|bytes| *bytes >= GROWTH_MIN_BYTES)?;
        let requests = self.answered as f64 / self.rounds.max(1) as f64;
        Some(growth / requests.max(1.0)).filter(|bytes| *bytes > KEPT_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::wire::encode;

    fn round(growth: i64, quarters_ns: [u64; 4]) -> SideResult {
        let mut latency = histogram();
        latency.saturating_record_n(2_000_000, 500);
        SideResult {
            scheduled: 501,
            answered: 500,
            errors: [(ErrorKind::Status, 1)].into(),
            p50_ns: 1,
            p99_ns: 1,
            p999_ns: 1,
            cpu_ns: 500 * 30_000,
            memory_peak_bytes: Some(growth.unsigned_abs()),
            memory_growth_bytes: Some(growth),
            quarters_ns,
            latency: encode(&latency),
        }
    }

    #[test]
    fn rounds_add_up() {
        let rounds = [round(100, [1; 4]), round(300, [1; 4]), round(-200, [1; 4])];
        let totals = Totals::of(rounds.iter());
        assert_eq!((totals.rounds, totals.scheduled, totals.answered), (3, 1503, 1500));
        assert_eq!((totals.latency.len(), totals.cpu_per_request.len()), (1500, 3));
        assert_eq!(totals.errors, [(ErrorKind::Status, 3)].into());
        assert_eq!((totals.memory_peak_bytes, totals.memory_growth_bytes), (Some(300), Some(100.0)));
        assert_eq!((totals.leak_bytes(), totals.behind_ns), (None, None));
        let side = totals.side(None);
        assert_eq!((side.requests, side.memory_peak_bytes), (1500, Some(300)));
        assert!((1_999_000..2_002_000).contains(&side.within(0.99).unwrap()), "{side:?}");
        assert!(side.within(0.5).is_some() && side.within(0.999).is_some());
        assert_eq!(decode(&side.latency).unwrap(), totals.latency);
    }

    #[test]
    fn most_rounds_decide_what_is_said() {
        let (leaks, grows) = (4 << 20, [50_000_000, 150_000_000, 250_000_000, 350_000_000]);
        let one = Totals::of([round(leaks, grows), round(0, [1; 4]), round(0, [1; 4])].iter());
        assert_eq!((one.leak_bytes(), one.behind_ns), (None, None));
        let two = Totals::of([round(leaks, grows), round(leaks, grows), round(0, [1; 4])].iter());
        assert_eq!(two.behind_ns, Some([50_000_000, 350_000_000]));
        assert_eq!(two.leak_bytes(), Some(f64::from(4 << 20) / 500.0));
    }
}
