//! The fewest people whose approvals are still missing: exact where that takes a bounded search, else nearly so, and told.
//!
//! A multi-cover: each need asks for a number of distinct people out of some. People who are asked for by the same needs
//! stand for each other, so they are one class with a number; what is searched is small even where teams are large.

use super::Login;
use std::collections::{BTreeMap, BTreeSet};

/// `lacking` distinct people out of `candidates`. Never more than there are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    pub candidates: BTreeSet<Login>,
    pub lacking: usize,
}

/// A set of people that meets every need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    /// In alphabetical order.
    pub people: Vec<Login>,
    /// Whether no smaller set can do.
    pub exact: bool,
}

/// Looks at needs, before the best set found so far is given: about a second's work. Pull requests as people make them
/// (dozens of groups of files) take a few thousand.
const LOOKS_MAX: u64 = 30_000_000;

/// The smallest set of people that meets all needs; among sets of one size, always the same one.
pub fn smallest(needs: &[Need]) -> Cover {
    let needs = without_implied(needs);
    let mut classes: BTreeMap<Vec<usize>, Vec<&Login>> = BTreeMap::new();
    let mut asked: BTreeMap<&Login, Vec<usize>> = BTreeMap::new();
    for (index, need) in needs.iter().enumerate() {
        for person in &need.candidates {
            asked.entry(person).or_default().push(index);
        }
    }
    for (person, needs) in asked {
        classes.entry(needs).or_default().push(person);
    }
    // Those who meet most needs are tried first.
    let mut classes: Vec<(Vec<usize>, Vec<&Login>)> = classes.into_iter().collect();
    classes.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.1.cmp(&b.1)));
    let mut of_need = vec![Vec::new(); needs.len()];
    for (class, (meets, _)) in classes.iter().enumerate() {
        for need in meets {
            of_need[*need].push(class);
        }
    }
    let mut search = Search {
        meets: classes.iter().map(|(meets, _)| meets.as_slice()).collect(),
        of_need,
        best: Vec::new(),
        best_size: usize::MAX,
        looks: 0,
    };
    let mut state = State {
        lacking: needs.iter().map(|need| need.lacking).collect(),
        left: classes.iter().map(|(_, people)| people.len()).collect(),
        taken: vec![0; classes.len()],
        size: 0,
    };
    search.greedy(state.clone());
    search.descend(&mut state);
    let mut people: Vec<Login> = Vec::new();
    for ((_, names), taken) in classes.iter().zip(&search.best) {
        people.extend(names.iter().take(*taken).map(|login| (*login).clone()));
    }
    people.sort();
    Cover { people, exact: search.looks <= LOOKS_MAX }
}

/// Without needs that others imply: the same people or more, and no more of them lacking.
fn without_implied(needs: &[Need]) -> Vec<Need> {
    /// Comparing each with each beyond this costs more than it saves.
    const COMPARED_MAX: usize = 400;
    let needs: BTreeSet<&Need> = needs.iter().filter(|need| need.lacking > 0).collect();
    let needs: Vec<&Need> = needs.into_iter().collect();
    if needs.len() > COMPARED_MAX {
        return needs.into_iter().cloned().collect();
    }
    let implied = |need: &Need| {
        needs.iter().any(|other| {
            *other != need && other.lacking >= need.lacking && other.candidates.is_subset(&need.candidates)
        })
    };
    needs.iter().filter(|need| !implied(need)).map(|need| (*need).clone()).collect()
}

#[derive(Clone)]
struct State {
    /// By need.
    lacking: Vec<usize>,
    /// By class: people who may still be asked.
    left: Vec<usize>,
    /// By class: people who are asked.
    taken: Vec<usize>,
    size: usize,
}

struct Search<'a> {
    /// By class: the needs that its people meet.
    meets: Vec<&'a [usize]>,
    /// By need: its classes.
    of_need: Vec<Vec<usize>>,
    best: Vec<usize>,
    best_size: usize,
    looks: u64,
}

impl Search<'_> {
    /// A first answer: always whoever meets most of what is lacking.
    fn greedy(&mut self, mut state: State) {
        while state.lacking.iter().any(|lacking| *lacking > 0) {
            let gain =
                |class: usize| self.meets[class].iter().filter(|need| state.lacking[**need] > 0).count();
            let open = (0..self.meets.len()).filter(|class| state.left[*class] > 0);
            let Some(class) = open.max_by_key(|class| (gain(*class), std::cmp::Reverse(*class))) else {
                return;
            };
            self.take(&mut state, class);
        }
        self.best_size = state.size;
        self.best = state.taken;
    }

    /// Branches over the people who can meet the need with the least choice. Whoever was tried is not asked again in the
    /// branches beside, so no set is seen twice.
    fn descend(&mut self, state: &mut State) {
        let Some(need) = self.hardest(state) else {
            if state.size < self.best_size {
                self.best_size = state.size;
                self.best.clone_from(&state.taken);
            }
            return;
        };
        if self.looks > LOOKS_MAX || state.size + self.at_least(state) >= self.best_size {
            return;
        }
        let mut open: Vec<usize> =
            self.of_need[need].iter().copied().filter(|c| state.left[*c] > 0).collect();
        let gain = |class: usize| self.meets[class].iter().filter(|need| state.lacking[**need] > 0).count();
        open.sort_by_key(|class| (std::cmp::Reverse(gain(*class)), *class));
        let before = state.left.clone();
        for class in open {
            let lacking = state.lacking.clone();
            self.take(state, class);
            self.descend(state);
            state.taken[class] -= 1;
            state.size -= 1;
            state.lacking = lacking;
            state.left[class] = 0;
            if !self.can_be_met(state, need) {
                break;
            }
        }
        state.left = before;
    }

    fn take(&self, state: &mut State, class: usize) {
        state.left[class] -= 1;
        state.taken[class] += 1;
        state.size += 1;
        for need in self.meets[class] {
            state.lacking[*need] = state.lacking[*need].saturating_sub(1);
        }
    }

    fn choice(&self, state: &State, need: usize) -> usize {
        self.of_need[need].iter().map(|class| state.left[*class]).sum()
    }

    fn can_be_met(&self, state: &State, need: usize) -> bool {
        self.choice(state, need) >= state.lacking[need]
    }

    /// The unmet need with the fewest people to spare.
    fn hardest(&mut self, state: &State) -> Option<usize> {
        self.looks += state.lacking.len() as u64;
        let unmet = (0..state.lacking.len()).filter(|need| state.lacking[*need] > 0);
        unmet.min_by_key(|need| (self.choice(state, *need).saturating_sub(state.lacking[*need]), *need))
    }

    /// How many more it takes at least: needs that share nobody add up. `usize::MAX / 2` where a need cannot be met.
    fn at_least(&mut self, state: &State) -> usize {
        self.looks += state.lacking.len() as u64;
        let mut used = vec![false; self.meets.len()];
        let mut unmet: Vec<usize> =
            (0..state.lacking.len()).filter(|need| state.lacking[*need] > 0).collect();
        unmet.sort_by_key(|need| (self.of_need[*need].len(), std::cmp::Reverse(state.lacking[*need])));
        let (mut sum, mut most) = (0, 0);
        for need in unmet {
            if !self.can_be_met(state, need) {
                return usize::MAX / 2;
            }
            most = most.max(state.lacking[need]);
            let open = || self.of_need[need].iter().filter(|class| state.left[**class] > 0);
            if open().all(|class| !used[*class]) {
                open().for_each(|class| used[*class] = true);
                sum += state.lacking[need];
            }
        }
        sum.max(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn need(candidates: &[&str], lacking: usize) -> Need {
        Need { candidates: candidates.iter().map(Login::new).collect(), lacking }
    }

    fn check(needs: &[Need], expect: &[&str]) {
        let cover = smallest(needs);
        assert_eq!((cover.people, cover.exact), (expect.iter().map(Login::new).collect(), true));
    }

    #[test]
    fn few_are_named() {
        check(&[], &[]);
        check(&[need(&["a", "b"], 0)], &[]);
        check(&[need(&["a", "b"], 2)], &["a", "b"]);
        check(&[need(&["a", "b"], 1), need(&["b", "c"], 1)], &["b"]);
        check(&[need(&["a", "b", "c"], 2), need(&["c", "d"], 1)], &["a", "c"]);
        check(&[need(&["b", "a"], 1)], &["a"]);
    }

    /// What a greedy choice gets wrong: the one who meets most needs is none of the two who suffice.
    #[test]
    fn the_greedy_answer_is_improved() {
        let needs: Vec<Need> = (0..6)
            .map(|n| {
                let side = if n < 3 { "left" } else { "right" };
                if n % 3 < 2 { need(&[side, "most"], 1) } else { need(&[side], 1) }
            })
            .collect();
        check(&needs, &["left", "right"]);
    }

    #[test]
    fn large_teams_are_one_class() {
        let team = |start: usize| {
            (start..start + 1_000).map(|n| Login::new(format!("p{n:05}"))).collect::<BTreeSet<Login>>()
        };
        let needs: Vec<Need> = (0..40).map(|n| Need { candidates: team(n * 500), lacking: 2 }).collect();
        let cover = smallest(&needs);
        assert!(cover.exact);
        assert_eq!(cover.people.len(), 40);
    }

    /// Built so that no bound prunes it soon: the answer comes all the same, and says what it is.
    #[test]
    fn a_search_without_end_is_given_up_and_told() {
        let mut seed = 7_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let needs: Vec<Need> = (0..300)
            .map(|_| Need {
                candidates: (0..5).map(|_| Login::new(format!("p{}", random(150)))).collect(),
                lacking: 1,
            })
            .collect();
        let cover = smallest(&needs);
        assert!(!cover.exact);
        assert!(needs.iter().all(|need| need.candidates.iter().any(|name| cover.people.contains(name))));
    }

    /// By trying every set.
    fn brute_force(needs: &[Need], people: usize) -> usize {
        let meets = |set: u32| {
            needs.iter().all(|need| {
                let met = need
                    .candidates
                    .iter()
                    .filter(|name| set & (1 << name.as_str().parse::<u32>().unwrap()) != 0);
                met.count() >= need.lacking
            })
        };
        (0..1_u32 << people).filter(|set| meets(*set)).map(u32::count_ones).min().unwrap() as usize
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_set_is_smaller(
            sets in proptest::collection::vec((proptest::collection::btree_set(0..9_u32, 0..6), 0..4_usize), 0..9),
        ) {
            let needs: Vec<Need> = sets
                .into_iter()
                .map(|(set, lacking)| Need {
                    lacking: lacking.min(set.len()),
                    candidates: set.into_iter().map(|n| Login::new(n.to_string())).collect(),
                })
                .collect();
            let cover = smallest(&needs);
            prop_assert!(cover.exact);
            for need in &needs {
                let met = need.candidates.iter().filter(|name| cover.people.contains(name)).count();
                prop_assert!(met >= need.lacking, "{need:?} by {:?}", cover.people);
            }
            prop_assert_eq!(cover.people.len(), brute_force(&needs, 9));
        }
    }
}
