//! A large history, by a seed: as many commits and series as are wished for, stored in the order in which commits come.

use bot::db::Db;
use bot::db::change_points::{self, ChangePoint, State};
use bot::db::history_commits::{self, HistoryCommit};
use bot::db::references::{self, Reference};
use bot::db::series::{self, Key};
use bot::pull::RepoId;
use perfsuite::history::generate::Shape;
use perfsuite::model::Sha;
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;
use std::fmt::Write;

/// Rows of one statement.
const ROWS: usize = 1_000;
/// Statements of one transaction, so that the journal stays small.
const STATEMENTS: usize = 100;
const HOUR_MS: i64 = 60 * 60 * 1_000;
/// Half of a ratio's interval.
const HALF: f64 = 0.008;

/// How large.
#[derive(Clone, Copy, Debug)]
pub struct Large {
    pub series: usize,
    pub commits: usize,
    pub seed: u64,
    pub now_ms: i64,
}

/// The series of this number.
pub fn key(number: usize) -> Key {
    let benchmark = format!("group-{}/benchmark-{number}/{}", number / 20, 1 << (number % 12));
    Key { suite: format!("suite-{}", number % 5), benchmark, metric: "time".into() }
}

pub fn sha(seed: u64, at: usize) -> Sha {
    hex::encode(Sha256::digest(format!("large {seed} {at}")))[..40].parse().unwrap()
}

/// Stores it. The same seed gives the same history.
pub async fn fill(db: &Db, repository: RepoId, large: Large) {
    let mut tx = db.begin().await.unwrap();
    let reference = Reference {
        number: 1,
        sha: sha(large.seed, 0),
        name: "v1.0.0".into(),
        since_ms: large.now_ms - large.commits as i64 * HOUR_MS,
    };
    references::insert(&mut tx, repository, &reference).await.unwrap();
    for at in 0..large.commits {
        let commit = HistoryCommit {
            position: at as i64,
            sha: sha(large.seed, at),
            parent: at.checked_sub(1).map(|before| sha(large.seed, before)),
            author: format!("Author Number {}", at % 40),
            subject: format!("perf(part-{}): do less of what took so long in step {at} (#{at})", at % 30),
            committed_ms: large.now_ms - (large.commits - at) as i64 * HOUR_MS,
            pull: Some(at as u64),
            environment: None,
            parent_job: Some(format!("0193f2a0-0000-7000-8001-{at:012x}")),
            reference_job: Some(format!("0193f2a0-0000-7000-8002-{at:012x}")),
            reference_number: Some(1),
        };
        history_commits::upsert(&mut tx, repository, &commit).await.unwrap();
    }
    let mut ids = Vec::new();
    for number in 0..large.series {
        ids.push(series::insert(&mut tx, repository, &key(number), false).await.unwrap().id);
    }
    tx.commit().await.unwrap();
    let shape = |steps| Shape { points: large.commits, steps, gap: 20, ..Shape::default() };
    let steps = (large.commits / 1_000).max(1);
    let made: Vec<_> = (0..large.series).map(|n| shape(steps).series(large.seed + n as u64)).collect();
    let mut tx = db.begin().await.unwrap();
    for (id, made) in ids.iter().zip(&made) {
        for (at, size) in &made.steps {
            let change = ChangePoint {
                id: String::new(),
                series: *id,
                position: *at as i64,
                before: *at as i64 - 1,
                size: *size,
                state: State::Confirmed,
                found_ms: large.now_ms,
                confirmed_ms: Some(large.now_ms),
            };
            change_points::insert(&mut tx, &change).await.unwrap();
        }
    }
    tx.commit().await.unwrap();

    let mut store = Store { db, rows: 0, statements: Vec::new(), text: String::new() };
    for at in 0..large.commits {
        for (id, made) in ids.iter().zip(&made) {
            let value = made.points[at].value;
            let parent = at.checked_sub(1).map(|before| value / made.points[before].value);
            store.add(*id, at, value, parent, value / made.points[0].value).await;
        }
    }
    store.end().await;
}

/// Rows on their way into the database, many in one statement: row by row ten million would take an hour.
struct Store<'a> {
    db: &'a Db,
    rows: usize,
    statements: Vec<String>,
    text: String,
}

impl Store<'_> {
    async fn add(&mut self, series: i64, at: usize, value: f64, parent: Option<f64>, reference: f64) {
        let text = &mut self.text;
        let start = if self.rows == 0 {
            "INSERT INTO history_points (series_id, position, value, parent, parent_low, parent_high, reference, \
             reference_low, reference_high, reference_number) VALUES "
        } else {
            ","
        };
        let (low, high) = (reference * (1.0 - HALF), reference * (1.0 + HALF));
        write!(text, "{start}({series},{at},{value},").unwrap();
        match parent {
            Some(over) => write!(text, "{over},{},{},", over * (1.0 - HALF), over * (1.0 + HALF)).unwrap(),
            None => text.push_str("NULL,NULL,NULL,"),
        }
        write!(text, "{reference},{low},{high},1)").unwrap();
        self.rows += 1;
        if self.rows == ROWS {
            self.statements.push(std::mem::take(&mut self.text));
            self.rows = 0;
        }
        if self.statements.len() == STATEMENTS {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        let mut tx = self.db.begin().await.unwrap();
        for statement in self.statements.drain(..) {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn end(mut self) {
        if self.rows > 0 {
            self.statements.push(std::mem::take(&mut self.text));
        }
        self.flush().await;
        let sql = "UPDATE history_series SET version = 1, judged_version = 1";
        sqlx::query(sql).execute(self.db.pool()).await.unwrap();
        if !self.db.is_sqlite() {
            // What its own housekeeping does within minutes of so many rows.
            sqlx::raw_sql("VACUUM ANALYZE").execute(self.db.pool()).await.unwrap();
        }
    }
}
