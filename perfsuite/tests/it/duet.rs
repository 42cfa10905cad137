//! Benches on criterion, unmodified, driven in lock-step with the stand-in.
//!
//! Benchmarks state their times by `iter_custom`, so that verdicts do not depend on the machine.

use crate::measure::{scene, stored, verdict_of};
use crate::repository::Repository;
use perfsuite::measure::{measure, measure_within};
use perfsuite::model::{Certainty, FailureReason, Metric, Side, Tool, Verdict};
use perfsuite::observe::Unobserved;
use perfsuite::sandbox::Preference;
use std::time::Duration;

const PROCESS_LIMIT: Duration = Duration::from_secs(10);

pub fn on_criterion(bench: &str) -> Option<Repository> {
    let repository = Repository::on_criterion(bench);
    if repository.is_none() {
        assert!(std::env::var_os("CI").is_none(), "criterion is not downloaded, and CI must not skip this");
        eprintln!("skipped: criterion is not downloaded");
    }
    repository
}

/// A bench whose benchmark `stated/*` take as long as they say; `HEAD` is 0 on the base.
const BENCH: &str = r##"
use criterion::*;
use std::time::Duration;

const HEAD: u64 = 0;

fn taking(ns: u64) -> impl FnMut(u64) -> Duration {
    move |iterations| Duration::from_nanos(iterations * ns)
}

fn stated(c: &mut Criterion) {
    let mut group = c.benchmark_group("stated");
    group.sample_size(10).throughput(Throughput::Elements(3)).sampling_mode(SamplingMode::Flat);
    group.bench_function("slower (a|b)", |b| b.iter_custom(taking(1_000 + 300 * HEAD)));
    group.bench_function("faster", |b| b.iter_custom(taking(1_000 - 200 * HEAD)));
    group.bench_with_input(BenchmarkId::new("same", 7), &7, |b, n| b.iter_custom(taking(*n)));
    group.bench_with_input(BenchmarkId::from_parameter("words"), "words", |b, words| {
        b.iter_custom(taking(words.len() as u64))
    });
    // Criterion keeps the value of the last call.
    group.bench_function("second of two", |b| {
        b.iter_custom(taking(5_000 * (1 + HEAD)));
        b.iter_custom(taking(700));
    });
    group.bench_function("talks", |b| {
        b.iter_custom(|iterations| {
            print!("no end of line ");
            println!("and one");
            Duration::from_nanos(iterations * 50)
        })
    });
    // Time that moves little, with the work and without it.
    for (name, more) in [("suspect, more work", 30), ("suspect, same work", 0)] {
        group.bench_function(name, |b| {
            b.iter_custom(|iterations| {
                for _ in 0..iterations {
                    black_box((0..black_box(100 + more * HEAD)).fold(1u64, |sum, n| sum.rotate_left(7) ^ n));
                }
                Duration::from_nanos(iterations * (1_000 + 50 * HEAD))
            })
        });
    }
    group.bench_function("more work, same time", |b| {
        b.iter_custom(|iterations| {
            for _ in 0..iterations {
                black_box((0..black_box(100 + 30 * HEAD)).fold(1u64, |sum, n| sum.rotate_left(7) ^ n));
            }
            Duration::from_nanos(iterations * 1_000)
        })
    });
    // Seeded at random: what a count is depends on them.
    group.bench_function("suspect, hashed", |b| {
        let map: std::collections::HashMap<u64, u64> = (0..500).map(|n| (n, n + HEAD)).collect();
        b.iter_custom(|iterations| {
            // So many that the few instructions by which a process differs from itself do not count.
            for n in 0..iterations * 200 {
                black_box(map.get(&black_box(n % 1_000)));
            }
            Duration::from_nanos(iterations * (1_000 + 50 * HEAD))
        })
    });
    group.bench_function("seeds", |b| {
        use std::hash::BuildHasher;
        let seeded = std::collections::hash_map::RandomState::new().hash_one(7) % 1_000;
        b.iter_custom(taking(1_000 + seeded))
    });
    group.bench_function("reads its input", |b| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        b.iter_custom(taking(40 + line.len() as u64))
    });
    group.bench_function("grows", |b| {
        let mut done = 0;
        b.iter_custom(move |iterations| {
            done += iterations;
            Duration::from_nanos(iterations * done)
        })
    });
    group.bench_function("has threads", |b| {
        b.iter_custom(|iterations| {
            std::thread::spawn(|| black_box(3)).join().unwrap();
            Duration::from_nanos(iterations * 60)
        })
    });
    group.bench_function("starts programs", |b| {
        b.iter_custom(|iterations| {
            // One of them is this one, which is not driven a second time.
            let own = std::env::current_exe().unwrap();
            assert!(!std::process::Command::new(own).arg("--bench").status().unwrap().success());
            Duration::from_nanos(iterations * 70)
        })
    });
    group.bench_function("forks", |b| {
        extern "C" {
            fn fork() -> i32;
        }
        b.iter_custom(|iterations| {
            unsafe { fork() };
            Duration::from_nanos(iterations * 80)
        })
    });
    group.bench_function("jumping clock", |b| {
        let mut batches = 0u64;
        b.iter_custom(|iterations| {
            batches += 1;
            let jumped = if batches % 7 == 3 { 1_000_000_000 } else { 0 };
            Duration::from_nanos(iterations * 90 + jumped)
        })
    });
    group.bench_function("allocates without end", |b| {
        b.iter_custom(|iterations| {
            let mut size = 1usize << 30;
            while HEAD == 1 {
                std::mem::forget(black_box(Vec::<u8>::with_capacity(size)));
                size *= 2;
            }
            Duration::from_nanos(iterations)
        })
    });
    let mut batches = 0;
    group.bench_function("panics", |b| {
        b.iter_custom(|iterations| {
            batches += 1;
            assert!(HEAD == 0 || batches < 4, "the fourth batch");
            Duration::from_nanos(iterations)
        })
    });
    group.bench_function("hangs", |b| {
        b.iter_custom(|iterations| {
            while HEAD == 1 {
                std::thread::sleep(Duration::from_secs(1));
            }
            Duration::from_nanos(iterations)
        })
    });
    group.bench_function("never iterates", |_| {});
    group.bench_function("one call less", |b| {
        if HEAD == 0 {
            b.iter_custom(taking(5));
        }
        b.iter_custom(taking(9));
    });
    group.finish();
    if HEAD == 0 {
        c.bench_function("gone", |b| b.iter_custom(taking(5)));
    } else {
        c.bench_function("added", |b| b.iter_custom(taking(5)));
    }
    // The same id in two groups.
    c.benchmark_group("stated").bench_function("faster", |b| b.iter_custom(taking(30)));
}

/// Every way of iterating, over real work.
fn ways(c: &mut Criterion) {
    let sum = |values: &[u64]| values.iter().fold(HEAD, |sum, value| sum.rotate_left(5) ^ value);
    let made = || (0..200u64).collect::<Vec<_>>();
    let mut group = c.benchmark_group("ways");
    group.bench_function("iter", |b| {
        let values = made();
        b.iter(|| sum(black_box(&values)))
    });
    for size in [BatchSize::SmallInput, BatchSize::LargeInput, BatchSize::PerIteration, BatchSize::NumBatches(3)] {
        group.bench_function(format!("iter_batched {size:?}"), |b| b.iter_batched(made, |v| sum(&v), size));
    }
    group.bench_function("iter_batched_ref", |b| {
        b.iter_batched_ref(made, |values| values.sort(), BatchSize::NumIterations(10))
    });
    group.bench_function("iter_with_large_drop", |b| b.iter_with_large_drop(made));
    group.bench_function("iter_with_setup", |b| b.iter_with_setup(made, |values| sum(&values)));
}

criterion_group!(plain, stated);
criterion_group! {
    name = configured;
    config = Criterion::default().warm_up_time(Duration::from_millis(1)).with_measurement(measurement::WallTime);
    targets = ways
}
criterion_main!(plain, configured);
"##;

fn lock_step(preference: Preference) {
    let Some(repository) = on_criterion(BENCH) else { return };
    let base = repository.commit("base");
    let lock = std::fs::read(repository.path().join("Cargo.lock")).unwrap();
    repository.write("benches/work.rs", &BENCH.replace("const HEAD: u64 = 0;", "const HEAD: u64 = 1;"));
    let head = repository.commit("head");
    let scene = scene(&repository, &base, &head, preference);
    let (evidence, report) = stored(measure_within(&scene.job, &Unobserved, PROCESS_LIMIT).unwrap());

    assert_eq!(evidence.builds.iter().map(|b| b.error.clone()).collect::<Vec<_>>(), [None, None]);
    for (benchmark, expect) in [
        ("stated/slower (a|b)", Verdict::Slower),
        ("stated/faster", Verdict::Faster),
        ("stated/same/7", Verdict::Equal),
        ("stated/words", Verdict::Equal),
        ("stated/second of two", Verdict::Equal),
        ("stated/talks", Verdict::Equal),
        ("stated/faster #2", Verdict::Equal),
        ("stated/reads its input", Verdict::Equal),
        ("stated/seeds", Verdict::Equal),
        ("stated/grows", Verdict::Equal),
        ("stated/has threads", Verdict::Equal),
        ("stated/starts programs", Verdict::Equal),
        ("stated/forks", Verdict::Equal),
        ("stated/jumping clock", Verdict::Equal),
        ("stated/more work, same time", Verdict::Equal),
    ] {
        assert_eq!(verdict_of(&report, benchmark), Some(expect), "{benchmark} in {:?}", report.failures);
    }
    let of =
        |name: &str, metric| report.rows.iter().find(|row| row.benchmark.0 == name && row.metric == metric);
    let row = |name: &str| of(name, Metric::Time).unwrap();
    let (more, same) = (row("stated/suspect, more work"), row("stated/suspect, same work"));
    assert_eq!((more.verdict, same.verdict), (Verdict::Slower, Verdict::Slower));
    assert_eq!(same.certainty, Certainty::LayoutSuspect, "{same:?}");
    if report.environment.missing.iter().any(|missing| missing.tool == Tool::Valgrind) {
        assert!(std::env::var_os("CI").is_none(), "valgrind is missing, and CI must not do without");
        eprintln!("skipped: valgrind is missing, instructions are not counted");
        assert_eq!(more.certainty, Certainty::LayoutSuspect, "{more:?}");
    } else {
        // On a machine that does ten things at once the time for counting may be over before its turn; that is said.
        let words = report.environment.warnings.join("\n");
        let left = words.contains("benchmarks could not be counted");
        let agrees = |change: Option<f64>, expected: fn(f64) -> bool| change.map_or(left, expected);
        let certainty =
            if more.instructions.is_some() { Certainty::Confirmed } else { Certainty::LayoutSuspect };
        assert_eq!(more.certainty, certainty, "{more:?} {words}");
        assert!(agrees(more.instructions, |change| (0.1..0.6).contains(&change)), "{more:?} {words}");
        assert!(agrees(same.instructions, |change| change.abs() < 0.005), "{same:?} {words}");
        let hashed = row("stated/suspect, hashed");
        let counts = evidence.series.iter().find(|series| series.benchmark == hashed.benchmark);
        let counts = counts.and_then(|series| series.instructions.as_ref());
        assert!(
            agrees(hashed.instructions, |change| change.abs() < 0.000_1),
            "{hashed:?} {counts:?} {words}"
        );
        if let Some(counted) = of("stated/more work, same time", Metric::Instructions) {
            assert_eq!((counted.verdict, counted.certainty), (Verdict::Slower, Certainty::InstructionChange));
            assert!(!counted.blocks() && evidence.count_ms > 0, "{counted:?}");
        } else {
            assert!(words.contains("whose time did not change were not counted"), "{words}");
        }
    }
    let slower = row("stated/slower (a|b)");
    assert_eq!((slower.base, slower.head), (1_000.0, 1_300.0));
    assert_eq!(
        report
            .rows
            .iter()
            .filter(|row| row.benchmark.0.starts_with("ways/") && row.metric == Metric::Time)
            .count(),
        8,
        "every way of iterating gives samples: {:?}",
        report.failures
    );
    let visits = || evidence.series.iter().flat_map(|series| &series.visits);
    let firsts = |side| visits().filter(|visit| visit.first == side).count();
    assert!(firsts(Side::Base) > 0 && firsts(Side::Head) > 0, "either side is started first at times");
    for series in &evidence.series {
        assert!(series.visits.iter().all(|visit| !visit.pairs.is_empty()), "raw samples are kept");
    }

    let failure = |benchmark: &str| {
        let about =
            |id: &Option<perfsuite::model::BenchmarkId>| id.as_ref().is_some_and(|id| id.0 == benchmark);
        let found = report.failures.iter().find(|failure| about(&failure.benchmark));
        found.unwrap_or_else(|| panic!("{benchmark} should have failed: {:?}", report.failures))
    };
    let panics = failure("stated/panics");
    assert_eq!((panics.side, panics.reason), (Some(Side::Head), FailureReason::Panicked));
    assert!(panics.output.contains("the fourth batch"), "{}", panics.output);
    let hangs = failure("stated/hangs");
    assert_eq!((hangs.side, hangs.reason), (Some(Side::Head), FailureReason::TimedOut));
    let idle = failure("stated/never iterates");
    assert!(idle.output.contains("must call Bencher::iter"), "{}", idle.output);
    let less = failure("stated/one call less");
    assert!(less.output.contains("iterates 1 times, that of the other side 2 times"), "{}", less.output);
    let hungry = failure("stated/allocates without end");
    assert_eq!((hungry.side, hungry.reason), (Some(Side::Head), FailureReason::Panicked));
    assert!(hungry.output.contains("memory allocation of"), "{}", hungry.output);
    assert_eq!(report.failures.len(), 5, "{:?}", report.failures);

    let seeds = evidence.series.iter().find(|series| series.benchmark.0 == "stated/seeds").unwrap();
    let hashes: Vec<f64> = seeds.visits.iter().map(|visit| visit.base).collect();
    assert!(seeds.visits.iter().all(|visit| visit.base == visit.head), "both sides hash alike");
    assert!(hashes.windows(2).any(|pair| pair[0] != pair[1]), "and another way in each visit");

    let mut sided: Vec<_> = report.one_sided.iter().map(|o| (o.benchmark.0.as_str(), o.side)).collect();
    sided.sort();
    assert_eq!(sided, [("added", Side::Head), ("gone", Side::Base)]);
    let other = |name: &str| {
        let one = report.one_sided.iter().find(|one| one.benchmark.0 == name).unwrap();
        one.other_name.as_ref().map(|id| id.0.as_str())
    };
    assert_eq!((other("gone"), other("added")), (Some("added"), Some("gone")), "the same code");
    let words = report.environment.warnings.join("\n");
    assert!(words.contains("every batch of theirs begins afresh: stated/grows"), "{words}");
    assert!(!words.contains("criterion itself"), "{words}");
    assert_eq!(
        std::fs::read(repository.path().join("Cargo.lock")).unwrap(),
        lock,
        "the lockfile is as it was"
    );
}

#[test]
fn benches_are_driven_in_lock_step() {
    lock_step(Preference::Auto);
}

#[test]
fn the_same_without_walls() {
    lock_step(Preference::Off);
}

#[test]
fn the_same_code_on_other_data_is_measured() {
    const READS: &str = r#"
use criterion::{Criterion, criterion_group, criterion_main};

fn work(c: &mut Criterion) {
    let ns: u64 = std::fs::read_to_string("benches/size.txt").unwrap().trim().parse().unwrap();
    c.bench_function("reads", |b| b.iter_custom(|n| std::time::Duration::from_nanos(n * ns)));
}

criterion_group!(benches, work);
criterion_main!(benches);
"#;
    let Some(repository) = on_criterion(READS) else { return };
    repository.write("benches/size.txt", "100\n");
    let base = repository.commit("base");
    repository.write("benches/size.txt", "150\n");
    let head = repository.commit("head");
    let scene = scene(&repository, &base, &head, Preference::Auto);
    let (evidence, report) = stored(measure(&scene.job, &Unobserved).unwrap());
    assert_eq!((evidence.identical.len(), evidence.unaffected.len()), (0, 0));
    assert_eq!(verdict_of(&report, "reads"), Some(Verdict::Slower), "{:?}", report.failures);
    let words = report.environment.warnings.join("\n");
    assert!(words.contains("they may read what changed: benches/size.txt"), "{words}");
}

#[test]
fn a_head_that_does_not_compile_is_the_heads_fault() {
    let Some(repository) = on_criterion(BENCH) else { return };
    let base = repository.commit("base");
    repository
        .write("benches/work.rs", &BENCH.replace("fn main", "").replace("HEAD: u64 = 0", "HEAD: u64 = \"\""));
    let head = repository.commit("head");
    let scene = scene(&repository, &base, &head, Preference::Auto);
    let (_, report) = stored(measure(&scene.job, &Unobserved).unwrap());
    let broken = report.broken_build().expect("a build that says so");
    assert_eq!(broken.side, Side::Head);
    assert!(broken.error.as_deref().unwrap_or_default().contains("mismatched types"), "{broken:?}");
}

#[test]
fn benches_of_one_package_are_told_apart() {
    let bench = |body: &str| {
        format!(
            "use criterion::{{Criterion, criterion_group, criterion_main}};\n\
             fn taking(ns: u64) -> impl FnMut(u64) -> std::time::Duration {{\n\
                 move |n| std::time::Duration::from_nanos(n * ns)\n\
             }}\n\
             fn work(c: &mut Criterion) {{\n{body}\n}}\n\
             criterion_group!(benches, work);\ncriterion_main!(benches);\n"
        )
    };
    let one = |ns: u64| bench(&format!("c.bench_function(\"shared\", |b| b.iter_custom(taking({ns})));"));
    const OTHER: &str = r#"
c.bench_function("shared", |b| b.iter_custom(taking(10)));
c.bench_function("single", |b| b.iter_custom(taking(10)));
if c.final_summary() == () { std::process::exit(0) }
c.bench_function("never reached", |b| b.iter_custom(taking(10)));
"#;
    let Some(repository) = on_criterion(&one(100)) else { return };
    repository.write("benches/other.rs", &bench(OTHER));
    repository.write(
        "benches/foreign.rs",
        "fn main() { loop { std::thread::sleep(std::time::Duration::from_secs(1)) } }\n",
    );
    let manifest = std::fs::read_to_string(repository.path().join("Cargo.toml")).unwrap();
    let more =
        "[[bench]]\nname = \"other\"\nharness = false\n[[bench]]\nname = \"foreign\"\nharness = false\n";
    repository.write("Cargo.toml", &format!("{manifest}\n{more}"));
    let base = repository.commit("base");
    repository.write("benches/work.rs", &one(130));
    let head = repository.commit("head");

    let mut scene = scene(&repository, &base, &head, Preference::Auto);
    scene.job.spec.limits.calibrate_seconds = 60;
    let (evidence, report) = stored(measure(&scene.job, &Unobserved).unwrap());
    assert_eq!(report.failures, []);
    assert_eq!(evidence.identical, ["fixture/other"]);
    // The other executable has one of that name, though it is identical and so is not run.
    let ids: Vec<_> = evidence.series.iter().map(|series| series.benchmark.0.as_str()).collect();
    assert_eq!(ids, ["work/shared"]);
    let words = report.environment.warnings.join("\n");
    assert!(words.contains("bench `fixture/foreign` is left out: it does not use criterion"), "{words}");
    assert!(!words.contains("before it has named"), "nothing of it is compared: {words}");
    let itself: Vec<_> =
        report.calibration.iter().map(|c| (c.benchmark.0.as_str(), c.visits, c.alarm)).collect();
    assert_eq!(itself, [("work/shared", 20, false)], "it takes as long as itself");

    scene.job.spec.all = true;
    let (evidence, report) = stored(measure(&scene.job, &Unobserved).unwrap());
    let mut ids: Vec<_> = evidence.series.iter().map(|series| series.benchmark.0.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["other/shared", "single", "work/shared"]);
    let clock = report.clock_against_code().unwrap();
    let told = [clock.agree.len() + clock.undecided.len(), clock.disagree.len()];
    assert_eq!(told, [2, 0], "{:?}", report.rows);
    assert!(!report.has_same_code(), "nothing was left out");
    let words = report.environment.warnings.join("\n");
    assert!(words.contains("bench `other` ends by itself before it has named all"), "{words}");
}
