//! What stands before every request to GitHub: the breaker, each caller's quota, and counters of how it went.

use super::breaker::{Breaker, BreakerState};
use super::error::{GitHubError, LIMITED_MAX_MS};
use crate::clock::Clock;
use crate::pull::InstallationId;
use http::HeaderMap;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

/// Whose quota a request takes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    App,
    Installation(InstallationId),
}

impl Who {
    fn label(self) -> String {
        match self {
            Who::App => "app".into(),
            Who::Installation(id) => id.0.to_string(),
        }
    }
}

pub(super) struct Guard {
    breaker: Mutex<Breaker>,
    /// Until when each caller must not ask. Bounded by the App's installations.
    silent_until_ms: Mutex<HashMap<Who, i64>>,
    clock: Clock,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing below panics while it holds a lock.
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Guard {
    pub(super) fn new(clock: Clock) -> Self {
        Self { breaker: Mutex::default(), silent_until_ms: Mutex::default(), clock }
    }

    pub(super) fn state(&self) -> BreakerState {
        lock(&self.breaker).state(self.clock.now_ms())
    }

    /// Before a request: GitHub bans who goes on asking while limited, and an outage is not made shorter by questions.
    pub(super) fn permit(&self, who: Who) -> Result<(), GitHubError> {
        let now_ms = self.clock.now_ms();
        let mut silent = lock(&self.silent_until_ms);
        match silent.get(&who).copied() {
            Some(until_ms) if now_ms < until_ms => return Err(GitHubError::RateLimited { until_ms }),
            Some(_) => drop(silent.remove(&who)),
            None => {}
        }
        drop(silent);
        lock(&self.breaker).ask(now_ms).map_err(|until_ms| GitHubError::Unreachable { until_ms })
    }

    /// An answer's headers: what is left of the hour's quota.
    pub(super) fn heard(&self, who: Who, headers: &HeaderMap) {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
        // Other resources (search, …) have quotas of their own, which we do not use.
        if headers.get("x-ratelimit-resource").is_some_and(|resource| resource != "core") {
            return;
        }
        let Some(remaining) = number("x-ratelimit-remaining") else { return };
        metrics::gauge!("paceline_github_quota_remaining", "installation" => who.label())
            .set(remaining as f64);
        if let Some(limit) = number("x-ratelimit-limit") {
            metrics::gauge!("paceline_github_quota_limit", "installation" => who.label()).set(limit as f64);
        }
        if remaining <= 0
            && let Some(reset_s) = number("x-ratelimit-reset")
        {
            self.silence(who, reset_s.saturating_mul(1_000));
        }
    }

    /// How a request ended. `Transient` is GitHub's fault, anything else an answer.
    pub(super) fn settled<T>(&self, who: Who, method: &http::Method, outcome: &Result<T, GitHubError>) {
        let word = match outcome {
            Ok(_) => "ok",
            Err(GitHubError::Transient { .. }) => "fault",
            Err(GitHubError::RateLimited { .. }) => "limited",
            Err(_) => "refused",
        };
        metrics::counter!("paceline_github_requests_total", "method" => method.to_string(), "outcome" => word)
            .increment(1);
        match outcome {
            Err(GitHubError::Transient { message, .. }) => {
                let opened = lock(&self.breaker).failed(self.clock.now_ms());
                if opened {
                    tracing::error!(message, "GitHub fails again and again; it is left alone for a while");
                }
            }
            Err(GitHubError::RateLimited { until_ms }) => {
                self.silence(who, *until_ms);
                lock(&self.breaker).answered();
            }
            _ => lock(&self.breaker).answered(),
        }
    }

    fn silence(&self, who: Who, until_ms: i64) {
        let until_ms = until_ms.min(self.clock.now_ms() + LIMITED_MAX_MS);
        let mut silent = lock(&self.silent_until_ms);
        let known = silent.entry(who).or_insert(until_ms);
        *known = (*known).max(until_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Who = Who::Installation(InstallationId(7));
    const THERE: Who = Who::Installation(InstallationId(8));

    fn quota(remaining: &str, reset_s: i64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-ratelimit-remaining", remaining.parse().unwrap());
        headers.insert("x-ratelimit-reset", reset_s.into());
        headers
    }

    #[test]
    fn who_has_used_up_a_quota_is_silent_until_its_reset_and_nobody_else() {
        let clock = Clock::fixed(1_000_000);
        let guard = Guard::new(clock.clone());
        guard.heard(HERE, &quota("1", 1_060));
        assert!(guard.permit(HERE).is_ok());
        guard.heard(HERE, &quota("0", 1_060));
        assert_eq!(guard.permit(HERE), Err(GitHubError::RateLimited { until_ms: 1_060_000 }));
        assert!(guard.permit(THERE).is_ok());
        assert!(guard.permit(Who::App).is_ok());
        clock.advance(60_000);
        assert!(guard.permit(HERE).is_ok());
    }

    #[test]
    fn a_limit_silences_and_no_header_silences_for_ever() {
        let clock = Clock::fixed(1_000_000);
        let guard = Guard::new(clock.clone());
        let limited: Result<(), _> = Err(GitHubError::RateLimited { until_ms: 1_005_000 });
        guard.settled(HERE, &http::Method::POST, &limited);
        assert_eq!(guard.permit(HERE), Err(GitHubError::RateLimited { until_ms: 1_005_000 }));
        guard.heard(HERE, &quota("0", i64::MAX));
        clock.advance(LIMITED_MAX_MS);
        assert!(guard.permit(HERE).is_ok());
    }

    #[test]
    fn faults_in_a_row_stop_all_requests() {
        let clock = Clock::fixed(0);
        let guard = Guard::new(clock.clone());
        let fault: Result<(), _> = Err(GitHubError::transient("it", "down"));
        while guard.state() == BreakerState::Closed {
            assert!(guard.permit(HERE).is_ok());
            guard.settled(HERE, &http::Method::GET, &fault);
        }
        let BreakerState::Open { until_ms } = guard.state() else { panic!("it is open") };
        assert_eq!(guard.permit(THERE), Err(GitHubError::Unreachable { until_ms }));
        clock.advance(until_ms);
        assert!(guard.permit(THERE).is_ok());
        guard.settled(THERE, &http::Method::GET, &Ok(()));
        assert_eq!(guard.state(), BreakerState::Closed);
    }
}
