//! From facts to what is found and what is to be measured: pure, and the same for the App and for `paceline review`.

use crate::conventions::commits;
use crate::facts::GitFacts;
use crate::judgement::{CommitsJudgement, ConfigError};
use crate::repo_config::{self, RepoConfig, Trigger};
use perfsuite::model::{JobLimits, SuiteSpec};

/// The outcome of looking at a change without running anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    pub commits: CommitsJudgement,
    pub config_error: Option<ConfigError>,
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
}

/// Judges the commits and picks the suites. An unusable configuration stops measuring, never the judging of commits.
pub fn assess(facts: &GitFacts, trigger: Trigger<'_>) -> Assessment {
    let (config, config_error) = match read_config(facts.config.as_deref()) {
        Ok(config) => (config, None),
        Err(error) => (RepoConfig::default(), Some(error)),
    };
    let plan = match config_error {
        Some(_) => Err("the configuration cannot be read".to_owned()),
        None => repo_config::select(&config, &facts.changed, trigger),
    };
    Assessment {
        commits: commits::judge(&facts.commits, &config.commits),
        config_error,
        plan: plan.map(|suites| Plan {
            suites,
            budget: config.perf.budget.probability(),
            limits: config.perf.limits(),
        }),
    }
}

fn read_config(bytes: Option<&[u8]>) -> Result<RepoConfig, ConfigError> {
    let Some(bytes) = bytes else { return Ok(RepoConfig::default()) };
    let at_start = |message: &str| ConfigError {
        path: repo_config::PATH.into(),
        line: 1,
        column: 1,
        message: message.into(),
        nearest: None,
    };
    let text = std::str::from_utf8(bytes).map_err(|_| at_start("The file is no UTF-8 text."))?;
    repo_config::parse(text, repo_config::PATH)
        .map_err(|errors| errors.into_iter().next().unwrap_or_else(|| at_start("The file cannot be used.")))
}
