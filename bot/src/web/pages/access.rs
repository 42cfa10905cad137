//! Who may see what, and reading addresses: the one place where a page gets at a repository.
//!
//! Pages of a private repository need sign-in; nobody can sign in yet, so the answer is no, the same as for something
//! that does not exist.

use super::Site;
use super::error::PageError;
use crate::db::jobs::Job;
use crate::db::{jobs, repositories};
use crate::pull::{RepoName, Repository};
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRef, FromRequestParts, Path};
use axum::http::request::Parts;
use perfsuite::model::JobId;

/// A repository that this visitor may read: made in this file only.
pub struct Readable(Repository);

impl Readable {
    fn check(repository: Repository) -> Result<Self, PageError> {
        if repository.private { Err(PageError::NotFound) } else { Ok(Self(repository)) }
    }
}

impl std::ops::Deref for Readable {
    type Target = Repository;

    fn deref(&self) -> &Repository {
        &self.0
    }
}

async fn repository(site: &Site, owner: &str, name: &str) -> Result<Readable, PageError> {
    let name: RepoName = format!("{owner}/{name}").parse().map_err(|_| PageError::NotFound)?;
    let repository = repositories::by_name(&site.db, &name).await?;
    Readable::check(repository.ok_or(PageError::NotFound)?)
}

/// `/{owner}/{name}`
pub struct AtRepository(pub Readable);

impl<S> FromRequestParts<S> for AtRepository
where
    S: Send + Sync,
    Site: FromRef<S>,
{
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageError> {
        let path: Result<Path<(String, String)>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        let Ok(Path((owner, name))) = path else { return Err(PageError::NotFound) };
        repository(&Site::from_ref(state), &owner, &name).await.map(Self)
    }
}

/// `/{owner}/{name}/…/{number}`; whether there is such a pull request is for the page to see.
pub struct AtPull {
    pub repository: Readable,
    pub number: u64,
}

impl<S> FromRequestParts<S> for AtPull
where
    S: Send + Sync,
    Site: FromRef<S>,
{
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageError> {
        let path: Result<Path<(String, String, String)>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        let Ok(Path((owner, name, number))) = path else { return Err(PageError::NotFound) };
        let number = pull_number(&number).ok_or(PageError::NotFound)?;
        Ok(Self { repository: repository(&Site::from_ref(state), &owner, &name).await?, number })
    }
}

/// Digits only, no leading zero, below 2^53 so that programs in any language read it back.
fn pull_number(text: &str) -> Option<u64> {
    let digits = text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if digits { text.parse().ok() } else { None }
}

/// `/runs/{job}`
pub struct AtRun {
    pub repository: Readable,
    pub job: Job,
}

impl<S> FromRequestParts<S> for AtRun
where
    S: Send + Sync,
    Site: FromRef<S>,
{
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageError> {
        let path: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        let Ok(Path(id)) = path else { return Err(PageError::NotFound) };
        if !is_job_id(&id) {
            return Err(PageError::NotFound);
        }
        let site = Site::from_ref(state);
        let job = jobs::get(site.db.pool(), &JobId(id)).await?.ok_or(PageError::NotFound)?;
        let repository =
            repositories::by_id(site.db.pool(), job.repository).await?.ok_or(PageError::NotFound)?;
        Ok(Self { repository: Readable::check(repository)?, job })
    }
}

/// A UUID as we write it: lower-case, with dashes.
fn is_job_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_pull_requests_are_plain() {
        assert_eq!(pull_number("7"), Some(7));
        for bad in ["", "0", "07", "-1", "+1", "1e3", "99999999999999999999", "٣"] {
            assert_eq!(pull_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn job_ids_are_uuids() {
        assert!(is_job_id("0193f2a0-0000-7000-8000-00000000abcd"));
        for bad in ["", "1", "0193F2A0-0000-7000-8000-00000000ABCD", "0193f2a0+0000-7000-8000-00000000abcd"] {
            assert!(!is_job_id(bad), "{bad}");
        }
    }
}
