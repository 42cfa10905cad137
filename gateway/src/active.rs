//! The configuration in force: compiled, with the state that outlives a reload.
//!
//! A route's limiter and counters and an upstream's breaker and counters pass from one configuration to
//! the next by name.

use crate::breaker::{Admission, Breaker, Outcome, Permit, Rule, State};
use crate::config::{AccessLog, Address, Config, Limit, LimitBy, Server};
use crate::limit::{Decision, Key, Limiter};
use crate::metrics::{RouteCounts, Striped, UpstreamCounts};
use crate::route::Table;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub struct Active {
    pub server: Server,
    pub access_log: AccessLog,
    pub table: Table,
    /// By [`crate::route::RouteId`].
    pub routes: Vec<Route>,
    pub upstreams: Vec<Upstream>,
}

#[derive(Debug)]
pub struct Route {
    pub name: String,
    /// The place in [`Active::upstreams`].
    pub upstream: usize,
    /// What to take off the front of the path: the route's prefix, or nothing.
    pub strip_bytes: usize,
    pub limit: Option<RouteLimit>,
    pub counts: Arc<Striped<RouteCounts>>,
}

#[derive(Debug)]
pub struct RouteLimit {
    pub by: LimitBy,
    pub limiter: Arc<SharedLimiter>,
}

#[derive(Debug)]
pub struct Upstream {
    pub name: String,
    pub addresses: Vec<Address>,
    pub breaker: Option<Arc<SharedBreaker>>,
    pub counts: Arc<Striped<UpstreamCounts>>,
}

impl Active {
    /// Compiles a configuration, and takes over what `before` knows of names that stay.
    pub fn build(config: Config, before: Option<&Active>, threads: usize) -> Active {
        let rules: Vec<_> = config.routes.iter().map(|route| route.rule.clone()).collect();
        let table = Table::build(&rules).expect("the configuration was checked for clashes");
        let routes_before: HashMap<&str, &Route> =
            before.iter().flat_map(|b| &b.routes).map(|route| (route.name.as_str(), route)).collect();
        let upstreams_before: HashMap<&str, &Upstream> =
            before.iter().flat_map(|b| &b.upstreams).map(|up| (up.name.as_str(), up)).collect();
        let keys = config.server.limits.limiter_keys;
        let route = |route: crate::config::Route| {
            let known = routes_before.get(route.name.as_str());
            let known_limit = known.and_then(|known| known.limit.as_ref());
            let prefix = route.rule.prefix.trim_end_matches('/');
            Route {
                upstream: route.upstream,
                strip_bytes: if route.strip_prefix { prefix.len() } else { 0 },
                limit: route.limit.map(|limit| RouteLimit::new(limit, known_limit, keys)),
                counts: known.map_or_else(|| Arc::new(Striped::new(threads)), |known| known.counts.clone()),
                name: route.name,
            }
        };
        let upstream = |upstream: crate::config::Upstream| {
            let known = upstreams_before.get(upstream.name.as_str());
            let known_breaker = known.and_then(|known| known.breaker.as_ref());
            Upstream {
                addresses: upstream.addresses,
                breaker: upstream.breaker.map(|rule| SharedBreaker::keep_or_new(rule, known_breaker)),
                counts: known.map_or_else(|| Arc::new(Striped::new(threads)), |known| known.counts.clone()),
                name: upstream.name,
            }
        };
        Active {
            server: config.server,
            access_log: config.access_log,
            table,
            routes: config.routes.into_iter().map(route).collect(),
            upstreams: config.upstreams.into_iter().map(upstream).collect(),
        }
    }
}

impl RouteLimit {
    /// Keeps the counts unless they count something else now.
    fn new(limit: Limit, known: Option<&RouteLimit>, keys: usize) -> RouteLimit {
        let keys = if limit.by == LimitBy::Route { 1 } else { keys };
        let same = |known: &&RouteLimit| {
            known.by == limit.by
                && known.limiter.keys == keys
                && known.limiter.lock(0).quota().window_ms == limit.quota.window_ms
        };
        let limiter = match known.filter(same) {
            Some(known) => {
                known.limiter.set_requests(limit.quota.requests);
                known.limiter.clone()
            }
            None => Arc::new(SharedLimiter::new(limit.quota, keys)),
        };
        RouteLimit { by: limit.by, limiter }
    }
}

/// A limiter for all threads, in shards by key, so that two threads seldom want one lock.
#[derive(Debug)]
pub struct SharedLimiter {
    shards: Box<[Mutex<Limiter>]>,
    keys: usize,
}

/// Enough that threads rarely meet, few enough that each shard's table is worth its lines.
const SHARDS: usize = 16;

impl SharedLimiter {
    fn new(quota: crate::limit::Quota, keys: usize) -> SharedLimiter {
        let shard = || Mutex::new(Limiter::new(quota, keys.div_ceil(SHARDS)));
        SharedLimiter { shards: (0..SHARDS).map(|_| shard()).collect(), keys }
    }

    pub fn allow(&self, key: Key, now_ms: u64) -> Decision {
        self.lock(key.shard(SHARDS)).allow(key, now_ms)
    }

    fn set_requests(&self, requests: u32) {
        for shard in 0..SHARDS {
            self.lock(shard).set_requests(requests);
        }
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Limiter> {
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A breaker for all threads. The lock is held for a few instructions.
#[derive(Debug)]
pub struct SharedBreaker(Mutex<Breaker>);

impl SharedBreaker {
    fn keep_or_new(rule: Rule, known: Option<&Arc<SharedBreaker>>) -> Arc<SharedBreaker> {
        let Some(known) = known else { return Arc::new(SharedBreaker(Mutex::new(Breaker::new(rule)))) };
        if known.lock().rule() != rule {
            known.lock().set_rule(rule);
        }
        known.clone()
    }

    pub fn admit(&self, now_ms: u64) -> Admission {
        self.lock().admit(now_ms)
    }

    pub fn settle(&self, permit: Permit, outcome: Outcome, now_ms: u64) -> Option<State> {
        self.lock().settle(permit, outcome, now_ms)
    }

    /// As in the metric: 0 closed, 1 half open, 2 open.
    pub fn state_number(&self) -> u8 {
        match self.lock().state() {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open => 2,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
