//! Faults that a test switches on: which requests fail, how, and how often.

use super::answer::Answer;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Fault {
    pub method: String,
    /// A part of the path and query; empty for any.
    pub part: String,
    pub kind: FaultKind,
    /// How many matching requests it takes.
    pub times: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// 500 and nothing done.
    InternalError,
    /// The request is carried out, and 502 is answered.
    BadGatewayAfter,
    /// 403 with `retry-after`, as for secondary limits.
    Secondary { retry_after_s: u64 },
    /// 429 with `retry-after`.
    TooMany { retry_after_s: u64 },
    /// 401: the token was revoked.
    Revoked,
    /// No answer at all.
    Hang,
}

/// Faults at random: how many of a hundred requests, and which.
#[derive(Debug)]
pub struct Weather {
    percent: u32,
    kinds: Vec<FaultKind>,
    random: StdRng,
    /// So many fail at most, so that a bad day ends.
    left: usize,
}

impl Weather {
    pub fn new(percent: u32, kinds: &[FaultKind], at_most: usize, seed: u64) -> Self {
        Self { percent, kinds: kinds.to_vec(), random: StdRng::seed_from_u64(seed), left: at_most }
    }

    fn draw(&mut self) -> Option<FaultKind> {
        let hit = self.left > 0 && !self.kinds.is_empty() && self.random.random_range(0..100) < self.percent;
        hit.then(|| {
            self.left -= 1;
            self.kinds[self.random.random_range(0..self.kinds.len())]
        })
    }
}

impl Fault {
    pub fn new(method: &str, part: &str, kind: FaultKind, times: usize) -> Self {
        Self { method: method.into(), part: part.into(), kind, times }
    }
}

impl FaultKind {
    fn name(self) -> &'static str {
        match self {
            FaultKind::InternalError => "500",
            FaultKind::BadGatewayAfter => "502 after the work",
            FaultKind::Secondary { .. } => "403 with retry-after",
            FaultKind::TooMany { .. } => "429",
            FaultKind::Revoked => "401",
            FaultKind::Hang => "no answer",
        }
    }
}

/// What is to go wrong, and what did.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub expected: Vec<Fault>,
    pub weather: Option<Weather>,
    /// Requests that were made to fail, by how.
    pub made: BTreeMap<&'static str, usize>,
}

impl Faults {
    /// Takes one from the first fault that matches, or from the weather.
    pub fn take(&mut self, method: &str, target: &str) -> Option<FaultKind> {
        let matches = |f: &&mut Fault| f.times > 0 && f.method == method && target.contains(&f.part);
        let kind = match self.expected.iter_mut().find(matches) {
            Some(fault) => {
                fault.times -= 1;
                fault.kind
            }
            None => self.weather.as_mut()?.draw()?,
        };
        *self.made.entry(kind.name()).or_default() += 1;
        Some(kind)
    }
}

/// The answer in place of the real one. [`FaultKind::Hang`] has none.
pub(super) fn answer(kind: FaultKind) -> Answer {
    let limited = |status: u16, seconds: u64| {
        let mut answer = Answer::refuse(status, "You have exceeded a secondary rate limit.");
        answer.headers.push(("retry-after", seconds.to_string()));
        answer
    };
    match kind {
        FaultKind::InternalError | FaultKind::Hang => Answer::refuse(500, "Server Error"),
        FaultKind::BadGatewayAfter => Answer::refuse(502, "Server Error"),
        FaultKind::Secondary { retry_after_s } => limited(403, retry_after_s),
        FaultKind::TooMany { retry_after_s } => limited(429, retry_after_s),
        FaultKind::Revoked => Answer::refuse(401, "Bad credentials"),
    }
}
