//! A database with something in it, made through the real functions: for tests of pages, and for looking at them.

use crate::database::{Fresh, On};
use bot::access::Access;
use bot::clock::Clock;
use bot::config::LEASE_MS;
use bot::db::judgements::{self, Judgement};
use bot::db::{self, Db, calibrations, comparisons, job_log, jobs, pulls, repositories, runners};
use bot::evidence::EvidenceStore;
use bot::judgement::{CommitJudgement, CommitsJudgement, Finding, Level};
use bot::pull::{InstallationId, PullRequest, PullState, RepoId, RepoName, Repository};
use bot::queue::JobState;
use bot::web::pages::Site;
use bot::web::pages::live::Live;
use perfsuite::model::evidence::EVIDENCE_SCHEMA;
use perfsuite::model::wire::{Phase, Progress};
use perfsuite::model::{
    BenchmarkId, Build, Calibration, Certainty, Comparison, Environment, Evidence, Failure, FailureReason,
    JobId, JobLimits, JobSpec, Metric, MissingTool, Mode, OneSided, Report, Series, Sha, Side, Tool, Trust,
    Verdict, Visit,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// 2026-11-22 10:57:04 UTC
pub const NOW_MS: i64 = 1_795_345_024_000;
pub const MINUTE_MS: i64 = 60_000;

/// A site of its own on a fresh database.
pub struct Seeded {
    pub site: Site,
    pub database: Fresh,
    /// The data directory.
    pub dir: TempDir,
}

impl Seeded {
    pub async fn empty(on: On) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Fresh::new(on, dir.path()).await;
        let db = Db::open(&database.url).await.unwrap();
        let evidence = EvidenceStore::new(dir.path().join("evidence"));
        Self {
            site: Site {
                db,
                evidence,
                clock: Clock::fixed(NOW_MS),
                access: Access::default(),
                live: Live::new(CancellationToken::new()),
            },
            database,
            dir,
        }
    }

    pub fn db(&self) -> &Db {
        &self.site.db
    }

    pub async fn repository(&self, id: i64, owner: &str, name: &str, private: bool) -> Repository {
        let repository = Repository {
            id: RepoId(id),
            installation: InstallationId(1),
            name: RepoName { owner: owner.into(), name: name.into() },
            private,
            default_branch: "main".into(),
        };
        let mut tx = self.db().begin().await.unwrap();
        repositories::upsert(&mut tx, &repository, NOW_MS).await.unwrap();
        tx.commit().await.unwrap();
        repository
    }

    /// Stores a pull request and what the conventions say of its head.
    pub async fn pull(
        &self,
        repository: &Repository,
        pull: &PullRequest,
        judgement: Option<&Judgement>,
        at_ms: i64,
    ) {
        let mut tx = self.db().begin().await.unwrap();
        pulls::upsert(&mut tx, repository.id, pull, at_ms).await.unwrap();
        pulls::set_merge(&mut tx, repository.id, pull.number, &base(), "clean").await.unwrap();
        if let Some(judgement) = judgement {
            judgements::upsert(&mut tx, repository.id, pull.number, &pull.head_sha, judgement, at_ms)
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// A job in the queue.
    pub async fn queue(
        &self,
        repository: &Repository,
        number: u64,
        head: &Sha,
        id: u32,
        at_ms: i64,
    ) -> JobId {
        let spec = JobSpec {
            job: job_id(id),
            repository: repository.name.to_string(),
            base: base(),
            head: head.clone(),
            trust: Trust::Stranger,
            suites: Vec::new(),
            limits: JobLimits::default(),
            budget: 0.01,
            seed: 7,
            all: false,
            checks: None,
            focus: None,
        };
        let mut tx = self.db().begin().await.unwrap();
        jobs::insert(&mut tx, repository.id, number, &spec, true, at_ms).await.unwrap();
        tx.commit().await.unwrap();
        spec.job
    }

    pub async fn runner(&self, name: &str, builtin: bool, seen_ms: i64) -> runners::Runner {
        let token = runners::new_token();
        runners::upsert(self.db(), name, &token, builtin, NOW_MS - 1_000 * MINUTE_MS).await.unwrap();
        let runner = runners::by_token(self.db(), &token).await.unwrap().unwrap();
        runners::seen(self.db(), &runner.id, Some(&environment()), Some(true), seen_ms).await.unwrap();
        runner
    }

    /// Gives the oldest queued job to a runner.
    pub async fn claim(&self, runner: &runners::Runner, at_ms: i64) -> jobs::Job {
        jobs::claim(self.db(), &runner.id, true, at_ms, LEASE_MS).await.unwrap().unwrap()
    }

    pub async fn measuring(&self, job: &jobs::Job, text: &str, done: u64, total: u64) {
        let progress = Progress { phase: Phase::Measuring, text: text.into(), done, total };
        let held =
            jobs::heartbeat(self.db(), &job.id, job.fence, JobState::Measuring, &progress, NOW_MS).await;
        assert!(held.unwrap());
    }

    pub async fn log(&self, job: &JobId, lines: &[&str]) {
        let lines: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
        job_log::append(self.db(), job, &lines, NOW_MS).await.unwrap();
    }

    /// Ends a claimed job with a report, its rows and its evidence.
    pub async fn finish(&self, job: &jobs::Job, report: &Report, at_ms: i64) {
        let evidence = serde_json::to_vec(&evidence_of(&job.spec, report)).unwrap();
        let digest = self.site.evidence.put(&zstd::encode_all(&evidence[..], 1).unwrap()).unwrap();
        let mut tx = self.db().begin().await.unwrap();
        let end = jobs::End::Done { evidence: &digest, report };
        assert!(jobs::end(&mut tx, &job.id, job.fence, &end, at_ms).await.unwrap());
        comparisons::insert_all(&mut tx, job.repository, &job.id, &report.rows).await.unwrap();
        let (runner, seen) = (job.runner.as_deref().unwrap(), &report.calibration);
        calibrations::insert_all(&mut tx, job.repository, &job.id, runner, seen, at_ms).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub async fn fail(&self, job: &jobs::Job, error: &str, at_ms: i64) {
        let mut tx = self.db().begin().await.unwrap();
        assert!(jobs::end(&mut tx, &job.id, job.fence, &jobs::End::Failed { error }, at_ms).await.unwrap());
        tx.commit().await.unwrap();
    }

    /// What a small team would see on a working day; the ids are those of [`job_id`].
    pub async fn working_day(on: On) -> Self {
        let seeded = Self::empty(on).await;
        let own = seeded.runner("bench-01", true, NOW_MS - 2_000).await;
        seeded.runner("rack-7", false, NOW_MS - 9 * 24 * 60 * MINUTE_MS).await;
        let gateway = seeded.repository(1, "acme", "gateway", false).await;
        let codec = seeded.repository(2, "acme", "codec", false).await;
        let secret = seeded.repository(3, "acme", "secret-sauce", true).await;
        seeded.repository(4, "octo", "quiet-library", false).await;

        let slow = pull(17, "feat(route): normalise paths before they are matched", "alice", sha('d'));
        seeded.pull(&gateway, &slow, Some(&judged(mixed_commits())), NOW_MS - 8 * MINUTE_MS).await;
        seeded.queue(&gateway, 17, &sha('c'), 1, NOW_MS - 60 * MINUTE_MS).await;
        let first = seeded.claim(&own, NOW_MS - 59 * MINUTE_MS).await;
        let mut tx = seeded.db().begin().await.unwrap();
        let (keep, ended_ms) = (Some((&sha('d'), &base())), NOW_MS - 50 * MINUTE_MS);
        jobs::supersede(&mut tx, jobs::Kind::Measure, gateway.id, 17, keep, "a newer push", ended_ms)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(first.id, job_id(1));
        seeded.queue(&gateway, 17, &sha('d'), 2, NOW_MS - 40 * MINUTE_MS).await;
        let second = seeded.claim(&own, NOW_MS - 39 * MINUTE_MS).await;
        seeded.log(&second.id, &["Compiling gateway v0.1.0", "Finished `bench` profile in 38.2s"]).await;
        seeded.finish(&second, &slow_report(), NOW_MS - 33 * MINUTE_MS).await;

        let broken = pull(16, "refactor: one error type for all of the proxy", "bob", sha('b'));
        seeded.pull(&gateway, &broken, Some(&judged(fine_commits())), NOW_MS - 90 * MINUTE_MS).await;
        seeded.queue(&gateway, 16, &sha('b'), 3, NOW_MS - 91 * MINUTE_MS).await;
        let third = seeded.claim(&own, NOW_MS - 90 * MINUTE_MS).await;
        seeded.finish(&third, &broken_report(), NOW_MS - 88 * MINUTE_MS).await;

        let docs = pull(15, "docs: say how to reload the configuration", "carol", sha('9'));
        let skipped =
            Judgement { skipped: Some("only documentation changed".into()), ..judged(fine_commits()) };
        seeded.pull(&gateway, &docs, Some(&skipped), NOW_MS - 26 * 60 * MINUTE_MS).await;

        let fork =
            PullRequest { from_fork: true, ..pull(14, "perf(limit): fewer clock reads", "dave", sha('8')) };
        seeded.pull(&gateway, &fork, Some(&judged(fine_commits())), NOW_MS - 30 * 60 * MINUTE_MS).await;

        let merged = PullRequest {
            state: PullState::Merged,
            ..pull(12, "perf: reuse the header buffer", "alice", sha('7'))
        };
        seeded.pull(&gateway, &merged, Some(&judged(fine_commits())), NOW_MS - 70 * 60 * MINUTE_MS).await;
        seeded.queue(&gateway, 12, &sha('7'), 4, NOW_MS - 71 * 60 * MINUTE_MS).await;
        let fourth = seeded.claim(&own, NOW_MS - 71 * 60 * MINUTE_MS).await;
        seeded.finish(&fourth, &fast_report(), NOW_MS - 70 * 60 * MINUTE_MS).await;

        let running = pull(5, "feat: decode in blocks of sixteen", "erin", sha('6'));
        seeded.pull(&codec, &running, Some(&judged(fine_commits())), NOW_MS - 3 * MINUTE_MS).await;
        seeded.queue(&codec, 5, &sha('6'), 5, NOW_MS - 4 * MINUTE_MS).await;
        let fifth = seeded.claim(&own, NOW_MS - 3 * MINUTE_MS).await;
        seeded.measuring(&fifth, "measuring block/decode/4096, visit 22", 14, 45).await;
        let lines =
            ["base: Compiling codec v2.1.0", "base: Finished in 41 s", "head: Finished in 12 s", "14 of 45"];
        seeded.log(&fifth.id, &lines).await;

        let hidden = pull(1, "the secret plan", "mallory", sha('5'));
        seeded.pull(&secret, &hidden, Some(&judged(fine_commits())), NOW_MS - MINUTE_MS).await;
        seeded.queue(&secret, 1, &sha('5'), 6, NOW_MS - 2 * MINUTE_MS).await;

        let waiting = pull(4, "fix: do not read past the last block", "frank", sha('4'));
        seeded.pull(&codec, &waiting, Some(&judged(fine_commits())), NOW_MS - MINUTE_MS).await;
        seeded.queue(&codec, 4, &sha('4'), 7, NOW_MS - MINUTE_MS).await;

        let failed = pull(3, "chore: raise the toolchain", "grace", sha('3'));
        seeded.pull(&codec, &failed, Some(&judged(fine_commits())), NOW_MS - 200 * MINUTE_MS).await;
        seeded.queue(&codec, 3, &sha('3'), 8, NOW_MS - 500 * MINUTE_MS).await;
        let eighth = seeded.claim(&own, NOW_MS - 499 * MINUTE_MS).await;
        let error =
            "the disk of the runner is full\nNo space left on device (os error 28)\nwhile linking codec";
        seeded.fail(&eighth, error, NOW_MS - 498 * MINUTE_MS).await;
        seeded
    }
}

/// A commit id of one digit, forty times.
pub fn sha(digit: char) -> Sha {
    digit.to_string().repeat(40).parse().unwrap()
}

pub fn base() -> Sha {
    "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334".parse().unwrap()
}

/// The id of the job with this number.
pub fn job_id(number: u32) -> JobId {
    JobId(format!("0193f2a0-0000-7000-8000-{number:012x}"))
}

pub fn pull(number: u64, title: &str, author: &str, head: Sha) -> PullRequest {
    PullRequest {
        number,
        title: title.into(),
        author: author.into(),
        author_is_bot: false,
        state: PullState::Open,
        draft: false,
        base_ref: "main".into(),
        base_sha: base(),
        head_ref: "topic".into(),
        head_sha: head,
        from_fork: false,
        labels: Vec::new(),
        opened_ms: NOW_MS - 5 * 24 * 60 * MINUTE_MS,
    }
}

pub fn judged(commits: CommitsJudgement) -> Judgement {
    Judgement { commits, config_error: None, reviews: None, tests: None, label: None, skipped: None }
}

pub fn fine_commits() -> CommitsJudgement {
    let commit = |digit, header: &str| CommitJudgement {
        sha: sha(digit),
        header: header.into(),
        compliant: Some(true),
        findings: Vec::new(),
    };
    CommitsJudgement {
        commits: vec![commit('1', "feat: the first half"), commit('2', "feat: the second half")],
        ..CommitsJudgement::default()
    }
}

pub fn mixed_commits() -> CommitsJudgement {
    let mut judgement = fine_commits();
    judgement.commits.push(CommitJudgement {
        sha: sha('3'),
        header: "Normalise paths".into(),
        compliant: Some(false),
        findings: vec![
            Finding {
                rule: "header-form".into(),
                level: Level::Error,
                line: 1,
                column: 1,
                message: "The header has no type; it wants `type(scope): description`.".into(),
                suggestion: Some("feat(route): normalise paths".into()),
            },
            Finding {
                rule: "body-max-line-length".into(),
                level: Level::Warn,
                line: 3,
                column: 101,
                message: "The line has 124 graphemes; 100 are allowed.".into(),
                suggestion: None,
            },
        ],
    });
    judgement
}

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

fn fast_report() -> Report {
    report(vec![
        row("headers/strip/12", Metric::Time, 842.0, -0.121, Verdict::Faster),
        row("limit/sliding/10", Metric::Time, 380.0, 0.001, Verdict::Equal),
    ])
}

fn broken_report() -> Report {
    let error = "error[E0308]: mismatched types\n  --> gateway/src/proxy/mod.rs:41:9";
    Report {
        builds: vec![build(Side::Base, base(), None), build(Side::Head, sha('b'), Some(error))],
        ..report(Vec::new())
    }
}

/// A database identifier that no seed uses.
pub fn unknown_job() -> String {
    db::new_id()
}
