//! What people do in a repository: commits, pull requests, comments, reviews; and looking at what came of it.

use super::super::StandIn;
use super::super::git_store::{commit, copy_objects, tip};
use super::super::state::{CheckRun, CheckRunSeen, Comment, CommentSeen, Pull, Review, State};
use crate::pull::{PullState, RepoId};
use anyhow::Context;
use git2::{Oid, Repository};
use perfsuite::model::Sha;
use std::path::Path;

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

    /// When a pull request was opened, by whom, and when its last change was: a past for it.
    pub fn date_pull(&self, repo: RepoId, number: u64, author: &str, created_ms: i64, updated_ms: i64) {
        let mut state = self.shared.state();
        state.user_id(author);
        if let Some(pull) = state.repos.get_mut(&repo.0).and_then(|r| r.pulls.get_mut(&number)) {
            pull.author = author.into();
            (pull.created_ms, pull.updated_ms) = (created_ms, updated_ms);
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
        runs.into_iter().flatten().map(CheckRun::seen).collect()
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
    pub(in crate::demo::standin) fn add_comment(
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
