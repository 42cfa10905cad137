//! `/sign-in`, `/sign-in/callback`, `/sign-out`: people come in by the App's user flow, with state and PKCE.

use super::error::PageError;
use super::{Site, render};
use crate::db::sessions::{self, UnderWay};
use crate::github::Returned;
use crate::web::frame::{self, cookie, digest, secret, session_cookie, sign_in_cookie};
use askama::Template;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A working week: who is away longer signs in again.
const SESSION_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// A sign-in with two factors and a lost phone.
const UNDER_WAY_MS: i64 = 15 * 60 * 1_000;
/// Codes and states are some dozen characters.
const PARAMETER_MAX_BYTES: usize = 400;

#[derive(Default, Deserialize)]
pub struct Wish {
    #[serde(default)]
    back: String,
}

/// `GET /sign-in?back=/path`
pub async fn begin(
    State(site): State<Site>,
    wish: Result<Query<Wish>, QueryRejection>,
) -> Result<Response, PageError> {
    let flow = site.access.flow().ok_or(PageError::NotFound)?;
    let back = wish.ok().map(|Query(wish)| wish.back).filter(|path| is_local(path));
    let (state, verifier, now_ms) = (secret(), secret(), site.clock.now_ms());
    let under_way = UnderWay { verifier: verifier.clone(), back: back.unwrap_or_else(|| "/".into()) };
    sessions::begin(&site.db, &digest(&state), &under_way, now_ms, now_ms - UNDER_WAY_MS).await?;
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    let url = flow.authorize_url(&state, &challenge, &redirect(&site)).map_err(anyhow::Error::from)?;
    let secure = site.access.secure();
    let kept = set_cookie(sign_in_cookie(secure), &state, UNDER_WAY_MS / 1_000, secure)?;
    away(&url, vec![kept])
}

#[derive(Default, Deserialize)]
pub struct Brought {
    #[serde(default)]
    code: String,
    #[serde(default)]
    state: String,
}

/// `GET /sign-in/callback`: what GitHub sent the browser back with.
pub async fn finish(
    State(site): State<Site>,
    headers: HeaderMap,
    brought: Result<Query<Brought>, QueryRejection>,
) -> Result<Response, PageError> {
    let flow = site.access.flow().ok_or(PageError::NotFound)?;
    let Query(brought) = brought.unwrap_or_default();
    let (secure, now_ms) = (site.access.secure(), site.clock.now_ms());
    let fits = |text: &str| !text.is_empty() && text.len() <= PARAMETER_MAX_BYTES;
    let began_here = cookie(&headers, sign_in_cookie(secure))
        .is_some_and(|kept| bool::from(kept.as_bytes().ct_eq(brought.state.as_bytes())));
    if !fits(&brought.code) || !fits(&brought.state) || !began_here {
        return refused("This sign-in was not begun in this browser, or took too long.");
    }
    let taken = sessions::take(&site.db, &digest(&brought.state), now_ms - UNDER_WAY_MS).await?;
    let Some(under_way) = taken else {
        return refused("This sign-in was used already, or took too long.");
    };
    let returned =
        Returned { code: &brought.code, verifier: &under_way.verifier, redirect: &redirect(&site) };
    let person = match flow.person(&returned).await {
        Ok(person) => person,
        Err(error) => {
            tracing::warn!(%error, "a sign-in was not confirmed by GitHub");
            return refused("GitHub did not confirm this sign-in.");
        }
    };
    let token = secret();
    sessions::insert(&site.db, &digest(&token), &person, now_ms, now_ms + SESSION_MS).await?;
    let cookies = vec![
        set_cookie(session_cookie(secure), &token, SESSION_MS / 1_000, secure)?,
        set_cookie(sign_in_cookie(secure), "", 0, secure)?,
    ];
    away(&under_way.back, cookies)
}

/// A form as it was sent.
pub type Sent = Result<Bytes, BytesRejection>;

/// What a form of ours has in it.
pub struct Fields(Bytes);

impl Fields {
    /// The first of that name; nothing where there is none.
    pub fn get(&self, wanted: &str) -> String {
        let found = url::form_urlencoded::parse(&self.0).find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    }
}

/// The visitor, if the form is one of ours; anybody else's is refused in the same words as what does not exist.
pub fn proven(form: Sent) -> Result<frame::Visitor, PageError> {
    proven_fields(form).map(|(visitor, _)| visitor)
}

/// The same, with what the form has in it.
pub fn proven_fields(form: Sent) -> Result<(frame::Visitor, Fields), PageError> {
    let visitor = frame::visitor().ok_or(PageError::NotFound)?;
    let fields = Fields(form.map_err(|_| PageError::NotFound)?);
    let same = bool::from(fields.get("csrf").as_bytes().ct_eq(visitor.csrf.as_bytes()));
    if same { Ok((visitor, fields)) } else { Err(PageError::NotFound) }
}

/// `POST /sign-out`
pub async fn end(State(site): State<Site>, form: Sent) -> Result<Response, PageError> {
    let visitor = proven(form)?;
    sessions::delete(&site.db, &visitor.session_sha256).await?;
    let secure = site.access.secure();
    away("/", vec![set_cookie(session_cookie(secure), "", 0, secure)?])
}

fn redirect(site: &Site) -> String {
    format!("{}/sign-in/callback", site.access.public_url())
}

/// A path on this server: nothing that a browser could read as another host.
fn is_local(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= 4 << 10
        && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

fn set_cookie(name: &str, value: &str, seconds: i64, secure: bool) -> Result<HeaderValue, PageError> {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    Ok(HeaderValue::from_str(&text).map_err(anyhow::Error::from)?)
}

fn away(url: &str, cookies: Vec<HeaderValue>) -> Result<Response, PageError> {
    let to = HeaderValue::from_str(url).map_err(anyhow::Error::from)?;
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    let none: (HeaderName, HeaderValue) = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(none.0, none.1);
    Ok(response)
}

#[derive(Template)]
#[template(path = "pages/refused.html")]
struct RefusedPage {
    words: &'static str,
}

fn refused(words: &'static str) -> Result<Response, PageError> {
    Ok((StatusCode::BAD_REQUEST, render(&RefusedPage { words })?).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_sent_back_to_this_server_alone() {
        for good in ["/", "/acme/gateway?days=30", "/runs/1#rows"] {
            assert!(is_local(good), "{good}");
        }
        for bad in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a b", "/\u{e9}", "x"] {
            assert!(!is_local(bad), "{bad}");
        }
    }
}
