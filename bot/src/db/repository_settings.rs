//! What of a repository's configuration the pages need, as its default branch had it last.

use super::{Db, Tx, json, to_json};
use crate::measures::health::Targets;
use crate::pull::RepoId;
use crate::repo_config::RepoConfig;
use sqlx::Row;
use std::collections::BTreeSet;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepositorySettings {
    pub targets: Targets,
    /// Lower case: not counted.
    pub excluded: BTreeSet<String>,
    /// Lower case: counted, and not named.
    pub opt_out: BTreeSet<String>,
}

impl From<&RepoConfig> for RepositorySettings {
    fn from(config: &RepoConfig) -> Self {
        let lower = |logins: &[String]| logins.iter().map(|login| login.to_lowercase()).collect();
        Self {
            targets: Targets {
                triage_days: config.reviews.triage_days,
                review_days: config.reviews.review_days,
            },
            excluded: lower(&config.contributors.exclude),
            opt_out: lower(&config.contributors.opt_out),
        }
    }
}

pub async fn upsert(
    tx: &mut Tx,
    repository: RepoId,
    settings: &RepositorySettings,
    now_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO repository_settings (repository_id, triage_days, review_days, excluded, opt_out, updated_ms)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (repository_id) DO UPDATE SET triage_days = excluded.triage_days,
             review_days = excluded.review_days, excluded = excluded.excluded, opt_out = excluded.opt_out,
             updated_ms = excluded.updated_ms",
    )
    .bind(repository.0)
    .bind(i64::from(settings.targets.triage_days))
    .bind(i64::from(settings.targets.review_days))
    .bind(to_json(&settings.excluded))
    .bind(to_json(&settings.opt_out))
    .bind(now_ms)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// The defaults where nothing is known.
pub async fn get(db: &Db, repository: RepoId) -> sqlx::Result<RepositorySettings> {
    let row = sqlx::query(
        "SELECT triage_days, review_days, excluded AS excluded_logins, opt_out FROM repository_settings
         WHERE repository_id = $1",
    )
    .bind(repository.0)
    .fetch_optional(db.pool())
    .await?;
    let Some(row) = row else { return Ok(RepositorySettings::default()) };
    let days = |column: &str| -> sqlx::Result<u32> {
        Ok(u32::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
    };
    Ok(RepositorySettings {
        targets: Targets { triage_days: days("triage_days")?, review_days: days("review_days")? },
        excluded: json(&row, "excluded_logins")?,
        opt_out: json(&row, "opt_out")?,
    })
}
