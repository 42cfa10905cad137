//! Tries a proposed configuration on the pull requests that are known.

use crate::app::App;
use crate::assess;
use crate::conventions::what_if::{PULLS_MAX, Past, WhatIf};
use crate::db::dossiers;
use crate::facts::{self, GitFacts};
use crate::pull::{PullRequest, Repository};
use crate::repo_config;
use anyhow::Context;
use std::time::{Duration, Instant};

/// Commits of one pull request that are judged again; those with more are left out.
const COMMITS_MAX: usize = 250;
/// All of it: who waits for a judgement does not wait for statistics.
const TIME_MAX: Duration = Duration::from_secs(3);

/// `None` where the configuration does not change.
pub async fn ask(
    app: &App,
    repository: &Repository,
    pull: &PullRequest,
    facts: &GitFacts,
) -> anyhow::Result<Option<WhatIf>> {
    if !facts.changed.iter().any(|path| path == repo_config::PATH) {
        return Ok(None);
    }
    let limit = i64::try_from(PULLS_MAX).unwrap_or(i64::MAX);
    let known = dossiers::newest(app.db.pool(), repository.id, pull.number, limit).await?;
    let now = assess::config_of(facts).unwrap_or_default();
    let (mirrors, id, head) = (app.mirrors.clone(), repository.id, pull.head_sha.clone());
    let asked = move || -> anyhow::Result<WhatIf> {
        let began = Instant::now();
        let history = mirrors.open(id)?;
        let (text, _) = facts::config_at(&history, &head)?;
        let proposed = assess::config_in(&text)
            .map_err(|error| format!("line {}, column {}: {}", error.line, error.column, error.message));
        let mut past = Vec::new();
        for dossier in known {
            if began.elapsed() > TIME_MAX {
                break;
            }
            let kept = dossier.facts;
            // What cannot be read any more is no longer known.
            let Ok(base) = history.merge_base(&kept.base_tip, &kept.head) else { continue };
            let Ok(commits) = history.commits(&base, &kept.head, COMMITS_MAX) else { continue };
            let (number, author) = (kept.opened.number, kept.author);
            past.push(Past { number, author, opened: kept.opened, commits });
        }
        Ok(WhatIf::of(&past, &now, proposed.as_ref().map_err(String::as_str)))
    };
    Ok(Some(tokio::task::spawn_blocking(asked).await.context("trying a configuration was ended")??))
}
