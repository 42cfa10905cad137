//! What the limiter costs a request: one busy key, many keys, a refusal, a full table, and the key itself.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gateway::limit::{Key, Limiter, Quota, REQUESTS_MAX};
use std::cell::{LazyCell, RefCell};
use std::hint::black_box;

const SEED: u64 = 7;
/// One clock step every so many requests, as at a million requests a second.
const REQUESTS_PER_MS: u64 = 1_000;
const BATCH: u64 = 64;

fn open_quota() -> Quota {
    Quota { requests: REQUESTS_MAX, window_ms: 1_000 }
}

/// Asks for the keys in turn, time going on as it would under load.
fn ask(limiter: &RefCell<Limiter>, keys: &[Key], asked: &mut u64) {
    let mut limiter = limiter.borrow_mut();
    for _ in 0..BATCH {
        *asked += 1;
        let key = keys[*asked as usize % keys.len()];
        black_box(limiter.allow(black_box(key), 1_000_000 + *asked / REQUESTS_PER_MS));
    }
}

fn keys(count: u32) -> Vec<Key> {
    (0..count).map(|n| Key::new(SEED, &n.to_be_bytes())).collect()
}

fn allow(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit");
    group.throughput(Throughput::Elements(BATCH));
    for (name, quota) in [("allow", open_quota()), ("refuse", Quota { requests: 1, window_ms: 86_400_000 })] {
        let limiter = LazyCell::new(move || RefCell::new(Limiter::new(quota, 1_024)));
        let keys = keys(1);
        let mut asked = 0;
        group.bench_function(name, |b| b.iter(|| ask(&limiter, &keys, &mut asked)));
    }
    group.finish();
}

fn many_keys(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit/many_keys");
    group.throughput(Throughput::Elements(BATCH));
    for count in [1_000, 50_000] {
        let state = LazyCell::new(move || (RefCell::new(Limiter::new(open_quota(), 1 << 17)), keys(count)));
        let mut asked = 0;
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            let (limiter, keys) = &*state;
            b.iter(|| ask(limiter, keys, &mut asked));
        });
    }
    group.finish();
}

/// More keys than places: every request of a new key puts another out.
fn evict(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit");
    group.throughput(Throughput::Elements(BATCH));
    let state = LazyCell::new(|| (RefCell::new(Limiter::new(open_quota(), 1_024)), keys(20_000)));
    let mut asked = 0;
    group.bench_function("evict", |b| {
        let (limiter, keys) = &*state;
        b.iter(|| ask(limiter, keys, &mut asked));
    });
    group.finish();
}

fn key(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit/key");
    group.throughput(Throughput::Elements(BATCH));
    let cases = [("address", "203.0.113."), ("token", "Bearer 0123456789abcdef0123456789abcdef-")];
    for (name, start) in cases {
        let names: Vec<String> = (0..BATCH).map(|n| format!("{start}{n}")).collect();
        group.bench_function(name, |b| {
            b.iter(|| {
                for name in &names {
                    black_box(Key::new(SEED, black_box(name).as_bytes()));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, allow, many_keys, evict, key);
criterion_main!(benches);
