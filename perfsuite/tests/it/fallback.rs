//! Benches that lock-step cannot drive are left to criterion itself, and the report says so.

use crate::duet::on_criterion;
use crate::measure::{scene, stored, verdict_of};
use perfsuite::measure::measure;
use perfsuite::model::{Metric, Verdict};
use perfsuite::observe::Unobserved;
use perfsuite::sandbox::Preference;
#[test]
fn what_the_stand_in_does_not_offer_is_measured_with_criterion_itself() {
    const BENCH: &str = r#"
use criterion::{BenchmarkFilter, BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn work(c: &mut Criterion) {
    // The stand-in takes any regex, so that nothing says what this one is.
    let _of_criterion_alone = |regex| BenchmarkFilter::Regex(regex);
    let mut group = c.benchmark_group("sum (a|b) [1.5]");
    group.bench_function(BenchmarkId::from_parameter(300), |b| {
        b.iter(|| (0..black_box(fixture::ROUNDS)).fold(1u64, |sum, n| sum.rotate_left(7) ^ n))
    });
    group.finish();
}

criterion_group!(benches, work);
criterion_main!(benches);
"#;
    let Some(repository) = on_criterion(BENCH) else { return };
    let base = repository.commit("base");
    repository.write("src/lib.rs", "pub const ROUNDS: u64 = 900;\n");
    let head = repository.commit("head");
    let scene = scene(&repository, &base, &head, Preference::Auto);
    let (evidence, report) = stored(measure(&scene.job, &Unobserved).unwrap());
    assert_eq!(evidence.failures, []);
    let ids: Vec<_> = evidence.series.iter().map(|series| series.benchmark.0.as_str()).collect();
    assert_eq!(ids, ["sum (a|b) [1.5]/300"], "one benchmark, with letters that mean more to a filter");
    let row = &report.rows[0];
    assert_eq!(row.verdict, Verdict::Slower, "{row:?}");
    assert!((1.0..4.0).contains(&row.estimate), "three times the work: {row:?}");
    let words = report.environment.warnings.join("\n");
    assert!(words.contains("measured with criterion itself") && words.contains("BenchmarkFilter"), "{words}");
}

#[test]
fn a_measurement_of_its_own_is_left_to_criterion_itself() {
    const OWN: &str = r#"
use criterion::*;

struct Cycles;

impl measurement::Measurement for Cycles {
    type Intermediate = ();
    type Value = u64;
    fn start(&self) {}
    fn end(&self, (): ()) -> u64 { 1 }
    fn add(&self, a: &u64, b: &u64) -> u64 { a + b }
    fn zero(&self) -> u64 { 0 }
    fn to_f64(&self, value: &u64) -> f64 { *value as f64 }
    fn formatter(&self) -> &dyn measurement::ValueFormatter { self }
}

impl measurement::ValueFormatter for Cycles {
    fn scale_values(&self, _: f64, _: &mut [f64]) -> &'static str { "cycles" }
    fn scale_throughputs(&self, _: f64, _: &Throughput, _: &mut [f64]) -> &'static str { "cycles/s" }
    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str { "cycles" }
}

fn cycles(c: &mut Criterion<Cycles>) {
    c.bench_function("cycles", |b| {
        b.iter_custom(|iterations| {
            // Criterion warms up by the clock, whatever is measured.
            std::thread::sleep(std::time::Duration::from_micros(200));
            iterations * 12
        })
    });
}

fn time(c: &mut Criterion) {
    c.bench_function("time", |b| b.iter_custom(|n| std::time::Duration::from_nanos(n * HEAD)));
}

const HEAD: u64 = 10;

criterion_group!(plain, time);
criterion_group! {
    name = own;
    config = Criterion::default().with_measurement(Cycles);
    targets = cycles
}
criterion_main!(plain, own);
"#;
    let Some(repository) = on_criterion(OWN) else { return };
    let base = repository.commit("base");
    repository.write("benches/work.rs", &OWN.replace("HEAD: u64 = 10", "HEAD: u64 = 13"));
    let head = repository.commit("head");
    let scene = scene(&repository, &base, &head, Preference::Auto);
    let (evidence, report) = stored(measure(&scene.job, &Unobserved).unwrap());
    assert_eq!(report.failures, []);
    assert_eq!(verdict_of(&report, "time"), Some(Verdict::Slower), "{:?}", report.rows);
    let paired =
        |series: &perfsuite::model::Series| series.visits.iter().all(|visit| !visit.pairs.is_empty());
    let lock_step: Vec<_> =
        evidence.series.iter().map(|s| (s.benchmark.0.as_str(), s.metric, paired(s))).collect();
    assert!(lock_step.contains(&("time", Metric::Time, true)), "{lock_step:?}");
    assert!(lock_step.contains(&("cycles", Metric::Own, false)), "{lock_step:?}");
    assert_eq!(verdict_of(&report, "cycles"), Some(Verdict::Equal), "{:?}", report.rows);
    let words = report.environment.warnings.join("\n");
    assert!(words.contains("cycles has a measurement of its own"), "{words}");
}
