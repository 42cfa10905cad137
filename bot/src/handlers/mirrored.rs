//! Reading a repository's mirror after what is wanted was brought into it, on a thread of its own; and what every job has.

use crate::app::App;
use crate::assess::Plan;
use crate::db::new_id;
use crate::git::{GitError, History, Wants};
use crate::pull::{PullRequest, Repository};
use anyhow::Context;
use perfsuite::model::{JobId, JobSpec, Sha};

/// What a pull request is made of.
pub fn wants_of(pull: &PullRequest) -> Wants {
    Wants {
        pulls: vec![pull.number],
        branches: vec![pull.base_ref.clone()],
        // By id as well: the names may have moved on since GitHub told us the facts.
        commits: vec![pull.base_sha.clone(), pull.head_sha.clone()],
    }
}

/// What was read, or in words why it is beyond what is judged: git does not take its objects, or it is too much.
pub async fn read<T: Send + 'static>(
    app: &App,
    repository: &Repository,
    wants: Wants,
    read: impl FnOnce(&History) -> Result<T, GitError> + Send + 'static,
) -> anyhow::Result<Result<T, String>> {
    let token = app.github.installation_token(repository.installation).await?;
    let url = app.github.git_url(&repository.name);
    let (mirrors, id) = (app.mirrors.clone(), repository.id);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = mirrors.fetch(id, &url, Some(&token), &wants) {
            return match error.refused_objects() {
                Some(reason) => Ok(Err(reason)),
                None => Err(error.into()),
            };
        }
        match read(&mirrors.open(id)?) {
            Ok(found) => Ok(Ok(found)),
            Err(error @ (GitError::TooMany { .. } | GitError::Range(_) | GitError::NoMergeBase(_))) => {
                Ok(Err(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    })
    .await
    .context("reading git was ended")?
}

/// The job of a plan.
pub fn job(app: &App, repository: &Repository, plan: Plan, (base, head): (Sha, Sha)) -> JobSpec {
    JobSpec {
        job: JobId(new_id()),
        repository: repository.name.to_string(),
        base,
        head,
        trust: app.config.trust,
        suites: plan.suites,
        limits: plan.limits,
        budget: plan.budget,
        // Within what JSON numbers carry everywhere.
        seed: u64::from(rand::random::<u32>()),
        all: plan.all,
        checks: None,
        focus: None,
    }
}
