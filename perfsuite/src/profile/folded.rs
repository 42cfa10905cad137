//! Stacks as lines, `main;bench;parse 123`: what flame graphs and other tools read. Pure.

use crate::model::Side;
use crate::model::profile::{Profile, ProfileStack};
use std::fmt::Write;

/// One side's stacks with their samples, in order.
pub fn folded(profile: &Profile, side: Side) -> String {
    let mut text = String::new();
    for stack in &profile.stacks {
        let count: u64 = counts(stack, side).iter().map(|count| u64::from(*count)).sum();
        if count > 0 {
            // Writing into memory does not fail.
            let _ = writeln!(text, "{} {count}", line(profile, stack));
        }
    }
    text
}

/// A stack as one word of such a line: nothing in a name ends it, or passes for a count.
pub(super) fn line(profile: &Profile, stack: &ProfileStack) -> String {
    let mut line = String::new();
    for frame in &stack.frames {
        if !line.is_empty() {
            line.push(';');
        }
        line.push_str(&plain(profile.names.get(*frame as usize).map_or("[unknown]", String::as_str)));
    }
    if line.is_empty() { "[unknown]".into() } else { line }
}

pub(super) fn counts(stack: &ProfileStack, side: Side) -> &[u32] {
    match side {
        Side::Base => &stack.base,
        Side::Head => &stack.head,
    }
}

/// A name without what has a meaning in such a line.
fn plain(name: &str) -> String {
    let mut plain: String = name.chars().map(|c| if c == ';' || c.is_control() { ':' } else { c }).collect();
    // `f 12` would be twelve samples of f.
    if let Some(at) = plain.rfind(' ')
        && plain[at + 1..].parse::<f64>().is_ok()
    {
        plain.replace_range(at..=at, "_");
    }
    let trimmed = plain.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') { format!("_{trimmed}") } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::profile::ProfileVisit;
    use crate::profile::stacks::{Stacks, tests::of};

    #[test]
    fn lines_are_stacks_with_counts() {
        let mut stacks = Stacks::default();
        for (side, stack) in [
            (Side::Head, &["main", "a::b<c; 3>"][..]),
            (Side::Head, &["main", "a::b<c; 3>"]),
            (Side::Head, &["main", "f 12"]),
            (Side::Base, &["main"]),
        ] {
            stacks.add(side, 0, stack);
        }
        let profile = stacks.into_profile(of(), vec![ProfileVisit { base: 1.0, head: 1.0 }]);
        assert_eq!(folded(&profile, Side::Head), "main;a::b<c: 3> 2\nmain;f_12 1\n");
        assert_eq!(folded(&profile, Side::Base), "main 1\n");
    }

    #[test]
    fn names_stay_within_their_line() {
        for (name, expect) in [
            ("a\nb", "a:b"),
            ("# x", "_# x"),
            ("", "_"),
            ("x 1 2", "x 1_2"),
            ("<A as B>::c", "<A as B>::c"),
            ("f inf", "f_inf"),
        ] {
            assert_eq!(plain(name), expect, "{name:?}");
        }
    }
}
