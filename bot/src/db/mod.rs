//! The database: connection, migration, transactions. One SQL text for SQLite and PostgreSQL; a table per file.

pub mod acceptances;
pub mod accepted_changes;
pub mod activity;
pub mod approvals;
pub mod backfills;
pub mod bisects;
pub mod calibrations;
pub mod change_points;
pub mod clocks;
pub mod comparisons;
pub mod counts;
pub mod deliveries;
pub mod dossiers;
pub mod environments;
pub mod errands;
pub mod history_commits;
pub mod job_log;
pub mod jobs;
pub mod judgements;
pub mod migrate;
pub mod notices;
pub mod opt_outs;
pub mod overview;
pub mod pace;
pub mod points;
pub mod pulls;
pub mod quarantined_benchmarks;
pub mod references;
pub mod renamed_benchmarks;
pub mod repositories;
pub mod repository_settings;
pub mod runners;
pub mod series;
pub mod service;
pub mod sessions;
pub mod space;
pub mod story;
pub mod tables;
pub mod waiting;
pub mod writes;

use crate::error::UserError;
use anyhow::Context;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyConnection, AnyPool, Connection, Executor, Row, Transaction};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Connections of one process: SQLite has one writer anyway, PostgreSQL's default allows 100 for all replicas.
const CONNECTIONS_MAX: u32 = 8;
/// How long a statement waits for SQLite's write lock: longer than any of our transactions.
const BUSY_TIMEOUT_MS: u32 = 15_000;
/// When PostgreSQL ends a transaction that nobody goes on with, so that a machine that vanished holds no lock. None of
/// ours pauses for long.
const IDLE_IN_TRANSACTION_MS: u32 = 60_000;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(20);

/// The first of our keys among PostgreSQL's advisory locks, which are the database's: "paceline" cut to six letters.
const TURN_KEY: i64 = 0x7061_6365_6c69_0000;

/// A transaction; rolled back when it is dropped.
pub struct Tx {
    inner: Transaction<'static, Any>,
    /// Given on after the transaction has ended.
    _turn: WriteTurn,
}

/// The turn to write. SQLite has one writer, and who finds it taken asks again after ever longer pauses; waiting here
/// costs no pause, and nobody is overtaken. Elsewhere it holds nothing up.
#[must_use = "the turn lasts as long as this is held"]
pub struct WriteTurn(#[expect(dead_code, reason = "held, never looked at")] Option<OwnedMutexGuard<()>>);

impl Tx {
    pub async fn commit(self) -> sqlx::Result<()> {
        self.inner.commit().await
    }

    pub async fn rollback(self) -> sqlx::Result<()> {
        self.inner.rollback().await
    }
}

impl Deref for Tx {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }
}

/// What replicas hand out in turns.
#[derive(Clone, Copy, Debug)]
pub enum Turn {
    Deliveries = 1,
    Jobs = 2,
    Writes = 3,
    /// Numbers of series and environments, and what is made of points.
    History = 4,
}

/// A pool of connections to the one database.
#[derive(Clone)]
pub struct Db {
    pool: AnyPool,
    sqlite: bool,
    writer: Arc<Mutex<()>>,
}

impl Db {
    /// Opens the database and brings its schema up to date.
    ///
    /// `url` is `sqlite://PATH`, `postgres://…` or `postgresql://…`.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let db = Self::connect(url).await?;
        migrate::run(&db).await.context("cannot bring the database's schema up to date")?;
        Ok(db)
    }

    /// Opens the database with the schema that it has.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        sqlx::any::install_default_drivers();
        let sqlite = url.starts_with("sqlite:");
        if !sqlite && !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(UserError::new(
                "DATABASE_URL must start with sqlite:// or postgres://; leave it out for a database in the data directory",
            )
            .into());
        }
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // SQLite ends a transaction by itself when the disk is full, and the driver goes on counting it: such a
            // connection would refuse every further one.
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if sqlite {
                        let pragmas = format!(
                            "PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}; PRAGMA journal_mode = WAL; \
                             PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                        );
                        connection.execute(sqlx::AssertSqlSafe(pragmas)).await?;
                    } else {
                        let limit =
                            format!("SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS}");
                        connection.execute(sqlx::AssertSqlSafe(limit)).await?;
                    }
                    Ok(())
                })
            })
            .connect(url)
            .await
            .with_context(|| format!("cannot open the database {}", without_password(url)))?;
        Ok(Self { pool, sqlite, writer: Arc::default() })
    }

    /// The embedded database of a data directory.
    pub async fn open_in(data_dir: &Path) -> anyhow::Result<Self> {
        Self::open(&Self::url_in(data_dir)).await
    }

    /// The URL of the embedded database of a data directory.
    pub fn url_in(data_dir: &Path) -> String {
        format!("sqlite://{}?mode=rwc", data_dir.join("paceline.db").display())
    }

    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins a transaction that will write. On SQLite the write lock is taken at once, because a read that is
    /// upgraded later fails with "database is locked" however long the timeout.
    pub async fn begin(&self) -> sqlx::Result<Tx> {
        let turn = self.write_turn().await;
        let inner = self.pool.begin_with(if self.sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" }).await?;
        Ok(Tx { inner, _turn: turn })
    }

    /// Waits for the turn to write. For single statements that are hot; transactions have one. Nobody may ask for one
    /// who holds one.
    pub async fn write_turn(&self) -> WriteTurn {
        match self.sqlite {
            true => WriteTurn(Some(self.writer.clone().lock_owned().await)),
            false => WriteTurn(None),
        }
    }

    /// Begins a transaction that reads the state of one moment, however long it takes. It holds up nobody.
    pub async fn begin_snapshot(&self) -> sqlx::Result<Tx> {
        let snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        // SQLite's transactions see one moment anyway, from their first read on.
        let inner = self.pool.begin_with(if self.sqlite { "BEGIN" } else { snapshot }).await?;
        Ok(Tx { inner, _turn: WriteTurn(None) })
    }

    /// Begins a transaction that hands out work of one kind; replicas do so one after another.
    ///
    /// Without it, two statements of PostgreSQL that run at the same time do not see what the other takes: they could
    /// work on one lane, or write to one installation, beside each other. SQLite has one writer anyway.
    pub async fn begin_turn(&self, turn: Turn) -> sqlx::Result<Tx> {
        let mut tx = self.begin().await?;
        self.take_turn(&mut tx, turn).await?;
        Ok(tx)
    }

    /// The same for a transaction that has begun, until it ends.
    pub async fn take_turn(&self, tx: &mut Tx, turn: Turn) -> sqlx::Result<()> {
        if !self.sqlite {
            let key = TURN_KEY + turn as i64;
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(key).execute(&mut **tx).await?;
        }
        Ok(())
    }

    pub fn is_sqlite(&self) -> bool {
        self.sqlite
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> sqlx::Result<()> {
        sqlx::query("SELECT 1").execute(&self.pool).await.map(|_| ())
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// The URL with its password replaced, for errors and logs.
pub fn without_password(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            // Cannot fail: a URL that has a password takes another one.
            let _ = parsed.set_password(Some("***"));
            parsed.to_string()
        }
        _ => url.to_owned(),
    }
}

/// A UUIDv7 as text: sorts by time of making.
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// How many numbers one statement looks for: always as many, so that one statement is prepared for all lengths.
const LOOKED_FOR: usize = 100;

/// Numbers to look for, as many at a time as a statement has places for. The last ones are filled up with a number that
/// is among them.
fn looked_for(numbers: &[i64]) -> impl Iterator<Item = [i64; LOOKED_FOR]> + '_ {
    numbers.chunks(LOOKED_FOR).map(|some| {
        let mut all = [some[0]; LOOKED_FOR];
        all[..some.len()].copy_from_slice(some);
        all
    })
}

/// The places of such numbers in a statement, from `first` on: `$3, $4, …`
fn places_from(first: usize) -> String {
    let places: Vec<String> = (first..first + LOOKED_FOR).map(|place| format!("${place}")).collect();
    places.join(", ")
}

fn flag(row: &AnyRow, column: &str) -> sqlx::Result<bool> {
    Ok(row.try_get::<i64, _>(column)? != 0)
}

fn json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &str) -> sqlx::Result<T> {
    let text: String = row.try_get(column)?;
    decode(column, &text)
}

fn json_option<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &str) -> sqlx::Result<Option<T>> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| decode(column, &text)).transpose()
}

fn decode<T: serde::de::DeserializeOwned>(column: &str, text: &str) -> sqlx::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) })
}

/// A value as JSON text for a column. Our own types have string keys and no failing serializers.
pub fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types serialize")
}

fn sha(row: &AnyRow, column: &str) -> sqlx::Result<perfsuite::model::Sha> {
    let text: String = row.try_get(column)?;
    text.parse()
        .map_err(|error| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_looked_for_once_or_more() {
        assert_eq!(looked_for(&[]).count(), 0);
        let numbers: Vec<i64> = (0..=LOOKED_FOR as i64).collect();
        let chunks: Vec<_> = looked_for(&numbers).collect();
        assert_eq!(chunks.len(), 2);
        assert_eq!(chunks[0].to_vec(), numbers[..LOOKED_FOR]);
        assert!(chunks[1].iter().all(|number| *number == LOOKED_FOR as i64));
        assert!(places_from(2).starts_with("$2, $3") && places_from(2).ends_with("$101"));
    }
}
