//! A report's rows sorted by what they mean for people, and the counts that every rendering shows.

use perfsuite::{
    model::{Certainty, Comparison, FailureReason, Metric, Mode, Report, Side, Verdict},
    verdict::comparison::UNBOUNDED,
};
use std::collections::HashMap;

/// Where each row belongs. Every row is in exactly one list.
#[derive(Debug, Default)]
pub struct Facts<'a> {
    /// Confirmed slowdowns that fail the check run, the largest first (as in the report).
    pub blocking: Vec<&'a Comparison>,
    /// Confirmed slowdowns that do not, by their mode.
    pub advised: Vec<&'a Comparison>,
    pub faster: Vec<&'a Comparison>,
    /// Changes that a different layout of the same code could explain.
    pub suspects: Vec<&'a Comparison>,
    pub inconclusive: Vec<&'a Comparison>,
    pub equal: Vec<&'a Comparison>,
    /// More or fewer instructions in the same time: told, and blocking only where the configuration says so (then they
    /// are among those).
    pub instruction_changes: Vec<&'a Comparison>,
    /// Metrics that are never judged, and benchmarks that are recorded only.
    pub shown: Vec<&'a Comparison>,
}

impl<'a> Facts<'a> {
    pub fn of(report: &'a Report) -> Self {
        let mut facts = Self::default();
        for row in &report.rows {
            let suspect = row.certainty == Certainty::LayoutSuspect;
            let counted = row.metric == Metric::Instructions;
            let list = match row.verdict {
                _ if !row.metric.judged() || row.mode == Mode::Record => &mut facts.shown,
                _ if counted && row.blocks() => &mut facts.blocking,
                _ if row.certainty == Certainty::InstructionChange => &mut facts.instruction_changes,
                _ if counted => &mut facts.shown,
                Verdict::Slower | Verdict::Faster if suspect => &mut facts.suspects,
                Verdict::Slower if row.blocks() => &mut facts.blocking,
                Verdict::Slower => &mut facts.advised,
                Verdict::Faster => &mut facts.faster,
                Verdict::Equal => &mut facts.equal,
                Verdict::Inconclusive => &mut facts.inconclusive,
            };
            list.push(row);
        }
        facts
    }

    pub fn slower(&self) -> usize {
        self.blocking.len() + self.advised.len()
    }

    /// Rows that a verdict was sought for.
    pub fn judged(&self) -> usize {
        self.slower() + self.faster.len() + self.suspects.len() + self.inconclusive.len() + self.equal.len()
    }

    /// Confirmed changes, slowdowns first.
    pub fn changed(&self) -> impl Iterator<Item = &'a Comparison> + '_ {
        self.blocking.iter().chain(&self.advised).chain(&self.faster).copied()
    }

    pub fn all_judged(&self) -> impl Iterator<Item = &'a Comparison> + '_ {
        self.changed()
            .chain(self.suspects.iter().copied())
            .chain(self.instruction_changes.iter().copied())
            .chain(self.inconclusive.iter().copied())
            .chain(self.equal.iter().copied())
    }

    /// The smallest change that each row would have shown: least and largest over the rows, as fractions.
    pub fn smallest_visible(&self) -> Option<(f64, f64)> {
        let timed = self.all_judged().filter(|row| row.metric != Metric::Instructions);
        let visible = timed.map(|row| row.smallest_visible);
        visible.filter(|s| s.is_finite() && *s > 0.0 && *s < UNBOUNDED).fold(None, |range, s| match range {
            None => Some((s, s)),
            Some((low, high)) => Some((f64::min(low, s), f64::max(high, s))),
        })
    }

    /// Rows with so few visits that no change would have shown.
    pub fn blind(&self) -> usize {
        self.all_judged()
            .filter(|row| row.smallest_visible.is_nan() || row.smallest_visible >= UNBOUNDED)
            .count()
    }

    /// Slowdowns that a different layout of the same code could explain.
    pub fn slower_suspects(&self) -> impl Iterator<Item = &'a Comparison> + '_ {
        self.suspects.iter().copied().filter(|row| row.verdict == Verdict::Slower)
    }

    /// Machine minutes that would settle what is inconclusive, where every such row knows.
    pub fn minutes_to_settle(&self) -> Option<f64> {
        let minutes: Option<f64> = self.inconclusive.iter().map(|row| row.minutes_to_settle).sum();
        minutes.filter(|minutes| minutes.is_finite() && *minutes > 0.0)
    }

    /// Fewest and most visits of a row.
    pub fn visits(&self) -> Option<(u32, u32)> {
        let timed = || self.all_judged().filter(|row| row.metric != Metric::Instructions);
        let visits = || timed().map(|row| row.visits);
        Some((visits().min()?, visits().max()?))
    }
}

/// Benchmarks that the head has made unusable: as bad as slow, or a slowdown could hide behind a panic.
pub fn broken_by_head(report: &Report) -> usize {
    let on = |side| report.failures.iter().filter(move |failure| failure.side == Some(side));
    on(Side::Head)
        .filter(|head| {
            !on(Side::Base).any(|base| (&base.suite, &base.benchmark) == (&head.suite, &head.benchmark))
        })
        .filter(|head| head.reason != FailureReason::Refused)
        .count()
}

/// Names benchmarks: by their id, with the suite in front where two suites share an id.
pub struct Names<'a> {
    suites: HashMap<&'a str, &'a str>,
    shared: Vec<&'a str>,
}

impl<'a> Names<'a> {
    pub fn of(report: &'a Report) -> Self {
        let rows = report.rows.iter().map(|row| (&row.suite, &row.benchmark));
        let failures = report.failures.iter().filter_map(|f| Some((&f.suite, f.benchmark.as_ref()?)));
        let one_sided = report.one_sided.iter().map(|o| (&o.suite, &o.benchmark));
        let mut names = Self { suites: HashMap::new(), shared: Vec::new() };
        for (suite, benchmark) in rows.chain(failures).chain(one_sided) {
            let known = names.suites.entry(&benchmark.0).or_insert(suite);
            if *known != suite {
                names.shared.push(&benchmark.0);
            }
        }
        names.shared.sort_unstable();
        names.shared.dedup();
        names
    }

    pub fn name(&self, suite: &str, benchmark: &str) -> String {
        if self.shared.binary_search(&benchmark).is_ok() {
            format!("{suite}: {benchmark}")
        } else {
            benchmark.to_owned()
        }
    }
}
