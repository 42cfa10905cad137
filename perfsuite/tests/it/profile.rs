//! Profiles of real processes: a function twice as expensive, a command, a server under load.

use crate::repository::Repository;
use perfsuite::model::profile::ProfileSummary;
use perfsuite::model::{LoadSuite, Side};
use perfsuite::observe::Unobserved;
use perfsuite::sandbox::{Preference, Sandbox};
use perfsuite::suite::load::{JUDGED_PAIRS, LoadContext, SideFiles};
use perfsuite::verdict::Rule;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const PERFSUITE: &str = env!("CARGO_BIN_EXE_perfsuite");

/// Where the kernel does not let anybody sample, there is nothing to test: said, and a failure under CI.
fn can_sample() -> bool {
    let Err(reason) = perfsuite::profile::available() else { return true };
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    eprintln!("skipped: {reason}");
    false
}

fn perfsuite(directory: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(PERFSUITE)
        .args(args)
        .current_dir(directory)
        .env("XDG_CACHE_HOME", directory.join("cache"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn summary(json: &str) -> ProfileSummary {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// Three functions that burn turns; the middle one's number is put in.
const BENCH: &str = r#"
use criterion::{Criterion, criterion_group, criterion_main};

#[inline(never)]
fn spin(turns: u64, seed: u64) -> u64 {
    (0..turns).fold(seed, |x, n| std::hint::black_box(x.wrapping_mul(6364136223846793005).wrapping_add(n)))
}
#[inline(never)]
fn parse(seed: u64) -> u64 { let mut x = seed; for n in 0..20_000 { x = std::hint::black_box(x ^ n).rotate_left(5); } x }
#[inline(never)]
fn look_up(seed: u64) -> u64 { let mut x = seed; for n in 0..TURNS { x = std::hint::black_box(x.wrapping_add(n)).rotate_left(9); } x }
#[inline(never)]
fn answer(seed: u64) -> u64 { spin(10_000, seed) }

fn all(c: &mut Criterion) {
    c.bench_function("request", |b| b.iter(|| answer(look_up(parse(std::hint::black_box(1))))));
}

criterion_group!(benches, all);
criterion_main!(benches);
"#;

fn bench(turns: u64) -> String {
    BENCH.replace("TURNS", &turns.to_string())
}

#[test]
fn a_function_that_takes_twice_as_long_is_named() {
    if !can_sample() {
        return;
    }
    let Some(repository) = Repository::on_criterion(&bench(20_000)) else {
        assert!(std::env::var_os("CI").is_none(), "criterion was not downloaded");
        return eprintln!("skipped: criterion was not downloaded yet");
    };
    repository.write(".gitignore", "/target\n/cache\n/paceline-profile\n");
    repository.commit("feat: three functions");
    // The working tree's own change, not committed.
    repository.write("benches/work.rs", &bench(40_000));
    let args = [
        "profile",
        "--bench",
        "request",
        "--against",
        "HEAD",
        "--format",
        "json",
        "--visits",
        "8",
        "--seed",
        "1",
    ];
    let (code, json, errors) = perfsuite(repository.path(), &args);
    assert_eq!(code, Some(1), "a function changed: {errors}");
    let found = summary(&json);
    let cause = found.cause.as_ref().unwrap_or_else(|| panic!("no cause: {json}"));
    assert!(cause.function.ends_with("look_up"), "{json}");
    // Wide enough for a machine that does much else: the turns are twice as many, whatever they take.
    let more = cause.change.estimate.unwrap();
    assert!((0.5..2.0).contains(&more), "{more}: {json}");
    assert_eq!(cause.touched, Some(perfsuite::model::profile::TouchedBy::Code), "{json}");
    assert_eq!(found.doubt, None, "{json}");
    let out = repository.path().join("paceline-profile");
    let svg = std::fs::read_to_string(out.join("difference.svg")).unwrap();
    assert!(svg.contains("look_up") && svg.contains("ns per iteration"), "the picture lacks its names");
    let folded = std::fs::read_to_string(out.join("head-stacks.folded")).unwrap();
    let whole = folded.lines().any(|line| line.contains("main") && line.contains("look_up"));
    assert!(whole, "no stack reaches from main to the function:\n{folded}");
    // Two magic bytes of gzip.
    assert!(std::fs::read(out.join("head-profile.pb.gz")).unwrap().starts_with(&[0x1f, 0x8b]));
}

#[test]
fn any_command_can_be_profiled() {
    if !can_sample() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    let args = ["profile", "--out", "out", "--format", "json", "--", "sh", "-c", script];
    let (code, json, errors) = perfsuite(place.path(), &args);
    assert_eq!(code, Some(0), "{errors}");
    let found = summary(&json);
    assert!(found.head_samples > 20 && found.base_samples == 0, "{json}");
    assert!(place.path().join("out/flame.svg").is_file());
    let (code, _, errors) = perfsuite(place.path(), &["profile", "--", "sh", "-c", "echo no >&2; exit 3"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("exit code 3") && errors.contains("no"), "{errors}");
    let (code, _, errors) = perfsuite(place.path(), &["profile", "--", "./no-such-program"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("cannot run ./no-such-program"), "{errors}");
}

#[test]
fn what_cannot_be_profiled_is_said() {
    let place = tempfile::tempdir().unwrap();
    for (args, expect) in [
        (&["profile", "--against", "HEAD", "--", "true"][..], "--build"),
        (&["profile", "--bench", "x", "--scenario", "y"], "cannot be used with"),
        (&["profile", "--visits", "0", "--", "true"], "0 is not in 1..=50"),
    ] {
        let (code, _, errors) = perfsuite(place.path(), args);
        assert_eq!(code, Some(2), "{args:?}: {errors}");
        assert!(errors.contains(expect), "{args:?}: {errors}");
    }
}

/// Both servers of a scenario, within walls where there are any.
#[test]
fn servers_are_profiled_by_request() {
    if !can_sample() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let side = |name: &str| {
        let directory = place.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        std::fs::copy(PERFSUITE, directory.join("server")).unwrap();
        directory
    };
    let (base, head) = (side("base"), side("head"));
    let load: LoadSuite = serde_json::from_value(serde_json::json!({
        "build": [],
        "server": ["{target}/server", "upstream", "--listen", "{listen}", "--burn-turns", "100000"],
        "connections": 4,
        "rate": 100.0,
        "requests": [{ "path": "/" }],
    }))
    .unwrap();
    let sandbox = Sandbox::detect(Preference::Auto).unwrap();
    fn files(side: &Path) -> SideFiles<'_> {
        SideFiles { checkout: side, target: side }
    }
    let context = LoadContext {
        suite: "proxy",
        load: &load,
        base: files(&base),
        head: files(&head),
        sandbox: &sandbox,
        observer: &Unobserved,
        rule: &Rule::new(0.01, JUDGED_PAIRS),
        seed: 1,
        deadline: Instant::now() + Duration::from_secs(60),
        limit: Duration::from_secs(60),
        memory_bytes: 2 << 30,
        perfsuite: vec![PERFSUITE.into()],
    };
    let profile = perfsuite::suite::load::profile(&context, &Side::BOTH, 100.0, 2, Duration::from_secs(120));
    let profile = profile.unwrap().unwrap();
    let found = perfsuite::profile::summarise(&profile);
    assert_eq!(profile.visits.len(), 2);
    assert!(profile.visits.iter().all(|visit| visit.base > 0.0 && visit.head > 0.0), "{:?}", profile.visits);
    assert!(found.base_samples > 20 && found.head_samples > 20, "{found:?}");
    let burns = |name: &String| name.contains("faults") || name.contains("upstream");
    assert!(profile.names.iter().any(burns), "{:?}", profile.names);
}
