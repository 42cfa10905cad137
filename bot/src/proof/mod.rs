//! A fix proves itself: its tests, put upon the base, must fail there by their own words, and pass on the head.
//!
//! Grafted are the files that the configuration calls tests, whole, and what stands under `#[cfg(test)]` in sources. The
//! code of both sides runs in the sandbox. Failing to compile is no proof, and is told apart.

mod graft;
pub mod inline;
mod outcome;
pub mod trial;

pub use graft::{Graft, graft};
pub use outcome::decide;

use crate::error::UserError;
use crate::facts::GitFacts;
use crate::git::History;
use crate::judgement::Proof;
use crate::repo_config::RepoConfig;
use crate::{assess, review};
use anyhow::Context;
use clap::Args;
use perfsuite::checking::{self, Place, Stand};
use perfsuite::model::Sha;
use perfsuite::model::checks::ProofSpec;
use perfsuite::observe::Unobserved;
use perfsuite::sandbox::{Preference, Sandbox};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How often the head's tests must pass, so that a test that fails by chance proves nothing.
pub const HEAD_RUNS: u32 = 3;

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    paceline prove                         this branch since it left the default branch\n  \
    paceline prove main..fix-overflow --repo ../widgets\n  \
    paceline prove --format json\n\n\
    What is a test and what is a source is said by [tests] of the base's .github/paceline.toml.\n\n\
    Exit code: 0 proven, 1 not proven, 2 could not be tried.")]
pub struct ProveArgs {
    /// What to prove, as git writes it: A..B, or A for A..HEAD [default: HEAD since the default branch]
    #[arg(value_name = "RANGE")]
    pub range: Option<String>,
    /// The repository
    #[arg(long, default_value = ".", value_name = "PATH")]
    pub repo: PathBuf,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// `auto`: in a sandbox where there is one; `off`: without
    #[arg(long, value_enum, default_value_t = Preference::Auto)]
    pub sandbox: Preference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    Json,
}

pub async fn run(args: ProveArgs) -> anyhow::Result<ExitCode> {
    let format = args.format;
    let proof =
        tokio::task::spawn_blocking(move || of_range(&args)).await.context("the trial was ended")??;
    match format {
        Format::Text => print!("{}", in_words(&proof)),
        Format::Json => println!("{}", serde_json::to_string(&proof).context("a proof is plain data")?),
    }
    Ok(ExitCode::from(u8::from(!proof.proven())))
}

/// Tries the range of a local repository. Blocks.
fn of_range(args: &ProveArgs) -> anyhow::Result<Proof> {
    let words = |error: crate::git::GitError| UserError::new(error.to_string());
    let history = History::local(&args.repo).map_err(words)?;
    let range = history.range(args.range.as_deref()).map_err(words)?;
    let facts = GitFacts::read(&history, &range.base, &range.head).map_err(words)?;
    let config = assess::config_of(&facts).map_err(|error| {
        UserError::new(format!(
            "{} line {}, column {}: {}",
            error.path, error.line, error.column, error.message
        ))
    })?;
    let sandbox = Sandbox::detect(args.sandbox)?;
    let work =
        tempfile::Builder::new().prefix("paceline-prove-").tempdir().context("no temporary directory")?;
    let cache = review::cache_dir().join("prove");
    prove(&history, &facts.merge_base, &range.head, &config, &sandbox, work.path(), &cache)
}

/// Grafts, builds, runs, decides. Blocks for as long as the tests take; `work` is empty and the caller's to remove.
fn prove(
    history: &History,
    base: &Sha,
    head: &Sha,
    config: &RepoConfig,
    sandbox: &Sandbox,
    work: &Path,
    cache: &Path,
) -> anyhow::Result<Proof> {
    let spec_base = base.clone();
    let (base, head) = (history.snapshot(base)?, history.snapshot(head)?);
    let Some(graft) = graft(history, &base, &head, &config.tests)? else { return Ok(Proof::NoTests) };
    let place = Place::new(sandbox, &Unobserved, work, cache.join("cargo-home"))?;
    let spec = ProofSpec { base: spec_base, grafted: graft.paths, runs: HEAD_RUNS };
    let ran = checking::prove(&place, &spec, &mut |stand| {
        let files = match stand {
            Stand::Graft => &graft.files,
            Stand::Base => &base,
            Stand::Head => &head,
        };
        place.clear_source()?;
        history.write_snapshot(files, &place.source())?;
        Ok(())
    })?;
    Ok(decide(&ran))
}

/// For people.
fn in_words(proof: &Proof) -> String {
    /// Tests that are named.
    const SHOWN: usize = 20;
    let listed = |tests: &[String]| {
        let mut text: String = tests.iter().take(SHOWN).map(|test| format!("  {test}\n")).collect();
        if tests.len() > SHOWN {
            text += &format!("  and {} more\n", tests.len() - SHOWN);
        }
        text
    };
    let indented = |words: &str| words.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let text = match proof {
        Proof::Proven { tests, words } => format!(
            "Proven: without the fix these tests fail, with it they pass, {HEAD_RUNS} times of {HEAD_RUNS}.\n{}{}",
            listed(tests),
            indented(words)
        ),
        Proof::NoTests => "Not proven: the change brings no test.\n".into(),
        Proof::PassesWithout { tests } => format!(
            "Not proven: the tests pass without the fix. A test that fails without it would prove it.\n{}",
            listed(tests)
        ),
        Proof::DoesNotCompile { output } => format!(
            "Not proven: the tests do not compile without the fix, so they show nothing of it. Where the fix brings new \
             functions, test it through one that was there before.\n{}",
            indented(output)
        ),
        Proof::FailsWith { tests, words } => format!(
            "Not proven: these tests fail without the fix, and do not always pass with it.\n{}{}",
            listed(tests),
            indented(words)
        ),
        Proof::Unclear { reason } => format!("Cannot be told: {reason}.\n"),
    };
    // Tests print what they like.
    text.chars().filter(|c| !c.is_control() || *c == '\n').collect()
}
