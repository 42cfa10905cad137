//! The search for the knee: the largest open-loop rate whose p99 stays under the limit. Pure: probes are run elsewhere.

use crate::model::scenario::{Knee, KneeLimit, Probe};

/// Requests a second of the first probe: any HTTP server does this, so that the climb starts on firm ground.
const START: f64 = 1_000.0;
/// Two steps below the start. Under it a scenario's percentiles would need minutes a round.
const RATE_MIN: f64 = START / 16.0;
/// Where even that rate misses the limit (a busy machine, a slow handler), the knee is where p99 grows to this many
/// times what it is there: queues begin to form at the same place, whatever the floor.
const RELAXED: u64 = 2;
/// The generator's own end on small machines; above it the search would measure the generator.
const RATE_MAX: f64 = 50_000.0;
/// The knee is known well enough when the next worse rate is this much above it: half of it is what will be used.
const CLOSE_ENOUGH: f64 = 1.3;
/// Probes at the same rate before it counts as too much: one bad half second on a busy machine says nothing.
const TRIES: u32 = 3;
/// All probes together: down, up again, a few steps back, each three times at worst.
pub const PROBES_MAX: usize = 36;
/// Failed requests of a probe that still passes: one in a thousand.
const ERROR_SHARE_MAX: f64 = 0.001;

/// Asks for one probe after another until the knee is between two rates.
#[derive(Clone, Debug)]
pub struct KneeSearch {
    p99_limit_ns: u64,
    held: Option<f64>,
    missed: Option<(f64, KneeLimit)>,
    /// Misses at the rate that is being tried.
    misses: u32,
    probes: Vec<Probe>,
    /// The limit was raised to this, because no rate kept it.
    relaxed_ns: Option<u64>,
}

impl KneeSearch {
    pub fn new(p99_limit_ns: u64) -> Self {
        Self { p99_limit_ns, held: None, missed: None, misses: 0, probes: Vec::new(), relaxed_ns: None }
    }

    /// The rate to try next; `None` when the knee is known or nothing is left to try.
    pub fn next_rate(&self) -> Option<f64> {
        if self.probes.len() >= PROBES_MAX {
            return None;
        }
        if self.misses > 0 {
            return self.probes.last().map(|probe| probe.rate_per_second);
        }
        match (self.held, self.missed) {
            (None, None) => Some(START),
            (Some(held), None) => (held < RATE_MAX).then(|| (held * 2.0).min(RATE_MAX)),
            (None, Some((missed, _))) => (missed > RATE_MIN).then(|| (missed / 4.0).max(RATE_MIN)),
            (Some(held), Some((missed, _))) => (missed > held * CLOSE_ENOUGH).then(|| (held * missed).sqrt()),
        }
    }

    /// What a probe at [`Self::next_rate`] saw of `requests` requests.
    pub fn saw(&mut self, probe: Probe, requests: u64) {
        let rate = probe.rate_per_second;
        self.probes.push(probe);
        let erred = probe.errors as f64 > requests as f64 * ERROR_SHARE_MAX;
        let limit_ns = self.relaxed_ns.unwrap_or(self.p99_limit_ns);
        if !erred && probe.p99_ns <= limit_ns {
            self.held = Some(rate);
            self.misses = 0;
            return;
        }
        self.misses += 1;
        if self.misses >= TRIES {
            if !erred && self.held.is_none() && rate <= RATE_MIN && self.relaxed_ns.is_none() {
                self.relax();
                return;
            }
            // Late by half of the limit: then it was not (only) the server that was slow.
            let generator = !erred && probe.lateness_p99_ns > limit_ns / 2;
            self.missed = Some((rate, if generator { KneeLimit::Generator } else { KneeLimit::Server }));
            self.misses = 0;
        }
    }

    /// Begins again with a limit that the lowest rate keeps.
    fn relax(&mut self) {
        let tries = TRIES as usize;
        let mut lowest: Vec<u64> = self.probes.iter().rev().take(tries).map(|probe| probe.p99_ns).collect();
        lowest.sort_unstable();
        self.relaxed_ns = lowest.get(lowest.len() / 2).map(|p99_ns| p99_ns.saturating_mul(RELAXED));
        self.missed = None;
        self.misses = 0;
    }

    pub fn result(self) -> Knee {
        Knee {
            rate_per_second: self.held.unwrap_or(0.0),
            limited_by: self.missed.map_or(KneeLimit::Search, |(_, limit)| limit),
            relaxed_ns: self.relaxed_ns,
            probes: self.probes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: u64 = 10_000_000;

    /// Runs the search against a server that holds up to `capacity`, but for the probes of `unlucky`.
    fn search(capacity: f64, unlucky: &[usize]) -> Knee {
        let mut search = KneeSearch::new(LIMIT);
        let mut n = 0;
        while let Some(rate) = search.next_rate() {
            let slow = rate > capacity || unlucky.contains(&n);
            let p99_ns = if slow { LIMIT * 5 } else { LIMIT / 10 };
            search.saw(Probe { rate_per_second: rate, p99_ns, lateness_p99_ns: 1000, errors: 0 }, 500);
            n += 1;
        }
        search.result()
    }

    proptest! {
        #[test]
        fn the_knee_is_found_from_below_and_close(capacity in 65.0f64..45_000.0) {
            let result = search(capacity, &[]);
            prop_assert!(result.rate_per_second <= capacity);
            prop_assert!(result.rate_per_second * CLOSE_ENOUGH * 1.01 >= capacity, "{result:?} of {capacity}");
            prop_assert!(result.probes.len() <= PROBES_MAX);
            prop_assert_eq!(result.limited_by, KneeLimit::Server);
        }
    }

    #[test]
    fn one_bad_probe_does_not_move_the_knee() {
        assert_eq!(search(9_000.0, &[0, 2, 5]).rate_per_second, search(9_000.0, &[]).rate_per_second);
    }

    #[test]
    fn a_server_that_only_fails_ends_the_search_at_zero() {
        let mut search = KneeSearch::new(LIMIT);
        while let Some(rate) = search.next_rate() {
            let probe = Probe { rate_per_second: rate, p99_ns: 1000, lateness_p99_ns: 1000, errors: 500 };
            search.saw(probe, 500);
        }
        let result = search.result();
        assert_eq!((result.rate_per_second, result.relaxed_ns), (0.0, None));
        assert!(result.probes.last().unwrap().rate_per_second <= RATE_MIN);
    }

    #[test]
    fn where_no_rate_keeps_the_limit_the_knee_is_where_queues_form() {
        let mut search = KneeSearch::new(LIMIT);
        while let Some(rate) = search.next_rate() {
            let p99_ns = if rate > 5_000.0 { LIMIT * 20 } else { LIMIT * 3 };
            search.saw(Probe { rate_per_second: rate, p99_ns, lateness_p99_ns: 1000, errors: 0 }, 500);
        }
        let result = search.result();
        assert_eq!(result.relaxed_ns, Some(LIMIT * 6));
        assert!((5_000.0 / CLOSE_ENOUGH..=5_000.0).contains(&result.rate_per_second), "{result:?}");
    }

    #[test]
    fn a_server_without_end_is_bounded_by_the_search() {
        let result = search(1e9, &[]);
        assert_eq!((result.rate_per_second, result.limited_by), (RATE_MAX, KneeLimit::Search));
    }

    #[test]
    fn a_late_generator_is_not_the_servers_fault() {
        let mut search = KneeSearch::new(LIMIT);
        while let Some(rate) = search.next_rate() {
            let late = rate > 4_000.0;
            let (p99_ns, lateness_p99_ns) = if late { (LIMIT * 3, LIMIT * 2) } else { (1000, 1000) };
            search.saw(Probe { rate_per_second: rate, p99_ns, lateness_p99_ns, errors: 0 }, 500);
        }
        assert_eq!(search.result().limited_by, KneeLimit::Generator);
    }

    #[test]
    fn errors_are_a_miss_however_fast() {
        let mut search = KneeSearch::new(LIMIT);
        while let Some(rate) = search.next_rate() {
            let errors = if rate > 2_000.0 { 100 } else { 0 };
            search.saw(Probe { rate_per_second: rate, p99_ns: 1000, lateness_p99_ns: 1000, errors }, 500);
        }
        assert!(search.result().rate_per_second <= 2_000.0);
    }
}
