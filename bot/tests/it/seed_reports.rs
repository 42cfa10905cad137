//! Reports of a runner for the databases of tests: what one says of a change that is slower, faster or does not build.

use crate::seed::{MINUTE_MS, NOW_MS, base, job_id, sha};
use perfsuite::model::evidence::EVIDENCE_SCHEMA;
use perfsuite::model::{
    BenchmarkId, Build, Calibration, Certainty, Comparison, Environment, Evidence, Failure, FailureReason,
    JobSpec, Metric, MissingTool, Mode, OneSided, Report, Series, Sha, Side, Tool, Verdict, Visit,
};

pub fn environment() -> Environment {
    Environment {
        hostname: "bench-01".into(),
        os: "Debian GNU/Linux 13".into(),
        kernel: "6.12.48".into(),
        cpu_model: "AMD EPYC 7763".into(),
        cpu_cores: 2,
        microcode: None,
        governor: Some("performance".into()),
        smt: Some(true),
        memory_bytes: 8 << 30,
        rustc: Some("rustc 1.94.0 (2026-03-05)".into()),
        steal: Some(0.004),
        load_before: Some(0.31),
        sandbox: "bubblewrap".into(),
        missing: vec![MissingTool {
            tool: Tool::Valgrind,
            hides: "instruction counts, the second witness beside time".into(),
            package: "valgrind".into(),
        }],
        warnings: vec!["the machine was busy when the run began: load 1.31 on 2 cores".into()],
        ..Environment::default()
    }
}

/// A row whose interval is one percent to either side.
pub fn row(benchmark: &str, metric: Metric, base: f64, estimate: f64, verdict: Verdict) -> Comparison {
    let changed = matches!(verdict, Verdict::Slower | Verdict::Faster);
    Comparison {
        suite: "routing".into(),
        benchmark: BenchmarkId(benchmark.into()),
        metric,
        base,
        head: base * (1.0 + estimate),
        estimate,
        low: estimate - 0.01,
        high: estimate + 0.012,
        verdict,
        certainty: if changed { Certainty::Confirmed } else { Certainty::NotApplicable },
        mode: Mode::Gate,
        mode_reason: None,
        smallest_visible: 0.018,
        spread: 0.013,
        visits: 15,
        instructions: None,
        minutes_to_settle: None,
    }
}

pub fn report(rows: Vec<Comparison>) -> Report {
    Report {
        schema: perfsuite::model::comparison::REPORT_SCHEMA,
        job: job_id(2),
        repository: "acme/gateway".into(),
        base: base(),
        head: sha('d'),
        judged_pairs: rows.len() as u32,
        rows,
        failures: Vec::new(),
        one_sided: Vec::new(),
        builds: vec![build(Side::Base, base(), None), build(Side::Head, sha('d'), None)],
        identical: Vec::new(),
        unaffected: Vec::new(),
        profiles: vec![],
        scenarios: vec![],
        calibration: vec![Calibration {
            suite: "routing".into(),
            benchmark: BenchmarkId("route/match/1000".into()),
            metric: Metric::Time,
            estimate: 0.001,
            spread: 0.021,
            visits: 20,
            alarm: false,
        }],
        environment: environment(),
        budget: 0.01,
        alpha: 0.000_1,
        measure_seconds: 228.0,
        count_seconds: 0.0,
        build_seconds: 81.4,
    }
}

/// What a runner could have seen, of which such a report was made: visits around each row's change, the same in every run
/// of a test.
pub fn evidence_of(spec: &JobSpec, report: &Report) -> Evidence {
    let visit = |row: &Comparison, n: u32| {
        let noise = |step: u32| f64::from(n * step % 11) / 11.0 - 0.5;
        let (base, head) =
            (row.base * (1.0 + row.spread * noise(7)), row.head * (1.0 + row.spread * noise(5)));
        let pair = |step: u32| [base * (1.0 + 0.01 * noise(step)), head * (1.0 + 0.01 * noise(step + 1))];
        let first = if n.is_multiple_of(2) { Side::Base } else { Side::Head };
        Visit::of_pairs(first, [2, 3, 4, 6, 8].map(pair).to_vec())
    };
    let timed = report.rows.iter().filter(|row| row.metric != Metric::Instructions);
    Evidence {
        schema: EVIDENCE_SCHEMA,
        spec: spec.clone(),
        environment: report.environment.clone(),
        builds: report.builds.clone(),
        series: timed
            .map(|row| Series {
                suite: row.suite.clone(),
                benchmark: row.benchmark.clone(),
                metric: row.metric,
                visits: (0..row.visits).map(|n| visit(row, n)).collect(),
                seconds: 1.0,
                instructions: None,
            })
            .collect(),
        calibration: Vec::new(),
        failures: report.failures.clone(),
        one_sided: report.one_sided.clone(),
        judged_pairs: report.judged_pairs,
        identical: report.identical.clone(),
        unaffected: Vec::new(),
        profiles: Vec::new(),
        scenarios: Vec::new(),
        started_ms: NOW_MS - MINUTE_MS,
        finished_ms: NOW_MS,
        measure_ms: MINUTE_MS,
        count_ms: 0,
        checks: None,
    }
}

fn build(side: Side, commit: Sha, error: Option<&str>) -> Build {
    Build { side, commit, seconds: 40.7, error: error.map(Into::into) }
}

pub fn slow_report() -> Report {
    let mut rows = vec![
        row("route/match/1000", Metric::Time, 1_210.0, 0.184, Verdict::Slower),
        Comparison {
            suite: "proxy".into(),
            certainty: Certainty::LayoutSuspect,
            ..row("keepalive", Metric::QpsPerCore, 61_300.0, -0.039, Verdict::Slower)
        },
        row("headers/strip/12", Metric::Time, 842.0, -0.071, Verdict::Faster),
        Comparison {
            suite: "proxy".into(),
            low: -0.06,
            high: 0.11,
            spread: 0.093,
            visits: 120,
            smallest_visible: 0.082,
            instructions: None,
            minutes_to_settle: Some(6.5),
            mode: Mode::Advise,
            ..row("keepalive", Metric::LatencyP99, 1_210_000.0, 0.021, Verdict::Inconclusive)
        },
    ];
    for (index, size) in [10, 100, 1_000, 10_000].into_iter().enumerate() {
        let estimate = [0.002, -0.004, 0.0, 0.009][index];
        rows.push(row(
            &format!("limit/sliding/{size}"),
            Metric::Time,
            38.0 * size as f64,
            estimate,
            Verdict::Equal,
        ));
    }
    Report {
        scenarios: vec![crate::seed_load::scenario()],
        failures: vec![Failure {
            suite: "routing".into(),
            benchmark: Some(BenchmarkId("route/build/100000".into())),
            side: Some(Side::Head),
            reason: FailureReason::Panicked,
            output: "thread 'main' panicked at benches/route.rs:88:13:\nindex out of bounds".into(),
        }],
        one_sided: vec![OneSided {
            suite: "routing".into(),
            benchmark: BenchmarkId("route/normalize".into()),
            side: Side::Head,
            other_name: None,
        }],
        ..report(rows)
    }
}

pub fn fast_report() -> Report {
    report(vec![
        row("headers/strip/12", Metric::Time, 842.0, -0.121, Verdict::Faster),
        row("limit/sliding/10", Metric::Time, 380.0, 0.001, Verdict::Equal),
    ])
}

pub fn broken_report() -> Report {
    let error = "error[E0308]: mismatched types\n  --> gateway/src/proxy/mod.rs:41:9";
    Report {
        builds: vec![build(Side::Base, base(), None), build(Side::Head, sha('b'), Some(error))],
        ..report(Vec::new())
    }
}
