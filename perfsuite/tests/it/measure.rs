//! Two commits of real repositories, measured whole: git, cargo, the sandbox where there is one, fresh processes.
//!
//! Most fixtures bring a stand-in for criterion that writes samples of known times, so that verdicts do not depend on the
//! machine and building takes a second; one uses the real criterion.

use crate::repository::Repository;
use perfsuite::measure::{Job, Stopped, measure, measure_within};
use perfsuite::model::wire::{Phase, Progress};
use perfsuite::model::{
    BenchmarkId, Comparison, Evidence, FailureReason, Focus, JobId, JobLimits, JobSpec, Metric, Report, Sha,
    Side, Trust, Verdict,
};
use perfsuite::observe::{Observer, Unobserved};
use perfsuite::sandbox::{Preference, Sandbox};
use perfsuite::verdict::judge;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Enough for any honest visit on a machine that does ten things at once; a bench that hangs costs this much.
const PROCESS_LIMIT: Duration = Duration::from_secs(15);

pub struct Scene {
    pub job: Job,
    _work: tempfile::TempDir,
}

pub fn scene(repository: &Repository, base: &str, head: &str, preference: Preference) -> Scene {
    let work = tempfile::tempdir().unwrap();
    let sha = |text: &str| text.parse::<Sha>().unwrap();
    let spec = JobSpec {
        job: JobId("job".into()),
        repository: "fixture".into(),
        base: sha(base),
        head: sha(head),
        trust: Trust::Own,
        suites: vec![],
        limits: JobLimits { measure_seconds: 300, ..JobLimits::default() },
        budget: 0.01,
        seed: 7,
        all: false,
        checks: None,
        focus: None,
    };
    let job = Job {
        spec,
        repository: repository.path().to_owned(),
        work_dir: work.path().join("work"),
        // Kept between tests and runs: only what a test may find there decides nothing.
        cache_dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("measure-cache"),
        sandbox: Sandbox::detect(preference).unwrap(),
    };
    Scene { job, _work: work }
}

/// Evidence as it comes back from where it was stored, which must be what was stored.
pub fn stored(evidence: Evidence) -> (Evidence, Report) {
    let json = serde_json::to_vec(&evidence).unwrap();
    let back: Evidence = serde_json::from_slice(&json).unwrap();
    assert_eq!(back, evidence, "JSON gives evidence back as it was");
    let report = judge(&back);
    (back, report)
}

pub fn verdict_of(report: &Report, benchmark: &str) -> Option<Verdict> {
    let is_it = |row: &&Comparison| row.benchmark.0 == benchmark && row.metric != Metric::Instructions;
    report.rows.iter().find(is_it).map(|row| row.verdict)
}

const BASE: &str = r#"
    c.bench("route/slower (10)", || 100.0);
    c.bench("route/faster", || 100.0);
    c.bench("route/same+same", || 50.0);
    c.bench("gone", || 1.0);
    c.bench("panics", || 1.0);
    c.bench("hangs", || 1.0);
"#;
const HEAD: &str = r#"
    c.bench("route/slower (10)", || 130.0);
    c.bench("route/faster", || 80.0);
    c.bench("route/same+same", || 50.0);
    c.bench("added", || 1.0);
    c.bench("panics", || panic!("the head is broken"));
    c.bench("hangs", || loop { std::thread::sleep(std::time::Duration::from_secs(1)) });
"#;

fn everything_at_once(preference: Preference) {
    let repository = Repository::with_benches(BASE);
    let base = repository.commit("base");
    repository.write_benches(HEAD);
    let head = repository.commit("head");
    let scene = scene(&repository, &base, &head, preference);
    let (evidence, report) = stored(measure_within(&scene.job, &Unobserved, PROCESS_LIMIT).unwrap());

    assert_eq!(evidence.builds.iter().map(|b| b.error.clone()).collect::<Vec<_>>(), [None, None]);
    assert_eq!(evidence.judged_pairs, 5, "what both sides have, before anything failed");
    assert_eq!(verdict_of(&report, "route/slower (10)"), Some(Verdict::Slower));
    assert_eq!(verdict_of(&report, "route/faster"), Some(Verdict::Faster));
    assert_eq!(verdict_of(&report, "route/same+same"), Some(Verdict::Equal));
    assert_eq!(report.rows.len(), 3, "{:?}", report.rows);
    let slower = &report.rows[0];
    assert_eq!((slower.base, slower.head), (100.0, 130.0));
    assert!(slower.blocks());
    for series in &evidence.series {
        assert!(series.visits.len() >= 10 && series.seconds > 0.0);
        let firsts = |side| series.visits.iter().filter(|visit| visit.first == side).count();
        assert!(firsts(Side::Base) > 0 && firsts(Side::Head) > 0, "either side goes first at times");
    }

    let mut failures = evidence.failures.clone();
    failures.sort_by_key(|failure| failure.benchmark.clone());
    let told: Vec<_> =
        failures.iter().map(|f| (f.benchmark.as_ref().map(|b| b.0.as_str()), f.side, f.reason)).collect();
    assert_eq!(
        told,
        [
            (Some("hangs"), Some(Side::Head), FailureReason::TimedOut),
            (Some("panics"), Some(Side::Head), FailureReason::Panicked)
        ]
    );
    assert!(failures[1].output.contains("the head is broken"), "{}", failures[1].output);

    let mut sided: Vec<_> = evidence.one_sided.iter().map(|o| (o.benchmark.0.as_str(), o.side)).collect();
    sided.sort();
    assert_eq!(sided, [("added", Side::Head), ("gone", Side::Base)]);
    assert!(!evidence.environment.cpu_model.is_empty() && evidence.environment.steal.is_some());
}

#[test]
fn changes_failures_and_one_sided_benchmarks_are_told_apart() {
    everything_at_once(Preference::Auto);
}

#[test]
fn the_same_without_walls() {
    everything_at_once(Preference::Off);
}

#[test]
fn identical_executables_are_not_run() {
    let repository = Repository::with_benches(BASE);
    let base = repository.commit("base");
    repository.write("README.md", "More words.\n");
    let head = repository.commit("docs");
    let scene = scene(&repository, &base, &head, Preference::Auto);
    let (evidence, report) = stored(measure(&scene.job, &Unobserved).unwrap());
    assert_eq!(evidence.identical, ["fixture/work"]);
    assert!(evidence.series.is_empty() && evidence.failures.is_empty());
    assert!(report.rows.is_empty() && !report.blocks());
}

#[test]
fn a_focus_measures_its_benchmarks_alone_and_keeps_no_passing_base() {
    let repository = Repository::with_benches(BASE);
    let base = repository.commit("base");
    repository.write_benches(HEAD);
    let head = repository.commit("head");
    let mut scene = scene(&repository, &base, &head, Preference::Auto);
    let cache = tempfile::tempdir().unwrap();
    scene.job.cache_dir = cache.path().to_owned();
    let kept = || {
        let places = std::fs::read_dir(cache.path().join("repositories")).into_iter().flatten().flatten();
        let targets = places.flat_map(|place| std::fs::read_dir(place.path().join("targets")));
        targets.flatten().flatten().count()
    };
    for passing_base in [true, false] {
        let benchmarks = vec![BenchmarkId("route/faster".into())];
        scene.job.spec.focus = Some(Focus { benchmarks, passing_base, ..Focus::default() });
        let (evidence, report) = stored(measure(&scene.job, &Unobserved).unwrap());
        assert_eq!((evidence.judged_pairs, report.rows.len()), (1, 1), "{:?}", report.rows);
        assert_eq!(verdict_of(&report, "route/faster"), Some(Verdict::Faster));
        assert_eq!(evidence.failures, [], "what would hang or panic is not run");
        assert_eq!(kept() > 0, !passing_base);
    }
}

#[test]
fn a_head_that_does_not_build_is_evidence() {
    let repository = Repository::with_benches(BASE);
    let base = repository.commit("base");
    repository.write("src/lib.rs", "pub fn broken() -> u32 { \"no number\" }\n");
    let head = repository.commit("head");
    let scene = scene(&repository, &base, &head, Preference::Auto);
    let (evidence, report) = stored(measure(&scene.job, &Unobserved).unwrap());
    let broken = report.broken_build().expect("the head does not build");
    assert_eq!((broken.side, broken.commit.as_str()), (Side::Head, head.as_str()));
    let error = broken.error.as_deref().unwrap();
    assert!(error.contains("mismatched types") && error.lines().count() <= 70, "{error}");
    assert!(evidence.series.is_empty());
}

#[test]
fn a_repository_without_lockfile_gets_one_for_both_sides() {
    let repository = Repository::with_benches(BASE);
    repository.remove("Cargo.lock");
    repository.write(".gitignore", "Cargo.lock\n/target\n");
    let base = repository.commit("base");
    repository.write_benches(&BASE.replace("|| 50.0", "|| 75.0"));
    let head = repository.commit("head");
    let scene = scene(&repository, &base, &head, Preference::Auto);
    let (_, report) = stored(measure(&scene.job, &Unobserved).unwrap());
    assert_eq!(verdict_of(&report, "route/same+same"), Some(Verdict::Slower));
    assert_eq!(verdict_of(&report, "route/faster"), Some(Verdict::Equal));
}

#[test]
fn benches_under_another_harness_are_left_out_and_said() {
    let repository = Repository::with_benches(BASE);
    repository.write("benches/own.rs", "fn main() {}\n");
    let base = repository.commit("base");
    repository.write_benches(HEAD);
    let head = repository.commit("head");
    let scene = scene(&repository, &base, &head, Preference::Auto);
    let observer = StopWhen::new(|progress: &Progress| progress.text.starts_with("listing"));
    let error = measure(&scene.job, &observer).unwrap_err();
    assert!(error.is::<Stopped>(), "{error:#}");
    let log = observer.log.lock().unwrap().join("\n");
    assert!(log.contains("bench `own` of `fixture` is left out: it runs under Rust's own harness"), "{log}");
}

#[test]
fn a_stop_ends_the_run_between_visits() {
    let repository = Repository::with_benches(BASE);
    let base = repository.commit("base");
    repository.write_benches(HEAD);
    let head = repository.commit("head");
    let scene = scene(&repository, &base, &head, Preference::Auto);
    let observer =
        StopWhen::new(|progress: &Progress| progress.phase == Phase::Measuring && progress.done >= 3);
    let error = measure(&scene.job, &observer).unwrap_err();
    assert!(error.is::<Stopped>(), "{error:#}");
}

/// Says stop once a progress looks like this.
struct StopWhen<F> {
    when: F,
    stop: AtomicBool,
    log: std::sync::Mutex<Vec<String>>,
}

impl<F> StopWhen<F> {
    fn new(when: F) -> Self {
        StopWhen { when, stop: AtomicBool::new(false), log: Default::default() }
    }
}

impl<F: Fn(&Progress) -> bool + Send + Sync> Observer for StopWhen<F> {
    fn progress(&self, progress: Progress) {
        if (self.when)(&progress) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn log(&self, line: &str) {
        self.log.lock().unwrap().push(line.to_owned());
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[test]
fn a_link_in_the_lockfiles_place_is_not_written_through() {
    let repository = Repository::with_benches(BASE);
    let base = repository.commit("base");
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    repository.remove("Cargo.lock");
    std::os::unix::fs::symlink(&victim, repository.path().join("Cargo.lock")).unwrap();
    let head = repository.commit("head");
    let scene = scene(&repository, &base, &head, Preference::Auto);
    let (_, report) = stored(measure(&scene.job, &Unobserved).unwrap());
    let broken = report.broken_build().expect("a build that says so");
    assert_eq!(broken.side, Side::Head);
    assert_eq!(broken.error.as_deref(), Some("Cargo.lock is not a regular file"));
    assert!(!victim.exists());
}
