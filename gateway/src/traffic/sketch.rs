//! The most frequent names of a stream, by the Space-Saving algorithm (Metwally, Agrawal and El Abbadi, 2005): a name
//! that is new takes the place of the rarest, and its count with it. Pure.
//!
//! With `m` places, every name that is more than one in `m` of all is among them, and no count is too high by more than
//! one `m`th of all; of what several have counted, two in `m`.

use super::NAMES_MAX;
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(super) struct Sketch {
    counted: Vec<Counted>,
    places: HashMap<Box<str>, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) name: Box<str>,
    /// No fewer than there were, and by no more than `over` too many.
    pub(super) requests: u64,
    pub(super) over: u64,
    /// Of the answers that were counted under this name alone.
    pub(super) bytes: u64,
}

impl Sketch {
    pub(super) fn count(&mut self, name: &str, bytes: u64) {
        self.add(name, Counted { name: Box::default(), requests: 1, over: 0, bytes });
    }

    /// Adds what another has counted of other requests.
    pub(super) fn merge(&mut self, other: Sketch) {
        // What one does not have may have been there as often as its rarest.
        let (ours, theirs) = (self.floor(), other.floor());
        for counted in &mut self.counted {
            if !other.places.contains_key(&counted.name) {
                counted.requests += theirs;
                counted.over += theirs;
            }
        }
        let mut others = other.counted;
        others.sort_by_key(|counted| std::cmp::Reverse(counted.requests));
        let mut all = std::mem::take(&mut self.counted);
        for counted in others {
            match self.places.get(&counted.name) {
                Some(place) => {
                    let known = &mut all[*place];
                    known.requests += counted.requests;
                    known.over += counted.over;
                    known.bytes += counted.bytes;
                }
                None => all.push(Counted {
                    requests: counted.requests + ours,
                    over: counted.over + ours,
                    ..counted
                }),
            }
        }
        all.sort_by_key(|counted| std::cmp::Reverse(counted.requests));
        all.truncate(NAMES_MAX);
        self.places = all.iter().enumerate().map(|(place, counted)| (counted.name.clone(), place)).collect();
        self.counted = all;
    }

    /// The most frequent first.
    pub(super) fn top(&self, most: usize) -> Vec<&Counted> {
        let mut all: Vec<&Counted> = self.counted.iter().collect();
        all.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.name.cmp(&b.name)));
        all.truncate(most);
        all
    }

    fn add(&mut self, name: &str, more: Counted) {
        if let Some(place) = self.places.get(name) {
            let known = &mut self.counted[*place];
            known.requests += more.requests;
            known.bytes += more.bytes;
            return;
        }
        if self.counted.len() < NAMES_MAX {
            self.places.insert(name.into(), self.counted.len());
            self.counted.push(Counted { name: name.into(), ..more });
            return;
        }
        let rarest = self.counted.iter().enumerate().min_by_key(|(_, counted)| counted.requests);
        let Some((place, _)) = rarest else { return };
        let before = &mut self.counted[place];
        self.places.remove(&before.name);
        self.places.insert(name.into(), place);
        let over = before.requests;
        *before = Counted { name: name.into(), requests: over + more.requests, over, bytes: more.bytes };
    }

    /// How often a name may have come that is not here.
    fn floor(&self) -> u64 {
        match self.counted.len() {
            NAMES_MAX => self.counted.iter().map(|counted| counted.requests).min().unwrap_or(0),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counted(names: impl IntoIterator<Item = u32>) -> (Sketch, HashMap<String, u64>) {
        let (mut sketch, mut exact) = (Sketch::default(), HashMap::new());
        for name in names {
            sketch.count(&name.to_string(), 1);
            *exact.entry(name.to_string()).or_default() += 1;
        }
        (sketch, exact)
    }

    #[track_caller]
    fn holds(sketch: &Sketch, exact: &HashMap<String, u64>, parts: u64) {
        let all: u64 = exact.values().sum();
        assert!(sketch.counted.len() <= NAMES_MAX && sketch.places.len() == sketch.counted.len());
        for counted in &sketch.counted {
            let is = exact.get(&*counted.name).copied().unwrap_or_default();
            assert!(counted.requests >= is && counted.requests - counted.over <= is, "{counted:?} is {is}");
        }
        for (name, is) in exact.iter().filter(|(_, is)| **is > parts * all / NAMES_MAX as u64) {
            assert!(sketch.places.contains_key(&**name), "{name} came {is} times of {all}");
        }
    }

    #[test]
    fn few_names_are_counted_exactly() {
        let (sketch, exact) = counted([1, 2, 1, 3, 1, 2]);
        let top: Vec<_> =
            sketch.top(2).iter().map(|counted| (&*counted.name, counted.requests, counted.over)).collect();
        assert_eq!(top, [("1", 3, 0), ("2", 2, 0)]);
        holds(&sketch, &exact, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn the_frequent_ones_are_found(
            first in prop::collection::vec((0u32..8, 0u32..4000), 0..3000),
            second in prop::collection::vec((0u32..8, 0u32..4000), 0..3000),
        ) {
            // Half of them are of a few names, and half of very many.
            let names = |pairs: &[(u32, u32)]| pairs.iter().map(|(few, many)| if many.is_multiple_of(2) { *few } else { 100 + many }).collect::<Vec<_>>();
            let (mut sketch, mut exact) = counted(names(&first));
            holds(&sketch, &exact, 1);
            let (other, more) = counted(names(&second));
            holds(&other, &more, 1);
            sketch.merge(other);
            for (name, count) in more {
                *exact.entry(name).or_default() += count;
            }
            holds(&sketch, &exact, 2);
        }
    }
}
