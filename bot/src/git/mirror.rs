//! Bare mirrors of GitHub's repositories, one for each, filled by fetches of what is asked for and nothing else.

use super::command::Git;
use super::{GitError, History};
use crate::pull::RepoId;
use perfsuite::model::Sha;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// A first fetch of a very large project over a slow line; a token handed out lives longer than this.
const FETCH_LIMIT: Duration = Duration::from_secs(600);
/// Waiting for another fetch of the same mirror: as long as that one may take.
const LOCK_LIMIT: Duration = Duration::from_secs(620);
const LOCK_POLL: Duration = Duration::from_millis(20);
/// Each fetch adds a pack, and reading slows down with their number.
const PACKS_MAX: usize = 32;
/// Repacking by size copies little; a mirror whose repack takes longer is used as it is.
const REPACK_LIMIT: Duration = Duration::from_secs(120);
/// One fetch's refspecs must fit a command line; a sweep asks in portions.
const WANTS_MAX: usize = 200;

/// Where tags are in a mirror.
pub(super) const TAGS: &str = "refs/paceline/tag/";

/// What a fetch should bring.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// Heads of pull requests.
    pub pulls: Vec<u64>,
    /// Tips of branches, by short name (`main`).
    pub branches: Vec<String>,
    /// Commits by id; those that are there already are not asked for.
    pub commits: Vec<Sha>,
}

/// Where the fetched names pointed at that moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    pub pulls: BTreeMap<u64, Sha>,
    pub branches: BTreeMap<String, Sha>,
}

/// All mirrors below one directory. Cheap to clone; several processes may share the directory.
#[derive(Clone, Debug)]
pub struct Mirrors {
    dir: PathBuf,
}

impl Mirrors {
    /// Mirrors live in `data_dir/mirrors`.
    pub fn new(data_dir: impl AsRef<Path>) -> Self {
        Self { dir: data_dir.as_ref().join("mirrors") }
    }

    /// The mirror for reading.
    pub fn open(&self, repo: RepoId) -> Result<History, GitError> {
        let path = self.path(repo);
        if !path.exists() {
            return Err(GitError::missing(format!("a mirror of repository {}", repo.0)));
        }
        History::mirror(&path)
    }

    /// Brings `wants` into the mirror, making it first when there is none. One fetch at a time for each mirror.
    /// Nothing is ever pruned, so no commit that a report points at goes away, force-pushed or not.
    pub fn fetch(
        &self,
        repo: RepoId,
        url: &str,
        token: Option<&SecretString>,
        wants: &Wants,
    ) -> Result<Fetched, GitError> {
        self.fetch_specs(repo, url, token, |git| refspecs(git, wants))?;
        fetched(&git2::Repository::open_bare(self.path(repo))?, wants)
    }

    /// Brings a branch and every tag; returns the branch's tip.
    pub fn fetch_branch_and_tags(
        &self,
        repo: RepoId,
        url: &str,
        token: Option<&SecretString>,
        branch: &str,
    ) -> Result<Sha, GitError> {
        let specs = vec![refspec_of_branch(branch)?, format!("+refs/tags/*:{TAGS}*")];
        self.fetch_specs(repo, url, token, |_| Ok(specs))?;
        let wants = Wants { branches: vec![branch.to_owned()], ..Wants::default() };
        let found = fetched(&git2::Repository::open_bare(self.path(repo))?, &wants)?;
        found.branches.get(branch).cloned().ok_or_else(|| GitError::missing(format!("branch {branch:?}")))
    }

    fn fetch_specs(
        &self,
        repo: RepoId,
        url: &str,
        token: Option<&SecretString>,
        specs: impl FnOnce(&git2::Repository) -> Result<Vec<String>, GitError>,
    ) -> Result<(), GitError> {
        let path = self.path(repo);
        std::fs::create_dir_all(&self.dir).map_err(GitError::io(format!("making {}", self.dir.display())))?;
        let _lock = self.lock(repo)?;
        create(&path)?;
        remove_stale_locks(&path);
        let git = git2::Repository::open_bare(&path)?;
        let refspecs = specs(&git)?;
        if refspecs.is_empty() {
            return Ok(());
        }
        let mut fetch = Git::new(&path);
        if let Some(token) = token {
            fetch.authorize(url, token);
        }
        fetch.args([
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--force",
        ]);
        fetch.args(["--end-of-options", url]).args(&refspecs);
        fetch.run("git fetch", FETCH_LIMIT)?;
        if let Err(error) = repack_when_many(&path) {
            tracing::warn!(mirror = %path.display(), %error, "a mirror could not be repacked");
        }
        Ok(())
    }

    /// The mirror's directory, whether it exists or not.
    pub fn path(&self, repo: RepoId) -> PathBuf {
        self.dir.join(format!("{}.git", repo.0))
    }

    /// Repositories whose mirror nothing was fetched into since, the longest unused first.
    pub fn unused_since(&self, when: SystemTime) -> Vec<RepoId> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut found: Vec<(SystemTime, RepoId)> = entries
            .filter_map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                let repo = RepoId(name.strip_suffix(".git")?.parse().ok()?);
                Some((last_fetch(&entry.path())?, repo))
            })
            .filter(|(fetched, _)| *fetched < when)
            .collect();
        found.sort_by_key(|(fetched, repo)| (*fetched, repo.0));
        found.into_iter().map(|(_, repo)| repo).collect()
    }

    /// Removes a mirror, unless somebody fetches into it, or has since. Whether it did.
    pub fn remove_unused(&self, repo: RepoId, since: SystemTime) -> Result<bool, GitError> {
        let path = self.path(repo);
        let Ok(lock) = File::options().write(true).open(self.dir.join(format!("{}.lock", repo.0))) else {
            return Ok(false);
        };
        if lock.try_lock().is_err() || last_fetch(&path).is_none_or(|fetched| fetched >= since) {
            return Ok(false);
        }
        // Renamed first, so that a half-removed mirror is never seen.
        let gone = path.with_extension("gone");
        let _ = std::fs::remove_dir_all(&gone);
        std::fs::rename(&path, &gone).map_err(GitError::io(format!("removing {}", path.display())))?;
        std::fs::remove_dir_all(&gone).map_err(GitError::io(format!("removing {}", gone.display())))?;
        Ok(true)
    }

    /// Held by an open file, so that a killed process holds nothing.
    fn lock(&self, repo: RepoId) -> Result<File, GitError> {
        let path = self.dir.join(format!("{}.lock", repo.0));
        let context = || format!("locking {}", path.display());
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(GitError::io(context()))?;
        let deadline = Instant::now() + LOCK_LIMIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
                Err(TryLockError::WouldBlock) => {
                    let seconds = LOCK_LIMIT.as_secs();
                    return Err(GitError::TimedOut { what: "waiting for another fetch", seconds });
                }
                Err(TryLockError::Error(e)) => return Err(GitError::io(context())(e)),
            }
        }
    }
}

/// When something last came into a mirror.
fn last_fetch(mirror: &Path) -> Option<SystemTime> {
    let places = ["", "objects/pack", "objects", "refs/paceline", "refs/paceline/pull", "packed-refs"];
    places
        .into_iter()
        .filter_map(|place| std::fs::metadata(mirror.join(place)).and_then(|meta| meta.modified()).ok())
        .max()
}

/// Made aside and renamed, so that a half-made mirror is never seen.
fn create(path: &Path) -> Result<(), GitError> {
    if path.exists() {
        return Ok(());
    }
    let aside = path.with_extension("new");
    let _ = std::fs::remove_dir_all(&aside);
    let mut how = git2::RepositoryInitOptions::new();
    // No template: it would bring hooks.
    how.bare(true).external_template(false).no_reinit(true).initial_head("paceline");
    git2::Repository::init_opts(&aside, &how)?;
    std::fs::rename(&aside, path).map_err(GitError::io(format!("making {}", path.display())))
}

/// A git that was killed leaves its lock files, which would refuse every later fetch. We hold the mirror's lock, so
/// nobody else's are removed.
fn remove_stale_locks(mirror: &Path) {
    for name in ["packed-refs.lock", "config.lock", "shallow.lock", "HEAD.lock"] {
        let _ = std::fs::remove_file(mirror.join(name));
    }
    for folder in ["pull", "branch", "commit"] {
        let Ok(entries) = std::fs::read_dir(mirror.join("refs/paceline").join(folder)) else { continue };
        for entry in entries.flatten() {
            if entry.path().extension().is_some_and(|e| e == "lock") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Joins small packs into larger ones. Unlike a garbage collection this keeps what no ref reaches.
fn repack_when_many(mirror: &Path) -> Result<(), GitError> {
    let Ok(entries) = std::fs::read_dir(mirror.join("objects/pack")) else { return Ok(()) };
    let packs = entries.flatten().filter(|e| e.path().extension().is_some_and(|e| e == "pack")).count();
    if packs <= PACKS_MAX {
        return Ok(());
    }
    let mut repack = Git::new(mirror);
    repack.args(["repack", "--geometric=2", "-d", "-q", "--no-write-bitmap-index"]);
    repack.run("git repack", REPACK_LIMIT)
}

fn refspecs(git: &git2::Repository, wants: &Wants) -> Result<Vec<String>, GitError> {
    let mut specs = Vec::new();
    for number in &wants.pulls {
        specs.push(format!("+refs/pull/{number}/head:{}", pull_ref(*number)));
    }
    for branch in &wants.branches {
        specs.push(refspec_of_branch(branch)?);
    }
    for sha in &wants.commits {
        if !git.odb()?.exists(git2::Oid::from_str(sha.as_str())?) {
            specs.push(format!("{sha}:refs/paceline/commit/{sha}"));
        }
    }
    if specs.len() > WANTS_MAX {
        return Err(GitError::TooMany { what: "refs in one fetch", max: WANTS_MAX });
    }
    Ok(specs)
}

pub(super) fn refspec_of_branch(branch: &str) -> Result<String, GitError> {
    let source = format!("refs/heads/{branch}");
    // Also keeps out `*`, `:`, `^` and all else that means something in a refspec.
    if !git2::Reference::is_valid_name(&source) {
        return Err(GitError::missing(format!("branch {branch:?}")));
    }
    Ok(format!("+{source}:{}", branch_ref(branch)))
}

fn fetched(git: &git2::Repository, wants: &Wants) -> Result<Fetched, GitError> {
    let target = |name: &str| -> Result<Sha, GitError> {
        let id = git.refname_to_id(name).map_err(|_| GitError::missing(name))?;
        super::history::sha(id)
    };
    let pulls = wants.pulls.iter().map(|n| Ok((*n, target(&pull_ref(*n))?)));
    let branches = wants.branches.iter().map(|b| Ok((b.clone(), target(&branch_ref(b))?)));
    Ok(Fetched {
        pulls: pulls.collect::<Result<_, GitError>>()?,
        branches: branches.collect::<Result<_, GitError>>()?,
    })
}

fn pull_ref(number: u64) -> String {
    format!("refs/paceline/pull/{number}")
}

/// By digest, because today's branch `a/b` and yesterday's branch `a` cannot both be files.
pub(super) fn branch_ref(branch: &str) -> String {
    use sha2::Digest;
    format!("refs/paceline/branch/{}", hex::encode(sha2::Sha256::digest(branch)))
}
