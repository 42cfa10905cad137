//! Where series changed their level, as last judged.

use super::series::{self, Key};
use super::{Tx, new_id};
use crate::pull::RepoId;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyPool, Executor, Row};

/// Change points that one list reads.
const READ_MAX: i64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Few points came after it.
    Provisional,
    Confirmed,
    /// Was confirmed, and later points unsaid it.
    Withdrawn,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Provisional => "provisional",
            State::Confirmed => "confirmed",
            State::Withdrawn => "withdrawn",
        }
    }

    fn read(text: &str) -> Self {
        match text {
            "confirmed" => State::Confirmed,
            "withdrawn" => State::Withdrawn,
            _ => State::Provisional,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct ChangePoint {
    pub id: String,
    pub series: i64,
    /// Of the first measured commit after it.
    pub position: i64,
    /// Of the last one before it.
    pub before: i64,
    pub size: f64,
    pub state: State,
    pub found_ms: i64,
    pub confirmed_ms: Option<i64>,
}

fn change_point(row: &AnyRow) -> sqlx::Result<ChangePoint> {
    let state: String = row.try_get("state")?;
    Ok(ChangePoint {
        id: row.try_get("id")?,
        series: row.try_get("series_id")?,
        position: row.try_get("position")?,
        before: row.try_get("before_position")?,
        size: row.try_get("size")?,
        state: State::read(&state),
        found_ms: row.try_get("found_ms")?,
        confirmed_ms: row.try_get("confirmed_ms")?,
    })
}

/// Those of a series, oldest first, withdrawn ones too.
pub async fn of_series<'e, E: Executor<'e, Database = Any>>(
    on: E,
    series: i64,
) -> sqlx::Result<Vec<ChangePoint>> {
    let rows = sqlx::query("SELECT * FROM change_points WHERE series_id = $1 ORDER BY position, id LIMIT $2")
        .bind(series)
        .bind(READ_MAX)
        .fetch_all(on)
        .await?;
    rows.iter().map(change_point).collect()
}

/// Those of a repository that stand, along the branch the newest first, each with what its series is of.
pub async fn newest(pool: &AnyPool, repository: RepoId, limit: i64) -> sqlx::Result<Vec<(ChangePoint, Key)>> {
    let rows = sqlx::query(
        "SELECT c.*, s.suite AS suite, s.benchmark AS benchmark, s.metric AS metric
         FROM change_points c JOIN history_series s ON s.id = c.series_id
         WHERE s.repository_id = $1 AND c.state <> 'withdrawn' ORDER BY c.position DESC, c.id LIMIT $2",
    )
    .bind(repository.0)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| Ok((change_point(row)?, series::key(row)?))).collect()
}

pub async fn get<'e, E: Executor<'e, Database = Any>>(on: E, id: &str) -> sqlx::Result<Option<ChangePoint>> {
    let row = sqlx::query("SELECT * FROM change_points WHERE id = $1").bind(id).fetch_optional(on).await?;
    row.map(|row| change_point(&row)).transpose()
}

/// A change point that was not there before; it gets an id.
pub async fn insert(tx: &mut Tx, new: &ChangePoint) -> sqlx::Result<String> {
    let id = new_id();
    sqlx::query(
        "INSERT INTO change_points (id, series_id, position, before_position, size, state, found_ms, confirmed_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&id)
    .bind(new.series)
    .bind(new.position)
    .bind(new.before)
    .bind(new.size)
    .bind(new.state.as_str())
    .bind(new.found_ms)
    .bind(new.confirmed_ms)
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

/// The same one, as it is judged now.
pub async fn update(tx: &mut Tx, point: &ChangePoint) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE change_points SET position = $1, before_position = $2, size = $3, state = $4, confirmed_ms = $5
         WHERE id = $6",
    )
    .bind(point.position)
    .bind(point.before)
    .bind(point.size)
    .bind(point.state.as_str())
    .bind(point.confirmed_ms)
    .bind(&point.id)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// A provisional one that was unsaid.
pub async fn remove(tx: &mut Tx, id: &str) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM change_points WHERE id = $1").bind(id).execute(&mut **tx).await.map(|_| ())
}
