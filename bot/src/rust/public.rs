//! The items of a file that are public, as they are written: enough to see that one is gone or changed.

use super::tokens;
use std::collections::BTreeSet;

/// Of one signature; a longer one is cut, and compared as far as that.
const SIGNATURE_MAX_TOKENS: usize = 200;

/// The signatures of everything that is `pub` without a restriction, tokens set apart by single spaces.
pub fn public_items(source: &str) -> BTreeSet<String> {
    let tokens: Vec<&str> = tokens(source).into_iter().map(|token| &source[token]).collect();
    let mut items = BTreeSet::new();
    for (index, token) in tokens.iter().enumerate() {
        if *token == "pub" && tokens.get(index + 1).is_some_and(|next| *next != "(") {
            items.insert(signature(&tokens[index + 1..]));
            items.extend(members(&tokens[index + 1..]));
        }
    }
    items
}

/// Up to the body, the value or the end. A field's ends at its comma, a tuple struct's fields belong to it.
fn signature(tokens: &[&str]) -> String {
    let mut depth = 0_usize;
    let mut kept = Vec::new();
    for token in tokens.iter().take(SIGNATURE_MAX_TOKENS) {
        match *token {
            "(" | "[" | "<" => depth += 1,
            // `->` is no bracket.
            ">" if kept.last() == Some(&"-") => {}
            ")" | "]" | ">" if depth == 0 => break,
            ")" | "]" | ">" => depth -= 1,
            "{" | "}" | ";" => break,
            "," | "=" if depth == 0 => break,
            _ => {}
        }
        add(&mut kept, token);
    }
    kept.join(" ")
}

/// A comma before a closing bracket comes and goes with the formatting.
fn add<'a>(kept: &mut Vec<&'a str>, token: &'a str) {
    if matches!(token, ")" | "]" | "}" | ">") && kept.last() == Some(&",") {
        kept.pop();
    }
    kept.push(token);
}

/// An enum's variants and a trait's items, which bear no `pub` and are as public as it is.
fn members(tokens: &[&str]) -> Vec<String> {
    let Some(at) = tokens.iter().take(2).position(|token| matches!(*token, "enum" | "trait")) else {
        return Vec::new();
    };
    let (kind, Some(name)) = (tokens[at], tokens.get(at + 1)) else { return Vec::new() };
    let body = tokens.iter().take(SIGNATURE_MAX_TOKENS).position(|token| matches!(*token, "{" | ";"));
    let Some(mut index) = body.filter(|body| tokens[*body] == "{").map(|body| body + 1) else {
        return Vec::new();
    };
    let (mut depth, mut kept, mut items) = (0_usize, Vec::new(), Vec::new());
    while let Some(token) = tokens.get(index).copied() {
        let next = tokens.get(index + 1);
        let ends = depth == 0 && (token == ";" || token == "," && kind == "enum");
        let has_body = depth == 0 && token == "{" && kind == "trait";
        index += 1;
        match token {
            // Attributes say nothing of the form.
            "#" if depth == 0 && next == Some(&"[") => {
                index = behind(tokens, index);
                continue;
            }
            "}" if depth == 0 => break,
            _ if ends || has_body => {
                items.push(std::mem::take(&mut kept));
                if has_body {
                    index = behind(tokens, index - 1);
                }
                continue;
            }
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if kept.len() < SIGNATURE_MAX_TOKENS {
            add(&mut kept, token);
        }
    }
    items.push(kept);
    items.retain(|item| !item.is_empty());
    items.into_iter().map(|item| format!("{kind} {name} :: {}", item.join(" "))).collect()
}

/// The place behind the bracket that closes the one at `open`.
fn behind(tokens: &[&str], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match *token {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth <= 1 => return index + 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expect: &[&str]) {
        let found = public_items(source);
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expect, "{source}");
    }

    #[test]
    fn what_others_can_see() {
        check(
            "pub fn a(b: u8, c: &str) -> Vec<u8> { pub_not() }",
            &["fn a ( b : u8 , c : & str ) - > Vec < u8 >"],
        );
        check("pub(crate) fn a() {} fn b() {} // pub fn c()", &[]);
        check("pub struct A { pub b: Vec<u8>, c: u8 }", &["b : Vec < u8 >", "struct A"]);
        check("pub const A: &str = \"pub fn x()\";", &["const A : & str"]);
        check("pub struct P(pub u8);", &["struct P ( pub u8 )", "u8"]);
        check("impl X { pub async fn a(&self) {} }", &["async fn a ( & self )"]);
        check("pub", &[]);
    }

    #[test]
    fn variants_and_a_traits_items_are_as_public_as_what_has_them() {
        check(
            "pub enum E { A, #[doc = \"}\"] B(u8, Vec<u8>), C { d: u8, }, D = 3 } enum Own { X }",
            &[
                "enum E",
                "enum E :: A",
                "enum E :: B ( u8 , Vec < u8 > )",
                "enum E :: C { d : u8 }",
                "enum E :: D = 3",
            ],
        );
        check(
            "pub unsafe trait T<X>: Send { type Y; const Z: u8 = 1; #[must_use] fn a<A, B>(&self) -> A { if x { y } else { z } } \
             fn b(&self); }",
            &[
                "trait T :: const Z : u8 = 1",
                "trait T :: fn a < A , B > ( & self ) - > A",
                "trait T :: fn b ( & self )",
                "trait T :: type Y",
                "unsafe trait T < X > : Send",
            ],
        );
        check("pub enum E {}", &["enum E"]);
        check("pub trait T", &["trait T"]);
        check("pub enum E { A", &["enum E", "enum E :: A"]);
        check("pub struct S { enum_like: u8 }", &["struct S"]);
    }

    #[test]
    fn formatting_is_no_change() {
        for (one, other) in [
            ("pub fn a(b: u8) {}", "pub fn a(\n    b: u8\n) {\n}"),
            ("pub fn a(b: u8, c: Vec<u8>) {}", "pub fn a(\n    b: u8,\n    c: Vec<u8>,\n) {\n}"),
            ("pub enum E { A { b: u8 }, C }", "pub enum E {\n    A {\n        b: u8,\n    },\n    C,\n}"),
        ] {
            assert_eq!(public_items(one), public_items(other), "{other}");
        }
    }
}
