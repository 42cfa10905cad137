//! Looks for change points in series that grew, and takes searches further. By period, and when called: nothing of it
//! is lost by a crash, since what is to be done is read from the rows.

use super::bisect;
use super::change_points::{Renewal, renew};
use super::linked::linked;
use crate::app::App;
use crate::db::change_points::{self, ChangePoint, State};
use crate::db::series::{self, Series};
use crate::db::{Turn, Tx, bisects, history_commits, points, quarantined_benchmarks, repositories};
use crate::notify;
use perfsuite::history;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(5);
/// Series that are judged before others get their turn to write.
const SERIES_AT_ONCE: i64 = 100;
/// Points that a judgement looks at, the newest: what is further back was judged when it was new.
const POINTS_JUDGED: i64 = 2_000;
/// Where older points were left out, a change among the first of these is not judged anew: a level needs points.
const EDGE: usize = 50;
/// Searches that are taken further at a time.
const BISECTS_AT_ONCE: i64 = 50;

pub async fn run(app: Arc<App>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = once(&app).await {
            tracing::error!(
                error = format!("{error:#}"),
                "histories could not be judged; tried again by period"
            );
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = app.wake.history.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// One round: every series that grew, then every search whose comparison has ended.
pub async fn once(app: &App) -> anyhow::Result<()> {
    loop {
        let grown = series::unjudged(&app.db, SERIES_AT_ONCE).await?;
        if grown.is_empty() {
            break;
        }
        for series in &grown {
            judge(app, series).await?;
        }
    }
    for search in bisects::due(&app.db, BISECTS_AT_ONCE).await? {
        bisect::advance(app, &search).await?;
    }
    Ok(())
}

/// Judges a series as it was read. Where it has grown since, or was renamed or joined to another one, nothing is said:
/// what was found is of other points, and it is judged as it has become.
pub async fn judge(app: &App, series: &Series) -> anyhow::Result<()> {
    let now_ms = app.clock.now_ms();
    let points = points::between(app.db.pool(), series.id, 0, i64::MAX, POINTS_JUDGED).await?;
    let links = points::links(app.db.pool(), series.id).await?;
    let cut = points.len() as i64 >= POINTS_JUDGED;
    let found = found_in(linked(&points, &links)).await?;
    let judged_from = found.positions.get(if cut { EDGE } else { 0 }).copied().unwrap_or(i64::MAX);
    let mut tx = app.db.begin_turn(Turn::History).await?;
    if series::by_id(&mut *tx, series.id).await?.as_ref() != Some(series) {
        return Ok(());
    }
    let known = change_points::of_series(&mut *tx, series.id).await?;
    let told: BTreeSet<&str> =
        known.iter().filter(|point| point.confirmed_ms.is_some()).map(|point| point.id.as_str()).collect();
    let mut confirmed: Vec<ChangePoint> = Vec::new();
    for renewal in renew(series.id, &found.positions, judged_from, &found.changes, &known, now_ms) {
        match renewal {
            Renewal::New(mut new) => {
                new.id = change_points::insert(&mut tx, &new).await?;
                confirmed.push(new);
            }
            Renewal::Changed(changed) => {
                change_points::update(&mut tx, &changed).await?;
                confirmed.push(changed);
            }
            Renewal::Gone(id) => change_points::remove(&mut tx, &id).await?,
        }
    }
    series::judged(&mut tx, series.id, series.version).await?;
    confirmed.retain(|point| point.state == State::Confirmed);
    let (suite, benchmark) = (&series.key.suite, &series.key.benchmark);
    let held = quarantined_benchmarks::of(&mut *tx, series.repository, suite, benchmark).await?.is_some();
    if !series.sample && !held {
        // Once for each: it may be judged again however often.
        for point in confirmed.iter().filter(|point| !told.contains(point.id.as_str())) {
            tell(&mut tx, app, series, point, now_ms).await?;
        }
    }
    tx.commit().await?;
    app.wake.notices.notify_one();
    if series.sample || held || !repositories::active(&app.db, series.repository).await? {
        return Ok(());
    }
    for point in confirmed {
        tracing::info!(
            series = series.id,
            position = point.position,
            size = point.size,
            "a change is confirmed"
        );
        if let Err(error) = bisect::begin(app, series, &point).await {
            // The change point stands without it.
            tracing::warn!(series = series.id, error = format!("{error:#}"), "no search was begun");
        }
    }
    Ok(())
}

/// Wants others to be told of a change that was confirmed.
async fn tell(
    tx: &mut Tx,
    app: &App,
    series: &Series,
    point: &ChangePoint,
    now_ms: i64,
) -> anyhow::Result<()> {
    let Some(repository) = repositories::by_id(&mut **tx, series.repository).await? else { return Ok(()) };
    let at = point.position;
    let commit = history_commits::between(&mut **tx, series.repository, at, at).await?.pop();
    let url = &app.public_url;
    if let Some(notice) = notify::of_change(url, &repository, &series.key, point, commit.as_ref(), now_ms) {
        notify::want(tx, app, &notice).await?;
    }
    Ok(())
}

struct Found {
    positions: Vec<i64>,
    changes: Vec<history::ChangePoint>,
}

/// On a thread of its own: a long series takes milliseconds.
async fn found_in(linked: Vec<super::linked::Linked>) -> anyhow::Result<Found> {
    let judged = tokio::task::spawn_blocking(move || {
        let points: Vec<history::Point> = linked
            .iter()
            .map(|point| history::Point { index: point.position, value: point.ratio.ratio })
            .collect();
        let changes = history::change_points(&points, &history::Rule::default());
        Found { positions: points.iter().map(|point| point.index).collect(), changes }
    });
    Ok(judged.await?)
}
