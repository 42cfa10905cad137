//! Upstreams of the file, checked value by value.

use super::check::{Checked, Checker, TIMEOUT_MAX_MS};
use super::spanned::Spanned;
use super::*;
use std::collections::HashMap;

/// Of one instance: the difference between a small machine and a large one.
const WEIGHT_MAX: u64 = 1000;

impl Checker<'_> {
    pub(super) fn upstreams(&self, upstreams: &[Spanned<file::Upstream>]) -> Checked<Vec<Upstream>> {
        if let Some(upstream) = upstreams.get(UPSTREAMS_MAX) {
            return Err(self.error(upstream, format!("more than {UPSTREAMS_MAX} upstreams")));
        }
        let mut names = HashMap::new();
        let mut checked = Vec::with_capacity(upstreams.len());
        for upstream in upstreams {
            let upstream = self.upstream(upstream.get_ref(), &mut names)?;
            checked.push(upstream);
        }
        Ok(checked)
    }

    fn upstream(&self, upstream: &file::Upstream, names: &mut HashMap<String, ()>) -> Checked<Upstream> {
        let name = self.name(&upstream.name)?;
        if names.insert(name.clone(), ()).is_some() {
            return Err(self.error(&upstream.name, format!("a second upstream named `{name}`")));
        }
        let count = upstream.addresses.get_ref().len();
        if count == 0 || count > ADDRESSES_MAX {
            return Err(self.error(&upstream.addresses, format!("must list 1 to {ADDRESSES_MAX} addresses")));
        }
        let address = |text: &Spanned<String>| {
            text.get_ref().parse().map_err(|message: String| self.error(text, message))
        };
        let addresses = upstream.addresses.get_ref().iter().map(address).collect::<Checked<Vec<_>>>()?;
        let tls = match &upstream.tls {
            Some(tls) => Some(self.upstream_tls(tls, &addresses)?),
            None => None,
        };
        let breaker = match &upstream.breaker {
            Some(breaker) => Some(self.breaker(breaker)?),
            None => None,
        };
        let retry = match &upstream.retry {
            Some(retry) => Some(self.retry(retry)?),
            None => None,
        };
        let health = match &upstream.health {
            Some(health) => Some(self.health(health)?),
            None => None,
        };
        let in_flight_max = match &upstream.in_flight_max {
            Some(most) => Some(self.within(most, 1..=1_000_000)? as u32),
            None => None,
        };
        let slow_start = self.number(&upstream.slow_start_ms, 0, 0..=TIMEOUT_MAX_MS)?;
        Ok(Upstream {
            name,
            addresses,
            weights: self.weights(upstream, count)?,
            protocol: self.protocol(upstream)?,
            tls,
            balance: self.balance(upstream)?,
            breaker,
            retry,
            health,
            in_flight_max,
            slow_start: Duration::from_millis(slow_start),
        })
    }

    fn weights(&self, upstream: &file::Upstream, count: usize) -> Checked<Vec<u32>> {
        let Some(weights) = &upstream.weights else { return Ok(vec![1; count]) };
        if weights.get_ref().len() != count {
            return Err(self.error(weights, "must list a weight for each address"));
        }
        weights.get_ref().iter().map(|weight| Ok(self.within(weight, 1..=WEIGHT_MAX)? as u32)).collect()
    }

    fn protocol(&self, upstream: &file::Upstream) -> Checked<Protocol> {
        let Some(protocol) = &upstream.protocol else { return Ok(Protocol::Http1) };
        match protocol.get_ref().as_str() {
            "http1" => Ok(Protocol::Http1),
            "http2" => Ok(Protocol::Http2),
            _ => Err(self.error(protocol, "must be \"http1\" or \"http2\"")),
        }
    }

    fn balance(&self, upstream: &file::Upstream) -> Checked<Balance> {
        let Some(balance) = &upstream.balance else { return Ok(Balance::RoundRobin) };
        Ok(match balance.get_ref().as_str() {
            "round-robin" => Balance::RoundRobin,
            "least-requests" => Balance::LeastRequests,
            "hash:client" => Balance::Hash(HashBy::Client),
            "hash:path" => Balance::Hash(HashBy::Path),
            other => match other.strip_prefix("hash:header:").map(|name| name.parse()) {
                Some(Ok(name)) => Balance::Hash(HashBy::Header(name)),
                _ => {
                    let known = "\"round-robin\", \"least-requests\", \"hash:client\", \"hash:path\" or \"hash:header:NAME\"";
                    return Err(self.error(balance, format!("must be {known}")));
                }
            },
        })
    }

    fn breaker(&self, breaker: &file::Breaker) -> Checked<breaker::Rule> {
        let share = match (&breaker.percent, &breaker.window_ms, &breaker.requests_min) {
            (Some(percent), window_ms, requests_min) => Some(breaker::Share {
                percent: self.within(percent, 1..=100)? as u32,
                window_ms: self.number(window_ms, 10_000, 1..=TIMEOUT_MAX_MS)? as u32,
                requests_min: self.number(requests_min, 20, 1..=1_000_000)? as u32,
            }),
            (None, Some(stray), _) | (None, None, Some(stray)) => {
                return Err(self.error(stray, "needs `percent`"));
            }
            (None, None, None) => None,
        };
        Ok(breaker::Rule {
            failures: self.within(&breaker.failures, 1..=1_000_000)? as u32,
            open_ms: self.within(&breaker.open_ms, 1..=TIMEOUT_MAX_MS)? as u32,
            half_open_max: self.within(&breaker.half_open_max, 1..=10_000)? as u32,
            share,
        })
    }

    fn retry(&self, retry: &file::Retry) -> Checked<Retry> {
        let time = |given: &Option<Spanned<u64>>, default_ms| {
            self.number(given, default_ms, 0..=60_000).map(Duration::from_millis)
        };
        Ok(Retry {
            attempts: self.within(&retry.attempts, 1..=10)? as u32,
            backoff: time(&retry.backoff_ms, 25)?,
            backoff_max: time(&retry.backoff_max_ms, 1_000)?,
            budget_percent: self.number(&retry.budget_percent, 20, 1..=100)? as u32,
        })
    }

    fn health(&self, health: &file::Health) -> Checked<Health> {
        let time = |given: &Option<Spanned<u64>>, default_ms| {
            self.number(given, default_ms, 10..=TIMEOUT_MAX_MS).map(Duration::from_millis)
        };
        let count = |given: &Option<Spanned<u64>>, default| Ok(self.number(given, default, 1..=100)? as u32);
        Ok(Health {
            path: self.path(&health.path)?,
            interval: time(&health.interval_ms, 5_000)?,
            timeout: time(&health.timeout_ms, 1_000)?,
            healthy_after: count(&health.healthy_after, 2)?,
            unhealthy_after: count(&health.unhealthy_after, 3)?,
        })
    }
}
