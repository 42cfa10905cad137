//! `.github/paceline.toml`: what a repository asks of its pull requests. Always read from the base branch.

mod check;
mod commits;
mod meaning;
mod others;
mod perf;
mod report;
pub mod schema;
mod select;
mod source;

pub use commits::{
    CommitRules, CommitsConfig, FixupPolicy, JudgeWhat, MaxLength, Rule, ScopeEnum, TypeCase, TypeEnum,
    WordCase,
};
pub use others::{
    ClaimsConfig, ContributorsConfig, Labels, OwnersCount, ReviewsConfig, TestCheck, TestsConfig,
};
pub use perf::{Budget, ForkPolicy, PerfConfig};
pub use report::{FileCheck, check_file, describe};
pub use select::{Trigger, documentation_only, select, suites_for};

use crate::judgement::ConfigError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the file lies in a repository.
pub const PATH: &str = ".github/paceline.toml";

/// A file that people write by hand is a few KiB; this leaves room for a generated one of hundreds of benchmarks.
pub const CONFIG_MAX_BYTES: usize = 256 << 10;

/// Errors told of one file; the rest follows once these are mended.
pub const ERRORS_MAX: usize = 50;

/// The whole file. Every key is optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "Paceline's configuration of a repository (.github/paceline.toml)")]
pub struct RepoConfig {
    pub commits: CommitsConfig,
    pub tests: TestsConfig,
    pub reviews: ReviewsConfig,
    pub claims: ClaimsConfig,
    pub perf: PerfConfig,
    pub labels: Labels,
    pub contributors: ContributorsConfig,
}

/// Reads the file's text. `path` is what the errors name. Errors come in order of their place, at most [`ERRORS_MAX`].
pub fn parse(text: &str, path: &str) -> Result<RepoConfig, Vec<ConfigError>> {
    let source = source::Source::new(text, path);
    if text.len() > CONFIG_MAX_BYTES {
        let message = format!(
            "The file is {} KiB large; at most {} KiB are read.",
            text.len() >> 10,
            CONFIG_MAX_BYTES >> 10
        );
        return Err(vec![source.error(0, message)]);
    }
    let tree = source.tree().map_err(|error| vec![error])?;
    let mut errors = check::check(&source, &tree);
    if errors.is_empty() {
        match toml::from_str::<RepoConfig>(text) {
            Ok(config) => {
                errors = meaning::check(&source, &tree, &config);
                if errors.is_empty() {
                    return Ok(config);
                }
            }
            Err(error) => errors.push(source.syntax_error(&error)),
        }
    }
    errors.sort_by_key(|e| (e.line, e.column));
    errors.truncate(ERRORS_MAX);
    Err(errors)
}

/// The same for bytes as git has them.
pub fn parse_bytes(bytes: &[u8], path: &str) -> Result<RepoConfig, Vec<ConfigError>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text, path),
        // A file that was cut at the bound may be cut within a character: its size is the error then.
        Err(_) if bytes.len() > CONFIG_MAX_BYTES => parse(&String::from_utf8_lossy(bytes), path),
        Err(error) => {
            let sound = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let source = source::Source::new(&sound, path);
            Err(vec![source.error(sound.len(), "The file is no UTF-8 text from here on.".into())])
        }
    }
}

#[cfg(test)]
mod tests;
