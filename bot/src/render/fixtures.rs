//! Runs in every state, for the snapshots of comment, check runs and terminal.
#![allow(clippy::unwrap_used, reason = "for tests and fuzz targets alone: what cannot be made has failed")]

use crate::{
    conventions::commits,
    judgement::{CommentContext, CommitsJudgement, ConfigError, Performance, RUN_SCHEMA, Run},
    pull::{Commit, PullRequest, PullState, RepoId, RepoName},
    repo_config::CommitsConfig,
};
use perfsuite::model::profile::{Cause, FunctionChange, ProfileSummary, Shift, TouchedBy, WorkUnit};
use perfsuite::model::scenario::{Knee, KneeLimit, Percentile, Scenario, ScenarioSide};
use perfsuite::model::{
    Build, Certainty, Comparison, Environment, Failure, FailureReason, Metric, MissingTool, Mode, OneSided,
    Report, Sha, Side, Tool, Unaffected, Verdict, comparison::REPORT_SCHEMA,
};
use perfsuite::verdict::comparison::UNBOUNDED;
use std::collections::BTreeMap;

pub fn sha(digit: char) -> Sha {
    format!("{digit}1b2c3d4e5f60718293a4b5c6d7e8f9012345678").parse().unwrap()
}

pub fn commits_of(messages: &[&str]) -> CommitsJudgement {
    let commits: Vec<Commit> = messages
        .iter()
        .enumerate()
        .map(|(index, message)| Commit {
            sha: sha(char::from_digit(index as u32 % 10, 10).unwrap()),
            message: (*message).into(),
            parents: 1,
            author_name: "Alice".into(),
        })
        .collect();
    commits::judge(&commits, &CommitsConfig::default())
}

pub fn clean_commits() -> CommitsJudgement {
    commits_of(&["feat(route): match by method", "test(route): cover methods", "docs: say how routes match"])
}

pub fn run(performance: Performance) -> Run {
    Run {
        schema: RUN_SCHEMA,
        repository: "octo/gateway".into(),
        pull: Some(7),
        base: sha('a'),
        head: sha('d'),
        commits: clean_commits(),
        config_error: None,
        reviews: None,
        tests: None,
        accepted: None,
        performance,
    }
}

pub fn done(report: Report) -> Run {
    run(Performance::Done { report: Box::new(report) })
}

/// Verdict by the numbers alone, so that a row cannot contradict itself.
pub fn row(benchmark: &str, metric: Metric, base: f64, estimate: f64, half: f64) -> Comparison {
    let (low, high) = (estimate - half, estimate + half);
    let worse = (estimate > 0.0) == (metric != Metric::QpsPerCore);
    let verdict = if (low > 0.0 || high < 0.0) && estimate.abs() > 0.01 {
        if worse { Verdict::Slower } else { Verdict::Faster }
    } else if low.abs().max(high.abs()) < 0.025 {
        Verdict::Equal
    } else {
        Verdict::Inconclusive
    };
    let changed = matches!(verdict, Verdict::Slower | Verdict::Faster);
    Comparison {
        suite: if matches!(metric, Metric::Time | Metric::Instructions) { "routing" } else { "proxy" }.into(),
        benchmark: serde_json::from_value(benchmark.into()).unwrap(),
        metric,
        base,
        head: base * (1.0 + estimate),
        estimate,
        low,
        high,
        verdict,
        certainty: if changed { Certainty::Confirmed } else { Certainty::NotApplicable },
        mode: Mode::Gate,
        mode_reason: None,
        smallest_visible: half * 1.6,
        spread: half * 2.0,
        visits: 20,
        instructions: None,
        minutes_to_settle: (verdict == Verdict::Inconclusive).then_some(2.0),
    }
}

pub fn equal_rows() -> Vec<Comparison> {
    vec![
        row("route/match/10", Metric::Time, 41.2, 0.001, 0.006),
        row("route/match/1000", Metric::Time, 66.4, -0.002, 0.007),
        row("limit/one", Metric::Time, 23.1, 0.0, 0.011),
        row("keepalive", Metric::QpsPerCore, 61_300.0, -0.002, 0.009),
        row("keepalive", Metric::LatencyP50, 412_000.0, 0.003, 0.012),
        row("keepalive", Metric::LatencyP99, 1_210_000.0, 0.004, 0.02),
        Comparison {
            verdict: Verdict::Inconclusive,
            ..row("keepalive", Metric::LatencyP999, 4_300_000.0, 0.05, 0.3)
        },
    ]
}

pub fn report(rows: Vec<Comparison>) -> Report {
    Report {
        schema: REPORT_SCHEMA,
        job: serde_json::from_value("0198c0de-0000-7000-8000-000000000001".into()).unwrap(),
        repository: "octo/gateway".into(),
        base: sha('a'),
        head: sha('d'),
        judged_pairs: rows.iter().filter(|r| r.metric.judged()).count() as u32,
        rows,
        failures: Vec::new(),
        one_sided: Vec::new(),
        builds: Side::BOTH.map(|side| build(side, None)).to_vec(),
        identical: Vec::new(),
        unaffected: Vec::new(),
        profiles: vec![],
        scenarios: vec![],
        calibration: Vec::new(),
        environment: Environment {
            hostname: "runner-1".into(),
            os: "Debian GNU/Linux 12".into(),
            kernel: "6.1.0".into(),
            cpu_model: "AMD EPYC 7763".into(),
            cpu_cores: 2,
            rustc: Some("rustc 1.94.0".into()),
            sandbox: "bubblewrap".into(),
            ..Environment::default()
        },
        budget: 0.01,
        alpha: 0.0008,
        measure_seconds: 194.0,
        count_seconds: 0.0,
        build_seconds: 61.0,
    }
}

pub fn build(side: Side, error: Option<&str>) -> Build {
    let commit = if side == Side::Base { sha('a') } else { sha('d') };
    Build { side, commit, seconds: 30.5, error: error.map(str::to_owned) }
}

/// A server's p99 and one function slower, one faster, one perhaps by layout, one open.
pub fn regressed() -> Report {
    let suspect = row("limit/many", Metric::Time, 512.0, 0.021, 0.006);
    let mut rows = vec![
        row("route/match/100000", Metric::Time, 93.4, 0.322, 0.012),
        row("keepalive", Metric::LatencyP99, 1_210_000.0, 0.184, 0.035),
        row("breaker/closed", Metric::Time, 18.7, -0.128, 0.01),
        Comparison { certainty: Certainty::LayoutSuspect, ..suspect },
        row("headers/many", Metric::Time, 1_830.0, 0.012, 0.031),
    ];
    rows.extend(equal_rows().into_iter().filter(|row| row.metric != Metric::LatencyP99));
    let doubt = "No function of other machine code is on a stack of it: what changed may be layout, memory or the machine.";
    Report {
        profiles: vec![
            profile("routing", "route/match/100000", Some("gateway::route::Table::longest_prefix"), None),
            profile("proxy", "keepalive", None, Some(doubt)),
        ],
        scenarios: vec![scenario("keepalive")],
        ..report(rows)
    }
}

/// A scenario whose head sustains less.
pub fn scenario(suite: &str) -> Scenario {
    let side = |rate_per_second: f64, limited_by| ScenarioSide {
        requests: 374_212,
        percentiles: vec![
            Percentile { share: 0.5, ns: 133_000 },
            Percentile { share: 0.99, ns: 1_210_000 },
            Percentile { share: 0.999, ns: 4_310_000 },
        ],
        memory_peak_bytes: Some(6 << 20),
        latency: String::new(),
        knee: Some(Knee { rate_per_second, limited_by, relaxed_ns: None, probes: vec![] }),
    };
    Scenario {
        suite: suite.into(),
        rate_per_second: 25_000.0,
        p99_limit_ms: 10.0,
        lateness_p99_ns: 380_000,
        sides: BTreeMap::from([
            (Side::Base, side(50_000.0, KneeLimit::Search)),
            (Side::Head, side(43_100.0, KneeLimit::Server)),
        ]),
    }
}

/// One function that takes nearly twice as long, or none that explains the change.
pub fn profile(suite: &str, benchmark: &str, function: Option<&str>, doubt: Option<&str>) -> ProfileSummary {
    let shift =
        |estimate: f64| Shift { estimate: Some(estimate), low: estimate - 0.06, high: Some(estimate + 0.07) };
    let change = |name: &str, base_ns: f64, by: f64, touched| FunctionChange {
        name: name.into(),
        base_ns,
        head_ns: base_ns * (1.0 + by),
        change: shift(by),
        base_total_ns: base_ns * 2.0,
        head_total_ns: base_ns * (2.0 + by),
        total_change: shift(by / 2.0),
        touched,
        changed: by > 0.1,
    };
    ProfileSummary {
        suite: suite.into(),
        benchmark: serde_json::from_value(benchmark.into()).unwrap(),
        unit: if function.is_some() { WorkUnit::Iteration } else { WorkUnit::Request },
        visits: 16,
        base_samples: 4_012,
        head_samples: 5_304,
        base_ns: 93.4,
        head_ns: 123.5,
        change: shift(0.322),
        cause: function.map(|function| Cause {
            function: function.into(),
            with_callees: false,
            change: shift(0.96),
            more_ns: 29.8,
            touched: Some(TouchedBy::Code),
            caller: Some("gateway::route::Table::find".into()),
        }),
        functions: function
            .map(|function| change(function, 31.0, 0.96, Some(TouchedBy::Code)))
            .into_iter()
            .chain([change("gateway::route::trie::Trie::hash", 40.0, 0.01, None)])
            .collect(),
        doubt: doubt.map(str::to_owned),
        notes: vec![],
    }
}

pub fn troubled() -> Report {
    let mut report = report(equal_rows());
    let benchmark = |name: &str| serde_json::from_value(name.into()).unwrap();
    report.failures = vec![
        Failure {
            suite: "routing".into(),
            benchmark: Some(benchmark("route/hang")),
            side: Some(Side::Head),
            reason: FailureReason::TimedOut,
            output: String::new(),
        },
        Failure {
            suite: "routing".into(),
            benchmark: Some(benchmark("route/insert")),
            side: Some(Side::Head),
            reason: FailureReason::Panicked,
            output: "thread 'main' panicked at gateway/benches/route.rs:31:9:\nindex out of bounds".into(),
        },
    ];
    report.one_sided = vec![
        one_sided("route/new", Side::Head, None),
        one_sided("route/old", Side::Base, None),
        one_sided("limit/burst", Side::Head, Some("limit/bursts")),
        one_sided("limit/bursts", Side::Base, Some("limit/burst")),
    ];
    report.identical = vec!["breaker".into(), "headers".into()];
    report.environment.sandbox = "none: bubblewrap is not installed".into();
    report.environment.warnings = vec!["the machine was busy: load 3.1 on 2 cores when the run began".into()];
    report.environment.missing = vec![MissingTool {
        tool: Tool::Valgrind,
        hides: "instruction counts, which tell a change of code from a change of layout".into(),
        package: "valgrind".into(),
    }];
    report
}

/// More work in the same time.
fn instruction_change() -> Comparison {
    Comparison {
        low: 0.031,
        high: 0.031,
        certainty: Certainty::InstructionChange,
        mode: Mode::Advise,
        visits: 2,
        ..row("route/match/10", Metric::Instructions, 4_112.0, 0.031, 0.0)
    }
}

/// What may not block on its runner, for two reasons.
fn uncalibrated() -> Vec<Comparison> {
    let moved = |mode, reason: &str, row| Comparison { mode, mode_reason: Some(reason.into()), ..row };
    let slower = row("route/match/100000", Metric::Time, 93.4, 0.322, 0.012);
    let noisy = row("headers/many", Metric::Time, 1_830.0, 0.061, 0.03);
    vec![
        moved(Mode::Advise, "not yet measured against itself on this runner", slower),
        moved(Mode::Record, "its visits spread by 5.1 % on this runner, where nothing changed", noisy),
    ]
}

/// Two benchmarks of the same machine code: the clock agrees about one.
fn all_measured() -> Report {
    let same = |benchmark: &str, estimate| Comparison {
        mode: Mode::Record,
        mode_reason: Some("its machine code is the same on both sides".into()),
        ..row(benchmark, Metric::Time, 23.1, estimate, 0.006)
    };
    let unaffected = |benchmark: &str| Unaffected {
        suite: "routing".into(),
        benchmark: serde_json::from_value(benchmark.into()).unwrap(),
        functions: 41,
    };
    let layout = Comparison { certainty: Certainty::LayoutSuspect, ..same("breaker/open", 0.063) };
    let mut report = report([equal_rows(), vec![same("breaker/closed", 0.001), layout]].concat());
    report.unaffected = vec![unaffected("breaker/closed"), unaffected("breaker/open")];
    report
}

fn one_sided(benchmark: &str, side: Side, other: Option<&str>) -> OneSided {
    let id = |name: &str| serde_json::from_value(name.into()).unwrap();
    OneSided { suite: "routing".into(), benchmark: id(benchmark), side, other_name: other.map(id) }
}

/// Every state under a name.
pub fn states() -> Vec<(&'static str, Run)> {
    let equal = || done(report(equal_rows()));
    let with = |rows: Vec<Comparison>| done(report(rows));
    let advised =
        Comparison { mode: Mode::Advise, ..row("route/match/100000", Metric::Time, 93.4, 0.041, 0.01) };
    let inconclusive = row("headers/many", Metric::Time, 1_830.0, 0.012, 0.031);
    let broken = |side| {
        let mut report = report(Vec::new());
        report.builds = vec![build(
            side,
            Some("error[E0425]: cannot find value `x` in this scope\n --> src/lib.rs:3:5\n"),
        )];
        done(report)
    };
    let identical = Report { identical: vec!["route".into(), "limit".into()], ..report(Vec::new()) };
    let messages = ["Improve route matching.", "feat:add x", "fix: y", "Docs: Say more\nand more"];
    let config_error = ConfigError {
        path: ".github/paceline.toml".into(),
        line: 12,
        column: 3,
        message: "Unknown key `minuts-per-run` in `perf`; did you mean `minutes-per-run`?".into(),
        nearest: Some("minutes-per-run".into()),
    };
    let skipped = |reason: &str| run(Performance::Skipped { reason: reason.into() });
    vec![
        ("equal", equal()),
        ("regressed", done(regressed())),
        ("regressed_and_commits", Run { commits: commits_of(&messages), ..done(regressed()) }),
        ("commits_only", Run { commits: commits_of(&messages), ..equal() }),
        ("commits_warned", Run { commits: commits_of(&["feat: Add x"]), ..equal() }),
        ("advised", with([vec![advised], equal_rows()].concat())),
        (
            "faster",
            with(
                [vec![row("route/match/10", Metric::Time, 41.2, -0.2, 0.01)], equal_rows()[1..].to_vec()]
                    .concat(),
            ),
        ),
        (
            "layout_suspect",
            with(
                [
                    vec![Comparison {
                        certainty: Certainty::LayoutSuspect,
                        instructions: Some(0.000_4),
                        ..row("route/match/100000", Metric::Time, 93.4, 0.051, 0.01)
                    }],
                    equal_rows(),
                ]
                .concat(),
            ),
        ),
        (
            "out_of_time",
            with(vec![Comparison {
                verdict: Verdict::Inconclusive,
                low: -1.0,
                high: UNBOUNDED,
                smallest_visible: UNBOUNDED,
                visits: 1,
                instructions: None,
                minutes_to_settle: None,
                ..row("headers/many", Metric::Time, 1_830.0, 0.012, 0.031)
            }]),
        ),
        ("instruction_change", with([vec![instruction_change()], equal_rows()].concat())),
        ("all_measured", done(all_measured())),
        ("uncalibrated", with([uncalibrated(), equal_rows()].concat())),
        ("one_inconclusive", with([vec![inconclusive.clone()], equal_rows()].concat())),
        ("all_inconclusive", with(vec![inconclusive])),
        ("troubled", done(troubled())),
        ("identical", done(identical)),
        ("nothing_found", done(report(Vec::new()))),
        ("head_does_not_build", broken(Side::Head)),
        ("base_does_not_build", broken(Side::Base)),
        (
            "queued",
            run(Performance::Queued { position: 2, runners: 1, because: None, wait_minutes: Some(12) }),
        ),
        (
            "queued_without_runner",
            run(Performance::Queued { position: 1, runners: 0, because: None, wait_minutes: None }),
        ),
        ("running", run(Performance::Running { text: "measuring routing".into(), done: 12, total: 40 })),
        ("needs_approval", run(Performance::NeedsApproval { head: sha('d') })),
        ("skipped", skipped("only documentation changed")),
        ("cancelled", run(Performance::Cancelled { by: "bob".into() })),
        (
            "failed",
            run(Performance::Failed {
                message: "there is no sandbox for a stranger's code: install bubblewrap".into(),
                output: "bwrap: not found".into(),
            }),
        ),
        (
            "bad_config",
            Run { config_error: Some(config_error), ..skipped("the configuration cannot be read") },
        ),
    ]
}

pub fn repo_name() -> RepoName {
    "octo/gateway".parse().unwrap()
}

pub fn pull() -> PullRequest {
    PullRequest {
        number: 7,
        title: "Match by method".into(),
        author: "alice".into(),
        author_is_bot: false,
        state: PullState::Open,
        draft: false,
        base_ref: "main".into(),
        base_sha: sha('a'),
        head_ref: "methods".into(),
        head_sha: sha('d'),
        from_fork: false,
        labels: Vec::new(),
        opened_ms: 0,
    }
}

pub fn context<'a>(name: &'a RepoName, pull: &'a PullRequest) -> CommentContext<'a> {
    CommentContext {
        id: RepoId(42),
        name,
        pull,
        public_url: "https://paceline.example",
        job: Some("0198c0de-0000-7000-8000-000000000001"),
        author_pulls: 4,
        author: None,
        stages: None,
    }
}

/// The run with everything foreign replaced by `text`.
pub fn hostile(text: &str) -> Run {
    let mut report = troubled();
    report.rows.extend(regressed().rows);
    for row in &mut report.rows {
        row.benchmark = serde_json::from_value(format!("{text}{}", row.benchmark.0).into()).unwrap();
        row.suite = text.into();
    }
    for failure in &mut report.failures {
        failure.benchmark = Some(serde_json::from_value(text.into()).unwrap());
        failure.output = text.into();
    }
    for one in &mut report.one_sided {
        one.benchmark = serde_json::from_value(text.into()).unwrap();
    }
    report.identical = vec![text.into()];
    let environment = &mut report.environment;
    for field in
        [&mut environment.os, &mut environment.kernel, &mut environment.cpu_model, &mut environment.sandbox]
    {
        *field = text.into();
    }
    environment.rustc = Some(text.into());
    environment.warnings = vec![text.into()];
    environment.missing[0].hides = text.into();
    environment.missing[0].package = text.into();
    let commits =
        commits_of(&[text, &format!("{text}(x): y"), &format!("feat: {text}."), &format!("x({text}): y")]);
    Run { commits, ..done(report) }
}
