//! Watches the demonstration's job and waits until its outcome stands on the pull request.

use super::standin::StandIn;
use crate::app::App;
use crate::db::jobs::{self, Job};
use crate::db::{pulls, repositories};
use crate::error::UserError;
use crate::judgement::Run;
use crate::pull::RepoId;
use crate::{comment, runs};
use anyhow::Context;
use perfsuite::observe::Observer;
use perfsuite::progress::Bars;
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(300);

/// The end of a demonstration.
pub struct Seen {
    /// As it stands on the pull request.
    pub comment: String,
    pub run: Run,
    /// How many comments the pull request has; one is right.
    pub comments: usize,
}

/// Shows progress until the job has ended and the comment tells of it.
pub async fn until_comment(
    app: &App,
    github: &StandIn,
    repository: RepoId,
    number: u64,
) -> anyhow::Result<Seen> {
    let bars = Bars::on_stderr();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some(failed) = crate::db::deliveries::newest_failure(&app.db).await? {
            return Err(UserError::new(format!("the delivery could not be worked on: {failed}")).into());
        }
        let Some(job) = newest_job(app, repository, number).await? else { continue };
        if let Some(progress) = &job.progress
            && job.state.held()
        {
            bars.progress(progress.clone());
        }
        if !job.state.ended() || crate::db::writes::waiting(&app.db).await? > 0 {
            continue;
        }
        bars.finish();
        let repository = repositories::by_id(app.db.pool(), repository).await?.context("the repository")?;
        let mut connection = app.db.pool().acquire().await?;
        let run = runs::load(&mut connection, &repository, number, app.clock.now_ms())
            .await?
            .context("the run")?
            .run;
        let marker = comment::marker(repository.id, number);
        let comments = github.comments(repository.id, number);
        let ours = comments.iter().find(|seen| seen.body.starts_with(&marker));
        let body = ours.map(|seen| seen.body.clone()).context("there is no comment on the pull request")?;
        return Ok(Seen { comment: body, run, comments: comments.len() });
    }
}

async fn newest_job(app: &App, repository: RepoId, number: u64) -> anyhow::Result<Option<Job>> {
    let Some(row) = pulls::get(app.db.pool(), repository, number).await? else { return Ok(None) };
    Ok(jobs::newest(app.db.pool(), repository, number, &row.pull.head_sha).await?)
}
