//! `[tests]`, `[reviews]`, `[claims]`, `[labels]`, `[contributors]`.

use crate::judgement::{Habits, Level};
use globset::GlobSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Changed code wants changed tests, which pass; and a fix proves itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TestsConfig {
    pub level: Level,
    /// Globs of the code that wants tests.
    pub source: Vec<String>,
    /// Globs of the tests.
    pub tests: Vec<String>,
    /// Whether a `fix:` must bring a test that fails without it.
    pub prove_fixes: Level,
    pub mutants: bool,
    /// Clippy's lints that count on changed lines alone.
    pub habits: Habits,
    /// Commands that must pass on the merge result.
    pub check: Vec<TestCheck>,
}

impl TestsConfig {
    /// Of sources and of tests. Globs were checked when the file was read; what fails all the same matches nothing.
    pub fn globs(&self) -> (GlobSet, GlobSet) {
        let of = |patterns| super::select::globs(patterns).unwrap_or_else(GlobSet::empty);
        (of(&self.source), of(&self.tests))
    }
}

impl Default for TestsConfig {
    fn default() -> Self {
        let check = |name: &str, command: &[&str]| TestCheck {
            name: name.into(),
            command: command.iter().map(|word| (*word).into()).collect(),
            timeout_minutes: timeout_default(),
        };
        Self {
            level: Level::Warn,
            source: vec!["**/src/**/*.rs".into()],
            tests: vec!["**/tests/**".into(), "**/benches/**".into()],
            prove_fixes: Level::Warn,
            mutants: false,
            habits: Habits::default(),
            check: vec![
                check("fmt", &["cargo", "fmt", "--all", "--check"]),
                check(
                    "clippy",
                    &["cargo", "clippy", "--workspace", "--all-targets", "--message-format=json"],
                ),
                check("test", &["cargo", "test", "--workspace"]),
            ],
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TestCheck {
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// Program and arguments; no shell.
    #[schemars(length(min = 1, max = 100))]
    pub command: Vec<String>,
    #[serde(default = "timeout_default")]
    #[schemars(range(min = 1, max = 720))]
    pub timeout_minutes: u32,
}

fn timeout_default() -> u32 {
    30
}

/// Who must have looked, by the CODEOWNERS of the base.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReviewsConfig {
    pub level: Level,
    /// Distinct people, the author not counted.
    #[schemars(range(max = 10))]
    pub owners_per_file: u32,
    /// Other numbers for some paths; the last entry that matches counts.
    pub count: Vec<OwnersCount>,
    /// Target of the time to a first answer.
    #[schemars(range(max = 365))]
    pub triage_days: u32,
    /// Target of the time to a whole review.
    #[schemars(range(max = 365))]
    pub review_days: u32,
}

impl Default for ReviewsConfig {
    fn default() -> Self {
        Self { level: Level::Warn, owners_per_file: 2, count: Vec::new(), triage_days: 3, review_days: 10 }
    }
}

impl ReviewsConfig {
    /// How many owners each of these files wants, in their order.
    pub fn counts<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
        // Globs were checked when the file was read; one that fails all the same matches nothing.
        let globs: Vec<(Option<globset::GlobSet>, u32)> =
            self.count.iter().map(|entry| (super::select::globs(&entry.paths), entry.owners)).collect();
        let matching = |path: &str| {
            let last = globs.iter().rev().find(|(globs, _)| globs.as_ref().is_some_and(|g| g.is_match(path)));
            last.map_or(self.owners_per_file, |(_, owners)| *owners) as usize
        };
        paths.into_iter().map(matching).collect()
    }
}

/// How many owners files of some paths want.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OwnersCount {
    /// Globs.
    #[schemars(length(min = 1, max = 100))]
    pub paths: Vec<String>,
    #[schemars(range(max = 10))]
    pub owners: u32,
}

/// What a commit's type claims about its change: code in `docs`, public items gone in `refactor`, `fix` without an issue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClaimsConfig {
    pub level: Level,
}

impl Default for ClaimsConfig {
    fn default() -> Self {
        Self { level: Level::Warn }
    }
}

/// Labels that the bot sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Labels {
    /// On a pull request with a confirmed slowdown.
    #[schemars(length(min = 1, max = 50))]
    pub perf_regression: String,
}

impl Default for Labels {
    fn default() -> Self {
        Self { perf_regression: "perf-regression".into() }
    }
}

/// Whose contributions are counted, and who is named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ContributorsConfig {
    /// Logins that are not counted; bots never are.
    pub exclude: Vec<String>,
    /// Logins of people who asked to be left out.
    pub opt_out: Vec<String>,
}
