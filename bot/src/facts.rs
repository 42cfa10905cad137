//! What git tells about a change: read once, from a mirror or from somebody's own repository.

use crate::conventions::claims::{self, ClaimFacts};
use crate::conventions::reviews;
use crate::git::{GitError, History, MergeResult};
use crate::members;
use crate::pull::Commit;
use crate::repo_config;
use crate::rust::public_items;
use perfsuite::model::Sha;
use std::collections::BTreeSet;

/// Commits of one change that are judged; beyond that reading fails, in words, and nothing passes unseen.
const COMMITS_MAX: usize = 5_000;

/// The configuration's file, as git has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigText {
    Absent,
    Bytes(Vec<u8>),
    /// Over [`repo_config::CONFIG_MAX_BYTES`], so it was not read.
    TooLarge,
}

/// CODEOWNERS, as the base has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnersText {
    Absent,
    Text(String),
    /// Larger than GitHub reads.
    TooLarge,
}

/// The facts of one change.
#[derive(Clone, Debug)]
pub struct GitFacts {
    pub merge_base: Sha,
    pub merge: MergeResult,
    /// Oldest first.
    pub commits: Vec<Commit>,
    /// Between merge base and head.
    pub changed: Vec<String>,
    /// The configuration as the base has it; a contributor's own is never read.
    pub config: ConfigText,
    pub owners: OwnersText,
    pub claims: ClaimFacts,
    /// Names of the members of the base's Cargo workspace.
    pub members: Vec<String>,
}

impl GitFacts {
    /// Reads the facts of `head` against the tip of its base branch. Blocks.
    pub fn read(history: &History, base_tip: &Sha, head: &Sha) -> Result<Self, GitError> {
        let merge_base = history.merge_base(base_tip, head)?;
        let changed = history.changed_paths(&merge_base, head)?;
        if !changed.complete {
            return Err(GitError::Range("the change touches more files than are looked at".into()));
        }
        let config = match history.blob_at(base_tip, repo_config::PATH, repo_config::CONFIG_MAX_BYTES) {
            Ok(None) => ConfigText::Absent,
            Ok(Some(blob)) => ConfigText::Bytes(blob.bytes),
            Err(GitError::TooLarge { .. }) => ConfigText::TooLarge,
            Err(error) => return Err(error),
        };
        let commits = history.commits(&merge_base, head, COMMITS_MAX)?;
        let claims = claims(history, &merge_base, head, &commits)?;
        Ok(Self {
            merge: history.merge_result(base_tip, head)?,
            commits,
            changed: changed
                .paths
                .into_iter()
                .flat_map(|path| path.previous.into_iter().chain([path.path]))
                .collect(),
            config,
            owners: owners(history, base_tip)?,
            members: members::names(history, base_tip)?,
            claims,
            merge_base,
        })
    }

    /// `clean` or `conflict`, as the database has it.
    pub fn mergeable(&self) -> &'static str {
        match self.merge {
            MergeResult::Clean { .. } => "clean",
            MergeResult::Conflict { .. } => "conflict",
        }
    }
}

/// The first of the places in which GitHub looks.
fn owners(history: &History, base_tip: &Sha) -> Result<OwnersText, GitError> {
    for place in reviews::PLACES {
        match history.blob_at(base_tip, place, reviews::CODEOWNERS_MAX_BYTES) {
            Ok(None) => {}
            Ok(Some(blob)) => return Ok(OwnersText::Text(String::from_utf8_lossy(&blob.bytes).into_owned())),
            Err(GitError::TooLarge { .. }) => return Ok(OwnersText::TooLarge),
            Err(error) => return Err(error),
        }
    }
    Ok(OwnersText::Absent)
}

/// What is needed to hold commits' types against their changes.
fn claims(
    history: &History,
    merge_base: &Sha,
    head: &Sha,
    commits: &[Commit],
) -> Result<ClaimFacts, GitError> {
    /// Commits whose own files are looked at, and sources that are read: a pull request with more is about more.
    const COMMITS_READ: usize = 50;
    const SOURCES_READ: usize = 300;
    const PATHS_READ: usize = 1_000;
    let saying = |word: &'static str| {
        commits.iter().filter(move |commit| {
            commit.parents == 1 && claims::said(commit).is_some_and(|(kind, _)| kind == word)
        })
    };
    let mut facts = ClaimFacts::default();
    for commit in saying("docs").take(COMMITS_READ) {
        let paths = history.changed_by(&commit.sha)?;
        let code: Vec<String> =
            paths.into_iter().take(PATHS_READ).filter(|path| !is_documentation(path)).collect();
        if !code.is_empty() {
            facts.docs.push((commit.sha.clone(), code));
        }
    }
    if saying("refactor").next().is_some() {
        let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
        let changed = history.changed_paths(merge_base, head)?;
        let sources = changed.paths.iter().filter(|changed| changed.path.ends_with(".rs"));
        for source in sources.take(SOURCES_READ) {
            for (commit, items) in [(merge_base, &mut before), (head, &mut after)] {
                match history.blob_at(commit, &source.path, SOURCE_MAX_BYTES) {
                    Ok(Some(blob)) => items.extend(public_items(&String::from_utf8_lossy(&blob.bytes))),
                    Ok(None) | Err(GitError::TooLarge { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        facts.gone = before.difference(&after).cloned().collect();
    }
    Ok(facts)
}

/// A source file that is larger is generated.
const SOURCE_MAX_BYTES: usize = 1 << 20;

fn is_documentation(path: &str) -> bool {
    repo_config::documentation_only(&[path.to_owned()])
}
