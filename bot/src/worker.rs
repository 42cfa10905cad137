//! Drains deliveries and outgoing writes: many lanes beside each other, each lane and each installation in order.

use crate::app::App;
use crate::db::deliveries::{self, Attempt, Behind, Delivery, Ending};
use crate::db::writes::{self, Outcome, Write};
use crate::event::Unreadable;
use crate::github::GitHubError;
use crate::handlers;
use crate::outgoing::{LabelState, Outgoing};
use crate::{comment, db::repositories};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Deliveries worked on at once: each waits mostly for GitHub and git.
const LANES_MAX: usize = 8;
/// Writes under way at once, each to another installation.
const WRITERS_MAX: usize = 8;
/// Tries of one delivery; about half an hour with the waits between.
const DELIVERY_ATTEMPTS_MAX: i64 = 8;
/// Tries of one write; GitHub being down for some hours loses nothing.
const WRITE_ATTEMPTS_MAX: i64 = 40;
/// How long what was begun may still take when the server stops; service managers kill after 30 s. What takes longer is
/// handed back: another process, or the next start, begins it anew.
const STOP_WAIT: Duration = Duration::from_secs(15);
/// When nobody calls, look anyway: what was put back for later is due at some time.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Works until `stop`, then finishes what was begun.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    tokio::join!(drain_deliveries(&app, &stop), drain_writes(&app, &stop));
    match hand_back(&app).await {
        Ok((0, 0)) => {}
        Ok((deliveries, writes)) => tracing::warn!(deliveries, writes, "handed back what took too long"),
        Err(error) => tracing::error!(%error, "leases could not be handed back; they will run out"),
    }
}

/// What is still held: how many deliveries and writes.
async fn hand_back(app: &App) -> sqlx::Result<(u64, u64)> {
    let deliveries = deliveries::hand_back(&app.db, &app.worker).await?;
    Ok((deliveries, writes::hand_back(&app.db, &app.worker).await?))
}

/// Lets what was begun come to its end, for a while.
async fn finish(mut begun: JoinSet<()>) {
    let ended = async { while begun.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_WAIT, ended).await.is_err() {
        begun.shutdown().await;
    }
}

async fn drain_deliveries(app: &Arc<App>, stop: &CancellationToken) {
    let mut lanes = JoinSet::new();
    while !stop.is_cancelled() {
        let claimed = if lanes.len() < LANES_MAX {
            deliveries::claim(&app.db, &app.worker, app.clock.now_ms(), app.config.lease_ms).await
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
    finish(lanes).await;
}

async fn work_on(app: &App, delivery: Delivery) {
    let guid = delivery.guid.as_str();
    seconds("paceline_delivery_wait_seconds", app.clock.now_ms() - delivery.received_ms);
    // Before any fact is loaded: what happened by now is in those facts.
    let behind = match behind(app, &delivery).await {
        Ok(behind) => behind,
        Err(error) => {
            tracing::error!(delivery = guid, %error, "cannot see what waits behind a delivery");
            Vec::new()
        }
    };
    // What it tells of people's work is kept all the same.
    for one in &behind {
        if let Err(error) = record_behind(app, one).await {
            let error = format!("{error:#}");
            tracing::warn!(delivery = one.guid, error, "what a delivery tells of people's work is lost");
        }
    }
    let outcome = tokio::select! {
        outcome = handlers::handle(app, &delivery) => outcome,
        () = keep_delivery(app, &delivery) => unreachable!("the lease is kept for ever"),
    };
    let now_ms = app.clock.now_ms();
    let stored = match outcome {
        Ok(ending) => {
            for received_ms in
                std::iter::once(delivery.received_ms).chain(behind.iter().map(|b| b.received_ms))
            {
                seconds("paceline_delivery_seconds", now_ms - received_ms);
            }
            match deliveries::finish_behind(&app.db, &behind, now_ms).await {
                Ok(()) => deliveries::finish(&app.db, &delivery, ending, None, now_ms).await,
                Err(error) => Err(error),
            }
        }
        Err(error) => {
            let text = format!("{error:#}");
            let event = delivery.event.as_str();
            match retry_at(&error, delivery.attempts, now_ms) {
                Some((at, attempt)) => {
                    tracing::warn!(delivery = guid, event, error = text, "tried again later");
                    deliveries::retry(&app.db, &delivery, &text, at, attempt).await
                }
                None => {
                    metrics::counter!("paceline_deliveries_given_up_total").increment(1);
                    tracing::error!(delivery = guid, event, error = text, "given up");
                    deliveries::finish(&app.db, &delivery, Ending::Failed, Some(&text), now_ms).await
                }
            }
        }
    };
    if let Err(error) = stored {
        tracing::error!(delivery = guid, %error, "the outcome could not be stored; the lease will run out");
    }
    app.wake.deliveries.notify_one();
}

/// What is done together with a delivery: pull request events of its lane, each of which only says that the facts are to
/// be loaded.
async fn behind(app: &App, delivery: &Delivery) -> sqlx::Result<Vec<Behind>> {
    if delivery.event != "pull_request" {
        return Ok(Vec::new());
    }
    deliveries::behind(&app.db, delivery).await
}

async fn record_behind(app: &App, behind: &Behind) -> anyhow::Result<()> {
    let Some(delivery) = deliveries::get(&app.db, &behind.guid).await? else { return Ok(()) };
    handlers::activity::record(app, &delivery.event, &delivery.payload, delivery.received_ms).await
}

fn seconds(name: &'static str, ms: i64) {
    metrics::histogram!(name).record(ms.max(0) as f64 / 1_000.0);
}

async fn keep_delivery(app: &App, delivery: &Delivery) {
    loop {
        tokio::time::sleep(app.lease_step()).await;
        let until = app.clock.now_ms() + app.config.lease_ms;
        if let Err(error) = deliveries::extend(&app.db, delivery, until).await {
            tracing::warn!(delivery = delivery.guid, %error, "the lease could not be extended");
        }
    }
}

/// When to try again, or `None` when trying again cannot help. Being limited is no failure, however often.
fn retry_at(error: &anyhow::Error, attempts: i64, now_ms: i64) -> Option<(i64, Attempt)> {
    if error.is::<Unreadable>() {
        return None;
    }
    match error.chain().find_map(|cause| cause.downcast_ref::<GitHubError>()) {
        Some(limited) if limited.silent_until_ms().is_some() => {
            let until_ms = limited.silent_until_ms().unwrap_or(now_ms);
            Some((until_ms.max(now_ms + 1_000), Attempt::Free))
        }
        Some(GitHubError::NotFound { .. } | GitHubError::Forbidden { .. }) => None,
        _ if attempts >= DELIVERY_ATTEMPTS_MAX => None,
        cause => Some((now_ms + pause_ms(cause, attempts), Attempt::Counts)),
    }
}

/// The pause before the next try: ours, or GitHub's wish where that is longer.
fn pause_ms(cause: Option<&GitHubError>, attempts: i64) -> i64 {
    backoff_ms(attempts).max(cause.and_then(GitHubError::retry_after_ms).unwrap_or(0))
}

/// 2 s, 4 s, 8 s … up to 5 minutes.
fn backoff_ms(attempts: i64) -> i64 {
    (1_000_i64 << attempts.clamp(1, 10)).min(300_000)
}

async fn drain_writes(app: &Arc<App>, stop: &CancellationToken) {
    let mut writers = JoinSet::new();
    while !stop.is_cancelled() {
        let claimed = if writers.len() < WRITERS_MAX {
            let config = &app.config;
            writes::claim(&app.db, &app.worker, app.clock.now_ms(), config.lease_ms, config.pace).await
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
        let pause = LOOK_AGAIN.min(Duration::from_millis(app.config.pace.spacing_ms.max(10) as u64));
        tokio::select! {
            () = stop.cancelled() => {}
            () = app.wake.writes.notified() => {}
            Some(_) = writers.join_next() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    finish(writers).await;
}

async fn make(app: &App, write: &Write) {
    let outcome = tokio::select! {
        outcome = put(app, write) => outcome,
        () = keep_write(app, write) => unreachable!("the lease is kept for ever"),
    };
    let now_ms = app.clock.now_ms();
    let mut next_ms = now_ms + app.config.pace.spacing_ms;
    let outcome = match outcome {
        Ok(remote_id) => {
            seconds("paceline_write_seconds", now_ms - write.wanted_ms);
            Outcome::Written { remote_id }
        }
        Err(error) => {
            let text = format!("{error:#}");
            let cause = error.chain().find_map(|cause| cause.downcast_ref::<GitHubError>());
            let gone = matches!(cause, Some(GitHubError::NotFound { .. }));
            let hopeless = matches!(cause, Some(GitHubError::Invalid { .. } | GitHubError::Forbidden { .. }))
                || (gone && write.remote_id.is_none())
                || write.attempts >= WRITE_ATTEMPTS_MAX;
            if let Some(until_ms) = cause.and_then(GitHubError::silent_until_ms) {
                tracing::warn!(write = write.target, error = text, "tried again when GitHub allows it");
                // The whole installation waits, not just this write.
                next_ms = next_ms.max(until_ms);
                Outcome::Limited { error: text, not_before_ms: next_ms }
            } else if hopeless {
                metrics::counter!("paceline_writes_given_up_total").increment(1);
                tracing::error!(write = write.target, error = text, "given up");
                Outcome::GivenUp { error: text }
            } else {
                tracing::warn!(write = write.target, error = text, "tried again later");
                let not_before_ms = now_ms + pause_ms(cause, write.attempts);
                Outcome::Later { error: text, not_before_ms, forget: gone }
            }
        }
    };
    if let Err(error) = writes::settle(&app.db, write, &outcome, next_ms).await {
        tracing::error!(write = write.target, %error, "the outcome could not be stored; the lease will run out");
    }
}

async fn keep_write(app: &App, write: &Write) {
    loop {
        tokio::time::sleep(app.lease_step()).await;
        if let Err(error) = still_ours(app, write).await {
            tracing::warn!(
                write = write.target,
                error = format!("{error:#}"),
                "the lease could not be extended"
            );
        }
    }
}

/// Asked right before anything is created: a process that was held up for longer than its lease must not create what
/// another has created meanwhile.
async fn still_ours(app: &App, write: &Write) -> anyhow::Result<()> {
    let until = app.clock.now_ms() + app.config.lease_ms;
    if !writes::extend(&app.db, write, until).await? {
        anyhow::bail!("another process has taken this write over");
    }
    Ok(())
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
                None => {
                    still_ours(app, write).await?;
                    github.create_comment(&repository, *number, body).await?
                }
            }
        }
        Outgoing::Reply { number, to, body } => {
            let marker = comment::reply_marker(*to);
            let body = format!("{marker}\n{body}");
            let known = match write.remote_id {
                Some(id) => Some(id),
                None => github.find_comment(&repository, *number, &marker).await?,
            };
            match known {
                Some(id) => github.update_comment(&repository, id, &body).await.map(|()| id)?,
                None => {
                    still_ours(app, write).await?;
                    github.create_comment(&repository, *number, &body).await?
                }
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
                None => {
                    still_ours(app, write).await?;
                    github.create_check_run(&repository, check).await?
                }
            }
        }
        Outgoing::Label { number, label, state } => {
            match state {
                LabelState::Present => github.add_label(&repository, *number, label).await?,
                LabelState::Absent => github.remove_label(&repository, *number, label).await?,
            }
            // A label has no number that we need.
            0
        }
        Outgoing::Reaction { comment_id, content } => {
            github.create_reaction(&repository, *comment_id, content).await?
        }
    })
}
