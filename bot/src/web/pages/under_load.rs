//! A load scenario on a run's page: the rate that each side sustains and the way there, and where latencies lie. Pure.

use super::parts::clean;
use crate::format;
use askama::Template;
use askama::filters::HtmlSafe;
use perfsuite::model::Side;
use perfsuite::model::scenario::{Knee, KneeLimit, Probe, Scenario, ScenarioSide};
use std::collections::BTreeMap;

/// A drawing's size, in its own units; the stylesheet decides the size on the page.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
/// Room for the scales, left of the drawing and below it.
const LEFT: f64 = 64.0;
const BELOW: f64 = 24.0;
const EDGE: f64 = 12.0;
/// Percentiles are drawn by how few requests are slower: one in so many, at the right edge.
const RAREST: f64 = 1_000.0;

#[derive(Template)]
#[template(path = "pages/parts/under_load.html")]
pub(super) struct UnderLoad {
    suite: String,
    rate: String,
    lateness: String,
    caution: Option<&'static str>,
    sides: Vec<SideRow>,
    charts: Vec<Chart>,
}

impl HtmlSafe for UnderLoad {}

struct SideRow {
    name: &'static str,
    sustained: String,
    above: String,
    half: String,
    p99: String,
    p999: String,
    memory: String,
    requests: String,
}

struct Chart {
    words: String,
    across: Vec<Mark>,
    upwards: Vec<Mark>,
    lines: Vec<Line>,
    /// Where the limit on p99 lies.
    limit_y: Option<f64>,
}

struct Mark {
    at: f64,
    label: String,
}

struct Line {
    side: &'static str,
    path: String,
    dots: Vec<Dot>,
}

struct Dot {
    x: f64,
    y: f64,
    /// Too slow, too late or with errors: the rate was not sustained.
    missed: bool,
}

pub(super) fn under_load(scenario: &Scenario) -> UnderLoad {
    UnderLoad {
        suite: clean(&scenario.suite),
        rate: format::thousands(scenario.rate_per_second.round()),
        lateness: format::nanoseconds(scenario.lateness_p99_ns as f64),
        caution: scenario.knee_caution(),
        sides: scenario.sides.iter().map(|(side, seen)| side_row(*side, seen, scenario)).collect(),
        charts: curve(scenario).into_iter().chain(latencies(&scenario.sides)).collect(),
    }
}

fn side_row(side: Side, seen: &ScenarioSide, scenario: &Scenario) -> SideRow {
    let within = |share| {
        seen.within(share).map_or_else(|| format::NONE.to_owned(), |ns| format::nanoseconds(ns as f64))
    };
    let (sustained, above) = match &seen.knee {
        Some(knee) => (
            format!("{} a second", format::thousands(knee.rate_per_second.round())),
            format!("p99 under {}; {}", knee.limit(scenario.p99_limit_ms), knee.limited_by.in_words()),
        ),
        None => (format::NONE.to_owned(), "not searched".to_owned()),
    };
    SideRow {
        name: side.as_str(),
        sustained,
        above,
        half: within(0.5),
        p99: within(0.99),
        p999: within(0.999),
        memory: seen.memory_peak_bytes.map_or_else(|| format::NONE.to_owned(), format::bytes),
        requests: format::thousands(seen.requests as f64),
    }
}

/// A logarithmic scale between two values, onto a length from `from` to `to`.
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// Of the values that a logarithm has; `None` where there is none.
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Scale> {
        let (low, high) = values
            .filter(|value| value.is_finite() && *value > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        (low <= high).then_some(Scale { low: low * 0.9, high: high * 1.1, from, to })
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.max(self.low) / self.low).ln() / (self.high / self.low).ln();
        tenth(self.from + (self.to - self.from) * share.clamp(0.0, 1.0))
    }

    /// One, two and five of each power of ten; only powers where that would be many.
    fn marks(&self, label: impl Fn(f64) -> String) -> Vec<Mark> {
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let wide = (self.high / self.low).log10() > 2.0;
        let steps: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let values = decades.flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        let inside = values.filter(|value| (self.low..=self.high).contains(value));
        inside.map(|value| Mark { at: self.at(value), label: label(value) }).collect()
    }
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn across(values: impl Iterator<Item = f64>) -> Option<Scale> {
    Scale::over(values, LEFT, WIDTH - EDGE)
}

fn upwards(values: impl Iterator<Item = f64>) -> Option<Scale> {
    Scale::over(values, HEIGHT - BELOW, EDGE)
}

/// p99 by rate, of both sides' searches.
fn curve(scenario: &Scenario) -> Option<Chart> {
    let knees: Vec<(Side, &Knee)> =
        scenario.sides.iter().filter_map(|(side, seen)| Some((*side, seen.knee.as_ref()?))).collect();
    let probes = || knees.iter().flat_map(|(_, knee)| &knee.probes);
    let limit_ns = scenario.p99_limit_ms * 1e6;
    let x = across(probes().map(|probe| probe.rate_per_second))?;
    let y = upwards(probes().map(|probe| probe.p99_ns as f64).chain([limit_ns]))?;
    let line = |(side, knee): &(Side, &Knee)| {
        let mut probes: Vec<&Probe> = knee.probes.iter().collect();
        probes.sort_by(|a, b| a.rate_per_second.total_cmp(&b.rate_per_second));
        let place = |probe: &&Probe| (x.at(probe.rate_per_second), y.at(probe.p99_ns as f64));
        let dots = probes.iter().map(|probe| {
            let (x, y) = place(probe);
            Dot { x, y, missed: probe.errors > 0 || probe.rate_per_second > knee.rate_per_second }
        });
        let dots: Vec<Dot> = dots.collect();
        drawn(*side, probes.iter().map(place).collect(), dots)
    };
    let told = knees.iter().map(|(side, knee)| {
        let more = match knee.limited_by {
            KneeLimit::Server => "",
            KneeLimit::Generator | KneeLimit::Search => " or more",
        };
        let rate = format::thousands(knee.rate_per_second.round());
        format!("the {} sustains {rate} requests a second{more}", side.as_str())
    });
    let told: Vec<String> = told.collect();
    Some(Chart {
        words: format!(
            "p99 latency by rate, each side by itself: {}. Hollow: not sustained.",
            told.join(", ")
        ),
        across: x.marks(|rate| format::thousands(rate.round())),
        upwards: y.marks(format::nanoseconds),
        lines: knees.iter().map(line).collect(),
        limit_y: Some(y.at(limit_ns)),
    })
}

/// Latency by percentile, at the rate that was measured.
fn latencies(sides: &BTreeMap<Side, ScenarioSide>) -> Option<Chart> {
    let known = |seen: &ScenarioSide| -> Vec<(f64, f64)> {
        let of =
            seen.percentiles.iter().map(|percentile| (1.0 / (1.0 - percentile.share), percentile.ns as f64));
        of.filter(|(rarity, ns)| (1.0..=RAREST * 1.001).contains(rarity) && *ns > 0.0).collect()
    };
    let all: Vec<(Side, Vec<(f64, f64)>)> = sides
        .iter()
        .map(|(side, seen)| (*side, known(seen)))
        .filter(|(_, points)| points.len() > 1)
        .collect();
    let x = Scale { low: 1.0, high: RAREST, from: LEFT, to: WIDTH - EDGE };
    let y = upwards(all.iter().flat_map(|(_, points)| points.iter().map(|(_, ns)| *ns)))?;
    let line = |(side, points): &(Side, Vec<(f64, f64)>)| {
        drawn(*side, points.iter().map(|(rarity, ns)| (x.at(*rarity), y.at(*ns))).collect(), vec![])
    };
    let half = sides.iter().filter_map(|(side, seen)| {
        let [half, p99] = [seen.within(0.5)?, seen.within(0.99)?].map(|ns| format::nanoseconds(ns as f64));
        Some(format!(
            "the {} answers half of the requests within {half}, 99 of 100 within {p99}",
            side.as_str()
        ))
    });
    let half: Vec<String> = half.collect();
    let mark = |(rarity, label): (f64, &str)| Mark { at: x.at(rarity), label: label.into() };
    Some(Chart {
        words: format!("Latency by percentile, both sides under one schedule: {}.", half.join("; ")),
        across: [(2.0, "50 %"), (10.0, "90 %"), (100.0, "99 %"), (1_000.0, "99.9 %")].map(mark).into(),
        upwards: y.marks(format::nanoseconds),
        lines: all.iter().map(line).collect(),
        limit_y: None,
    })
}

fn drawn(side: Side, points: Vec<(f64, f64)>, dots: Vec<Dot>) -> Line {
    let step = |(at, (x, y)): (usize, &(f64, f64))| format!("{}{x} {y}", if at == 0 { "M" } else { "L" });
    Line { side: side.as_str(), path: points.iter().enumerate().map(step).collect(), dots }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures;
    use perfsuite::model::scenario::{Percentile, shares};

    fn scenario() -> Scenario {
        let mut scenario = fixtures::scenario("proxy");
        for (side, seen) in &mut scenario.sides {
            let slow = if *side == Side::Head { 2 } else { 1 };
            seen.percentiles = shares()
                .into_iter()
                .map(|share| Percentile { share, ns: (100_000.0 / (1.0 - share)) as u64 * slow })
                .collect();
            let rates = [1_000.0, 2_000.0, 4_000.0, 8_000.0];
            let probe = |rate: f64| Probe {
                rate_per_second: rate,
                p99_ns: rate as u64 * 1_000 * slow,
                lateness_p99_ns: 1,
                errors: 0,
            };
            if let Some(knee) = &mut seen.knee {
                knee.rate_per_second = 4_000.0;
                knee.probes = rates.map(probe).into();
            }
        }
        scenario
    }

    #[test]
    fn both_sides_are_drawn_on_one_scale() {
        let drawn = under_load(&scenario());
        let [curve, latencies] = &drawn.charts[..] else { panic!("two drawings") };
        assert_eq!(curve.lines.len(), 2);
        let missed = |line: &Line| line.dots.iter().filter(|dot| dot.missed).count();
        assert!(curve.lines.iter().all(|line| line.dots.len() == 4 && missed(line) == 1));
        let (base, head) = (&curve.lines[0].dots[0], &curve.lines[1].dots[0]);
        assert!(base.x == head.x && base.y > head.y, "the head is slower, so it is drawn above");
        assert!(curve.limit_y.is_some_and(|y| (0.0..HEIGHT).contains(&y)));
        assert_eq!(latencies.across.len(), 4);
        assert!(latencies.lines.iter().all(|line| line.path.starts_with('M') && line.path.contains('L')));
        let html = drawn.to_string();
        for words in ["proxy", "4,000 a second", "in steps of up to 30 %", "99 of 100 within"] {
            assert!(html.contains(words), "{words}: {html}");
        }
    }

    #[test]
    fn whatever_was_sent_is_drawn_within_its_frame() {
        let mut odd = scenario();
        let side = odd.sides.get_mut(&Side::Base).unwrap();
        side.percentiles.push(Percentile { share: 1.0, ns: 0 });
        side.percentiles.push(Percentile { share: 7.0, ns: u64::MAX });
        if let Some(knee) = &mut side.knee {
            knee.probes.push(Probe { rate_per_second: 0.0, p99_ns: 0, lateness_p99_ns: 0, errors: 9 });
        }
        odd.p99_limit_ms = 0.0;
        let html = under_load(&odd).to_string();
        assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
        let chart = curve(&odd).unwrap();
        for dot in chart.lines.iter().flat_map(|line| &line.dots) {
            assert!((LEFT..=WIDTH).contains(&dot.x) && (0.0..=HEIGHT).contains(&dot.y));
        }
    }

    #[test]
    fn nothing_known_is_nothing_drawn() {
        let mut bare = scenario();
        for seen in bare.sides.values_mut() {
            (seen.knee, seen.percentiles) = (None, vec![]);
        }
        let drawn = under_load(&bare);
        assert!(drawn.charts.is_empty());
        let html = drawn.to_string();
        assert!(html.contains("not searched") && !html.contains("30 %"), "{html}");
    }
}
