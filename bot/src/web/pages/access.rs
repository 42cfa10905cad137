//! Who may see what, and reading addresses: the one place where a page gets at a repository.
//!
//! Pages of a private repository need sign-in and the right to read it, by GitHub's answer. Without them the answer is
//! the same as for something that does not exist.

use super::Site;
use super::error::PageError;
use crate::access::Readables;
use crate::db::jobs::Job;
use crate::db::{jobs, repositories};
use crate::pull::{RepoName, Repository};
use crate::web::frame;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRef, FromRequestParts, Path};
use axum::http::request::Parts;
use perfsuite::model::JobId;
use serde::de::DeserializeOwned;

/// A repository that this visitor may read: made in this file only.
pub struct Readable(Repository);

impl Readable {
    async fn check(site: &Site, repository: Repository) -> Result<Self, PageError> {
        let visitor = frame::visitor().map(|visitor| visitor.person);
        match site.access.may_read(&repository, visitor.as_ref()).await {
            true => Ok(Self(repository)),
            false => Err(PageError::NotFound),
        }
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
    Readable::check(site, repository.ok_or(PageError::NotFound)?).await
}

/// The variable parts of an address. Where they cannot be read there is nothing.
async fn words<T, S>(parts: &mut Parts, state: &S) -> Result<T, PageError>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    let path: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
    path.map(|Path(words)| words).map_err(|_| PageError::NotFound)
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
        let (owner, name): (String, String) = words(parts, state).await?;
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
        let (owner, name, number): (String, String, String) = words(parts, state).await?;
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
        let id: String = words(parts, state).await?;
        run(&Site::from_ref(state), id).await
    }
}

async fn run(site: &Site, id: String) -> Result<AtRun, PageError> {
    if !is_job_id(&id) {
        return Err(PageError::NotFound);
    }
    let job = jobs::get(site.db.pool(), &JobId(id)).await?.ok_or(PageError::NotFound)?;
    let repository = repositories::by_id(site.db.pool(), job.repository).await?.ok_or(PageError::NotFound)?;
    Ok(AtRun { repository: Readable::check(site, repository).await?, job })
}

/// `/runs/{job}/…/{place}` and what is below it.
pub struct AtPlace {
    pub run: AtRun,
    /// Among the run's profiles, or its rows.
    pub place: usize,
    /// The last part of the address, where there is one.
    pub file: String,
}

impl<S> FromRequestParts<S> for AtPlace
where
    S: Send + Sync,
    Site: FromRef<S>,
{
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageError> {
        let words: Vec<(String, String)> = words(parts, state).await?;
        let word = |name: &str| words.iter().find(|(of, _)| of == name).map(|(_, word)| word.clone());
        let place = word("place").filter(|text| text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit()));
        let place = place.and_then(|text| text.parse().ok()).ok_or(PageError::NotFound)?;
        let id = word("job").ok_or(PageError::NotFound)?;
        let file = word("file").unwrap_or_default();
        Ok(Self { run: run(&Site::from_ref(state), id).await?, place, file })
    }
}

/// `/{owner}/{name}/compare/{range}`; whether there are such commits is for the page to see.
pub struct AtRange {
    pub repository: Readable,
    /// Names of two commits.
    pub base: String,
    pub head: String,
}

impl<S> FromRequestParts<S> for AtRange
where
    S: Send + Sync,
    Site: FromRef<S>,
{
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageError> {
        let (owner, name, range): (String, String, String) = words(parts, state).await?;
        let (base, head) = range.split_once("...").ok_or(PageError::NotFound)?;
        let named = [base, head].into_iter().all(is_commit_name);
        if !named {
            return Err(PageError::NotFound);
        }
        let repository = repository(&Site::from_ref(state), &owner, &name).await?;
        Ok(Self { repository, base: base.to_ascii_lowercase(), head: head.to_ascii_lowercase() })
    }
}

/// A commit's id, or its beginning: so short that few other commits begin alike.
pub fn is_commit_name(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `/{owner}/{name}/…/{login}`
pub struct AtPerson {
    pub repository: Readable,
    pub login: String,
}

impl AtPerson {
    /// The same where a suffix follows the last part.
    pub async fn named<S>(parts: &mut Parts, state: &S, suffix: &str) -> Result<Self, PageError>
    where
        S: Send + Sync,
        Site: FromRef<S>,
    {
        let (owner, name, login): (String, String, String) = words(parts, state).await?;
        let login = login.strip_suffix(suffix).filter(|login| is_login(login)).ok_or(PageError::NotFound)?;
        Ok(Self {
            repository: repository(&Site::from_ref(state), &owner, &name).await?,
            login: login.to_owned(),
        })
    }
}

impl<S> FromRequestParts<S> for AtPerson
where
    S: Send + Sync,
    Site: FromRef<S>,
{
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, PageError> {
        Self::named(parts, state, "").await
    }
}

/// GitHub's logins, those of bots and of managed users included.
fn is_login(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_[]".contains(&b))
}

/// The repositories that lists may name to this visitor.
pub async fn readable(site: &Site) -> Result<Readables, PageError> {
    /// Asked of GitHub one by one and remembered for a minute; an organisation with more has the address bar.
    const ASKED_MAX: i64 = 200;
    let visitor = frame::visitor().map(|visitor| visitor.person);
    let mut readables =
        Readables { public: site.access.public_pages() || visitor.is_some(), ids: Vec::new() };
    let Some(person) = visitor else { return Ok(readables) };
    let private = repositories::private(&site.db, ASKED_MAX).await?;
    for some in private.chunks(ASKED_AT_ONCE) {
        let asked = some.iter().map(|repository| async {
            site.access.may_read(repository, Some(&person)).await.then_some(repository.id)
        });
        readables.ids.extend(futures_util::future::join_all(asked).await.into_iter().flatten());
    }
    Ok(readables)
}

/// Questions to GitHub at the same time.
const ASKED_AT_ONCE: usize = 8;

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
    fn commits_are_named_by_their_ids() {
        assert!(is_commit_name("a1b2c3d") && is_commit_name(&"A".repeat(40)));
        for bad in ["", "a1b2c3", "main", "a1b2c3g", "a1b2c3d^", &"a".repeat(65)] {
            assert!(!is_commit_name(bad), "{bad}");
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
