//! Faults that a test switches on: which requests fail, how, and how often.

use super::answer::Answer;
use super::state::State;

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

impl Fault {
    pub fn new(method: &str, part: &str, kind: FaultKind, times: usize) -> Self {
        Self { method: method.into(), part: part.into(), kind, times }
    }
}

/// Takes one from the first fault that matches.
pub(super) fn take(state: &mut State, method: &str, target: &str) -> Option<FaultKind> {
    let matches = |f: &&mut Fault| f.times > 0 && f.method == method && target.contains(&f.part);
    let fault = state.faults.iter_mut().find(matches)?;
    fault.times -= 1;
    Some(fault.kind)
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
