//! HTTP methods as a small set.

use std::fmt;

/// A request's method. All that have no name here are one: a route admits them only by taking any method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Verb {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Trace,
    Other,
}

impl Verb {
    const NAMED: [(Verb, &'static str); 8] = [
        (Verb::Get, "GET"),
        (Verb::Head, "HEAD"),
        (Verb::Post, "POST"),
        (Verb::Put, "PUT"),
        (Verb::Delete, "DELETE"),
        (Verb::Options, "OPTIONS"),
        (Verb::Patch, "PATCH"),
        (Verb::Trace, "TRACE"),
    ];

    /// Methods are case-sensitive (RFC 9110, section 9.1).
    pub fn of(name: &str) -> Verb {
        match name {
            "GET" => Verb::Get,
            "HEAD" => Verb::Head,
            "POST" => Verb::Post,
            "PUT" => Verb::Put,
            "DELETE" => Verb::Delete,
            "OPTIONS" => Verb::Options,
            "PATCH" => Verb::Patch,
            "TRACE" => Verb::Trace,
            _ => Verb::Other,
        }
    }
}

/// A set of methods. Displayed as in an `Allow` field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Methods(u16);

impl Methods {
    pub const NONE: Methods = Methods(0);
    pub const ALL: Methods = Methods((1 << (Verb::Other as u16 + 1)) - 1);

    pub const fn only(verb: Verb) -> Methods {
        Methods(1 << verb as u16)
    }

    pub const fn union(self, other: Methods) -> Methods {
        Methods(self.0 | other.0)
    }

    pub const fn contains(self, verb: Verb) -> bool {
        self.0 & 1 << verb as u16 != 0
    }

    pub const fn overlaps(self, other: Methods) -> bool {
        self.0 & other.0 != 0
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Verb::NAMED.iter().filter(|(verb, _)| self.contains(*verb)).map(|(_, name)| *name);
        for (n, name) in names.enumerate() {
            write!(f, "{}{name}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Methods({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_knows_its_methods() {
        let set = Methods::only(Verb::Get).union(Methods::only(Verb::Patch));
        assert_eq!(set.to_string(), "GET, PATCH");
        for (verb, name) in Verb::NAMED {
            assert_eq!(Verb::of(name), verb);
            assert_eq!(set.contains(verb), matches!(verb, Verb::Get | Verb::Patch));
            assert!(Methods::ALL.contains(verb) && !Methods::NONE.contains(verb));
        }
        assert_eq!(Verb::of("get"), Verb::Other);
        assert!(Methods::ALL.contains(Verb::Other));
        assert!(!set.overlaps(Methods::only(Verb::Post)) && set.overlaps(Methods::ALL));
    }
}
