//! Every table row by row, whatever the rows mean: for backup, restore, and tests that compare whole databases.

use super::Db;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row};

/// All of ours, parents before their children. A table that a later migration drops stays here, for old backups.
pub const TABLES: [&str; 36] = [
    "repositories",
    "pull_requests",
    "judgements",
    "dossiers",
    "clocks",
    "approvals",
    "acceptances",
    "activity",
    "opt_outs",
    "repository_counts",
    "repository_settings",
    "backfills",
    "sessions",
    "sign_ins",
    "runners",
    "jobs",
    "job_log",
    "comparisons",
    "calibrations",
    "history_references",
    "history_commits",
    "environments",
    "history_series",
    "history_points",
    "history_links",
    "change_points",
    "bisects",
    "accepted_changes",
    "renamed_benchmarks",
    "quarantined_benchmarks",
    "errands",
    "deliveries",
    "writes",
    "pace",
    "sent_writes",
    "notices",
];

/// What a column holds; the schema has no other types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Text,
    Integer,
    Float,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
}

/// A table's columns in their order; none when there is no such table.
pub async fn columns(on: &mut AnyConnection, db: &Db, table: &str) -> sqlx::Result<Vec<Column>> {
    let sql = if db.is_sqlite() {
        "SELECT name AS column_name, LOWER(type) AS column_type FROM pragma_table_info($1)"
    } else {
        "SELECT CAST(column_name AS TEXT) AS column_name, CAST(data_type AS TEXT) AS column_type
         FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1
         ORDER BY ordinal_position"
    };
    let rows = sqlx::query(sql).bind(table).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let kind: String = row.try_get("column_type")?;
            Ok(Column {
                name: row.try_get("column_name")?,
                kind: match kind.as_str() {
                    "text" => Kind::Text,
                    "bigint" => Kind::Integer,
                    "double precision" => Kind::Float,
                    other => return Err(sqlx::Error::TypeNotFound { type_name: other.into() }),
                },
            })
        })
        .collect()
}

/// The tables of this database that are not the migrator's own, ours or not.
pub async fn names(on: &mut AnyConnection, db: &Db) -> sqlx::Result<Vec<String>> {
    let sql = if db.is_sqlite() {
        "SELECT name AS table_name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
           AND name <> '_sqlx_migrations' ORDER BY 1"
    } else {
        "SELECT CAST(table_name AS TEXT) AS table_name FROM information_schema.tables
         WHERE table_schema = current_schema() AND table_name <> '_sqlx_migrations' ORDER BY 1"
    };
    let rows = sqlx::query(sql).fetch_all(on).await?;
    rows.iter().map(|row| row.try_get("table_name")).collect()
}

/// Reads a table's rows: what [`cells`] is asked about.
pub fn select(table: &str, columns: &[Column]) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("SELECT {} FROM {table}", list(columns)))
}

fn list(columns: &[Column]) -> String {
    columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// A row as JSON. What JSON has no number for (an infinity) becomes its name.
pub fn cells(row: &AnyRow, columns: &[Column]) -> sqlx::Result<Vec<Value>> {
    let cell = |(at, column): (usize, &Column)| {
        Ok(match column.kind {
            Kind::Text => row.try_get::<Option<String>, _>(at)?.map_or(Value::Null, Value::from),
            Kind::Integer => row.try_get::<Option<i64>, _>(at)?.map_or(Value::Null, Value::from),
            Kind::Float => match row.try_get::<Option<f64>, _>(at)? {
                Some(number) if !number.is_finite() => Value::from(number.to_string()),
                number => number.map_or(Value::Null, Value::from),
            },
        })
    };
    columns.iter().enumerate().map(cell).collect()
}

/// No value, for a column of floats. The driver takes the two sizes of floats for each other when there is none: a
/// statement that PostgreSQL has prepared with a small one refuses the next large one.
pub const NO_FLOAT: Option<f32> = None;

/// Writes rows of a table, each given by [`Insert::run`].
pub struct Insert {
    sql: String,
    columns: Vec<Column>,
}

/// A row that does not fit its columns.
#[derive(Debug, thiserror::Error)]
#[error("a row does not fit the columns of its table")]
pub struct BadRow;

impl Insert {
    /// Of a table and columns that exist: names from elsewhere are looked up in the database first.
    pub fn into(table: &str, columns: Vec<Column>) -> Self {
        let places: Vec<String> = (1..=columns.len()).map(|place| format!("${place}")).collect();
        let sql = format!("INSERT INTO {table} ({}) VALUES ({})", list(&columns), places.join(", "));
        Self { sql, columns }
    }

    pub async fn run(&self, on: &mut AnyConnection, cells: Vec<Value>) -> anyhow::Result<()> {
        if cells.len() != self.columns.len() {
            return Err(BadRow.into());
        }
        let mut query = sqlx::query(AssertSqlSafe(self.sql.clone()));
        for (column, cell) in self.columns.iter().zip(cells) {
            query = bind(query, column.kind, cell)?;
        }
        query.execute(on).await?;
        Ok(())
    }
}

type Bound<'q> = Query<'q, Any, AnyArguments>;

fn bind(query: Bound<'_>, kind: Kind, cell: Value) -> Result<Bound<'_>, BadRow> {
    Ok(match (kind, cell) {
        (Kind::Text, Value::Null) => query.bind(None::<String>),
        (Kind::Text, Value::String(text)) => query.bind(text),
        (Kind::Integer, Value::Null) => query.bind(None::<i64>),
        (Kind::Integer, Value::Number(number)) => query.bind(number.as_i64().ok_or(BadRow)?),
        (Kind::Float, Value::Null) => query.bind(NO_FLOAT),
        (Kind::Float, Value::Number(number)) => query.bind(number.as_f64().ok_or(BadRow)?),
        (Kind::Float, Value::String(name)) => query.bind(name.parse::<f64>().map_err(|_| BadRow)?),
        _ => return Err(BadRow),
    })
}

/// Whether any of our tables has a row.
pub async fn any_row(on: &mut AnyConnection, db: &Db) -> sqlx::Result<bool> {
    for table in TABLES {
        if columns(on, db, table).await?.is_empty() {
            continue;
        }
        let sql = AssertSqlSafe(format!("SELECT 1 FROM {table} LIMIT 1"));
        if sqlx::query(sql).fetch_optional(&mut *on).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Drops all of our tables, and the migrator's record of them.
pub async fn drop_all(on: &mut AnyConnection) -> sqlx::Result<()> {
    for table in TABLES.iter().rev().chain(&["_sqlx_migrations"]) {
        sqlx::query(AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}"))).execute(&mut *on).await?;
    }
    Ok(())
}
