//! Reminds, once, in the comment that is there already, of pull requests that have waited longer than their targets.

use crate::app::App;
use crate::db::{clocks, pulls, repositories};
use crate::runs;

/// Pull requests looked at in one round; the rest follows in the next.
const ROUND_MAX: i64 = 200;

/// One round; how many were reminded of.
pub async fn once(app: &App) -> anyhow::Result<usize> {
    let now_ms = app.clock.now_ms();
    let mut reminded = 0;
    for (id, number, opened_ms) in clocks::waiting(&app.db, now_ms, ROUND_MAX).await? {
        let stages = clocks::get(app.db.pool(), id, number, opened_ms).await?;
        if !stages.is_some_and(|stages| stages.overdue(now_ms)) {
            continue;
        }
        let mut tx = app.db.begin().await?;
        pulls::hold(&mut tx, id, number).await?;
        if clocks::remind(&mut tx, id, number, now_ms).await?
            && let Some(repository) = repositories::by_id(&mut *tx, id).await?
        {
            runs::publish(&mut tx, app, &repository, number).await?;
            reminded += 1;
        }
        tx.commit().await?;
    }
    if reminded > 0 {
        tracing::info!(reminded, "pull requests have waited longer than their targets");
        app.wake.writes.notify_one();
    }
    Ok(reminded)
}
