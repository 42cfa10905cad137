//! The limiter by cases, and its bound against all requests that it admitted.

use super::*;
use proptest::prelude::*;

const SEED: u64 = 7;

fn limiter(requests: u32, window_ms: u32, keys: usize) -> Limiter {
    Limiter::new(Quota { requests, window_ms }, keys)
}

fn key(n: u32) -> Key {
    Key::new(SEED, &n.to_le_bytes())
}

fn limited(limiter: &mut Limiter, key: Key, now_ms: u64) -> Option<u64> {
    match limiter.allow(key, now_ms) {
        Decision::Allowed => None,
        Decision::Limited { retry_after_ms } => Some(retry_after_ms),
    }
}

#[test]
fn a_window_admits_its_quota() {
    let mut limiter = limiter(3, 1000, 8);
    for _ in 0..3 {
        assert_eq!(limiter.allow(key(1), 10_100), Decision::Allowed);
    }
    // Full until the next window, and there until a third of it is gone.
    assert_eq!(limiter.allow(key(1), 10_100), Decision::Limited { retry_after_ms: 900 + 334 });
    assert_eq!(limiter.allow(key(2), 10_100), Decision::Allowed);
}

#[test]
fn the_window_before_fades() {
    let mut limiter = limiter(10, 1000, 8);
    for _ in 0..10 {
        assert_eq!(limited(&mut limiter, key(1), 5_999), None);
    }
    assert_eq!(limited(&mut limiter, key(1), 6_000), Some(100));
    assert_eq!(limited(&mut limiter, key(1), 6_500), None);
    for _ in 0..4 {
        assert_eq!(limited(&mut limiter, key(1), 6_500), None);
    }
    assert_eq!(limited(&mut limiter, key(1), 6_500), Some(100));
    assert_eq!(limiter.allow(key(1), 8_000), Decision::Allowed);
}

#[test]
fn a_clock_that_steps_back_admits_nothing_more() {
    let mut limiter = limiter(2, 1000, 8);
    assert_eq!(limited(&mut limiter, key(1), 5_000), None);
    assert_eq!(limited(&mut limiter, key(1), 3_000), None);
    assert!(limited(&mut limiter, key(1), 2_000).is_some());
    assert!(limited(&mut limiter, key(1), 5_000).is_some());
}

#[test]
fn the_table_stays_small_and_keeps_the_busiest() {
    let mut limiter = limiter(100, 1000, 8);
    for _ in 0..100 {
        assert_eq!(limited(&mut limiter, key(0), 1_000), None);
    }
    for stranger in 1..5_000 {
        assert_eq!(limiter.allow(key(stranger), 1_100), Decision::Allowed);
    }
    assert_eq!(limiter.counters.len(), 8);
    assert!(limited(&mut limiter, key(0), 1_200).is_some(), "the busiest key was not forgotten");
}

#[test]
fn the_table_grows_before_it_forgets() {
    let mut limiter = limiter(2, 1000, 16_384);
    assert_eq!(limiter.counters.len(), PLACES_AT_FIRST);
    for _ in 0..2 {
        for n in 0..2_000 {
            assert_eq!(limited(&mut limiter, key(n), 1_000), None);
        }
    }
    for n in 0..2_000 {
        assert!(limited(&mut limiter, key(n), 1_999).is_some(), "key {n} was forgotten");
    }
    let places = limiter.counters.len();
    for n in 2_000..2_500 {
        assert_eq!(limited(&mut limiter, key(n), 9_000), None);
    }
    assert_eq!(limiter.counters.len(), places, "old counters make room for new ones");
}

#[test]
fn the_quota_can_change_and_the_counts_stay() {
    let mut limiter = limiter(5, 1000, 8);
    for _ in 0..3 {
        assert_eq!(limited(&mut limiter, key(1), 1_000), None);
    }
    limiter.set_requests(3);
    assert!(limited(&mut limiter, key(1), 1_000).is_some());
    limiter.set_requests(4);
    assert_eq!(limiter.allow(key(1), 1_000), Decision::Allowed);
}

#[test]
fn the_largest_quota_does_not_overflow() {
    let mut limiter = limiter(REQUESTS_MAX, WINDOW_MAX_MS, 8);
    let window = u64::from(WINDOW_MAX_MS);
    limiter.allow(key(1), window);
    let place = limiter.counters.iter().position(|counter| counter.key != 0).expect("one key");
    limiter.counters[place].current = REQUESTS_MAX;
    assert_eq!(limited(&mut limiter, key(1), window), Some(window + 1));
    assert!(limited(&mut limiter, key(1), 2 * window).is_some());
}

#[test]
fn keys_depend_on_the_seed() {
    assert_ne!(Key::new(1, b"10.0.0.1"), Key::new(2, b"10.0.0.1"));
    assert_ne!(Key::new(1, b"10.0.0.1"), Key::new(1, b"10.0.0.2"));
    assert_eq!(Key::new(1, b"10.0.0.1"), Key::new(1, b"10.0.0.1"));
}

proptest! {
    /// The bound of the module's first lines, over every interval between two admitted requests.
    #[test]
    fn no_interval_admits_more_than_its_bound(
        requests in 1u32..12,
        window_ms in 1u32..200,
        steps in prop::collection::vec(0u64..60, 1..300),
    ) {
        let mut limiter = limiter(requests, window_ms, 8);
        let mut now_ms = 1_000;
        let mut admitted = Vec::new();
        for step in steps {
            now_ms += step;
            if limited(&mut limiter, key(1), now_ms).is_none() {
                admitted.push(now_ms);
            }
        }
        for (first, from) in admitted.iter().enumerate() {
            for (last, to) in admitted.iter().enumerate().skip(first) {
                let (count, length) = ((last - first + 1) as u64, to - from);
                if length < u64::from(window_ms) {
                    prop_assert!(
                        count * u64::from(window_ms) <= u64::from(requests) * (u64::from(window_ms) + length),
                        "{count} in {length} ms"
                    );
                }
            }
        }
    }

    /// Waiting as long as told is enough, and a millisecond less is not.
    #[test]
    fn the_wait_is_exact(
        requests in 1u32..12,
        window_ms in 1u32..200,
        steps in prop::collection::vec(0u64..60, 1..100),
    ) {
        let mut limiter = limiter(requests, window_ms, 8);
        let mut now_ms = 1_000;
        for step in steps {
            now_ms += step;
            if let Some(wait_ms) = limited(&mut limiter, key(1), now_ms) {
                prop_assert!(wait_ms > 0);
                prop_assert!(limited(&mut limiter, key(1), now_ms + wait_ms - 1).is_some());
                now_ms += wait_ms;
                prop_assert_eq!(limited(&mut limiter, key(1), now_ms), None);
            }
        }
    }

    /// A key that asks evenly and no faster than its quota is never refused.
    #[test]
    fn even_traffic_within_the_quota_passes(requests in 1u32..50, spacing_ms in 1u32..40, start in 0u64..5_000) {
        let mut limiter = limiter(requests + 1, requests * spacing_ms, 8);
        for n in 0..300 {
            prop_assert_eq!(limited(&mut limiter, key(1), start + n * u64::from(spacing_ms)), None);
        }
    }
}
