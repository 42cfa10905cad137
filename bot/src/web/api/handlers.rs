//! What each address of the API answers: permit, load, answer.

use super::query::{Asked, cursor};
use crate::compared::Compared;
use crate::contributors as measured;
use crate::db::overview::{self, PullSummary};
use crate::db::{counts as counted, repositories as known};
use crate::judgement::Run;
use crate::measures::DAY_MS;
use crate::measures::health::{Counts, Health};
use crate::measures::people::Person;
use crate::measures::person::PersonRecord;
use crate::pull::PullState;
use crate::runs;
use crate::service::{self as levels, Service};
use crate::story::Story;
use crate::web::pages::access::{self, AtPerson, AtPull, AtRange, AtRepository, AtRun};
use crate::web::pages::calibration::{self as calibrated, RunnerCalibration};
use crate::web::pages::error::{ApiError, PageError};
use crate::web::pages::history::Choice;
use crate::web::pages::history_export::Shown;
use crate::web::pages::{Site, compare as compare_page, history as history_page, story as told};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, RawQuery, State};
use schemars::JsonSchema;
use serde::Serialize;

type Answer<T> = Result<Json<T>, ApiError>;
type At<T> = Result<T, PageError>;

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// What `after` wants for the next page; null at the end.
    pub next: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct RepositoryItem {
    /// `owner/name`
    pub name: String,
    pub private: bool,
    pub default_branch: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct PullItem {
    pub number: u64,
    pub title: String,
    pub author: String,
    /// `open`, `closed` or `merged`.
    pub state: PullWord,
    pub draft: bool,
    pub head: String,
    pub opened_ms: i64,
    pub updated_ms: i64,
    /// The newest job of the present head.
    pub run: Option<String>,
    /// Rows of that job that fail the check.
    pub blocking: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PullWord {
    Open,
    Closed,
    Merged,
}

/// `GET /api/v1/repositories`
pub async fn repositories(
    State(site): State<Site>,
    RawQuery(query): RawQuery,
) -> Answer<Page<RepositoryItem>> {
    let asked = Asked::of(query.as_deref(), &["limit", "after"])?;
    let (limit, after) = (asked.limit()?, asked.after()?);
    let after = after.unwrap_or_default();
    let (owner, name) = after.split_once('/').unwrap_or_default();
    let readable = access::readable(&site).await.map_err(ApiError::from)?;
    let mut found = known::after(&site.db, &readable, owner, name, limit as i64 + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    Ok(Json(Page {
        next: found.last().filter(|_| more).map(|last| cursor(&last.name.to_string())),
        items: found
            .into_iter()
            .map(|one| RepositoryItem {
                name: one.name.to_string(),
                private: one.private,
                default_branch: one.default_branch,
            })
            .collect(),
    }))
}

/// `GET /api/v1/repositories/{owner}/{name}`
pub async fn repository(RawQuery(query): RawQuery, at: At<AtRepository>) -> Answer<RepositoryItem> {
    let AtRepository(repository) = at?;
    Asked::of(query.as_deref(), &[])?;
    Ok(Json(RepositoryItem {
        name: repository.name.to_string(),
        private: repository.private,
        default_branch: repository.default_branch.clone(),
    }))
}

/// `GET /api/v1/repositories/{owner}/{name}/pulls`
pub async fn pulls(
    State(site): State<Site>,
    RawQuery(query): RawQuery,
    at: At<AtRepository>,
) -> Answer<Page<PullItem>> {
    let AtRepository(repository) = at?;
    let asked = Asked::of(query.as_deref(), &["limit", "after"])?;
    let (limit, after) = (asked.limit()?, asked.after()?);
    let before = match after {
        None => u64::MAX,
        Some(text) => {
            text.parse().map_err(|_| ApiError::bad("after wants the next of an earlier answer."))?
        }
    };
    let mut found = overview::pulls(&site.db, repository.id, before, limit as i64 + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    Ok(Json(Page {
        next: found.last().filter(|_| more).map(|last| cursor(&last.row.pull.number.to_string())),
        items: found.into_iter().map(item).collect(),
    }))
}

fn item(summary: PullSummary) -> PullItem {
    let pull = summary.row.pull;
    PullItem {
        number: pull.number,
        title: pull.title,
        author: pull.author,
        state: match pull.state {
            PullState::Open => PullWord::Open,
            PullState::Closed => PullWord::Closed,
            PullState::Merged => PullWord::Merged,
        },
        draft: pull.draft,
        head: pull.head_sha.to_string(),
        opened_ms: pull.opened_ms,
        updated_ms: summary.row.updated_ms,
        blocking: summary.job.as_ref().map_or(0, |job| job.tally.blocking),
        run: summary.job.map(|job| job.id.0),
    }
}

/// `GET /api/v1/runs/{job}`
pub async fn run(State(site): State<Site>, RawQuery(query): RawQuery, at: At<AtRun>) -> Answer<Run> {
    let AtRun { repository, job } = at?;
    Asked::of(query.as_deref(), &[])?;
    let mut connection = site.db.pool().acquire().await?;
    let loaded = runs::of_job(&mut connection, &repository, job, site.clock.now_ms()).await?;
    Ok(Json(loaded.ok_or(PageError::NotFound)?.run))
}

/// `GET /api/v1/repositories/{owner}/{name}/pulls/{number}`: the run of the present head.
pub async fn pull(State(site): State<Site>, RawQuery(query): RawQuery, at: At<AtPull>) -> Answer<Run> {
    let AtPull { repository, number } = at?;
    Asked::of(query.as_deref(), &[])?;
    let mut connection = site.db.pool().acquire().await?;
    let loaded = runs::load(&mut connection, &repository, number, site.clock.now_ms()).await?;
    Ok(Json(loaded.ok_or(PageError::NotFound)?.run))
}

/// `GET /api/v1/repositories/{owner}/{name}/pulls/{number}/story`
pub async fn story(State(site): State<Site>, RawQuery(query): RawQuery, at: At<AtPull>) -> Answer<Story> {
    let AtPull { repository, number } = at?;
    Asked::of(query.as_deref(), &[])?;
    Ok(Json(told::load(&site, &repository, number).await?))
}

/// `GET /api/v1/repositories/{owner}/{name}/health`
pub async fn health(
    State(site): State<Site>,
    RawQuery(query): RawQuery,
    at: At<AtRepository>,
) -> Answer<Health> {
    let AtRepository(repository) = at?;
    let days = Asked::of(query.as_deref(), &["days"])?.days()?;
    Ok(Json(measured::health(&site.db, &repository, days, site.clock.now_ms()).await?))
}

/// `GET /api/v1/repositories/{owner}/{name}/contributors`
pub async fn contributors(
    State(site): State<Site>,
    RawQuery(query): RawQuery,
    at: At<AtRepository>,
) -> Answer<Page<Person>> {
    let AtRepository(repository) = at?;
    let asked = Asked::of(query.as_deref(), &["days", "limit", "after"])?;
    let (days, limit, after) = (asked.days()?, asked.limit()?, asked.after()?);
    let mut people = measured::health(&site.db, &repository, days, site.clock.now_ms()).await?.people;
    if let Some(after) = after {
        let at = people.iter().position(|person| person.login.eq_ignore_ascii_case(&after));
        people.drain(..at.map_or(people.len(), |at| at + 1));
    }
    let more = people.len() > limit;
    people.truncate(limit);
    Ok(Json(Page { next: people.last().filter(|_| more).map(|last| cursor(&last.login)), items: people }))
}

/// `GET /api/v1/repositories/{owner}/{name}/contributors/{login}`
pub async fn contributor(
    State(site): State<Site>,
    RawQuery(query): RawQuery,
    at: At<AtPerson>,
) -> Answer<PersonRecord> {
    let AtPerson { repository, login } = at?;
    let days = Asked::of(query.as_deref(), &["days"])?.days()?;
    let record = measured::person(&site.db, &repository, &login, days, site.clock.now_ms()).await?;
    Ok(Json(record.ok_or(PageError::NotFound)?))
}

/// `GET /api/v1/repositories/{owner}/{name}/calibration`
pub async fn calibration(
    State(site): State<Site>,
    RawQuery(query): RawQuery,
    at: At<AtRepository>,
) -> Answer<Vec<RunnerCalibration>> {
    let AtRepository(repository) = at?;
    Asked::of(query.as_deref(), &[])?;
    Ok(Json(calibrated::load(&site, &repository).await?))
}

/// `GET /api/v1/repositories/{owner}/{name}/counts`: hourly samples of the period, the oldest first.
pub async fn counts(
    State(site): State<Site>,
    RawQuery(query): RawQuery,
    at: At<AtRepository>,
) -> Answer<Vec<Counts>> {
    let AtRepository(repository) = at?;
    let days = Asked::of(query.as_deref(), &["days"])?.days()?;
    let since_ms = site.clock.now_ms() - days * DAY_MS;
    Ok(Json(counted::since(&site.db, repository.id, since_ms).await?))
}

/// `GET /api/v1/repositories/{owner}/{name}/history`
pub async fn history(
    State(site): State<Site>,
    RawQuery(query): RawQuery,
    at: At<AtRepository>,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Answer<Shown> {
    let AtRepository(repository) = at?;
    Asked::of(query.as_deref(), &["suite", "benchmark", "metric", "from", "to"])?;
    let Query(choice) = choice.map_err(|_| ApiError::bad("from and to want whole numbers."))?;
    Ok(Json(history_page::shown(&site, &repository, &choice).await?))
}

/// `GET /api/v1/repositories/{owner}/{name}/compare/{range}`
pub async fn compare(
    State(site): State<Site>,
    RawQuery(query): RawQuery,
    at: At<AtRange>,
) -> Answer<Compared> {
    let at = at?;
    Asked::of(query.as_deref(), &[])?;
    Ok(Json(compare_page::found(&site, &at).await?))
}

/// `GET /api/v1/service`
pub async fn service(State(site): State<Site>, RawQuery(query): RawQuery) -> Answer<Service> {
    Asked::of(query.as_deref(), &[])?;
    Ok(Json(levels::service(&site.db, site.clock.now_ms()).await?))
}
