//! Who we are to GitHub: the App's JWT, and one installation token each, asked for once however many wait.

use super::GitHub;
use super::error::GitHubError;
use super::guard::Who;
use super::transport::{Caller, segment};
use super::wire;
use crate::pull::{InstallationId, RepoName};
use http::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::SecretString;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// GitHub accepts ten minutes at most; nine leave room for its clock.
const JWT_LIFE_S: i64 = 9 * 60;
/// Issued this much earlier, because GitHub refuses a JWT from its future.
const JWT_BACKDATE_S: i64 = 60;
/// Tokens live one hour. One that expires sooner than this is not handed out: a fetch may take ten minutes.
const TOKEN_MARGIN_MS: i64 = 12 * 60_000;

/// The App's id and key.
pub(super) struct Signer {
    app_id: u64,
    key: EncodingKey,
}

#[derive(Serialize)]
struct Claims {
    iat: i64,
    exp: i64,
    iss: String,
}

impl Signer {
    pub(super) fn new(app_id: u64, pem: &str) -> Result<Self, GitHubError> {
        let bad = |why: String| {
            GitHubError::config(format!(
                "the App's private key cannot be used: {why}; GITHUB_PRIVATE_KEY wants the PEM file that GitHub \
                 generated (\"-----BEGIN RSA PRIVATE KEY-----\" and so on)"
            ))
        };
        let key = EncodingKey::from_rsa_pem(pem.trim().as_bytes()).map_err(|e| bad(e.to_string()))?;
        let signer = Self { app_id, key };
        // A key that cannot sign should be told at start-up, not at the first delivery.
        signer.jwt(0).map_err(|e| bad(e.to_string()))?;
        Ok(signer)
    }

    fn jwt(&self, now_ms: i64) -> Result<SecretString, jsonwebtoken::errors::Error> {
        let now = now_ms / 1000;
        let claims =
            Claims { iat: now - JWT_BACKDATE_S, exp: now + JWT_LIFE_S, iss: self.app_id.to_string() };
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key).map(SecretString::from)
    }
}

/// One installation's token; the lock is held while it is asked for, so that all who wait get the same.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

#[derive(Clone)]
struct Token {
    secret: SecretString,
    expires_ms: i64,
}

#[derive(Default)]
pub(super) struct Tokens {
    slots: Mutex<HashMap<InstallationId, Slot>>,
}

impl Tokens {
    fn slot(&self, installation: InstallationId) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        slots.entry(installation).or_default().clone()
    }

    /// The next caller asks for a fresh one.
    pub(super) fn forget(&self, installation: InstallationId) {
        self.slots.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&installation);
    }
}

/// How an installation of the App stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Active,
    Suspended,
    /// Uninstalled, or never there.
    Removed,
}

/// What GitHub says of the App that the key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppIdentity {
    pub id: u64,
    pub slug: String,
    pub name: String,
    /// Permissions that the App lacks for its work, as `checks: write`.
    pub missing_permissions: Vec<String>,
    /// What its webhook is told of.
    pub events: Vec<String>,
}

impl AppIdentity {
    /// The login of the App's own user: the author of its comments.
    pub fn bot_login(&self) -> String {
        format!("{}[bot]", self.slug)
    }
}

/// What the App's work needs, and how much of it.
const PERMISSIONS_WANTED: [(&str, &str); 5] = [
    ("checks", "write"),
    ("contents", "read"),
    ("issues", "write"),
    ("metadata", "read"),
    ("pull_requests", "write"),
];

impl GitHub {
    /// Asks GitHub who we are: proves address, App id and key at once.
    pub async fn app_self_check(&self) -> Result<AppIdentity, GitHubError> {
        let path = "/app";
        let app: wire::App = self.transport().get(path, &self.as_app()?).await?.json(path)?;
        if app.id != self.app_id() {
            return Err(GitHubError::config(format!(
                "the private key belongs to App {} ({}), but GITHUB_APP_ID is {}",
                app.id,
                app.slug,
                self.app_id()
            )));
        }
        let lacks = |(name, level): &(&str, &str)| match app.permissions.get(*name).map(String::as_str) {
            Some("write" | "admin") => None,
            Some("read") if *level == "read" => None,
            _ => Some(format!("{name}: {level}")),
        };
        let missing_permissions = PERMISSIONS_WANTED.iter().filter_map(lacks).collect();
        Ok(AppIdentity {
            id: app.id,
            slug: app.slug,
            name: app.name,
            missing_permissions,
            events: app.events,
        })
    }

    /// The App's identity, asked for once.
    pub(super) async fn identity(&self) -> Result<&AppIdentity, GitHubError> {
        self.identity_cell().get_or_try_init(|| self.app_self_check()).await
    }

    /// Which installation of the App covers a repository.
    pub async fn installation_for(&self, name: &RepoName) -> Result<InstallationId, GitHubError> {
        let path = format!("/repos/{}/{}/installation", segment(&name.owner), segment(&name.name));
        let found: wire::Installation = self.transport().get(&path, &self.as_app()?).await?.json(&path)?;
        Ok(InstallationId(found.id))
    }

    /// All installations of the App.
    pub async fn installations(&self) -> Result<Vec<(InstallationId, Standing)>, GitHubError> {
        let path = "/app/installations";
        let all = self.transport().pages(path, &self.as_app()?, |page: Vec<wire::Installation>| page).await?;
        if !all.complete {
            return Err(GitHubError::malformed(path, "more installations than we read"));
        }
        Ok(all.items.iter().map(|i| (InstallationId(i.id), i.standing())).collect())
    }

    /// How one installation stands now.
    pub async fn standing(&self, installation: InstallationId) -> Result<Standing, GitHubError> {
        let path = format!("/app/installations/{}", installation.0);
        match self.transport().get(&path, &self.as_app()?).await {
            Ok(answer) => Ok(answer.json::<wire::Installation>(&path)?.standing()),
            Err(GitHubError::NotFound { .. }) => Ok(Standing::Removed),
            Err(error) => Err(error),
        }
    }

    /// After an installation ended or changed: nothing of its token is used any more.
    pub fn forget_token(&self, installation: InstallationId) {
        self.tokens().forget(installation);
    }

    /// A token with the installation's rights, good for another twelve minutes at least. However many callers wait
    /// for the same installation, GitHub is asked once.
    pub async fn installation_token(
        &self,
        installation: InstallationId,
    ) -> Result<SecretString, GitHubError> {
        let slot = self.tokens().slot(installation);
        let mut held = slot.lock().await;
        let now_ms = self.clock().now_ms();
        if let Some(token) = held.as_ref().filter(|t| t.expires_ms - now_ms > TOKEN_MARGIN_MS) {
            return Ok(token.secret.clone());
        }
        let path = format!("/app/installations/{}/access_tokens", installation.0);
        // Asking twice makes two tokens and harms nobody, yet a POST is never repeated here: the caller's own
        // retry comes back through this lock.
        let answer =
            self.transport().write(Method::POST, &path, &self.as_app()?, &serde_json::json!({})).await?;
        let made: wire::Token = answer.json(&path)?;
        let expires_ms = wire::time_ms(&made.expires_at).unwrap_or(now_ms);
        let secret = SecretString::from(made.token);
        *held = Some(Token { secret: secret.clone(), expires_ms });
        Ok(secret)
    }

    /// The caller for `/app/…`.
    pub(super) fn as_app(&self) -> Result<Caller, GitHubError> {
        let signed = self.signer().jwt(self.clock().now_ms());
        let token = signed.map_err(|e| GitHubError::config(format!("the App's key could not sign: {e}")))?;
        Ok(Caller { who: Who::App, token })
    }
}
