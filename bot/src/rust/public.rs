//! The items of a file that are public, as they are written: enough to see that one is gone or changed.
//!
//! A change of an enum's variants or of a trait's methods is not seen: they bear no `pub`.

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
        kept.push(*token);
    }
    kept.join(" ")
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
    fn formatting_is_no_change() {
        let (one, other) = ("pub fn a(b: u8) {}", "pub fn a(\n    b: u8\n) {\n}");
        assert_eq!(public_items(one), public_items(other));
    }
}
