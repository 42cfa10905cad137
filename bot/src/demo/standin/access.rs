//! Who asks, and what they may: JWTs, installation tokens, and GitHub's choice between 401, 403 and 404.

use super::answer::{Answer, Asked};
use super::key;
use super::state::State;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// GitHub's tokens live one hour.
pub(super) const TOKEN_LIFE_MS: i64 = 3_600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Nobody,
    App(u64),
    Installation(i64),
    /// A person who is signed in, by number.
    Person(i64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Read,
    Write,
}

/// Whoever the `Authorization` header proves, as `Bearer`, `token` or (for git) `Basic`.
pub(super) fn caller(state: &State, headers: &HeaderMap, now_ms: i64) -> Result<Caller, Answer> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(Caller::Nobody) };
    let bad = || Answer::refuse(401, "Bad credentials");
    let (scheme, secret) = value.to_str().ok().and_then(|v| v.split_once(' ')).ok_or_else(bad)?;
    let secret = match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => secret.trim().to_owned(),
        "basic" => {
            let decoded = BASE64_STANDARD.decode(secret.trim()).map_err(|_| bad())?;
            let decoded = String::from_utf8(decoded).map_err(|_| bad())?;
            match decoded.split_once(':') {
                Some(("x-access-token", token)) => token.to_owned(),
                _ => return Err(bad()),
            }
        }
        _ => return Err(bad()),
    };
    if secret.starts_with("eyJ") {
        return key::verify(&secret, now_ms, |app| state.apps.get(&app).map(|a| a.public_key.clone()))
            .map(Caller::App);
    }
    if let Some(login) = state.people.get(&secret) {
        return state.users.get(login).copied().map(Caller::Person).ok_or_else(bad);
    }
    match state.tokens.get(&secret) {
        Some(token) if token.expires_ms > now_ms && state.installations.contains_key(&token.installation) => {
            Ok(Caller::Installation(token.installation))
        }
        _ => Err(bad()),
    }
}

impl Caller {
    /// For `/app/…`: only the App itself.
    pub(super) fn app(self) -> Result<u64, Answer> {
        match self {
            Caller::App(app) => Ok(app),
            Caller::Nobody => Err(Answer::refuse(401, "Requires authentication")),
            Caller::Installation(_) | Caller::Person(_) => {
                Err(Answer::refuse(401, "A JSON web token could not be decoded"))
            }
        }
    }

    /// The repository, if the caller may do this to it. What cannot be seen does not exist.
    pub(super) fn repo(
        self,
        state: &State,
        id: Option<i64>,
        permission: &str,
        need: Need,
    ) -> Result<i64, Answer> {
        let repo = id.and_then(|id| state.repos.get(&id)).ok_or_else(Answer::not_found)?;
        let public = !repo.private && need == Need::Read;
        let installation = match self {
            Caller::Installation(id) => id,
            _ if public => return Ok(repo.id),
            Caller::Nobody if !repo.private => return Err(Answer::refuse(401, "Requires authentication")),
            _ => return Err(Answer::not_found()),
        };
        let installation = state.installations.get(&installation).ok_or_else(Answer::not_found)?;
        if installation.suspended_ms.is_some() {
            return Err(suspended());
        }
        if !installation.repos.contains(&repo.id) {
            let hidden = if repo.private { Answer::not_found() } else { inaccessible() };
            return if public { Ok(repo.id) } else { Err(hidden) };
        }
        let held = installation.permissions.get(permission).map(String::as_str);
        match (held, need) {
            (Some("write" | "admin"), _) | (Some("read"), Need::Read) => Ok(repo.id),
            _ => Err(inaccessible()),
        }
    }

    /// The App behind a write, whose name it goes out under.
    pub(super) fn acting_app(self, state: &State) -> Result<u64, Answer> {
        match self {
            Caller::Installation(id) => {
                state.installations.get(&id).map(|i| i.app).ok_or_else(Answer::not_found)
            }
            _ => Err(Answer::refuse(401, "Requires authentication")),
        }
    }

    /// What has not changed costs nothing.
    pub(super) fn give_back(self, state: &mut State) {
        if let Caller::Installation(id) = self
            && let Some(installation) = state.installations.get_mut(&id)
        {
            installation.quota += 1;
        }
    }

    /// Takes one request from the hour's quota and says so in headers; refuses when there is none left.
    pub(super) fn count(
        self,
        state: &mut State,
        asked: &Asked,
        now_ms: i64,
    ) -> Result<Vec<(&'static str, String)>, Answer> {
        let Caller::Installation(id) = self else { return Ok(Vec::new()) };
        let Some(installation) = state.installations.get_mut(&id) else { return Ok(Vec::new()) };
        let reset_s = (now_ms / TOKEN_LIFE_MS + 1) * TOKEN_LIFE_MS / 1000;
        let empty = installation.quota <= 0;
        installation.quota = (installation.quota - 1).max(0);
        let headers = vec![
            ("x-ratelimit-limit", "5000".to_owned()),
            ("x-ratelimit-remaining", installation.quota.to_string()),
            ("x-ratelimit-reset", reset_s.to_string()),
            ("x-ratelimit-resource", "core".to_owned()),
        ];
        if empty {
            let mut refused =
                Answer::refuse(403, &format!("API rate limit exceeded for installation. {}", asked.base));
            refused.headers = headers;
            return Err(refused);
        }
        Ok(headers)
    }
}

pub(super) fn suspended() -> Answer {
    Answer::refuse(403, "This installation has been suspended")
}

fn inaccessible() -> Answer {
    Answer::refuse(403, "Resource not accessible by integration")
}
