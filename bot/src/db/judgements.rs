//! What was decided about one head by the conventions, without performance.

use super::{Tx, json, json_option, to_json};
use crate::judgement::{CommitsJudgement, ConfigError, ReviewsJudgement, TestsAsked};
use crate::pull::RepoId;
use perfsuite::model::Sha;
use sqlx::{Any, Executor};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    pub commits: CommitsJudgement,
    pub config_error: Option<ConfigError>,
    pub reviews: Option<ReviewsJudgement>,
    /// What is asked of the tests; `None` where nothing is.
    pub tests: Option<TestsAsked>,
    /// The label of a pull request with a slowdown that blocks.
    pub label: Option<String>,
    /// Why there is nothing to measure, when there is not.
    pub skipped: Option<String>,
}

pub async fn upsert(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    head: &Sha,
    judgement: &Judgement,
    now_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO judgements (repository_id, number, head_sha, config_error, commits, skipped, judged_ms, reviews,
                                 tests, label)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (repository_id, number, head_sha) DO UPDATE SET config_error = excluded.config_error,
             commits = excluded.commits, skipped = excluded.skipped, judged_ms = excluded.judged_ms,
             reviews = excluded.reviews, tests = excluded.tests, label = excluded.label",
    )
    .bind(repository.0)
    .bind(number as i64)
    .bind(head.as_str())
    .bind(judgement.config_error.as_ref().map(to_json))
    .bind(to_json(&judgement.commits))
    .bind(&judgement.skipped)
    .bind(now_ms)
    .bind(judgement.reviews.as_ref().map(to_json))
    .bind(judgement.tests.as_ref().map(to_json))
    .bind(&judgement.label)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

pub async fn get<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    number: u64,
    head: &Sha,
) -> sqlx::Result<Option<Judgement>> {
    let row = sqlx::query(
        "SELECT config_error, commits, skipped, reviews, tests, label FROM judgements
         WHERE repository_id = $1 AND number = $2 AND head_sha = $3",
    )
    .bind(repository.0)
    .bind(number as i64)
    .bind(head.as_str())
    .fetch_optional(on)
    .await?;
    row.map(|row| {
        Ok(Judgement {
            commits: json(&row, "commits")?,
            config_error: json_option(&row, "config_error")?,
            reviews: json_option(&row, "reviews")?,
            tests: json_option(&row, "tests")?,
            label: sqlx::Row::try_get(&row, "label")?,
            skipped: sqlx::Row::try_get(&row, "skipped")?,
        })
    })
    .transpose()
}
