//! What git tells about a change: read once, from a mirror or from somebody's own repository.

use crate::conventions::claims::{self, ClaimFacts};
use crate::conventions::reviews;
use crate::conventions::tested::RustChange;
use crate::git::{GitError, History, MergeResult};
use crate::members;
use crate::proof::inline;
use crate::pull::{ChangedPath, Commit};
use crate::repo_config;
use crate::rust::{public_items, tokens};
use perfsuite::model::Sha;
use std::collections::{BTreeMap, BTreeSet};

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
    /// git's id of it.
    pub config_id: Option<Sha>,
    pub owners: OwnersText,
    pub claims: ClaimFacts,
    /// Changed files of Rust's, as far as they were looked into.
    pub rust: Vec<RustChange>,
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
        let (config, config_id) = config_at(history, base_tip)?;
        let commits = history.commits(&merge_base, head, COMMITS_MAX)?;
        let claims = claims(history, &merge_base, head, &commits)?;
        let rust = rust_changes(history, &merge_base, head, &changed.paths)?;
        Ok(Self {
            merge: history.merge_result(base_tip, head)?,
            commits,
            changed: changed
                .paths
                .into_iter()
                .flat_map(|path| path.previous.into_iter().chain([path.path]))
                .collect(),
            config,
            config_id,
            owners: owners(history, base_tip)?,
            members: members::names(history, base_tip)?,
            claims,
            rust,
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

/// The configuration as a commit has it, with git's id of it.
pub fn config_at(history: &History, commit: &Sha) -> Result<(ConfigText, Option<Sha>), GitError> {
    match history.blob_at(commit, repo_config::PATH, repo_config::CONFIG_MAX_BYTES) {
        Ok(None) => Ok((ConfigText::Absent, None)),
        Ok(Some(blob)) => Ok((ConfigText::Bytes(blob.bytes), Some(blob.id))),
        Err(GitError::TooLarge { .. }) => Ok((ConfigText::TooLarge, None)),
        Err(error) => Err(error),
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
        let mut packages = Packages { history, commit: merge_base, known: BTreeMap::new() };
        for source in sources.take(SOURCES_READ) {
            if !packages.may_be_library(&source.path)? {
                continue;
            }
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

/// Packages of Cargo's, to tell libraries from programs: what is public in a program, nobody else can use.
struct Packages<'a> {
    history: &'a History,
    commit: &'a Sha,
    /// By directory, whether a library is in it; `None`: no package begins there.
    known: BTreeMap<String, Option<bool>>,
}

impl Packages<'_> {
    /// Where no package is found around a source, it may be one.
    fn may_be_library(&mut self, path: &str) -> Result<bool, GitError> {
        let mut directory = path;
        while let Some((above, _)) = directory.rsplit_once('/') {
            directory = above;
            if let Some(library) = self.library_in(directory)? {
                return Ok(library && is_library_source(&path[directory.len() + 1..]));
            }
        }
        Ok(match self.library_in("")? {
            Some(library) => library && is_library_source(path),
            None => true,
        })
    }

    fn library_in(&mut self, directory: &str) -> Result<Option<bool>, GitError> {
        if let Some(known) = self.known.get(directory) {
            return Ok(*known);
        }
        let at = |name: &str| match directory {
            "" => name.to_owned(),
            _ => format!("{directory}/{name}"),
        };
        let text = |name: &str| match self.history.blob_at(self.commit, &at(name), SOURCE_MAX_BYTES) {
            Ok(blob) => Ok(blob.map(|blob| blob.bytes)),
            Err(GitError::TooLarge { .. }) => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        };
        let found = match text("Cargo.toml")? {
            None => None,
            Some(manifest) => {
                let manifest = String::from_utf8_lossy(&manifest);
                let heading = |name: &str| manifest.lines().any(|line| line.trim() == name);
                // A workspace's own manifest may be no package's.
                match heading("[package]") {
                    false => None,
                    true => Some(heading("[lib]") || text("src/lib.rs")?.is_some()),
                }
            }
        };
        self.known.insert(directory.to_owned(), found);
        Ok(found)
    }
}

/// Whether a package's file can be part of its library, by Cargo's own places for everything else.
fn is_library_source(path: &str) -> bool {
    let others = ["tests/", "benches/", "examples/", "src/bin/"];
    !others.iter().any(|place| path.starts_with(place)) && path != "src/main.rs" && path != "build.rs"
}

/// Which of the changed sources changed in their code, and which in their tests.
fn rust_changes(
    history: &History,
    merge_base: &Sha,
    head: &Sha,
    changed: &[ChangedPath],
) -> Result<Vec<RustChange>, GitError> {
    /// A pull request with more is about more; the rest counts as code.
    const SOURCES_READ: usize = 300;
    let text = |commit: &Sha, path: &str| match history.blob_at(commit, path, SOURCE_MAX_BYTES) {
        Ok(blob) => Ok(blob.map(|blob| String::from_utf8_lossy(&blob.bytes).into_owned())),
        Err(GitError::TooLarge { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    let mut found = Vec::new();
    let sources = changed.iter().filter(|changed| changed.path.ends_with(".rs"));
    for changed in sources.take(SOURCES_READ) {
        let path = &changed.path;
        let (before, after) = (text(merge_base, path)?, text(head, path)?);
        let Some(after) = after else {
            found.push(RustChange { path: path.clone(), code: false, tests: false });
            continue;
        };
        let (code_before, tests_before) = before.as_deref().map(divided).unwrap_or_default();
        let (code, tests) = divided(&after);
        let of_tests = inline::declaring(path).into_iter().any(|(file, module)| {
            text(head, &file)
                .is_ok_and(|text| text.is_some_and(|text| inline::declares_test_module(&text, &module)))
        });
        found.push(RustChange {
            path: path.clone(),
            code: !of_tests && code != code_before,
            tests: of_tests || (!tests.is_empty() && tests != tests_before),
        });
    }
    Ok(found)
}

/// A file's tokens: those of its code, and those of its inline tests.
fn divided(source: &str) -> (Vec<&str>, Vec<&str>) {
    let items = inline::test_items(source);
    // Items are in order and apart from each other.
    let is_test = |at: usize| {
        let index = items.partition_point(|item| item.end <= at);
        items.get(index).is_some_and(|item| item.contains(&at))
    };
    let (tests, code): (Vec<_>, Vec<_>) = tokens(source).into_iter().partition(|token| is_test(token.start));
    let texts =
        |tokens: Vec<std::ops::Range<usize>>| tokens.into_iter().map(|token| &source[token]).collect();
    (texts(code), texts(tests))
}

/// A source file that is larger is generated.
const SOURCE_MAX_BYTES: usize = 1 << 20;

fn is_documentation(path: &str) -> bool {
    repo_config::documentation_only(&[path.to_owned()])
}
