//! `perfsuite report` through the door: the same bytes in, the same bytes out, and bundles that are no such thing.

use perfsuite::model::evidence::EVIDENCE_SCHEMA;
use perfsuite::model::{
    BenchmarkId, CriterionSuite, Environment, Evidence, JobId, JobLimits, JobSpec, Metric, Mode, Series,
    Side, SuiteKind, SuiteSpec, Trust, Visit,
};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};

fn evidence() -> Evidence {
    let suite = SuiteSpec {
        name: "widgets".into(),
        kind: SuiteKind::Criterion(CriterionSuite::default()),
        paths: vec![],
        on: "push".into(),
        mode: Mode::default(),
        metrics: Default::default(),
        benchmarks: Default::default(),
    };
    let visit = |n: u32| {
        let base = 100.0 + f64::from(n * 7 % 11) / 10.0;
        Visit::single(Side::Base, base, base * 1.2)
    };
    Evidence {
        schema: EVIDENCE_SCHEMA,
        spec: JobSpec {
            job: JobId("local".into()),
            repository: ".".into(),
            base: "a".repeat(40).parse().unwrap(),
            head: "b".repeat(40).parse().unwrap(),
            trust: Trust::Own,
            suites: vec![suite],
            limits: JobLimits::default(),
            budget: 0.01,
            seed: 1,
            all: false,
            checks: None,
            focus: None,
        },
        environment: Environment::default(),
        builds: vec![],
        calibration: vec![],
        series: vec![Series {
            suite: "widgets".into(),
            benchmark: BenchmarkId("widgets/one".into()),
            metric: Metric::Time,
            visits: (0..20).map(visit).collect(),
            seconds: 1.0,
            instructions: None,
        }],
        failures: vec![],
        one_sided: vec![],
        judged_pairs: 1,
        identical: vec![],
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

fn report(file: &Path, format: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perfsuite"));
    // No environment, and a directory where nothing is: all that counts is the bundle.
    command.env_clear().current_dir("/").args(["report", "--format", format]).arg(file).output().unwrap()
}

#[test]
fn the_same_bundle_gives_the_same_bytes_wherever_it_lies() {
    let directory = tempfile::tempdir().unwrap();
    let json = serde_json::to_vec(&evidence()).unwrap();
    let packed = zstd::encode_all(json.as_slice(), 3).unwrap();
    let digest = perfsuite::evidence::digest(&packed);
    let files = [("plain.json", &json), ("packed", &packed), (&*format!("{digest}.json.zst"), &packed)].map(
        |(name, bytes)| {
            let file = directory.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            file
        },
    );
    for format in ["json", "text", "markdown"] {
        let first = report(&files[0], format);
        assert_eq!(first.status.code(), Some(1), "a change: {}", String::from_utf8_lossy(&first.stderr));
        assert!(String::from_utf8_lossy(&first.stdout).contains("widgets/one"));
        for file in &files {
            assert_eq!(report(file, format).stdout, first.stdout, "{format} of {}", file.display());
        }
    }
}

#[test]
fn bundles_that_are_none_are_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8], expect: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let output = report(&file, "json");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{name}: {said}");
        assert!(said.starts_with("perfsuite: ") && said.contains(expect), "{name}: {said}");
    };
    let pack = |evidence: &Evidence| zstd::encode_all(&serde_json::to_vec(evidence).unwrap()[..], 3).unwrap();
    let sound = pack(&evidence());
    refused("empty", b"", "is no evidence of a run");
    refused("text", b"hello", "is no evidence of a run");
    refused("cut", &sound[..sound.len() / 2], "was cut short");
    refused("grown", &[&sound[..], b"more"].concat(), "is no zstd stream, or was cut short");
    refused(&format!("{}.json.zst", "0".repeat(64)), &sound, "was changed: its name says SHA-256 0000");
    let bomb = zstd::encode_all(std::io::repeat(b' ').take(129 << 20), 1).unwrap();
    refused("bomb", &bomb, "unpacks to more than 134217728 bytes");
    refused("newer", b"{\"schema\": 7}", "has format 7, this program reads 1");
    let mut impossible = evidence();
    impossible.series[0].visits[3].head = -1.0;
    refused("negative", &pack(&impossible), "a value that nothing can measure");
    let mut stranger = evidence();
    stranger.series[0].suite = "another".into();
    refused("stranger", &pack(&stranger), "the job has no suite \"another\"");
    let mut twice = evidence();
    twice.series.push(twice.series[0].clone());
    refused("twice", &pack(&twice), "has two series of one metric");

    let output = report(Path::new("/no/such/bundle"), "text");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot open /no/such/bundle"));
}

/// Between two executables identical code lies at other places, which moves its time; more than that contradicts.
#[test]
fn identical_code_is_judged_by_what_its_place_in_memory_makes() {
    use perfsuite::model::{Certainty, Unaffected, Verdict};
    // A change, visits, and what becomes of it: the verdict, and whether a change would have been called otherwise.
    let cases = [
        (1.02, 0.001, 60, Verdict::Equal, true),
        (0.97, 0.002, 60, Verdict::Equal, true),
        (1.00, 0.10, 8, Verdict::Inconclusive, false),
        (1.05, 0.004, 60, Verdict::Inconclusive, true),
        (1.08, 0.002, 60, Verdict::Slower, true),
        (0.90, 0.002, 60, Verdict::Faster, true),
    ];
    for (change, spread, visits, verdict, called) in cases {
        let visit = |n: i32| {
            let noise = 1.0 + spread * f64::from(n * 7 % 11 - 5) / 5.0;
            Visit::single(Side::Base, 100.0, 100.0 * change * noise)
        };
        let mut evidence = evidence();
        evidence.series[0].visits = (0..visits).map(visit).collect();
        let row = perfsuite::verdict::judge(&evidence).rows.remove(0);
        assert_eq!(row.changed(), called, "{change} without knowing the code: {row:?}");
        evidence.unaffected = vec![Unaffected {
            suite: "widgets".into(),
            benchmark: BenchmarkId("widgets/one".into()),
            functions: 1,
        }];
        let report = perfsuite::verdict::judge(&evidence);
        let row = &report.rows[0];
        assert_eq!((row.verdict, row.blocks()), (verdict, false), "{change}: {row:?}");
        let suspect = row.certainty == Certainty::LayoutSuspect;
        assert_eq!((suspect, report.calibration[0].alarm), (row.changed(), row.changed()), "{change}");
        assert!(row.smallest_visible >= 0.05);
        let clock = report.clock_against_code().unwrap();
        let counts = [clock.agree.len(), clock.undecided.len(), clock.disagree.len()];
        let place = counts.iter().position(|count| *count == 1);
        assert_eq!(
            place,
            Some(match verdict {
                Verdict::Equal => 0,
                Verdict::Inconclusive => 1,
                Verdict::Slower | Verdict::Faster => 2,
            })
        );
    }
}
