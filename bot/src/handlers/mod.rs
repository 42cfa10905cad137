//! One file per event: each loads the present facts, decides, and changes rows and wanted writes in one transaction.

pub mod activity;
mod check_run;
mod comment;
mod installation;
mod merge_group;
pub mod mirrored;
mod pull_request;
mod push;
pub mod reviews;
mod trial;
mod what_if;

use crate::app::App;
use crate::db::deliveries::{Delivery, Ending};
use crate::event::{self, Event, Place};
use crate::github::GitHubError;
use crate::presence;
use crate::pull::{MergeSettings, Repository};

pub use pull_request::{Ask, refresh, refresh_suite};

/// Works on one delivery. One about a repository that the App no longer sees is nobody's failure.
pub async fn handle(app: &App, delivery: &Delivery) -> anyhow::Result<Ending> {
    let event = event::parse(&delivery.event, &delivery.payload)?;
    activity::record(app, &delivery.event, &delivery.payload, delivery.received_ms).await?;
    let place = event.place().cloned();
    let outcome = act(app, event).await;
    if let (Err(error), Some(place)) = (&outcome, place)
        && out_of_sight(error)
        && !presence::sees(app, &place).await?
    {
        tracing::info!(delivery = delivery.guid, repo = %place.name, "the App does not see this repository");
        return Ok(Ending::Ignored);
    }
    outcome
}

fn out_of_sight(error: &anyhow::Error) -> bool {
    matches!(
        error.chain().find_map(|cause| cause.downcast_ref::<GitHubError>()),
        Some(GitHubError::NotFound { .. } | GitHubError::Forbidden { .. })
    )
}

async fn act(app: &App, event: Event) -> anyhow::Result<Ending> {
    match event {
        Event::PullRequest { place, number } => refresh(app, &place, number, Ask::Facts).await?,
        Event::Review { place, number, author, by_bot } => {
            refresh(app, &place, number, Ask::Facts).await?;
            if !by_bot {
                comment::responded(app, &place, number, &author).await?;
            }
        }
        Event::Comment { place, number, comment_id, author, by_bot, body } => {
            let said = comment::Said { place, number, comment_id, author, by_bot, body };
            return comment::handle(app, &said).await;
        }
        Event::CheckRun { place, head, request, by } => {
            return check_run::handle(app, &place, &head, &request, &by).await;
        }
        Event::MergeGroup { place, base, head } => {
            merge_group::handle(app, &place, &base, &head, Ask::Facts).await?;
        }
        Event::MergeGroupGone { place, head } => merge_group::gone(app, &place, &head).await?,
        Event::Push { place, branch } => return push::handle(app, &place, &branch).await,
        Event::Installation { installation } => installation::handle(app, installation).await?,
        Event::Repository { place } => presence::repository_changed(app, &place).await?,
        Event::Other => return Ok(Ending::Ignored),
    }
    Ok(Ending::Done)
}

/// The repository as GitHub has it now. The payload's name may be an old one; the id is checked.
async fn load_repository(app: &App, place: &Place) -> anyhow::Result<Repository> {
    load_repository_and_settings(app, place).await.map(|(repository, _)| repository)
}

/// The same with what it allows.
async fn load_repository_and_settings(
    app: &App,
    place: &Place,
) -> anyhow::Result<(Repository, MergeSettings)> {
    let (repository, settings) = app.github.repository_and_settings(place.installation, &place.name).await?;
    if repository.id != place.repository {
        anyhow::bail!("{} is another repository by now", place.name);
    }
    Ok((repository, settings))
}
