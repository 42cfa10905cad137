//! Webhook deliveries: the durable inbox, taken one at a time within a lane.

use super::{Db, Turn, new_id};
use sqlx::any::AnyRow;
use sqlx::{AnyPool, AssertSqlSafe, Row};
use std::collections::BTreeSet;

/// A delivery as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    pub guid: String,
    pub event: String,
    pub action: Option<String>,
    pub installation_id: Option<i64>,
    pub repository: Option<String>,
    pub lane: String,
    pub payload: String,
    /// Whether there is anything to do for it; otherwise it is only recorded.
    pub wanted: Wanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Yes,
    No,
}

/// A delivery that this process works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub guid: String,
    /// Names this one taking of it: who lost it to another stores nothing any more.
    pub holder: String,
    pub event: String,
    pub lane: String,
    pub payload: String,
    pub attempts: i64,
    pub received_ms: i64,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Done,
    /// Recorded, nothing to do for this event.
    Ignored,
    Failed,
}

impl Ending {
    fn as_str(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Ignored => "ignored",
            Ending::Failed => "failed",
        }
    }
}

/// Columns of a row that [`insert_all`] binds.
const INSERTED: usize = 9;

/// Stores deliveries at once, all or none, and says of each whether it is new; the same GUID twice is one piece of work.
pub async fn insert_all(db: &Db, deliveries: &[NewDelivery], now_ms: i64) -> sqlx::Result<Vec<bool>> {
    if deliveries.is_empty() {
        return Ok(Vec::new());
    }
    let row = |n: usize| {
        let at = |column: usize| format!("${}", n * INSERTED + column);
        let (received, state) = (at(8), at(9));
        let first: Vec<String> = (1..=7).map(at).collect();
        // What is only recorded is finished as it comes.
        let finished = format!("CASE WHEN {state} = 'ignored' THEN {received} END");
        format!("({}, {received}, {state}, {received}, {finished})", first.join(", "))
    };
    let rows: Vec<String> = (0..deliveries.len()).map(row).collect();
    let sql = format!(
        "INSERT INTO deliveries (guid, event, action, installation_id, repository, lane, payload, received_ms,
                                 state, not_before_ms, finished_ms)
         VALUES {} ON CONFLICT (guid) DO NOTHING RETURNING guid",
        rows.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for delivery in deliveries {
        query = query
            .bind(&delivery.guid)
            .bind(&delivery.event)
            .bind(&delivery.action)
            .bind(delivery.installation_id)
            .bind(&delivery.repository)
            .bind(&delivery.lane)
            .bind(&delivery.payload)
            .bind(now_ms)
            .bind(match delivery.wanted {
                Wanted::Yes => "queued",
                Wanted::No => "ignored",
            });
    }
    let _turn = db.write_turn().await;
    let stored = query.fetch_all(db.pool()).await?;
    let mut stored: BTreeSet<String> =
        stored.iter().map(|row| row.try_get("guid")).collect::<sqlx::Result<_>>()?;
    Ok(deliveries.iter().map(|delivery| stored.remove(&delivery.guid)).collect())
}

/// The same for one.
pub async fn insert(db: &Db, delivery: &NewDelivery, now_ms: i64) -> sqlx::Result<bool> {
    Ok(insert_all(db, std::slice::from_ref(delivery), now_ms).await? == [true])
}

/// A delivery as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    pub event: String,
    pub lane: String,
    pub payload: String,
    pub received_ms: i64,
}

pub async fn get(db: &Db, guid: &str) -> sqlx::Result<Option<Remembered>> {
    let row = sqlx::query("SELECT event, lane, payload, received_ms FROM deliveries WHERE guid = $1")
        .bind(guid)
        .fetch_optional(db.pool())
        .await?;
    row.map(|row| {
        Ok(Remembered {
            event: row.try_get("event")?,
            lane: row.try_get("lane")?,
            payload: row.try_get("payload")?,
            received_ms: row.try_get("received_ms")?,
        })
    })
    .transpose()
}

/// Takes the oldest delivery whose lane is free. Within a lane only the oldest may be taken, so order is kept
/// whoever asks. `worker` is noted, for people who look.
pub async fn claim(db: &Db, worker: &str, now_ms: i64, lease_ms: i64) -> sqlx::Result<Option<Delivery>> {
    let mut tx = db.begin_turn(Turn::Deliveries).await?;
    let row = sqlx::query(
        "UPDATE deliveries
         SET state = 'working', claimed_by = $1, lease_until_ms = $2, attempts = attempts + 1
         WHERE state = 'queued' AND guid = (
             SELECT d.guid FROM deliveries d
             WHERE d.state = 'queued' AND d.not_before_ms <= $3
               AND NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.lane = d.lane AND o.state = 'working')
               AND NOT EXISTS (
                   SELECT 1 FROM deliveries o
                   WHERE o.lane = d.lane AND o.state = 'queued' AND o.received_ms <= d.received_ms
                     AND (o.received_ms < d.received_ms OR o.guid < d.guid))
             ORDER BY d.received_ms, d.guid LIMIT 1)
         RETURNING guid, claimed_by, event, lane, payload, attempts, received_ms",
    )
    .bind(format!("{worker}/{}", new_id()))
    .bind(now_ms + lease_ms)
    .bind(now_ms)
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(|row| delivery(&row)).transpose()
}

fn delivery(row: &AnyRow) -> sqlx::Result<Delivery> {
    Ok(Delivery {
        guid: row.try_get("guid")?,
        holder: row.try_get("claimed_by")?,
        event: row.try_get("event")?,
        lane: row.try_get("lane")?,
        payload: row.try_get("payload")?,
        attempts: row.try_get("attempts")?,
        received_ms: row.try_get("received_ms")?,
    })
}

/// Keeps a delivery that takes long.
pub async fn extend(db: &Db, delivery: &Delivery, until_ms: i64) -> sqlx::Result<()> {
    let _turn = db.write_turn().await;
    sqlx::query(
        "UPDATE deliveries SET lease_until_ms = $1 WHERE guid = $2 AND state = 'working' AND claimed_by = $3",
    )
    .bind(until_ms)
    .bind(&delivery.guid)
    .bind(&delivery.holder)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// Ends a delivery, if it is still held.
pub async fn finish(
    db: &Db,
    delivery: &Delivery,
    ending: Ending,
    error: Option<&str>,
    now_ms: i64,
) -> sqlx::Result<()> {
    let _turn = db.write_turn().await;
    sqlx::query(
        "UPDATE deliveries SET state = $1, error = $2, finished_ms = $3, claimed_by = NULL, lease_until_ms = NULL
         WHERE guid = $4 AND state = 'working' AND claimed_by = $5",
    )
    .bind(ending.as_str())
    .bind(error)
    .bind(now_ms)
    .bind(&delivery.guid)
    .bind(&delivery.holder)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// Whether a try that was put off is one of those that a delivery has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Counts,
    /// GitHub limits all of our requests: no failure of this one.
    Free,
}

/// Puts a delivery back, to be tried again at `not_before_ms`, if it is still held.
pub async fn retry(
    db: &Db,
    delivery: &Delivery,
    error: &str,
    not_before_ms: i64,
    attempt: Attempt,
) -> sqlx::Result<()> {
    let _turn = db.write_turn().await;
    sqlx::query(
        "UPDATE deliveries
         SET state = 'queued', error = $1, not_before_ms = $2, claimed_by = NULL, lease_until_ms = NULL,
             attempts = attempts - $3
         WHERE guid = $4 AND state = 'working' AND claimed_by = $5",
    )
    .bind(error)
    .bind(not_before_ms)
    .bind(i64::from(attempt == Attempt::Free))
    .bind(&delivery.guid)
    .bind(&delivery.holder)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// A delivery that waits behind one that is worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    pub guid: String,
    pub received_ms: i64,
}

/// As many deliveries are ended with the one before them; a lane that is longer takes several turns.
const BEHIND_MAX: i64 = 200;

/// What waits behind a delivery in its lane and is of the same event. Asked before the facts are loaded: what is here
/// by then happened before, so those facts hold it already.
pub async fn behind(db: &Db, delivery: &Delivery) -> sqlx::Result<Vec<Behind>> {
    let rows = sqlx::query(
        "SELECT guid, received_ms FROM deliveries WHERE lane = $1 AND state = 'queued' AND event = $2
         ORDER BY received_ms LIMIT $3",
    )
    .bind(&delivery.lane)
    .bind(&delivery.event)
    .bind(BEHIND_MAX)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| Ok(Behind { guid: row.try_get("guid")?, received_ms: row.try_get("received_ms")? }))
        .collect()
}

/// Ends what waited behind a delivery and was done with it.
pub async fn finish_behind(db: &Db, behind: &[Behind], now_ms: i64) -> sqlx::Result<()> {
    if behind.is_empty() {
        return Ok(());
    }
    let places: Vec<String> = (2..behind.len() + 2).map(|place| format!("${place}")).collect();
    let sql = format!(
        "UPDATE deliveries SET state = 'done', finished_ms = $1, error = NULL
         WHERE state = 'queued' AND guid IN ({})",
        places.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(now_ms);
    for delivery in behind {
        query = query.bind(&delivery.guid);
    }
    let _turn = db.write_turn().await;
    query.execute(db.pool()).await.map(|_| ())
}

/// Puts back what a process that stops has taken and did not end. Returns how many.
pub async fn hand_back(db: &Db, worker: &str) -> sqlx::Result<u64> {
    sqlx::query(
        "UPDATE deliveries SET state = 'queued', claimed_by = NULL, lease_until_ms = NULL, attempts = attempts - 1
         WHERE state = 'working' AND claimed_by LIKE $1",
    )
    .bind(format!("{worker}/%"))
    .execute(db.pool())
    .await
    .map(|done| done.rows_affected())
}

/// Puts back what a dead process had taken. Returns how many.
pub async fn requeue_expired(db: &Db, now_ms: i64) -> sqlx::Result<u64> {
    sqlx::query(
        "UPDATE deliveries SET state = 'queued', claimed_by = NULL, lease_until_ms = NULL
         WHERE state = 'working' AND lease_until_ms < $1",
    )
    .bind(now_ms)
    .execute(db.pool())
    .await
    .map(|done| done.rows_affected())
}

/// Whether a delivery of this GUID was stored.
pub async fn known(db: &Db, guid: &str) -> sqlx::Result<bool> {
    let row = sqlx::query("SELECT COUNT(*) AS stored FROM deliveries WHERE guid = $1")
        .bind(guid)
        .fetch_one(db.pool())
        .await?;
    Ok(row.try_get::<i64, _>("stored")? > 0)
}

/// Count and age of what waits, for metrics.
pub async fn waiting(pool: &AnyPool) -> sqlx::Result<(i64, Option<i64>)> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS waiting, MIN(received_ms) AS oldest FROM deliveries
         WHERE state = 'queued' OR state = 'working'",
    )
    .fetch_one(pool)
    .await?;
    Ok((row.try_get("waiting")?, row.try_get("oldest")?))
}

/// How many lanes have work, and how much the longest of them has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    pub busy: i64,
    pub longest: i64,
}

pub async fn lanes(pool: &AnyPool) -> sqlx::Result<Lanes> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS busy, COALESCE(MAX(waiting), 0) AS longest FROM (
             SELECT COUNT(*) AS waiting FROM deliveries WHERE state = 'queued' OR state = 'working' GROUP BY lane
         ) AS lanes",
    )
    .fetch_one(pool)
    .await?;
    Ok(Lanes { busy: row.try_get("busy")?, longest: row.try_get("longest")? })
}

/// The error of the last delivery that was given up.
pub async fn newest_failure(db: &Db) -> sqlx::Result<Option<String>> {
    let row =
        sqlx::query("SELECT error FROM deliveries WHERE state = 'failed' ORDER BY finished_ms DESC LIMIT 1")
            .fetch_optional(db.pool())
            .await?;
    row.map_or(Ok(None), |row| row.try_get("error"))
}

/// Removes at most `limit` deliveries that were received before and are dealt with; what waits or failed for now stays
/// however old it is. Returns how many.
pub async fn prune(db: &Db, before_ms: i64, limit: i64) -> sqlx::Result<u64> {
    let mut removed = 0;
    // One state at a time, so that the queue's index leads to the oldest.
    for ending in [Ending::Done, Ending::Ignored, Ending::Failed] {
        let _turn = db.write_turn().await;
        let done = sqlx::query(
            "DELETE FROM deliveries WHERE guid IN (
                 SELECT guid FROM deliveries WHERE state = $1 AND received_ms < $2 ORDER BY received_ms LIMIT $3)",
        )
        .bind(ending.as_str())
        .bind(before_ms)
        .bind(limit - removed as i64)
        .execute(db.pool())
        .await?;
        removed += done.rows_affected();
    }
    Ok(removed)
}
