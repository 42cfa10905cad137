//! `/{owner}/{name}/badge/{what}.svg`: a number for a README. Drawn here; nothing is asked of anybody else.

use super::Site;
use super::access::{AtPerson, Readable};
use super::error::PageError;
use super::figure;
use crate::contributors;
use crate::db::counts;
use crate::format;
use crate::measures::Measure;
use crate::pull::Repository;
use askama::Template;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

/// A badge in a README is asked for by everybody who reads it.
const KEPT: &str = "public, max-age=300";
/// Units of one character, about, at the badge's size.
const CHAR_WIDTH: usize = 7;
const PADDING: usize = 12;

#[derive(Template)]
#[template(path = "pages/badge.svg", escape = "html")]
struct BadgeSvg {
    label: String,
    value: String,
    label_width: usize,
    value_width: usize,
    width: usize,
    /// Darker where a target is met or none is set.
    fill: &'static str,
}

/// The last part of the path has the alphabet of a login, and a suffix.
pub async fn show(State(site): State<Site>, at: BadgeAt) -> Result<Response, PageError> {
    let (label, value, met) = read(&site, &at.repository, &at.what).await?;
    let width = |text: &str| text.chars().count() * CHAR_WIDTH + PADDING;
    let (label_width, value_width) = (width(label), width(&value));
    let svg = BadgeSvg {
        width: label_width + value_width,
        label: label.into(),
        value,
        label_width,
        value_width,
        fill: if met == Some(false) { "#7a4f00" } else { "#0a6640" },
    };
    Ok(picture(&at.repository, svg.render().map_err(anyhow::Error::from)?))
}

/// A picture that other sites may show; of a private repository nobody keeps it for others.
pub fn picture(repository: &Repository, svg: String) -> Response {
    let kept = if repository.private { "private, max-age=300" } else { KEPT };
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, kept),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ];
    (headers, svg).into_response()
}

/// Label, value and whether the target is met.
async fn read(
    site: &Site,
    repository: &Readable,
    what: &str,
) -> Result<(&'static str, String, Option<bool>), PageError> {
    let unknown = || "unknown".to_owned();
    let count = async |of: fn(&crate::measures::health::Counts) -> i64| {
        let newest = counts::newest(site.db.pool(), repository.id).await.map_err(PageError::from)?;
        let number = newest.map_or_else(unknown, |counts| format::thousands(of(&counts) as f64));
        Ok::<String, PageError>(number)
    };
    let (id, label) = match what {
        "stars" => return Ok(("stars", count(|counts| counts.stars).await?, None)),
        "forks" => return Ok(("forks", count(|counts| counts.forks).await?, None)),
        "watchers" => return Ok(("watchers", count(|counts| counts.watchers).await?, None)),
        "response" => ("first-response-p50", "first response"),
        "absence" => ("absence-factor", "absence factor"),
        "closure" => ("closure-ratio", "closure ratio"),
        "acceptance" => ("acceptance-ratio", "accepted"),
        "newcomers" => ("new-contributors", "new contributors"),
        _ => return Err(PageError::NotFound),
    };
    let days = contributors::PERIODS[0];
    let health = contributors::health(&site.db, repository, days, site.clock.now_ms()).await?;
    let measure = health.measures.iter().find(|measure| measure.id == id);
    let value = measure.and_then(|measure| Some(figure::number(measure.unit, measure.value?)));
    Ok((label, value.unwrap_or_else(unknown), measure.and_then(Measure::meets)))
}

/// `/{owner}/{name}/badge/{what}.svg`
pub struct BadgeAt {
    repository: Readable,
    what: String,
}

impl<S> axum::extract::FromRequestParts<S> for BadgeAt
where
    S: Send + Sync,
    Site: axum::extract::FromRef<S>,
{
    type Rejection = PageError;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, PageError> {
        let AtPerson { repository, login } = AtPerson::named(parts, state, ".svg").await?;
        Ok(Self { repository, what: login })
    }
}
