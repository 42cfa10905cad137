//! Setting the scene: Apps, installations, repositories, commits, pull requests, people; and looking at the result.

use super::git_store::{commit, copy_objects, tip};
use super::state::{App, CheckRunSeen, Comment, CommentSeen, Installation, Pull, Repo, Review, State};
use super::{AppCredentials, StandIn, key};
use crate::pull::{InstallationId, Permission, PullState, RepoId, RepoName};
use anyhow::Context;
use git2::{Oid, Repository};
use perfsuite::model::Sha;
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

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

#[derive(Clone, Debug)]
pub struct NewPull {
    pub title: String,
    pub author: String,
    pub base: String,
    /// A branch of `fork`, or of the repository itself.
    pub head: String,
    pub fork: Option<RepoId>,
    pub draft: bool,
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

    /// Deletes one of the App's check runs, as GitHub does after a while.
    pub fn delete_check_run(&self, repo: RepoId, id: i64) {
        if let Some(repo) = self.shared.state().repos.get_mut(&repo.0) {
            repo.check_runs.remove(&id);
        }
    }

    /// Edits a comment as somebody with write permission could.
    pub fn edit_comment(&self, repo: RepoId, id: i64, body: &str) {
        if let Some(comment) =
            self.shared.state().repos.get_mut(&repo.0).and_then(|r| r.comments.get_mut(&id))
        {
            comment.body = body.into();
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

    /// When a pull request was opened, by whom, and when its last change was: a past for it.
    pub fn date_pull(&self, repo: RepoId, number: u64, author: &str, created_ms: i64, updated_ms: i64) {
        let mut state = self.shared.state();
        state.user_id(author);
        if let Some(pull) = state.repos.get_mut(&repo.0).and_then(|r| r.pulls.get_mut(&number)) {
            pull.author = author.into();
            (pull.created_ms, pull.updated_ms) = (created_ms, updated_ms);
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

    /// A commit on top of a branch (made when missing): `Some` writes a file, `None` removes it.
    pub fn commit(
        &self,
        repo: RepoId,
        branch: &str,
        message: &str,
        files: &[(&str, Option<&[u8]>)],
    ) -> anyhow::Result<Sha> {
        let at_s = self.shared.commits_at_s.unwrap_or(self.shared.clock.now_ms() / 1000);
        let sha = self.with_repo(repo, |_, repo| commit(&repo.path, branch, message, files, at_s))?;
        self.heads_moved(repo)?;
        Ok(sha)
    }

    /// Creates or moves a branch, as a (forced) push would.
    pub fn set_branch(&self, repo: RepoId, branch: &str, sha: &Sha) -> anyhow::Result<()> {
        self.with_repo(repo, |_, repo| {
            let git = Repository::open_bare(&repo.path)?;
            git.reference(&format!("refs/heads/{branch}"), Oid::from_str(sha.as_str())?, true, "")?;
            Ok(())
        })?;
        self.heads_moved(repo)
    }

    /// Pushes a commit of a repository on disk, with its history, to a branch.
    pub fn push(&self, repo: RepoId, from: &Path, sha: &Sha, branch: &str) -> anyhow::Result<()> {
        self.with_repo(repo, |_, repo| copy_objects(from, &repo.path, std::slice::from_ref(sha)))?;
        self.set_branch(repo, branch, sha)
    }

    /// The tip of a branch.
    pub fn tip(&self, repo: RepoId, branch: &str) -> anyhow::Result<Sha> {
        self.with_repo(repo, |_, repo| tip(&repo.path, branch))
    }

    /// Opens a pull request; its number.
    pub fn open_pull(&self, repo: RepoId, new: &NewPull) -> anyhow::Result<u64> {
        let now_ms = self.shared.clock.now_ms();
        let head_repo = new.fork.unwrap_or(repo);
        let head_sha = self.tip(head_repo, &new.head)?;
        self.tip(repo, &new.base).context("the base branch")?;
        let number = {
            let mut state = self.shared.state();
            state.user_id(&new.author);
            let id = state.next_id();
            let repo = state.repos.get_mut(&repo.0).context("no such repository")?;
            let number = repo.pulls.keys().next_back().map_or(1, |last| last + 1);
            let pull = Pull {
                id,
                number,
                title: new.title.clone(),
                body: String::new(),
                author: new.author.clone(),
                state: PullState::Open,
                draft: new.draft,
                locked: false,
                base_ref: new.base.clone(),
                head_ref: new.head.clone(),
                head_sha,
                head_repo: Some(head_repo.0),
                labels: Vec::new(),
                created_ms: now_ms,
                updated_ms: now_ms,
            };
            repo.pulls.insert(number, pull);
            number
        };
        self.heads_moved(head_repo)?;
        Ok(number)
    }

    /// Changes a pull request's state, draft mark, labels or lock.
    pub fn edit_pull(
        &self,
        repo: RepoId,
        number: u64,
        edit: impl FnOnce(&mut PullEdit),
    ) -> anyhow::Result<()> {
        let now_ms = self.shared.clock.now_ms();
        let mut state = self.shared.state();
        let pull = state.repos.get_mut(&repo.0).and_then(|r| r.pulls.get_mut(&number));
        let pull = pull.context("no such pull request")?;
        let mut now = PullEdit {
            title: pull.title.clone(),
            state: pull.state,
            draft: pull.draft,
            locked: pull.locked,
            labels: pull.labels.clone(),
            base: pull.base_ref.clone(),
            body: pull.body.clone(),
        };
        edit(&mut now);
        (pull.base_ref, pull.body) = (now.base, now.body);
        (pull.title, pull.state, pull.draft) = (now.title, now.state, now.draft);
        (pull.locked, pull.labels, pull.updated_ms) = (now.locked, now.labels, now_ms);
        let head_repo = pull.head_repo;
        drop(state);
        // Who is opened again has what was pushed meanwhile.
        head_repo.map_or(Ok(()), |id| self.heads_moved(RepoId(id)))
    }

    /// A pull request's labels.
    pub fn labels(&self, repo: RepoId, number: u64) -> Vec<String> {
        let state = self.shared.state();
        let pull = state.repos.get(&repo.0).and_then(|repo| repo.pulls.get(&number));
        pull.map(|pull| pull.labels.clone()).unwrap_or_default()
    }

    /// A person's comment; its id.
    pub fn comment_as(&self, repo: RepoId, number: u64, login: &str, body: &str) -> i64 {
        let now_ms = self.shared.clock.now_ms();
        let mut state = self.shared.state();
        state.user_id(login);
        state.add_comment(repo.0, number, login, None, body, now_ms)
    }

    /// A person's review of a pull request's present head: `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`. Its id.
    pub fn review_as(&self, repo: RepoId, number: u64, login: &str, word: &str) -> anyhow::Result<i64> {
        let at_ms = self.shared.clock.now_ms();
        let mut state = self.shared.state();
        state.user_id(login);
        let id = state.next_id();
        let repo = state.repos.get_mut(&repo.0).context("no such repository")?;
        let commit = repo.pulls.get(&number).context("no such pull request")?.head_sha.clone();
        let review = Review { id, number, author: login.into(), state: word.into(), commit, at_ms };
        repo.reviews.insert(id, review);
        Ok(id)
    }

    /// Takes a review back, as a maintainer could.
    pub fn dismiss_review(&self, repo: RepoId, review: i64) {
        let mut state = self.shared.state();
        let review = state.repos.get_mut(&repo.0).and_then(|repo| repo.reviews.get_mut(&review));
        if let Some(review) = review {
            review.state = "DISMISSED".into();
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

    /// Deletes a comment, as its author or an admin could.
    pub fn delete_comment(&self, repo: RepoId, comment: i64) {
        if let Some(repo) = self.shared.state().repos.get_mut(&repo.0) {
            repo.comments.remove(&comment);
        }
    }

    /// All comments below a pull request, oldest first.
    pub fn comments(&self, repo: RepoId, number: u64) -> Vec<CommentSeen> {
        let state = self.shared.state();
        let comments = state.repos.get(&repo.0).map(|r| r.comments.values());
        comments.into_iter().flatten().filter(|c| c.number == number).map(Comment::seen).collect()
    }

    /// All check runs of a repository, oldest first.
    pub fn check_runs(&self, repo: RepoId) -> Vec<CheckRunSeen> {
        let state = self.shared.state();
        let runs = state.repos.get(&repo.0).map(|r| r.check_runs.values());
        runs.into_iter().flatten().map(super::state::CheckRun::seen).collect()
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

    /// After a push: open pull requests follow their branches, and `refs/pull/N/head` in the base follows them.
    fn heads_moved(&self, pushed: RepoId) -> anyhow::Result<()> {
        let now_ms = self.shared.clock.now_ms();
        let mut state = self.shared.state();
        let Some(from) = state.repos.get(&pushed.0).map(|r| r.path.clone()) else { return Ok(()) };
        for repo in state.repos.values_mut() {
            let base = repo.path.clone();
            let follows = |p: &&mut Pull| p.head_repo == Some(pushed.0) && p.state == PullState::Open;
            for pull in repo.pulls.values_mut().filter(follows) {
                let Ok(head) = tip(&from, &pull.head_ref) else { continue };
                if from != base {
                    copy_objects(&from, &base, std::slice::from_ref(&head))?;
                }
                let name = format!("refs/pull/{}/head", pull.number);
                Repository::open_bare(&base)?.reference(&name, Oid::from_str(head.as_str())?, true, "")?;
                if pull.head_sha != head {
                    pull.head_sha = head;
                    pull.updated_ms = now_ms;
                }
            }
        }
        Ok(())
    }
}

/// Whether an installation covers a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covered {
    Yes,
    No,
}

/// What [`StandIn::edit_pull`] can change.
#[derive(Clone, Debug)]
pub struct PullEdit {
    pub title: String,
    pub state: PullState,
    pub draft: bool,
    pub locked: bool,
    pub labels: Vec<String>,
    pub base: String,
    pub body: String,
}

impl State {
    pub(super) fn add_comment(
        &mut self,
        repo: i64,
        number: u64,
        author: &str,
        app: Option<u64>,
        body: &str,
        now_ms: i64,
    ) -> i64 {
        let id = self.next_id();
        let comment = Comment {
            id,
            number,
            author: author.into(),
            app,
            body: body.into(),
            created_ms: now_ms,
            updated_ms: now_ms,
            edits: 0,
            reactions: Vec::new(),
        };
        if let Some(repo) = self.repos.get_mut(&repo) {
            repo.comments.insert(id, comment);
        }
        id
    }
}

fn permissions() -> BTreeMap<String, String> {
    PERMISSIONS.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect()
}
