//! Drains deliveries and outgoing writes: many lanes beside each other, each lane and each installation in order.

use crate::app::App;
use crate::db::deliveries::{self, Delivery, Ending};
use crate::db::writes::{self, Write};
use crate::github::GitHubError;
use crate::handlers;
use crate::outgoing::Outgoing;
use crate::{comment, db::repositories};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Deliveries worked on at once: each waits mostly for GitHub and git.
const LANES_MAX: usize = 8;
/// Writes under way at once, each to another installation.
const WRITERS_MAX: usize = 8;
/// How long a dead process keeps its delivery from others.
const DELIVERY_LEASE_MS: i64 = 60_000;
/// How long a dead process keeps its write from others: longer than GitHub's slowest answer that we wait for.
const WRITE_LEASE_MS: i64 = 60_000;
/// Tries of one delivery; about half an hour with the waits between.
const DELIVERY_ATTEMPTS_MAX: i64 = 8;
/// Tries of one write; GitHub being down for some hours loses nothing.
const WRITE_ATTEMPTS_MAX: i64 = 40;
/// When nobody calls, look anyway: what was put back for later is due at some time.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Works until `stop`, then finishes what was begun.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    tokio::join!(drain_deliveries(&app, &stop), drain_writes(&app, &stop));
}

async fn drain_deliveries(app: &Arc<App>, stop: &CancellationToken) {
    let mut lanes = JoinSet::new();
    while !stop.is_cancelled() {
        let claimed = if lanes.len() < LANES_MAX {
            deliveries::claim(&app.db, &app.worker, app.clock.now_ms(), DELIVERY_LEASE_MS).await
        } else {
            Ok(None)
        };
        match claimed {
            Ok(Some(delivery)) => {
                let app = app.clone();
                lanes.spawn(async move { work_on(&app, delivery).await });
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "cannot take a delivery from the database"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = app.wake.deliveries.notified() => {}
            Some(_) = lanes.join_next() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
    while lanes.join_next().await.is_some() {}
}

async fn work_on(app: &App, delivery: Delivery) {
    let guid = delivery.guid.as_str();
    let outcome = tokio::select! {
        outcome = handlers::handle(app, &delivery) => outcome,
        () = keep_lease(app, guid) => unreachable!("the lease is kept for ever"),
    };
    let now_ms = app.clock.now_ms();
    let stored = match outcome {
        Ok(ending) => deliveries::finish(&app.db, guid, &app.worker, ending, None, now_ms).await,
        Err(error) => match retry_at(&error, delivery.attempts, now_ms) {
            Some(at) => {
                tracing::warn!(
                    delivery = guid,
                    event = delivery.event,
                    error = format!("{error:#}"),
                    "tried again later"
                );
                deliveries::retry(&app.db, guid, &app.worker, &format!("{error:#}"), at).await
            }
            None => {
                tracing::error!(
                    delivery = guid,
                    event = delivery.event,
                    error = format!("{error:#}"),
                    "given up"
                );
                let text = format!("{error:#}");
                deliveries::finish(&app.db, guid, &app.worker, Ending::Failed, Some(&text), now_ms).await
            }
        },
    };
    if let Err(error) = stored {
        tracing::error!(delivery = guid, %error, "the outcome could not be stored; the lease will run out");
    }
    app.wake.deliveries.notify_one();
}

async fn keep_lease(app: &App, guid: &str) {
    loop {
        tokio::time::sleep(Duration::from_millis(DELIVERY_LEASE_MS as u64 / 3)).await;
        let until = app.clock.now_ms() + DELIVERY_LEASE_MS;
        if let Err(error) = deliveries::extend(&app.db, guid, &app.worker, until).await {
            tracing::warn!(delivery = guid, %error, "the lease could not be extended");
        }
    }
}

/// When to try again, or `None` when trying again cannot help.
fn retry_at(error: &anyhow::Error, attempts: i64, now_ms: i64) -> Option<i64> {
    if attempts >= DELIVERY_ATTEMPTS_MAX {
        return None;
    }
    match error.chain().find_map(|cause| cause.downcast_ref::<GitHubError>()) {
        Some(GitHubError::NotFound { .. } | GitHubError::Forbidden { .. }) => None,
        Some(GitHubError::RateLimited { until_ms }) => Some((*until_ms).max(now_ms + 1_000)),
        _ => Some(now_ms + backoff_ms(attempts)),
    }
}

/// 2 s, 4 s, 8 s … up to 5 minutes.
fn backoff_ms(attempts: i64) -> i64 {
    (1_000_i64 << attempts.clamp(1, 10)).min(300_000)
}

async fn drain_writes(app: &Arc<App>, stop: &CancellationToken) {
    let mut writers = JoinSet::new();
    while !stop.is_cancelled() {
        let claimed = if writers.len() < WRITERS_MAX {
            writes::claim(&app.db, &app.worker, app.clock.now_ms(), WRITE_LEASE_MS).await
        } else {
            Ok(None)
        };
        match claimed {
            Ok(Some(write)) => {
                let app = app.clone();
                writers.spawn(async move { make(&app, &write).await });
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "cannot take a write from the database"),
        }
        let pause = LOOK_AGAIN.min(Duration::from_millis(app.config.write_spacing_ms.max(10) as u64));
        tokio::select! {
            () = stop.cancelled() => {}
            () = app.wake.writes.notified() => {}
            Some(_) = writers.join_next() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    while writers.join_next().await.is_some() {}
}

async fn make(app: &App, write: &Write) {
    let outcome = put(app, write).await;
    let now_ms = app.clock.now_ms();
    let mut next_ms = now_ms + app.config.write_spacing_ms;
    let stored = match outcome {
        Ok(remote_id) => writes::written(&app.db, write, &app.worker, remote_id).await,
        Err(error) => {
            let text = format!("{error:#}");
            let cause = error.chain().find_map(|cause| cause.downcast_ref::<GitHubError>());
            let gone = matches!(cause, Some(GitHubError::NotFound { .. }));
            let hopeless = matches!(cause, Some(GitHubError::Invalid { .. } | GitHubError::Forbidden { .. }))
                || (gone && write.remote_id.is_none())
                || write.attempts >= WRITE_ATTEMPTS_MAX;
            if hopeless {
                tracing::error!(write = write.target, error = text, "given up");
                writes::give_up(&app.db, write, &app.worker, &text).await
            } else {
                tracing::warn!(write = write.target, error = text, "tried again later");
                let mut at = now_ms + backoff_ms(write.attempts);
                if let Some(GitHubError::RateLimited { until_ms }) = cause {
                    // The whole installation waits, not just this write.
                    next_ms = next_ms.max(*until_ms);
                    at = at.max(*until_ms);
                }
                writes::retry(&app.db, write, &app.worker, &text, at, gone).await
            }
        }
    };
    if let Err(error) = writes::set_pace(&app.db, write.installation, next_ms).await.and(stored) {
        tracing::error!(write = write.target, %error, "the outcome could not be stored; the lease will run out");
    }
}

/// Makes the wanted state true on GitHub and returns its id there. Before anything is created, what an earlier try
/// may have created is looked for, so that a lost answer never makes a second one.
async fn put(app: &App, write: &Write) -> anyhow::Result<i64> {
    let Some(repository) = repositories::by_id(app.db.pool(), write.repository).await? else {
        return Err(GitHubError::NotFound { what: format!("repository {}", write.repository.0) }.into());
    };
    let github = &app.github;
    Ok(match &write.body {
        Outgoing::Comment { number, body } => {
            let marker = comment::marker(repository.id, *number);
            let known = match write.remote_id {
                Some(id) => Some(id),
                None => github.find_comment(&repository, *number, &marker).await?,
            };
            match known {
                Some(id) => github.update_comment(&repository, id, body).await.map(|()| id)?,
                None => github.create_comment(&repository, *number, body).await?,
            }
        }
        Outgoing::Reply { number, to, body } => {
            let marker = comment::reply_marker(*to);
            match github.find_comment(&repository, *number, &marker).await? {
                Some(id) => id,
                None => github.create_comment(&repository, *number, &format!("{marker}\n{body}")).await?,
            }
        }
        Outgoing::CheckRun(check) => {
            let known = match write.remote_id {
                Some(id) => Some(id),
                None => {
                    github
                        .find_check_run(&repository, &check.head_sha, &check.name, &check.external_id)
                        .await?
                }
            };
            match known {
                Some(id) => github.update_check_run(&repository, id, check).await.map(|()| id)?,
                None => github.create_check_run(&repository, check).await?,
            }
        }
        Outgoing::Reaction { comment_id, content } => {
            github.create_reaction(&repository, *comment_id, content).await?
        }
    })
}
