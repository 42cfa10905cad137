//! Stacks of functions, each with what was counted of it. Pure.

use std::collections::{BTreeMap, HashMap};

/// Different stacks of one profile; what is beyond counts as one.
const STACKS_MAX: usize = 20_000;
const OTHERS: &str = "[other stacks]";

/// The values of a profile, `N` for each stack.
#[derive(Debug)]
pub(super) struct Stacks<const N: usize> {
    pub(super) names: Vec<String>,
    places: HashMap<String, u32>,
    /// By the names' places, the outermost function first.
    counts: BTreeMap<Vec<u32>, [u64; N]>,
}

impl<const N: usize> Default for Stacks<N> {
    fn default() -> Self {
        Stacks { names: Vec::new(), places: HashMap::new(), counts: BTreeMap::new() }
    }
}

impl<const N: usize> Stacks<N> {
    /// The place of a function.
    pub(super) fn place(&mut self, name: &str) -> u32 {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.places.insert(name.to_owned(), place);
        place
    }

    /// `stack` has the places of its functions, the outermost first.
    pub(super) fn add(&mut self, mut stack: Vec<u32>, values: [u64; N]) {
        if self.counts.len() >= STACKS_MAX && !self.counts.contains_key(&stack) {
            stack = vec![self.place(OTHERS)];
        }
        let counts = self.counts.entry(stack).or_insert([0; N]);
        counts.iter_mut().zip(values).for_each(|(count, value)| *count = count.saturating_add(value));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u32], &[u64; N])> {
        self.counts.iter().map(|(stack, values)| (&stack[..], values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_added_up_to_a_bound() {
        let mut stacks = Stacks::<1>::default();
        let (a, b) = (stacks.place("a"), stacks.place("b"));
        assert_eq!((a, b, stacks.place("a")), (0, 1, 0));
        stacks.add(vec![a, b], [1]);
        stacks.add(vec![a, b], [2]);
        assert_eq!(stacks.iter().collect::<Vec<_>>(), [(&[0, 1][..], &[3])]);
        (0..STACKS_MAX as u32 + 9).for_each(|n| stacks.add(vec![n, n, n], [1]));
        assert_eq!(stacks.iter().count(), STACKS_MAX + 1);
        let others = stacks.place(OTHERS);
        assert!(stacks.iter().any(|(stack, values)| stack == [others] && *values == [10]));
        assert_eq!(stacks.iter().map(|(_, values)| values[0]).sum::<u64>(), 3 + STACKS_MAX as u64 + 9);
    }
}
