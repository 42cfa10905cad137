//! Load scenarios through the door: real server processes, the real `perfsuite load-round`.

use perfsuite::{
    load::{
        schedule::Spacing,
        wire::{RoundFailure, RoundOutcome, RoundPlan, RoundTask, ServerPlan, decode},
    },
    model::{
        FailureReason, LoadSuite, Metric, Side,
        job::{Protocol, Request},
    },
    observe::Unobserved,
    sandbox::{Preference, Sandbox},
    suite::load::{JUDGED_PAIRS, LoadContext, LoadOutcome, METRICS, SideFiles, measure_suite},
    verdict::Rule,
};
use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const PERFSUITE: &str = env!("CARGO_BIN_EXE_perfsuite");

/// A server that works: it answers everything with a hundred bytes.
const GOOD: &[&str] = &["{perfsuite}", "upstream", "--listen", "{listen}", "--body-bytes", "100"];

fn words(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|word| word.to_string()).collect()
}

fn plan(base: &[&str], head: &[&str]) -> RoundPlan {
    let server = |side, argv| ServerPlan { side, argv: words(argv), cwd: "/".into() };
    RoundPlan {
        perfsuite: words(&[PERFSUITE]),
        upstream: words(&["{perfsuite}", "upstream", "--listen", "{upstream}"]),
        servers: vec![server(Side::Head, head), server(Side::Base, base)],
        ready: "GET /readyz".into(),
        ready_limit_ms: 20_000,
        connections: 8,
        protocol: Protocol::Http1,
        requests: vec![Request { method: "GET".into(), path: "/a".into() }],
        spacing: Spacing::Poisson,
        expect: vec![],
        seed: 7,
        task: RoundTask::Measure { rate_per_second: 300.0, warmup_ms: 200, window_ms: 1_000 },
    }
}

/// Runs the program on a plan.
fn play(plan: &RoundPlan) -> RoundOutcome {
    let mut round = Command::new(PERFSUITE)
        .arg("load-round")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("perfsuite starts");
    let mut stdin = round.stdin.take().expect("the round takes its plan and ends");
    writeln!(stdin, "{}", serde_json::to_string(plan).expect("the round takes its plan and ends"))
        .expect("the round takes its plan and ends");
    let output = round.wait_with_output().expect("the round takes its plan and ends");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("an outcome")
}

fn failed(plan: &RoundPlan) -> RoundFailure {
    match play(plan) {
        RoundOutcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_round_measures_both_sides() {
    let RoundOutcome::Measured(result) = play(&plan(GOOD, GOOD)) else { panic!("not measured") };
    assert_eq!(result.sides.len(), 2);
    let scheduled: u64 = result.sides.values().map(|side| side.scheduled).sum();
    // Poisson: 300 requests give or take six deviations.
    assert!((200..400).contains(&scheduled), "{scheduled}");
    for (side, seen) in &result.sides {
        assert_eq!(seen.answered, seen.scheduled, "{side:?}: {:?}", seen.errors);
        assert!(seen.cpu_ns > 0, "{side:?} answered without any CPU time");
        assert!(0 < seen.p50_ns && seen.p50_ns <= seen.p99_ns && seen.p99_ns <= seen.p999_ns);
        assert!(seen.memory_peak_bytes.is_some());
        assert_eq!(decode(&seen.latency).unwrap().len(), seen.scheduled);
    }
}

#[test]
fn the_knee_of_a_server_is_found() {
    let knee = RoundPlan {
        servers: plan(GOOD, GOOD).servers.split_off(1),
        // Far above what any machine needs: the search must end by itself, wherever.
        task: RoundTask::Knee { p99_limit_ns: 50_000_000, probe_ms: 100, limit_ms: 5_000 },
        ..plan(GOOD, GOOD)
    };
    let RoundOutcome::Knee(knee) = play(&knee) else { panic!("no knee") };
    assert!(!knee.probes.is_empty());
    assert!(knee.probes.iter().any(|probe| probe.rate_per_second >= knee.rate_per_second));
}

#[test]
fn a_server_that_never_answers_is_not_ready() {
    let plan = RoundPlan { ready_limit_ms: 300, ..plan(GOOD, &["sleep", "60"]) };
    let failure = failed(&plan);
    assert_eq!((failure.side, failure.reason), (Some(Side::Head), FailureReason::NotReady));
    assert!(failure.output.contains("was not ready within 0.3 s"), "{}", failure.output);
}

#[test]
fn a_server_that_dies_at_once_is_not_ready_and_its_last_words_are_kept() {
    let failure = failed(&plan(&["sh", "-c", "echo no such flag >&2; exit 3"], GOOD));
    assert_eq!((failure.side, failure.reason), (Some(Side::Base), FailureReason::NotReady));
    assert!(failure.output.contains("exit status: 3"), "{}", failure.output);
    assert!(failure.output.ends_with("no such flag"), "{}", failure.output);
}

#[test]
fn a_server_that_dies_under_load_is_said_and_not_measured() {
    let dying = "\"{perfsuite}\" upstream --listen {listen} & server=$!; sleep 2; \
        echo out of luck >&2; kill -9 $server; exit 7";
    let task = RoundTask::Measure { rate_per_second: 100.0, warmup_ms: 100, window_ms: 60_000 };
    let failure = failed(&RoundPlan { task, ..plan(GOOD, &["sh", "-c", dying]) });
    assert_eq!((failure.side, failure.reason), (Some(Side::Head), FailureReason::Panicked));
    assert!(failure.output.contains("while requests were on their way"), "{}", failure.output);
    assert!(failure.output.ends_with("out of luck"), "{}", failure.output);
}

#[test]
fn a_program_that_is_not_there_and_a_probe_that_is_none_are_said() {
    let failure = failed(&plan(GOOD, &["/no/such/server"]));
    assert_eq!((failure.side, failure.reason), (Some(Side::Head), FailureReason::NotReady));
    assert!(failure.output.contains("/no/such/server"), "{}", failure.output);
    let failure = failed(&RoundPlan { ready: "readyz".into(), ..plan(GOOD, GOOD) });
    assert_eq!((failure.side, failure.reason), (None, FailureReason::Refused));
}

/// Measures a suite whose server is a script in each side's target directory.
fn measure(preference: Preference, base: &str, head: &str) -> Option<LoadOutcome> {
    let sandbox = Sandbox::detect(preference).expect("a toolchain");
    if preference == Preference::Auto && !sandbox.walled() {
        assert!(std::env::var_os("CI").is_none(), "there must be a sandbox in CI: {}", sandbox.describe());
        eprintln!("skipped: no sandbox here ({})", sandbox.describe());
        return None;
    }
    let directory = tempfile::tempdir().expect("a suite in a temporary directory");
    for (side, script) in [("base", base), ("head", head)] {
        let side = directory.path().join(side);
        fs::create_dir_all(&side).expect("a suite in a temporary directory");
        fs::write(side.join("server.sh"), script).expect("a suite in a temporary directory");
    }
    let load: LoadSuite = serde_json::from_value(serde_json::json!({
        "build": [],
        "server": ["sh", "{target}/server.sh", "{perfsuite}", "{listen}"],
        "ready": "GET /",
        "connections": 4,
        "rate": 200.0,
        "requests": [{ "path": "/" }],
    }))
    .expect("a suite in a temporary directory");
    let (base, head) = (directory.path().join("base"), directory.path().join("head"));
    fn files(side: &Path) -> SideFiles<'_> {
        SideFiles { checkout: side, target: side }
    }
    Some(measure_suite(&LoadContext {
        suite: "proxy",
        load: &load,
        base: files(&base),
        head: files(&head),
        sandbox: &sandbox,
        observer: &Unobserved,
        rule: &Rule::new(0.01, JUDGED_PAIRS),
        seed: 1,
        deadline: Instant::now() + Duration::from_secs(6),
        limit: Duration::from_secs(6),
        memory_bytes: 2 << 30,
        perfsuite: vec![PERFSUITE.into()],
    }))
}

const SERVE: &str = "exec \"$1\" upstream --listen \"$2\"";

fn is_measured(outcome: &LoadOutcome) {
    assert_eq!(outcome.failures, []);
    let metrics: Vec<Metric> = outcome.series.iter().map(|series| series.metric).collect();
    assert_eq!(metrics, METRICS);
    for series in &outcome.series {
        assert!(!series.visits.is_empty());
        assert!(series.visits.iter().all(|visit| visit.base > 0.0 && visit.head > 0.0), "{series:?}");
        assert!(series.seconds > 0.0);
    }
    assert!(outcome.sides.values().all(|side| side.answered > 0 && side.latency.len() >= side.answered));
    assert_eq!(outcome.knees.len(), 0, "the rate was given");
}

#[test]
fn a_suite_is_measured_without_walls() {
    is_measured(&measure(Preference::Off, SERVE, SERVE).unwrap());
}

#[test]
fn a_suite_is_measured_within_walls() {
    if let Some(outcome) = measure(Preference::Auto, SERVE, SERVE) {
        is_measured(&outcome);
    }
}

#[test]
fn a_side_that_does_not_start_is_a_failed_row_and_no_verdict() {
    let outcome = measure(Preference::Off, SERVE, "echo boom >&2; exit 9").unwrap();
    assert_eq!(outcome.series, []);
    let [failure] = &outcome.failures[..] else { panic!("{:?}", outcome.failures) };
    assert_eq!((failure.side, failure.reason), (Some(Side::Head), FailureReason::NotReady));
    assert_eq!(failure.suite, "proxy");
    assert!(failure.output.ends_with("boom"), "{}", failure.output);
}
