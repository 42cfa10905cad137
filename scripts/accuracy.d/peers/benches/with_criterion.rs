use criterion::{criterion_group, criterion_main, Criterion};

fn all(c: &mut Criterion) {
    for mut work in peers::all() {
        c.bench_function(work.name, |b| b.iter(|| (work.run)()));
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
