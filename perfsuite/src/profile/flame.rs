//! Flame graphs, of one side or of the difference, as SVG that can be searched and zoomed by the script within it.
//!
//! Made where they are looked at, from the counts that a runner sent: no runner sends a picture. Names are escaped by
//! `inferno`; whoever serves the picture serves it with a policy of its own, since its script is inline.

use super::folded::{counts, line};
use crate::model::Side;
use crate::model::profile::{Profile, ProfileStack};
use anyhow::Context;
use inferno::flamegraph::{self, Options};

/// Picture units of a unit of work's whole time: what is thinner than one of them is not drawn.
const RESOLUTION: f64 = 100_000.0;
/// Of a title: a benchmark's name.
const TITLE_CHARS_MAX: usize = 120;

/// One side's flame graph.
pub fn of_side(profile: &Profile, side: Side) -> anyhow::Result<Vec<u8>> {
    let scale = Scale::of(profile, &[side]);
    let lines = lines(profile, |stack| {
        let width = scale.width(profile, stack, side);
        (width > 0).then(|| width.to_string())
    });
    let title = format!("{} ({})", profile.benchmark, side.as_str());
    draw(profile, &lines, &title, "Width: CPU time", &scale)
}

/// The head's flame graph, in the colours of what changed: red is more than in the base, blue is less.
pub fn difference(profile: &Profile) -> anyhow::Result<Vec<u8>> {
    let scale = Scale::of(profile, &Side::BOTH);
    let lines = lines(profile, |stack| {
        let [base, head] = Side::BOTH.map(|side| scale.width(profile, stack, side));
        (base + head > 0).then(|| format!("{base} {head}"))
    });
    let title = format!("{}: head against base", profile.benchmark);
    let note = "Width: CPU time of the head; red: more than in the base; blue: less";
    draw(profile, &lines, &title, note, &scale)
}

/// How CPU time of a unit of work becomes a width.
struct Scale {
    /// Picture units for a nanosecond.
    units_per_ns: f64,
    work: [f64; 2],
}

impl Scale {
    fn of(profile: &Profile, sides: &[Side]) -> Scale {
        let sum = |of: fn(&crate::model::profile::ProfileVisit) -> f64| {
            profile.visits.iter().map(of).filter(|units| units.is_finite() && *units > 0.0).sum::<f64>()
        };
        let work = [sum(|visit| visit.base), sum(|visit| visit.head)];
        let mut scale = Scale { units_per_ns: 1.0, work };
        let whole =
            |side: Side| -> f64 { profile.stacks.iter().map(|stack| scale.ns(profile, stack, side)).sum() };
        let largest = sides.iter().map(|side| whole(*side)).fold(0.0, f64::max);
        if largest > 0.0 {
            scale.units_per_ns = RESOLUTION / largest;
        }
        scale
    }

    fn ns(&self, profile: &Profile, stack: &ProfileStack, side: Side) -> f64 {
        let samples: f64 = counts(stack, side).iter().map(|count| f64::from(*count)).sum();
        let work = self.work[side as usize];
        if work > 0.0 { samples / work * profile.period_ns as f64 } else { 0.0 }
    }

    fn width(&self, profile: &Profile, stack: &ProfileStack, side: Side) -> u64 {
        (self.ns(profile, stack, side) * self.units_per_ns).round() as u64
    }
}

fn lines(profile: &Profile, width: impl Fn(&ProfileStack) -> Option<String>) -> Vec<String> {
    let line = |stack| width(stack).map(|width| format!("{} {width}", line(profile, stack)));
    let mut lines: Vec<String> = profile.stacks.iter().filter_map(line).collect();
    lines.sort();
    lines
}

fn draw(
    profile: &Profile,
    lines: &[String],
    title: &str,
    note: &str,
    scale: &Scale,
) -> anyhow::Result<Vec<u8>> {
    anyhow::ensure!(!lines.is_empty(), "there are no samples to draw");
    let mut options = Options::default();
    options.title = title.chars().filter(|c| !c.is_control()).take(TITLE_CHARS_MAX).collect();
    options.subtitle = Some(note.to_owned());
    options.count_name = format!("ns per {}", profile.unit.as_str());
    options.factor = 1.0 / scale.units_per_ns;
    // Names have colours of their own, the same in every picture, and no random ones: the same counts, the same bytes.
    options.deterministic = true;
    let mut svg = Vec::new();
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)
        .context("cannot draw a flame graph")?;
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BenchmarkId;
    use crate::model::profile::ProfileVisit;
    use crate::profile::stacks::{Of, Stacks, tests::of};

    fn profile(name: &str) -> Profile {
        let mut stacks = Stacks::default();
        for _ in 0..10 {
            stacks.add(Side::Base, 0, &["main", "a"]);
            stacks.add(Side::Head, 0, &["main", "a"]);
            stacks.add(Side::Head, 0, &["main", name]);
        }
        let of = Of { benchmark: BenchmarkId("route/<b>".into()), ..of() };
        stacks.into_profile(of, vec![ProfileVisit { base: 10.0, head: 20.0 }])
    }

    fn text(svg: anyhow::Result<Vec<u8>>) -> String {
        String::from_utf8(svg.unwrap()).unwrap()
    }

    #[test]
    fn pictures_have_names_and_times() {
        let profile = profile("b");
        let svg = text(difference(&profile));
        assert!(svg.starts_with("<?xml") && svg.contains("</svg>"));
        // Ten samples of half a millisecond in twenty iterations.
        assert!(svg.contains("b (250,000 ns per iteration"), "{svg}");
        assert!(text(of_side(&profile, Side::Base)).contains("a (500,000 ns per iteration"));
        assert_eq!(svg, text(difference(&profile)), "the same bytes");
    }

    #[test]
    fn a_strangers_name_is_only_text() {
        let name = "</title><script>alert(1)</script>\u{1b}<g onload=\"x()\"> 12";
        for svg in [text(difference(&profile(name))), text(of_side(&profile(name), Side::Head))] {
            assert!(!svg.contains("<script>alert") && !svg.contains("<g onload"), "{svg}");
            assert!(svg.contains("&lt;script&gt;alert"), "it is there, as text");
            assert!(!svg.contains("route/<b>"));
        }
    }

    #[test]
    fn nothing_cannot_be_drawn() {
        let empty = Stacks::default().into_profile(of(), vec![]);
        assert!(difference(&empty).is_err() && of_side(&empty, Side::Head).is_err());
    }
}
