//! `POST /{owner}/{name}/history/…`: what people who could push say of a history. Everybody else finds nothing here.

use super::access::{AtRepository, Readable};
use super::error::PageError;
use super::sign_in::{Fields, Sent, proven_fields};
use super::{Site, history_list, render};
use crate::db::series::Key;
use crate::error::UserError;
use crate::history::curate::{self, Benchmark, Said};
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

/// A form of somebody who may command here.
struct Order {
    by: String,
    fields: Fields,
    /// The series that it was filled in at.
    key: Key,
}

impl Order {
    async fn read(site: &Site, repository: &Readable, form: Sent) -> Result<Self, PageError> {
        let (visitor, fields) = proven_fields(form)?;
        if !site.access.may_command(repository, &visitor.person).await {
            return Err(PageError::NotFound);
        }
        // PostgreSQL's text has no U+0000.
        let named = |name: &str| fields.get(name).replace('\0', "");
        let key = Key { suite: named("suite"), benchmark: named("benchmark"), metric: named("metric") };
        Ok(Self { by: visitor.person.login, fields, key })
    }

    fn said<'a>(&'a self, site: &'a Site) -> Said<'a> {
        Said { by: &self.by, clock: &site.clock }
    }

    fn benchmark(&self, repository: &Readable) -> Benchmark<'_> {
        Benchmark { repository: repository.id, suite: &self.key.suite, name: &self.key.benchmark }
    }

    /// Back to the series, or a page with what was wrong.
    fn answer(&self, repository: &Readable, done: anyhow::Result<()>) -> Result<Response, PageError> {
        let back = history_list::address(&repository.name.to_string(), &self.key);
        match done {
            // A form that was sent is not sent again by a reload.
            Ok(()) => Ok(Redirect::to(&back).into_response()),
            Err(error) => match error.downcast::<UserError>() {
                Ok(refused) => {
                    let page = RefusedPage { words: refused.to_string(), back };
                    Ok((StatusCode::BAD_REQUEST, render(&page)?).into_response())
                }
                Err(error) => match error.downcast::<sqlx::Error>() {
                    Ok(database) => Err(database.into()),
                    Err(error) => Err(error.into()),
                },
            },
        }
    }
}

#[derive(Template)]
#[template(path = "pages/not_done.html")]
struct RefusedPage {
    words: String,
    back: String,
}

/// Takes a change with a reason.
pub async fn accept(
    State(site): State<Site>,
    AtRepository(repository): AtRepository,
    form: Sent,
) -> Result<Response, PageError> {
    let order = Order::read(&site, &repository, form).await?;
    let (change, reason) = (order.fields.get("change").replace('\0', ""), order.fields.get("reason"));
    let done = curate::accept(&site.db, repository.id, &change, &reason, order.said(&site)).await;
    order.answer(&repository, done)
}

/// Has a benchmark go on under another name.
pub async fn rename(
    State(site): State<Site>,
    AtRepository(repository): AtRepository,
    form: Sent,
) -> Result<Response, PageError> {
    let order = Order::read(&site, &repository, form).await?;
    let (of, to) = (order.benchmark(&repository), order.fields.get("to"));
    let done = curate::rename(&site.db, of, &to, order.said(&site)).await;
    // The old name leads to the new one.
    order.answer(&repository, done)
}

/// Has a benchmark recorded only.
pub async fn quarantine(
    State(site): State<Site>,
    AtRepository(repository): AtRepository,
    form: Sent,
) -> Result<Response, PageError> {
    let order = Order::read(&site, &repository, form).await?;
    let (of, reason) = (order.benchmark(&repository), order.fields.get("reason"));
    let done = curate::quarantine(&site.db, of, &reason, order.said(&site)).await;
    order.answer(&repository, done)
}

/// Ends that.
pub async fn release(
    State(site): State<Site>,
    AtRepository(repository): AtRepository,
    form: Sent,
) -> Result<Response, PageError> {
    let order = Order::read(&site, &repository, form).await?;
    let done = curate::release(&site.db, order.benchmark(&repository), &site.clock).await;
    order.answer(&repository, done)
}
