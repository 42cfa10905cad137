//! Which instance of an upstream is asked next.
//!
//! Pure: what there is to know of the instances comes in, and chance comes in as a number.

/// What is known of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its place in the upstream's list.
    pub place: usize,
    /// Never 0; less than its own while it starts slowly.
    pub weight: u32,
    /// Requests under way.
    pub in_flight: u64,
    /// A number of its own that stays as long as the instance does.
    pub identity: u64,
}

/// In turns: strictly while all weights are alike, else in shares that are exact over a few hundred turns.
pub fn in_turn(candidates: &[Candidate], turn: u64) -> Option<usize> {
    let first = candidates.first()?;
    if candidates.iter().all(|candidate| candidate.weight == first.weight) {
        return Some(candidates[(turn % candidates.len() as u64) as usize].place);
    }
    let total: u64 = candidates.iter().map(|candidate| u64::from(candidate.weight)).sum();
    // Multiples of the golden ratio spread over the shares as evenly as a sequence can.
    let fraction = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    by_weight(candidates, scale(fraction, total))
}

/// Of two by chance, the one with fewer requests under way for its weight: within a small factor of the best
/// choice of all, and without the herd that all choosing the best would make.
pub fn least_requests(candidates: &[Candidate], chance: u64) -> Option<usize> {
    let count = candidates.len() as u64;
    if count < 2 {
        return candidates.first().map(|candidate| candidate.place);
    }
    let first = scale(chance << 32, count);
    let second = (first + 1 + scale(chance & 0xffff_ffff_0000_0000, count - 1)) % count;
    let (a, b) = (candidates[first as usize], candidates[second as usize]);
    let load = |of: Candidate, other: Candidate| (of.in_flight + 1) * u64::from(other.weight);
    Some(if load(b, a) < load(a, b) { b.place } else { a.place })
}

/// The same instance for the same key, as long as it is there: each draws a number for the key, and the largest
/// wins (rendezvous hashing). An instance that goes takes only its own keys along.
pub fn by_key(candidates: &[Candidate], key: u64) -> Option<usize> {
    let draw = |candidate: &Candidate| {
        let drawn = mix(key ^ mix(candidate.identity));
        // In (0, 1]; with weights, the logarithm makes the shares exact.
        let uniform = ((drawn >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        -f64::from(candidate.weight) / uniform.ln().min(-f64::MIN_POSITIVE)
    };
    let best = candidates.iter().max_by(|a, b| draw(a).total_cmp(&draw(b)));
    best.map(|candidate| candidate.place)
}

/// One of several shares, by weight; `chance` is any number. None when no share has a weight.
pub fn share(weights: impl Iterator<Item = u32> + Clone, chance: u64) -> Option<usize> {
    let total: u64 = weights.clone().map(u64::from).sum();
    let mut left = scale(mix(chance), total);
    for (place, weight) in weights.enumerate() {
        let weight = u64::from(weight);
        if left < weight {
            return Some(place);
        }
        left -= weight;
    }
    None
}

fn by_weight(candidates: &[Candidate], mut point: u64) -> Option<usize> {
    for candidate in candidates {
        let weight = u64::from(candidate.weight);
        if point < weight {
            return Some(candidate.place);
        }
        point -= weight;
    }
    candidates.last().map(|candidate| candidate.place)
}

/// A number below `bound`, in proportion to where `number` lies among all.
fn scale(number: u64, bound: u64) -> u64 {
    ((u128::from(number) * u128::from(bound)) >> 64) as u64
}

/// Spreads a number over all bits (the finaliser of splitmix64).
pub fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The weight of an instance that came back a while ago: from a tenth of its own up to all of it.
pub fn slow_start(weight: u32, back_for_ms: u64, slow_start_ms: u64) -> u32 {
    // In hundredths, so that a small weight can be a part of itself.
    let full = weight * 100;
    if back_for_ms >= slow_start_ms {
        return full;
    }
    let part = u64::from(full) * back_for_ms / slow_start_ms;
    u32::try_from(part).unwrap_or(full).max(full / 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let candidate = |(place, weight): (usize, &u32)| Candidate {
            place,
            weight: *weight,
            in_flight: 0,
            identity: place as u64 * 7 + 1,
        };
        weights.iter().enumerate().map(candidate).collect()
    }

    /// How often each place is chosen in so many draws.
    fn counts(places: usize, draws: u64, choose: impl Fn(u64) -> Option<usize>) -> Vec<u64> {
        let mut counts = vec![0; places];
        (0..draws).for_each(|n| counts[choose(n).expect("a choice")] += 1);
        counts
    }

    #[test]
    fn turns_follow_the_weights() {
        assert_eq!(counts(3, 300, |n| in_turn(&candidates(&[2, 2, 2]), n)), [100, 100, 100]);
        let counts = counts(2, 1000, |n| in_turn(&candidates(&[3, 1]), n));
        assert!((745..=755).contains(&counts[0]), "{counts:?}");
        assert_eq!(in_turn(&[], 0), None);
    }

    #[test]
    fn the_less_busy_of_two_is_asked() {
        let mut busy = candidates(&[1, 1, 1]);
        busy[1].in_flight = 50;
        let counts = counts(3, 3000, |n| least_requests(&busy, mix(n + 1)));
        assert_eq!(counts[1], 0, "it is never the better of two");
        assert!(counts[0] > 1000 && counts[2] > 1000, "{counts:?}");
        let mut heavy = candidates(&[4, 1]);
        (heavy[0].in_flight, heavy[1].in_flight) = (5, 2);
        assert_eq!(least_requests(&heavy, 12345), Some(0));
    }

    #[test]
    fn keys_spread_by_weight() {
        let counts = counts(3, 30_000, |n| by_key(&candidates(&[1, 1, 2]), mix(n)));
        for (count, expect) in counts.iter().zip([7_500, 7_500, 15_000]) {
            assert!(count.abs_diff(expect) < 500, "{counts:?}");
        }
    }

    #[test]
    fn shares_follow_their_weights() {
        let counts = counts(3, 10_000, |n| share([9, 0, 1].into_iter(), n));
        assert_eq!(counts[1], 0);
        assert!(counts[2].abs_diff(1_000) < 150, "{counts:?}");
        assert_eq!(share([0].into_iter(), 1), None);
    }

    #[test]
    fn a_slow_start_grows() {
        assert_eq!([0, 500, 1000].map(|ms| slow_start(3, ms, 1000)), [30, 150, 300]);
        assert_eq!(slow_start(1, 0, 0), 100);
    }

    proptest! {
        #[test]
        fn an_instance_that_goes_takes_only_its_own_keys(
            weights in prop::collection::vec(1u32..5, 2..12),
            gone in 0usize..12,
            keys in prop::collection::vec(any::<u64>(), 1..50),
        ) {
            let all = candidates(&weights);
            let gone = gone % all.len();
            let rest: Vec<_> = all.iter().copied().filter(|candidate| candidate.place != gone).collect();
            for key in keys {
                let before = by_key(&all, key);
                if before != Some(gone) {
                    prop_assert_eq!(by_key(&rest, key), before);
                }
            }
        }
    }
}
