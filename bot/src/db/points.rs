//! Points of series: small rows, read along their key; and what links series over a change of their reference.

use super::tables::NO_FLOAT;
use super::{Tx, looked_for, places_from};
use crate::pull::RepoId;
use perfsuite::model::JobId;
use sqlx::any::AnyRow;
use sqlx::{Any, AnyPool, AssertSqlSafe, Executor, Row};
use std::collections::BTreeMap;

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

/// A whole point, whose columns begin with this one.
fn point(row: &AnyRow, first: usize) -> sqlx::Result<Point> {
    let value: Option<f64> = row.try_get(first + 1)?;
    Ok(Point {
        position: row.try_get(first)?,
        value: value.filter(|value| value.is_finite()),
        parent: ratio(row, first + 2)?,
        reference: ratio(row, first + 5)?,
        reference_number: row.try_get(first + 8)?,
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
    rows.iter().rev().map(|row| point(row, 0)).collect()
}

/// One figure of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Reference,
    Parent,
    Value,
}

/// How much of a figure is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    Level,
    Interval,
}

impl Figure {
    /// The column that it must have.
    fn column(self) -> &'static str {
        match self {
            Figure::Reference => "reference",
            Figure::Parent => "parent",
            Figure::Value => "value",
        }
    }

    /// A point as one text, in SQL: the position, the figure, its interval where that is wanted, and which reference it is
    /// over. What is not there has an empty place.
    fn words(self, detail: Detail) -> String {
        let columns: &[&str] = match (self, detail) {
            (Figure::Reference, Detail::Level) => &["reference", "reference_number"],
            (Figure::Reference, Detail::Interval) => {
                &["reference", "reference_low", "reference_high", "reference_number"]
            }
            (Figure::Parent, Detail::Level) => &["parent"],
            (Figure::Parent, Detail::Interval) => &["parent", "parent_low", "parent_high"],
            (Figure::Value, _) => &["value"],
        };
        let mut words = "CAST(position AS TEXT)".to_owned();
        for column in columns {
            words += &format!(" || ' ' || COALESCE(CAST({column} AS TEXT), '')");
        }
        words
    }

    /// A point with nothing but it, of such a text; what has no place or no figure is no point. Without an interval its
    /// ends are where the figure is.
    fn read(self, detail: Detail, words: &str) -> Option<Point> {
        let mut words = words.split(' ');
        let position = words.next()?.parse().ok()?;
        let level: f64 = words.next()?.parse().ok()?;
        let mut point =
            Point { position, value: None, parent: None, reference: None, reference_number: None };
        if self == Figure::Value {
            point.value = Some(level).filter(|level| level.is_finite());
            return Some(point);
        }
        let ratio = match detail {
            Detail::Level => Ratio::new(level, level, level),
            Detail::Interval => {
                let ends = words.next()?.parse().ok().zip(words.next()?.parse().ok());
                ends.and_then(|(low, high)| Ratio::new(level, low, high))
            }
        };
        match self {
            Figure::Reference => {
                (point.reference, point.reference_number) = (ratio, words.next()?.parse().ok());
            }
            Figure::Parent | Figure::Value => point.parent = ratio,
        }
        Some(point)
    }

    /// Points of a row, which has them as one text.
    fn read_all(self, detail: Detail, row: &AnyRow) -> sqlx::Result<Vec<Point>> {
        let text: Option<String> = row.try_get("points")?;
        let words = text.as_deref().unwrap_or_default().split_terminator(';');
        Ok(words.filter_map(|words| self.read(detail, words)).collect())
    }
}

/// The newest points of a series that have a figure, oldest first, with nothing but it, and with no interval: a chart of
/// a long series reads this, and thins it before it looks at intervals. The database hands the points over as one text,
/// since each row by itself costs more than what is in it.
pub async fn levels<'e, E: Executor<'e, Database = Any>>(
    on: E,
    series: i64,
    figure: Figure,
    from: i64,
    to: i64,
    limit: i64,
) -> sqlx::Result<Vec<Point>> {
    let (column, words) = (figure.column(), figure.words(Detail::Level));
    let sql = format!(
        "SELECT STRING_AGG(words, ';') AS points FROM (
             SELECT {words} AS words FROM history_points
             WHERE series_id = $1 AND position BETWEEN $2 AND $3 AND {column} IS NOT NULL
             ORDER BY position DESC LIMIT $4) AS newest"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(series).bind(from).bind(to).bind(limit);
    let mut points = figure.read_all(Detail::Level, &query.fetch_one(on).await?)?;
    points.sort_unstable_by_key(|point| point.position);
    Ok(points)
}

/// The same at these places, in their order.
pub async fn levels_at(
    pool: &AnyPool,
    series: i64,
    figure: Figure,
    positions: &[i64],
) -> sqlx::Result<Vec<Point>> {
    at(pool, series, figure, Detail::Level, positions).await
}

/// The same with their intervals.
pub async fn figures_at(
    pool: &AnyPool,
    series: i64,
    figure: Figure,
    positions: &[i64],
) -> sqlx::Result<Vec<Point>> {
    at(pool, series, figure, Detail::Interval, positions).await
}

async fn at(
    pool: &AnyPool,
    series: i64,
    figure: Figure,
    detail: Detail,
    positions: &[i64],
) -> sqlx::Result<Vec<Point>> {
    let (column, words) = (figure.column(), figure.words(detail));
    let sql = format!(
        "SELECT STRING_AGG({words}, ';') AS points FROM history_points
         WHERE series_id = $1 AND {column} IS NOT NULL AND position IN ({})",
        places_from(2)
    );
    let mut points = Vec::with_capacity(positions.len());
    for some in looked_for(positions) {
        let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(series);
        let query = some.into_iter().fold(query, |query, position| query.bind(position));
        points.extend(figure.read_all(detail, &query.fetch_one(pool).await?)?);
    }
    points.sort_unstable_by_key(|point| point.position);
    Ok(points)
}

/// The first and the newest place of a series.
pub async fn ends(pool: &AnyPool, series: i64) -> sqlx::Result<Option<(i64, i64)>> {
    let row = sqlx::query(
        "SELECT (SELECT MIN(position) FROM history_points WHERE series_id = $1) AS first,
                (SELECT MAX(position) FROM history_points WHERE series_id = $1) AS newest",
    )
    .bind(series)
    .fetch_one(pool)
    .await?;
    let (first, newest): (Option<i64>, Option<i64>) = (row.try_get("first")?, row.try_get("newest")?);
    Ok(first.zip(newest))
}

/// Points of several series from a place on, with value and ratio to the reference alone, oldest first.
pub async fn recent(pool: &AnyPool, series: &[i64], from: i64) -> sqlx::Result<BTreeMap<i64, Vec<Point>>> {
    let sql = format!(
        "SELECT series_id, position, value, reference, reference_low, reference_high, reference_number
         FROM history_points WHERE position >= $1 AND series_id IN ({}) ORDER BY series_id, position",
        places_from(2)
    );
    let mut all: BTreeMap<i64, Vec<Point>> = BTreeMap::new();
    for some in looked_for(series) {
        let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(from);
        let query = some.into_iter().fold(query, |query, id| query.bind(id));
        for row in query.fetch_all(pool).await? {
            let value: Option<f64> = row.try_get(2)?;
            all.entry(row.try_get(0)?).or_default().push(Point {
                position: row.try_get(1)?,
                value: value.filter(|value| value.is_finite()),
                parent: None,
                reference: ratio(&row, 3)?,
                reference_number: row.try_get(6)?,
            });
        }
    }
    Ok(all)
}

/// The points of every series of a repository at one of two places, by series: what two commits differ by.
pub async fn at_both(
    pool: &AnyPool,
    repository: RepoId,
    places: [i64; 2],
) -> sqlx::Result<BTreeMap<i64, [Option<Point>; 2]>> {
    /// 10,000 series at both.
    const READ_MAX: i64 = 20_000;
    let sql = "SELECT p.series_id AS series_id, p.position AS position, p.value AS value, p.parent AS parent,
                p.parent_low AS parent_low, p.parent_high AS parent_high, p.reference AS reference,
                p.reference_low AS reference_low, p.reference_high AS reference_high,
                p.reference_number AS reference_number
         FROM history_series s JOIN history_points p ON p.series_id = s.id AND p.position IN ($2, $3)
         WHERE s.repository_id = $1 LIMIT $4";
    let query = sqlx::query(sql).bind(repository.0).bind(places[0]).bind(places[1]).bind(READ_MAX);
    let mut all: BTreeMap<i64, [Option<Point>; 2]> = BTreeMap::new();
    for row in query.fetch_all(pool).await? {
        let (series, point) = (row.try_get(0)?, point(&row, 1)?);
        let sides = all.entry(series).or_default();
        for (side, place) in sides.iter_mut().zip(places) {
            if place == point.position {
                *side = Some(point.clone());
            }
        }
    }
    Ok(all)
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

/// The same of several series, by series.
pub async fn links_of(pool: &AnyPool, series: &[i64]) -> sqlx::Result<BTreeMap<i64, Vec<Link>>> {
    let sql = format!(
        "SELECT series_id, reference_number, ratio FROM history_links WHERE series_id IN ({})
         ORDER BY series_id, reference_number",
        places_from(1)
    );
    let mut all: BTreeMap<i64, Vec<Link>> = BTreeMap::new();
    for some in looked_for(series) {
        let query = sqlx::query(AssertSqlSafe(sql.clone()));
        let query = some.into_iter().fold(query, |query, id| query.bind(id));
        for row in query.fetch_all(pool).await? {
            let link = Link { reference_number: row.try_get(1)?, ratio: row.try_get(2)? };
            all.entry(row.try_get(0)?).or_default().push(link);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_from_its_words() {
        let read = |figure: Figure, words| figure.read(Detail::Level, words);
        let point = read(Figure::Reference, "12 1.05 3").unwrap();
        let ratio = Ratio { ratio: 1.05, low: 1.05, high: 1.05 };
        assert_eq!((point.position, point.reference, point.reference_number), (12, Some(ratio), Some(3)));
        assert_eq!(read(Figure::Parent, "7 5e-1").unwrap().parent.unwrap().ratio, 0.5);
        assert_eq!(read(Figure::Value, "7 12.5").unwrap().value, Some(12.5));
        for odd in ["7 NaN", "7 Infinity", "7 Inf", "7 -Inf"] {
            assert_eq!(read(Figure::Value, odd).unwrap().value, None, "{odd}");
        }
        assert_eq!(read(Figure::Reference, "7 NaN 1").unwrap().reference, None);
        for none in ["", "x 1", "7 ", "7"] {
            assert_eq!(read(Figure::Value, none), None, "{none}");
        }
    }

    #[test]
    fn an_interval_is_read_with_its_point() {
        let read = |figure: Figure, words| figure.read(Detail::Interval, words).unwrap();
        let point = read(Figure::Reference, "12 1.05 1.04 1.06 3");
        let ratio = Ratio { ratio: 1.05, low: 1.04, high: 1.06 };
        assert_eq!((point.reference, point.reference_number), (Some(ratio), Some(3)));
        assert_eq!(read(Figure::Parent, "12 1.05 1.04 1.06").parent, Some(ratio));
        // An end that is missing, or is no positive number, leaves none.
        for odd in ["12 1.05  1.06", "12 1.05 1.04 ", "12 1.05 0 1.06", "12 1.05 1.04 NaN"] {
            assert_eq!(read(Figure::Parent, odd).parent, None, "{odd}");
        }
        assert_eq!(read(Figure::Reference, "12 1.05 1.04  ").reference_number, None);
    }
}
