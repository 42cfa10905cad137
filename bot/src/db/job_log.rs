//! Log lines of a job, as its runner sent them.

use super::Db;
use perfsuite::model::JobId;
use sqlx::Row;

/// Lines kept of one job; a chatty build is cut here, at its start and not at its end.
pub const LINES_MAX: i64 = 5_000;

/// Appends lines and drops the oldest beyond [`LINES_MAX`].
pub async fn append(db: &Db, job: &JobId, lines: &[String], now_ms: i64) -> sqlx::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut tx = db.begin().await?;
    let row = sqlx::query("SELECT COALESCE(MAX(seq), 0) AS last FROM job_log WHERE job_id = $1")
        .bind(&job.0)
        .fetch_one(&mut *tx)
        .await?;
    let last: i64 = row.try_get("last")?;
    for (seq, line) in (last + 1..).zip(lines) {
        sqlx::query("INSERT INTO job_log (job_id, seq, at_ms, line) VALUES ($1, $2, $3, $4)")
            .bind(&job.0)
            .bind(seq)
            .bind(now_ms)
            .bind(line)
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query("DELETE FROM job_log WHERE job_id = $1 AND seq <= $2")
        .bind(&job.0)
        .bind(last + lines.len() as i64 - LINES_MAX)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

/// Lines after `after`, with their numbers.
pub async fn tail(db: &Db, job: &JobId, after: i64, limit: i64) -> sqlx::Result<Vec<(i64, String)>> {
    let rows =
        sqlx::query("SELECT seq, line FROM job_log WHERE job_id = $1 AND seq > $2 ORDER BY seq LIMIT $3")
            .bind(&job.0)
            .bind(after)
            .bind(limit)
            .fetch_all(db.pool())
            .await?;
    rows.iter().map(|row| Ok((row.try_get("seq")?, row.try_get("line")?))).collect()
}

/// The last lines, in the order in which they came, with their numbers.
pub async fn ending(db: &Db, job: &JobId, limit: i64) -> sqlx::Result<Vec<(i64, String)>> {
    let rows = sqlx::query("SELECT seq, line FROM job_log WHERE job_id = $1 ORDER BY seq DESC LIMIT $2")
        .bind(&job.0)
        .bind(limit)
        .fetch_all(db.pool())
        .await?;
    rows.iter().rev().map(|row| Ok((row.try_get("seq")?, row.try_get("line")?))).collect()
}

/// The same without the numbers.
pub async fn last(db: &Db, job: &JobId, limit: i64) -> sqlx::Result<Vec<String>> {
    Ok(ending(db, job, limit).await?.into_iter().map(|(_, line)| line).collect())
}

/// Removes lines of at most `limit` jobs that ended before. Returns how many lines.
pub async fn prune(db: &Db, before_ms: i64, jobs: i64) -> sqlx::Result<u64> {
    let _turn = db.write_turn().await;
    sqlx::query(
        "DELETE FROM job_log WHERE job_id IN (
             SELECT j.id FROM jobs j
             WHERE j.finished_ms < $1 AND EXISTS (SELECT 1 FROM job_log l WHERE l.job_id = j.id)
             ORDER BY j.finished_ms LIMIT $2)",
    )
    .bind(before_ms)
    .bind(jobs)
    .execute(db.pool())
    .await
    .map(|done| done.rows_affected())
}
