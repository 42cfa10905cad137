//! What happened before we were told: lists of the past, page by page, and how many people watch a repository.

use super::pulls::repo_path;
use super::{GitHub, GitHubError, wire};
use crate::activity::{self, NewEvent};
use crate::measures::health::Counts;
use crate::pull::{PullRequest, Repository};
use serde_json::Value;

/// GitHub's largest page.
const PAGE_ITEMS: usize = 100;

/// A page of a list, the newest or the oldest first as it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct PastPage<T> {
    pub items: Vec<T>,
    /// Whether there may be more.
    pub more: bool,
}

/// A pull request of the past, and what it tells.
#[derive(Clone, Debug, PartialEq)]
pub struct PastPull {
    pub pull: PullRequest,
    pub events: Vec<NewEvent>,
    pub updated_ms: i64,
}

/// What a list of the past is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastList {
    Issues,
    Comments,
    ReviewComments,
    Releases,
}

impl GitHub {
    /// Pull requests of all states, the last opened first. What cannot be read is left out.
    pub async fn past_pulls(&self, repo: &Repository, page: u32) -> Result<PastPage<PastPull>, GitHubError> {
        let path = format!(
            "{}/pulls?state=all&sort=created&direction=desc&per_page={PAGE_ITEMS}&page={page}",
            repo_path(&repo.name)
        );
        let found: Vec<Value> = self.get(repo.installation, &path).await?;
        let more = found.len() == PAGE_ITEMS;
        let items = found.into_iter().filter_map(|value| {
            let events = activity::pull(&value);
            let updated_ms = value["updated_at"].as_str().and_then(wire::time_ms).unwrap_or(0);
            let pull: wire::Pull = serde_json::from_value(value).ok()?;
            Some(PastPull { pull: pull.into(), events, updated_ms })
        });
        Ok(PastPage { items: items.collect(), more })
    }

    /// The reviews of one pull request that were sent.
    pub async fn past_reviews(&self, repo: &Repository, number: u64) -> Result<Vec<NewEvent>, GitHubError> {
        let path = format!("{}/pulls/{number}/reviews", repo_path(&repo.name));
        let all = self.list(repo.installation, &path, |page: Vec<Value>| page).await?;
        Ok(all.items.iter().filter_map(|review| activity::review(number, review)).collect())
    }

    /// A page of what happened since then, the last changed last.
    pub async fn past_events(
        &self,
        repo: &Repository,
        list: PastList,
        since: &str,
        page: u32,
    ) -> Result<PastPage<NewEvent>, GitHubError> {
        let name = match list {
            PastList::Issues => "issues?state=all&",
            PastList::Comments => "issues/comments?",
            PastList::ReviewComments => "pulls/comments?",
            PastList::Releases => "releases?",
        };
        let path = format!(
            "{}/{name}sort=updated&direction=asc&since={since}&per_page={PAGE_ITEMS}&page={page}",
            repo_path(&repo.name)
        );
        let found: Vec<Value> = self.get(repo.installation, &path).await?;
        let more = found.len() == PAGE_ITEMS;
        let mut items = Vec::new();
        for value in &found {
            match list {
                PastList::Issues => items.extend(activity::issue(value)),
                PastList::Comments => {
                    let number = number_of(&value["issue_url"]);
                    items.extend(number.and_then(|n| activity::comment(activity::Kind::Comment, n, value)));
                }
                PastList::ReviewComments => {
                    let number = number_of(&value["pull_request_url"]);
                    items.extend(
                        number.and_then(|n| activity::comment(activity::Kind::ReviewComment, n, value)),
                    );
                }
                PastList::Releases => items.extend(activity::release(value)),
            }
        }
        Ok(PastPage { items, more })
    }

    /// Stars, forks and watchers now.
    pub async fn counts(&self, repo: &Repository) -> Result<Counts, GitHubError> {
        let found: Value = self.get(repo.installation, &repo_path(&repo.name)).await?;
        let count = |name: &str| found[name].as_i64().unwrap_or(0).max(0);
        Ok(Counts {
            at_ms: self.clock().now_ms(),
            stars: count("stargazers_count"),
            forks: count("forks_count"),
            watchers: count("subscribers_count"),
        })
    }
}

/// The number at the end of an address such as `https://api.github.com/repos/o/r/issues/7`.
fn number_of(url: &Value) -> Option<u64> {
    url.as_str()?.rsplit('/').next()?.parse().ok()
}
