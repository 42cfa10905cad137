//! Routes of the file, checked value by value, and against each other.

use super::check::{Checked, Checker, TIMEOUT_MAX_MS};
use super::spanned::Spanned;
use super::*;
use crate::http1::field::Known;
use crate::route::{Condition, HostPattern, Methods, Part, Rule, Table, Verb, parameter};
use http::HeaderValue;
use std::collections::HashMap;

/// Conditions of one route; more would cost every request that comes near it.
const CONDITIONS_MAX: usize = 16;
/// Upstreams that one route is split over.
const SHARES_MAX: usize = 16;
/// Of one share, so that sums stay within 32 bits.
const WEIGHT_MAX: u64 = 1_000_000;

impl Checker<'_> {
    pub(super) fn routes(
        &self,
        routes: &[Spanned<file::Route>],
        upstreams: &[Upstream],
    ) -> Checked<Vec<Route>> {
        if let Some(route) = routes.get(ROUTES_MAX) {
            return Err(self.error(route, format!("more than {ROUTES_MAX} routes")));
        }
        let upstream_of: HashMap<&str, usize> =
            upstreams.iter().enumerate().map(|(n, upstream)| (upstream.name.as_str(), n)).collect();
        let mut names = HashMap::new();
        let mut checked: Vec<Route> = Vec::with_capacity(routes.len());
        for route in routes {
            let route = self.route(route, &upstream_of, &mut names)?;
            checked.push(route);
        }
        let rules: Vec<Rule> = checked.iter().map(|route| route.rule.clone()).collect();
        if let Err(clash) = Table::build(&rules) {
            let message = format!("matches the same requests as route `{}`", checked[clash.first].name);
            let second = &routes[clash.second];
            let place = second.get_ref().prefix.as_ref().or(second.get_ref().path.as_ref());
            return Err(match place {
                Some(place) => self.error(place, message),
                None => self.error(second, message),
            });
        }
        Ok(checked)
    }

    fn route(
        &self,
        spanned: &Spanned<file::Route>,
        upstream_of: &HashMap<&str, usize>,
        names: &mut HashMap<String, ()>,
    ) -> Checked<Route> {
        let route = spanned.get_ref();
        let name = self.name(&route.name)?;
        if names.insert(name.clone(), ()).is_some() {
            return Err(self.error(&route.name, format!("a second route named `{name}`")));
        }
        let host = match &route.host {
            Some(host) => self.host(host)?,
            None => HostPattern::Any,
        };
        let methods = match &route.methods {
            Some(methods) => self.methods(methods)?,
            None => Methods::ALL,
        };
        let (place, exact) = match (&route.prefix, &route.path) {
            (Some(prefix), None) => (prefix, false),
            (None, Some(path)) => (path, true),
            (Some(_), Some(path)) => return Err(self.error(path, "`path` and `prefix` exclude each other")),
            (None, None) => return Err(self.error(spanned, "needs `prefix` or `path`")),
        };
        let path = self.pattern(place)?;
        let action = self.action(spanned, &path, upstream_of)?;
        let rewrite = match (&route.rewrite, route.strip_prefix) {
            (None, false) => Rewrite::None,
            (None, true) => Rewrite::Strip,
            (Some(rewrite), true) => {
                return Err(self.error(rewrite, "`rewrite` and `strip_prefix` exclude each other"));
            }
            (Some(rewrite), false) => Rewrite::To(self.rewrite(rewrite, &path)?),
        };
        let limit = match &route.limit {
            Some(limit) => Some(self.limit(limit)?),
            None => None,
        };
        let request_timeout = match &route.request_ms {
            Some(ms) => Some(Duration::from_millis(self.within(ms, 1..=TIMEOUT_MAX_MS)?)),
            None => None,
        };
        let conditions = self.conditions(route)?;
        Ok(Route {
            name,
            rule: Rule { host, methods, prefix: path, exact, conditions },
            action,
            rewrite,
            limit,
            request_fields: self.fields(&route.request_headers)?,
            response_fields: self.fields(&route.response_headers)?,
            request_timeout,
        })
    }

    fn action(
        &self,
        spanned: &Spanned<file::Route>,
        path: &str,
        upstream_of: &HashMap<&str, usize>,
    ) -> Checked<Action> {
        let route = spanned.get_ref();
        let place_of = |name: &Spanned<String>| {
            let known = upstream_of.get(name.get_ref().as_str()).copied();
            known.ok_or_else(|| self.error(name, format!("no upstream named `{}`", name.get_ref())))
        };
        match (&route.upstream, &route.split, &route.redirect) {
            (Some(name), None, None) => {
                Ok(Action::Pass(vec![Share { weight: 1, upstream: place_of(name)? }]))
            }
            (None, Some(split), None) => {
                let count = split.get_ref().len();
                if count == 0 || count > SHARES_MAX {
                    return Err(self.error(split, format!("must list 1 to {SHARES_MAX} shares")));
                }
                let share = |share: &file::Share| {
                    let weight = self.within(&share.weight, 0..=WEIGHT_MAX)? as u32;
                    Ok(Share { weight, upstream: place_of(&share.upstream)? })
                };
                let shares = split.get_ref().iter().map(share).collect::<Checked<Vec<_>>>()?;
                if shares.iter().all(|share| share.weight == 0) {
                    return Err(self.error(split, "gives no share a weight"));
                }
                Ok(Action::Pass(shares))
            }
            (None, None, Some(redirect)) => {
                let status = match &redirect.status {
                    Some(status) => match *status.get_ref() {
                        301 | 302 | 303 | 307 | 308 => *status.get_ref() as u16,
                        _ => return Err(self.error(status, "must be 301, 302, 303, 307 or 308")),
                    },
                    None => 308,
                };
                let to = self.template(&redirect.to, path)?;
                let text = redirect.to.get_ref();
                if !text.starts_with('/') && !text.starts_with("http://") && !text.starts_with("https://") {
                    return Err(self.error(&redirect.to, "must begin with `/`, `http://` or `https://`"));
                }
                Ok(Action::Redirect { status, to })
            }
            (None, None, None) => Err(self.error(spanned, "needs `upstream`, `split` or `redirect`")),
            _ => Err(self.error(spanned, "`upstream`, `split` and `redirect` exclude each other")),
        }
    }

    fn template(&self, text: &Spanned<String>, path: &str) -> Checked<Template> {
        if !text.get_ref().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.error(text, "must be ASCII without spaces"));
        }
        Template::parse(text.get_ref(), path).map_err(|bad| self.error(text, bad.to_string()))
    }

    fn rewrite(&self, text: &Spanned<String>, path: &str) -> Checked<Template> {
        if !text.get_ref().starts_with('/') || text.get_ref().contains(['?', '#']) {
            return Err(self.error(text, "must be a path alone, beginning with a slash"));
        }
        self.template(text, path)
    }

    /// A path whose segments may be parameters.
    fn pattern(&self, path: &Spanned<String>) -> Checked<String> {
        let text = path.get_ref();
        let mut known = Vec::new();
        for segment in text.split('/') {
            match parameter(segment) {
                Some(name) => {
                    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    if name.is_empty() || !name.chars().all(plain) || matches!(name, "rest" | "host") {
                        return Err(self.error(path, format!("`{segment}` is no name of a parameter")));
                    }
                    if known.contains(&name) {
                        return Err(self.error(path, format!("a second parameter `{segment}`")));
                    }
                    known.push(name);
                }
                None if segment.contains(['{', '}']) => {
                    return Err(self.error(path, "a parameter takes a whole segment: `/users/{id}/orders`"));
                }
                None => {}
            }
        }
        self.path(path)
    }

    fn conditions(&self, route: &file::Route) -> Checked<Vec<Condition>> {
        let mut conditions = Vec::new();
        for (part, asked) in [(Part::Field, &route.headers), (Part::Query, &route.query)] {
            for (name, value) in asked {
                if part == Part::Field && name.parse::<HeaderName>().is_err() {
                    return Err(self.error(value, format!("`{name}` is no name of a field")));
                }
                let name = if part == Part::Field { name.to_ascii_lowercase() } else { name.clone() };
                let text = value.get_ref();
                let value = (text != "*").then(|| text.clone());
                conditions.push(Condition { of: part, name, value });
            }
        }
        if conditions.len() > CONDITIONS_MAX {
            return Err(self.error(&route.name, format!("more than {CONDITIONS_MAX} conditions")));
        }
        conditions.sort();
        Ok(conditions)
    }

    fn fields(&self, fields: &file::Fields) -> Checked<Fields> {
        let refuse = |place: &Spanned<String>, name: &str| {
            Err(self.error(place, format!("`{name}` is no field that a route may change")))
        };
        let may_change = |name: &str| name.parse::<HeaderName>().is_ok() && Known::of(name) == Known::Other;
        for name in &fields.remove {
            if !may_change(name.get_ref()) {
                return refuse(name, name.get_ref());
            }
        }
        let mut set = Vec::new();
        for (name, value) in &fields.set {
            if !may_change(name) {
                return refuse(value, name);
            }
            if HeaderValue::from_str(value.get_ref()).is_err() {
                return Err(self.error(value, "is no value of a field"));
            }
            set.push((name.clone(), value.get_ref().clone()));
        }
        Ok(Fields { remove: fields.remove.iter().map(|name| name.get_ref().clone()).collect(), set })
    }

    pub(super) fn host(&self, host: &Spanned<String>) -> Checked<HostPattern> {
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
}
