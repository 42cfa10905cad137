//! `/setup`: whether the App, its permissions and the way from GitHub to this server are as they should be, in words.

use super::frame;
use super::pages::error::PageError;
use super::pages::parts::{Badge, Kind};
use crate::app::App;
use crate::setup::try_out;
use askama::Template;
use axum::extract::State;
use axum::response::Html;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "pages/setup.html")]
struct SetupPage {
    lines: Vec<(Badge, String)>,
    good: bool,
}

/// For whom the server names as its admins; while it names none, for whoever sets it up.
pub async fn show(State(app): State<Arc<App>>) -> Result<Html<String>, PageError> {
    let admin = frame::visitor().is_some_and(|visitor| visitor.admin);
    if !admin && !app.config.access.admins.is_empty() {
        return Err(PageError::NotFound);
    }
    let tried = app.self_test.answer(|| try_out(&app.config, &app.github)).await;
    let page = SetupPage {
        good: tried.iter().all(|one| one.good),
        lines: tried
            .into_iter()
            .map(|one| match one.good {
                true => (Badge::new(Kind::Fine, "ok"), one.words),
                false => (Badge::new(Kind::Broken, "missing"), one.words),
            })
            .collect(),
    };
    Ok(Html(page.render().map_err(anyhow::Error::from)?))
}
