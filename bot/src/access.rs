//! Who may see what: people sign in with GitHub, and GitHub's answer decides, kept for a short while. The default is no.

use crate::clock::Clock;
use crate::config::AccessConfig;
use crate::github::{GitHub, Person, UserFlow};
use crate::policy;
use crate::pull::{Permission, RepoId, Repository};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// How long GitHub's answer is believed: who lost a right loses the pages within this.
const BELIEVED_MS: i64 = 60_000;
/// Answers that are kept: a thousand people with a hundred repositories each, in some 10 MB.
const KEPT_MAX: usize = 100_000;

/// What decides about visitors. Clones share what is known.
#[derive(Clone, Default)]
pub struct Access(Arc<Inner>);

#[derive(Default)]
struct Inner {
    github: Option<GitHub>,
    flow: Option<UserFlow>,
    config: AccessConfig,
    /// Without a trailing slash; empty in tests without a server.
    public_url: String,
    clock: Clock,
    known: Mutex<HashMap<(RepoId, i64), (Permission, i64)>>,
}

impl Access {
    pub fn new(
        github: GitHub,
        flow: Option<UserFlow>,
        config: AccessConfig,
        public_url: String,
        clock: Clock,
    ) -> Self {
        let known = Mutex::default();
        Self(Arc::new(Inner { github: Some(github), flow, config, public_url, clock, known }))
    }

    /// Nobody can sign in where it is `None`.
    pub fn flow(&self) -> Option<&UserFlow> {
        self.0.flow.as_ref()
    }

    pub fn public_url(&self) -> &str {
        &self.0.public_url
    }

    /// Whether browsers come over TLS: cookies then go nowhere else.
    pub fn secure(&self) -> bool {
        self.0.public_url.starts_with("https:")
    }

    /// Whether pages of public repositories are for everybody.
    pub fn public_pages(&self) -> bool {
        !self.0.config.sign_in_required
    }

    pub fn is_admin(&self, person: &Person) -> bool {
        self.0.config.admins.iter().any(|admin| admin.eq_ignore_ascii_case(&person.login))
    }

    /// Whether a visitor may read a repository. Where GitHub cannot be asked, no.
    pub async fn may_read(&self, repository: &Repository, visitor: Option<&Person>) -> bool {
        if !repository.private && self.public_pages() {
            return true;
        }
        match visitor {
            Some(person) => self.permission(repository, person).await >= Permission::Read,
            None => false,
        }
    }

    /// Whether a visitor may command, as on a pull request. Where GitHub cannot be asked, no.
    pub async fn may_command(&self, repository: &Repository, visitor: &Person) -> bool {
        policy::may_command(self.permission(repository, visitor).await)
    }

    async fn permission(&self, repository: &Repository, person: &Person) -> Permission {
        let (key, now_ms) = ((repository.id, person.id), self.0.clock.now_ms());
        if let Some((permission, until_ms)) = self.known().get(&key).copied()
            && now_ms < until_ms
        {
            return permission;
        }
        let Some(github) = &self.0.github else { return Permission::None };
        match github.permission_of(repository, person).await {
            Ok(permission) => {
                let mut known = self.known();
                if known.len() >= KEPT_MAX {
                    known.retain(|_, (_, until_ms)| now_ms < *until_ms);
                    if known.len() >= KEPT_MAX {
                        known.clear();
                    }
                }
                known.insert(key, (permission, now_ms + BELIEVED_MS));
                permission
            }
            Err(error) => {
                tracing::warn!(repo = %repository.name, %error, "GitHub cannot be asked who may read a repository");
                Permission::None
            }
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(RepoId, i64), (Permission, i64)>> {
        // Nothing panics while it is held.
        self.0.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Which repositories a list may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readables {
    pub public: bool,
    pub ids: Vec<RepoId>,
}

impl Readables {
    /// What everybody may read where pages are public.
    pub fn public_only() -> Self {
        Self { public: true, ids: Vec::new() }
    }

    pub fn has(&self, repository: RepoId, private: bool) -> bool {
        (!private && self.public) || self.ids.contains(&repository)
    }

    /// The same as a condition on a table of repositories.
    pub fn sql(&self, table: &str) -> String {
        // Numbers of ours alone, so nothing of a visitor gets into the text.
        let ids: Vec<String> = self.ids.iter().map(|id| id.0.to_string()).collect();
        let ids = if ids.is_empty() { "NULL".into() } else { ids.join(", ") };
        let public = if self.public { 0 } else { 2 };
        format!("({table}.private = {public} OR {table}.id IN ({ids}))")
    }
}
