//! The comment and the check runs of a head, made once more from what was kept: git's objects, the ledger, the evidence.

use crate::assess::{self, Whose};
use crate::conventions::checked;
use crate::conventions::claims;
use crate::db::dossiers::{self, Dossier};
use crate::db::jobs::{self, Job};
use crate::db::{Db, approvals};
use crate::dossier::{Digests, RULES, Scene, digests};
use crate::error::UserError;
use crate::evidence::{self, EvidenceStore};
use crate::facts::GitFacts;
use crate::git::{History, Mirrors};
use crate::handlers::reviews;
use crate::judgement::{
    Checks, ChecksReport, Performance, RUN_SCHEMA, ReviewsJudgement, Run, TestsJudgement,
};
use crate::outgoing::Outgoing;
use crate::pull::RepoId;
use crate::repo_config::Trigger;
use anyhow::Context;
use perfsuite::model::{JobId, Sha};
use std::collections::BTreeMap;

/// What came of it.
pub struct Texts {
    pub made: Vec<Outgoing>,
    /// Digests of what was wanted when it was shown.
    pub shown: Digests,
    pub rules: i64,
    pub config: Option<String>,
}

impl Texts {
    /// Names of texts that are not what was shown, in either direction.
    pub fn differing(&self) -> Vec<String> {
        let made = digests(&self.made);
        let names: std::collections::BTreeSet<&String> = made.keys().chain(self.shown.keys()).collect();
        names.into_iter().filter(|name| made.get(*name) != self.shown.get(*name)).cloned().collect()
    }

    /// What rules and configuration judged, in words.
    pub fn by(&self) -> String {
        let config = match &self.config {
            Some(id) => format!("configuration {}", id.get(..10).unwrap_or(id)),
            None => "no configuration".into(),
        };
        match self.rules == i64::from(RULES) {
            true => format!("by rules {RULES} and {config}"),
            false => format!("by rules {} (this program has rules {RULES}) and {config}", self.rules),
        }
    }
}

/// Makes a head's texts again (`None`: the head that was judged last). `None` where nothing was kept of it.
pub async fn texts(
    db: &Db,
    mirrors: &Mirrors,
    store: &EvidenceStore,
    repository: RepoId,
    number: u64,
    head: Option<&Sha>,
) -> anyhow::Result<Option<Texts>> {
    let Some(dossier) = dossiers::get(db.pool(), repository, number, head).await? else { return Ok(None) };
    let (Some(scene), Some(shown)) = (dossier.scene.clone(), dossier.texts.clone()) else { return Ok(None) };
    let run = run(db, mirrors, store, repository, &dossier, &scene).await?;
    Ok(Some(Texts { made: scene.texts(&run), shown, rules: dossier.rules, config: dossier.config }))
}

/// Judges everything once more.
async fn run(
    db: &Db,
    mirrors: &Mirrors,
    store: &EvidenceStore,
    repository: RepoId,
    dossier: &Dossier,
    scene: &Scene,
) -> anyhow::Result<Run> {
    let kept = &dossier.facts;
    let ledger = approvals::of_pull(db.pool(), repository, kept.opened.number).await?;
    let (mirrors, of_git) = (mirrors.clone(), kept.clone());
    let judged = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let history = mirrors.open(repository).map_err(gone)?;
        let facts = GitFacts::read(&history, &of_git.base_tip, &of_git.head).map_err(gone)?;
        let what_if = of_git.what_if.as_ref();
        let whose = Whose::Opened { author: &of_git.author, opened: &of_git.opened, what_if };
        let trigger = match of_git.asked {
            true => Trigger::Command { suite: of_git.suite.as_deref() },
            false => Trigger::Push { labels: &of_git.labels },
        };
        let assessment = assess::assess(&facts, whose, trigger);
        let ledger = ledger.into_iter().map(|entry| (entry.review, entry)).collect();
        let reviews = judged_reviews(&history, &facts, &assessment.config.reviews, &of_git, &ledger)?;
        Ok((assessment, reviews))
    });
    let (assessment, reviews) = judged.await.context("judging was ended")??;
    let performance = match &scene.performance {
        Some(performance) => performance.clone(),
        None => {
            let job = job(db, scene.job.as_ref()).await?;
            let (report, _) = super::replay(db, store, &job).await?;
            Performance::Done { report: Box::new(report) }
        }
    };
    let tests = match assessment.tests {
        None => None,
        Some(mut asked) => {
            asked.skipped = kept.untried.clone();
            let checks = match &scene.checks {
                Some(checks) => checks.clone(),
                None => {
                    let job = job(db, scene.check_job.as_ref()).await?;
                    Checks::Done { report: Box::new(checks_again(store, &job)?) }
                }
            };
            Some(TestsJudgement { asked, checks })
        }
    };
    let run = Run {
        schema: RUN_SCHEMA,
        repository: scene.repository.name.to_string(),
        pull: Some(scene.pull.number),
        base: scene.base.clone(),
        head: kept.head.clone(),
        commits: assessment.commits,
        config_error: assessment.config_error,
        reviews,
        tests,
        accepted: scene.accepted.clone(),
        performance,
    };
    Ok(claims::with_measured(run))
}

fn judged_reviews(
    history: &History,
    facts: &GitFacts,
    config: &crate::repo_config::ReviewsConfig,
    kept: &crate::dossier::Facts,
    ledger: &BTreeMap<i64, approvals::Entry>,
) -> anyhow::Result<Option<ReviewsJudgement>> {
    let Some(of_reviews) = &kept.reviews else { return Ok(None) };
    let Some((owners, _)) = reviews::owners(facts, config) else { return Ok(None) };
    let patches = history.patches(&facts.merge_base, &kept.head).map_err(gone)?;
    Ok(Some(reviews::judged(&owners, of_reviews, &kept.author, config, &patches, ledger)))
}

/// The verdict on a job of checks, from its stored evidence.
pub fn checks_again(store: &EvidenceStore, job: &Job) -> anyhow::Result<ChecksReport> {
    let nothing = |why: String| UserError::new(format!("the checks {} cannot be replayed: {why}", job.id));
    let digest = job.evidence.as_ref().ok_or_else(|| nothing(format!("they are {}", job.state)))?;
    if store.open(digest)?.is_none() {
        return Err(nothing(format!("their evidence {digest} is no longer kept")).into());
    }
    let bytes = store.bytes(digest)?;
    if perfsuite::evidence::digest(&bytes) != *digest {
        return Err(nothing("their evidence was changed".into()).into());
    }
    let evidence = evidence::decode_for(&bytes, &job.spec).map_err(|why| nothing(format!("{why:#}")))?;
    let asked = job.spec.checks.as_ref().zip(evidence.checks.as_ref());
    let (asked, found) = asked.ok_or_else(|| nothing("it is no job of checks".into()))?;
    Ok(checked::decide(&job.spec.head, asked, found))
}

async fn job(db: &Db, id: Option<&JobId>) -> anyhow::Result<Job> {
    let id = id.context("what was measured has a job")?;
    jobs::get(db.pool(), id).await?.context("a job is never forgotten")
}

/// Mirrors may be removed where the disk is short.
fn gone(error: crate::git::GitError) -> UserError {
    UserError::new(format!("the commits cannot be read again: {error}"))
}
