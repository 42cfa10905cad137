//! The two pages of the set-up: a button that makes the App, and what to do next. They end with the App.

use super::{Wanted, keep};
use crate::github::{NewApp, convert_manifest, manifest};
use anyhow::Context;
use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use std::net::SocketAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

struct Setup {
    wanted: Wanted,
    address: SocketAddr,
    /// GitHub sends it back: a code that somebody else slips in does not have it.
    state: String,
    made: mpsc::Sender<NewApp>,
}

#[derive(Template)]
#[template(path = "setup/start.html")]
struct StartPage<'a> {
    action: String,
    manifest: String,
    name: &'a str,
    public_url: &'a str,
    owner: &'a str,
    dir: String,
}

#[derive(Template)]
#[template(path = "setup/done.html")]
struct DonePage<'a> {
    slug: &'a str,
    install: String,
    config: String,
}

/// Answers until the App is made and kept.
pub async fn serve(listener: TcpListener, address: SocketAddr, wanted: Wanted) -> anyhow::Result<NewApp> {
    let (made, mut done) = mpsc::channel(1);
    let state = hex::encode(rand::random::<[u8; 16]>());
    let setup = Arc::new(Setup { wanted, address, state, made });
    let router = Router::new()
        .route("/", get(start))
        .route("/setup", get(start))
        .route("/created", get(created))
        .with_state(setup);
    let server = axum::serve(listener, router);
    tokio::select! {
        ended = async { server.await } => {
            ended.context("the page ended")?;
            anyhow::bail!("the page ended before the App was made")
        }
        app = done.recv() => {
            // The browser has its answer by then, or a moment later.
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            app.context("the page ended before the App was made")
        }
    }
}

async fn start(State(setup): State<Arc<Setup>>) -> Response {
    let wanted = &setup.wanted;
    let place = match &wanted.org {
        Some(org) => format!("/organizations/{org}/settings/apps/new"),
        None => "/settings/apps/new".to_owned(),
    };
    let redirect = format!("http://{}/created", setup.address);
    page(&StartPage {
        action: format!("{}{place}?state={}", wanted.github, setup.state),
        manifest: manifest(&wanted.name, &wanted.public_url, &redirect).to_string(),
        name: &wanted.name,
        public_url: &wanted.public_url,
        owner: wanted.org.as_deref().unwrap_or("your own account"),
        dir: wanted.dir.display().to_string(),
    })
}

#[derive(Deserialize)]
struct Created {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
}

async fn created(State(setup): State<Arc<Setup>>, Query(created): Query<Created>) -> Response {
    let refuse = |words: String| (StatusCode::BAD_REQUEST, format!("{words}\n")).into_response();
    if !bool::from(created.state.as_bytes().ct_eq(setup.state.as_bytes())) {
        return refuse(
            "This did not come from the button on this machine's page; open that page again.".into(),
        );
    }
    let app = match convert_manifest(&setup.wanted.api_url, &created.code).await {
        Ok(app) => app,
        Err(error) => {
            return refuse(format!("{error}. Open the page again, and press the button once more."));
        }
    };
    if let Err(error) = keep::keep(&setup.wanted, &app) {
        // Its key cannot be had again: the owner makes another one on the App's page.
        return refuse(format!(
            "The App {} is made, but {error:#}. Make a new key on {}.",
            app.slug, app.html_url
        ));
    }
    let answer = page(&DonePage {
        slug: &app.slug,
        install: format!("{}/installations/new", app.html_url),
        config: setup.wanted.dir.join(keep::CONFIG).display().to_string(),
    });
    // Nobody waits any more when the App was made twice.
    let _ = setup.made.try_send(app);
    answer
}

fn page(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
