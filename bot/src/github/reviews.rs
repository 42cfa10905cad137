//! What people said of a pull request, and who is in a team.

use super::pulls::repo_path;
use super::transport::segment;
use super::{GitHub, GitHubError, wire};
use crate::pull::{InstallationId, Repository, Review};

impl GitHub {
    /// Every review of a pull request, the oldest first.
    pub async fn reviews(&self, repo: &Repository, number: u64) -> Result<Vec<Review>, GitHubError> {
        let path = format!("{}/pulls/{number}/reviews", repo_path(&repo.name));
        let all = self.list(repo.installation, &path, |page: Vec<wire::Review>| page).await?;
        Ok(all.items.into_iter().map(Into::into).collect())
    }

    /// The logins of a team's members, those of teams within it included. `None` where the App may not read them, or
    /// there is no such team: GitHub tells these apart for nobody.
    pub async fn team_members(
        &self,
        installation: InstallationId,
        org: &str,
        team: &str,
    ) -> Result<Option<Vec<String>>, GitHubError> {
        let path = format!("/orgs/{}/teams/{}/members", segment(org), segment(team));
        match self.list(installation, &path, |page: Vec<wire::Member>| page).await {
            Ok(all) => Ok(Some(all.items.into_iter().map(|member| member.login).collect())),
            Err(GitHubError::NotFound { .. } | GitHubError::Forbidden { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
