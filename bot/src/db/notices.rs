//! Notices to others: each told once, as far as can be, or given up.

use super::{Db, Tx, new_id};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A notice that this process is to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The receiver sees it: the same notice again has the same.
    pub id: String,
    pub url: String,
    pub kind: String,
    pub body: String,
    /// This one included.
    pub attempts: i64,
    /// Names this one taking of it.
    holder: String,
}

fn stored(row: &AnyRow) -> sqlx::Result<Stored> {
    Ok(Stored {
        id: row.try_get("id")?,
        url: row.try_get("url")?,
        kind: row.try_get("kind")?,
        body: row.try_get("body")?,
        attempts: row.try_get("attempts")?,
        holder: row.try_get("holder")?,
    })
}

pub async fn insert(tx: &mut Tx, url: &str, kind: &str, body: &str, now_ms: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO notices (id, url, kind, body, not_before_ms, created_ms) VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(new_id())
    .bind(url)
    .bind(kind)
    .bind(body)
    .bind(now_ms)
    .execute(&mut **tx)
    .await
    .map(|_| ())
}

/// Takes the notice that has been due for longest.
pub async fn claim(db: &Db, now_ms: i64, lease_ms: i64) -> sqlx::Result<Option<Stored>> {
    // Looked for first, so that who has nothing to tell never waits to write.
    if due(db, now_ms).await? == 0 {
        return Ok(None);
    }
    let mut tx = db.begin().await?;
    let row = sqlx::query(
        "UPDATE notices SET holder = $1, lease_until_ms = $2, attempts = attempts + 1
         WHERE ended_ms IS NULL AND (lease_until_ms IS NULL OR lease_until_ms < $3) AND id = (
             SELECT n.id FROM notices n WHERE n.ended_ms IS NULL AND n.not_before_ms <= $3
               AND (n.lease_until_ms IS NULL OR n.lease_until_ms < $3)
             ORDER BY n.not_before_ms, n.id LIMIT 1)
         RETURNING id, url, kind, body, attempts, holder",
    )
    .bind(new_id())
    .bind(now_ms + lease_ms)
    .bind(now_ms)
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    row.map(|row| stored(&row)).transpose()
}

/// Notices that may go out now.
async fn due(db: &Db, now_ms: i64) -> sqlx::Result<i64> {
    let sql = "SELECT COUNT(*) AS due FROM notices WHERE ended_ms IS NULL AND not_before_ms <= $1
               AND (lease_until_ms IS NULL OR lease_until_ms < $1)";
    sqlx::query(sql).bind(now_ms).fetch_one(db.pool()).await?.try_get("due")
}

/// What became of a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Told,
    Later { error: String, not_before_ms: i64 },
    GivenUp { error: String },
}

/// Stores what became of a notice that is still held.
pub async fn settle(db: &Db, notice: &Stored, ending: &Ending, now_ms: i64) -> sqlx::Result<()> {
    let (ended_ms, not_before_ms, error) = match ending {
        Ending::Told => (Some(now_ms), now_ms, None),
        Ending::Later { error, not_before_ms } => (None, *not_before_ms, Some(error.as_str())),
        Ending::GivenUp { error } => (Some(now_ms), now_ms, Some(error.as_str())),
    };
    let mut tx = db.begin().await?;
    sqlx::query(
        "UPDATE notices SET ended_ms = $1, not_before_ms = $2, error = $3, holder = NULL, lease_until_ms = NULL
         WHERE id = $4 AND holder = $5",
    )
    .bind(ended_ms)
    .bind(not_before_ms)
    .bind(error)
    .bind(&notice.id)
    .bind(&notice.holder)
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// A notice as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub kind: String,
    pub attempts: i64,
    pub not_before_ms: i64,
    pub ended_ms: Option<i64>,
    pub error: Option<String>,
}

/// The newest ones.
pub async fn newest(db: &Db, limit: i64) -> sqlx::Result<Vec<Standing>> {
    let rows = sqlx::query(
        "SELECT kind, attempts, not_before_ms, ended_ms, error FROM notices ORDER BY created_ms DESC, id DESC LIMIT $1",
    )
    .bind(limit)
    .fetch_all(db.pool())
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Standing {
                kind: row.try_get("kind")?,
                attempts: row.try_get("attempts")?,
                not_before_ms: row.try_get("not_before_ms")?,
                ended_ms: row.try_get("ended_ms")?,
                error: row.try_get("error")?,
            })
        })
        .collect()
}

/// Removes those that ended before. Returns how many.
pub async fn prune(db: &Db, before_ms: i64) -> sqlx::Result<u64> {
    let _turn = db.write_turn().await;
    sqlx::query("DELETE FROM notices WHERE ended_ms < $1")
        .bind(before_ms)
        .execute(db.pool())
        .await
        .map(|done| done.rows_affected())
}
