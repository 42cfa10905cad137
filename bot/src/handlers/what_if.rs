//! Tries a proposed configuration on the pull requests that are known: everything that can be judged once more from what
//! was kept of them is, by the same rules, with the one file and with the other.

use super::reviews;
use crate::app::App;
use crate::assess::{self, Whose};
use crate::checks;
use crate::conventions::claims;
use crate::conventions::what_if::{Outcome, PULLS_MAX, Part, Tried, WhatIf};
use crate::db::approvals::{self, Entry};
use crate::db::dossiers::{self, Dossier};
use crate::db::jobs::{self, Kind};
use crate::facts::{self, ConfigText, GitFacts};
use crate::git::History;
use crate::judgement::{
    Checks, ChecksReport, Level, Performance, RUN_SCHEMA, ReviewsJudgement, Run, TestsJudgement,
};
use crate::outgoing::{CheckRun, CheckStatus, Conclusion};
use crate::pull::{PullRequest, Repository};
use crate::repo_config::{self, RepoConfig, Trigger};
use anyhow::Context;
use perfsuite::model::{Mode, Report};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// All of it: who waits for a judgement does not wait for statistics.
const TIME_MAX: Duration = Duration::from_secs(3);

/// `None` where the configuration does not change.
pub async fn ask(
    app: &App,
    repository: &Repository,
    pull: &PullRequest,
    facts: &GitFacts,
) -> anyhow::Result<Option<WhatIf>> {
    if !facts.changed.iter().any(|path| path == repo_config::PATH) {
        return Ok(None);
    }
    let began = Instant::now();
    let limit = i64::try_from(PULLS_MAX).unwrap_or(i64::MAX);
    let known = dossiers::newest(app.db.pool(), repository.id, pull.number, limit).await?;
    let (mirrors, id, head) = (app.mirrors.clone(), repository.id, pull.head_sha.clone());
    let read = move || -> anyhow::Result<_> { Ok(facts::config_at(&mirrors.open(id)?, &head)?.0) };
    let proposed = tokio::task::spawn_blocking(read).await.context("reading git was ended")??;
    if let Err(error) = assess::config_in(&proposed) {
        let words = format!("line {}, column {}: {}", error.line, error.column, error.message);
        return Ok(Some(WhatIf::invalid(words)));
    }
    let mut tried = Vec::new();
    for dossier in known {
        if began.elapsed() > TIME_MAX {
            break;
        }
        let past = Past::load(app, repository, dossier).await?;
        let (mirrors, files) = (app.mirrors.clone(), [facts.config.clone(), proposed.clone()]);
        let one = move || anyhow::Ok(past.tried(&mirrors.open(id)?, files));
        // What cannot be read any more is no longer known.
        tried.extend(tokio::task::spawn_blocking(one).await.context("trying a configuration was ended")??);
    }
    Ok(Some(WhatIf::of(&tried)))
}

/// What was kept of one pull request's newest head.
struct Past {
    repository: String,
    dossier: Dossier,
    ledger: BTreeMap<i64, Entry>,
    report: Option<Report>,
    checks: Option<ChecksReport>,
}

impl Past {
    async fn load(app: &App, repository: &Repository, dossier: Dossier) -> anyhow::Result<Self> {
        let (number, head) = (dossier.facts.opened.number, dossier.facts.head.clone());
        let on = app.db.pool();
        let measured = jobs::newest(on, repository.id, number, &head).await?;
        let checked = jobs::newest_of(on, Kind::Check, repository.id, number, &head).await?;
        let ledger = approvals::of_pull(on, repository.id, number).await?;
        Ok(Self {
            repository: repository.name.to_string(),
            ledger: ledger.into_iter().map(|entry| (entry.review, entry)).collect(),
            report: measured.and_then(|job| job.report),
            checks: checked.and_then(|job| job.checks),
            dossier,
        })
    }

    /// By the configuration there is and by the one that is proposed; `None` where git has forgotten it.
    fn tried(self, history: &History, [now, then]: [ConfigText; 2]) -> Option<Tried> {
        let kept = &self.dossier.facts;
        let mut facts = GitFacts::read(history, &kept.base_tip, &kept.head).ok()?;
        let patches = history.patches(&facts.merge_base, &kept.head).ok();
        let mut by = |config: ConfigText| {
            facts.config = config;
            self.outcome(&facts, patches.as_ref())
        };
        Some(Tried { number: kept.opened.number, now: by(now), then: by(then) })
    }

    fn outcome(&self, facts: &GitFacts, patches: Option<&BTreeMap<String, String>>) -> Outcome {
        let kept = &self.dossier.facts;
        let whose = Whose::Opened { author: &kept.author, opened: &kept.opened, what_if: None };
        let assessment = assess::assess(facts, whose, Trigger::Push { labels: &kept.labels });
        let config = &assessment.config;
        let reviews = patches.and_then(|patches| self.reviews(facts, config, patches));
        let mut outcome = Outcome::from([(Part::Measured, assessment.plan.is_ok())]);
        // Who had approved is known where it was asked for then.
        let reviews_known = kept.reviews.is_some() || config.reviews.level == Level::Off;
        let tests = assessment.tests.map(|asked| TestsJudgement {
            asked,
            checks: match &self.checks {
                Some(report) => Checks::Done { report: Box::new(report.clone()) },
                None => Checks::Skipped { reason: String::new() },
            },
        });
        let run = claims::with_measured(Run {
            schema: RUN_SCHEMA,
            repository: self.repository.clone(),
            pull: Some(kept.opened.number),
            base: facts.merge_base.clone(),
            head: kept.head.clone(),
            commits: assessment.commits,
            config_error: None,
            reviews,
            tests,
            accepted: None,
            performance: match &self.report {
                Some(report) => Performance::Done { report: Box::new(with_modes(report, config)) },
                None => Performance::Skipped { reason: String::new() },
            },
        });
        let claims = run.commits.claims.iter().map(|claim| claim.level).max().unwrap_or(Level::Off);
        for (level, refused, told) in [
            (run.commits.worst(), Part::CommitsRefused, Part::CommitsTold),
            (claims, Part::ClaimsRefused, Part::ClaimsTold),
            (level(checks::tests_check(&run, "")), Part::TestsRefused, Part::TestsTold),
        ] {
            outcome.extend([(refused, level == Level::Error), (told, level == Level::Warn)]);
        }
        if reviews_known {
            let level = level(checks::reviews_check(&run, ""));
            outcome.extend([
                (Part::ReviewsRefused, level == Level::Error),
                (Part::ReviewsTold, level == Level::Warn),
            ]);
        }
        if self.report.is_some() {
            let level = level(Some(checks::performance_check(&run, "")));
            outcome.extend([
                (Part::PerformanceRefused, level == Level::Error),
                (Part::PerformanceTold, level == Level::Warn),
            ]);
        }
        outcome
    }

    fn reviews(
        &self,
        facts: &GitFacts,
        config: &RepoConfig,
        patches: &BTreeMap<String, String>,
    ) -> Option<ReviewsJudgement> {
        let kept = &self.dossier.facts;
        let (owners, _) = reviews::owners(facts, &config.reviews)?;
        let of_reviews = kept.reviews.as_ref()?;
        Some(reviews::judged(&owners, of_reviews, &kept.author, &config.reviews, patches, &self.ledger))
    }
}

/// What a check run does to the merge.
fn level(check: Option<CheckRun>) -> Level {
    match check.map(|check| check.status) {
        Some(CheckStatus::Completed(Conclusion::Failure | Conclusion::ActionRequired)) => Level::Error,
        Some(CheckStatus::Completed(Conclusion::Neutral)) => Level::Warn,
        _ => Level::Off,
    }
}

/// A report with the modes that a configuration gives, where the runner's calibration allowed them.
fn with_modes(report: &Report, config: &RepoConfig) -> Report {
    let mut report = report.clone();
    for row in report.rows.iter_mut().filter(|row| row.mode_reason.is_none()) {
        let suite = config.perf.suite.iter().find(|suite| suite.name == row.suite);
        row.mode = suite
            .map_or_else(|| Mode::of_metric(row.metric), |suite| suite.mode_of(&row.benchmark.0, row.metric));
    }
    report
}
