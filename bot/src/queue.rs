//! The life of a job, pure: its states and which may follow which.
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

#[cfg(test)]
mod tests {
    use super::*;

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
