//! Pull requests that nobody has answered yet. Reads only.

use super::Db;
use crate::access::Readables;
use crate::pull::RepoName;
use sqlx::{AssertSqlSafe, Row};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingPull {
    pub repository: RepoName,
    pub number: u64,
    pub title: String,
    pub author: String,
    pub opened_ms: i64,
}

/// Open pull requests of people that were opened before then and have no answer by another person, the longest first.
pub async fn unanswered(
    db: &Db,
    readable: &Readables,
    opened_before_ms: i64,
    limit: i64,
) -> sqlx::Result<Vec<WaitingPull>> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "SELECT r.owner AS owner, r.name AS name, p.number AS number, p.title AS title, p.author AS author,
                p.opened_ms AS opened_ms
         FROM pull_requests p JOIN repositories r ON r.id = p.repository_id
         WHERE {} AND r.name NOT LIKE '%#%' AND r.inactive IS NULL AND p.state = 'open' AND p.draft = 0
           AND p.author_is_bot = 0 AND p.opened_ms < $1
           AND NOT EXISTS (SELECT 1 FROM activity a WHERE a.repository_id = p.repository_id AND a.number = p.number
                           AND a.kind IN ('review', 'comment', 'review-comment') AND a.is_bot = 0
                           AND LOWER(a.login) <> LOWER(p.author))
         ORDER BY p.opened_ms, p.number LIMIT $2",
        readable.sql("r")
    )))
    .bind(opened_before_ms)
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(WaitingPull {
                repository: RepoName { owner: row.try_get("owner")?, name: row.try_get("name")? },
                number: row.try_get::<i64, _>("number")? as u64,
                title: row.try_get("title")?,
                author: row.try_get("author")?,
                opened_ms: row.try_get("opened_ms")?,
            })
        })
        .collect()
}
