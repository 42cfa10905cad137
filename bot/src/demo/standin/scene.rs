//! Setting the scene: Apps, installations, repositories, people; what happens in them is in `pulls`.

mod pulls;

pub use pulls::{NewPull, PullEdit};

use super::state::{App, Installation, Repo, State};
use super::{AppCredentials, StandIn, key};
use crate::pull::{InstallationId, Permission, RepoId, RepoName};
use anyhow::Context;
use git2::Repository;
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// GitHub's quota of an installation, requests an hour.
const QUOTA: i64 = 5_000;
/// What Paceline asks of an installation.
const PERMISSIONS: [(&str, &str); 6] = [
    ("checks", "write"),
    ("contents", "read"),
    ("issues", "write"),
    ("members", "read"),
    ("metadata", "read"),
    ("pull_requests", "write"),
];

#[derive(Clone, Debug)]
pub struct NewRepository {
    pub name: RepoName,
    pub private: bool,
    pub default_branch: String,
}

impl NewRepository {
    /// Private, with `main`.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        Ok(Self { name: name.parse()?, private: true, default_branch: "main".into() })
    }
}

impl StandIn {
    /// A new App with a fresh key pair and the permissions that Paceline needs.
    pub fn create_app(&self, slug: &str) -> anyhow::Result<AppCredentials> {
        let (private_key, public_key) = key::generate()?;
        let webhook_secret = hex::encode(rand::random::<[u8; 16]>());
        let mut state = self.shared.state();
        let app_id = state.next_id().unsigned_abs();
        state.user_id(&format!("{slug}[bot]"));
        let permissions = permissions();
        let events = crate::github::EVENTS.map(str::to_owned).to_vec();
        let webhook_secret_kept = webhook_secret.clone();
        let app =
            App { slug: slug.into(), public_key, webhook_secret: webhook_secret_kept, permissions, events };
        state.apps.insert(app_id, app);
        let webhook_secret = SecretString::from(webhook_secret);
        Ok(AppCredentials { app_id, slug: slug.into(), private_key, webhook_secret })
    }

    /// Installs an App on an account, on no repository yet.
    pub fn install(&self, app_id: u64, account: &str) -> InstallationId {
        let mut state = self.shared.state();
        let id = state.next_id();
        state.user_id(account);
        let installation = Installation {
            app: app_id,
            account: account.into(),
            repos: BTreeSet::new(),
            permissions: permissions(),
            quota: QUOTA,
            suspended_ms: None,
        };
        state.installations.insert(id, installation);
        InstallationId(id)
    }

    /// Lets an installation see a repository, or no longer.
    pub fn cover(&self, installation: InstallationId, repo: RepoId, covered: Covered) {
        if let Some(installation) = self.shared.state().installations.get_mut(&installation.0) {
            match covered {
                Covered::Yes => installation.repos.insert(repo.0),
                Covered::No => installation.repos.remove(&repo.0),
            };
        }
    }

    /// Suspends an installation, or takes it up again.
    pub fn suspend(&self, installation: InstallationId, suspended: bool) {
        let now_ms = self.shared.clock.now_ms();
        if let Some(installation) = self.shared.state().installations.get_mut(&installation.0) {
            installation.suspended_ms = suspended.then_some(now_ms);
        }
    }

    /// Ends an installation for good.
    pub fn uninstall(&self, installation: InstallationId) {
        self.shared.state().installations.remove(&installation.0);
    }

    pub fn set_private(&self, repo: RepoId, private: bool) {
        if let Some(repo) = self.shared.state().repos.get_mut(&repo.0) {
            repo.private = private;
        }
    }

    /// Grants `level` (`read`, `write`) of a permission, or takes it away with `None`.
    pub fn grant(&self, installation: InstallationId, permission: &str, level: Option<&str>) {
        if let Some(installation) = self.shared.state().installations.get_mut(&installation.0) {
            match level {
                Some(level) => installation.permissions.insert(permission.into(), level.into()),
                None => installation.permissions.remove(permission),
            };
        }
    }

    /// Requests that an installation has left in this hour.
    pub fn set_quota(&self, installation: InstallationId, requests: i64) {
        if let Some(installation) = self.shared.state().installations.get_mut(&installation.0) {
            installation.quota = requests;
        }
    }

    /// Installation tokens that were given out and not revoked.
    pub fn tokens(&self) -> Vec<String> {
        self.shared.state().tokens.keys().cloned().collect()
    }

    /// Forgets every installation token, as when a key is rotated.
    pub fn revoke_tokens(&self) {
        self.shared.state().tokens.clear();
    }

    /// A repository with an empty bare git repository behind it. Its owner is an admin.
    pub fn create_repository(&self, new: &NewRepository) -> anyhow::Result<RepoId> {
        let mut state = self.shared.state();
        let id = state.next_id();
        let path = self.shared.dir.join(format!("{id}.git"));
        let mut how = git2::RepositoryInitOptions::new();
        how.bare(true).external_template(false).initial_head(&new.default_branch);
        Repository::init_opts(&path, &how).context("making a repository")?;
        state.user_id(&new.name.owner);
        let repo = Repo {
            id,
            name: new.name.clone(),
            private: new.private,
            default_branch: new.default_branch.clone(),
            path,
            people: BTreeMap::from([(new.name.owner.clone(), Permission::Admin)]),
            pulls: BTreeMap::new(),
            comments: BTreeMap::new(),
            check_runs: BTreeMap::new(),
            reviews: BTreeMap::new(),
            counts: (0, 0, 0),
            issues: BTreeMap::new(),
            merging: serde_json::Map::new(),
        };
        state.repos.insert(id, repo);
        Ok(RepoId(id))
    }

    /// The bare repository on disk, for pushing into it with git.
    pub fn git_dir(&self, repo: RepoId) -> anyhow::Result<PathBuf> {
        self.with_repo(repo, |_, repo| Ok(repo.path.clone()))
    }

    /// Deletes a repository: a fork whose owner is gone.
    pub fn delete_repository(&self, repo: RepoId) {
        let mut state = self.shared.state();
        state.repos.remove(&repo.0);
        for installation in state.installations.values_mut() {
            installation.repos.remove(&repo.0);
        }
        for pull in state.repos.values_mut().flat_map(|r| r.pulls.values_mut()) {
            pull.head_repo = pull.head_repo.filter(|id| *id != repo.0);
        }
    }

    /// Gives a repository another name; its id stays, and the old name leads to it.
    pub fn rename_repository(&self, repo: RepoId, name: &RepoName) {
        let mut state = self.shared.state();
        if let Some(known) = state.repos.get_mut(&repo.0) {
            let former = std::mem::replace(&mut known.name, name.clone());
            state.moved.insert(former.to_string().to_ascii_lowercase(), repo.0);
        }
    }

    /// Who sits at the browser that comes to sign in.
    pub fn at_the_browser(&self, login: &str) {
        let mut state = self.shared.state();
        state.user_id(login);
        state.at_the_browser = Some(login.into());
    }

    /// An account's number; it is made where there was none.
    pub fn account(&self, login: &str) -> i64 {
        self.shared.state().user_id(login)
    }

    /// An account is renamed, and another takes its name and its rights.
    pub fn give_login_away(&self, login: &str) {
        let mut state = self.shared.state();
        let id = state.next_id();
        state.users.insert(login.into(), id);
    }

    /// The same permission on every repository on which somebody has one.
    pub fn set_permission_everywhere(&self, login: &str, permission: Permission) {
        for repo in self.shared.state().repos.values_mut() {
            if let Some(held) = repo.people.get_mut(login) {
                *held = permission;
            }
        }
    }

    /// Ends every installation.
    pub fn uninstall_all(&self) {
        self.shared.state().installations.clear();
    }

    /// Stars, forks and watchers.
    pub fn set_counts(&self, repo: RepoId, stars: i64, forks: i64, watchers: i64) {
        if let Some(repo) = self.shared.state().repos.get_mut(&repo.0) {
            repo.counts = (stars, forks, watchers);
        }
    }

    /// An issue of the past. Numbers are shared with pull requests; nobody checks that here.
    pub fn add_issue(
        &self,
        repo: RepoId,
        number: u64,
        author: &str,
        created_ms: i64,
        closed_ms: Option<i64>,
    ) {
        let mut state = self.shared.state();
        state.user_id(author);
        if let Some(repo) = state.repos.get_mut(&repo.0) {
            repo.issues.insert(number, super::state::Issue { author: author.into(), created_ms, closed_ms });
        }
    }

    pub fn set_permission(&self, repo: RepoId, login: &str, permission: Permission) {
        let mut state = self.shared.state();
        state.user_id(login);
        if let Some(repo) = state.repos.get_mut(&repo.0) {
            repo.people.insert(login.into(), permission);
        }
    }

    /// Sets fields such as `allow_merge_commit` or `squash_merge_commit_title`.
    pub fn set_merging(&self, repo: RepoId, fields: &[(&str, serde_json::Value)]) {
        if let Some(repo) = self.shared.state().repos.get_mut(&repo.0) {
            repo.merging.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
    }

    /// Gives an App a permission, or takes it away.
    pub fn grant_app(&self, app_id: u64, permission: &str, level: Option<&str>) {
        if let Some(app) = self.shared.state().apps.get_mut(&app_id) {
            match level {
                Some(level) => drop(app.permissions.insert(permission.into(), level.into())),
                None => drop(app.permissions.remove(permission)),
            }
        }
    }

    /// What GitHub does when a person confirms an App's manifest: the code that it sends the browser back with.
    pub fn confirm_manifest(&self, manifest: serde_json::Value) -> String {
        let code = hex::encode(rand::random::<[u8; 10]>());
        self.shared.state().manifests.insert(code.clone(), manifest);
        code
    }

    /// Makes a team, or gives it other members.
    pub fn set_team(&self, org: &str, team: &str, members: &[&str]) {
        let mut state = self.shared.state();
        for login in members {
            state.user_id(login);
        }
        let members = members.iter().map(|login| (*login).to_owned()).collect();
        state.teams.insert((org.to_lowercase(), team.to_lowercase()), members);
    }

    fn with_repo<T>(
        &self,
        repo: RepoId,
        act: impl FnOnce(&State, &Repo) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let state = self.shared.state();
        let repo = state.repos.get(&repo.0).context("no such repository")?;
        act(&state, repo)
    }
}

/// Whether an installation covers a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covered {
    Yes,
    No,
}

fn permissions() -> BTreeMap<String, String> {
    PERMISSIONS.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect()
}
