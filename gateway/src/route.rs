//! Which route takes a request: a compiled table from host, path prefix and method to a route.
//!
//! A route matches when its host, its prefix and its methods all do. Among those that match, the most
//! specific host wins (exact, then the longest wildcard, then any), then the longest prefix, then a route
//! that names its methods over one that takes all. Paths come in normal form (see [`crate::path`]).
//! Nothing here allocates after the table is built.

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
    /// Begins with a slash. A slash at its end changes nothing: `/api` and `/api/` are one prefix.
    pub prefix: String,
}

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
    /// By node of `paths`: the head of its list in `entries`.
    first_entry: Vec<u32>,
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
}

/// A route at a prefix; those of one prefix form a list, the one that takes all methods last.
#[derive(Clone, Copy, Debug)]
struct Entry {
    methods: Methods,
    route: RouteId,
    next: u32,
}

const NO_ENTRY: u32 = u32::MAX;

impl Table {
    /// The route for a request. `host` may carry a port, a final dot and upper case; `path` is normal.
    pub fn find(&self, host: &str, verb: Verb, path: &str) -> Found {
        let mut allowed = Methods::NONE;
        let mut scope = self.scope_of(host);
        while let Some(ScopeId(at)) = scope {
            let Scope { root, wider } = self.scopes[at as usize];
            if let Some(route) = self.longest_prefix(root, verb, path, &mut allowed) {
                return Found::Route(route);
            }
            scope = wider;
        }
        if allowed == Methods::NONE { Found::Nothing } else { Found::WrongMethod(allowed) }
    }

    /// Walks the path down one trie and keeps the deepest route that takes the verb.
    fn longest_prefix(&self, root: NodeId, verb: Verb, path: &str, allowed: &mut Methods) -> Option<RouteId> {
        let mut node = root;
        let mut longest = self.entry_for(node, verb, allowed);
        for segment in path.as_bytes().split(|byte| *byte == b'/').skip(1) {
            let Some(child) = self.paths.child(node, segment) else { break };
            node = child;
            longest = self.entry_for(node, verb, allowed).or(longest);
        }
        longest
    }

    fn entry_for(&self, node: NodeId, verb: Verb, allowed: &mut Methods) -> Option<RouteId> {
        let mut at = self.first_entry[node.index()];
        while at != NO_ENTRY {
            let entry = self.entries[at as usize];
            if entry.methods.contains(verb) {
                return Some(entry.route);
            }
            *allowed = allowed.union(entry.methods);
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
