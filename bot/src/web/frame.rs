//! Who asks: the session behind a request's cookie, known to everything below the router while it answers.

use super::pages::Site;
use super::pages::error::PageError;
use crate::db::sessions;
use crate::github::Person;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// What a browser holds is 64 hexadecimal digits; a longer cookie is not ours.
const TOKEN_DIGITS: usize = 64;

/// Longer than the slowest page of a large database takes on a slow machine; nobody waits longer for a page.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// A visitor who is signed in.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub person: Person,
    pub admin: bool,
    /// Goes into every form: who can read it has the session's pages already.
    pub csrf: String,
    /// Names the session in the database.
    pub session_sha256: String,
}

/// What every page shows around its own part.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    pub visitor: Option<Visitor>,
    /// Whether anybody can sign in here.
    pub sign_in: bool,
    /// The path that was asked for, to come back to.
    pub path: String,
}

impl Frame {
    /// The path, as a value of a query.
    pub fn back(&self) -> String {
        url::form_urlencoded::byte_serialize(self.path.as_bytes()).collect()
    }
}

tokio::task_local! {
    static FRAME: Frame;
}

/// Of the request that is being answered; nobody's outside of one.
pub fn current() -> Frame {
    FRAME.try_with(Clone::clone).unwrap_or_default()
}

/// Who asks, if signed in.
pub fn visitor() -> Option<Visitor> {
    current().visitor
}

/// Looks up the session, and answers within it. Who waits for a lock in the database is told so in time.
pub async fn layer(State(site): State<Site>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_WAIT, answer(site, request, next)).await {
        Ok(response) => response,
        Err(_) => {
            let why = anyhow::anyhow!("there was no answer within {} s", ANSWER_WAIT.as_secs());
            PageError::Unavailable(why).into_response()
        }
    }
}

async fn answer(site: Site, request: Request, next: Next) -> Response {
    let visitor = match session(&site, request.headers()).await {
        Ok(visitor) => visitor,
        Err(error) => return PageError::from(error).into_response(),
    };
    let private = visitor.is_some();
    let frame = Frame { visitor, sign_in: site.access.flow().is_some(), path: path_of(&request) };
    let mut response = FRAME.scope(frame, next.run(request)).await;
    if private {
        // What one person may read is kept for nobody else.
        let headers = response.headers_mut();
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        }
    }
    let for_all = |value: &HeaderValue| value.to_str().is_ok_and(|value| value.starts_with("public"));
    if !response.headers().get(header::CACHE_CONTROL).is_some_and(for_all) {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("cookie"));
    }
    response
}

/// Path and query, bounded to what fits a link.
fn path_of(request: &Request) -> String {
    /// A permalink with many series is some KiB.
    const PATH_MAX_BYTES: usize = 4 << 10;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if path.len() <= PATH_MAX_BYTES && path.starts_with('/') && !path.starts_with("//") {
        path.to_owned()
    } else {
        "/".to_owned()
    }
}

async fn session(site: &Site, headers: &HeaderMap) -> sqlx::Result<Option<Visitor>> {
    let Some(token) = cookie(headers, session_cookie(site.access.secure())) else { return Ok(None) };
    if token.len() != TOKEN_DIGITS || !token.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let session_sha256 = digest(token);
    let found = sessions::get(&site.db, &session_sha256, site.clock.now_ms()).await?;
    Ok(found.map(|person| Visitor {
        admin: site.access.is_admin(&person),
        person,
        csrf: digest(&format!("form of {token}")),
        session_sha256,
    }))
}

/// `__Host-` has a browser refuse it from any other host, and without TLS.
pub fn session_cookie(secure: bool) -> &'static str {
    if secure { "__Host-paceline-session" } else { "paceline-session" }
}

/// The same for a sign-in under way.
pub fn sign_in_cookie(secure: bool) -> &'static str {
    if secure { "__Host-paceline-sign-in" } else { "paceline-sign-in" }
}

/// A cookie's value.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key == name).then_some(value)
    })
}

/// SHA-256 in hexadecimal.
pub fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// 64 hexadecimal digits that nobody can guess.
pub fn secret() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; paceline-session=xyz; b=2".parse().unwrap());
        headers.append(header::COOKIE, "late=3".parse().unwrap());
        assert_eq!(cookie(&headers, "paceline-session"), Some("xyz"));
        assert_eq!(cookie(&headers, "late"), Some("3"));
        assert_eq!(cookie(&headers, "session"), None);
    }

    #[test]
    fn secrets_are_long_and_different() {
        assert_eq!(secret().len(), TOKEN_DIGITS);
        assert_ne!(secret(), secret());
    }
}
