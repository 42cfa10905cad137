//! Commits of default branches that were measured, or are to be, by their place along first parents.

use super::{Tx, looked_for, places_from, sha};
use crate::pull::RepoId;
use crate::queue::Purpose;
use perfsuite::model::{JobId, Sha};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyPool, AssertSqlSafe, Executor, Row};

/// Commits that are read of one repository at a time.
pub const READ_MAX: i64 = 20_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryCommit {
    /// Along first parents, from the root, which is 0.
    pub position: i64,
    pub sha: Sha,
    /// Its first parent; the root has none.
    pub parent: Option<Sha>,
    pub author: String,
    pub subject: String,
    pub committed_ms: i64,
    /// The pull request that brought it, where its message says so.
    pub pull: Option<u64>,
    pub environment: Option<i64>,
    pub parent_job: Option<String>,
    pub reference_job: Option<String>,
    /// The reference that it was measured against.
    pub reference_number: Option<i64>,
}

fn commit(row: &AnyRow) -> sqlx::Result<HistoryCommit> {
    let parent: Option<String> = row.try_get("parent_sha")?;
    Ok(HistoryCommit {
        position: row.try_get("position")?,
        sha: sha(row, "sha")?,
        parent: parent.and_then(|text| text.parse().ok()),
        author: row.try_get("author")?,
        subject: row.try_get("subject")?,
        committed_ms: row.try_get("committed_ms")?,
        pull: row.try_get::<Option<i64>, _>("pull")?.map(|number| number as u64),
        environment: row.try_get("environment_id")?,
        parent_job: row.try_get("parent_job")?,
        reference_job: row.try_get("reference_job")?,
        reference_number: row.try_get("reference_number")?,
    })
}

/// Inserts a commit, or gives one that is known its new jobs.
pub async fn upsert(tx: &mut Tx, repository: RepoId, new: &HistoryCommit) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO history_commits (repository_id, position, sha, parent_sha, author, subject, committed_ms, pull,
                                      parent_job, reference_job, reference_number)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (repository_id, position) DO UPDATE SET sha = excluded.sha, parent_sha = excluded.parent_sha,
             author = excluded.author, subject = excluded.subject, committed_ms = excluded.committed_ms,
             pull = excluded.pull, parent_job = excluded.parent_job, reference_job = excluded.reference_job,
             reference_number = excluded.reference_number",
    )
    .bind(repository.0)
    .bind(new.position)
    .bind(new.sha.as_str())
    .bind(new.parent.as_ref().map(Sha::as_str))
    .bind(&new.author)
    .bind(&new.subject)
    .bind(new.committed_ms)
    .bind(new.pull.map(|number| number as i64))
    .bind(&new.parent_job)
    .bind(&new.reference_job)
    .bind(new.reference_number)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

pub async fn set_environment(
    tx: &mut Tx,
    repository: RepoId,
    position: i64,
    environment: i64,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE history_commits SET environment_id = $1 WHERE repository_id = $2 AND position = $3")
        .bind(environment)
        .bind(repository.0)
        .bind(position)
        .execute(&mut **tx)
        .await
        .map(|_| ())
}

/// The newest commits from `from` to `to`, oldest first.
pub async fn between<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    from: i64,
    to: i64,
) -> sqlx::Result<Vec<HistoryCommit>> {
    let rows = sqlx::query(
        "SELECT * FROM history_commits WHERE repository_id = $1 AND position BETWEEN $2 AND $3
         ORDER BY position DESC LIMIT $4",
    )
    .bind(repository.0)
    .bind(from)
    .bind(to)
    .bind(READ_MAX)
    .fetch_all(on)
    .await?;
    let mut commits: Vec<HistoryCommit> = rows.iter().map(commit).collect::<sqlx::Result<_>>()?;
    commits.reverse();
    Ok(commits)
}

/// The commits at these places, oldest first.
pub async fn at(pool: &AnyPool, repository: RepoId, positions: &[i64]) -> sqlx::Result<Vec<HistoryCommit>> {
    let mut wanted = positions.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let sql = format!(
        "SELECT * FROM history_commits WHERE repository_id = $1 AND position IN ({}) ORDER BY position",
        places_from(2)
    );
    let mut commits = Vec::with_capacity(wanted.len());
    for some in looked_for(&wanted) {
        let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(repository.0);
        let query = some.into_iter().fold(query, |query, position| query.bind(position));
        for row in query.fetch_all(pool).await? {
            commits.push(commit(&row)?);
        }
    }
    Ok(commits)
}

/// The newest ones, the newest first.
pub async fn newest<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    before: i64,
    limit: i64,
) -> sqlx::Result<Vec<HistoryCommit>> {
    let rows = sqlx::query(
        "SELECT * FROM history_commits WHERE repository_id = $1 AND position < $2 ORDER BY position DESC LIMIT $3",
    )
    .bind(repository.0)
    .bind(before)
    .bind(limit)
    .fetch_all(on)
    .await?;
    rows.iter().map(commit).collect()
}

/// The commit whose job this is.
pub async fn of_job(
    tx: &mut Tx,
    repository: RepoId,
    kind: Purpose,
    head: &Sha,
    job: &JobId,
) -> sqlx::Result<Option<HistoryCommit>> {
    let column = if kind == Purpose::Reference { "reference_job" } else { "parent_job" };
    let sql =
        format!("SELECT * FROM history_commits WHERE repository_id = $1 AND sha = $2 AND {column} = $3");
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(repository.0)
        .bind(head.as_str())
        .bind(&job.0)
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| commit(&row)).transpose()
}

/// Commits whose ids begin so; more than one where it is too short.
pub async fn beginning(
    pool: &AnyPool,
    repository: RepoId,
    beginning: &str,
) -> sqlx::Result<Vec<HistoryCommit>> {
    // `g` follows every digit of an id.
    let rows = sqlx::query(
        "SELECT * FROM history_commits WHERE repository_id = $1 AND sha >= $2 AND sha < $3 ORDER BY sha LIMIT 2",
    )
    .bind(repository.0)
    .bind(beginning)
    .bind(format!("{beginning}g"))
    .fetch_all(pool)
    .await?;
    rows.iter().map(commit).collect()
}

pub async fn by_sha<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    sha: &Sha,
) -> sqlx::Result<Option<HistoryCommit>> {
    let row = sqlx::query("SELECT * FROM history_commits WHERE repository_id = $1 AND sha = $2")
        .bind(repository.0)
        .bind(sha.as_str())
        .fetch_optional(on)
        .await?;
    row.map(|row| commit(&row)).transpose()
}

/// Forgets commits from a position on, and their points: they are no longer on the branch. Returns their jobs.
pub async fn forget_from(tx: &mut Tx, repository: RepoId, from: i64) -> sqlx::Result<Vec<JobId>> {
    for sql in [
        "DELETE FROM history_points WHERE position >= $2
           AND series_id IN (SELECT id FROM history_series WHERE repository_id = $1)",
        "DELETE FROM change_points WHERE position >= $2
           AND series_id IN (SELECT id FROM history_series WHERE repository_id = $1)",
        "UPDATE history_series SET version = version + 1 WHERE repository_id = $1 AND $2 >= 0",
    ] {
        sqlx::query(sql).bind(repository.0).bind(from).execute(&mut **tx).await?;
    }
    let rows = sqlx::query(
        "DELETE FROM history_commits WHERE repository_id = $1 AND position >= $2
         RETURNING parent_job, reference_job",
    )
    .bind(repository.0)
    .bind(from)
    .fetch_all(&mut **tx)
    .await?;
    let mut jobs = Vec::new();
    for row in rows {
        jobs.extend(row.try_get::<Option<String>, _>("parent_job")?.map(JobId));
        jobs.extend(row.try_get::<Option<String>, _>("reference_job")?.map(JobId));
    }
    Ok(jobs)
}
