//! Compiles a list of rules into a [`Table`].

use super::trie::{NodeId, Trie};
use super::{Clash, Entry, HostPattern, HostScopes, Methods, NO_ENTRY, RouteId, Rule, Scope, ScopeId, Table};

impl Table {
    /// Compiles the rules; a [`RouteId`] is a place in this list.
    pub fn build(rules: &[Rule]) -> Result<Table, Clash> {
        let mut hosts = Trie::new();
        let host_root = hosts.add_root();
        let mut table = Table {
            hosts,
            host_root,
            host_scopes: vec![HostScopes::default()],
            paths: Trie::new(),
            first_entry: Vec::with_capacity(rules.len() * 2),
            entries: Vec::with_capacity(rules.len()),
            scopes: Vec::new(),
            any_host: None,
        };
        for (index, rule) in rules.iter().enumerate() {
            let scope = table.scope_for(&rule.host);
            let node = table.path_node(scope, &rule.prefix);
            table.add_entry(node, rule.methods, index)?;
        }
        for rule in rules {
            table.link_wider(&rule.host);
        }
        Ok(table)
    }

    /// The scope of a pattern, made if it is new.
    fn scope_for(&mut self, host: &HostPattern) -> ScopeId {
        let known = match host {
            HostPattern::Any => self.any_host,
            HostPattern::Exact(name) => self.host_node(name).exact,
            HostPattern::Under(name) => self.host_node(name).under,
        };
        if let Some(scope) = known {
            return scope;
        }
        let scope = ScopeId(self.scopes.len() as u32);
        let root = self.paths.add_root();
        self.first_entry.push(NO_ENTRY);
        self.scopes.push(Scope { root, wider: None });
        match host {
            HostPattern::Any => self.any_host = Some(scope),
            HostPattern::Exact(name) => self.host_node(name).exact = Some(scope),
            HostPattern::Under(name) => self.host_node(name).under = Some(scope),
        }
        scope
    }

    fn host_node(&mut self, name: &str) -> &mut HostScopes {
        let mut node = self.host_root;
        for label in name.as_bytes().rsplit(|byte| *byte == b'.') {
            node = self.hosts.child_or_insert(node, label);
        }
        self.host_scopes.resize(self.hosts.len(), HostScopes::default());
        &mut self.host_scopes[node.index()]
    }

    /// Sets where to look when no route of this pattern matches: the nearest wildcard above it.
    fn link_wider(&mut self, host: &HostPattern) {
        let (HostPattern::Exact(name) | HostPattern::Under(name)) = host else { return };
        let mut wider = self.any_host;
        let mut node = self.host_root;
        for label in name.as_bytes().rsplit(|byte| *byte == b'.') {
            wider = self.host_scopes[node.index()].under.or(wider);
            node = self.hosts.child_or_insert(node, label);
        }
        let scopes = self.host_scopes[node.index()];
        let scope = if matches!(host, HostPattern::Exact(_)) { scopes.exact } else { scopes.under };
        if let Some(ScopeId(at)) = scope {
            self.scopes[at as usize].wider = wider;
        }
    }

    fn path_node(&mut self, ScopeId(scope): ScopeId, prefix: &str) -> NodeId {
        let mut node = self.scopes[scope as usize].root;
        for segment in prefix.as_bytes().split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()) {
            node = self.paths.child_or_insert(node, segment);
            if node.index() == self.first_entry.len() {
                self.first_entry.push(NO_ENTRY);
            }
        }
        node
    }

    /// Adds a route to its node's list, before the one that takes all methods.
    fn add_entry(&mut self, node: NodeId, methods: Methods, index: usize) -> Result<(), Clash> {
        let takes_all = |methods| methods == Methods::ALL;
        let mut last_named = None;
        let mut at = self.first_entry[node.index()];
        while at != NO_ENTRY {
            let entry = self.entries[at as usize];
            if takes_all(entry.methods) == takes_all(methods) && entry.methods.overlaps(methods) {
                return Err(Clash { first: entry.route.index(), second: index });
            }
            if !takes_all(entry.methods) {
                last_named = Some(at as usize);
            }
            at = entry.next;
        }
        let new = self.entries.len() as u32;
        let place = match last_named {
            Some(entry) => &mut self.entries[entry].next,
            None => &mut self.first_entry[node.index()],
        };
        let next = std::mem::replace(place, new);
        self.entries.push(Entry { methods, route: RouteId(index as u32), next });
        Ok(())
    }
}
