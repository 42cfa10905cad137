//! A filled database of every released schema is brought up to date, and the program works on it.
//!
//! `released/NNNN.jsonl` has the rows of a database whose newest migration was NNNN, as the lines of a backup. It is made
//! once, when that schema is released, and never changed:
//! `paceline backup b && zstd -dc b > bot/tests/it/released/NNNN.jsonl` on a server that has worked.

use crate::database::{Fresh, On, on_both};
use bot::access::{Access, Readables};
use bot::app::evidence_in;
use bot::backup::{self, Over};
use bot::clock::Clock;
use bot::db::pace::Pace;
use bot::db::tables::{self, Column, Insert, TABLES};
use bot::db::{Db, deliveries, jobs, migrate, overview, writes};
use bot::listeners::Listeners;
use bot::web::pages::{self, Site};
use serde_json::Value;
use sqlx::Row;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

on_both!(a_released_schema_is_brought_up_to_date, a_backup_of_a_released_schema_is_restored);

struct Released {
    schema: i64,
    lines: String,
}

impl Released {
    /// All of them, the oldest first.
    fn all() -> Vec<Self> {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/released");
        let mut all: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let schema = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
                Self { schema, lines: std::fs::read_to_string(path).unwrap() }
            })
            .collect();
        all.sort_by_key(|released| released.schema);
        assert_eq!(all[0].schema, 1);
        all
    }

    /// The rows of each table, with its columns.
    fn rows(&self) -> BTreeMap<&'static str, (Vec<Column>, Vec<Vec<Value>>)> {
        let mut rows: BTreeMap<&'static str, (Vec<Column>, Vec<Vec<Value>>)> = BTreeMap::new();
        let mut table = "";
        for line in self.lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            match line {
                Value::Array(cells) => rows.get_mut(table).unwrap().1.push(cells),
                line if line["line"] == "table" => {
                    table = TABLES.into_iter().find(|name| line["name"] == *name).unwrap();
                    let columns = serde_json::from_value(line["columns"].clone()).unwrap();
                    rows.insert(table, (columns, Vec::new()));
                }
                _ => {}
            }
        }
        rows
    }
}

async fn a_released_schema_is_brought_up_to_date(on: On) {
    for released in Released::all() {
        let dir = tempfile::tempdir().unwrap();
        let database = Fresh::new(on, dir.path()).await;
        let old = Db::connect(&database.url).await.unwrap();
        let mut tx = old.begin().await.unwrap();
        migrate::run_to(&mut tx, released.schema).await.unwrap();
        let rows = released.rows();
        let existing = tables::names(&mut tx, &old).await.unwrap();
        assert_eq!(existing, rows.keys().copied().collect::<Vec<_>>(), "it fills every table of its schema");
        for table in TABLES {
            let Some((columns, rows)) = rows.get(table) else { continue };
            assert!(!rows.is_empty(), "{table}");
            let insert = Insert::into(table, columns.clone());
            for cells in rows {
                insert.run(&mut tx, cells.clone()).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
        old.close().await;
        let db = Db::open(&database.url).await.unwrap();
        if on == On::Postgres {
            payloads_are_compressed_fast(&db).await;
        }
        works(&db, &released, dir.path()).await;
    }
}

/// By lz4, where this PostgreSQL has it.
async fn payloads_are_compressed_fast(db: &Db) {
    let sql = "SELECT (SELECT attcompression::TEXT FROM pg_attribute
                       WHERE attrelid = 'deliveries'::regclass AND attname = 'payload') AS compression,
                      (SELECT COUNT(*) FROM pg_settings
                       WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)) AS has_lz4";
    let row = sqlx::query(sql).fetch_one(db.pool()).await.unwrap();
    let is_lz4 = row.get::<String, _>("compression") == "l";
    assert_eq!(is_lz4, row.get::<i64, _>("has_lz4") == 1);
}

async fn a_backup_of_a_released_schema_is_restored(on: On) {
    for released in Released::all() {
        let dir = tempfile::tempdir().unwrap();
        let database = Fresh::new(on, dir.path()).await;
        let file = dir.path().join("old.backup");
        std::fs::write(&file, zstd::encode_all(released.lines.as_bytes(), 1).unwrap()).unwrap();
        let db = Db::connect(&database.url).await.unwrap();
        backup::read(&db, &evidence_in(dir.path()), &file, Over::Nothing).await.unwrap();
        works(&db, &released, dir.path()).await;
    }
}

/// Every row is there, the pages show them, and what waited is taken up.
async fn works(db: &Db, released: &Released, dir: &std::path::Path) {
    let mut connection = db.pool().acquire().await.unwrap();
    assert_eq!(migrate::version(&mut connection, db).await.unwrap(), migrate::newest().unwrap());
    for (table, (_, rows)) in released.rows() {
        let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let count: i64 = sqlx::Row::get(&sqlx::query(sql).fetch_one(&mut *connection).await.unwrap(), 0);
        assert_eq!(count, rows.len() as i64, "{table}");
    }
    drop(connection);
    let now_ms = 1_900_000_000_000;
    let site = Site {
        db: db.clone(),
        evidence: evidence_in(dir),
        clock: Clock::fixed(now_ms),
        access: Access::default(),
        live: Listeners::new(CancellationToken::new()),
    };
    let mut paths = vec!["/".to_owned(), "/runners".into()];
    for repository in overview::repositories(db, &Readables::public_only(), 100).await.unwrap() {
        paths.push(format!("/{}", repository.name));
        let stored = bot::db::repositories::by_name(db, &repository.name).await.unwrap().unwrap();
        for pull in bot::db::pulls::of_repository(db, stored.id, 100).await.unwrap() {
            paths.push(format!("/{}/pull/{}", repository.name, pull.pull.number));
            let jobs = jobs::of_pull(db, stored.id, pull.pull.number, 100).await.unwrap();
            paths.extend(jobs.iter().map(|job| format!("/runs/{}", job.id)));
        }
    }
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths {
        let router = pages::routes::<Site>(site.clone()).with_state(site.clone());
        let asked = axum::http::Request::get(&path).body(axum::body::Body::empty()).unwrap();
        assert_eq!(router.oneshot(asked).await.unwrap().status(), 200, "{path}");
    }
    assert!(deliveries::claim(db, "worker", now_ms, 1).await.unwrap().is_some());
    assert!(jobs::claim(db, "box", true, now_ms, 1).await.unwrap().is_some());
    assert!(writes::claim(db, "worker", now_ms, 1, Pace::GITHUB).await.unwrap().is_some());
}
