//! Measures of contributions, by CHAOSS' definitions: each with its definition, N, interval and trend. Pure: facts in,
//! numbers out.

pub mod absence;
pub mod facts;
pub mod growth;
pub mod health;
pub mod people;
pub mod person;
pub mod ratio;
pub mod survival;
pub mod weeks;

use schemars::JsonSchema;
use serde::Serialize;

pub const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The period that is looked at, and the one of the same length before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub from_ms: i64,
    /// Exclusive.
    pub to_ms: i64,
}

impl Period {
    pub fn last_days(days: i64, now_ms: i64) -> Self {
        Self { from_ms: now_ms.saturating_sub(days * DAY_MS), to_ms: now_ms.saturating_add(1) }
    }

    pub fn before(self) -> Self {
        Self { from_ms: self.from_ms - (self.to_ms - self.from_ms), to_ms: self.from_ms }
    }

    pub fn has(self, at_ms: i64) -> bool {
        (self.from_ms..self.to_ms).contains(&at_ms)
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    Seconds,
    /// A fraction of one.
    Share,
    /// One number divided by another; may be over one.
    Ratio,
    People,
    Count,
}

/// One number, with everything that it takes to believe it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Measure {
    /// Stable, for programs.
    pub id: &'static str,
    pub name: &'static str,
    pub definition: &'static str,
    pub unit: Unit,
    /// `None`: not enough is known, which is no zero.
    pub value: Option<f64>,
    /// 95 % interval, as far as it has ends.
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// How the interval was made; empty where there is none.
    pub interval: &'static str,
    /// How many were looked at.
    pub n: usize,
    /// What the N counts.
    pub of: &'static str,
    /// What is not known, in a sentence.
    pub missing: Option<String>,
    /// The same in the period before this one.
    pub before: Option<f64>,
    /// What is aimed at, and whether more is better.
    pub target: Option<Target>,
    /// By week, the oldest first; `None` where nothing happened.
    pub weeks: Vec<Option<f64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Target {
    pub value: f64,
    pub at: Better,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    More,
    Less,
}

impl Measure {
    /// Nothing yet: what a measure does not have.
    const EMPTY: Measure = Measure {
        id: "",
        name: "",
        definition: "",
        unit: Unit::Count,
        value: None,
        low: None,
        high: None,
        interval: "",
        n: 0,
        of: "",
        missing: None,
        before: None,
        target: None,
        weeks: Vec::new(),
    };

    /// Whether the target is met; `None` where there is none, or no number.
    pub fn meets(&self) -> Option<bool> {
        let (target, value) = (self.target?, self.value?);
        Some(match target.at {
            Better::More => value >= target.value,
            Better::Less => value <= target.value,
        })
    }
}

/// A number with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// A measure with the number and the interval of an estimate.
fn shared(estimate: Option<Estimate>, measure: Measure) -> Measure {
    Measure {
        value: estimate.map(|one| one.value),
        low: estimate.and_then(|one| one.low),
        high: estimate.and_then(|one| one.high),
        ..measure
    }
}
