//! Labels of pull requests.

use super::pulls::repo_path;
use super::transport::segment;
use super::{GitHub, GitHubError};
use crate::pull::Repository;
use http::Method;
use serde_json::{Value, json};

impl GitHub {
    /// Sets a label, which GitHub makes where there is none of that name. Again changes nothing.
    pub async fn add_label(&self, repo: &Repository, number: u64, label: &str) -> Result<(), GitHubError> {
        let path = format!("{}/issues/{number}/labels", repo_path(&repo.name));
        let body = json!({ "labels": [label] });
        let _: Value = self.write(repo.installation, Method::POST, &path, &body).await?;
        Ok(())
    }

    /// Takes a label away. One that is not there, or no longer, is as it should be.
    pub async fn remove_label(&self, repo: &Repository, number: u64, label: &str) -> Result<(), GitHubError> {
        let path = format!("{}/issues/{number}/labels/{}", repo_path(&repo.name), segment(label));
        let caller = self.as_installation(repo.installation).await?;
        match self.transport().write_nothing(Method::DELETE, &path, &caller).await {
            Ok(_) | Err(GitHubError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
