//! `[commits]`: how commit messages are judged.

use crate::judgement::Level;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Conventional Commits 1.0.0, and rules of style beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CommitsConfig {
    /// Of the whole group: what the specification itself demands has this level, and rules without a level of their own
    /// have at most this one. `off` judges no commit.
    pub level: Level,
    /// Which commits are judged: those that will land by the repository's merge settings, or those of the pull request.
    pub judge: JudgeWhat,
    /// Accounts whose commits are not judged, by their login at the API.
    pub exempt: Vec<String>,
    /// What a `fixup!`, `squash!` or `amend!` commit does.
    pub fixup: FixupPolicy,
    pub rules: CommitRules,
}

impl Default for CommitsConfig {
    fn default() -> Self {
        Self {
            level: Level::Error,
            judge: JudgeWhat::WhatLands,
            exempt: vec!["dependabot[bot]".into()],
            fixup: FixupPolicy::BlockMerge,
            rules: CommitRules::default(),
        }
    }
}

impl CommitsConfig {
    /// Whether this account's commits are left alone. `login` is the API's, never a name out of a commit.
    pub fn exempts(&self, login: &str) -> bool {
        self.exempt.iter().any(|name| name.eq_ignore_ascii_case(login))
    }

    /// The level of a rule: its own, or its default bounded by the group's.
    pub fn level_of(&self, own: Option<Level>, default: Level) -> Level {
        match self.level {
            Level::Off => Level::Off,
            group => own.unwrap_or(default.min(group)),
        }
    }

    /// Adds the names of the Cargo workspace's members as scopes, where `scope-enum.workspace` asks for them.
    pub fn with_workspace_scopes(mut self, members: impl IntoIterator<Item = String>) -> Self {
        if self.rules.scope_enum.workspace {
            self.rules.scope_enum.values.extend(members);
        }
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JudgeWhat {
    WhatLands,
    PullRequest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FixupPolicy {
    /// The check run fails until it is squashed; a push is free.
    BlockMerge,
    Error,
    Allow,
}

/// Rules of style. Without a level each has its default, and never more than the group's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CommitRules {
    /// Which types there are. Default level: error.
    pub type_enum: TypeEnum,
    /// How a type is written. Default level: warn.
    pub type_case: TypeCase,
    /// Which scopes there are. Default level: off.
    pub scope_enum: ScopeEnum,
    /// No full stop at the end of the description. Default level: error.
    pub subject_full_stop: Rule,
    /// The description starts in lower case. Default level: warn.
    pub subject_case: Rule,
    /// No white space after the description. Default level: error.
    pub header_trim: Rule,
    /// Length of the first line. Default level: error.
    pub header_max_length: MaxLength,
    /// Length of each line of the body that holds no address. Default level: warn.
    pub body_max_line_length: MaxLength,
    /// The same for the lines of footers. Default level: warn.
    pub footer_max_line_length: MaxLength,
    /// A `BREAKING CHANGE:` without an empty line before it is text, not a footer. Default level: warn.
    pub footer_leading_blank: Rule,
    /// A `Signed-off-by:` footer. Default level: off.
    pub signed_off_by: Rule,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    pub level: Option<Level>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TypeEnum {
    pub level: Option<Level>,
    /// Compared without regard to case. Empty: any type.
    pub values: Vec<String>,
}

impl Default for TypeEnum {
    fn default() -> Self {
        let values =
            ["build", "chore", "ci", "docs", "feat", "fix", "perf", "refactor", "revert", "style", "test"];
        Self { level: None, values: values.map(str::to_owned).to_vec() }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TypeCase {
    pub level: Option<Level>,
    pub case: WordCase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WordCase {
    #[default]
    Lower,
    Upper,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScopeEnum {
    pub level: Option<Level>,
    /// Empty: any scope.
    pub values: Vec<String>,
    /// The names of the Cargo workspace's members are scopes too.
    pub workspace: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaxLength {
    pub level: Option<Level>,
    /// As people count letters, not bytes.
    #[schemars(range(min = 1, max = 10_000))]
    pub graphemes: u32,
}

impl Default for MaxLength {
    fn default() -> Self {
        Self { level: None, graphemes: 100 }
    }
}
