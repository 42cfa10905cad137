//! What a profile says: which functions changed, and which one explains the change. Pure.

use super::rates::{Counts, rounded, shift};
use crate::model::profile::{Cause, FunctionChange, Profile, ProfileSummary, Shift, Touched, TouchedBy};
use std::collections::HashMap;

/// Of every interval that is shown.
const CONFIDENCE: f64 = 0.95;
/// Functions that are called changed without cause, over a whole profile: the level is shared among all that are asked.
const FALSE_MAX: f64 = 0.01;
/// A ratio within this is what the layout of unchanged code can do.
const LAYOUT: f64 = 0.05;
/// A change that matters: of the whole unit of work on the larger side.
const MATTERS: f64 = 0.01;
/// Functions with less than this of the samples are not asked.
const ASKED: f64 = 0.005;
/// Functions that are asked: those with most samples. Real programs have a hundred with so many.
const ASKED_MAX: usize = 400;
/// Touched functions with nearly as much of the change as the one that has most: the innermost of them is the cause.
const NEARLY: f64 = 0.7;
/// Of the change, what must pass through touched functions, or it is doubted.
const THROUGH_TOUCHED: f64 = 0.2;
/// Functions in a report.
const SHOWN_MAX: usize = 12;
/// Samples of either side, below which a profile says nothing.
const SAMPLES_MIN: u64 = 100;

/// One function's counts, by visit.
struct Function {
    number: u32,
    own: [Vec<u32>; 2],
    total: [Vec<u32>; 2],
}

/// Every function's rates and changes, before any is chosen.
struct Read<'a> {
    profile: &'a Profile,
    units: [Vec<f64>; 2],
    functions: Vec<Function>,
    all: [Vec<u32>; 2],
}

/// Reads a profile.
pub fn summarise(profile: &Profile) -> ProfileSummary {
    let read = Read::of(profile);
    let samples = [0, 1].map(|side| read.all[side].iter().map(|count| u64::from(*count)).sum::<u64>());
    let change = shift(read.counts(&read.all, 0), read.counts(&read.all, 1), CONFIDENCE);
    let mut summary = ProfileSummary {
        suite: profile.suite.clone(),
        benchmark: profile.benchmark.clone(),
        unit: profile.unit,
        visits: u32::try_from(profile.visits.len()).unwrap_or(u32::MAX),
        base_samples: samples[0],
        head_samples: samples[1],
        base_ns: read.ns(&read.all, 0),
        head_ns: read.ns(&read.all, 1),
        change,
        cause: None,
        functions: vec![],
        doubt: None,
        notes: profile.notes.clone(),
    };
    let compared = read.units.iter().all(|units| units.iter().sum::<f64>() > 0.0);
    if !compared {
        summary.functions = read.largest(1);
        return summary;
    }
    if samples.iter().any(|count| *count < SAMPLES_MIN) {
        summary.notes.push(format!("{} samples are too few to compare functions", samples[0] + samples[1]));
        return summary;
    }
    let changes = read.changes();
    summary.cause = read.cause(&changes);
    summary.doubt = read.doubt(&summary);
    summary.functions = shown(&changes, summary.cause.as_ref());
    summary
}

/// A function with what is known of its change.
struct Changed {
    number: u32,
    view: FunctionChange,
    /// Its samples with callees changed for certain, by enough to matter.
    total_changed: bool,
}

impl Changed {
    fn own_ns(&self) -> f64 {
        self.view.head_ns - self.view.base_ns
    }

    fn total_ns(&self) -> f64 {
        self.view.head_total_ns - self.view.base_total_ns
    }
}

impl<'a> Read<'a> {
    fn of(profile: &'a Profile) -> Read<'a> {
        let visits = profile.visits.len();
        let units = [
            profile.visits.iter().map(|visit| visit.base).collect(),
            profile.visits.iter().map(|visit| visit.head).collect(),
        ];
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut functions: Vec<Function> = Vec::new();
        let mut all = [vec![0; visits], vec![0; visits]];
        for stack in &profile.stacks {
            let counts = [&stack.base, &stack.head];
            let mut seen: Vec<u32> = Vec::with_capacity(stack.frames.len());
            for (depth, frame) in stack.frames.iter().rev().enumerate() {
                let place = *places.entry(*frame).or_insert_with(|| {
                    let zeros = || [vec![0; visits], vec![0; visits]];
                    functions.push(Function { number: *frame, own: zeros(), total: zeros() });
                    functions.len() - 1
                });
                let function = &mut functions[place];
                // A function that calls itself has its samples once.
                let first = !seen.contains(frame);
                for (side, counts) in counts.into_iter().enumerate() {
                    if depth == 0 {
                        add(&mut function.own[side], counts);
                    }
                    if first {
                        add(&mut function.total[side], counts);
                    }
                }
                seen.push(*frame);
            }
            for (all, counts) in all.iter_mut().zip(counts) {
                add(all, counts);
            }
        }
        Read { profile, units, functions, all }
    }

    fn counts<'c>(&'c self, samples: &'c [Vec<u32>; 2], side: usize) -> Counts<'c> {
        Counts { samples: &samples[side], units: &self.units[side] }
    }

    /// CPU time of one unit of work.
    fn ns(&self, samples: &[Vec<u32>; 2], side: usize) -> f64 {
        rounded(self.counts(samples, side).rate() * self.profile.period_ns as f64)
    }

    fn view(&self, function: &Function) -> FunctionChange {
        let change = |samples| shift(self.counts(samples, 0), self.counts(samples, 1), CONFIDENCE);
        let name = self.profile.names.get(function.number as usize).cloned().unwrap_or_default();
        FunctionChange {
            touched: self.profile.touched.as_ref().and_then(|touched| touched_by(touched, &name)),
            name,
            base_ns: self.ns(&function.own, 0),
            head_ns: self.ns(&function.own, 1),
            change: change(&function.own),
            base_total_ns: self.ns(&function.total, 0),
            head_total_ns: self.ns(&function.total, 1),
            total_change: change(&function.total),
            changed: false,
        }
    }

    /// The functions of one side with most samples of their own.
    fn largest(&self, side: usize) -> Vec<FunctionChange> {
        let mut views: Vec<FunctionChange> =
            self.functions.iter().map(|function| self.view(function)).collect();
        let own = |view: &FunctionChange| if side == 0 { view.base_ns } else { view.head_ns };
        views.sort_by(|a, b| own(b).total_cmp(&own(a)).then_with(|| a.name.cmp(&b.name)));
        views.retain(|view| own(view) > 0.0);
        views.truncate(SHOWN_MAX);
        views
    }

    /// All functions that have enough samples to be asked.
    fn changes(&self) -> Vec<Changed> {
        let all: f64 = [0, 1].map(|side| self.counts(&self.all, side).total()).iter().sum();
        let of = |samples: &[Vec<u32>; 2]| -> f64 {
            [0, 1].map(|side| self.counts(samples, side).total()).iter().sum()
        };
        let mut asked: Vec<&Function> =
            self.functions.iter().filter(|function| of(&function.total) >= ASKED * all).collect();
        asked.sort_by(|a, b| of(&b.total).total_cmp(&of(&a.total)).then(a.number.cmp(&b.number)));
        asked.truncate(ASKED_MAX);
        let confidence = 1.0 - FALSE_MAX / (2 * asked.len().max(1)) as f64;
        let whole = self.ns(&self.all, 0).max(self.ns(&self.all, 1));
        let certain = |samples: &[Vec<u32>; 2]| {
            let found = shift(self.counts(samples, 0), self.counts(samples, 1), confidence);
            let matters = (self.ns(samples, 1) - self.ns(samples, 0)).abs() >= MATTERS * whole;
            matters && beyond_layout(&found)
        };
        asked
            .into_iter()
            .map(|function| Changed {
                number: function.number,
                view: FunctionChange { changed: certain(&function.own), ..self.view(function) },
                total_changed: certain(&function.total),
            })
            .collect()
    }

    /// The innermost touched function through which the change passes; where none is known to be touched, the one whose
    /// own time changed most.
    fn cause(&self, changes: &[Changed]) -> Option<Cause> {
        let more = self.ns(&self.all, 1) - self.ns(&self.all, 0);
        let same_way = |ns: f64| ns * more > 0.0;
        let touched: Vec<&Changed> = changes
            .iter()
            .filter(|c| c.view.touched.is_some() && c.total_changed && same_way(c.total_ns()))
            .collect();
        let most = touched.iter().map(|c| c.total_ns().abs()).fold(0.0, f64::max);
        let innermost = touched.into_iter().filter(|c| c.total_ns().abs() >= NEARLY * most).min_by(|a, b| {
            let size = |c: &Changed| c.view.base_total_ns + c.view.head_total_ns;
            size(a).total_cmp(&size(b)).then_with(|| a.view.name.cmp(&b.view.name))
        });
        let own = changes.iter().filter(|c| c.view.changed && same_way(c.own_ns())).max_by(|a, b| {
            a.own_ns().abs().total_cmp(&b.own_ns().abs()).then_with(|| b.view.name.cmp(&a.view.name))
        });
        let chosen = innermost.or(own)?;
        let with_callees = chosen.own_ns().abs() < chosen.total_ns().abs() / 2.0 || !chosen.view.changed;
        Some(Cause {
            function: chosen.view.name.clone(),
            with_callees,
            change: if with_callees { chosen.view.total_change } else { chosen.view.change },
            more_ns: rounded(if with_callees { chosen.total_ns() } else { chosen.own_ns() }),
            touched: chosen.view.touched,
            caller: self.caller(chosen.number),
        })
    }

    /// The function that nearly all calls of another come from.
    fn caller(&self, number: u32) -> Option<String> {
        /// Of the samples, those that must have this caller.
        const NEARLY_ALL: f64 = 0.9;
        let mut callers: HashMap<u32, u64> = HashMap::new();
        let mut all = 0;
        for stack in &self.profile.stacks {
            let Some(at) = stack.frames.iter().position(|frame| *frame == number) else { continue };
            let count = stack.base.iter().chain(&stack.head).map(|count| u64::from(*count)).sum::<u64>();
            all += count;
            if let Some(caller) = at.checked_sub(1).and_then(|at| stack.frames.get(at)) {
                *callers.entry(*caller).or_default() += count;
            }
        }
        let (caller, count) = callers.into_iter().max_by_key(|(caller, count)| (*count, *caller))?;
        let name = self.profile.names.get(caller as usize)?;
        (count as f64 >= NEARLY_ALL * all as f64).then(|| name.clone())
    }

    /// Where all touched functions are known, and the change is not below any of them.
    fn doubt(&self, summary: &ProfileSummary) -> Option<String> {
        let touched = self.profile.touched.as_ref().filter(|touched| touched.complete)?;
        let more = summary.head_ns - summary.base_ns;
        if !away_from_zero(&summary.change) || more == 0.0 {
            return None;
        }
        let names: Vec<bool> = self
            .profile
            .names
            .iter()
            .map(|name| touched_by(touched, name) == Some(TouchedBy::Code))
            .collect();
        let mut through = [vec![0; self.profile.visits.len()], vec![0; self.profile.visits.len()]];
        for stack in &self.profile.stacks {
            if stack.frames.iter().any(|frame| names.get(*frame as usize) == Some(&true)) {
                add(&mut through[0], &stack.base);
                add(&mut through[1], &stack.head);
            }
        }
        let on_stacks = through.iter().flatten().any(|count| *count > 0);
        let share = (self.ns(&through, 1) - self.ns(&through, 0)) / more;
        if share >= THROUGH_TOUCHED {
            return None;
        }
        let functions = match touched.functions.len() {
            0 => "No function of other machine code".to_owned(),
            1 => "Not even the one function of other machine code".to_owned(),
            count => format!("None of the {count} functions of other machine code"),
        };
        Some(if on_stacks {
            let share = share.max(0.0) * 100.0;
            format!(
                "Only {share:.0} % of the change is below functions of other machine code: the rest may be layout, memory or the machine."
            )
        } else {
            format!("{functions} is on a stack of it: what changed may be layout, memory or the machine.")
        })
    }
}

fn add(to: &mut [u32], from: &[u32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = to.saturating_add(*from);
    }
}

fn away_from_zero(shift: &Shift) -> bool {
    shift.low > 0.0 || shift.high.is_some_and(|high| high < 0.0)
}

/// Farther from no change than a layout takes it, by the whole interval.
fn beyond_layout(shift: &Shift) -> bool {
    shift.low > LAYOUT || shift.high.is_some_and(|high| high < 1.0 / (1.0 + LAYOUT) - 1.0)
}

/// Whether the change touched a function.
fn touched_by(touched: &Touched, name: &str) -> Option<TouchedBy> {
    if touched.functions.iter().any(|function| function == name) {
        return Some(TouchedBy::Code);
    }
    let of_file = touched.modules.iter().any(|module| super::touched::is_within(name, module));
    of_file.then_some(TouchedBy::File)
}

/// The cause, then what changed for certain, then the rest; the largest change first.
fn shown(changes: &[Changed], cause: Option<&Cause>) -> Vec<FunctionChange> {
    let mut sorted: Vec<&Changed> =
        changes.iter().filter(|c| c.view.base_ns + c.view.head_ns > 0.0).collect();
    let is_cause = |c: &Changed| cause.is_some_and(|cause| cause.function == c.view.name);
    sorted.extend(changes.iter().filter(|c| is_cause(c) && c.view.base_ns + c.view.head_ns == 0.0));
    sorted.sort_by(|a, b| {
        let rank = |c: &Changed| (!is_cause(c), !c.view.changed);
        rank(a)
            .cmp(&rank(b))
            .then_with(|| b.own_ns().abs().total_cmp(&a.own_ns().abs()))
            .then_with(|| a.view.name.cmp(&b.view.name))
    });
    sorted.into_iter().take(SHOWN_MAX).map(|c| c.view.clone()).collect()
}

/// `+96 % (90 to 103)`, `new`, `gone`; percent.
pub fn in_percent(shift: &Shift) -> String {
    let percent = |value: f64| format!("{:.0}", value * 100.0);
    match shift.estimate {
        None => "new".into(),
        Some(estimate) if estimate <= -1.0 => "gone".into(),
        Some(estimate) => {
            let high = shift.high.map_or_else(|| "∞".into(), percent);
            format!("{:+.0} % ({} to {high})", estimate * 100.0, percent(shift.low))
        }
    }
}

#[cfg(test)]
mod tests;
