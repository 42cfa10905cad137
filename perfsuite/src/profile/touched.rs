//! Which functions a change touched: by machine code where that can be compared, by file elsewhere.

use crate::codegen::{Changed, Difference};
use crate::model::profile::Touched;
use std::collections::BTreeSet;

/// Functions that are kept by name: of a change of the toolchain all differ, and the list says nothing.
pub const FUNCTIONS_MAX: usize = 250;
/// Of a module's path.
const MODULE_CHARS_MAX: usize = 150;
/// Modules of changed files.
pub const MODULES_MAX: usize = 250;

/// What a comparison of machine code found.
pub fn by_code(difference: &Difference) -> Touched {
    let Difference::Changed(Changed { functions, data, unnamed, unsure, .. }) = difference else {
        return Touched { complete: true, ..Touched::default() };
    };
    /// How a nameless constant is called, by who uses it.
    const CONSTANT_OF: &str = "a constant of ";
    let mut names: BTreeSet<&str> = functions.iter().map(String::as_str).collect();
    let mut complete = *unnamed == 0 && unsure.is_none();
    for data in data {
        match data.strip_prefix(CONSTANT_OF) {
            Some(user) => drop(names.insert(user)),
            // Who reads a static is not told.
            None => complete = false,
        }
    }
    Touched { functions: names.into_iter().map(str::to_owned).collect(), complete, modules: vec![] }
}

/// The modules of changed Rust files: `gateway/src/route/trie.rs` of the package `gateway` is `gateway::route::trie`.
/// `package_of` gives the name of the package whose manifest lies in a directory.
pub fn modules(changed: &[String], package_of: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut modules = BTreeSet::new();
    for path in changed {
        let Some((directory, inside)) = split_at_source(path) else { continue };
        let Some(package) = package_of(directory) else { continue };
        let Some(inside) = inside.strip_suffix(".rs") else { continue };
        let mut parts: Vec<String> = vec![package.replace('-', "_")];
        let names: Vec<&str> = inside.split('/').collect();
        let names = match names.as_slice() {
            ["lib" | "main"] => &[][..],
            // A program of its own, whose crate is called as its file.
            ["bin", name] => {
                parts = vec![name.replace('-', "_")];
                &[][..]
            }
            [before @ .., "mod"] => before,
            all => all,
        };
        parts.extend(names.iter().map(|name| (*name).to_owned()));
        // Names of files may be anything; those of modules are words.
        let word = |part: &String| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !parts.iter().all(word) || parts.concat().chars().count() > MODULE_CHARS_MAX {
            continue;
        }
        modules.insert(parts.join("::"));
        if modules.len() >= MODULES_MAX {
            break;
        }
    }
    modules.into_iter().collect()
}

/// The package's directory and the path below its `src`.
fn split_at_source(path: &str) -> Option<(&str, &str)> {
    if let Some(inside) = path.strip_prefix("src/") {
        return Some(("", inside));
    }
    path.split_once("/src/")
}

/// Whether a function, by its name, stands in a module itself: `<a::b::T>::f` and `a::b::f` do in `a::b`, and
/// `a::b::c::f` in no other than `a::b::c`, which has a file of its own as far as anybody can tell.
pub fn is_within(function: &str, module: &str) -> bool {
    let path = function.trim_start_matches(['<', '&', ' ']);
    let path = path.strip_prefix("mut ").unwrap_or(path);
    let Some(rest) = path.strip_prefix(module).and_then(|rest| rest.strip_prefix("::")) else { return false };
    // Up to the function or type: what begins in lower case and is followed by more is a module, unless it is a
    // function with closures in it.
    let mut parts = rest.split("::");
    let first = parts.next().unwrap_or_default();
    match parts.next() {
        None => true,
        Some(next) => {
            next.starts_with('{') || first.starts_with(|c: char| c.is_uppercase() || c == '{' || c == '<')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codegen::{Place, Same};

    #[test]
    fn files_are_modules_of_their_package() {
        let changed = [
            "gateway/src/route/trie.rs",
            "gateway/src/lib.rs",
            "src/bin/my-tool.rs",
            "src/a/mod.rs",
            "gateway/benches/route.rs",
            "gateway/src/a\nb.rs",
            "README.md",
            "other/src/x.rs",
            "gateway/src/data.json",
        ];
        let changed: Vec<String> = changed.map(String::from).into();
        let package = |directory: &str| match directory {
            "gateway" => Some("the-gateway".to_owned()),
            "" => Some("root".to_owned()),
            _ => None,
        };
        assert_eq!(
            modules(&changed, package),
            ["my_tool", "root::a", "the_gateway", "the_gateway::route::trie"]
        );
    }

    #[test]
    fn a_function_stands_in_one_module() {
        for (function, module, expect) in [
            ("gateway::path::normalize", "gateway::path", true),
            ("gateway::path::normalize::{{closure}}", "gateway::path", true),
            ("<gateway::route::Table>::matches", "gateway::route", true),
            ("<gateway::route::Table as core::fmt::Debug>::fmt", "gateway::route", true),
            ("gateway::route::Table::matches", "gateway::route", true),
            ("gateway::route::trie::Trie::hash", "gateway::route", false),
            ("gateway::route::trie::hash", "gateway::route", false),
            ("gateway::router::x", "gateway::route", false),
            ("core::ptr::drop_in_place<gateway::path::X>", "gateway::path", false),
        ] {
            assert_eq!(is_within(function, module), expect, "{function} in {module}");
        }
    }

    #[test]
    fn a_comparison_of_code_is_complete_when_it_names_all() {
        let same = Difference::Same(Same { functions: 9, bytes: 99, lines_moved: false });
        assert_eq!(by_code(&same), Touched { complete: true, ..Touched::default() });
        let changed = |data: &[&str], unnamed, unsure| {
            by_code(&Difference::Changed(Changed {
                place: Place::Inside,
                functions: vec!["a::f".into()],
                data: data.iter().map(|name| (*name).to_owned()).collect(),
                unnamed,
                unsure,
            }))
        };
        let found = changed(&["a constant of a::g"], 0, None);
        assert_eq!((found.functions, found.complete), (vec!["a::f".into(), "a::g".into()], true));
        assert!(!changed(&["a::TABLE"], 0, None).complete);
        assert!(!changed(&[], 1, None).complete);
        assert!(!changed(&[], 0, Some("?".into())).complete);
    }
}
