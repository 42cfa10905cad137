//! From facts to what is found and what is to be measured: pure, and the same for the App and for `paceline review`.

use crate::conventions::claims;
use crate::conventions::landing::{self, Opened};
use crate::conventions::what_if::WhatIf;
use crate::facts::{ConfigText, GitFacts, OwnersText};
use crate::judgement::{CommitJudgement, CommitsJudgement, ConfigError, Finding, Level, TestsAsked};
use crate::proof::trial;
use crate::pull::PullRequest;
use crate::repo_config::{self, RepoConfig, Trigger};
use perfsuite::model::{JobLimits, Sha, SuiteSpec};

/// The outcome of looking at a change without running anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    pub commits: CommitsJudgement,
    /// What is asked of the tests; `None` where nothing is, or where nobody knows.
    pub tests: Option<TestsAsked>,
    pub config_error: Option<ConfigError>,
    /// The base's, or the defaults.
    pub config: RepoConfig,
    /// What to measure, or why nothing.
    pub plan: Result<Plan, String>,
}

/// What is to be measured, by the configuration of the base.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Empty: every criterion bench of the workspace.
    pub suites: Vec<SuiteSpec>,
    /// False alarms allowed per run, as a probability.
    pub budget: f64,
    pub limits: JobLimits,
    /// Of measuring, all runs of the repository in one day together.
    pub minutes_per_day: f64,
    /// Measure also what runs the same machine code on both sides.
    pub all: bool,
}

/// A change beyond what is judged: it is failed in words, so that nothing passes unseen.
pub fn unreadable(pull: &PullRequest, reason: &str) -> Assessment {
    Assessment {
        commits: unreadable_commits(&pull.head_sha, &pull.title, reason),
        tests: None,
        config_error: None,
        config: RepoConfig::default(),
        plan: Err(format!("the change cannot be judged: {reason}")),
    }
}

/// The same for the commits alone; `header` is what stands for all of them.
pub fn unreadable_commits(head: &Sha, header: &str, reason: &str) -> CommitsJudgement {
    let finding = Finding {
        rule: "change-size".into(),
        level: Level::Error,
        line: 1,
        column: 1,
        message: format!("this pull request cannot be judged: {reason}"),
        suggestion: None,
    };
    let commit = CommitJudgement {
        sha: head.clone(),
        header: header.into(),
        compliant: None,
        findings: vec![finding],
    };
    CommitsJudgement { commits: vec![commit], ..CommitsJudgement::default() }
}

/// Whose change it is.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// A local review: whoever is at the keyboard.
    Mine,
    /// A pull request that somebody opened.
    Opened { author: &'a str, opened: &'a Opened, what_if: Option<&'a WhatIf> },
    /// A merge queue's group: several people's.
    Group,
}

impl Assessment {
    /// Whether the pull requests of this change are asked for reviews.
    pub fn asks_for_reviews(&self, facts: &GitFacts) -> bool {
        self.config.reviews.level > Level::Off && facts.owners != OwnersText::Absent
    }
}

/// Judges the commits and picks the suites. An unusable configuration stops measuring, never the judging of commits.
pub fn assess(facts: &GitFacts, whose: Whose<'_>, trigger: Trigger<'_>) -> Assessment {
    let (config, config_error) = match read_config(&facts.config) {
        Ok(config) => {
            let commits = config.commits.with_workspace_scopes(facts.members.iter().cloned());
            (RepoConfig { commits, ..config }, None)
        }
        Err(error) => (RepoConfig::default(), Some(error)),
    };
    let plan = match config_error {
        Some(_) => Err("the configuration cannot be read".to_owned()),
        None => repo_config::select(&config, &facts.changed, trigger),
    };
    let (author, opened, what_if) = match whose {
        Whose::Opened { author, opened, what_if } => (Some(author), Some(opened), what_if),
        Whose::Mine | Whose::Group => (None, None, None),
    };
    let exempt = author.is_some_and(|login| config.commits.exempts(login));
    let commits = match exempt {
        true => CommitsJudgement::default(),
        false => {
            let described =
                opened.map(|opened| format!("{}\n{}", opened.title, opened.body)).unwrap_or_default();
            let of = &config.claims;
            let claims =
                claims::judge(&facts.commits, &facts.claims, &facts.changed, &described, what_if, of);
            let waiting = claims::waiting(&facts.commits, &facts.changed, of);
            CommitsJudgement { claims, waiting, ..landing::judge(&facts.commits, opened, &config.commits) }
        }
    };
    Assessment {
        commits,
        tests: match config_error {
            Some(_) => None,
            None => trial::asked(facts, &config.tests),
        },
        config_error,
        plan: plan.map(|suites| Plan {
            suites,
            budget: config.perf.budget.probability(),
            limits: config.perf.limits(),
            minutes_per_day: config.perf.minutes_per_day,
            all: config.perf.all,
        }),
        config,
    }
}

/// The configuration of the base, or why it cannot be used.
pub fn config_of(facts: &GitFacts) -> Result<RepoConfig, ConfigError> {
    read_config(&facts.config)
}

/// A configuration, or why it cannot be used.
pub fn config_in(text: &ConfigText) -> Result<RepoConfig, ConfigError> {
    read_config(text)
}

fn read_config(text: &ConfigText) -> Result<RepoConfig, ConfigError> {
    let at_start = |message: String| ConfigError {
        path: repo_config::PATH.into(),
        line: 1,
        column: 1,
        message,
        nearest: None,
    };
    match text {
        ConfigText::Absent => Ok(RepoConfig::default()),
        ConfigText::TooLarge => {
            let kib = repo_config::CONFIG_MAX_BYTES >> 10;
            Err(at_start(format!("The file is too large: at most {kib} KiB are read.")))
        }
        ConfigText::Bytes(bytes) => repo_config::parse_bytes(bytes, repo_config::PATH).map_err(|errors| {
            errors.into_iter().next().unwrap_or_else(|| at_start("The file cannot be used.".into()))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::MergeResult;
    use crate::pull::Commit;

    fn facts(config: ConfigText) -> GitFacts {
        let sha: perfsuite::model::Sha = "0".repeat(40).parse().unwrap();
        GitFacts {
            merge_base: sha.clone(),
            merge: MergeResult::Clean { tree: sha.clone() },
            commits: vec![Commit { sha, message: "Bump it".into(), parents: 1, author_name: "a".into() }],
            changed: vec!["src/lib.rs".into()],
            config,
            config_id: None,
            owners: OwnersText::Absent,
            claims: Default::default(),
            rust: Vec::new(),
            members: Vec::new(),
        }
    }

    const PUSH: Trigger<'_> = Trigger::Push { labels: &[] };

    #[test]
    fn a_configuration_that_cannot_be_used_stops_measuring_alone() {
        for config in
            [ConfigText::TooLarge, ConfigText::Bytes(b"[perf".to_vec()), ConfigText::Bytes(vec![0xff])]
        {
            let outcome = assess(&facts(config), Whose::Mine, PUSH);
            assert!(outcome.config_error.is_some());
            assert!(outcome.plan.is_err());
            assert_eq!(outcome.commits.commits.len(), 1);
        }
    }

    #[test]
    fn authors_can_be_exempt_by_their_login() {
        let opened = Opened {
            number: 1,
            head: "0".repeat(40).parse().unwrap(),
            title: "Bump it".into(),
            body: String::new(),
            settings: Default::default(),
            auto_merge: None,
        };
        let by = |author| {
            assess(&facts(ConfigText::Absent), Whose::Opened { author, opened: &opened, what_if: None }, PUSH)
        };
        assert_eq!(by("alice").commits.commits.len(), 1);
        let bot = by("dependabot[bot]");
        assert_eq!(bot.commits, CommitsJudgement::default());
        assert!(bot.plan.is_ok(), "its code is measured all the same");
    }
}
