//! Finds out what no delivery told us: deliveries that found nobody here, and pull requests that changed without one.

use crate::app::App;
use crate::db::deliveries::{self, NewDelivery, Wanted};
use crate::db::pulls::{self, PullRow};
use crate::db::{judgements, repositories};
use crate::drift;
use crate::presence;
use crate::pull::{PullRequest, PullState, Repository};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// GitHub keeps deliveries for three days.
const KEPT_MS: i64 = 3 * 24 * 60 * 60 * 1_000;
/// How often GitHub is asked for deliveries that did not reach us: one request, as long as all goes well.
const ASK_EVERY: Duration = Duration::from_secs(5 * 60);
/// The same after a question that failed.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// A delivery that fails as often as this is one that we refuse, not one that we missed.
const REDELIVERIES_MAX: u32 = 3;
/// Deliveries asked for again in one round; what is over waits for the next, so that an outage ends gently.
const ROUND_MAX: usize = 200;
/// The first sweep waits for the deliveries that were asked for at the start, which tell more cheaply.
const SWEEP_FIRST: Duration = Duration::from_secs(30);
/// A sweep asks once for each repository, of the 5,000 requests that an installation has in an hour.
const SWEEP_EVERY: Duration = Duration::from_secs(30 * 60);
/// Pull requests of one repository whose comment and check runs are looked at, the last touched first.
const MENDED_MAX: usize = 300;
/// Open pull requests of one repository that are compared with GitHub's.
const OPEN_MAX: i64 = 10_000;

/// Asks at once, then by period until `stop`.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = ask_by_period(&app) => {}
        () = sweep_by_period(&app) => {}
    }
}

async fn ask_by_period(app: &App) {
    let mut asked = Asked::default();
    loop {
        let pause = match redeliver(app, &mut asked).await {
            Ok(()) => ASK_EVERY,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "cannot ask GitHub for missed deliveries; tried again later");
                ASK_AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// How often each delivery was asked for; forgotten when GitHub no longer lists it as failed.
#[derive(Default)]
pub struct Asked(BTreeMap<String, u32>);

/// Has GitHub send again what it could not deliver.
pub async fn redeliver(app: &App, asked: &mut Asked) -> anyhow::Result<()> {
    let failed = app.github.failed_deliveries(app.clock.now_ms() - KEPT_MS).await?;
    asked.0.retain(|guid, _| failed.iter().any(|f| f.guid == *guid));
    let mut redelivered = 0;
    for delivery in failed {
        if redelivered == ROUND_MAX {
            break;
        }
        let times = asked.0.get(&delivery.guid).copied().unwrap_or(0);
        // Known: it was stored, and only our answer was lost.
        if times >= REDELIVERIES_MAX || deliveries::known(&app.db, &delivery.guid).await? {
            continue;
        }
        app.github.redeliver(delivery.id).await?;
        asked.0.insert(delivery.guid, times + 1);
        redelivered += 1;
    }
    if redelivered > 0 {
        tracing::warn!(redelivered, "GitHub sends again what it could not deliver");
    }
    Ok(())
}

async fn sweep_by_period(app: &App) {
    tokio::time::sleep(SWEEP_FIRST).await;
    loop {
        match sweep(app).await {
            Ok(0) => {}
            Ok(stale) => tracing::warn!(stale, "something had changed without a delivery"),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "a sweep failed; tried again by period");
            }
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// Compares our rows with GitHub's: which repositories the App sees, which pull requests are open and how they stand,
/// what we wrote below them. What differs is queued as if it had been delivered, each in its lane. Returns how many.
pub async fn sweep(app: &App) -> anyhow::Result<usize> {
    let standing = app.github.installations().await?;
    // Uninstalled without our hearing of it.
    for known in repositories::installations(&app.db).await? {
        if !standing.iter().any(|(installation, _)| *installation == known) {
            presence::settle(app, known).await?;
        }
    }
    let mut queued = 0;
    for (installation, _) in standing {
        // An installation that was suspended or removed just now is no reason to leave the others out.
        match presence::settle(app, installation).await {
            Ok(covered) => queued += sweep_repositories(app, &covered).await,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(installation = installation.0, error, "an installation cannot be swept");
            }
        }
    }
    Ok(queued)
}

/// The same for some repositories; one that cannot be swept is logged and left out.
pub async fn sweep_repositories(app: &App, repositories: &[Repository]) -> usize {
    let mut queued = 0;
    for repository in repositories {
        match sweep_repository(app, repository).await {
            Ok(stale) => queued += stale,
            Err(error) => {
                let (repo, error) = (repository.name.to_string(), format!("{error:#}"));
                tracing::warn!(repo, error, "a repository cannot be swept");
            }
        }
    }
    if queued > 0 {
        app.wake.deliveries.notify_one();
        app.wake.writes.notify_one();
    }
    queued
}

async fn sweep_repository(app: &App, repository: &Repository) -> anyhow::Result<usize> {
    let mut theirs = app.github.open_pulls(repository).await?;
    // In the order in which they were opened, as their deliveries would have come.
    theirs.sort_by_key(|pull| pull.number);
    let ours = pulls::open(&app.db, repository.id, OPEN_MAX).await?;
    let (mut queued, mut fresh) = (0, Vec::new());
    for pull in &theirs {
        let row = pulls::get(app.db.pool(), repository.id, pull.number).await?;
        let judged =
            judgements::get(app.db.pool(), repository.id, pull.number, &pull.head_sha).await?.is_some();
        match &row {
            Some(row) if !is_stale(pull, Some(row), judged) => fresh.push(row.clone()),
            row => {
                queued += queue(app, repository, pull.number, pull.head_sha.as_str(), row.as_ref()).await?
            }
        }
    }
    fresh.sort_by_key(|row| std::cmp::Reverse(row.updated_ms));
    for row in fresh.iter().take(MENDED_MAX) {
        queued += drift::mend(app, repository, row).await?;
    }
    // Closed meanwhile, or beyond what GitHub lists; its facts are loaded, so either is right.
    for row in ours.iter().filter(|row| theirs.iter().all(|pull| pull.number != row.pull.number)) {
        queued += queue(app, repository, row.pull.number, "closed", Some(row)).await?;
    }
    Ok(queued)
}

/// Whether what we know of an open pull request is not what GitHub has.
fn is_stale(theirs: &PullRequest, ours: Option<&PullRow>, judged: bool) -> bool {
    let Some(ours) = ours.map(|row| &row.pull) else { return true };
    !judged
        || ours.state != PullState::Open
        || (&ours.head_sha, &ours.base_ref, ours.draft) != (&theirs.head_sha, &theirs.base_ref, theirs.draft)
}

/// Once for each state of our row: what cannot be judged is not tried for ever.
async fn queue(
    app: &App,
    repository: &Repository,
    number: u64,
    state: &str,
    row: Option<&PullRow>,
) -> anyhow::Result<usize> {
    let renewed_ms = row.map_or(0, |row| row.updated_ms);
    let payload = json!({
        "action": "synchronize",
        "installation": { "id": repository.installation.0 },
        "repository": { "id": repository.id.0, "full_name": repository.name.to_string() },
        "pull_request": { "number": number },
    });
    let delivery = NewDelivery {
        guid: format!("{GUID_PREFIX}{}:{number}:{state}:{renewed_ms}", repository.id.0),
        event: "pull_request".into(),
        action: Some("synchronize".into()),
        installation_id: Some(repository.installation.0),
        repository: Some(repository.name.to_string()),
        lane: format!("{}/{number}", repository.id.0),
        payload: payload.to_string(),
        wanted: Wanted::Yes,
    };
    Ok(usize::from(deliveries::insert(&app.db, &delivery, app.clock.now_ms()).await?))
}

/// Of deliveries that a sweep made; GitHub's are UUIDs.
pub const GUID_PREFIX: &str = "sweep:";
