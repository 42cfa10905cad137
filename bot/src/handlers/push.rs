//! A branch has other commits: of the default branch they become part of the history.

use super::load_repository;
use crate::app::App;
use crate::db::deliveries::Ending;
use crate::event::Place;
use crate::history::follow::follow;

pub async fn handle(app: &App, place: &Place, branch: &str) -> anyhow::Result<Ending> {
    let repository = load_repository(app, place).await?;
    // What was the default branch when it was pushed to may be another one by now.
    if repository.default_branch != branch {
        return Ok(Ending::Ignored);
    }
    follow(app, &repository).await?;
    Ok(Ending::Done)
}
