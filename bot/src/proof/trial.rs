//! What a runner is to try of a change: its merge result with the repository's own checks, and of a fix its graft.

use super::{HEAD_RUNS, graft};
use crate::conventions::claims;
use crate::facts::GitFacts;
use crate::git::{GitError, History, MergeResult};
use crate::judgement::{Level, TestsAsked};
use crate::repo_config::{self, TestsConfig};
use perfsuite::model::Sha;
use perfsuite::model::checks::{CheckCommand, ChecksSpec, ProofSpec};

/// Where a workspace of Cargo's begins.
const MANIFEST: &str = "Cargo.toml";
const MANIFEST_MAX_BYTES: usize = 1 << 20;
/// Sources named that came without a test.
const UNTESTED_NAMED: usize = 50;

/// What a job of checks gets: two commits, and what to do with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The graft of a fix, else the tip of the base branch.
    pub base: Sha,
    /// The merge result.
    pub head: Sha,
    pub spec: ChecksSpec,
}

/// What is asked of the tests by the configuration; `None` where nothing is.
pub fn asked(facts: &GitFacts, config: &TestsConfig) -> Option<TestsAsked> {
    if config.level == Level::Off && config.prove_fixes == Level::Off && config.habits.level == Level::Off {
        return None;
    }
    let mut coverage = crate::conventions::tested::judge(&facts.changed, &facts.rust, config);
    if config.level == Level::Off {
        coverage.untested.clear();
    }
    let untested_left_out = coverage.untested.len().saturating_sub(UNTESTED_NAMED);
    coverage.untested.truncate(UNTESTED_NAMED);
    Some(TestsAsked {
        level: config.level,
        prove_fixes: config.prove_fixes,
        habits: config.habits.clone(),
        sources: coverage.sources,
        untested: coverage.untested,
        untested_left_out,
        skipped: None,
    })
}

/// Whether the change says that it mends something.
pub fn is_fix(facts: &GitFacts, title: Option<&str>) -> bool {
    let says_fix = |message: &str| {
        let parts = crate::conventions::parse(message).parts;
        parts.is_some_and(|parts| parts.kind.eq_ignore_ascii_case("fix"))
    };
    facts.commits.iter().any(|commit| claims::said(commit).is_some_and(|(kind, _)| kind == "fix"))
        || title.is_some_and(says_fix)
}

/// Makes the commits that are to be tried, in a repository that may be written to. The inner error says in words why
/// nothing is. Blocks.
pub fn plan(
    history: &History,
    facts: &GitFacts,
    (tip, head): (&Sha, &Sha),
    config: &TestsConfig,
    fix: bool,
) -> Result<Result<Trial, String>, GitError> {
    if repo_config::documentation_only(&facts.changed) {
        return Ok(Err("only documentation changed".into()));
    }
    let tree = match history.merge_result(tip, head)? {
        MergeResult::Clean { tree } => tree,
        MergeResult::Conflict { paths, count } => return Ok(Err(conflict(&paths, count))),
    };
    let merge = history.plant_merge(&tree, tip, head)?;
    let cargo = matches!(
        history.blob_at(&merge, MANIFEST, MANIFEST_MAX_BYTES),
        Ok(Some(_)) | Err(GitError::TooLarge { .. })
    );
    let asked = config.level > Level::Off || config.habits.level > Level::Off;
    let commands: Vec<CheckCommand> = config
        .check
        .iter()
        .filter(|check| asked && (cargo || check.command.first().is_none_or(|program| program != "cargo")))
        .map(|check| CheckCommand {
            name: check.name.clone(),
            command: check.command.clone(),
            deadline_seconds: u64::from(check.timeout_minutes) * 60,
        })
        .collect();
    let mut base = tip.clone();
    let mut proof = None;
    if fix && cargo && config.prove_fixes > Level::Off {
        let (before, after) = (history.snapshot(tip)?, history.snapshot(&merge)?);
        let mut grafted = Vec::new();
        if let Some(graft) = graft(history, &before, &after, config)? {
            base = history.plant(&graft.files, tip)?;
            grafted = graft.paths;
        }
        proof = Some(ProofSpec { base: tip.clone(), grafted, runs: HEAD_RUNS });
    }
    if commands.is_empty() && proof.is_none() {
        return Ok(Err(match config.check.is_empty() || !asked {
            true => "the configuration names no check".into(),
            false => format!("there is no `{MANIFEST}`, and the configuration names no other check"),
        }));
    }
    let habits = match config.habits.level {
        Level::Off => Vec::new(),
        _ => config.habits.lints.clone(),
    };
    let changed = history.changed_lines(tip, &merge)?;
    Ok(Ok(Trial { base, head: merge, spec: ChecksSpec { commands, proof, habits, changed } }))
}

fn conflict(paths: &[String], count: usize) -> String {
    /// The check run is no merge tool.
    const NAMED: usize = 3;
    let named: Vec<String> = paths.iter().take(NAMED).map(|path| crate::text::quoted(path)).collect();
    let more = match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("it does not merge: there are conflicts in {}{more}", named.join(", "))
}
