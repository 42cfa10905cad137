//! Turns the file's shape into a [`Config`], value by value, each with its bounds and its default.

use super::*;
use crate::path::normalize;
use crate::route::{HostPattern, Methods, Rule, Table, Verb};
use std::collections::HashMap;
use std::ops::RangeInclusive;
use toml::Spanned;

/// Checks one file; keeps its text, to say where a fault is.
pub(super) struct Checker<'t> {
    text: &'t str,
}

type Checked<T> = Result<T, ConfigError>;

/// An hour: the longest that any timeout makes sense here.
const TIMEOUT_MAX_MS: u64 = 60 * 60 * 1000;
/// More threads than the largest machines have cores.
const THREADS_MAX: u64 = 1024;

impl<'t> Checker<'t> {
    pub(super) fn new(text: &'t str) -> Checker<'t> {
        Checker { text }
    }

    pub(super) fn config(&self, file: &file::File) -> Checked<Config> {
        let upstreams = self.upstreams(&file.upstreams)?;
        let routes = self.routes(&file.routes, &upstreams)?;
        Ok(Config {
            server: self.server(&file.server)?,
            access_log: self.access_log(&file.access_log)?,
            upstreams,
            routes,
        })
    }

    fn server(&self, server: &file::Server) -> Checked<Server> {
        let ready_path = match &server.ready_path {
            Some(path) => Some(self.path(path)?),
            None => None,
        };
        let threads = match &server.threads {
            Some(threads) => Some(self.within(threads, 1..=THREADS_MAX)? as usize),
            None => None,
        };
        let timeouts = self.timeouts(&server.timeouts)?;
        let limits = self.limits(&server.limits)?;
        Ok(Server { listen: server.listen, admin: server.admin, threads, ready_path, limits, timeouts })
    }

    fn limits(&self, limits: &file::Limits) -> Checked<Limits> {
        let number = |given: &Option<Spanned<u64>>, default, bounds| self.number(given, default, bounds);
        Ok(Limits {
            connections: number(&limits.connections, 10_000, 1..=1_000_000)? as usize,
            headers: number(&limits.headers, 100, 1..=1_000)? as usize,
            // The parser's buffer cannot be smaller than 8 KiB.
            header_bytes: number(&limits.header_bytes, 32 * 1024, 8 * 1024..=1024 * 1024)? as usize,
            body_bytes: number(&limits.body_bytes, 1 << 30, 0..=1 << 50)?,
            upstream_idle: number(&limits.upstream_idle, 64, 0..=10_000)? as usize,
            limiter_keys: number(&limits.limiter_keys, 65_536, 64..=16_777_216)? as usize,
        })
    }

    fn timeouts(&self, timeouts: &file::Timeouts) -> Checked<Timeouts> {
        let time = |given: &Option<Spanned<u64>>, default_ms| {
            self.number(given, default_ms, 1..=TIMEOUT_MAX_MS).map(Duration::from_millis)
        };
        Ok(Timeouts {
            client_header: time(&timeouts.client_header_ms, 30_000)?,
            client_write: time(&timeouts.client_write_ms, 30_000)?,
            connect: time(&timeouts.connect_ms, 1_000)?,
            response_header: time(&timeouts.response_header_ms, 15_000)?,
            request: time(&timeouts.request_ms, 60_000)?,
            upstream_idle: time(&timeouts.upstream_idle_ms, 15_000)?,
            drain: time(&timeouts.drain_ms, 10_000)?,
        })
    }

    fn access_log(&self, log: &file::AccessLog) -> Checked<AccessLog> {
        let output = match (&log.output, &log.file) {
            (Some(output), Some(file)) if output.get_ref() != "file" => {
                return Err(self.error(file, "`file` needs `output = \"file\"`"));
            }
            (None, Some(file)) => return Err(self.error(file, "`file` needs `output = \"file\"`")),
            (None, None) => LogOutput::Off,
            (Some(output), file) => match (output.get_ref().as_str(), file) {
                ("off", _) => LogOutput::Off,
                ("stdout", _) => LogOutput::Stdout,
                ("file", Some(file)) => LogOutput::File(file.get_ref().clone()),
                ("file", None) => return Err(self.error(output, "`output = \"file\"` needs `file`")),
                _ => return Err(self.error(output, "must be \"off\", \"stdout\" or \"file\"")),
            },
        };
        let sample_one_in = self.number(&log.sample_one_in, 1, 1..=1_000_000_000)? as u32;
        Ok(AccessLog { output, sample_one_in })
    }

    fn upstreams(&self, upstreams: &[Spanned<file::Upstream>]) -> Checked<Vec<Upstream>> {
        if let Some(upstream) = upstreams.get(UPSTREAMS_MAX) {
            return Err(self.error(upstream, format!("more than {UPSTREAMS_MAX} upstreams")));
        }
        let mut names = HashMap::new();
        let check = |upstream: &Spanned<file::Upstream>| {
            let upstream = upstream.get_ref();
            let name = self.name(&upstream.name)?;
            if names.insert(name.clone(), ()).is_some() {
                return Err(self.error(&upstream.name, format!("a second upstream named `{name}`")));
            }
            let count = upstream.addresses.get_ref().len();
            if count == 0 || count > ADDRESSES_MAX {
                return Err(
                    self.error(&upstream.addresses, format!("must list 1 to {ADDRESSES_MAX} addresses"))
                );
            }
            let address = |text: &Spanned<String>| {
                text.get_ref().parse().map_err(|message: String| self.error(text, message))
            };
            let addresses = upstream.addresses.get_ref().iter().map(address).collect::<Checked<_>>()?;
            let breaker = match &upstream.breaker {
                Some(breaker) => Some(self.breaker(breaker)?),
                None => None,
            };
            Ok(Upstream { name, addresses, breaker })
        };
        upstreams.iter().map(check).collect()
    }

    fn breaker(&self, breaker: &file::Breaker) -> Checked<breaker::Rule> {
        Ok(breaker::Rule {
            failures: self.within(&breaker.failures, 1..=1_000_000)? as u32,
            open_ms: self.within(&breaker.open_ms, 1..=TIMEOUT_MAX_MS)? as u32,
            half_open_max: self.within(&breaker.half_open_max, 1..=10_000)? as u32,
        })
    }

    fn routes(&self, routes: &[Spanned<file::Route>], upstreams: &[Upstream]) -> Checked<Vec<Route>> {
        if let Some(route) = routes.get(ROUTES_MAX) {
            return Err(self.error(route, format!("more than {ROUTES_MAX} routes")));
        }
        let upstream_of: HashMap<&str, usize> =
            upstreams.iter().enumerate().map(|(n, upstream)| (upstream.name.as_str(), n)).collect();
        let mut names = HashMap::new();
        let mut checked: Vec<Route> = Vec::with_capacity(routes.len());
        for route in routes {
            let route = self.route(route.get_ref(), &upstream_of, &mut names)?;
            checked.push(route);
        }
        let rules: Vec<Rule> = checked.iter().map(|route| route.rule.clone()).collect();
        if let Err(clash) = Table::build(&rules) {
            let message = format!("matches the same requests as route `{}`", checked[clash.first].name);
            return Err(self.error(&routes[clash.second].get_ref().prefix, message));
        }
        Ok(checked)
    }

    fn route(
        &self,
        route: &file::Route,
        upstream_of: &HashMap<&str, usize>,
        names: &mut HashMap<String, ()>,
    ) -> Checked<Route> {
        let name = self.name(&route.name)?;
        if names.insert(name.clone(), ()).is_some() {
            return Err(self.error(&route.name, format!("a second route named `{name}`")));
        }
        let Some(upstream) = upstream_of.get(route.upstream.get_ref().as_str()) else {
            return Err(
                self.error(&route.upstream, format!("no upstream named `{}`", route.upstream.get_ref()))
            );
        };
        let host = match &route.host {
            Some(host) => self.host(host)?,
            None => HostPattern::Any,
        };
        let methods = match &route.methods {
            Some(methods) => self.methods(methods)?,
            None => Methods::ALL,
        };
        let limit = match &route.limit {
            Some(limit) => Some(self.limit(limit)?),
            None => None,
        };
        let prefix = self.path(&route.prefix)?;
        let rule = Rule { host, methods, prefix };
        Ok(Route { name, rule, upstream: *upstream, strip_prefix: route.strip_prefix, limit })
    }

    fn host(&self, host: &Spanned<String>) -> Checked<HostPattern> {
        let text = host.get_ref().to_ascii_lowercase();
        let name = text.strip_prefix("*.").unwrap_or(&text);
        let is_label = |label: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            !label.is_empty() && label.len() <= 63 && label.chars().all(plain)
        };
        let is_ipv6 = || {
            let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            inside.is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok())
        };
        if text == "*" {
            Ok(HostPattern::Any)
        } else if name.len() <= route::HOST_MAX_BYTES && name.split('.').all(is_label) {
            let pattern = if name.len() < text.len() { HostPattern::Under } else { HostPattern::Exact };
            Ok(pattern(name.to_owned()))
        } else if is_ipv6() {
            Ok(HostPattern::Exact(text))
        } else {
            Err(self.error(host, "must be a host name without a port, `*.` and a name, or `*`"))
        }
    }

    /// A route that takes GET takes HEAD too (RFC 9110, section 9.3.2).
    fn methods(&self, methods: &Spanned<Vec<Spanned<String>>>) -> Checked<Methods> {
        let mut set = Methods::NONE;
        for method in methods.get_ref() {
            let verb = Verb::of(method.get_ref());
            if verb == Verb::Other {
                let known = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH or TRACE";
                return Err(self.error(method, format!("must be {known}; leave `methods` out to take all")));
            }
            set = set.union(Methods::only(verb));
        }
        if set == Methods::NONE {
            return Err(self.error(methods, "names no method; leave `methods` out to take all"));
        }
        if set.contains(Verb::Get) {
            set = set.union(Methods::only(Verb::Head));
        }
        Ok(set)
    }

    fn limit(&self, limit: &file::Limit) -> Checked<Limit> {
        let by = match limit.key.get_ref().as_str() {
            "client" => LimitBy::Client,
            "route" => LimitBy::Route,
            key => match key.strip_prefix("header:").map(|name| name.trim().parse()) {
                Some(Ok(name)) => LimitBy::Header(name),
                _ => {
                    return Err(self.error(&limit.key, "must be \"client\", \"route\" or \"header:NAME\""));
                }
            },
        };
        let quota = limit::Quota {
            requests: self.within(&limit.requests, 1..=u64::from(limit::REQUESTS_MAX))? as u32,
            window_ms: self.within(&limit.window_ms, 1..=u64::from(limit::WINDOW_MAX_MS))? as u32,
        };
        Ok(Limit { quota, by })
    }

    fn path(&self, path: &Spanned<String>) -> Checked<String> {
        let text = path.get_ref();
        if text.contains(['?', '#']) || text.chars().any(|c| c.is_ascii_control() || c == ' ') {
            return Err(self.error(path, "must be a path alone, without a query, a fragment or a space"));
        }
        match normalize(text) {
            Ok(normal) if normal == *text => Ok(text.clone()),
            Ok(normal) => Err(self.error(path, format!("no request has this path; write `{normal}`"))),
            Err(bad) => Err(self.error(path, bad.to_string())),
        }
    }

    fn name(&self, name: &Spanned<String>) -> Checked<String> {
        let text = name.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if text.is_empty() || text.len() > NAME_MAX_BYTES || !text.chars().all(plain) {
            let message = format!("must be 1 to {NAME_MAX_BYTES} letters, digits, `-`, `_`, `.` or `/`");
            return Err(self.error(name, message));
        }
        Ok(text.clone())
    }

    fn number(
        &self,
        given: &Option<Spanned<u64>>,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> Checked<u64> {
        given.as_ref().map_or(Ok(default), |given| self.within(given, bounds))
    }

    fn within(&self, given: &Spanned<u64>, bounds: RangeInclusive<u64>) -> Checked<u64> {
        let number = *given.get_ref();
        if !bounds.contains(&number) {
            return Err(self.error(given, format!("must be from {} to {}", bounds.start(), bounds.end())));
        }
        Ok(number)
    }

    fn error<T>(&self, place: &Spanned<T>, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.text, place.span().start, message)
    }
}
