//! Brings the schema up to date: the files of `migrations/`, embedded, each applied once and in order.

use super::Db;
use rust_embed::RustEmbed;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, Row, SqlSafeStr};
use std::borrow::Cow;
use std::time::Duration;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../migrations"]
struct Files;

/// A vacuum, or a person's query, can wait for a migration that waits for it; hardly three times.
const TRIES_MAX: u32 = 3;
const AGAIN: Duration = Duration::from_millis(200);

/// Applies what is missing. Fails when an applied migration's text has changed since.
pub async fn run(db: &Db) -> anyhow::Result<()> {
    let mut migrator = Migrator::with_migrations(migrations()?);
    // SQLite and our Any pool: one process at a time is ensured by its write lock.
    migrator.set_locking(!db.is_sqlite());
    let mut tries = 1;
    loop {
        match migrator.run(db.pool()).await {
            Err(error) if tries < TRIES_MAX && is_deadlock(&error) => {
                tracing::warn!(%error, "a migration and somebody else waited for each other; it is tried again");
                tries += 1;
                tokio::time::sleep(AGAIN).await;
            }
            ended => {
                ended?;
                break;
            }
        }
    }
    if !db.is_sqlite() {
        compress_payloads_fast(db).await?;
    }
    Ok(())
}

/// Has PostgreSQL compress payloads by lz4 from now on. Its own way takes 0.4 ms of the one connection that stores
/// deliveries for each of 25 KB, a third of what 1,000 a second may take; lz4 takes a fifth of that. Where a server is
/// older than 14 or was built without, it stays as it is.
async fn compress_payloads_fast(db: &Db) -> sqlx::Result<()> {
    let version = "SELECT current_setting('server_version_num')::BIGINT AS version";
    if sqlx::query(version).fetch_one(db.pool()).await?.try_get::<i64, _>("version")? < 140_000 {
        return Ok(());
    }
    // Asked first, since changing it waits for everybody who reads the table.
    let compression = "SELECT attcompression::TEXT AS compression FROM pg_attribute
         WHERE attrelid = 'deliveries'::regclass AND attname = 'payload'";
    if sqlx::query(compression).fetch_one(db.pool()).await?.try_get::<String, _>("compression")? == "l" {
        return Ok(());
    }
    let change = "SET LOCAL lock_timeout = '5s';
         ALTER TABLE deliveries ALTER COLUMN payload SET COMPRESSION lz4";
    let mut transaction = db.pool().begin().await?;
    match sqlx::raw_sql(change).execute(&mut *transaction).await {
        Ok(_) => transaction.commit().await?,
        Err(error) => tracing::info!(%error, "payloads are not compressed by lz4"),
    }
    Ok(())
}

/// Whether PostgreSQL ended a transaction because it and another waited for each other (SQLSTATE 40P01). Nothing of it
/// was done.
pub fn is_deadlock(error: &(dyn std::error::Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.filter_map(|error| error.downcast_ref::<sqlx::Error>()).any(|error| {
        error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "40P01")
    })
}

/// Applies what is missing up to and including a version, in a transaction that holds what it changes.
pub async fn run_to(on: &mut AnyConnection, version: i64) -> anyhow::Result<()> {
    let mut migrator = Migrator::with_migrations(migrations()?);
    migrator.set_locking(false);
    migrator.run_direct(Some(version), on, false).await?;
    Ok(())
}

/// The newest version that this program knows.
pub fn newest() -> anyhow::Result<i64> {
    let versions = migrations()?.into_iter().map(|migration| migration.version);
    versions.max().ok_or_else(|| anyhow::anyhow!("there are no migrations"))
}

/// The newest version that was applied; 0 before the first.
pub async fn version(on: &mut AnyConnection, db: &Db) -> sqlx::Result<i64> {
    let sql = if db.is_sqlite() {
        "SELECT COUNT(*) AS tables FROM sqlite_master WHERE name = '_sqlx_migrations'"
    } else {
        "SELECT COUNT(*) AS tables FROM information_schema.tables
         WHERE table_schema = current_schema() AND table_name = '_sqlx_migrations'"
    };
    if sqlx::query(sql).fetch_one(&mut *on).await?.try_get::<i64, _>("tables")? == 0 {
        return Ok(0);
    }
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM _sqlx_migrations")
        .fetch_one(on)
        .await?;
    row.try_get("version")
}

fn migrations() -> anyhow::Result<Vec<Migration>> {
    let mut names: Vec<Cow<'static, str>> = Files::iter().filter(|name| name.ends_with(".sql")).collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let (version, description) = name
                .trim_end_matches(".sql")
                .split_once('_')
                .ok_or_else(|| anyhow::anyhow!("migration {name} is not named NUMBER_WORDS.sql"))?;
            let file = Files::get(&name).ok_or_else(|| anyhow::anyhow!("migration {name} is gone"))?;
            let sql = String::from_utf8(file.data.into_owned())?;
            Ok(Migration::new(
                version.parse()?,
                description.replace('_', " ").into(),
                MigrationType::Simple,
                sqlx::AssertSqlSafe(sql).into_sql_str(),
                false,
            ))
        })
        .collect()
}
