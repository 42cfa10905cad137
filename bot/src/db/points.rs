//! Points of series: small rows, read along their key; and what links series over a change of their reference.

use super::Tx;
use super::tables::NO_FLOAT;
use perfsuite::model::JobId;
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Executor, Row};

/// Points of one series that are read: a commit an hour for a year, four times what a page shows.
pub const READ_MAX: i64 = 10_000;

/// A ratio with its 95 % interval: 1.03 (1.02 to 1.04) is 3 % more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub ratio: f64,
    pub low: f64,
    pub high: f64,
}

impl Ratio {
    /// The same code on both sides.
    pub const SAME: Ratio = Ratio { ratio: 1.0, low: 1.0, high: 1.0 };

    /// `None` where a figure is no positive number: nothing of it could be shown or judged.
    pub fn new(ratio: f64, low: f64, high: f64) -> Option<Self> {
        let usable = [ratio, low, high].iter().all(|value| value.is_finite() && *value > 0.0);
        usable.then_some(Self { ratio, low, high })
    }

    pub fn times(self, factor: f64) -> Self {
        Self { ratio: self.ratio * factor, low: self.low * factor, high: self.high * factor }
    }
}

/// One measured commit of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub position: i64,
    /// Raw, in the metric's unit.
    pub value: Option<f64>,
    pub parent: Option<Ratio>,
    pub reference: Option<Ratio>,
    /// Which reference that is.
    pub reference_number: Option<i64>,
}

fn ratio(row: &AnyRow, first: usize) -> sqlx::Result<Option<Ratio>> {
    let [ratio, low, high] = [first, first + 1, first + 2].map(|at| row.try_get::<Option<f64>, _>(at));
    Ok(match (ratio?, low?, high?) {
        (Some(ratio), Some(low), Some(high)) => Ratio::new(ratio, low, high),
        _ => None,
    })
}

const COLUMNS: &str =
    "position, value, parent, parent_low, parent_high, reference, reference_low, reference_high,
    reference_number";

/// The newest points of a series from `from` to `to`, oldest first. What is no number is absent.
pub async fn between<'e, E: Executor<'e, Database = Any>>(
    on: E,
    series: i64,
    from: i64,
    to: i64,
    limit: i64,
) -> sqlx::Result<Vec<Point>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM history_points WHERE series_id = $1 AND position BETWEEN $2 AND $3
         ORDER BY position DESC LIMIT $4"
    );
    let rows =
        sqlx::query(AssertSqlSafe(sql)).bind(series).bind(from).bind(to).bind(limit).fetch_all(on).await?;
    let mut points = Vec::with_capacity(rows.len());
    for row in rows.iter().rev() {
        let value: Option<f64> = row.try_get(1)?;
        points.push(Point {
            position: row.try_get(0)?,
            value: value.filter(|value| value.is_finite()),
            parent: ratio(row, 2)?,
            reference: ratio(row, 5)?,
            reference_number: row.try_get(8)?,
        });
    }
    Ok(points)
}

/// What one comparison says of a point; the rest stays as it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Against {
    Parent(Ratio),
    /// And the reference's number.
    Reference(Ratio, i64),
}

/// Stores it. The raw value is the one that came against the parent, where there is one.
pub async fn put(
    tx: &mut Tx,
    series: i64,
    position: i64,
    value: Option<f64>,
    against: Against,
) -> sqlx::Result<()> {
    let (ratio, number) = match against {
        Against::Parent(ratio) => (ratio, None),
        Against::Reference(ratio, number) => (ratio, Some(number)),
    };
    let sql = match against {
        Against::Parent(_) => {
            "INSERT INTO history_points (series_id, position, value, parent, parent_low, parent_high)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (series_id, position) DO UPDATE SET
                 value = COALESCE(excluded.value, history_points.value), parent = excluded.parent,
                 parent_low = excluded.parent_low, parent_high = excluded.parent_high"
        }
        Against::Reference(..) => {
            "INSERT INTO history_points (series_id, position, value, reference, reference_low, reference_high,
                                         reference_number)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (series_id, position) DO UPDATE SET
                 value = COALESCE(history_points.value, excluded.value), reference = excluded.reference,
                 reference_low = excluded.reference_low, reference_high = excluded.reference_high,
                 reference_number = excluded.reference_number"
        }
    };
    let query = sqlx::query(sql).bind(series).bind(position);
    let query = match value {
        Some(value) => query.bind(value),
        None => query.bind(NO_FLOAT),
    };
    let query = query.bind(ratio.ratio).bind(ratio.low).bind(ratio.high);
    let query = match number {
        Some(number) => query.bind(number),
        None => query,
    };
    query.execute(&mut **tx).await.map(|_| ())
}

/// What a new reference is over the one before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Of the new one.
    pub reference_number: i64,
    pub ratio: f64,
}

pub async fn put_link(
    tx: &mut Tx,
    series: i64,
    reference_number: i64,
    ratio: Ratio,
    job: &JobId,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO history_links (series_id, reference_number, ratio, low, high, job_id)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (series_id, reference_number) DO UPDATE SET ratio = excluded.ratio, low = excluded.low,
             high = excluded.high, job_id = excluded.job_id",
    )
    .bind(series)
    .bind(reference_number)
    .bind(ratio.ratio)
    .bind(ratio.low)
    .bind(ratio.high)
    .bind(&job.0)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// The links of a series.
pub async fn links<'e, E: Executor<'e, Database = Any>>(on: E, series: i64) -> sqlx::Result<Vec<Link>> {
    let rows = sqlx::query(
        "SELECT reference_number, ratio FROM history_links WHERE series_id = $1 ORDER BY reference_number",
    )
    .bind(series)
    .fetch_all(on)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Link { reference_number: row.try_get("reference_number")?, ratio: row.try_get("ratio")? })
        })
        .collect()
}
