//! What the breaker costs a request: closed, open, and through a whole cycle.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gateway::breaker::{Admission, Breaker, Outcome, Rule};
use std::hint::black_box;

const RULE: Rule = Rule::in_a_row(5, 1_000, 3);
const BATCH: u64 = 64;

fn ask(breaker: &mut Breaker, outcome: Outcome, now_ms: u64) {
    match breaker.admit(black_box(now_ms)) {
        Admission::Pass(permit) => {
            black_box(breaker.settle(permit, outcome, now_ms));
        }
        refused => {
            black_box(refused);
        }
    }
}

fn breaker(c: &mut Criterion) {
    let mut group = c.benchmark_group("breaker");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("closed", |b| {
        let mut breaker = Breaker::new(RULE);
        b.iter(|| {
            for now_ms in 0..BATCH {
                ask(&mut breaker, black_box(Outcome::Success), now_ms);
            }
        });
    });
    group.bench_function("open", |b| {
        let mut breaker = Breaker::new(RULE);
        for _ in 0..RULE.failures {
            ask(&mut breaker, Outcome::Failure, 0);
        }
        b.iter(|| {
            for now_ms in 0..BATCH {
                ask(&mut breaker, black_box(Outcome::Success), now_ms);
            }
        });
    });
    // Five failures open it, three refusals follow, three trials close it, and so on.
    group.bench_function("cycle", |b| {
        let mut breaker = Breaker::new(RULE);
        let mut now_ms = 0;
        b.iter(|| {
            for n in 0..BATCH {
                let outcome = if n % 11 < 8 { Outcome::Failure } else { Outcome::Success };
                now_ms += if n % 11 == 8 { 1_000 } else { 0 };
                ask(&mut breaker, black_box(outcome), now_ms);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, breaker);
criterion_main!(benches);
