//! The log of what people did, and what measures and stories read of it.

use super::{Db, Tx, flag};
use crate::activity::{GHOST, Kind, NewEvent, Recorded};
use crate::judgement::TestsAsked;
use crate::measures::facts::{Ended, Facts, KnownPull};
use crate::measures::person::{Impact, Judged};
use crate::pull::RepoId;
use perfsuite::model::Metric;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};
use std::collections::{BTreeMap, BTreeSet};

/// Pull requests that measures read, the newest; two years of a very busy repository.
const PULLS_MAX: i64 = 20_000;
/// Events that measures read, the newest.
const EVENTS_MAX: i64 = 200_000;
/// Events of one pull request; a story with more is read by nobody.
const OF_PULL_MAX: i64 = 2_000;
/// Changed rows of one person.
const IMPACT_MAX: i64 = 500;

/// Stores an event once, without the name of who asked to be left out.
pub async fn insert(
    tx: &mut Tx,
    repository: RepoId,
    event: &NewEvent,
    left_out: &BTreeSet<String>,
) -> sqlx::Result<bool> {
    let named = !left_out.contains(&event.login.to_lowercase());
    let done = sqlx::query(
        "INSERT INTO activity (repository_id, kind, source, number, login, is_bot, detail, sha, at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (repository_id, kind, source) DO NOTHING",
    )
    .bind(repository.0)
    .bind(event.kind.as_str())
    .bind(&event.source)
    .bind(event.number.and_then(|number| i64::try_from(number).ok()))
    .bind(if named { event.login.as_str() } else { GHOST })
    .bind(i64::from(event.bot))
    .bind(&event.detail)
    .bind(&event.sha)
    .bind(event.at_ms)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn recorded(row: &AnyRow) -> sqlx::Result<Option<Recorded>> {
    let Some(kind) = Kind::parse(row.try_get("kind")?) else { return Ok(None) };
    Ok(Some(Recorded {
        kind,
        number: row.try_get::<Option<i64>, _>("number")?.and_then(|number| u64::try_from(number).ok()),
        login: row.try_get("login")?,
        bot: flag(row, "is_bot")?,
        detail: row.try_get("detail")?,
        sha: row.try_get("sha")?,
        at_ms: row.try_get("at_ms")?,
    }))
}

/// What a repository's measures are made of. `excluded` in lower case.
pub async fn facts(db: &Db, repository: RepoId, excluded: &BTreeSet<String>) -> sqlx::Result<Facts> {
    let rows = sqlx::query(
        "SELECT number, author, author_is_bot, from_fork, opened_ms, state, updated_ms FROM pull_requests
         WHERE repository_id = $1 ORDER BY number DESC LIMIT $2",
    )
    .bind(repository.0)
    .bind(PULLS_MAX)
    .fetch_all(db.pool())
    .await?;
    let mut pulls = rows.iter().map(known_pull).collect::<sqlx::Result<Vec<_>>>()?;
    let cut = pulls.len() as i64 == PULLS_MAX;
    let tested = tested(db, repository).await?;
    for pull in &mut pulls {
        pull.tested = tested.get(&pull.number).copied();
    }
    let rows = sqlx::query(
        "SELECT kind, number, login, is_bot, detail, sha, at_ms FROM activity WHERE repository_id = $1
         ORDER BY at_ms DESC LIMIT $2",
    )
    .bind(repository.0)
    .bind(EVENTS_MAX)
    .fetch_all(db.pool())
    .await?;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        events.extend(recorded(row)?);
    }
    let mut facts = Facts::of(pulls, &events, excluded);
    facts.cut = cut || rows.len() as i64 == EVENTS_MAX;
    Ok(facts)
}

/// Of merged pull requests that changed sources: whether each changed source came with a changed test.
async fn tested(db: &Db, repository: RepoId) -> sqlx::Result<BTreeMap<u64, bool>> {
    /// The newest: what is asked of a head's tests is some hundred bytes of JSON.
    const READ_MAX: i64 = 5_000;
    let rows = sqlx::query(
        "SELECT p.number AS number, g.tests AS tests FROM pull_requests p
         JOIN judgements g ON g.repository_id = p.repository_id AND g.number = p.number AND g.head_sha = p.head_sha
         WHERE p.repository_id = $1 AND p.state = 'merged' AND g.tests IS NOT NULL ORDER BY p.number DESC LIMIT $2",
    )
    .bind(repository.0)
    .bind(READ_MAX)
    .fetch_all(db.pool())
    .await?;
    let mut tested = BTreeMap::new();
    for row in &rows {
        let asked: TestsAsked = super::json(row, "tests")?;
        if asked.sources > 0 {
            tested.insert(row.try_get::<i64, _>("number")? as u64, asked.lacking() == 0);
        }
    }
    Ok(tested)
}

fn known_pull(row: &AnyRow) -> sqlx::Result<KnownPull> {
    let (state, updated_ms): (String, i64) = (row.try_get("state")?, row.try_get("updated_ms")?);
    Ok(KnownPull {
        number: row.try_get::<i64, _>("number")? as u64,
        author: row.try_get("author")?,
        bot: flag(row, "author_is_bot")?,
        from_fork: flag(row, "from_fork")?,
        opened_ms: row.try_get("opened_ms")?,
        ended: (state != "open").then_some(Ended { at_ms: updated_ms, merged: state == "merged" }),
        tested: None,
    })
}

/// Everything that is known to have happened to a pull request, the oldest first.
pub async fn of_pull(db: &Db, repository: RepoId, number: u64) -> sqlx::Result<Vec<Recorded>> {
    let rows = sqlx::query(
        "SELECT kind, number, login, is_bot, detail, sha, at_ms FROM activity
         WHERE repository_id = $1 AND number = $2 ORDER BY at_ms, kind LIMIT $3",
    )
    .bind(repository.0)
    .bind(number as i64)
    .bind(OF_PULL_MAX)
    .fetch_all(db.pool())
    .await?;
    Ok(rows.iter().map(recorded).collect::<sqlx::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The first release that was published after a moment.
pub async fn release_after(db: &Db, repository: RepoId, at_ms: i64) -> sqlx::Result<Option<Recorded>> {
    let row = sqlx::query(
        "SELECT kind, number, login, is_bot, detail, sha, at_ms FROM activity
         WHERE repository_id = $1 AND kind = 'release' AND at_ms >= $2 ORDER BY at_ms LIMIT 1",
    )
    .bind(repository.0)
    .bind(at_ms)
    .fetch_optional(db.pool())
    .await?;
    row.map(|row| recorded(&row)).transpose().map(Option::flatten)
}

/// Benchmarks that a person's pull requests changed for certain, by their newest heads.
pub async fn impact<'e, E: Executor<'e, Database = Any>>(
    on: E,
    repository: RepoId,
    login: &str,
) -> sqlx::Result<Vec<Impact>> {
    let rows = sqlx::query(
        "SELECT p.number AS number, p.state AS state, c.suite AS suite, c.benchmark AS benchmark, c.metric AS metric,
                c.estimate AS estimate, c.verdict AS verdict, j.id AS job
         FROM pull_requests p
         JOIN jobs j ON j.repository_id = p.repository_id AND j.number = p.number AND j.head_sha = p.head_sha
              AND j.state = 'done' AND j.kind = 'measure'
         JOIN comparisons c ON c.job_id = j.id AND c.certainty = 'confirmed' AND c.verdict IN ('slower', 'faster')
         WHERE p.repository_id = $1 AND LOWER(p.author) = $2
           AND j.created_ms = (SELECT MAX(n.created_ms) FROM jobs n WHERE n.repository_id = p.repository_id
                               AND n.number = p.number AND n.head_sha = p.head_sha AND n.state = 'done'
                               AND n.kind = 'measure')
         ORDER BY p.number DESC, c.suite, c.benchmark, c.metric LIMIT $3",
    )
    .bind(repository.0)
    .bind(login.to_lowercase())
    .bind(IMPACT_MAX)
    .fetch_all(on)
    .await?;
    let mut all = Vec::new();
    for row in &rows {
        let metric: String = row.try_get("metric")?;
        let Ok(metric) = serde_json::from_value::<Metric>(metric.into()) else { continue };
        all.push(Impact {
            number: row.try_get::<i64, _>("number")? as u64,
            suite: row.try_get("suite")?,
            benchmark: row.try_get("benchmark")?,
            metric,
            estimate: row.try_get("estimate")?,
            faster: row.try_get::<String, _>("verdict")? == "faster",
            job: row.try_get("job")?,
            merged: row.try_get::<String, _>("state")? == "merged",
        });
    }
    Ok(all)
}

/// How many of a person's newest heads the conventions judged, and how many had no error.
pub async fn judged(db: &Db, repository: RepoId, login: &str) -> sqlx::Result<Judged> {
    /// One judgement is some KiB of JSON.
    const READ_MAX: i64 = 1_000;
    let rows = sqlx::query(
        "SELECT g.commits AS commits FROM pull_requests p
         JOIN judgements g ON g.repository_id = p.repository_id AND g.number = p.number AND g.head_sha = p.head_sha
         WHERE p.repository_id = $1 AND LOWER(p.author) = $2 ORDER BY p.number DESC LIMIT $3",
    )
    .bind(repository.0)
    .bind(login.to_lowercase())
    .bind(READ_MAX)
    .fetch_all(db.pool())
    .await?;
    let mut judged = Judged::default();
    for row in &rows {
        let commits: crate::judgement::CommitsJudgement = super::json(row, "commits")?;
        judged.all += 1;
        judged.passed += usize::from(commits.worst() < crate::judgement::Level::Error);
    }
    Ok(judged)
}
