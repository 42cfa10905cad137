//! Outgoing writes: the state that must exist on GitHub, each target once, however often it is tried.

use super::pace::{self, Pace};
use super::{Db, Turn, Tx, json, new_id, to_json};
use crate::checks;
use crate::outgoing::{CheckRun, Outgoing};
use crate::pull::{InstallationId, RepoId};
use perfsuite::model::Sha;
use sqlx::Row;
use sqlx::any::AnyRow;

/// A write that this process is to make.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    pub target: String,
    /// Names this one taking of it: who lost it to another stores nothing any more.
    pub holder: String,
    pub installation: InstallationId,
    pub repository: RepoId,
    pub body: Outgoing,
    pub version: i64,
    pub remote_id: Option<i64>,
    pub attempts: i64,
    /// When this state was wanted.
    pub wanted_ms: i64,
}

fn write(row: &AnyRow) -> sqlx::Result<Write> {
    let remote_id: Option<String> = row.try_get("remote_id")?;
    Ok(Write {
        target: row.try_get("target")?,
        holder: row.try_get("claimed_by")?,
        installation: InstallationId(row.try_get("installation_id")?),
        repository: RepoId(row.try_get("repository_id")?),
        body: json(row, "body")?,
        version: row.try_get("version")?,
        remote_id: remote_id.and_then(|text| text.parse().ok()),
        attempts: row.try_get("attempts")?,
        wanted_ms: row.try_get("updated_ms")?,
    })
}

/// The name of what must exist once.
pub fn target(repository: RepoId, body: &Outgoing) -> String {
    match body {
        Outgoing::Comment { number, .. } => format!("comment:{}:{number}", repository.0),
        Outgoing::Reply { to, .. } => format!("reply:{}:{to}", repository.0),
        Outgoing::CheckRun(check) => check_target(repository, &check.head_sha, &check.name),
        Outgoing::Label { number, label, .. } => format!("label:{}:{number}:{label}", repository.0),
        Outgoing::Reaction { comment_id, content } => {
            format!("reaction:{}:{comment_id}:{content}", repository.0)
        }
    }
}

fn check_target(repository: RepoId, head: &Sha, name: &str) -> String {
    format!("check:{}:{head}:{name}", repository.0)
}

/// The targets of all check runs of a head, each by its name: how PostgreSQL sorts `:` among others depends on its
/// locale, so that no range of targets is the same everywhere.
fn check_targets(repository: RepoId, head: &Sha) -> [String; checks::ALL.len()] {
    checks::ALL.map(|name| check_target(repository, head, name))
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

/// Whether this target was ever wanted.
pub async fn known(tx: &mut Tx, target: &str) -> sqlx::Result<bool> {
    let row = sqlx::query("SELECT 1 AS one FROM writes WHERE target = $1").bind(target);
    Ok(row.fetch_optional(&mut **tx).await?.is_some())
}

/// Takes the oldest write that may go out now: one at a time for each installation, at its pace. The installation's
/// next write waits from this moment on, so that a crash does not quicken the pace.
pub async fn claim(
    db: &Db,
    worker: &str,
    now_ms: i64,
    lease_ms: i64,
    pace: Pace,
) -> sqlx::Result<Option<Write>> {
    let mut tx = db.begin_turn(Turn::Writes).await?;
    let row = sqlx::query(
        "UPDATE writes SET claimed_by = $1, lease_until_ms = $2, attempts = attempts + 1
         WHERE (lease_until_ms IS NULL OR lease_until_ms < $3) AND version > written_version AND target = (
             SELECT w.target FROM writes w
             WHERE w.version > w.written_version AND w.not_before_ms <= $3
               AND NOT EXISTS (SELECT 1 FROM repositories r
                               WHERE r.id = w.repository_id AND r.inactive IS NOT NULL)
               AND NOT EXISTS (SELECT 1 FROM writes o
                               WHERE o.installation_id = w.installation_id AND o.lease_until_ms >= $3)
               AND NOT EXISTS (SELECT 1 FROM pace p
                               WHERE p.installation_id = w.installation_id AND p.next_ms > $3)
             ORDER BY w.updated_ms, w.target LIMIT 1)
         RETURNING target, claimed_by, installation_id, repository_id, body, version, remote_id, attempts, updated_ms",
    )
    .bind(format!("{worker}/{}", new_id()))
    .bind(now_ms + lease_ms)
    .bind(now_ms)
    .fetch_optional(&mut *tx)
    .await?;
    let claimed = row.map(|row| write(&row)).transpose()?;
    if let Some(write) = &claimed {
        pace::spend(&mut tx, write.installation, now_ms, pace).await?;
    }
    tx.commit().await?;
    Ok(claimed)
}

/// Keeps a write that takes long. False when another has taken it over: then nothing more may be sent.
pub async fn extend(db: &Db, write: &Write, until_ms: i64) -> sqlx::Result<bool> {
    let _turn = db.write_turn().await;
    let done = sqlx::query("UPDATE writes SET lease_until_ms = $1 WHERE target = $2 AND claimed_by = $3")
        .bind(until_ms)
        .bind(&write.target)
        .bind(&write.holder)
        .execute(db.pool())
        .await?;
    Ok(done.rows_affected() == 1)
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The state is on GitHub under this id.
    Written { remote_id: i64 },
    /// Tried again at `not_before_ms`. `forget` drops the remote id, when what it named is gone.
    Later { error: String, not_before_ms: i64, forget: bool },
    /// GitHub limits all of our writes: tried again at `not_before_ms`, and no failure of this one.
    Limited { error: String, not_before_ms: i64 },
    /// This version will not be written (the repository is gone, GitHub refuses it for good).
    GivenUp { error: String },
}

/// Stores what became of a write that is still held, and lets the installation's next one go at `next_ms`.
pub async fn settle(db: &Db, write: &Write, outcome: &Outcome, next_ms: i64) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    pace::wait(&mut tx, write.installation, next_ms).await?;
    let query = match outcome {
        Outcome::Written { remote_id } => sqlx::query(
            "UPDATE writes SET written_version = $1, remote_id = $2, claimed_by = NULL, lease_until_ms = NULL,
                    error = NULL, attempts = 0
             WHERE target = $3 AND claimed_by = $4",
        )
        .bind(write.version)
        .bind(remote_id.to_string()),
        Outcome::Later { error, not_before_ms, forget: false } => sqlx::query(
            "UPDATE writes SET error = $1, not_before_ms = $2, claimed_by = NULL, lease_until_ms = NULL
             WHERE target = $3 AND claimed_by = $4",
        )
        .bind(error)
        .bind(*not_before_ms),
        Outcome::Later { error, not_before_ms, forget: true } => sqlx::query(
            "UPDATE writes SET error = $1, not_before_ms = $2, claimed_by = NULL, lease_until_ms = NULL,
                    remote_id = NULL
             WHERE target = $3 AND claimed_by = $4",
        )
        .bind(error)
        .bind(*not_before_ms),
        Outcome::Limited { error, not_before_ms } => sqlx::query(
            "UPDATE writes SET error = $1, not_before_ms = $2, claimed_by = NULL, lease_until_ms = NULL,
                    attempts = attempts - 1
             WHERE target = $3 AND claimed_by = $4",
        )
        .bind(error)
        .bind(*not_before_ms),
        Outcome::GivenUp { error } => sqlx::query(
            "UPDATE writes SET written_version = $1, error = $2, claimed_by = NULL, lease_until_ms = NULL
             WHERE target = $3 AND claimed_by = $4",
        )
        .bind(write.version)
        .bind(error),
    };
    query.bind(&write.target).bind(&write.holder).execute(&mut *tx).await?;
    tx.commit().await
}

/// A state that GitHub was brought to, and the id of what shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    pub target: String,
    pub version: i64,
    pub remote_id: i64,
    pub body: Outgoing,
}

/// What GitHub should show of one pull request and its head, as far as it was written and nothing newer is wanted.
pub async fn written(db: &Db, repository: RepoId, number: u64, head: &Sha) -> sqlx::Result<Vec<Written>> {
    let rows = sqlx::query(
        "SELECT target, version, remote_id, body FROM writes
         WHERE target IN ($1, $2, $3, $4, $5, $6) AND version = written_version
           AND remote_id IS NOT NULL AND error IS NULL",
    )
    .bind(format!("comment:{}:{number}", repository.0));
    let rows = check_targets(repository, head).into_iter().fold(rows, |rows, target| rows.bind(target));
    let rows = rows.fetch_all(db.pool()).await?;
    let mut written = Vec::new();
    for row in &rows {
        let remote_id: String = row.try_get("remote_id")?;
        if let Ok(remote_id) = remote_id.parse() {
            let (target, version) = (row.try_get("target")?, row.try_get("version")?);
            written.push(Written { target, version, remote_id, body: json(row, "body")? });
        }
    }
    Ok(written)
}

/// What became of something written, when it is no longer as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// It is another state now.
    Changed,
    /// It is no longer there.
    Gone,
}

/// Wants a written state once more.
pub async fn again(db: &Db, written: &Written, drift: Drift, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE writes SET written_version = 0, attempts = 0, not_before_ms = $1, updated_ms = $1,
                remote_id = CASE WHEN $2 = 1 THEN NULL ELSE remote_id END
         WHERE target = $3 AND version = $4 AND written_version = version",
    )
    .bind(now_ms)
    .bind(i64::from(drift == Drift::Gone))
    .bind(&written.target)
    .bind(written.version)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// Wants check runs of a head once more, as they are: all of them, or the one of this name. Somebody had GitHub ask for
/// them again, whose suite then waits for an answer, though nothing may have changed.
pub async fn repeat_checks(
    tx: &mut Tx,
    repository: RepoId,
    head: &Sha,
    name: Option<&str>,
    now_ms: i64,
) -> sqlx::Result<()> {
    for of in checks::ALL.iter().filter(|of| name.is_none_or(|name| name == **of)) {
        sqlx::query(
            "UPDATE writes SET version = version + 1, attempts = 0, not_before_ms = $1, updated_ms = $1
             WHERE target = $2 AND version = written_version",
        )
        .bind(now_ms)
        .bind(check_target(repository, head, of))
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Drops what was wanted for check runs of a head and certainly never left here. Returns what GitHub may have of the
/// others.
pub async fn drop_unsent_checks(tx: &mut Tx, repository: RepoId, head: &Sha) -> sqlx::Result<Vec<CheckRun>> {
    let mut delete = sqlx::query(
        "DELETE FROM writes WHERE target IN ($1, $2, $3, $4, $5) AND written_version = 0 AND remote_id IS NULL
           AND lease_until_ms IS NULL AND attempts = 0 AND error IS NULL",
    );
    let mut select = sqlx::query("SELECT body FROM writes WHERE target IN ($1, $2, $3, $4, $5)");
    for target in check_targets(repository, head) {
        (delete, select) = (delete.bind(target.clone()), select.bind(target));
    }
    delete.execute(&mut **tx).await?;
    let rows = select.fetch_all(&mut **tx).await?;
    let mut kept = Vec::new();
    for row in &rows {
        if let Outgoing::CheckRun(check) = json(row, "body")? {
            kept.push(check);
        }
    }
    Ok(kept)
}

/// Lets others make what a process that stops has taken and did not end. It may have been made: who comes next looks.
pub async fn hand_back(db: &Db, worker: &str) -> sqlx::Result<u64> {
    sqlx::query("UPDATE writes SET claimed_by = NULL, lease_until_ms = NULL WHERE claimed_by LIKE $1")
        .bind(format!("{worker}/%"))
        .execute(db.pool())
        .await
        .map(|done| done.rows_affected())
}

/// Writes that are not on GitHub yet and may go there.
pub async fn waiting(db: &Db) -> sqlx::Result<i64> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS waiting FROM writes w WHERE w.version > w.written_version
           AND NOT EXISTS (SELECT 1 FROM repositories r WHERE r.id = w.repository_id AND r.inactive IS NOT NULL)",
    )
    .fetch_one(db.pool())
    .await?;
    row.try_get("waiting")
}
