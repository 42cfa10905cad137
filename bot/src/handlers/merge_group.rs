//! A merge queue asks about a group of pull requests: what will land is there, commit by commit, so that is judged.

use super::load_repository;
use crate::app::App;
use crate::assess;
use crate::checks;
use crate::db::{repositories, writes};
use crate::event::Place;
use crate::facts::GitFacts;
use crate::git::{GitError, Wants};
use crate::judgement::{Performance, RUN_SCHEMA, Run};
use crate::outgoing::Outgoing;
use crate::pull::Repository;
use crate::repo_config::Trigger;
use anyhow::Context;
use perfsuite::model::Sha;

/// Judges the commits between the two, and answers every check that a queue may wait for.
pub async fn handle(app: &App, place: &Place, base: &Sha, head: &Sha) -> anyhow::Result<()> {
    let repository = load_repository(app, place).await?;
    let mut run = Run {
        schema: RUN_SCHEMA,
        repository: repository.name.to_string(),
        pull: None,
        base: base.clone(),
        head: head.clone(),
        commits: Default::default(),
        config_error: None,
        reviews: None,
        tests: None,
        accepted: None,
        performance: Performance::Skipped { reason: "a merge queue's groups are not measured".into() },
    };
    let (mut reviewed, mut tested) = (false, false);
    match facts(app, &repository, base, head).await? {
        Ok(facts) => {
            let assessment = assess::assess(&facts, assess::Whose::Group, Trigger::Push { labels: &[] });
            reviewed = assessment.asks_for_reviews(&facts);
            tested = assessment.tests.is_some();
            run.base = facts.merge_base;
            (run.commits, run.config_error) = (assessment.commits, assessment.config_error);
        }
        Err(reason) => run.commits = assess::unreadable_commits(head, "a merge queue's group", &reason),
    }
    let details = format!("{}/{}", app.public_url, repository.name);
    let mut wanted = vec![checks::commits_check(&run, &details), checks::performance_check(&run, &details)];
    wanted.extend(checks::config_check(&run, &details));
    if reviewed {
        wanted.push(checks::reviewed_before(&run, &details));
    }
    if tested {
        wanted.push(checks::tested_before(&run, &details));
    }
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin().await?;
    repositories::upsert(&mut tx, &repository, now_ms).await?;
    for check in wanted {
        let body = Outgoing::CheckRun(check);
        writes::want(&mut tx, repository.installation, repository.id, &body, now_ms).await?;
    }
    tx.commit().await?;
    app.wake.writes.notify_one();
    Ok(())
}

/// The facts, or in words why they are beyond what is judged.
async fn facts(
    app: &App,
    repository: &Repository,
    base: &Sha,
    head: &Sha,
) -> anyhow::Result<Result<GitFacts, String>> {
    let token = app.github.installation_token(repository.installation).await?;
    let url = app.github.git_url(&repository.name);
    let (mirrors, id, base, head) = (app.mirrors.clone(), repository.id, base.clone(), head.clone());
    tokio::task::spawn_blocking(move || {
        let wants = Wants { commits: vec![base.clone(), head.clone()], ..Wants::default() };
        if let Err(error) = mirrors.fetch(id, &url, Some(&token), &wants) {
            return match error.refused_objects() {
                Some(reason) => Ok(Err(reason)),
                None => Err(error.into()),
            };
        }
        match GitFacts::read(&mirrors.open(id)?, &base, &head) {
            Ok(facts) => Ok(Ok(facts)),
            Err(error @ (GitError::TooMany { .. } | GitError::Range(_) | GitError::NoMergeBase(_))) => {
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    })
    .await
    .context("reading git was ended")?
}
