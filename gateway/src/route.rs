//! Which route takes a request: a compiled table from host, path prefix and method to a route.
//!
//! A route matches when its host, its path, its methods and its conditions all do. Among those that match, the
//! most specific host wins (exact, then the longest wildcard, then any). Then paths are compared segment by
//! segment: a literal wins over a parameter, either over the end of a prefix, and a path that has to end there
//! over a prefix. Then more conditions win over fewer, then a route that names its methods over one that takes
//! all. Paths come in normal form (see [`crate::path`]). Nothing here allocates after the table is built.

mod build;
mod methods;
mod trie;

pub use self::methods::{Methods, Verb};
use self::trie::{NodeId, Trie};
use std::fmt;

/// A host name is at most this long in the DNS (RFC 1035, section 2.3.4); a longer one matches no name.
pub const HOST_MAX_BYTES: usize = 253;

/// What one route asks of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub host: HostPattern,
    pub methods: Methods,
    /// Begins with a slash. A slash at its end changes nothing: `/api` and `/api/` are one. A segment in braces
    /// is a parameter: it matches any one segment.
    pub prefix: String,
    /// Whether the path has to end there.
    pub exact: bool,
    pub conditions: Vec<Condition>,
}

impl Rule {
    /// All paths that begin with these segments.
    pub fn prefix(host: HostPattern, methods: Methods, prefix: impl Into<String>) -> Rule {
        Rule { host, methods, prefix: prefix.into(), exact: false, conditions: Vec::new() }
    }
}

/// What a route asks of a request besides: in which field or parameter of the query, and with which value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    pub of: Part,
    /// In lower case where it names a field.
    pub name: String,
    /// None: any value will do.
    pub value: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Field,
    Query,
}

/// Whether a segment of a path is a parameter: its name in braces.
pub fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// How a trie holds a parameter.
const PARAMETER: &[u8] = b"{}";

/// The hosts of a route, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Any,
    Exact(String),
    /// `*.example.com` is `Under("example.com")`: one or more labels before it.
    Under(String),
}

/// The place of a route in the list that the table was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteId(u32);

impl RouteId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the table says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Route(RouteId),
    /// Routes match but for their methods; these are the methods that would do.
    WrongMethod(Methods),
    Nothing,
}

/// Two rules that match exactly the same requests, by their places in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clash {
    pub first: usize,
    pub second: usize,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "routes {} and {} match the same requests", self.first, self.second)
    }
}

impl std::error::Error for Clash {}

/// The compiled routes.
#[derive(Debug)]
pub struct Table {
    /// A host is walked from its last label to its first.
    hosts: Trie,
    host_root: NodeId,
    host_scopes: Vec<HostScopes>,
    /// One root per scope; a path is walked from its first segment to its last.
    paths: Trie,
    /// By node of `paths`: the heads of its two lists in `entries`.
    first_entry: Vec<u32>,
    first_exact: Vec<u32>,
    entries: Vec<Entry>,
    scopes: Vec<Scope>,
    any_host: Option<ScopeId>,
}

/// The scopes that end at a node of the trie of hosts.
#[derive(Clone, Copy, Debug, Default)]
struct HostScopes {
    exact: Option<ScopeId>,
    under: Option<ScopeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ScopeId(u32);

/// The routes of one host pattern, and the scope to ask when none of them matches.
#[derive(Clone, Copy, Debug)]
struct Scope {
    root: NodeId,
    wider: Option<ScopeId>,
    has_exact: bool,
    has_parameters: bool,
}

/// A route at a path; those of one path form a list, the most specific first.
#[derive(Clone, Copy, Debug)]
struct Entry {
    methods: Methods,
    /// Higher is more specific: twice the conditions, and one for naming methods.
    rank: u16,
    route: RouteId,
    next: u32,
}

/// What is asked for, while a path is walked.
struct Walk<'a, H> {
    verb: Verb,
    /// Methods of routes that match but for them.
    allowed: &'a mut Methods,
    holds: H,
}

const NO_ENTRY: u32 = u32::MAX;

impl Table {
    /// The route for a request. `host` may carry a port, a final dot and upper case; `path` is normal.
    /// Routes with conditions are left out.
    pub fn find(&self, host: &str, verb: Verb, path: &str) -> Found {
        self.find_where(host, verb, path, |_| false)
    }

    /// The same; `holds` is asked whether all conditions of a route hold, only where it has any.
    pub fn find_where(&self, host: &str, verb: Verb, path: &str, holds: impl Fn(RouteId) -> bool) -> Found {
        let mut allowed = Methods::NONE;
        let mut walk = Walk { verb, allowed: &mut allowed, holds };
        let mut scope = self.scope_of(host);
        while let Some(ScopeId(at)) = scope {
            let scope_at = self.scopes[at as usize];
            let found = match scope_at.has_parameters {
                true => self.deepest(scope_at.root, path.get(1..).unwrap_or_default(), &mut walk),
                false => self.longest_prefix(scope_at, path, &mut walk),
            };
            if let Some(route) = found {
                return Found::Route(route);
            }
            scope = scope_at.wider;
        }
        if allowed == Methods::NONE { Found::Nothing } else { Found::WrongMethod(allowed) }
    }

    /// Walks the path down one trie and keeps the deepest route that takes the request.
    fn longest_prefix<H: Fn(RouteId) -> bool>(
        &self,
        scope: Scope,
        path: &str,
        walk: &mut Walk<'_, H>,
    ) -> Option<RouteId> {
        let mut node = scope.root;
        let mut longest = self.entry_of(self.first_entry[node.index()], walk);
        let mut is_end = true;
        for segment in path.as_bytes().split(|byte| *byte == b'/').skip(1) {
            let Some(child) = self.paths.child(node, segment) else {
                // A slash at the end changes nothing, and no other segment is empty.
                is_end = segment.is_empty();
                break;
            };
            node = child;
            longest = self.entry_of(self.first_entry[node.index()], walk).or(longest);
        }
        if is_end && scope.has_exact {
            longest = self.entry_of(self.first_exact[node.index()], walk).or(longest);
        }
        longest
    }

    /// The same where segments may be parameters: tries the literal first, and comes back from where it leads
    /// to no route. No deeper than the longest rule.
    fn deepest<H: Fn(RouteId) -> bool>(
        &self,
        node: NodeId,
        rest: &str,
        walk: &mut Walk<'_, H>,
    ) -> Option<RouteId> {
        if rest.is_empty() {
            let exact = self.entry_of(self.first_exact[node.index()], walk);
            return exact.or_else(|| self.entry_of(self.first_entry[node.index()], walk));
        }
        let (segment, after) = rest.split_once('/').unwrap_or((rest, ""));
        for text in [segment.as_bytes(), PARAMETER] {
            let child = self.paths.child(node, text);
            if let Some(found) = child.and_then(|child| self.deepest(child, after, walk)) {
                return Some(found);
            }
        }
        self.entry_of(self.first_entry[node.index()], walk)
    }

    fn entry_of<H: Fn(RouteId) -> bool>(&self, first: u32, walk: &mut Walk<'_, H>) -> Option<RouteId> {
        let mut at = first;
        while at != NO_ENTRY {
            let entry = self.entries[at as usize];
            if entry.rank <= 1 || (walk.holds)(entry.route) {
                if entry.methods.contains(walk.verb) {
                    return Some(entry.route);
                }
                *walk.allowed = walk.allowed.union(entry.methods);
            }
            at = entry.next;
        }
        None
    }

    /// The most specific scope whose pattern the host matches.
    fn scope_of(&self, host: &str) -> Option<ScopeId> {
        if self.hosts.len() == 1 {
            return self.any_host;
        }
        let mut buffer = [0; HOST_MAX_BYTES];
        let Some(name) = host_name(host, &mut buffer) else { return self.any_host };
        let mut widest = self.any_host;
        let mut node = self.host_root;
        for label in name.rsplit(|byte| *byte == b'.') {
            let scopes = self.host_scopes[node.index()];
            widest = scopes.under.or(widest);
            let Some(child) = self.hosts.child(node, label) else { return widest };
            node = child;
        }
        self.host_scopes[node.index()].exact.or(widest)
    }
}

/// The name in a `Host` field, without port and final dot and in lower case. None when it is too long.
fn host_name<'b>(host: &str, buffer: &'b mut [u8; HOST_MAX_BYTES]) -> Option<&'b [u8]> {
    let host = host.as_bytes();
    let end = match host.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(colon) if host[colon] == b':' => colon,
        _ => host.len(),
    };
    let name = host[..end].strip_suffix(b".").unwrap_or(&host[..end]);
    let out = buffer.get_mut(..name.len())?;
    for (to, from) in out.iter_mut().zip(name) {
        *to = from.to_ascii_lowercase();
    }
    Some(out)
}

#[cfg(test)]
mod tests;
