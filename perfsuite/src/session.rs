//! The runner's state machine, without I/O: what has happened goes in, what is to be done comes out.
//!
//! The driver (`runner`) carries out effects and reports back. At most one *operation* (claim, fetch, upload, finish,
//! wait) is under way at a time; heartbeats run beside it for as long as a job is held. The fence decides whose job it
//! is: a server that cannot be reached stops nothing, since it may only be restarting.

use crate::model::wire::{Lease, Orders, Outcome};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// First pause after the server could not be reached, doubled each time.
const BACKOFF_FIRST_MS: u64 = 500;
/// Longest pause: a restarted server has its runners back within half a minute.
const BACKOFF_MAX_MS: u64 = 30_000;
/// An answer of "no job" that comes sooner than this did not wait for one: ask again later, not at once.
const NO_JOB_SOON_MS: u64 = 1_000;
/// Silence of this many leases, and of ten minutes at least, gives the job up: by then another runner has it.
const SILENCE_LEASES: u64 = 10;
const SILENCE_MIN_MS: u64 = 10 * 60_000;
/// A runner that was asked to stop tries this often to say so to a server that it cannot reach.
const FAREWELL_TRIES: u32 = 2;

/// What has happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    Start,
    LeaseGranted(Box<Lease>),
    NoJob,
    /// The pause asked for by [`Effect::Wait`] is over.
    WaitOver,
    /// The time asked for by [`Effect::BeatAfter`] has come.
    BeatDue,
    /// The answer to a heartbeat.
    OrdersReceived(Orders),
    /// A heartbeat got no answer.
    BeatUnanswered,
    SourceReady,
    /// The source arrived and is unusable.
    SourceBroken {
        message: String,
    },
    /// Evidence is on disk, ready for upload.
    WorkDone,
    WorkFailed {
        message: String,
        output: String,
    },
    /// The work was stopped, as [`Effect::StopWork`] asked.
    WorkStopped,
    EvidenceStored {
        digest: String,
    },
    /// The server took the end of the job.
    FinishAccepted,
    /// The server says that the job is no longer ours.
    FenceStale,
    /// The current operation did not reach the server, or the server failed.
    ServerUnreachable,
    /// The server will not take the current operation however often it is tried.
    Refused {
        message: String,
    },
    /// The process was asked to end.
    StopAsked,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Claim,
    FetchSource,
    StartWork,
    /// Stop fetching or working. Answered by [`Input::WorkStopped`], whatever the work does on its way out.
    StopWork {
        reason: String,
    },
    UploadEvidence,
    Finish(Outcome),
    Heartbeat,
    BeatAfter {
        ms: u64,
    },
    Wait {
        ms: u64,
    },
    /// Drop the operation under way and heartbeats, and remove all that belongs to the job.
    CleanUp,
    /// End the runner: `Err` with words for people when something is wrong.
    Quit(Result<(), String>),
}

/// When the runner ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    Forever,
    OneJob,
}

/// One runner's session with its server.
#[derive(Debug)]
pub struct Session {
    lifetime: Lifetime,
    stopping: bool,
    /// Failures in a row to reach the server.
    failures: u32,
    jitter: StdRng,
    state: State,
}

#[derive(Debug)]
enum State {
    Claiming {
        since_ms: u64,
    },
    /// Before the next claim.
    Resting,
    Holding(Box<Held>),
    Over,
}

#[derive(Debug)]
struct Held {
    lease: Lease,
    stage: Stage,
    heard_ms: u64,
}

#[derive(Clone, Debug)]
enum Stage {
    Fetching,
    Working,
    Stopping(Then),
    Uploading,
    Finishing(Outcome),
}

/// What follows when the work has stopped.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// The job is not ours any more, or nobody wants it.
    Discard,
    HandBack,
}

impl Session {
    /// `seed` spreads the pauses, so that a restarted server is not met by all its runners at once.
    pub fn new(lifetime: Lifetime, seed: u64) -> Session {
        Session {
            lifetime,
            stopping: false,
            failures: 0,
            jitter: StdRng::seed_from_u64(seed),
            state: State::Resting,
        }
    }

    /// The lease that is held, if any.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Holding(held) => Some(&held.lease),
            _ => None,
        }
    }

    /// Takes one input at a time that never goes back (`now_ms`, from any start) and says what to do, in order.
    pub fn step(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => vec![],
            State::Resting => self.resting(now_ms, input),
            State::Claiming { since_ms } => self.claiming(now_ms, since_ms, input),
            State::Holding(held) => self.holding(now_ms, held, input),
        }
    }

    fn resting(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        match input {
            Input::Start | Input::WaitOver => self.claim(now_ms),
            Input::StopAsked => self.quit(Ok(())),
            _ => self.stay(State::Resting),
        }
    }

    fn claiming(&mut self, now_ms: u64, since_ms: u64, input: Input) -> Vec<Effect> {
        match input {
            Input::LeaseGranted(lease) => {
                self.failures = 0;
                let beat = Effect::BeatAfter { ms: lease.heartbeat_ms };
                let held = Held { lease: *lease, stage: Stage::Fetching, heard_ms: now_ms };
                self.state = State::Holding(Box::new(held));
                vec![beat, Effect::FetchSource]
            }
            Input::NoJob if now_ms.saturating_sub(since_ms) >= NO_JOB_SOON_MS => {
                self.failures = 0;
                self.claim(now_ms)
            }
            Input::NoJob | Input::ServerUnreachable | Input::FenceStale => {
                let wait = self.back_off();
                self.state = State::Resting;
                vec![wait]
            }
            Input::Refused { message } => self.quit(Err(message)),
            Input::StopAsked => self.quit(Ok(())),
            _ => self.stay(State::Claiming { since_ms }),
        }
    }

    fn holding(&mut self, now_ms: u64, mut held: Box<Held>, input: Input) -> Vec<Effect> {
        match (input, held.stage.clone()) {
            (Input::BeatDue, _) => self.hold(held, vec![Effect::Heartbeat]),
            (Input::OrdersReceived(Orders::Continue), _) => {
                held.heard_ms = now_ms;
                let ms = held.lease.heartbeat_ms;
                self.hold(held, vec![Effect::BeatAfter { ms }])
            }
            (Input::BeatUnanswered, _) => {
                let silence_max = (held.lease.lease_ms * SILENCE_LEASES).max(SILENCE_MIN_MS);
                if now_ms.saturating_sub(held.heard_ms) > silence_max {
                    return self.give_up(now_ms, held, "the server has been silent for too long");
                }
                let ms = held.lease.heartbeat_ms;
                self.hold(held, vec![Effect::BeatAfter { ms }])
            }
            (Input::OrdersReceived(Orders::Stop { reason }), _) => self.give_up(now_ms, held, &reason),
            (Input::FenceStale, _) => self.give_up(now_ms, held, "another runner has the job"),
            (Input::StopAsked, stage) => self.asked_to_stop(held, stage),

            (Input::SourceReady, Stage::Fetching) => {
                self.failures = 0;
                held.stage = Stage::Working;
                self.hold(held, vec![Effect::StartWork])
            }
            (Input::SourceBroken { message } | Input::Refused { message }, Stage::Fetching) => {
                self.finish(held, Outcome::Failed { message, output: String::new() })
            }
            (Input::WorkDone, Stage::Working) => {
                held.stage = Stage::Uploading;
                self.hold(held, vec![Effect::UploadEvidence])
            }
            (Input::WorkFailed { message, output }, Stage::Working) => {
                self.finish(held, Outcome::Failed { message, output })
            }
            (Input::WorkStopped, Stage::Stopping(Then::Discard)) => self.next_job(now_ms),
            (Input::WorkStopped, Stage::Stopping(Then::HandBack)) => self.finish(held, Outcome::HandedBack),
            (Input::EvidenceStored { digest }, Stage::Uploading) => {
                self.finish(held, Outcome::Measured { digest })
            }
            (Input::Refused { message }, Stage::Uploading) => {
                let message = format!("the evidence was refused: {message}");
                self.finish(held, Outcome::Failed { message, output: String::new() })
            }
            (Input::FinishAccepted | Input::Refused { .. }, Stage::Finishing(_)) => {
                self.failures = 0;
                self.next_job(now_ms)
            }
            (Input::ServerUnreachable, Stage::Fetching | Stage::Uploading | Stage::Finishing(_)) => {
                if self.stopping && self.failures + 1 >= FAREWELL_TRIES {
                    return self.next_job(now_ms);
                }
                let wait = self.back_off();
                self.hold(held, vec![wait])
            }
            (Input::WaitOver, Stage::Fetching) => self.hold(held, vec![Effect::FetchSource]),
            (Input::WaitOver, Stage::Uploading) => self.hold(held, vec![Effect::UploadEvidence]),
            (Input::WaitOver, Stage::Finishing(outcome)) => self.hold(held, vec![Effect::Finish(outcome)]),
            _ => self.hold(held, vec![]),
        }
    }

    /// The job is lost: what runs is stopped, what is only to be reported is dropped.
    fn give_up(&mut self, now_ms: u64, mut held: Box<Held>, reason: &str) -> Vec<Effect> {
        match held.stage {
            Stage::Fetching | Stage::Working => {
                held.stage = Stage::Stopping(Then::Discard);
                self.hold(held, vec![Effect::StopWork { reason: reason.to_owned() }])
            }
            Stage::Stopping(_) => {
                held.stage = Stage::Stopping(Then::Discard);
                self.hold(held, vec![])
            }
            Stage::Uploading | Stage::Finishing(_) => self.next_job(now_ms),
        }
    }

    /// A job under way goes back to the queue; one that is nearly done is reported first. Asked twice, nothing is
    /// waited for.
    fn asked_to_stop(&mut self, mut held: Box<Held>, stage: Stage) -> Vec<Effect> {
        if self.stopping {
            let mut effects = vec![Effect::CleanUp];
            effects.extend(self.quit(Ok(())));
            return effects;
        }
        self.stopping = true;
        self.failures = 0;
        match stage {
            Stage::Fetching | Stage::Working => {
                held.stage = Stage::Stopping(Then::HandBack);
                self.hold(held, vec![Effect::StopWork { reason: "the runner is stopping".into() }])
            }
            Stage::Stopping(_) | Stage::Uploading | Stage::Finishing(_) => self.hold(held, vec![]),
        }
    }

    fn finish(&mut self, mut held: Box<Held>, outcome: Outcome) -> Vec<Effect> {
        held.stage = Stage::Finishing(outcome.clone());
        self.hold(held, vec![Effect::Finish(outcome)])
    }

    fn next_job(&mut self, now_ms: u64) -> Vec<Effect> {
        let mut effects = vec![Effect::CleanUp];
        effects.extend(match (self.stopping, self.lifetime) {
            (true, _) | (_, Lifetime::OneJob) => self.quit(Ok(())),
            (false, Lifetime::Forever) => self.claim(now_ms),
        });
        effects
    }

    fn claim(&mut self, now_ms: u64) -> Vec<Effect> {
        self.state = State::Claiming { since_ms: now_ms };
        vec![Effect::Claim]
    }

    fn hold(&mut self, held: Box<Held>, effects: Vec<Effect>) -> Vec<Effect> {
        self.state = State::Holding(held);
        effects
    }

    fn stay(&mut self, state: State) -> Vec<Effect> {
        self.state = state;
        vec![]
    }

    fn quit(&mut self, result: Result<(), String>) -> Vec<Effect> {
        self.state = State::Over;
        vec![Effect::Quit(result)]
    }

    /// Between half and the whole of a pause that doubles with every failure in a row.
    fn back_off(&mut self) -> Effect {
        let whole = BACKOFF_FIRST_MS.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        Effect::Wait { ms: self.jitter.random_range(whole / 2..=whole) }
    }
}

#[cfg(test)]
mod tests;
