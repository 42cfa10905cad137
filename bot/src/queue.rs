//! The life of a job, pure: what it is for, its states and which may follow which, and whose turn it is.
//!
//! `queued -> claimed -> building -> measuring -> done | failed | cancelled | superseded`

use perfsuite::model::wire::Phase;
use std::{fmt, str::FromStr};

/// How often a runner reports; several may be lost before the lease ends.
pub const HEARTBEAT_MS: i64 = 2_000;
/// Attempts of one job: a runner that dies each time takes no job for ever.
pub const ATTEMPTS_MAX: i64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobState {
    Queued,
    Claimed,
    Building,
    Measuring,
    Done,
    Failed,
    Cancelled,
    Superseded,
}

impl JobState {
    pub const ALL: [JobState; 8] = [
        JobState::Queued,
        JobState::Claimed,
        JobState::Building,
        JobState::Measuring,
        JobState::Done,
        JobState::Failed,
        JobState::Cancelled,
        JobState::Superseded,
    ];

    /// A runner holds it.
    pub fn held(self) -> bool {
        matches!(self, JobState::Claimed | JobState::Building | JobState::Measuring)
    }

    pub fn ended(self) -> bool {
        !self.held() && self != JobState::Queued
    }

    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Claimed => "claimed",
            JobState::Building => "building",
            JobState::Measuring => "measuring",
            JobState::Done => "done",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
            JobState::Superseded => "superseded",
        }
    }

    /// The state of a held job whose runner reports this phase.
    pub fn of_phase(phase: Phase) -> Self {
        match phase {
            Phase::Preparing => JobState::Claimed,
            Phase::Building => JobState::Building,
            Phase::Measuring => JobState::Measuring,
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no job state")]
pub struct BadJobState(String);

impl FromStr for JobState {
    type Err = BadJobState;

    fn from_str(text: &str) -> Result<Self, BadJobState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| BadJobState(text.into()))
    }
}

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A pull request's head against its merge base.
    Pull,
    /// A merge queue's group against what it would land on.
    Group,
    /// A commit of the default branch against its parent.
    Parent,
    /// The same against the reference of its repository's history.
    Reference,
    /// A new reference against the one before it.
    Overlap,
    /// One comparison of a search for the commit that changed a benchmark.
    Bisect,
    /// Part of what somebody asked for by a command.
    Asked,
}

impl Purpose {
    pub const ALL: [Purpose; 7] = [
        Purpose::Pull,
        Purpose::Group,
        Purpose::Parent,
        Purpose::Reference,
        Purpose::Overlap,
        Purpose::Bisect,
        Purpose::Asked,
    ];

    /// Of a repository's history: one at a time.
    pub fn of_history(self) -> bool {
        !matches!(self, Purpose::Pull | Purpose::Group | Purpose::Asked)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Pull => "pull",
            Purpose::Group => "group",
            Purpose::Parent => "parent",
            Purpose::Reference => "reference",
            Purpose::Overlap => "overlap",
            Purpose::Bisect => "bisect",
            Purpose::Asked => "asked",
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no purpose of a job")]
pub struct BadPurpose(String);

impl FromStr for Purpose {
    type Err = BadPurpose;

    fn from_str(text: &str) -> Result<Self, BadPurpose> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| BadPurpose(text.into()))
    }
}

/// A job's place among those that wait: the least priority first, within it the least turn, then the older id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub priority: i64,
    pub turn: i64,
}

impl Place {
    /// A merge queue's group: others wait behind it to land.
    pub const GROUP: i64 = 5;
    /// The newest commit of a default branch.
    pub const MAIN: i64 = 10;
    pub const PULL: i64 = 20;
    pub const BISECT: i64 = 30;
    /// Older commits of default branches: when nothing else waits.
    pub const FILL: i64 = 40;
    /// Ranges of old commits that somebody asked for.
    pub const BACKFILL: i64 = 50;

    /// In order of arrival.
    pub fn group(now_ms: i64) -> Self {
        Self { priority: Self::GROUP, turn: now_ms }
    }

    /// In order of arrival.
    pub fn main(now_ms: i64) -> Self {
        Self { priority: Self::MAIN, turn: now_ms }
    }

    /// Small before large: a job is overtaken by a smaller one that arrived later by less than what it is smaller, so
    /// none waits for ever.
    pub fn pull(now_ms: i64, cost_ms: i64) -> Self {
        Self { priority: Self::PULL, turn: now_ms.saturating_add(cost_ms) }
    }

    pub fn bisect(now_ms: i64) -> Self {
        Self { priority: Self::BISECT, turn: now_ms }
    }

    /// The newest commit first.
    pub fn fill(committed_ms: i64) -> Self {
        Self { priority: Self::FILL, turn: committed_ms.saturating_neg() }
    }

    /// The newest commit first.
    pub fn backfill(committed_ms: i64) -> Self {
        Self { priority: Self::BACKFILL, ..Self::fill(committed_ms) }
    }
}

/// The start of the day, in UTC, that budgets of a day count from.
pub fn day_start(now_ms: i64) -> i64 {
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
    now_ms - now_ms.rem_euclid(DAY_MS)
}

/// How long a job at a place of the queue will wait, in milliseconds: those before it, spread over the runners, each
/// taking as long as jobs lately took. `None` where none has ended yet, or nobody works.
pub fn expected_wait_ms(position: u32, runners: u32, lately_ms: Option<i64>) -> Option<i64> {
    let lately_ms = lately_ms.filter(|took| *took > 0)?;
    (runners > 0).then(|| lately_ms.saturating_mul(i64::from(position)) / i64::from(runners))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_job_goes_first_and_a_large_one_is_not_forgotten() {
        const MINUTE: i64 = 60_000;
        let large = Place::pull(0, 15 * MINUTE);
        assert!(Place::pull(MINUTE, MINUTE) < large);
        assert!(large < Place::pull(15 * MINUTE, MINUTE));
        let places = [Place::main(9), Place::pull(1, 1), Place::bisect(0), Place::fill(8), Place::fill(7)];
        assert!(places.is_sorted(), "main before pull requests, the newest commit before older ones");
    }

    #[test]
    fn a_wait_is_told_when_it_can_be() {
        assert_eq!(expected_wait_ms(3, 1, Some(60_000)), Some(180_000));
        assert_eq!(expected_wait_ms(3, 2, Some(60_000)), Some(90_000));
        assert_eq!(expected_wait_ms(1, 0, Some(60_000)), None);
        assert_eq!(expected_wait_ms(1, 1, None), None);
    }

    #[test]
    fn kinds_come_back_from_their_names() {
        for kind in Purpose::ALL {
            assert_eq!(kind.as_str().parse::<Purpose>().unwrap(), kind);
        }
        assert!("push".parse::<Purpose>().is_err());
        assert_eq!(day_start(1_795_345_024_000) % 86_400_000, 0);
    }

    #[test]
    fn names_come_back_as_states() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse::<JobState>().unwrap(), state);
        }
        assert!("running".parse::<JobState>().is_err());
    }

    #[test]
    fn a_job_is_queued_or_held_or_ended() {
        for state in JobState::ALL {
            let kinds = [state == JobState::Queued, state.held(), state.ended()];
            assert_eq!(kinds.into_iter().filter(|k| *k).count(), 1, "{state}");
        }
    }
}
