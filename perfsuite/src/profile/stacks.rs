//! Counts of stacks, by side and visit, with a bound on how many there are. Pure.

use crate::model::profile::{Profile, ProfileStack, ProfileVisit, WorkUnit};
use crate::model::{BenchmarkId, Side};
use std::collections::{BTreeMap, HashMap};

/// Different stacks that are kept; of a server under load some hundreds have nearly all samples.
pub const STACKS_MAX: usize = 4_000;
/// Different functions: a program that makes up names meets this.
pub const NAMES_MAX: usize = 4_000;
/// Stands for what is beyond those bounds.
pub const BEYOND: &str = "[more stacks than are kept]";

/// What was sampled so far.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
    counts: HashMap<Vec<u32>, BTreeMap<u32, [u32; 2]>>,
    /// Samples of each side.
    samples: [u64; 2],
}

impl Stacks {
    /// Counts one sample; `functions` from the outermost on.
    pub fn add(&mut self, side: Side, visit: u32, functions: &[impl AsRef<str>]) {
        let known: Option<Vec<u32>> = functions.iter().map(|name| self.number(name.as_ref())).collect();
        let full = self.counts.len() >= STACKS_MAX;
        let frames = match known {
            Some(frames) if !frames.is_empty() && (!full || self.counts.contains_key(&frames)) => frames,
            // The last place is kept for this.
            _ => vec![self.number_of(BEYOND)],
        };
        let count = &mut self.counts.entry(frames).or_default().entry(visit).or_default()[side as usize];
        *count = count.saturating_add(1);
        self.samples[side as usize] += 1;
    }

    pub fn samples(&self, side: Side) -> u64 {
        self.samples[side as usize]
    }

    fn number(&mut self, name: &str) -> Option<u32> {
        let room = self.names.len() < NAMES_MAX - 1;
        (room || self.numbers.contains_key(name)).then(|| self.number_of(name))
    }

    fn number_of(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// The profile of these stacks and visits; stacks in order of their functions' names, so that the same samples give
    /// the same bytes.
    pub fn into_profile(self, of: Of, visits: Vec<ProfileVisit>) -> Profile {
        let mut sorted: Vec<usize> = (0..self.names.len()).collect();
        sorted.sort_by(|a, b| self.names[*a].cmp(&self.names[*b]));
        let mut place = vec![0; self.names.len()];
        for (to, from) in sorted.iter().enumerate() {
            place[*from] = u32::try_from(to).unwrap_or(u32::MAX);
        }
        let mut stacks: Vec<ProfileStack> = Vec::with_capacity(self.counts.len());
        for (frames, counts) in self.counts {
            let of_side = |side: Side| {
                let count =
                    |visit: usize| counts.get(&(visit as u32)).map_or(0, |count| count[side as usize]);
                (0..visits.len()).map(count).collect()
            };
            stacks.push(ProfileStack {
                base: of_side(Side::Base),
                head: of_side(Side::Head),
                frames: frames.into_iter().map(|frame| place[frame as usize]).collect(),
            });
        }
        stacks.sort_by(|a, b| a.frames.cmp(&b.frames));
        Profile {
            suite: of.suite,
            benchmark: of.benchmark,
            unit: of.unit,
            period_ns: of.period_ns,
            kernel: of.kernel,
            names: sorted.into_iter().map(|at| self.names[at].clone()).collect(),
            stacks,
            visits,
            touched: None,
            notes: vec![],
        }
    }
}

/// What was sampled, and how.
#[derive(Clone, Debug)]
pub struct Of {
    pub suite: String,
    pub benchmark: BenchmarkId,
    pub unit: WorkUnit,
    pub period_ns: u64,
    pub kernel: bool,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::profile) fn of() -> Of {
        let benchmark = BenchmarkId("route/match".into());
        Of { suite: "s".into(), benchmark, unit: WorkUnit::Iteration, period_ns: 500_000, kernel: false }
    }

    fn names(stack: &str) -> Vec<String> {
        stack.split(';').map(str::to_owned).collect()
    }

    #[test]
    fn the_same_samples_give_the_same_profile() {
        let visits = vec![ProfileVisit { base: 1.0, head: 1.0 }; 2];
        let profile = |order: [(Side, u32, &str); 4]| {
            let mut stacks = Stacks::default();
            order.iter().for_each(|(side, visit, stack)| stacks.add(*side, *visit, &names(stack)));
            stacks.into_profile(of(), visits.clone())
        };
        let samples = [
            (Side::Base, 0, "main;b"),
            (Side::Head, 1, "main;a"),
            (Side::Head, 1, "main;a"),
            (Side::Base, 1, "main"),
        ];
        let first = profile(samples);
        let mut turned = samples;
        turned.reverse();
        assert_eq!(first, profile(turned));
        assert_eq!(first.names, ["a", "b", "main"]);
        let stack = |frames: &[u32], base: [u32; 2], head: [u32; 2]| ProfileStack {
            frames: frames.to_vec(),
            base: base.to_vec(),
            head: head.to_vec(),
        };
        assert_eq!(
            first.stacks,
            [stack(&[2], [0, 1], [0, 0]), stack(&[2, 0], [0, 0], [0, 2]), stack(&[2, 1], [1, 0], [0, 0])]
        );
    }

    #[test]
    fn made_up_names_meet_a_bound() {
        let mut stacks = Stacks::default();
        for n in 0..3 * NAMES_MAX {
            stacks.add(Side::Head, 0, &[format!("f{n}")]);
        }
        let profile = stacks.into_profile(of(), vec![ProfileVisit { base: 0.0, head: 1.0 }]);
        assert!(profile.names.len() <= NAMES_MAX && profile.stacks.len() <= STACKS_MAX);
        let all: u32 = profile.stacks.iter().flat_map(|stack| &stack.head).sum();
        assert_eq!(all as usize, 3 * NAMES_MAX, "none is lost");
    }

    proptest! {
        #[test]
        fn every_sample_is_in_the_profile_once(
            samples in prop::collection::vec((any::<bool>(), 0_u32..3, prop::collection::vec(0_u8..5, 0..6)), 0..60),
        ) {
            let mut stacks = Stacks::default();
            for (head, visit, frames) in &samples {
                let side = if *head { Side::Head } else { Side::Base };
                let functions: Vec<String> = frames.iter().map(u8::to_string).collect();
                stacks.add(side, *visit, &functions);
            }
            let profile = stacks.into_profile(of(), vec![ProfileVisit { base: 1.0, head: 1.0 }; 3]);
            for (at, side) in [Side::Base, Side::Head].into_iter().enumerate() {
                for visit in 0..3_u32 {
                    let given = samples.iter().filter(|(head, v, _)| usize::from(*head) == at && *v == visit).count();
                    let counts = profile.stacks.iter().map(|stack| match side {
                        Side::Base => stack.base[visit as usize],
                        Side::Head => stack.head[visit as usize],
                    });
                    prop_assert_eq!(counts.sum::<u32>() as usize, given);
                }
            }
            for stack in &profile.stacks {
                prop_assert!(stack.frames.iter().all(|frame| (*frame as usize) < profile.names.len()));
            }
        }
    }
}
