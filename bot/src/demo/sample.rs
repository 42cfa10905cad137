//! A history for the demonstration: measuring one would take an hour, so it is generated, and every page of it says so.

use crate::db::history_commits::{self, HistoryCommit};
use crate::db::points::{self, Against, Ratio};
use crate::db::references::{self, Reference};
use crate::db::series::{self, Key};
use crate::db::{Db, Turn};
use crate::pull::RepoId;
use anyhow::Context;
use perfsuite::history::generate::Shape;
use perfsuite::model::Sha;
use sha2::{Digest, Sha256};

const POINTS: usize = 160;
const HOUR_MS: i64 = 60 * 60 * 1_000;
/// Half of a ratio's interval: what a run of a quiet benchmark has.
const HALF: f64 = 0.008;

/// Names of the series: one with two steps, one without.
const SERIES: [(&str, usize); 2] = [("sample/two-steps", 2), ("sample/no-step", 0)];

/// Stores it. The same seed gives the same series.
pub async fn seed(db: &Db, repository: RepoId, seed: u64, now_ms: i64) -> anyhow::Result<()> {
    let mut tx = db.begin_turn(Turn::History).await?;
    let reference = Reference {
        number: 1,
        sha: sha_of(seed, 0)?,
        name: "sample commit 0".into(),
        since_ms: now_ms - POINTS as i64 * HOUR_MS,
    };
    references::insert(&mut tx, repository, &reference).await?;
    for at in 0..POINTS {
        let commit = HistoryCommit {
            position: at as i64,
            sha: sha_of(seed, at)?,
            parent: at.checked_sub(1).map(|before| sha_of(seed, before)).transpose()?,
            author: "nobody".into(),
            subject: format!("sample commit {at}"),
            committed_ms: now_ms - (POINTS - at) as i64 * HOUR_MS,
            pull: None,
            environment: None,
            parent_job: None,
            reference_job: None,
            reference_number: Some(1),
        };
        history_commits::upsert(&mut tx, repository, &commit).await?;
    }
    for (number, (name, steps)) in SERIES.into_iter().enumerate() {
        let key = Key { suite: "sample".into(), benchmark: name.into(), metric: "time".into() };
        let series = series::insert(&mut tx, repository, &key, true).await?;
        let made = Shape { points: POINTS, steps, gap: 30, ..Shape::default() }.series(seed + number as u64);
        let first = made.points.first().context("a sample has points")?.value;
        let mut before: Option<f64> = None;
        for (position, point) in made.points.iter().enumerate() {
            let position = position as i64;
            let ratio = |ratio: f64| Ratio::new(ratio, ratio * (1.0 - HALF), ratio * (1.0 + HALF));
            if let Some(over) = before.and_then(|before| ratio(point.value / before)) {
                points::put(&mut tx, series.id, position, Some(point.value), Against::Parent(over)).await?;
            }
            if let Some(over) = ratio(point.value / first) {
                let against = Against::Reference(over, 1);
                points::put(&mut tx, series.id, position, Some(point.value), against).await?;
            }
            before = Some(point.value);
        }
        series::changed(&mut tx, series.id).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// An id that no commit has.
fn sha_of(seed: u64, at: usize) -> anyhow::Result<Sha> {
    let digest = hex::encode(Sha256::digest(format!("paceline sample {seed} {at}")));
    Ok(digest[..40].parse()?)
}
