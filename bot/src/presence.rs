//! Which repositories the App sees: installed, suspended, removed, renamed, moved. What GitHub says now decides, never a
//! payload; a lost delivery is made good by the next sweep.

use crate::app::App;
use crate::db::repositories::{self, Inactive};
use crate::db::{jobs, pulls};
use crate::event::Place;
use crate::github::{GitHubError, Standing};
use crate::pull::{InstallationId, RepoId, Repository};
use crate::runs;

/// Open pull requests whose comment is written anew after a rename, for its links.
const RENAMED_PULLS_MAX: i64 = 100;

/// Brings our rows of one installation to what GitHub says. Returns the repositories that it covers.
pub async fn settle(app: &App, installation: InstallationId) -> anyhow::Result<Vec<Repository>> {
    let (covered, why) = match app.github.standing(installation).await? {
        Standing::Active => (app.github.repositories(installation).await?, Inactive::Removed),
        Standing::Suspended => (Vec::new(), Inactive::Suspended),
        Standing::Removed => (Vec::new(), Inactive::Removed),
    };
    if covered.is_empty() {
        app.github.forget_token(installation);
    }
    for known in repositories::of_installation(&app.db, installation).await? {
        if !covered.iter().any(|repository| repository.id == known) {
            put_aside(app, known, why).await?;
        }
    }
    for repository in &covered {
        if repositories::by_id(app.db.pool(), repository.id).await?.is_some() {
            renew(app, repository).await?;
        }
    }
    Ok(covered)
}

/// A repository that we know, as GitHub has it now: rows follow by its number.
pub async fn renew(app: &App, repository: &Repository) -> anyhow::Result<()> {
    let known = repositories::by_id(app.db.pool(), repository.id).await?;
    let was_active = repositories::active(&app.db, repository.id).await?;
    if known.as_ref() == Some(repository) && was_active {
        return Ok(());
    }
    let mut tx = app.db.begin().await?;
    repositories::upsert(&mut tx, repository, app.clock.now_ms()).await?;
    tx.commit().await?;
    if !was_active {
        app.wake.writes.notify_one();
    }
    if let Some(known) = known
        && known.name != repository.name
    {
        tracing::info!(from = %known.name, to = %repository.name, "a repository has another name");
        for row in pulls::open(&app.db, repository.id, RENAMED_PULLS_MAX).await? {
            runs::republish(app, repository.id, row.pull.number).await?;
        }
    }
    Ok(())
}

/// A repository that changed, or is gone.
pub async fn repository_changed(app: &App, place: &Place) -> anyhow::Result<()> {
    match app.github.repository(place.installation, &place.name).await {
        Ok(repository) if repository.id == place.repository => {
            if repositories::by_id(app.db.pool(), repository.id).await?.is_some() {
                renew(app, &repository).await?;
            }
            Ok(())
        }
        // Gone, out of sight, or its name is another's: the list of what there is decides.
        Ok(_) | Err(GitHubError::NotFound { .. } | GitHubError::Forbidden { .. }) => {
            settle(app, place.installation).await.map(|_| ())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the App still sees a repository, asked of GitHub; what it does not is put aside.
pub async fn sees(app: &App, place: &Place) -> anyhow::Result<bool> {
    Ok(settle(app, place.installation).await?.iter().any(|repository| repository.id == place.repository))
}

async fn put_aside(app: &App, repository: RepoId, why: Inactive) -> anyhow::Result<()> {
    let by = match why {
        Inactive::Removed => "the App no longer seeing this repository",
        Inactive::Suspended => "the App's suspension",
    };
    let mut tx = app.db.begin().await?;
    let new = repositories::put_aside(&mut tx, repository, why).await?;
    let cancelled = jobs::cancel_all(&mut tx, repository, by, app.clock.now_ms()).await?;
    tx.commit().await?;
    if new {
        tracing::info!(repository = repository.0, ?why, cancelled, "a repository is put aside");
    }
    Ok(())
}
