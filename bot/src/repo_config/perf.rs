//! `[perf]`: what is measured, how long, and with how many false alarms.

use perfsuite::model::{JobLimits, SuiteSpec};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::borrow::Cow;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PerfConfig {
    /// How many runs may raise a false alarm, in words: "1 in 100".
    pub budget: Budget,
    /// Measuring time of one run; builds come on top.
    #[schemars(range(min = 0.1, max = 720.0))]
    pub minutes_per_run: f64,
    /// Measuring time of one day, all runs together.
    #[schemars(range(min = 0.0, max = 1_440.0))]
    pub minutes_per_day: f64,
    /// What history is measured against: `latest-release`, a tag or a SHA.
    #[schemars(length(min = 1, max = 200))]
    pub reference: String,
    /// Measure also benchmarks that run the same machine code on both sides: it costs their time, and shows what the
    /// runner makes of no change.
    pub all: bool,
    /// What pull requests from forks need before their code runs.
    pub forks: ForkPolicy,
    /// What to measure. None: every criterion bench of the Cargo workspace.
    #[schemars(length(max = 50))]
    pub suite: Vec<SuiteSpec>,
}

impl Default for PerfConfig {
    fn default() -> Self {
        Self {
            budget: Budget::default(),
            minutes_per_run: 15.0,
            minutes_per_day: 240.0,
            reference: "latest-release".into(),
            all: false,
            forks: ForkPolicy::Approve,
            suite: Vec::new(),
        }
    }
}

impl PerfConfig {
    /// False alarms allowed per run, as a probability.
    pub fn budget(&self) -> f64 {
        self.budget.probability()
    }

    /// The bounds of a job by this configuration.
    pub fn limits(&self) -> JobLimits {
        JobLimits { measure_seconds: (self.minutes_per_run * 60.0) as u64, ..JobLimits::default() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForkPolicy {
    /// Somebody with write permission allows each head.
    Approve,
    Never,
}

/// False alarms allowed per run, `alarms` in `runs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    alarms: u32,
    runs: u32,
}

impl Budget {
    /// Rarer than this cannot be promised from the noise that a run sees.
    const RUNS_MAX: u32 = 1_000_000;

    /// As a probability: 0.01 for "1 in 100".
    pub fn probability(self) -> f64 {
        f64::from(self.alarms) / f64::from(self.runs)
    }

    /// Reads "1 in 100".
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [alarms, "in", runs] = words[..] else {
            return Err(format!("{} is no budget; write it like \"1 in 100\".", crate::text::quoted(text)));
        };
        let (Ok(alarms), Ok(runs)) = (alarms.parse::<u32>(), runs.parse::<u32>()) else {
            return Err("A budget holds two whole numbers, like \"1 in 100\".".into());
        };
        if alarms == 0 || runs > Self::RUNS_MAX || u64::from(alarms) * 2 > u64::from(runs) {
            return Err("A budget lies between \"1 in 1000000\" and \"1 in 2\".".into());
        }
        Ok(Self { alarms, runs })
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { alarms: 1, runs: 100 }
    }
}

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{} in {}", self.alarms, self.runs))
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Budget::parse(&text).map_err(D::Error::custom)
    }
}

impl JsonSchema for Budget {
    fn schema_name() -> Cow<'static, str> {
        "Budget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "How many runs may raise a false alarm, like \"1 in 100\".",
            "pattern": "^\\s*[1-9][0-9]*\\s+in\\s+[1-9][0-9]*\\s*$",
        })
    }
}
