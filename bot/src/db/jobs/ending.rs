//! How jobs that are held go on and end, and what makes others pointless.

use super::{Job, Kind, job};
use crate::db::{Db, Tx, sha, to_json};
use crate::judgement::ChecksReport;
use crate::pull::RepoId;
use crate::queue::{ATTEMPTS_MAX, JobState};
use perfsuite::model::wire::Progress;
use perfsuite::model::{Fence, JobId, Report, Sha};

/// Keeps the lease and stores progress. False when this attempt no longer holds the job.
pub async fn heartbeat(
    db: &Db,
    id: &JobId,
    fence: Fence,
    state: JobState,
    progress: &Progress,
    lease_until_ms: i64,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE jobs SET state = $1, progress = $2, lease_until_ms = $3
         WHERE id = $4 AND fence = $5 AND state IN ('claimed', 'building', 'measuring')",
    )
    .bind(state.as_str())
    .bind(to_json(progress))
    .bind(lease_until_ms)
    .bind(&id.0)
    .bind(fence.0)
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How a held job ends.
pub enum End<'a> {
    Done { evidence: &'a str, report: &'a Report },
    Checked { evidence: &'a str, checks: &'a ChecksReport },
    Failed { error: &'a str },
}

/// Ends a held job. False when this attempt no longer holds it.
pub async fn end(tx: &mut Tx, id: &JobId, fence: Fence, end: &End<'_>, now_ms: i64) -> sqlx::Result<bool> {
    let (state, evidence, error) = match end {
        End::Done { evidence, .. } | End::Checked { evidence, .. } => (JobState::Done, Some(*evidence), None),
        End::Failed { error } => (JobState::Failed, None, Some(*error)),
    };
    let (report, checks) = match end {
        End::Done { report, .. } => (Some(to_json(report)), None),
        End::Checked { checks, .. } => (None, Some(to_json(checks))),
        End::Failed { .. } => (None, None),
    };
    let took_ms = match end {
        End::Done { report, .. } => Some((report.measure_seconds * 1_000.0) as i64),
        End::Checked { .. } | End::Failed { .. } => None,
    };
    let done = sqlx::query(
        "UPDATE jobs SET state = $1, evidence = $2, report = $3, error = $4, finished_ms = $5, lease_until_ms = NULL,
                checks = $8, cost_ms = COALESCE($9, cost_ms)
         WHERE id = $6 AND fence = $7 AND state IN ('claimed', 'building', 'measuring')",
    )
    .bind(state.as_str())
    .bind(evidence)
    .bind(report)
    .bind(error)
    .bind(now_ms)
    .bind(&id.0)
    .bind(fence.0)
    .bind(checks)
    .bind(took_ms)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A runner that stops gives its job back, to be taken at once; the attempt does not count.
pub async fn hand_back(db: &Db, id: &JobId, fence: Fence) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE jobs SET state = 'queued', attempts = attempts - 1, runner_id = NULL, lease_until_ms = NULL,
                progress = NULL
         WHERE id = $1 AND fence = $2 AND state IN ('claimed', 'building', 'measuring')",
    )
    .bind(&id.0)
    .bind(fence.0)
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends every job of a kind of a pull request that is not for this head and merge base (`None`: every one). `by` says
/// what made them pointless. Returns their heads.
pub async fn supersede(
    tx: &mut Tx,
    kind: Kind,
    repository: RepoId,
    number: u64,
    keep: Option<(&Sha, &Sha)>,
    by: &str,
    now_ms: i64,
) -> sqlx::Result<Vec<Sha>> {
    let (head, base) = keep.map_or(("", ""), |(head, base)| (head.as_str(), base.as_str()));
    let rows = sqlx::query(
        "UPDATE jobs SET state = 'superseded', finished_ms = $1, lease_until_ms = NULL, error = $6
         WHERE repository_id = $2 AND number = $3 AND NOT (head_sha = $4 AND base_sha = $5) AND kind = $7
           AND state IN ('queued', 'claimed', 'building', 'measuring')
         RETURNING head_sha",
    )
    .bind(now_ms)
    .bind(repository.0)
    .bind(number as i64)
    .bind(head)
    .bind(base)
    .bind(by)
    .bind(kind.as_str())
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(|row| sha(row, "head_sha")).collect()
}

/// Cancels what runs or waits for a pull request.
pub async fn cancel(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    by: &str,
    now_ms: i64,
) -> sqlx::Result<u64> {
    sqlx::query(
        "UPDATE jobs SET state = 'cancelled', error = $1, finished_ms = $2, lease_until_ms = NULL
         WHERE repository_id = $3 AND number = $4 AND state IN ('queued', 'claimed', 'building', 'measuring')",
    )
    .bind(by)
    .bind(now_ms)
    .bind(repository.0)
    .bind(number as i64)
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected())
}

/// Cancels one job that runs or waits. Whether it did.
pub async fn cancel_one(tx: &mut Tx, id: &JobId, by: &str, now_ms: i64) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE jobs SET state = 'cancelled', error = $1, finished_ms = $2, lease_until_ms = NULL
         WHERE id = $3 AND state IN ('queued', 'claimed', 'building', 'measuring')",
    )
    .bind(by)
    .bind(now_ms)
    .bind(&id.0)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Cancels what runs or waits for a whole repository.
pub async fn cancel_all(tx: &mut Tx, repository: RepoId, by: &str, now_ms: i64) -> sqlx::Result<u64> {
    sqlx::query(
        "UPDATE jobs SET state = 'cancelled', error = $1, finished_ms = $2, lease_until_ms = NULL
         WHERE repository_id = $3 AND state IN ('queued', 'claimed', 'building', 'measuring')",
    )
    .bind(by)
    .bind(now_ms)
    .bind(repository.0)
    .execute(&mut **tx)
    .await
    .map(|done| done.rows_affected())
}

/// Gives jobs of silent runners to others; those out of attempts fail. Returns them as they are now.
pub async fn expire_leases(db: &Db, now_ms: i64) -> sqlx::Result<Vec<Job>> {
    let rows = sqlx::query(
        "UPDATE jobs SET
             state = CASE WHEN attempts >= $1 THEN 'failed' ELSE 'queued' END,
             error = CASE WHEN attempts >= $1 THEN 'the runner was lost on every attempt' ELSE error END,
             finished_ms = CASE WHEN attempts >= $1 THEN $2 ELSE NULL END,
             runner_id = NULL, lease_until_ms = NULL, progress = NULL
         WHERE state IN ('claimed', 'building', 'measuring') AND lease_until_ms < $2
         RETURNING *",
    )
    .bind(ATTEMPTS_MAX)
    .bind(now_ms)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(job).collect()
}

/// Ends a job that waits or runs, because of what made it pointless.
pub async fn drop_one(tx: &mut Tx, id: &JobId, by: &str, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE jobs SET state = 'superseded', error = $1, finished_ms = $2, lease_until_ms = NULL
         WHERE id = $3 AND state IN ('queued', 'claimed', 'building', 'measuring')",
    )
    .bind(by)
    .bind(now_ms)
    .bind(&id.0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}
