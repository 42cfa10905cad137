//! Compiles a list of rules into a [`Table`].

use super::trie::{NodeId, Trie};
use super::{
    Clash, Entry, HostPattern, HostScopes, Methods, NO_ENTRY, PARAMETER, RouteId, Rule, Scope, ScopeId,
    Table, parameter,
};

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
            first_exact: Vec::with_capacity(rules.len() * 2),
            entries: Vec::with_capacity(rules.len()),
            scopes: Vec::new(),
            any_host: None,
        };
        for (index, rule) in rules.iter().enumerate() {
            let scope = table.scope_for(&rule.host);
            let node = table.path_node(scope, rule);
            table.add_entry(node, rules, index)?;
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
        self.first_exact.push(NO_ENTRY);
        self.scopes.push(Scope { root, wider: None, has_exact: false, has_parameters: false });
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

    fn path_node(&mut self, ScopeId(at): ScopeId, rule: &Rule) -> NodeId {
        let mut node = self.scopes[at as usize].root;
        self.scopes[at as usize].has_exact |= rule.exact;
        for segment in rule.prefix.split('/').filter(|segment| !segment.is_empty()) {
            let text = match parameter(segment) {
                Some(_) => {
                    self.scopes[at as usize].has_parameters = true;
                    PARAMETER
                }
                None => segment.as_bytes(),
            };
            node = self.paths.child_or_insert(node, text);
            if node.index() == self.first_entry.len() {
                self.first_entry.push(NO_ENTRY);
                self.first_exact.push(NO_ENTRY);
            }
        }
        node
    }

    /// Adds a route to its node's list, behind those that are as specific as it is.
    fn add_entry(&mut self, node: NodeId, rules: &[Rule], index: usize) -> Result<(), Clash> {
        let rule = &rules[index];
        let named = u16::from(rule.methods != Methods::ALL);
        let rank = u16::try_from(rule.conditions.len()).unwrap_or(u16::MAX >> 1) * 2 + named;
        let first = if rule.exact { &self.first_exact } else { &self.first_entry };
        let mut before = None;
        let mut at = first[node.index()];
        while at != NO_ENTRY && self.entries[at as usize].rank >= rank {
            let entry = self.entries[at as usize];
            let other = &rules[entry.route.index()];
            let same = entry.rank == rank && other.conditions == rule.conditions;
            if same && entry.methods.overlaps(rule.methods) {
                return Err(Clash { first: entry.route.index(), second: index });
            }
            before = Some(at as usize);
            at = entry.next;
        }
        let new = self.entries.len() as u32;
        match (before, rule.exact) {
            (Some(entry), _) => self.entries[entry].next = new,
            (None, true) => self.first_exact[node.index()] = new,
            (None, false) => self.first_entry[node.index()] = new,
        }
        self.entries.push(Entry { methods: rule.methods, rank, route: RouteId(index as u32), next: at });
        Ok(())
    }
}
