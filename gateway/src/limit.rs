//! How often a key may ask: a sliding window counter per key, in a table of fixed size.
//!
//! Pure: the time comes in as a number, and no clock is read here.
//!
//! **Estimate.** Time is cut into windows of length `W`. A key has the count of the current window, `c`,
//! and of the one before, `p`. With a fraction `f` of the current window gone, `p * (1 - f) + c` stands
//! for the requests of the last `W`, and one more is admitted while it keeps that sum within the limit `L`.
//!
//! **Bound.** Let `t <= W` be any length of time. At most `L * (1 + t / W)` requests of one key are
//! admitted in any interval of that length, which is the bound of a token bucket of size `L` filled at
//! `L / W`; and at most `L` in a window. Proof: the last of `b` requests admitted in the current window, at
//! fraction `f`, had `p * (1 - f) + b <= L`, so `p + b <= L + p * f`, with `p <= L` and `f <= t / W`.
//! Under even traffic the estimate is exact; no refused request is ever counted.
//!
//! **Memory.** The table grows with the keys of a window up to a bound. At the bound a new key in a full set
//! takes the place of the one that has asked least lately, which then starts from nothing: the bound on
//! requests holds for a key for as long as it is held. A key is known by a 64-bit hash with a secret seed, so a sender cannot choose two
//! that share a counter; among 100,000 keys two share one by chance with a probability under 3 in 10^10.

use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;

/// The largest limit. With the longest window it keeps every product below within 64 bits.
pub const REQUESTS_MAX: u32 = 1_000_000_000;
/// A day. A longer quota wants to survive a restart, which this table does not.
pub const WINDOW_MAX_MS: u32 = 24 * 60 * 60 * 1000;

/// At most `requests` per `window_ms`, both at least 1 and within their bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub requests: u32,
    pub window_ms: u32,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// The seed is a secret of the process; without one a sender could search for keys that collide.
    pub fn new(seed: u64, who: &[u8]) -> Key {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(seed);
        hasher.write(who);
        // Zero marks a free place in the table.
        Key(hasher.finish().max(1))
    }

    /// The hash itself: a number that tells nothing of the seed.
    pub fn mixed(self) -> u64 {
        self.0
    }

    /// Which of `shards` limiters this key belongs to. Uses bits that the table does not.
    pub fn shard(self, shards: usize) -> usize {
        (self.0 >> 48) as usize % shards
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allowed,
    /// One request of this key will be admitted this long from now, if no other of it comes first.
    Limited {
        retry_after_ms: u64,
    },
}

/// Counters of many keys under one quota.
#[derive(Debug)]
pub struct Limiter {
    quota: Quota,
    /// Sets of [`WAYS`] counters; a key can be in any place of its one set. The number of sets is a power
    /// of two.
    counters: Vec<Counter>,
    places_max: usize,
}

/// What is known of a key; `key` is 0 in a free place. Windows start at multiples of their length, so a
/// counter that is in its window needs no division.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    key: u64,
    start_ms: u64,
    previous: u32,
    current: u32,
}

/// Counters in a set: eight are three cache lines, and enough that sets fill evenly.
const WAYS: usize = 8;
/// Where a table begins: a route that few ask for costs little.
const PLACES_AT_FIRST: usize = 64;

impl Limiter {
    /// Room for at most `keys` keys, rounded up to a power of two, and for eight at least.
    pub fn new(quota: Quota, keys: usize) -> Limiter {
        let places_max = keys.next_power_of_two().max(WAYS);
        let counters = vec![Counter::default(); places_max.min(PLACES_AT_FIRST)];
        Limiter { quota, counters, places_max }
    }

    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Another number of requests in the same window; the counts stay.
    pub fn set_requests(&mut self, requests: u32) {
        self.quota.requests = requests;
    }

    /// Decides about one request and counts it if it is admitted. A clock that steps back is taken to
    /// stand still.
    pub fn allow(&mut self, key: Key, now_ms: u64) -> Decision {
        let (limit, length) = (u64::from(self.quota.requests), u64::from(self.quota.window_ms));
        let counter = self.counter(key, now_ms);

        let gone = now_ms.saturating_sub(counter.start_ms);
        let carried = u64::from(counter.previous) * (length - gone);
        let counted = (u64::from(counter.current) + 1) * length;
        if carried + counted > limit * length {
            return Decision::Limited { retry_after_ms: retry_after(counter, limit, length, gone) };
        }
        counter.current += 1;
        Decision::Allowed
    }

    /// The counter of a key, moved on to the window of `now_ms`.
    fn counter(&mut self, key: Key, now_ms: u64) -> &mut Counter {
        let length = u64::from(self.quota.window_ms);
        let set = self.set_of(key.0);
        let place = match self.counters[set.clone()].iter().position(|counter| counter.key == key.0) {
            Some(place) => set.start + place,
            None => self.place_for(key, now_ms),
        };
        let counter = &mut self.counters[place];
        let since_start = now_ms.saturating_sub(counter.start_ms);
        if since_start >= length {
            counter.previous = if since_start < 2 * length { counter.current } else { 0 };
            counter.current = 0;
            counter.start_ms = now_ms - now_ms % length;
        }
        counter
    }

    fn set_of(&self, key: u64) -> Range<usize> {
        let first = (key as usize).wrapping_mul(WAYS) & (self.counters.len() - 1);
        first..first + WAYS
    }

    /// A place for a new key; makes the table larger before it forgets a key that has asked lately.
    #[cold]
    fn place_for(&mut self, key: Key, now_ms: u64) -> usize {
        let length = u64::from(self.quota.window_ms);
        loop {
            let set = self.set_of(key.0);
            let (place, asked) = least_asking(&self.counters[set.clone()], now_ms, length);
            if asked == 0 || self.counters.len() == self.places_max {
                let start_ms = now_ms - now_ms % length;
                self.counters[set.start + place] = Counter { key: key.0, start_ms, previous: 0, current: 0 };
                return set.start + place;
            }
            self.grow();
        }
    }

    fn grow(&mut self) {
        let larger = vec![Counter::default(); self.counters.len() * 2];
        let smaller = std::mem::replace(&mut self.counters, larger);
        for counter in smaller.into_iter().filter(|counter| counter.key != 0) {
            let set = self.set_of(counter.key);
            // Every set becomes two, so there is a free place in each.
            if let Some(free) = self.counters[set].iter_mut().find(|free| free.key == 0) {
                *free = counter;
            }
        }
    }
}

/// The place whose loss costs least, and the requests that it still counts: none where it is free or old.
fn least_asking(set: &[Counter], now_ms: u64, length: u64) -> (usize, u64) {
    let asked = |counter: &Counter| match now_ms.saturating_sub(counter.start_ms) {
        since if since < length => u64::from(counter.previous) + u64::from(counter.current),
        since if since < 2 * length => u64::from(counter.current),
        _ => 0,
    };
    let places = set.iter().map(asked).enumerate();
    places.min_by_key(|(_, asked)| *asked).unwrap_or((0, 0))
}

/// How long until the estimate has room for one more, from `gone` ms into the counter's window.
fn retry_after(counter: &Counter, limit: u64, length: u64, gone: u64) -> u64 {
    let (previous, current) = (u64::from(counter.previous), u64::from(counter.current));
    if current < limit {
        // Still in this window: previous * (length - at) <= (limit - current - 1) * length.
        let at = length.saturating_sub((limit - current - 1) * length / previous.max(1));
        at.saturating_sub(gone)
    } else {
        // In the next one, where `current` is the count before: current * (length - at) <= (limit - 1) * length.
        let at = length.saturating_sub((limit - 1) * length / current.max(1));
        length - gone + at
    }
}

#[cfg(test)]
mod tests;
