//! Who is signed in, and sign-ins under way. Of what a browser holds only the digest is kept.

use super::Db;
use crate::github::Person;
use sqlx::Row;

/// Sign-ins under way at the same time; a flood of them pushes out its own oldest.
const UNDER_WAY_MAX: i64 = 10_000;

pub async fn insert(
    db: &Db,
    id_sha256: &str,
    person: &Person,
    now_ms: i64,
    expires_ms: i64,
) -> sqlx::Result<()> {
    let _turn = db.write_turn().await;
    sqlx::query(
        "INSERT INTO sessions (id_sha256, user_id, login, created_ms, expires_ms) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(id_sha256)
    .bind(person.id)
    .bind(&person.login)
    .bind(now_ms)
    .bind(expires_ms)
    .execute(db.pool())
    .await
    .map(|_| ())
}

pub async fn get(db: &Db, id_sha256: &str, now_ms: i64) -> sqlx::Result<Option<Person>> {
    let row = sqlx::query("SELECT user_id, login FROM sessions WHERE id_sha256 = $1 AND expires_ms > $2")
        .bind(id_sha256)
        .bind(now_ms)
        .fetch_optional(db.pool())
        .await?;
    row.map(|row| Ok(Person { id: row.try_get("user_id")?, login: row.try_get("login")? })).transpose()
}

/// Ends one session.
pub async fn delete(db: &Db, id_sha256: &str) -> sqlx::Result<()> {
    let _turn = db.write_turn().await;
    sqlx::query("DELETE FROM sessions WHERE id_sha256 = $1")
        .bind(id_sha256)
        .execute(db.pool())
        .await
        .map(|_| ())
}

/// A sign-in under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    pub verifier: String,
    /// The path to return to.
    pub back: String,
}

/// Remembers a sign-in, and forgets what is out of date.
pub async fn begin(
    db: &Db,
    state_sha256: &str,
    under_way: &UnderWay,
    now_ms: i64,
    oldest_ms: i64,
) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query("DELETE FROM sign_ins WHERE created_ms < $1").bind(oldest_ms).execute(&mut *tx).await?;
    sqlx::query(
        "DELETE FROM sign_ins WHERE state_sha256 IN
             (SELECT state_sha256 FROM sign_ins ORDER BY created_ms DESC LIMIT 1000 OFFSET $1)",
    )
    .bind(UNDER_WAY_MAX)
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM sessions WHERE expires_ms < $1").bind(now_ms).execute(&mut *tx).await?;
    sqlx::query("INSERT INTO sign_ins (state_sha256, verifier, back, created_ms) VALUES ($1, $2, $3, $4)")
        .bind(state_sha256)
        .bind(&under_way.verifier)
        .bind(&under_way.back)
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

/// Takes a sign-in, once.
pub async fn take(db: &Db, state_sha256: &str, oldest_ms: i64) -> sqlx::Result<Option<UnderWay>> {
    let _turn = db.write_turn().await;
    let row = sqlx::query(
        "DELETE FROM sign_ins WHERE state_sha256 = $1 AND created_ms >= $2 RETURNING verifier, back",
    )
    .bind(state_sha256)
    .bind(oldest_ms)
    .fetch_optional(db.pool())
    .await?;
    row.map(|row| Ok(UnderWay { verifier: row.try_get("verifier")?, back: row.try_get("back")? })).transpose()
}
