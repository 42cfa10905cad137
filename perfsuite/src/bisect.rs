//! Finds the commit of a range that changed a benchmark: verify, halve, verify again. Pure: comparisons are made elsewhere.
//!
//! Every comparison is of the range's good end against a commit within it, so that what is looked for stays as large as
//! it is and errors do not add up. A commit is bad once it has half of the whole change or more, which finds the one
//! step where there is one, and the step across the middle where there are several.

mod report;

use crate::model::Verdict;
use serde::{Deserialize, Serialize};

pub use report::seen;

/// Comparisons of one commit whose interval still holds half of the change, before its estimate decides.
const TRIES: u32 = 2;

/// What one comparison saw of the benchmark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    Measured(Measured),
    /// The commit cannot be measured: it does not build, or lacks the benchmark.
    Skipped(String),
}

/// Changes as fractions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub verdict: Verdict,
    pub estimate: f64,
    pub low: f64,
    pub high: f64,
}

impl Measured {
    /// The same machine code on both sides.
    pub const SAME: Measured = Measured { verdict: Verdict::Equal, estimate: 0.0, low: 0.0, high: 0.0 };

    fn changed(&self) -> bool {
        matches!(self.verdict, Verdict::Slower | Verdict::Faster)
    }
}

/// How a search ended. Commits are positions in the range: 0 is the first one after its good end.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// This commit made this change, measured against the one before it.
    Found { at: usize, change: Measured },
    /// The ends do not differ.
    None { ends: Measured },
    /// One of these did, and those before the last cannot be measured.
    Among { from: usize, to: usize },
    /// The halving came to this commit, and measured against the one before it there is no such change.
    Unconfirmed { at: usize, seen: Measured },
}

/// What was found, and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    pub ending: Ending,
    pub comparisons: u32,
    /// Commits that could not be measured, with the reason.
    pub skipped: Vec<(usize, String)>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("the range is empty")]
    Empty,
    #[error("the ends of the range cannot be compared: {0}")]
    Ends(String),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Searches a range of `commits`. `compare(None, at)` is the good end against the commit at `at`; `compare(Some(before),
/// at)` that commit against it.
pub fn search(
    commits: usize,
    mut compare: impl FnMut(Option<usize>, usize) -> anyhow::Result<Seen>,
) -> Result<Search, Broken> {
    let last = commits.checked_sub(1).ok_or(Broken::Empty)?;
    let mut found = Search { ending: Ending::None { ends: Measured::SAME }, comparisons: 1, skipped: vec![] };
    let ends = match compare(None, last)? {
        Seen::Measured(ends) => ends,
        Seen::Skipped(reason) => return Err(Broken::Ends(reason)),
    };
    if !ends.changed() {
        found.ending = Ending::None { ends };
        return Ok(found);
    }
    // The good end is before 0; what is `good` lies before `bad`.
    let (mut good, mut bad): (Option<usize>, usize) = (None, last);
    while let Some(middle) = middle(good, bad, &found.skipped) {
        match of_middle(middle, &ends, &mut compare, &mut found.comparisons)? {
            Ok(true) => bad = middle,
            Ok(false) => good = Some(middle),
            Err(reason) => found.skipped.push((middle, reason)),
        }
    }
    let first = good.map_or(0, |good| good + 1);
    if first < bad {
        found.ending = Ending::Among { from: first, to: bad };
        return Ok(found);
    }
    found.comparisons += 1;
    found.ending = match compare(good, bad)? {
        Seen::Measured(change) if change.changed() && change.estimate.signum() == ends.estimate.signum() => {
            Ending::Found { at: bad, change }
        }
        Seen::Measured(seen) => Ending::Unconfirmed { at: bad, seen },
        Seen::Skipped(_) => Ending::Among { from: first, to: bad },
    };
    Ok(found)
}

/// How a search goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// This comparison is wanted: of the commit at `before`, or else of the good end, with the one at `at`.
    Compare {
        before: Option<usize>,
        at: usize,
    },
    Ended(Search),
}

/// The next step of a search whose comparisons are made elsewhere and one at a time: `seen` is what those that were
/// wanted so far saw, in their order.
pub fn next(commits: usize, seen: &[Seen]) -> Result<Step, Broken> {
    #[derive(Debug, thiserror::Error)]
    #[error("a comparison is wanted")]
    struct Wanted;
    let mut known = seen.iter();
    let mut wanted = Step::Compare { before: None, at: 0 };
    let searched = search(commits, |before, at| match known.next() {
        Some(seen) => Ok(seen.clone()),
        None => {
            wanted = Step::Compare { before, at };
            Err(Wanted.into())
        }
    });
    match searched {
        Ok(search) => Ok(Step::Ended(search)),
        Err(Broken::Other(error)) if error.is::<Wanted>() => Ok(wanted),
        Err(broken) => Err(broken),
    }
}

/// The commit nearest to the middle that was not skipped; `None` when none is left in between.
fn middle(good: Option<usize>, bad: usize, skipped: &[(usize, String)]) -> Option<usize> {
    let first = good.map_or(0, |good| good + 1);
    let middle = first + (bad - first) / 2;
    let usable = (first..bad).filter(|at| !skipped.iter().any(|(skipped, _)| skipped == at));
    usable.min_by_key(|at| at.abs_diff(middle))
}

/// Whether a commit has half of the whole change or more; the reason when it cannot be measured.
fn of_middle(
    at: usize,
    ends: &Measured,
    compare: &mut impl FnMut(Option<usize>, usize) -> anyhow::Result<Seen>,
    comparisons: &mut u32,
) -> anyhow::Result<Result<bool, String>> {
    // In logarithms, so that half of +100 % and half of -50 % are the same.
    let log = |change: f64| change.max(-0.999_999).ln_1p();
    let half = log(ends.estimate) / 2.0;
    let mut sum = 0.0;
    for tries in 1..=TRIES {
        *comparisons += 1;
        let seen = match compare(None, at)? {
            Seen::Measured(seen) => seen,
            Seen::Skipped(reason) => return Ok(Err(reason)),
        };
        sum += log(seen.estimate);
        let clear = log(seen.low) > half || log(seen.high) < half;
        if clear || tries == TRIES {
            let mean = if clear { log(seen.estimate) } else { sum / f64::from(tries) };
            return Ok(Ok(mean.abs() >= half.abs() && mean.signum() == half.signum()));
        }
    }
    Ok(Ok(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// Levels of a history: the good end, then the commits. `None` does not build.
    fn search_in(levels: &[Option<f64>], noise: f64, seed: u64) -> Result<Search, Broken> {
        let mut rng = StdRng::seed_from_u64(seed);
        search(levels.len() - 1, |before, at| {
            let (Some(base), Some(head)) = (levels[before.map_or(0, |before| before + 1)], levels[at + 1])
            else {
                return Ok(Seen::Skipped("does not build".into()));
            };
            let estimate = head / base - 1.0 + noise * rng.random_range(-1.0..1.0);
            let (low, high) = (estimate - noise, estimate + noise);
            let verdict = match () {
                () if low > 0.01 => Verdict::Slower,
                () if high < -0.01 => Verdict::Faster,
                () if low > -0.025 && high < 0.025 => Verdict::Equal,
                () => Verdict::Inconclusive,
            };
            Ok(Seen::Measured(Measured { verdict, estimate, low, high }))
        })
    }

    fn step(commits: usize, at: usize, size: f64) -> Vec<Option<f64>> {
        (0..=commits).map(|i| Some(if i > at { 100.0 * (1.0 + size) } else { 100.0 })).collect()
    }

    #[test]
    fn one_of_sixteen_is_found_wherever_it_is() {
        for at in 0..16 {
            for size in [0.05, -0.05, 1.0, -0.6] {
                let search = search_in(&step(16, at, size), 0.01, at as u64).unwrap();
                assert!(
                    matches!(search.ending, Ending::Found { at: found, .. } if found == at),
                    "{at} {search:?}"
                );
                assert!(search.comparisons <= 6, "{search:?}");
            }
        }
    }

    #[test]
    fn a_search_in_single_steps_is_the_same_search() {
        for at in 0..16 {
            let mut levels = step(16, at, 0.05);
            if at != 5 && at != 6 {
                levels[6] = None;
            }
            let compare = |before: Option<usize>, at: usize| {
                let base = levels[before.map_or(0, |before| before + 1)];
                match base.zip(levels[at + 1]) {
                    None => Seen::Skipped("does not build".into()),
                    Some((base, head)) => {
                        let estimate = head / base - 1.0;
                        let verdict = if estimate > 0.01 { Verdict::Slower } else { Verdict::Equal };
                        Seen::Measured(Measured { verdict, estimate, low: estimate, high: estimate })
                    }
                }
            };
            let whole = search(16, |before, at| Ok(compare(before, at))).unwrap();
            let mut seen = Vec::new();
            let ended = loop {
                match next(16, &seen).unwrap() {
                    Step::Compare { before, at } => seen.push(compare(before, at)),
                    Step::Ended(search) => break search,
                }
            };
            assert_eq!(ended, whole);
            assert_eq!(seen.len(), whole.comparisons as usize);
            let stored = serde_json::to_string(&seen).unwrap();
            assert_eq!(serde_json::from_str::<Vec<Seen>>(&stored).unwrap(), seen);
        }
        assert!(matches!(next(0, &[]), Err(Broken::Empty)));
        assert!(matches!(next(3, &[Seen::Skipped("no".into())]), Err(Broken::Ends(_))));
    }

    #[test]
    fn a_range_without_a_change_ends_in_none() {
        for seed in 0..100 {
            let search = search_in(&step(16, 99, 0.0), 0.01, seed).unwrap();
            assert!(matches!(search.ending, Ending::None { .. }), "{search:?}");
            assert_eq!(search.comparisons, 1);
        }
    }

    #[test]
    fn a_commit_that_does_not_build_is_skipped() {
        for at in 0..16 {
            let mut levels = step(16, at, 0.1);
            // None of them is the one that did it, nor the one before that.
            for broken in [3, 8, 9, 14] {
                if broken != at + 1 && broken != at && broken != 16 {
                    levels[broken] = None;
                }
            }
            let search = search_in(&levels, 0.01, 1).unwrap();
            assert!(
                matches!(search.ending, Ending::Found { at: found, .. } if found == at),
                "{at} {search:?}"
            );
        }
        let mut levels = step(6, 2, 0.1);
        (levels[2], levels[3]) = (None, None);
        let search = search_in(&levels, 0.01, 1).unwrap();
        assert_eq!(search.ending, Ending::Among { from: 1, to: 3 });
        assert_eq!(search.skipped.len(), 2);
    }

    #[test]
    fn ends_that_cannot_be_compared_are_said() {
        let mut levels = step(4, 1, 0.1);
        levels[4] = None;
        assert!(matches!(search_in(&levels, 0.0, 1), Err(Broken::Ends(_))));
        assert!(matches!(search_in(&levels[..1], 0.0, 1), Err(Broken::Empty)));
    }

    #[test]
    fn what_the_second_look_does_not_see_is_not_told() {
        // A drift: no commit by itself does anything that can be seen.
        let levels: Vec<Option<f64>> = (0..=16).map(|i| Some(100.0 * (1.0 + 0.004 * f64::from(i)))).collect();
        let search = search_in(&levels, 0.008, 3).unwrap();
        assert!(matches!(search.ending, Ending::Unconfirmed { .. }), "{search:?}");
    }

    #[test]
    fn of_several_steps_the_one_across_the_middle_is_found() {
        let levels = [100.0, 101.0, 101.0, 112.0, 112.0, 113.0].map(Some);
        let search = search_in(&levels, 0.002, 1).unwrap();
        assert!(matches!(search.ending, Ending::Found { at: 2, .. }), "{search:?}");
    }
}
