//! Comments and reactions: what we write below a pull request, and how we find it again.

use super::pulls::repo_path;
use super::text::cut_markdown;
use super::{GitHub, GitHubError, wire};
use crate::outgoing::TEXT_MAX_CHARS;
use crate::pull::Repository;
use http::Method;
use serde_json::json;

/// A comment's text as GitHub keeps it: cut to its bound, with its line ends, without blanks around it.
pub fn shown(body: &str) -> String {
    cut_markdown(body, TEXT_MAX_CHARS).replace("\r\n", "\n").trim().to_owned()
}

impl GitHub {
    /// Our comment on a pull request that starts with `marker`, the oldest if there are several. The author must be
    /// the App's own bot user: anybody can copy a marker, nobody else can write under that name.
    pub async fn find_comment(
        &self,
        repo: &Repository,
        number: u64,
        marker: &str,
    ) -> Result<Option<i64>, GitHubError> {
        let login = self.identity().await?.bot_login();
        let path = format!("{}/issues/{number}/comments", repo_path(&repo.name));
        let all = self.list(repo.installation, &path, |page: Vec<wire::Comment>| page).await?;
        let ours = |comment: &wire::Comment| {
            let author =
                comment.user.as_ref().is_some_and(|u| u.is_bot() && u.login.eq_ignore_ascii_case(&login));
            author && comment.body.as_deref().unwrap_or("").trim_start().starts_with(marker)
        };
        let found = all.items.iter().filter(|c| ours(c)).map(|c| c.id).min();
        match found {
            None if !all.complete => {
                Err(GitHubError::malformed(&path, "more comments than we read: ours may be among the rest"))
            }
            found => Ok(found),
        }
    }

    /// The new comment's id. Sent once: after a fault, look with `find_comment` before trying again.
    pub async fn create_comment(
        &self,
        repo: &Repository,
        number: u64,
        body: &str,
    ) -> Result<i64, GitHubError> {
        let path = format!("{}/issues/{number}/comments", repo_path(&repo.name));
        let body = json!({ "body": cut_markdown(body, TEXT_MAX_CHARS) });
        let made: wire::Made = self.write(repo.installation, Method::POST, &path, &body).await?;
        Ok(made.id)
    }

    /// [`GitHubError::NotFound`] when somebody deleted it: create it anew.
    pub async fn update_comment(
        &self,
        repo: &Repository,
        comment: i64,
        body: &str,
    ) -> Result<(), GitHubError> {
        let path = format!("{}/issues/comments/{comment}", repo_path(&repo.name));
        let body = json!({ "body": cut_markdown(body, TEXT_MAX_CHARS) });
        let _: wire::Made = self.write(repo.installation, Method::PATCH, &path, &body).await?;
        Ok(())
    }

    /// The text of a comment of ours as GitHub has it now; `None` when it is gone.
    pub async fn comment_body(&self, repo: &Repository, comment: i64) -> Result<Option<String>, GitHubError> {
        let path = format!("{}/issues/comments/{comment}", repo_path(&repo.name));
        match self.get::<wire::Comment>(repo.installation, &path).await {
            Ok(found) => Ok(Some(found.body.unwrap_or_default())),
            Err(GitHubError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A reaction on a comment, and its id. GitHub keeps one of a kind for each user, so repeating it changes
    /// nothing.
    pub async fn create_reaction(
        &self,
        repo: &Repository,
        comment: i64,
        content: &str,
    ) -> Result<i64, GitHubError> {
        let path = format!("{}/issues/comments/{comment}/reactions", repo_path(&repo.name));
        let made: wire::Made =
            self.write(repo.installation, Method::POST, &path, &json!({ "content": content })).await?;
        Ok(made.id)
    }
}
