//! People who asked to be left out: they are named nowhere but on GitHub.

use super::Tx;
use crate::activity::GHOST;
use sqlx::{Any, AssertSqlSafe, Executor, Row};
use std::collections::BTreeSet;

/// More than ask to be left out anywhere; who comes later is still left out of what is stored.
const READ_MAX: i64 = 10_000;

/// Logins in lower case.
pub async fn all<'e, E: Executor<'e, Database = Any>>(on: E) -> sqlx::Result<BTreeSet<String>> {
    let rows = sqlx::query("SELECT login FROM opt_outs ORDER BY at_ms LIMIT $1")
        .bind(READ_MAX)
        .fetch_all(on)
        .await?;
    rows.iter().map(|row| row.try_get("login")).collect()
}

pub async fn has<'e, E: Executor<'e, Database = Any>>(on: E, login: &str) -> sqlx::Result<bool> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM opt_outs WHERE login = $1")
        .bind(login.to_lowercase())
        .fetch_one(on)
        .await?;
    Ok(row.try_get::<i64, _>("n")? > 0)
}

/// From now on this person is named nowhere.
pub async fn add(tx: &mut Tx, login: &str, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO opt_outs (login, at_ms) VALUES ($1, $2) ON CONFLICT (login) DO NOTHING")
        .bind(login.to_lowercase())
        .bind(now_ms)
        .execute(&mut **tx)
        .await
        .map(|_| ())
}

/// What was deleted stays so.
pub async fn remove(tx: &mut Tx, login: &str) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM opt_outs WHERE login = $1")
        .bind(login.to_lowercase())
        .execute(&mut **tx)
        .await
        .map(|_| ())
}

/// Takes a person's name off everything that is kept of what ended. What is still open needs its author's name; its end
/// takes it off.
pub async fn erase(tx: &mut Tx, login: &str) -> sqlx::Result<()> {
    let login = login.to_lowercase();
    sqlx::query("UPDATE activity SET login = $1 WHERE LOWER(login) = $2")
        .bind(GHOST)
        .bind(&login)
        .execute(&mut **tx)
        .await?;
    for table in ["accepted_changes", "renamed_benchmarks", "quarantined_benchmarks"] {
        let sql = format!("UPDATE {table} SET login = $1 WHERE LOWER(login) = $2");
        sqlx::query(AssertSqlSafe(sql)).bind(GHOST).bind(&login).execute(&mut **tx).await?;
    }
    sqlx::query("UPDATE pull_requests SET author = $1 WHERE LOWER(author) = $2 AND state <> 'open'")
        .bind(GHOST)
        .bind(&login)
        .execute(&mut **tx)
        .await
        .map(|_| ())
}
