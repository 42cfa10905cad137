//! What we wrote, compared with what GitHub has: a check run or comment that is gone or was changed is written again.

use crate::app::App;
use crate::db::pulls::PullRow;
use crate::db::writes::{self, Drift, Written};
use crate::github::{self, SeenCheckRun};
use crate::outgoing::Outgoing;
use crate::pull::Repository;

/// Looks at the comment and the check runs of a pull request's head: two requests, both under the condition that
/// something changed. Returns how many are written again.
pub async fn mend(app: &App, repository: &Repository, row: &PullRow) -> anyhow::Result<usize> {
    let pull = &row.pull;
    let written = writes::written(&app.db, repository.id, pull.number, &pull.head_sha).await?;
    if written.is_empty() {
        return Ok(0);
    }
    let checks = app.github.check_runs(repository, &pull.head_sha).await?;
    let mut mended = 0;
    for written in &written {
        if let Some(drift) = drift(app, repository, written, &checks).await? {
            tracing::warn!(repo = %repository.name, write = written.target, ?drift, "written again");
            writes::again(&app.db, written, drift, app.clock.now_ms()).await?;
            mended += 1;
        }
    }
    Ok(mended)
}

async fn drift(
    app: &App,
    repository: &Repository,
    written: &Written,
    checks: &[SeenCheckRun],
) -> anyhow::Result<Option<Drift>> {
    Ok(match &written.body {
        Outgoing::CheckRun(wanted) => match checks.iter().find(|seen| seen.id == written.remote_id) {
            None => Some(Drift::Gone),
            Some(seen) => (!seen.stands_as(wanted.status)).then_some(Drift::Changed),
        },
        Outgoing::Comment { body, .. } => {
            match app.github.comment_body(repository, written.remote_id).await? {
                None => Some(Drift::Gone),
                Some(seen) => (github::shown(&seen) != github::shown(body)).then_some(Drift::Changed),
            }
        }
        // Said once; what people do with it is theirs.
        Outgoing::Reply { .. } | Outgoing::Reaction { .. } | Outgoing::Label { .. } => None,
    })
}
