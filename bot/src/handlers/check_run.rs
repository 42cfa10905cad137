//! A button on one of our check runs: re-run, or allow a fork's head to run.

use super::{Ask, load_repository, merge_group, refresh};
use crate::app::App;
use crate::checks;
use crate::db::deliveries::Ending;
use crate::db::{jobs, pulls, writes};
use crate::event::{CheckRequest, Place};
use crate::policy;
use perfsuite::model::Sha;

pub async fn handle(
    app: &App,
    place: &Place,
    head: &Sha,
    request: &CheckRequest,
    by: &str,
) -> anyhow::Result<Ending> {
    // GitHub leaves `pull_requests` empty for forks, so the head is looked up in our own rows.
    let open = pulls::open_with_head(&app.db, place.repository, head).await?;
    let ask = match request {
        CheckRequest::Rerun { name } => match name.as_deref() {
            None => Ask::All,
            Some(checks::PERFORMANCE) => Ask::Again,
            Some(checks::TESTS) => Ask::Checks,
            Some(_) => Ask::Facts,
        },
        CheckRequest::Action { identifier } if identifier == checks::RUN_ACTION => {
            let repository = load_repository(app, place).await?;
            if !policy::may_command(app.github.permission(&repository, by).await?) {
                return Ok(Ending::Ignored);
            }
            for number in &open {
                let mut tx = app.db.begin().await?;
                pulls::approve(&mut tx, place.repository, *number, head, by).await?;
                tx.commit().await?;
            }
            Ask::Facts
        }
        CheckRequest::Action { .. } => return Ok(Ending::Ignored),
    };
    for number in open {
        refresh(app, place, number, ask).await?;
    }
    if let CheckRequest::Rerun { name } = request {
        if let Some(job) = jobs::newest_of_group(app.db.pool(), place.repository, head).await? {
            merge_group::handle(app, place, &job.base, head, ask).await?;
        }
        // What was found to be as it was is an answer, too.
        let mut tx = app.db.begin().await?;
        writes::repeat_checks(&mut tx, place.repository, head, name.as_deref(), app.clock.now_ms()).await?;
        tx.commit().await?;
        app.wake.writes.notify_one();
    }
    Ok(Ending::Done)
}
