//! Rust's inline tests: the items under `#[cfg(test)]`, found by reading tokens, so that they can be grafted.

use crate::rust::{closed, tokens};
use std::ops::Range;

/// The byte ranges of the items at the file's top level that stand under `#[cfg(test)]`, attributes included.
pub fn test_items(source: &str) -> Vec<Range<usize>> {
    let tokens = tokens(source);
    let mut items = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        // An item begins with its attributes; it is a test's when one of them says so.
        let begin = at;
        let mut test = false;
        while let Some((end, is_test)) = attribute(&tokens, source, at) {
            test |= is_test;
            at = end;
        }
        let end = item_end(&tokens, source, at);
        if test && at < tokens.len() {
            items.push(tokens[begin].start..tokens[end - 1].end);
        }
        at = end;
    }
    items
}

/// The base's file with the head's inline tests in the place of its own; `None` where the head has none, or the same.
pub fn grafted(base: &str, head: &str) -> Option<String> {
    let (old, new) = (test_items(base), test_items(head));
    let text_of = |source: &str, items: &[Range<usize>]| -> String {
        items.iter().map(|item| format!("{}\n", &source[item.clone()])).collect()
    };
    let tests = text_of(head, &new);
    if new.is_empty() || tests == text_of(base, &old) {
        return None;
    }
    let mut kept = String::with_capacity(base.len() + tests.len());
    let mut from = 0;
    for item in &old {
        kept.push_str(&base[from..item.start]);
        from = item.end;
    }
    kept.push_str(&base[from..]);
    Some(format!("{}\n\n{tests}", kept.trim_end()))
}

/// Whether a file declares a test module of this name whose text stands in a file of its own: `#[cfg(test)] mod tests;`.
pub fn declares_test_module(source: &str, name: &str) -> bool {
    test_items(source).into_iter().any(|item| {
        let text = &source[item];
        let words: Vec<&str> = tokens(text).into_iter().map(|token| &text[token]).collect();
        matches!(words.as_slice(), [.., "mod", module, ";"] if *module == name)
    })
}

/// The files that may declare the module whose file this is, each with the module's name.
pub fn declaring(path: &str) -> Vec<(String, String)> {
    let Some(stem) = path.strip_suffix(".rs") else { return Vec::new() };
    let module = stem.strip_suffix("/mod").unwrap_or(stem);
    let Some((directory, name)) = module.rsplit_once('/') else { return Vec::new() };
    let files = ["lib.rs", "main.rs", "mod.rs"].map(|file| format!("{directory}/{file}"));
    let files = files.into_iter().chain([format!("{directory}.rs")]).filter(|file| file != path);
    files.map(|file| (file, name.to_owned())).collect()
}

/// An attribute `#[…]` or `#![…]` that starts at this token: the token after it, and whether it is `cfg` of `test`.
fn attribute(tokens: &[Range<usize>], source: &str, at: usize) -> Option<(usize, bool)> {
    let text = |index: usize| tokens.get(index).map(|token| &source[token.clone()]);
    if text(at)? != "#" {
        return None;
    }
    let open = if text(at + 1)? == "!" { at + 2 } else { at + 1 };
    if text(open)? != "[" {
        return None;
    }
    let end = closed(tokens, source, open);
    let words: Vec<&str> = tokens[open..end].iter().map(|token| &source[token.clone()]).collect();
    // `cfg(test)` and `cfg(all(test, …))`; what is only sometimes a test's is left where it is.
    let is_test = matches!(words.as_slice(), ["[", "cfg", "(", "test", ")", "]"])
        || matches!(words.as_slice(), ["[", "cfg", "(", "all", "(", "test", ",", ..]);
    Some((end, is_test && open == at + 1))
}

/// One past the end of the item that starts at this token: after its `;`, or its block.
fn item_end(tokens: &[Range<usize>], source: &str, mut at: usize) -> usize {
    while at < tokens.len() {
        match &source[tokens[at].clone()] {
            ";" => return at + 1,
            "{" => {
                let end = closed(tokens, source, at);
                // `const A: B = B { … };`
                let semicolon = tokens.get(end).is_some_and(|token| &source[token.clone()] == ";");
                return end + usize::from(semicolon);
            }
            "(" | "[" => at = closed(tokens, source, at),
            _ => at += 1,
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<&str> {
        test_items(source).into_iter().map(|item| &source[item]).collect()
    }

    #[test]
    fn items_under_cfg_test_are_found() {
        let module = "#[cfg(test)]\nmod tests {\n    #[test]\n    fn a() { assert!(\"}\" != \"{\"); }\n}";
        assert_eq!(found(&format!("fn x() {{}}\n\n{module}\nfn y() {{}}")), [module]);
        assert_eq!(found("#[cfg(test)]\nmod tests;\nmod other;"), ["#[cfg(test)]\nmod tests;"]);
        assert_eq!(
            found("#[allow(x)]\n#[cfg(test)]\nuse a::{b, c};"),
            ["#[allow(x)]\n#[cfg(test)]\nuse a::{b, c};"]
        );
        assert_eq!(
            found("#[cfg(test)]\nconst A: B = B { c: 1 };\nfn d() {}"),
            ["#[cfg(test)]\nconst A: B = B { c: 1 };"]
        );
        assert_eq!(found("#[cfg(all(test, unix))]\nfn a() {}"), ["#[cfg(all(test, unix))]\nfn a() {}"]);
        for none in [
            "#![cfg(test)]\nfn a() {}",
            "#[cfg(not(test))]\nfn a() {}",
            "#[cfg(any(test, unix))]\nfn a() {}",
            "// #[cfg(test)]\nfn a() {}",
            "/* /* */ #[cfg(test)] */ fn a() {}",
            "const A: &str = \"#[cfg(test)] mod a {}\";",
            "const A: &str = r#\"\"#[cfg(test)] mod a {}\"#;",
            "mod inner { #[cfg(test)] fn a() {} }",
            "",
            "#[cfg(test)]",
        ] {
            assert_eq!(found(none), [""; 0], "{none}");
        }
    }

    #[test]
    fn test_modules_have_files_of_their_own() {
        let source = "#[cfg(test)]\n#[allow(x)]\npub(crate) mod tests;\nmod other;\n#[cfg(test)] mod inner { mod deep; }";
        assert!(declares_test_module(source, "tests"));
        assert!(!declares_test_module(source, "other") && !declares_test_module(source, "inner"));
    }

    #[test]
    fn tokens_that_look_like_others() {
        for before in [
            "fn f<'a>(x: &'a str) -> char { '{' }",
            "const Q: char = '\\'';",
            "const Q: u8 = b'\\'';",
            "const B: &[u8] = b\"{\\\"\";",
            "const R: &str = r\"\\\";",
            "const R: &[u8] = br##\"\"# {\"##;",
            "const C: char = '}'; const D: char = 'ä';",
            "fn r#type() {}",
            "struct A([u8; { 1 + 1 }]);",
            "static E: &str = \"\\\\\";",
            "impl<'é> X<'é> { }",
        ] {
            let source = format!("{before}\n#[cfg(test)]\nmod tests {{ }}\nfn after() {{}}");
            assert_eq!(found(&source), ["#[cfg(test)]\nmod tests { }"], "{before}");
        }
    }

    #[test]
    fn the_heads_tests_take_the_place_of_the_bases() {
        let base = "fn a() -> u8 { 1 }\n#[cfg(test)]\nmod tests { old }\nfn b() {}\n";
        let head = "fn a() -> u8 { 2 }\n#[cfg(test)]\nmod tests { new }\n";
        let expect = "fn a() -> u8 { 1 }\n\nfn b() {}\n\n#[cfg(test)]\nmod tests { new }\n";
        assert_eq!(grafted(base, head).as_deref(), Some(expect));
        assert_eq!(grafted("fn a() {}\n", head).unwrap(), "fn a() {}\n\n#[cfg(test)]\nmod tests { new }\n");
        assert_eq!(grafted(head, &head.replace("2", "3")), None, "the tests are the same");
        assert_eq!(grafted(base, "fn a() {}"), None, "the head has none");
    }

    #[test]
    fn unfinished_files_are_read_to_their_end() {
        for source in
            ["#[cfg(test)] mod a {", "\"", "'", "r#\"", "/*", "b'\\", "#[", "#", "'\\", "fn a() { ( }"]
        {
            found(source);
        }
        let deep = "#[cfg(test)] mod a {".repeat(20_000);
        assert_eq!(found(&deep).len(), 1);
    }
}
