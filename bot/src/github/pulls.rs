//! What GitHub knows: repositories, pull requests, their commits and files, people's permissions.

use super::transport::{Listing, segment};
use super::{GitHub, GitHubError, wire};
use crate::pull::{
    ChangedPath, Commit, InstallationId, MergeSettings, Permission, PullRequest, PullText, RepoName,
    Repository,
};

/// GitHub ends the list of a pull request's commits here, without a word.
const COMMITS_LISTED_MAX: usize = 250;
/// And the list of its files here.
const FILES_LISTED_MAX: usize = 3_000;

impl GitHub {
    pub async fn repository(
        &self,
        installation: InstallationId,
        name: &RepoName,
    ) -> Result<Repository, GitHubError> {
        self.repository_and_settings(installation, name).await.map(|(repository, _)| repository)
    }

    /// A repository, and how pull requests may land there.
    pub async fn repository_and_settings(
        &self,
        installation: InstallationId,
        name: &RepoName,
    ) -> Result<(Repository, MergeSettings), GitHubError> {
        let path = repo_path(name);
        let found: wire::Repository = self.get(installation, &path).await?;
        let settings = found.settings();
        Ok((found.known(installation)?, settings))
    }

    /// Every repository that an installation covers.
    pub async fn repositories(&self, installation: InstallationId) -> Result<Vec<Repository>, GitHubError> {
        let items_of = |page: wire::Repositories| page.repositories;
        let all = self.list(installation, "/installation/repositories", items_of).await?;
        all.items.into_iter().map(|r| r.known(installation)).collect()
    }

    pub async fn pull_request(&self, repo: &Repository, number: u64) -> Result<PullRequest, GitHubError> {
        self.pull_request_and_text(repo, number).await.map(|(pull, _)| pull)
    }

    /// A pull request, and what it says of how it will land.
    pub async fn pull_request_and_text(
        &self,
        repo: &Repository,
        number: u64,
    ) -> Result<(PullRequest, PullText), GitHubError> {
        let path = format!("{}/pulls/{number}", repo_path(&repo.name));
        let mut found: wire::Pull = self.get(repo.installation, &path).await?;
        let text = found.text();
        Ok((found.into(), text))
    }

    pub async fn open_pulls(&self, repo: &Repository) -> Result<Vec<PullRequest>, GitHubError> {
        let path = format!("{}/pulls?state=open", repo_path(&repo.name));
        let all = self.list(repo.installation, &path, |page: Vec<wire::Pull>| page).await?;
        Ok(all.items.into_iter().map(Into::into).collect())
    }

    /// The commits of a pull request, oldest first. Incomplete at GitHub's bound of 250: ask git then.
    pub async fn commits(&self, repo: &Repository, number: u64) -> Result<Listing<Commit>, GitHubError> {
        let path = format!("{}/pulls/{number}/commits", repo_path(&repo.name));
        let all = self.list(repo.installation, &path, |page: Vec<wire::Commit>| page).await?;
        let complete = all.complete && all.items.len() < COMMITS_LISTED_MAX;
        Ok(Listing { items: all.items.into_iter().map(Into::into).collect(), complete })
    }

    /// The files that a pull request changes. Incomplete at GitHub's bound of 3,000: ask git then.
    pub async fn files(&self, repo: &Repository, number: u64) -> Result<Listing<ChangedPath>, GitHubError> {
        let path = format!("{}/pulls/{number}/files", repo_path(&repo.name));
        let all = self.list(repo.installation, &path, |page: Vec<wire::File>| page).await?;
        let complete = all.complete && all.items.len() < FILES_LISTED_MAX;
        Ok(Listing { items: all.items.into_iter().map(Into::into).collect(), complete })
    }

    /// What a person may do on a repository; somebody unknown may do nothing.
    pub async fn permission(&self, repo: &Repository, login: &str) -> Result<Permission, GitHubError> {
        let path = format!("{}/collaborators/{}/permission", repo_path(&repo.name), segment(login));
        match self.get::<wire::PermissionAnswer>(repo.installation, &path).await {
            Ok(answer) => Ok(permission_of(&answer)),
            Err(GitHubError::NotFound { .. }) => Ok(Permission::None),
            Err(e) => Err(e),
        }
    }
}

/// `/repos/owner/name`.
pub(super) fn repo_path(name: &RepoName) -> String {
    format!("/repos/{}/{}", segment(&name.owner), segment(&name.name))
}

/// `role_name` knows all five roles; an organisation's own role falls back to the older `permission`, which has the
/// nearest of four.
pub(super) fn permission_of(answer: &wire::PermissionAnswer) -> Permission {
    let named = |name: &str| match name {
        "admin" => Some(Permission::Admin),
        "maintain" => Some(Permission::Maintain),
        "write" | "push" => Some(Permission::Write),
        "triage" => Some(Permission::Triage),
        "read" | "pull" => Some(Permission::Read),
        "none" => Some(Permission::None),
        _ => None,
    };
    named(&answer.role_name).or_else(|| named(&answer.permission)).unwrap_or(Permission::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_become_permissions() {
        let cases = [
            ("admin", "admin", Permission::Admin),
            ("write", "maintain", Permission::Maintain),
            ("read", "triage", Permission::Triage),
            ("write", "security-champion", Permission::Write),
            ("write", "", Permission::Write),
            ("none", "none", Permission::None),
            ("", "", Permission::None),
            ("superuser", "superuser", Permission::None),
        ];
        for (permission, role_name, expected) in cases {
            let answer = wire::PermissionAnswer {
                permission: permission.into(),
                role_name: role_name.into(),
                user: None,
            };
            assert_eq!(permission_of(&answer), expected, "{permission} {role_name}");
        }
    }
}
