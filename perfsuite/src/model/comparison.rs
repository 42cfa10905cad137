//! The verdict's outcome: one row per benchmark and metric, and the report that holds them.

use super::{
    BenchmarkId, Build, Environment, Failure, JobId, Metric, Mode, OneSided, ProfileSummary, Scenario, Sha,
    Unaffected,
};
use crate::verdict::comparison::LAYOUT_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the report's JSON, which `paceline review --format json` and the run's JSON share.
pub const REPORT_SCHEMA: u32 = 1;

/// Three answers, never two: changed (slower or faster), equal, inconclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Worse, whichever way the metric's better direction points.
    Slower,
    Faster,
    /// No change of `equal_within` or more, by an equivalence test.
    Equal,
    Inconclusive,
}

/// How far a change can be told from a change of layout. Sizes, certainty and action are separate words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// Large enough, or seen by a second witness.
    Confirmed,
    /// Smaller than what re-linking alone can do, without a second witness: shown, not blocking.
    LayoutSuspect,
    /// Only the instructions changed, the time did not: shown, not blocking unless the configuration gates on them.
    InstructionChange,
    /// The verdict is not a change.
    NotApplicable,
}

/// One row: a benchmark's metric on both sides. All changes are relative, as fractions (0.05 is +5 %).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    pub suite: String,
    pub benchmark: BenchmarkId,
    pub metric: Metric,
    /// Median over visits, in the metric's unit.
    pub base: f64,
    /// The base's value, changed by `estimate`. The sides' own medians are in the evidence.
    pub head: f64,
    /// Change of the metric's value: `exp(m) - 1`.
    pub estimate: f64,
    /// 95 % interval.
    pub low: f64,
    pub high: f64,
    pub verdict: Verdict,
    pub certainty: Certainty,
    pub mode: Mode,
    /// Why the mode is not the one that the configuration asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode_reason: Option<String>,
    /// The change that this run would have found with 95 % power.
    pub smallest_visible: f64,
    /// Spread of the visits' log-ratios (standard deviation).
    pub spread: f64,
    pub visits: u32,
    /// Relative change of the instructions of an iteration, where they were counted and do not vary by themselves.
    #[serde(default)]
    pub instructions: Option<f64>,
    /// Machine minutes that would settle an inconclusive row.
    pub minutes_to_settle: Option<f64>,
}

impl Comparison {
    pub fn changed(&self) -> bool {
        matches!(self.verdict, Verdict::Slower | Verdict::Faster)
    }

    /// Whether this row fails the check run.
    pub fn blocks(&self) -> bool {
        let certain = matches!(self.certainty, Certainty::Confirmed | Certainty::InstructionChange);
        self.verdict == Verdict::Slower && certain && self.mode == Mode::Gate
    }
}

/// What became of a benchmark that was measured against itself: the same executable on both sides, or different ones
/// of the same machine code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    pub suite: String,
    pub benchmark: BenchmarkId,
    pub metric: Metric,
    /// What was seen where nothing is, as a fraction.
    pub estimate: f64,
    /// Spread of the visits' log-ratios (standard deviation).
    pub spread: f64,
    pub visits: u32,
    /// The rule called it a change.
    pub alarm: bool,
}

/// The performance part of a run, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    pub schema: u32,
    pub job: JobId,
    pub repository: String,
    pub base: Sha,
    pub head: Sha,
    /// Changed first, then inconclusive, then equal; by name within.
    pub rows: Vec<Comparison>,
    pub failures: Vec<Failure>,
    pub one_sided: Vec<OneSided>,
    pub builds: Vec<Build>,
    /// Bench executables that are byte-identical on both sides.
    pub identical: Vec<String>,
    /// Benchmarks of other executables whose machine code is the same on both sides.
    #[serde(default)]
    pub unaffected: Vec<Unaffected>,
    /// Benchmarks measured against themselves in this run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calibration: Vec<Calibration>,
    /// Where the time of some that changed went, the largest change first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<ProfileSummary>,
    /// Of load suites, what their rows do not say: shown, never judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scenarios: Vec<Scenario>,
    pub environment: Environment,
    pub judged_pairs: u32,
    /// False alarms allowed per run.
    pub budget: f64,
    /// `budget / (2 * judged_pairs)`.
    pub alpha: f64,
    pub measure_seconds: f64,
    /// Of the measuring, counting instructions.
    #[serde(default)]
    pub count_seconds: f64,
    pub build_seconds: f64,
}

/// Benchmarks that were measured although their machine code is the same on both sides.
pub struct ClockAgainstCode<'a> {
    /// The time differs by no more than the code's place in memory makes.
    pub agree: Vec<&'a Comparison>,
    /// Too noisy to say.
    pub undecided: Vec<&'a Comparison>,
    /// The time differs by more.
    pub disagree: Vec<&'a Comparison>,
}

impl ClockAgainstCode<'_> {
    /// How many are within and, where there are any, how many cannot be told.
    pub fn agreement(&self) -> String {
        let undecided = match self.undecided.len() {
            0 => String::new(),
            count => format!(", {count} too noisy to say"),
        };
        let within = LAYOUT_MAX * 100.0;
        format!("{} within the {within:.0} % that its place in memory makes{undecided}", self.agree.len())
    }
}

impl Report {
    pub fn blocks(&self) -> bool {
        self.rows.iter().any(Comparison::blocks)
    }

    /// Executables and benchmarks whose code was shown to be the same on both sides, so that nothing in it can have
    /// changed, and that were not run, by name.
    pub fn same_code(&self) -> impl Iterator<Item = &str> {
        let not_run = |unaffected: &&Unaffected| !self.was_run(unaffected);
        let unaffected = self.unaffected.iter().filter(not_run);
        let unaffected = unaffected.map(|unaffected| unaffected.benchmark.0.as_str());
        self.identical.iter().map(String::as_str).chain(unaffected)
    }

    /// The profile of a row's benchmark, with its place among all.
    pub fn profile_of(&self, row: &Comparison) -> Option<(usize, &ProfileSummary)> {
        let of =
            |profile: &ProfileSummary| (&profile.suite, &profile.benchmark) == (&row.suite, &row.benchmark);
        self.profiles.iter().enumerate().find(|(_, profile)| of(profile))
    }

    fn was_run(&self, unaffected: &Unaffected) -> bool {
        self.rows.iter().any(|row| (&row.suite, &row.benchmark) == (&unaffected.suite, &unaffected.benchmark))
    }

    /// Whether a row is of a benchmark whose machine code is the same on both sides: measured against itself.
    pub fn is_unaffected(&self, row: &Comparison) -> bool {
        self.unaffected.iter().any(|same| (&same.suite, &same.benchmark) == (&row.suite, &row.benchmark))
    }

    /// Where the clock was asked although the machine code is the same; `None` where it was not.
    pub fn clock_against_code(&self) -> Option<ClockAgainstCode<'_>> {
        let rows = self.rows.iter().filter(|row| row.metric == Metric::Time && self.is_unaffected(row));
        let (disagree, rest): (Vec<_>, Vec<_>) = rows.partition(|row| row.changed());
        let (agree, undecided): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|row| row.verdict == Verdict::Equal);
        let asked = !agree.is_empty() || !undecided.is_empty() || !disagree.is_empty();
        asked.then_some(ClockAgainstCode { agree, undecided, disagree })
    }

    pub fn has_same_code(&self) -> bool {
        self.same_code().next().is_some()
    }

    /// A side that did not build, if any: then nothing was measured.
    pub fn broken_build(&self) -> Option<&Build> {
        self.builds.iter().find(|b| b.error.is_some())
    }
}
