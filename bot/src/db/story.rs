//! What a pull request's story is made of, besides the log of events. Reads only.

use super::{Db, json, json_option, sha};
use crate::activity::Recorded;
use crate::judgement::{Acceptance, CommitsJudgement, ConfigError, ReviewsJudgement};
use crate::pull::RepoId;
use crate::story::JudgedHead;
use perfsuite::model::Sha;
use sqlx::Row;
use std::collections::BTreeMap;

/// Heads of one pull request; who pushes more often is read by nobody.
const HEADS_MAX: i64 = 200;
const ACCEPTANCES_MAX: i64 = 100;

/// Heads that were judged, the oldest first.
pub async fn judged(db: &Db, repository: RepoId, number: u64) -> sqlx::Result<Vec<JudgedHead>> {
    let rows = sqlx::query(
        "SELECT head_sha, judged_ms, commits, config_error, reviews, skipped FROM judgements
         WHERE repository_id = $1 AND number = $2 ORDER BY judged_ms DESC LIMIT $3",
    )
    .bind(repository.0)
    .bind(number as i64)
    .bind(HEADS_MAX)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .rev()
        .map(|row| {
            let commits: CommitsJudgement = json(row, "commits")?;
            let config_error: Option<ConfigError> = json_option(row, "config_error")?;
            let reviews: Option<ReviewsJudgement> = json_option(row, "reviews")?;
            Ok(JudgedHead {
                head: sha(row, "head_sha")?,
                at_ms: row.try_get("judged_ms")?,
                commits: commits.commits.len(),
                clean: commits.clean(),
                config_error: config_error.is_some(),
                lacking: reviews.filter(|reviews| reviews.owned > 0).map(|reviews| reviews.lacking()),
                skipped: row.try_get("skipped")?,
            })
        })
        .collect()
}

/// Slowdowns that were taken.
pub async fn acceptances(db: &Db, repository: RepoId, number: u64) -> sqlx::Result<Vec<(Sha, Acceptance)>> {
    let rows = sqlx::query(
        "SELECT head_sha, login, reason, at_ms FROM acceptances WHERE repository_id = $1 AND number = $2
         ORDER BY at_ms LIMIT $3",
    )
    .bind(repository.0)
    .bind(number as i64)
    .bind(ACCEPTANCES_MAX)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| {
            let accepted = Acceptance {
                by: row.try_get("login")?,
                reason: row.try_get("reason")?,
                at_ms: row.try_get("at_ms")?,
            };
            Ok((sha(row, "head_sha")?, accepted))
        })
        .collect()
}

/// The digests of a pull request's evidence, by job.
pub async fn evidence(db: &Db, repository: RepoId, number: u64) -> sqlx::Result<BTreeMap<String, String>> {
    let rows = sqlx::query(
        "SELECT id, evidence FROM jobs WHERE repository_id = $1 AND number = $2 AND evidence IS NOT NULL
         ORDER BY created_ms DESC LIMIT $3",
    )
    .bind(repository.0)
    .bind(number as i64)
    .bind(HEADS_MAX)
    .fetch_all(db.pool())
    .await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("evidence")?))).collect()
}

/// How some issues were opened, as far as it is known.
pub async fn issues(db: &Db, repository: RepoId, numbers: &[u64]) -> sqlx::Result<Vec<Recorded>> {
    let mut found = Vec::new();
    for number in numbers {
        let events = super::activity::of_pull(db, repository, *number).await?;
        found.extend(events.into_iter().filter(|event| event.kind == crate::activity::Kind::IssueOpened));
    }
    Ok(found)
}
