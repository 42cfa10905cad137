//! Loads who approved what, keeps it in the ledger, and judges who must still look.

use crate::app::App;
use crate::conventions::reviews::{
    CODEOWNERS_MAX_BYTES, CodeOwners, Login, ReviewFacts, Teams, judge as decide, standing, teams_of,
};
use crate::db::approvals::{self, Entry};
use crate::dossier;
use crate::facts::{GitFacts, OwnersText};
use crate::git::{GitError, Wants};
use crate::judgement::{Level, ReviewsJudgement};
use crate::pull::{PullRequest, Repository, Review};
use crate::repo_config::ReviewsConfig;
use anyhow::Context;
use perfsuite::model::Sha;
use std::collections::{BTreeMap, BTreeSet};

/// Approving reviews of one pull request that are looked at, the newest; a pull request in use has a few.
const REVIEWS_MAX: usize = 200;
/// Teams asked for one pull request: each is a request, mostly answered from what is known.
const TEAMS_MAX: usize = 50;

/// What is still missing; `None` where nothing is asked: no CODEOWNERS, or reviews are switched off.
pub async fn judge(
    app: &App,
    repository: &Repository,
    pull: &PullRequest,
    facts: &GitFacts,
    config: &ReviewsConfig,
) -> anyhow::Result<Option<(ReviewsJudgement, dossier::ReviewFacts)>> {
    let Some((owners, mut notes)) = owners(facts, config) else { return Ok(None) };
    let patches = patches(app, repository, facts.merge_base.clone(), pull.head_sha.clone()).await?;
    let patches = patches.context("the head was just read")?;
    let reviews = app.github.reviews(repository, pull.number).await?;
    let standing = standing(&reviews);
    let standing = &standing[standing.len().saturating_sub(REVIEWS_MAX)..];
    let ledger = ledger(app, repository, pull, standing, &mut notes).await?;
    let teams =
        teams(app, repository, teams_of(&owners, patches.keys().map(String::as_str)), &mut notes).await?;
    let approved = standing.iter().map(|review| (review.login.clone(), review.id)).collect();
    let kept = dossier::ReviewFacts { approved, teams, notes };
    let judgement = judged(&owners, &kept, &pull.author, config, &patches, &ledger);
    Ok(Some((judgement, kept)))
}

/// Who owns what, and what is to be said of that; `None` where nothing is asked.
pub fn owners(facts: &GitFacts, config: &ReviewsConfig) -> Option<(CodeOwners, Vec<String>)> {
    match &facts.owners {
        _ if config.level == Level::Off => None,
        OwnersText::Absent => None,
        OwnersText::Text(text) => Some((CodeOwners::parse(text), Vec::new())),
        OwnersText::TooLarge => {
            let note = format!(
                "CODEOWNERS is larger than the {} MiB that GitHub reads, so nobody owns anything.",
                CODEOWNERS_MAX_BYTES >> 20
            );
            Some((CodeOwners::default(), vec![note]))
        }
    }
}

/// Decides, from what was loaded now or was kept.
pub fn judged(
    owners: &CodeOwners,
    kept: &dossier::ReviewFacts,
    author: &str,
    config: &ReviewsConfig,
    patches: &BTreeMap<String, String>,
    ledger: &BTreeMap<i64, Entry>,
) -> ReviewsJudgement {
    let mut teams = Teams::default();
    for (name, members) in &kept.teams {
        teams.insert(name, members.iter().map(String::as_str));
    }
    let approved: Vec<(Login, &BTreeMap<String, String>)> = kept
        .approved
        .iter()
        .filter_map(|(login, review)| Some((Login::new(login), &ledger.get(review)?.patches)))
        .collect();
    let notes = kept.notes.clone();
    decide(ReviewFacts { owners, teams: &teams, author, config, patches, approved: &approved, notes })
}

/// The ledger's entries of these reviews. What is seen for the first time is written down as it was looked at.
async fn ledger(
    app: &App,
    repository: &Repository,
    pull: &PullRequest,
    standing: &[&Review],
    notes: &mut Vec<String>,
) -> anyhow::Result<BTreeMap<i64, Entry>> {
    let known = approvals::of_pull(app.db.pool(), repository.id, pull.number).await?;
    let mut entries: BTreeMap<i64, Entry> = known.into_iter().map(|entry| (entry.review, entry)).collect();
    for review in standing {
        if entries.contains_key(&review.id) {
            continue;
        }
        let found = match &review.commit {
            Some(commit) => looked_at(app, repository, pull, commit).await?.map(|patches| (commit, patches)),
            None => None,
        };
        let Some((commit, patches)) = found else {
            notes.push(format!(
                "What `{}` approved is no longer to be had, so it does not count.",
                review.login
            ));
            continue;
        };
        let entry = Entry { review: review.id, login: review.login.clone(), commit: commit.clone(), patches };
        let mut tx = app.db.begin().await?;
        approvals::insert(&mut tx, repository.id, pull.number, &entry, app.clock.now_ms()).await?;
        tx.commit().await?;
        entries.insert(review.id, entry);
    }
    Ok(entries)
}

/// The patches of a head that was reviewed; `None` when neither the mirror nor GitHub has it any more.
async fn looked_at(
    app: &App,
    repository: &Repository,
    pull: &PullRequest,
    commit: &Sha,
) -> anyhow::Result<Option<BTreeMap<String, String>>> {
    let token = app.github.installation_token(repository.installation).await?;
    let url = app.github.git_url(&repository.name);
    let (mirrors, id, wanted) = (app.mirrors.clone(), repository.id, commit.clone());
    let base = pull.base_sha.clone();
    let fork_point = tokio::task::spawn_blocking(move || {
        let wants = Wants { commits: vec![wanted.clone()], ..Wants::default() };
        if let Err(error) = mirrors.fetch(id, &url, Some(&token), &wants) {
            tracing::warn!(commit = %wanted, %error, "a head that was approved cannot be fetched");
        }
        let history = mirrors.open(id)?;
        match history.has(&wanted) {
            true => history.merge_base(&base, &wanted).map(Some),
            false => Ok(None),
        }
    })
    .await
    .context("reading git was ended")?;
    match fork_point {
        Ok(Some(fork_point)) => patches(app, repository, fork_point, commit.clone()).await,
        Ok(None) | Err(GitError::NoMergeBase(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `None` where there are more files than are looked at.
async fn patches(
    app: &App,
    repository: &Repository,
    base: Sha,
    head: Sha,
) -> anyhow::Result<Option<BTreeMap<String, String>>> {
    let (mirrors, id) = (app.mirrors.clone(), repository.id);
    let read = move || match mirrors.open(id)?.patches(&base, &head) {
        Ok(patches) => Ok(Some(patches)),
        Err(GitError::TooMany { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    Ok(tokio::task::spawn_blocking(read).await.context("reading git was ended")??)
}

async fn teams(
    app: &App,
    repository: &Repository,
    names: BTreeSet<&str>,
    notes: &mut Vec<String>,
) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let mut teams = BTreeMap::new();
    for (index, name) in names.into_iter().enumerate() {
        let Some((org, team)) = name.split_once('/').filter(|_| index < TEAMS_MAX) else {
            notes.push(format!("The members of `{name}` were not asked for: there are too many teams."));
            continue;
        };
        match app.github.team_members(repository.installation, org, team).await? {
            Some(members) => {
                teams.insert(name.to_owned(), members);
            }
            None => notes.push(format!(
                "The members of `{name}` cannot be read, so they are not counted: there is no such team, or the App \
                 lacks the permission `members: read`."
            )),
        }
    }
    Ok(teams)
}
