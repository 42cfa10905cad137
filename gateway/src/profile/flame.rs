//! A profile as a picture that can be searched and zoomed by the script within it. Pure.

use super::stacks::Stacks;
use anyhow::Context;
use inferno::flamegraph::{self, Options};

/// Draws the stacks by their first value, which is of this name. None when there are none.
pub(super) fn draw<const N: usize>(
    stacks: &Stacks<N>,
    title: &str,
    value: &str,
) -> anyhow::Result<Option<Vec<u8>>> {
    let mut lines: Vec<String> = stacks
        .iter()
        .filter(|(_, values)| values[0] > 0)
        .map(|(stack, values)| {
            let names: Vec<String> =
                stack.iter().map(|place| plain(&stacks.names[*place as usize])).collect();
            format!("{} {}", names.join(";"), values[0])
        })
        .collect();
    if lines.is_empty() {
        return Ok(None);
    }
    lines.sort();
    let mut options = Options::default();
    options.title = title.to_owned();
    options.count_name = value.to_owned();
    // The same name, the same colour.
    options.deterministic = true;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)
        .context("cannot draw a flame graph")?;
    Ok(Some(svg))
}

/// A name without what has a meaning in a line of stacks: the end of a name, and of a count.
fn plain(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c == ';' || c.is_control() { ':' } else { c }).collect();
    match plain.rsplit_once(' ') {
        Some((before, last)) if last.parse::<f64>().is_ok() => format!("{before}_{last}"),
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_become_a_picture() {
        let mut stacks = Stacks::<2>::default();
        assert!(draw(&stacks, "t", "samples").expect("no fault").is_none());
        let stack = ["main", "sum<[u8; 4]>", "<T as x> 12"].map(|name| stacks.place(name));
        stacks.add(stack.to_vec(), [40, 1]);
        stacks.add(vec![stack[0]], [0, 9]);
        let svg = draw(&stacks, "<title>", "samples").expect("a picture").expect("a picture");
        let svg = String::from_utf8(svg).expect("text");
        assert!(
            svg.contains("</svg>") && svg.contains("&lt;title&gt;") && !svg.contains("<title><"),
            "{svg}"
        );
        assert!(svg.contains("sum&lt;[u8: 4]&gt; (40 samples"), "{svg}");
        assert!(svg.contains("&lt;T as x&gt;_12 (40 samples"), "{svg}");
    }
}
