//! Changed code wants changed tests. Pure.

use crate::repo_config::TestsConfig;
use std::collections::BTreeSet;

/// A changed file of Rust's, looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RustChange {
    pub path: String,
    /// Whether its code changed, comments and tests left out. What is gone needs no test.
    pub code: bool,
    /// Whether its inline tests changed, or it is the file of a module of tests.
    pub tests: bool,
}

/// Changed sources, and which of them came without a changed test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pub sources: usize,
    pub untested: Vec<String>,
}

/// A source counts as tested when its own inline tests changed, or any test of its package did.
pub fn judge(changed: &[String], rust: &[RustChange], config: &TestsConfig) -> Coverage {
    let (sources, tests) = config.globs();
    let looked_into = |path: &str| rust.iter().find(|change| change.path == path);
    let with_tests: BTreeSet<&str> = changed
        .iter()
        .filter(|path| tests.is_match(path) || looked_into(path).is_some_and(|change| change.tests))
        .map(|path| package_of(path))
        .collect();
    let mut coverage = Coverage::default();
    for path in changed.iter().filter(|path| sources.is_match(path) && !tests.is_match(path)) {
        if !looked_into(path).is_none_or(|change| change.code) {
            continue;
        }
        coverage.sources += 1;
        if !with_tests.contains(package_of(path)) {
            coverage.untested.push(path.clone());
        }
    }
    coverage
}

/// What stands before `src`, `tests` or `benches` in a path: Cargo's layout, and most others'.
fn package_of(path: &str) -> &str {
    let mut at = 0;
    for part in path.split('/') {
        if matches!(part, "src" | "tests" | "benches" | "examples") {
            return path[..at].trim_end_matches('/');
        }
        at += part.len() + 1;
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(changed: &[&str], rust: &[(&str, bool, bool)], sources: usize, untested: &[&str]) {
        let changed: Vec<String> = changed.iter().map(|path| (*path).to_owned()).collect();
        let rust: Vec<RustChange> = rust
            .iter()
            .map(|(path, code, tests)| RustChange { path: (*path).into(), code: *code, tests: *tests })
            .collect();
        let coverage = judge(&changed, &rust, &TestsConfig::default());
        assert_eq!(
            (coverage.sources, coverage.untested),
            (sources, untested.iter().map(|p| (*p).into()).collect())
        );
    }

    #[test]
    fn code_wants_a_test_of_its_package() {
        check(&["src/lib.rs"], &[("src/lib.rs", true, false)], 1, &["src/lib.rs"]);
        check(&["src/lib.rs"], &[("src/lib.rs", true, true)], 1, &[]);
        check(&["src/lib.rs", "tests/it.rs"], &[("src/lib.rs", true, false)], 1, &[]);
        check(&["src/lib.rs"], &[("src/lib.rs", false, false)], 0, &[]);
        check(&["a/src/lib.rs", "b/tests/it.rs"], &[], 1, &["a/src/lib.rs"]);
        check(&["a/src/x.rs", "a/src/x/tests.rs"], &[("a/src/x/tests.rs", false, true)], 1, &[]);
        check(&["README.md", "build.rs"], &[], 0, &[]);
        check(&[], &[], 0, &[]);
    }

    #[test]
    fn a_package_is_what_stands_before_its_sources() {
        for (path, expect) in [
            ("src/lib.rs", ""),
            ("bot/src/a/b.rs", "bot"),
            ("x/y/tests/it.rs", "x/y"),
            ("srcs/lib.rs", ""),
            ("a/src/tests/b.rs", "a"),
            ("", ""),
        ] {
            assert_eq!(package_of(path), expect, "{path}");
        }
    }
}
