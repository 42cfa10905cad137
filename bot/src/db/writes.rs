//! Outgoing writes: the state that must exist on GitHub, each target once, however often it is tried.

use super::{Db, Tx, json, to_json};
use crate::outgoing::Outgoing;
use crate::pull::{InstallationId, RepoId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A write that this process is to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub target: String,
    pub installation: InstallationId,
    pub repository: RepoId,
    pub body: Outgoing,
    pub version: i64,
    pub remote_id: Option<i64>,
    pub attempts: i64,
}

fn write(row: &AnyRow) -> sqlx::Result<Write> {
    let remote_id: Option<String> = row.try_get("remote_id")?;
    Ok(Write {
        target: row.try_get("target")?,
        installation: InstallationId(row.try_get("installation_id")?),
        repository: RepoId(row.try_get("repository_id")?),
        body: json(row, "body")?,
        version: row.try_get("version")?,
        remote_id: remote_id.and_then(|text| text.parse().ok()),
        attempts: row.try_get("attempts")?,
    })
}

/// The name of what must exist once.
pub fn target(repository: RepoId, body: &Outgoing) -> String {
    match body {
        Outgoing::Comment { number, .. } => format!("comment:{}:{number}", repository.0),
        Outgoing::Reply { to, .. } => format!("reply:{}:{to}", repository.0),
        Outgoing::CheckRun(check) => format!("check:{}:{}:{}", repository.0, check.head_sha, check.name),
        Outgoing::Reaction { comment_id, content } => {
            format!("reaction:{}:{comment_id}:{content}", repository.0)
        }
    }
}

/// Wants this state. The newest wanted state of a target wins; the same state again is no new write.
pub async fn want(
    tx: &mut Tx,
    installation: InstallationId,
    repository: RepoId,
    body: &Outgoing,
    now_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO writes (target, installation_id, repository_id, body, version, not_before_ms, updated_ms)
         VALUES ($1, $2, $3, $4, 1, $5, $5)
         ON CONFLICT (target) DO UPDATE SET body = excluded.body, version = writes.version + 1,
             installation_id = excluded.installation_id, attempts = 0, not_before_ms = excluded.not_before_ms,
             updated_ms = excluded.updated_ms
         WHERE writes.body <> excluded.body",
    )
    .bind(target(repository, body))
    .bind(installation.0)
    .bind(repository.0)
    .bind(to_json(body))
    .bind(now_ms)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// Takes the oldest write that may go out now: one at a time for each installation, at its pace.
pub async fn claim(db: &Db, worker: &str, now_ms: i64, lease_ms: i64) -> sqlx::Result<Option<Write>> {
    let row = sqlx::query(
        "UPDATE writes SET claimed_by = $1, lease_until_ms = $2, attempts = attempts + 1
         WHERE (lease_until_ms IS NULL OR lease_until_ms < $3) AND version > written_version AND target = (
             SELECT w.target FROM writes w
             WHERE w.version > w.written_version AND w.not_before_ms <= $3
               AND NOT EXISTS (SELECT 1 FROM writes o
                               WHERE o.installation_id = w.installation_id AND o.lease_until_ms >= $3)
               AND NOT EXISTS (SELECT 1 FROM pace p
                               WHERE p.installation_id = w.installation_id AND p.next_ms > $3)
             ORDER BY w.updated_ms, w.target LIMIT 1)
         RETURNING target, installation_id, repository_id, body, version, remote_id, attempts",
    )
    .bind(worker)
    .bind(now_ms + lease_ms)
    .bind(now_ms)
    .fetch_optional(db.pool())
    .await?;
    row.map(|row| write(&row)).transpose()
}

/// The state is on GitHub under this id.
pub async fn written(db: &Db, write: &Write, worker: &str, remote_id: i64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE writes SET written_version = $1, remote_id = $2, claimed_by = NULL, lease_until_ms = NULL,
                error = NULL, attempts = 0
         WHERE target = $3 AND claimed_by = $4",
    )
    .bind(write.version)
    .bind(remote_id.to_string())
    .bind(&write.target)
    .bind(worker)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// Not written: tried again at `not_before_ms`. `forget` drops the remote id, when what it named is gone.
pub async fn retry(
    db: &Db,
    write: &Write,
    worker: &str,
    error: &str,
    not_before_ms: i64,
    forget: bool,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE writes SET error = $1, not_before_ms = $2, claimed_by = NULL, lease_until_ms = NULL,
                remote_id = CASE WHEN $3 = 1 THEN NULL ELSE remote_id END
         WHERE target = $4 AND claimed_by = $5",
    )
    .bind(error)
    .bind(not_before_ms)
    .bind(i64::from(forget))
    .bind(&write.target)
    .bind(worker)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// Given up: this version will not be written (the repository is gone, GitHub refuses it for good).
pub async fn give_up(db: &Db, write: &Write, worker: &str, error: &str) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE writes SET written_version = $1, error = $2, claimed_by = NULL, lease_until_ms = NULL
         WHERE target = $3 AND claimed_by = $4",
    )
    .bind(write.version)
    .bind(error)
    .bind(&write.target)
    .bind(worker)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// No write to this installation before `next_ms`.
pub async fn set_pace(db: &Db, installation: InstallationId, next_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO pace (installation_id, next_ms) VALUES ($1, $2)
         ON CONFLICT (installation_id) DO UPDATE SET next_ms =
             CASE WHEN excluded.next_ms > pace.next_ms THEN excluded.next_ms ELSE pace.next_ms END",
    )
    .bind(installation.0)
    .bind(next_ms)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// Writes that are not on GitHub yet.
pub async fn waiting(db: &Db) -> sqlx::Result<i64> {
    let row = sqlx::query("SELECT COUNT(*) AS waiting FROM writes WHERE version > written_version")
        .fetch_one(db.pool())
        .await?;
    row.try_get("waiting")
}
