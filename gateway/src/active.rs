//! The configuration in force: compiled, with the state that outlives a reload.
//!
//! A route's limiter and counters and an upstream's breaker and counters pass from one configuration to
//! the next by name.

use crate::balance;
use crate::breaker::{Admission, Breaker, Outcome, Permit, Rule, State};
use crate::config::{
    AccessLog, Action, Address, Balance, Config, Fields, Health, Limit, LimitBy, Protocol, Retry, Rewrite,
    Server, Tracing, UpstreamTls,
};
use crate::health::Streak;
use crate::limit::{Decision, Key, Limiter};
use crate::metrics::{InstanceCounts, RouteCounts, Striped, UpstreamCounts};
use crate::route::{Condition, Table};
use crate::tls::{Outward, Tls};
use crate::upstream::InstanceId;
use arc_swap::{ArcSwap, Guard};
use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where the configuration in force is found, and when to look there again.
#[derive(Debug)]
pub struct InForce {
    active: ArcSwap<Active>,
    changes: AtomicU64,
}

impl InForce {
    pub fn new(active: Active) -> InForce {
        InForce { active: ArcSwap::from_pointee(active), changes: AtomicU64::new(0) }
    }

    pub fn load(&self) -> Guard<Arc<Active>> {
        self.active.load()
    }

    pub fn load_full(&self) -> Arc<Active> {
        self.active.load_full()
    }

    /// Puts another in force, and returns the one before.
    pub fn swap(&self, active: Active) -> Arc<Active> {
        let before = self.active.swap(Arc::new(active));
        // Behind it: who sees this number gets that configuration, or a later one.
        self.changes.fetch_add(1, Release);
        before
    }

    /// Another number than before means another configuration. Read before the configuration itself, so that a
    /// change in between is seen the next time. To ask for this number touches nothing that anybody writes to.
    pub fn changes(&self) -> u64 {
        self.changes.load(Acquire)
    }
}

#[derive(Debug)]
pub struct Active {
    pub server: Server,
    pub access_log: AccessLog,
    pub tracing: Option<Tracing>,
    /// Of the listener for TLS, if there is one.
    pub tls: Option<Arc<Tls>>,
    pub table: Table,
    /// By [`crate::route::RouteId`].
    pub routes: Vec<Route>,
    pub upstreams: Vec<Upstream>,
}

#[derive(Debug)]
pub struct Route {
    pub name: String,
    pub action: Action,
    pub rewrite: Rewrite,
    /// How many segments the route's path has.
    pub depth: usize,
    pub conditions: Vec<Condition>,
    pub limit: Option<RouteLimit>,
    pub request_fields: Fields,
    pub response_fields: Fields,
    pub request_timeout: Option<Duration>,
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
    /// At least one.
    pub instances: Vec<Arc<Instance>>,
    pub protocol: Protocol,
    /// None: it is spoken to in the clear.
    pub tls: Option<Arc<Outward>>,
    /// What that was loaded for.
    secured: Option<UpstreamTls>,
    pub balance: Balance,
    pub retry: Option<Retry>,
    pub health: Option<Health>,
    pub in_flight_max: Option<u32>,
    pub slow_start_ms: u64,
    pub counts: Arc<Striped<UpstreamCounts>>,
}

/// One address of an upstream.
#[derive(Debug)]
pub struct Instance {
    pub id: InstanceId,
    pub address: Address,
    /// The same in every process: a hash of the address.
    pub identity: u64,
    pub weight: u32,
    pub breaker: Option<Arc<SharedBreaker>>,
    standing: Arc<Standing>,
}

/// What is known of an instance for as long as it keeps its address.
#[derive(Debug)]
pub struct Standing {
    pub counts: Striped<InstanceCounts>,
    unwell: AtomicBool,
    streak: Mutex<Streak>,
    /// When it came back, on the clock of the breakers; 0 if it was never away.
    back_ms: AtomicU64,
}

/// The next instance's id.
static INSTANCES: AtomicU64 = AtomicU64::new(0);

impl Instance {
    /// Keeps its connections and its breaker's state as long as its upstream keeps its address.
    fn keep_or_new(
        address: Address,
        weight: u32,
        rule: Option<Rule>,
        known: Option<&Arc<Instance>>,
        threads: usize,
    ) -> Arc<Instance> {
        let breaker = known.and_then(|known| known.breaker.as_ref());
        let standing = || Standing {
            counts: Striped::new(threads),
            unwell: AtomicBool::new(false),
            streak: Mutex::default(),
            back_ms: AtomicU64::new(0),
        };
        Arc::new(Instance {
            id: known.map_or_else(|| InstanceId(INSTANCES.fetch_add(1, Relaxed)), |known| known.id),
            identity: Key::new(0, address.to_string().as_bytes()).mixed(),
            address,
            weight,
            breaker: rule.map(|rule| SharedBreaker::keep_or_new(rule, breaker)),
            standing: known.map_or_else(|| Arc::new(standing()), |known| known.standing.clone()),
        })
    }

    /// By the checks of its health; well as long as there are none.
    pub fn is_well(&self) -> bool {
        !self.standing.unwell.load(Relaxed)
    }

    pub fn counts(&self, thread: usize) -> &InstanceCounts {
        self.standing.counts.of(thread)
    }

    /// Its breaker closed, or it is well again.
    pub fn came_back(&self, now_ms: u64) {
        self.standing.back_ms.store(now_ms.max(1), Relaxed);
    }

    /// What it draws of the requests now, in hundredths of its weight.
    pub fn weight_now(&self, now_ms: u64, slow_start_ms: u64) -> u32 {
        match self.standing.back_ms.load(Relaxed) {
            0 => self.weight * 100,
            back_ms => balance::slow_start(self.weight, now_ms.saturating_sub(back_ms), slow_start_ms),
        }
    }

    /// Takes the answer to a check of its health; what is thought of it from now on, if that changed.
    pub fn take_answer(&self, well: bool, rule: &Health, now_ms: u64) -> Option<bool> {
        let mut streak = self.standing.streak.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = streak.add(well, self.is_well(), rule)?;
        self.standing.unwell.store(!changed, Relaxed);
        if changed {
            self.came_back(now_ms);
        }
        Some(changed)
    }

    /// What to put into a `Host` field of our own.
    pub fn host(&self) -> String {
        match &self.address {
            Address::Unix(_) => "localhost".into(),
            address => address.to_string(),
        }
    }
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
            Route {
                action: route.action,
                rewrite: route.rewrite,
                depth: route.rule.prefix.split('/').filter(|segment| !segment.is_empty()).count(),
                conditions: route.rule.conditions,
                limit: route.limit.map(|limit| RouteLimit::new(limit, known_limit, keys)),
                request_fields: route.request_fields,
                response_fields: route.response_fields,
                request_timeout: route.request_timeout,
                counts: known.map_or_else(|| Arc::new(Striped::new(threads)), |known| known.counts.clone()),
                name: route.name,
            }
        };
        let upstream = |upstream: crate::config::Upstream| {
            let known = upstreams_before.get(upstream.name.as_str());
            // Spoken to in another way, an address is another instance: no connection of the old is used for it.
            let same =
                known.filter(|known| known.protocol == upstream.protocol && known.secured == upstream.tls);
            let known_instances = same.map_or(&[][..], |known| &known.instances);
            let instance = |(address, weight): (Address, u32)| {
                let known = known_instances.iter().find(|instance| instance.address == address);
                Instance::keep_or_new(address, weight, upstream.breaker, known, threads)
            };
            let weighted = upstream.addresses.into_iter().zip(upstream.weights);
            Upstream {
                instances: weighted.map(instance).collect(),
                protocol: upstream.protocol,
                tls: None,
                secured: upstream.tls,
                balance: upstream.balance,
                retry: upstream.retry,
                health: upstream.health,
                in_flight_max: upstream.in_flight_max,
                slow_start_ms: upstream.slow_start.as_millis() as u64,
                counts: known.map_or_else(|| Arc::new(Striped::new(threads)), |known| known.counts.clone()),
                name: upstream.name,
            }
        };
        Active {
            server: config.server,
            access_log: config.access_log,
            tracing: config.tracing,
            tls: None,
            table,
            routes: config.routes.into_iter().map(route).collect(),
            upstreams: config.upstreams.into_iter().map(upstream).collect(),
        }
    }

    /// The same, with what was loaded for TLS: of its listener, and of each upstream.
    pub fn with_tls(mut self, tls: Option<Arc<Tls>>, outward: Vec<Option<Arc<Outward>>>) -> Active {
        self.tls = tls;
        for (upstream, outward) in self.upstreams.iter_mut().zip(outward) {
            upstream.tls = outward;
        }
        self
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
