//! Which suites a change starts: by its paths, by a label, by a command.

use super::RepoConfig;
use globset::{Glob, GlobSet, GlobSetBuilder};
use perfsuite::model::SuiteSpec;

/// Why a run is wanted.
#[derive(Clone, Copy, Debug)]
pub enum Trigger<'a> {
    /// Opened, pushed to, reopened, made ready, labelled: with the pull request's labels as they are.
    Push { labels: &'a [String] },
    /// Somebody asked: for one suite, or for all. Paths do not matter then.
    Command { suite: Option<&'a str> },
}

/// The suites that a push starts, or why there is nothing to measure. See [`select`].
pub fn suites_for(config: &RepoConfig, changed: &[String]) -> Result<Vec<SuiteSpec>, String> {
    select(config, changed, Trigger::Push { labels: &[] })
}

/// Decides. `changed` are the paths that differ between merge base and head; renamed files under both names.
///
/// An empty list means that the configuration names no suite: every criterion bench of the workspace, as in a job.
/// An error is the reason in words, to stand after "not measured:".
pub fn select(
    config: &RepoConfig,
    changed: &[String],
    trigger: Trigger<'_>,
) -> Result<Vec<SuiteSpec>, String> {
    let suites = &config.perf.suite;
    match trigger {
        Trigger::Command { suite: None } => Ok(suites.clone()),
        Trigger::Command { suite: Some(name) } => {
            let found = suites.iter().find(|suite| suite.name == name);
            found.map(|suite| vec![suite.clone()]).ok_or_else(|| "there is no suite of that name".into())
        }
        Trigger::Push { labels } => pushed(suites, changed, labels).map_err(str::to_owned),
    }
}

fn pushed(
    suites: &[SuiteSpec],
    changed: &[String],
    labels: &[String],
) -> Result<Vec<SuiteSpec>, &'static str> {
    if changed.is_empty() {
        return Err("no file changed");
    }
    if suites.is_empty() && !documentation_only(changed) {
        return Ok(Vec::new());
    }
    let by_path: Vec<&SuiteSpec> = suites.iter().filter(|suite| paths_match(suite, changed)).collect();
    let chosen: Vec<_> =
        by_path.iter().filter(|suite| starts_on(&suite.on, labels)).copied().cloned().collect();
    if !chosen.is_empty() {
        Ok(chosen)
    } else if documentation_only(changed) {
        Err("only documentation changed")
    } else if by_path.is_empty() {
        Err("no changed file belongs to a suite")
    } else {
        Err("the suites for these files wait for a label or a command")
    }
}

/// Whether every path is one that cannot change what a program does.
pub fn documentation_only(changed: &[String]) -> bool {
    let Some(documentation) = globs(DOCUMENTATION) else { return false };
    !changed.is_empty() && changed.iter().all(|path| documentation.is_match(path))
}

const DOCUMENTATION: &[&str] = &[
    "**/*.md",
    "**/*.rst",
    "**/*.adoc",
    "docs/**",
    "**/LICENSE*",
    "**/LICENCE*",
    "**/COPYING*",
    "**/NOTICE*",
    "**/AUTHORS*",
    "**/CODEOWNERS",
    "**/.gitignore",
    "**/.gitattributes",
    "**/.mailmap",
    "**/.editorconfig",
    ".github/**",
];

fn paths_match(suite: &SuiteSpec, changed: &[String]) -> bool {
    if suite.paths.is_empty() {
        return !documentation_only(changed);
    }
    let globs = globs(&suite.paths);
    // Globs were checked when the file was read; one that fails all the same must not hide a slowdown.
    globs.is_none_or(|globs| changed.iter().any(|path| globs.is_match(path)))
}

fn starts_on(on: &str, labels: &[String]) -> bool {
    match on.strip_prefix("label:") {
        Some(label) => labels.iter().any(|l| l.eq_ignore_ascii_case(label)),
        None => on == "push",
    }
}

pub(super) fn globs<S: AsRef<str>>(patterns: &[S]) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern.as_ref()).ok()?);
    }
    set.build().ok()
}
