//! Whether an upstream is asked at all: a circuit breaker, closed, open or half open.
//!
//! Pure: the time comes in as a number, and no clock is read here.
//!
//! Closed, everything passes, and `failures` failures in a row open it, or a share of failures among the
//! requests of a rolling window. Open, nothing passes for
//! `open_ms`. Then it is half open: up to `half_open_max` trials pass, and each that is given up makes room
//! for another. When that many have succeeded it closes; one that fails opens it again. Every change of
//! state begins a new generation, and the outcome of a request that was admitted in an older one says
//! nothing about this one and is ignored.

/// When to open and how to come back; the first three at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub failures: u32,
    pub open_ms: u32,
    pub half_open_max: u32,
    pub share: Option<Share>,
}

/// Opens when so many of the requests of the last `window_ms` failed, once there were enough of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// From 1 to 100.
    pub percent: u32,
    pub window_ms: u32,
    pub requests_min: u32,
}

impl Rule {
    pub const fn in_a_row(failures: u32, open_ms: u32, half_open_max: u32) -> Rule {
        Rule { failures, open_ms, half_open_max, share: None }
    }
}

/// The window moves in so many steps: requests count for a tenth of it too long at most.
const STEPS: usize = 10;

/// Requests and failures of the last steps.
#[derive(Clone, Debug, Default)]
struct Window {
    steps: [(u32, u32); STEPS],
    /// The step of the newest, counted from the start of the clock.
    newest: u64,
}

impl Window {
    /// Counts one request; whether the share of failures is reached.
    fn count(&mut self, share: Share, failed: bool, now_ms: u64) -> bool {
        let length = u64::from(share.window_ms).div_ceil(STEPS as u64).max(1);
        let step = now_ms / length;
        if step > self.newest {
            let passed = (step - self.newest).min(STEPS as u64);
            for old in 0..passed {
                self.steps[((step - old) % STEPS as u64) as usize] = (0, 0);
            }
            self.newest = step;
        }
        let current = &mut self.steps[(self.newest % STEPS as u64) as usize];
        current.0 = current.0.saturating_add(1);
        current.1 = current.1.saturating_add(u32::from(failed));
        let sum =
            |pick: fn(&(u32, u32)) -> u32| self.steps.iter().map(|step| u64::from(pick(step))).sum::<u64>();
        let (requests, failures) = (sum(|step| step.0), sum(|step| step.1));
        failed
            && requests >= u64::from(share.requests_min)
            && failures * 100 >= requests * u64::from(share.percent)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed,
    Open,
    HalfOpen,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    Pass(Permit),
    Refused { retry_after_ms: u64 },
}

/// Leave for one request. Its outcome is reported once, so it can be neither copied nor made elsewhere.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not settled holds a trial's place until the next change of state"]
pub struct Permit {
    generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure,
    /// Nothing was learned, as when the client went away.
    GivenUp,
}

#[derive(Debug)]
pub struct Breaker {
    rule: Rule,
    generation: u64,
    phase: Phase,
    /// Only while there is a rule about a share.
    window: Option<Box<Window>>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed { failures_in_a_row: u32 },
    Open { until_ms: u64 },
    HalfOpen { out: u32, succeeded: u32 },
}

impl Breaker {
    pub fn new(rule: Rule) -> Breaker {
        let window = rule.share.map(|_| Box::default());
        Breaker { rule, generation: 0, phase: Phase::Closed { failures_in_a_row: 0 }, window }
    }

    /// Decides about one request.
    pub fn admit(&mut self, now_ms: u64) -> Admission {
        if let Phase::Open { until_ms } = self.phase {
            if now_ms < until_ms {
                return Admission::Refused { retry_after_ms: until_ms - now_ms };
            }
            self.enter(Phase::HalfOpen { out: 0, succeeded: 0 });
        }
        if let Phase::HalfOpen { out, succeeded } = &mut self.phase {
            if *out + *succeeded >= self.rule.half_open_max {
                return Admission::Refused { retry_after_ms: u64::from(self.rule.open_ms) };
            }
            *out += 1;
        }
        Admission::Pass(Permit { generation: self.generation })
    }

    /// Takes the outcome of a request; the state that it led to, if it led to another.
    pub fn settle(&mut self, permit: Permit, outcome: Outcome, now_ms: u64) -> Option<State> {
        if permit.generation != self.generation {
            return None;
        }
        if let (Some(share), Some(window), Phase::Closed { .. }) =
            (self.rule.share, &mut self.window, self.phase)
            && outcome != Outcome::GivenUp
            && window.count(share, outcome == Outcome::Failure, now_ms)
        {
            return Some(self.open(now_ms));
        }
        match &mut self.phase {
            Phase::Closed { failures_in_a_row } => match outcome {
                Outcome::Success => *failures_in_a_row = 0,
                Outcome::GivenUp => {}
                Outcome::Failure => {
                    *failures_in_a_row += 1;
                    if *failures_in_a_row >= self.rule.failures {
                        return Some(self.open(now_ms));
                    }
                }
            },
            Phase::HalfOpen { out, succeeded } => match outcome {
                Outcome::Success => {
                    *out -= 1;
                    *succeeded += 1;
                    if *succeeded >= self.rule.half_open_max {
                        return Some(self.enter(Phase::Closed { failures_in_a_row: 0 }));
                    }
                }
                Outcome::GivenUp => *out -= 1,
                Outcome::Failure => return Some(self.open(now_ms)),
            },
            // Opening began a generation, and an open breaker gives no permits.
            Phase::Open { .. } => {}
        }
        None
    }

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Other numbers from here on; the state stays, and an open one keeps its end.
    pub fn set_rule(&mut self, rule: Rule) {
        if self.rule.share != rule.share {
            self.window = rule.share.map(|_| Box::default());
        }
        self.rule = rule;
        if let Phase::HalfOpen { succeeded, .. } = self.phase
            && succeeded >= rule.half_open_max
        {
            self.enter(Phase::Closed { failures_in_a_row: 0 });
        }
    }

    fn open(&mut self, now_ms: u64) -> State {
        self.enter(Phase::Open { until_ms: now_ms + u64::from(self.rule.open_ms) })
    }

    fn enter(&mut self, phase: Phase) -> State {
        self.generation += 1;
        self.phase = phase;
        if let Some(window) = &mut self.window {
            **window = Window::default();
        }
        self.state()
    }
}

#[cfg(test)]
mod tests;
