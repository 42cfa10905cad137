//! What heads' judgements and texts were made of.

use super::{Tx, json, json_option, to_json};
use crate::dossier::{Digests, Facts, Scene};
use crate::pull::RepoId;
use perfsuite::model::Sha;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

#[derive(Clone, Debug, PartialEq)]
pub struct Dossier {
    pub rules: i64,
    /// git's id of the configuration, as the base had it.
    pub config: Option<String>,
    pub facts: Facts,
    pub scene: Option<Scene>,
    pub texts: Option<Digests>,
}

fn dossier(row: &AnyRow) -> sqlx::Result<Dossier> {
    Ok(Dossier {
        rules: row.try_get("rules")?,
        config: row.try_get("config")?,
        facts: json(row, "facts")?,
        scene: json_option(row, "scene")?,
        texts: json_option(row, "texts")?,
    })
}

/// Keeps what a judgement is made of; its texts follow.
pub async fn judged(
    tx: &mut Tx,
    repository: RepoId,
    rules: u32,
    config: Option<&Sha>,
    facts: &Facts,
    now_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO dossiers (repository_id, number, head_sha, rules, config, facts, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (repository_id, number, head_sha) DO UPDATE SET rules = excluded.rules, config = excluded.config,
             facts = excluded.facts, scene = NULL, texts = NULL, at_ms = excluded.at_ms",
    )
    .bind(repository.0)
    .bind(facts.opened.number as i64)
    .bind(facts.head.as_str())
    .bind(i64::from(rules))
    .bind(config.map(Sha::as_str))
    .bind(to_json(facts))
    .bind(now_ms)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// Keeps what the texts were made of, and which they were.
pub async fn shown(
    tx: &mut Tx,
    repository: RepoId,
    number: u64,
    head: &Sha,
    scene: &Scene,
    texts: &Digests,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE dossiers SET scene = $1, texts = $2 WHERE repository_id = $3 AND number = $4 AND head_sha = $5",
    )
    .bind(to_json(scene))
    .bind(to_json(texts))
    .bind(repository.0)
    .bind(number as i64)
    .bind(head.as_str())
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// Of a head, or of the one that was judged last.
pub async fn get<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    number: u64,
    head: Option<&Sha>,
) -> sqlx::Result<Option<Dossier>> {
    let row = sqlx::query(
        "SELECT rules, config, facts, scene, texts FROM dossiers
         WHERE repository_id = $1 AND number = $2 AND ($3 = '' OR head_sha = $3)
         ORDER BY at_ms DESC, head_sha LIMIT 1",
    )
    .bind(repository.0)
    .bind(number as i64)
    .bind(head.map_or("", Sha::as_str))
    .fetch_optional(on)
    .await?;
    row.as_ref().map(dossier).transpose()
}

/// Heads of other pull requests of a repository, the newest of each, the newest first.
pub async fn newest<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    except: u64,
    limit: i64,
) -> sqlx::Result<Vec<Dossier>> {
    let rows = sqlx::query(
        "SELECT d.rules, d.config, d.facts, d.scene, d.texts FROM dossiers d
         JOIN pull_requests p ON p.repository_id = d.repository_id AND p.number = d.number AND p.head_sha = d.head_sha
         WHERE d.repository_id = $1 AND d.number <> $2 ORDER BY d.number DESC LIMIT $3",
    )
    .bind(repository.0)
    .bind(except as i64)
    .bind(limit)
    .fetch_all(on)
    .await?;
    rows.iter().map(dossier).collect()
}
