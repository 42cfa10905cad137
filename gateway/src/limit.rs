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
//! **Memory.** The table holds a fixed number of keys. A new key in a full set takes the place of the one
//! that has asked least in the last window, which then starts from nothing: the bound holds per key for as
//! long as it is held. A key is known by a 64-bit hash with a secret seed, so a sender cannot choose two
//! that share a counter; among 100,000 keys two share one by chance with a probability under 3 in 10^10.

use std::hash::{DefaultHasher, Hasher};

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

    /// Which of `shards` limiters this key belongs to. Uses bits that the table does not.
    pub fn shard(self, shards: usize) -> usize {
        (self.0 >> 48) as usize % shards
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allowed {
        remaining: u32,
    },
    /// One request of this key will be admitted this long from now, if no other of it comes first.
    Limited {
        retry_after_ms: u64,
    },
}

/// Counters of many keys under one quota.
#[derive(Debug)]
pub struct Limiter {
    quota: Quota,
    /// Sets of [`WAYS`] counters; a key can be in any place of its one set.
    counters: Box<[Counter]>,
    /// The number of sets less one; a power of two less one.
    set_mask: usize,
}

/// What is known of a key. `key` is 0 in a free place.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    key: u64,
    window: u64,
    previous: u32,
    current: u32,
}

/// Counters in a set: eight are three cache lines, and enough that sets fill evenly.
const WAYS: usize = 8;

impl Limiter {
    /// Room for `keys` keys, rounded up to a power of two, and eight at least.
    pub fn new(quota: Quota, keys: usize) -> Limiter {
        let places = keys.next_power_of_two().max(WAYS);
        Limiter {
            quota,
            counters: vec![Counter::default(); places].into_boxed_slice(),
            set_mask: places / WAYS - 1,
        }
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
        let Quota { requests, window_ms } = self.quota;
        let (limit, length) = (u64::from(requests), u64::from(window_ms));
        let counter = self.counter(key, now_ms / length);

        let gone = now_ms.saturating_sub(counter.window * length).min(length);
        let carried = u64::from(counter.previous) * (length - gone);
        let used = carried + u64::from(counter.current) * length;
        let room = limit * length;
        if used + length > room {
            return Decision::Limited { retry_after_ms: retry_after(counter, limit, length, gone) };
        }
        counter.current += 1;
        Decision::Allowed { remaining: ((room - used) / length - 1) as u32 }
    }

    /// The counter of a key, moved on to `window`.
    fn counter(&mut self, key: Key, window: u64) -> &mut Counter {
        let start = (key.0 as usize & self.set_mask) * WAYS;
        let set = &mut self.counters[start..start + WAYS];
        let place = match set.iter().position(|counter| counter.key == key.0) {
            Some(place) => place,
            None => {
                let place = least_used(set, window);
                set[place] = Counter { key: key.0, window, previous: 0, current: 0 };
                place
            }
        };
        let counter = &mut set[place];
        if counter.window < window {
            let follows = counter.window + 1 == window;
            counter.previous = if follows { counter.current } else { 0 };
            counter.current = 0;
            counter.window = window;
        }
        counter
    }
}

/// The place whose loss costs least: a free one, else the one with the fewest recent requests.
fn least_used(set: &[Counter], window: u64) -> usize {
    let recent = |counter: &Counter| match window.saturating_sub(counter.window) {
        _ if counter.key == 0 => 0,
        0 => 2 + u64::from(counter.previous) + u64::from(counter.current),
        1 => 2 + u64::from(counter.current),
        _ => 1,
    };
    (0..set.len()).min_by_key(|place| recent(&set[*place])).unwrap_or(0)
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
