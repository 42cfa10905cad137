//! A button on one of our check runs: re-run, or allow a fork's head to run.

use super::{Ask, load_repository, refresh};
use crate::app::App;
use crate::checks;
use crate::db::deliveries::Ending;
use crate::db::pulls;
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
    Ok(Ending::Done)
}
