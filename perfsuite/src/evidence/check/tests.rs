//! Each way in which evidence can be unsound, one at a time.

use super::*;
use crate::model::{
    BenchmarkId, CriterionSuite, Environment, Failure, FailureReason, Instructions, JobId, JobLimits, Metric,
    Mode, OneSided, SuiteKind, SuiteSpec, Trust,
};
use std::collections::BTreeMap;

fn sha(digit: &str) -> crate::model::Sha {
    digit.repeat(40).parse().unwrap()
}

pub(super) fn spec() -> JobSpec {
    let suite = SuiteSpec {
        name: "widgets".into(),
        kind: SuiteKind::Criterion(CriterionSuite::default()),
        paths: vec![],
        on: "push".into(),
        mode: Mode::default(),
        metrics: BTreeMap::new(),
        benchmarks: BTreeMap::new(),
    };
    JobSpec {
        job: JobId("0198c0de-0000-7000-8000-000000000001".into()),
        repository: "acme/widgets".into(),
        base: sha("a"),
        head: sha("b"),
        trust: Trust::Stranger,
        suites: vec![suite],
        limits: JobLimits::default(),
        budget: 0.01,
        seed: 1,
        all: false,
        checks: None,
        focus: None,
    }
}

fn sound() -> Evidence {
    let series = Series {
        suite: "widgets".into(),
        benchmark: BenchmarkId("widgets/one".into()),
        metric: Metric::Time,
        visits: vec![Visit::of_pairs(Side::Base, vec![[1.0, 2.0], [1.0, 2.0]])],
        seconds: 1.0,
        instructions: Some(Instructions { base: vec![10.0], head: vec![20.0] }),
    };
    Evidence {
        schema: EVIDENCE_SCHEMA,
        spec: spec(),
        environment: Environment::default(),
        builds: vec![
            Build { side: Side::Base, commit: sha("a"), seconds: 1.0, error: None },
            Build { side: Side::Head, commit: sha("b"), seconds: 1.0, error: Some("no".into()) },
        ],
        calibration: vec![series.clone()],
        series: vec![series],
        failures: vec![Failure {
            suite: "widgets".into(),
            benchmark: Some(BenchmarkId("widgets/two".into())),
            side: None,
            reason: FailureReason::Panicked,
            output: "a\0b\n".into(),
        }],
        one_sided: vec![OneSided {
            suite: "widgets".into(),
            benchmark: BenchmarkId("widgets/three".into()),
            side: Side::Head,
            other_name: None,
        }],
        judged_pairs: 1,
        identical: vec!["widgets/four".into()],
        unaffected: vec![],
        profiles: vec![],
        scenarios: vec![],
        started_ms: 1,
        finished_ms: 2,
        measure_ms: 1,
        count_ms: 0,
        checks: None,
    }
}

#[test]
fn sound_evidence_passes() {
    assert_eq!(check(&sound(), &spec()), Ok(()));
    let mut found_by_the_runner = sound();
    found_by_the_runner.spec.suites.clear();
    let asked = found_by_the_runner.spec.clone();
    assert_eq!(
        check(&found_by_the_runner, &asked),
        Ok(()),
        "a job without suites takes those that are found"
    );
}

#[test]
fn unsound_evidence_is_refused_with_its_reason() {
    let refused = |what: &str, spoil: &dyn Fn(&mut Evidence)| {
        let mut evidence = sound();
        spoil(&mut evidence);
        let error = check(&evidence, &spec()).expect_err(what).to_string();
        assert!(error.contains(what), "{what}: {error}");
        assert!(error.len() < 500 && !error.contains('\n'), "{error}");
    };
    refused("format 2", &|e| e.schema = 2);
    refused("another job", &|e| e.spec.job = JobId("x".into()));
    refused("another job", &|e| e.spec.head = sha("c"));
    refused("another job", &|e| e.spec.budget = 0.5);
    for value in [-1.0, f64::NAN, f64::INFINITY, -f64::INFINITY, 1e300, -1e-300] {
        refused("nothing can measure", &|e| e.series[0].visits[0].base = value);
        refused("nothing can measure", &|e| e.series[0].visits[0].head = value);
        refused("nothing can measure", &|e| e.series[0].visits[0].pairs[1][1] = value);
        refused("nothing can count", &|e| {
            e.series[0].instructions = Some(Instructions { base: vec![value], head: vec![] });
        });
        refused("duration", &|e| e.series[0].seconds = value);
        refused("duration", &|e| e.builds[0].seconds = value);
        refused("environment", &|e| e.environment.steal = Some(value));
    }
    refused("20001 series", &|e| e.series = vec![e.series[0].clone(); ROWS_MAX + 1]);
    refused("judged pairs", &|e| e.judged_pairs = u32::MAX);
    refused("visits", &|e| e.series[0].visits = vec![Visit::single(Side::Base, 1.0, 1.0); VISITS_MAX + 1]);
    refused("pairs", &|e| e.series[0].visits[0].pairs = vec![[1.0, 1.0]; PAIRS_MAX + 1]);
    refused("two series", &|e| e.series.push(e.series[0].clone()));
    refused("no suite \"others\"", &|e| e.series[0].suite = "others".into());
    refused("no suite \"../..\"", &|e| e.failures[0].suite = "../..".into());
    refused("no suite", &|e| e.one_sided[0].suite = "others".into());
    refused("is no name", &|e| e.series[0].benchmark = BenchmarkId("a\0b".into()));
    refused("is no name", &|e| e.series[0].benchmark = BenchmarkId("a\nb".into()));
    refused("is no name", &|e| e.one_sided[0].benchmark = BenchmarkId(String::new()));
    refused("longer than 1000", &|e| e.identical = vec!["é".repeat(NAME_MAX_CHARS + 1)]);
    refused("longer than", &|e| e.failures[0].output = "x".repeat(OUTPUT_MAX_BYTES + 1));
    refused("longer than", &|e| e.environment.warnings = vec!["x".repeat(OUTPUT_MAX_BYTES + 1)]);
    refused("is aaaa", &|e| e.builds[1].commit = sha("a"));
    refused("built twice", &|e| e.builds.push(e.builds[0].clone()));
    refused("negative", &|e| e.measure_ms = -1);
}
