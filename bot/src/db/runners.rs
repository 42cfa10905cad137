//! Runners and their hashed tokens.

use super::{Db, flag, json_option, new_id, to_json};
use perfsuite::model::Environment;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A runner, without its token: only the token's hash is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Runner {
    pub id: String,
    pub name: String,
    /// The server's own child process.
    pub builtin: bool,
    pub environment: Option<Environment>,
    pub sandboxed: bool,
    pub created_ms: i64,
    pub seen_ms: Option<i64>,
    pub revoked_ms: Option<i64>,
}

fn runner(row: &AnyRow) -> sqlx::Result<Runner> {
    Ok(Runner {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        builtin: flag(row, "builtin")?,
        environment: json_option(row, "environment")?,
        sandboxed: flag(row, "sandboxed")?,
        created_ms: row.try_get("created_ms")?,
        seen_ms: row.try_get("seen_ms")?,
        revoked_ms: row.try_get("revoked_ms")?,
    })
}

/// A fresh token: 256 random bits, with a prefix that secret scanners can know.
pub fn new_token() -> String {
    let bytes: [u8; 32] = rand::random();
    format!("plr_{}", hex::encode(bytes))
}

fn hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// Adds a runner, or gives the runner of that name a new token (the old one ends at once).
pub async fn upsert(db: &Db, name: &str, token: &str, builtin: bool, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO runners (id, name, token_sha256, builtin, created_ms) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO UPDATE SET token_sha256 = excluded.token_sha256, builtin = excluded.builtin,
             revoked_ms = NULL",
    )
    .bind(new_id())
    .bind(name)
    .bind(hash(token))
    .bind(i64::from(builtin))
    .bind(now_ms)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// The runner that this token belongs to, unless revoked.
pub async fn by_token(db: &Db, token: &str) -> sqlx::Result<Option<Runner>> {
    let row = sqlx::query("SELECT * FROM runners WHERE token_sha256 = $1 AND revoked_ms IS NULL")
        .bind(hash(token))
        .fetch_optional(db.pool())
        .await?;
    row.map(|row| runner(&row)).transpose()
}

pub async fn all(db: &Db) -> sqlx::Result<Vec<Runner>> {
    let rows = sqlx::query("SELECT * FROM runners ORDER BY name LIMIT 1000").fetch_all(db.pool()).await?;
    rows.iter().map(runner).collect()
}

/// Runners heard of since `since_ms`.
pub async fn alive<'e, E: sqlx::Executor<'e, Database = sqlx::Any>>(
    on: E,
    since_ms: i64,
) -> sqlx::Result<u32> {
    let row = sqlx::query("SELECT COUNT(*) AS alive FROM runners WHERE revoked_ms IS NULL AND seen_ms >= $1")
        .bind(since_ms)
        .fetch_one(on)
        .await?;
    Ok(row.try_get::<i64, _>("alive")? as u32)
}

/// Notes that a runner asked for work, and from what machine.
pub async fn seen(
    db: &Db,
    id: &str,
    environment: Option<&Environment>,
    sandboxed: Option<bool>,
    now_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE runners SET seen_ms = $1, environment = COALESCE($2, environment), sandboxed = COALESCE($3, sandboxed)
         WHERE id = $4",
    )
    .bind(now_ms)
    .bind(environment.map(to_json))
    .bind(sandboxed.map(i64::from))
    .bind(id)
    .execute(db.pool())
    .await
    .map(|_| ())
}

/// Ends a runner's token, and its lease on the job that it holds: another runner gets that at the next round of repairs.
/// False when there is no such runner, or it was revoked before.
pub async fn revoke(db: &Db, name: &str, now_ms: i64) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    let done = sqlx::query("UPDATE runners SET revoked_ms = $1 WHERE name = $2 AND revoked_ms IS NULL")
        .bind(now_ms)
        .bind(name)
        .execute(&mut *tx)
        .await?;
    let revoked = done.rows_affected() == 1;
    if revoked {
        sqlx::query(
            "UPDATE jobs SET lease_until_ms = 0 WHERE state IN ('claimed', 'building', 'measuring')
               AND runner_id = (SELECT id FROM runners WHERE name = $1)",
        )
        .bind(name)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(revoked)
}
