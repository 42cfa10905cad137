//! All that talks to GitHub's API. octocrab's types stay in here; callers speak `pull` and `outgoing`.

mod auth;
mod breaker;
mod cache;
mod check_runs;
mod comments;
mod deliveries;
mod error;
mod guard;
mod labels;
mod manifest;
mod past;
mod pulls;
mod reviews;
mod sign_in;
mod text;
mod transport;
mod wire;

pub use auth::{AppIdentity, Standing};
pub use breaker::BreakerState;
pub use check_runs::SeenCheckRun;
pub use comments::shown;
pub use deliveries::FailedDelivery;
pub use error::GitHubError;
pub use manifest::{EVENTS, NewApp, convert as convert_manifest, manifest};
pub use past::{PastList, PastPage, PastPull};
pub use sign_in::{Person, Returned, UserFlow};
pub use transport::{Listing, REQUEST_TIMEOUT};

use crate::clock::Clock;
use crate::pull::{InstallationId, RepoName};
use auth::{Signer, Tokens};
use guard::Who;
use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use transport::{ApiBase, Caller, Transport, segment};

/// What it takes to be a GitHub App.
#[derive(Clone, Debug)]
pub struct GitHubConfig {
    /// `https://api.github.com`, `https://ghe.example/api/v3`, `http://127.0.0.1:8000`, …
    pub api_url: String,
    /// Where git finds `owner/name.git`; derived from `api_url` when not set.
    pub git_url: Option<String>,
    pub app_id: u64,
    /// PEM.
    pub private_key: SecretString,
    pub clock: Clock,
    /// From a request's first byte to its answer's last; [`REQUEST_TIMEOUT`] but in tests.
    pub request_timeout: Duration,
}

/// The App's view of GitHub. Clones share connections and tokens. Make it within a tokio runtime.
#[derive(Clone)]
pub struct GitHub(Arc<Inner>);

struct Inner {
    transport: Transport,
    git_base: String,
    app_id: u64,
    signer: Signer,
    tokens: Tokens,
    identity: OnceCell<AppIdentity>,
    clock: Clock,
}

impl GitHub {
    /// Checks key and addresses; sends nothing yet.
    pub fn new(config: GitHubConfig) -> Result<Self, GitHubError> {
        let base = ApiBase::parse(&config.api_url)?;
        let git_base = match &config.git_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => git_base(&base),
        };
        Ok(Self(Arc::new(Inner {
            transport: Transport::new(base, config.clock.clone(), config.request_timeout)?,
            git_base,
            app_id: config.app_id,
            signer: Signer::new(config.app_id, config.private_key.expose_secret())?,
            tokens: Tokens::default(),
            identity: OnceCell::new(),
            clock: config.clock,
        })))
    }

    /// Whether GitHub is asked at all.
    pub fn breaker(&self) -> BreakerState {
        self.0.transport.guard().state()
    }

    pub fn app_id(&self) -> u64 {
        self.0.app_id
    }

    /// Where git fetches a repository from. Holds no credential.
    pub fn git_url(&self, name: &RepoName) -> String {
        format!("{}/{}/{}.git", self.0.git_base, segment(&name.owner), segment(&name.name))
    }

    /// GET as an installation. A refused token is replaced once: it may have been revoked within its hour.
    async fn get<T: DeserializeOwned>(
        &self,
        installation: InstallationId,
        path: &str,
    ) -> Result<T, GitHubError> {
        let caller = self.as_installation(installation).await?;
        let answer = match self.0.transport.get(path, &caller).await {
            Err(GitHubError::Unauthorized { .. }) => {
                self.0.tokens.forget(installation);
                let caller = self.as_installation(installation).await?;
                self.0.transport.get(path, &caller).await
            }
            settled => settled,
        };
        answer?.json(path)
    }

    /// All pages as an installation.
    async fn list<P: DeserializeOwned, T>(
        &self,
        installation: InstallationId,
        path: &str,
        items_of: impl Fn(P) -> Vec<T>,
    ) -> Result<Listing<T>, GitHubError> {
        let caller = self.as_installation(installation).await?;
        match self.0.transport.pages(path, &caller, &items_of).await {
            Err(GitHubError::Unauthorized { .. }) => {
                self.0.tokens.forget(installation);
                let caller = self.as_installation(installation).await?;
                self.0.transport.pages(path, &caller, &items_of).await
            }
            settled => settled,
        }
    }

    /// POST or PATCH as an installation, sent once. A refused token is dropped, so that the caller's next try
    /// comes with a fresh one.
    async fn write<T: DeserializeOwned>(
        &self,
        installation: InstallationId,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, GitHubError> {
        let caller = self.as_installation(installation).await?;
        let answer = self.0.transport.write(method, path, &caller, body).await;
        if matches!(answer, Err(GitHubError::Unauthorized { .. })) {
            self.0.tokens.forget(installation);
        }
        answer?.json(path)
    }

    async fn as_installation(&self, installation: InstallationId) -> Result<Caller, GitHubError> {
        let token = self.installation_token(installation).await?;
        Ok(Caller { who: Who::Installation(installation), token })
    }

    fn transport(&self) -> &Transport {
        &self.0.transport
    }

    fn signer(&self) -> &Signer {
        &self.0.signer
    }

    fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    fn identity_cell(&self) -> &OnceCell<AppIdentity> {
        &self.0.identity
    }

    fn clock(&self) -> &Clock {
        &self.0.clock
    }
}

/// GitHub serves git beside its API: on `github.com` for `api.github.com` (and so for each `api.NAME.ghe.com`), on the
/// same host for Enterprise Server, whose API has the prefix `/api/v3`.
fn git_base(api: &ApiBase) -> String {
    let origin = api.origin();
    let prefix = api.prefix.strip_suffix("/api/v3").unwrap_or(&api.prefix);
    match api.url.host_str().and_then(|h| h.strip_prefix("api.")) {
        Some(host) if api.prefix.is_empty() && host.contains('.') => {
            let port = api.url.port().map(|p| format!(":{p}")).unwrap_or_default();
            format!("{}://{host}{port}", api.url.scheme())
        }
        _ => format!("{origin}{prefix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_lives_beside_the_api() {
        let cases = [
            ("https://api.github.com", "https://github.com"),
            ("https://api.github.com/", "https://github.com"),
            ("https://api.acme.ghe.com", "https://acme.ghe.com"),
            ("https://ghe.example/api/v3", "https://ghe.example"),
            ("https://proxy.example/ghe/api/v3/", "https://proxy.example/ghe"),
            ("http://127.0.0.1:4711", "http://127.0.0.1:4711"),
            ("http://127.0.0.1:4711/api/v3", "http://127.0.0.1:4711"),
            ("https://api.internal:8443", "https://api.internal:8443"),
        ];
        for (api, git) in cases {
            assert_eq!(git_base(&ApiBase::parse(api).unwrap()), git, "{api}");
        }
    }
}
