//! `/me`: what is kept of the visitor, leaving, and being left out.

use super::error::PageError;
use super::sign_in::{Sent, proven};
use super::{Page, Site, render};
use crate::db::opt_outs;
use crate::web::frame;
use askama::Template;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

#[derive(Template)]
#[template(path = "pages/me.html")]
struct MePage {
    login: String,
    left_out: bool,
    csrf: String,
}

pub async fn show(State(site): State<Site>) -> Page {
    let visitor = frame::visitor().ok_or(PageError::NotFound)?;
    let left_out = opt_outs::has(site.db.pool(), &visitor.person.login).await?;
    render(&MePage { login: super::parts::clean(&visitor.person.login), left_out, csrf: visitor.csrf })
}

/// `POST /me/leave-out`: named nowhere from now on.
pub async fn leave_out(State(site): State<Site>, form: Sent) -> Result<Response, PageError> {
    let visitor = proven(form)?;
    let mut tx = site.db.begin().await?;
    opt_outs::add(&mut tx, &visitor.person.login, site.clock.now_ms()).await?;
    tx.commit().await?;
    Ok(back())
}

/// `POST /me/take-in`: named again.
pub async fn take_in(State(site): State<Site>, form: Sent) -> Result<Response, PageError> {
    let visitor = proven(form)?;
    let mut tx = site.db.begin().await?;
    opt_outs::remove(&mut tx, &visitor.person.login).await?;
    tx.commit().await?;
    Ok(back())
}

/// `POST /me/delete`: left out, and the name taken off what was kept.
pub async fn delete(State(site): State<Site>, form: Sent) -> Result<Response, PageError> {
    let visitor = proven(form)?;
    let mut tx = site.db.begin().await?;
    opt_outs::add(&mut tx, &visitor.person.login, site.clock.now_ms()).await?;
    opt_outs::erase(&mut tx, &visitor.person.login).await?;
    tx.commit().await?;
    tracing::info!("a contributor was deleted at their own wish");
    Ok(back())
}

fn back() -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, "/me")]).into_response()
}
