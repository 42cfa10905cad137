//! A database with something in it, made through the real functions: for tests of pages, and for looking at them.

pub use crate::seed_reports::{environment, evidence_of, report, row, slow_report};

use crate::database::{Fresh, On};
use crate::seed_reports::{broken_report, fast_report};
use bot::access::Access;
use bot::clock::Clock;
use bot::config::LEASE_MS;
use bot::db::judgements::{self, Judgement};
use bot::db::{self, Db, calibrations, comparisons, job_log, jobs, pulls, repositories, runners};
use bot::evidence::EvidenceStore;
use bot::judgement::{CommitJudgement, CommitsJudgement, Finding, Level};
use bot::listeners::Listeners;
use bot::pull::{InstallationId, PullRequest, PullState, RepoId, RepoName, Repository};
use bot::queue::JobState;
use bot::web::pages::Site;
use perfsuite::model::wire::{Phase, Progress};
use perfsuite::model::{JobId, JobLimits, JobSpec, Report, Sha, Trust};
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
        Self::of(database, dir).await
    }

    /// On a database that stays, with what it has.
    pub async fn kept(url: &str) -> Self {
        Self::of(Fresh::kept(url), tempfile::tempdir().unwrap()).await
    }

    async fn of(database: Fresh, dir: TempDir) -> Self {
        let db = Db::open(&database.url).await.unwrap_or_else(|error| panic!("{error:#}"));
        let evidence = EvidenceStore::new(dir.path().join("evidence"));
        Self {
            site: Site {
                db,
                evidence,
                clock: Clock::fixed(NOW_MS),
                access: Access::default(),
                live: Listeners::new(CancellationToken::new()),
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

/// A database identifier that no seed uses.
pub fn unknown_job() -> String {
    db::new_id()
}
