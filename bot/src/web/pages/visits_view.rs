//! Every visit of one row, as its page draws it. Pure.

use super::history_list;
use super::parts::{self, Badge, clean};
use crate::db::series::Key;
use crate::format;
use crate::pull::RepoName;
use askama::Template;
use perfsuite::model::{Comparison, JobId, Metric, Report, Series, Side, Visit};
use perfsuite::verdict::sequential::EQUAL_WITHIN;

/// Digits of a commit id in a command: unique in any repository that there is.
const COMMIT_DIGITS: usize = 12;
/// The plot's size, in its own units; the stylesheet decides the size on the page.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
/// Room for the scale, left of the plot.
const LEFT: f64 = 56.0;
/// Above and below the plot, for the marks of what was cut.
const EDGE: f64 = 12.0;
/// Share of the visits that the plot's height holds; the others are drawn at its edge.
const FITTING: f64 = 0.95;
/// Two equal sides fill no plot with their noise.
const REACH_MIN: f64 = 2.0 * EQUAL_WITHIN;
/// Bars of a histogram.
const BARS: usize = 40;
/// The height of one side's histogram.
const HISTOGRAM: f64 = 72.0;

pub struct Facts<'a> {
    pub name: &'a RepoName,
    pub number: u64,
    pub job: &'a JobId,
    pub report: &'a Report,
    pub row: &'a Comparison,
    /// What was measured, where it is still kept.
    pub seen: Option<&'a Series>,
    /// The series of the same name along the default branch, where there is one.
    pub history: Option<&'a Key>,
}

#[derive(Template)]
#[template(path = "pages/visits.html")]
pub struct VisitsPage {
    name: String,
    number: u64,
    job: String,
    suite: String,
    benchmark: String,
    metric: &'static str,
    base_commit: String,
    head_commit: String,
    verdict: Badge,
    base: String,
    head: String,
    change: String,
    interval: String,
    smallest_visible: String,
    spread: String,
    instructions: Option<String>,
    plot: Option<Plot>,
    histogram: Option<Histogram>,
    rows: Vec<VisitRow>,
    /// Of the profile, where one was taken.
    profile: Option<usize>,
    history: Option<String>,
    reproduce: String,
}

struct VisitRow {
    number: usize,
    first: &'static str,
    base: String,
    head: String,
    change: String,
}

/// Every visit's difference, in the order in which they were made.
struct Plot {
    words: String,
    lines: Vec<Line>,
    equal_y: f64,
    equal_height: f64,
    interval_y: f64,
    interval_height: f64,
    estimate_y: f64,
    zero_y: f64,
    dots: Vec<Dot>,
    cut: usize,
}

struct Line {
    y: f64,
    text_y: f64,
    label: String,
}

struct Dot {
    x: f64,
    y: f64,
    head_first: bool,
    /// Beyond the plot.
    cut: bool,
}

/// Where the values of both sides lie, on one scale.
struct Histogram {
    words: String,
    sides: [HistogramSide; 2],
    low: String,
    high: String,
    /// Values beyond the scale.
    cut: usize,
}

struct HistogramSide {
    name: &'static str,
    bars: Vec<Bar>,
    median_x: f64,
    median: String,
}

struct Bar {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

pub fn page(facts: &Facts<'_>) -> VisitsPage {
    let (row, report) = (facts.row, facts.report);
    let visits = facts.seen.map(|series| series.visits.as_slice()).unwrap_or_default();
    let digits = |sha: &perfsuite::model::Sha| sha.as_str()[..COMMIT_DIGITS].to_owned();
    let name = facts.name.to_string();
    VisitsPage {
        number: facts.number,
        job: facts.job.0.clone(),
        suite: clean(&row.suite),
        benchmark: clean(&row.benchmark.0),
        metric: row.metric.title(),
        base_commit: report.base.short().into(),
        head_commit: report.head.short().into(),
        verdict: parts::verdict(row),
        base: format::value(row.metric, row.base),
        head: format::value(row.metric, row.head),
        change: format::change(row.estimate),
        interval: format::interval(row.low, row.high),
        smallest_visible: format::percent(row.smallest_visible),
        spread: format::percent(row.spread),
        instructions: instructions(facts),
        plot: plot(row, visits),
        histogram: histogram(row.metric, visits),
        rows: visits.iter().enumerate().map(|(at, visit)| visit_row(row.metric, at, visit)).collect(),
        profile: report
            .profiles
            .iter()
            .position(|profile| profile.suite == row.suite && profile.benchmark == row.benchmark),
        history: facts.history.map(|key| history_list::address(&name, key)),
        reproduce: format!("paceline review {}..{}", digits(&report.base), digits(&report.head)),
        name,
    }
}

/// What the second witness says.
fn instructions(facts: &Facts<'_>) -> Option<String> {
    let counted = facts.seen.and_then(|series| series.instructions.as_ref());
    let change = facts.row.instructions.map(format::change)?;
    Some(match counted.and_then(|counted| counted.counts()) {
        Some((base, head)) => {
            let of = |count| format::value(Metric::Instructions, count);
            format!("{change} instructions an iteration, from {} to {}", of(base), of(head))
        }
        None => format!("{change} instructions an iteration"),
    })
}

fn visit_row(metric: Metric, at: usize, visit: &Visit) -> VisitRow {
    VisitRow {
        number: at + 1,
        first: visit.first.as_str(),
        base: format::value(metric, visit.base),
        head: format::value(metric, visit.head),
        change: difference(visit).map_or_else(|| format::NONE.into(), |log| format::change(log.exp() - 1.0)),
    }
}

/// The logarithm of head over base: of pairs, the median of theirs, as the verdict takes it.
fn difference(visit: &Visit) -> Option<f64> {
    let log = |base: f64, head: f64| Some((head / base).ln()).filter(|log| log.is_finite());
    if visit.pairs.is_empty() {
        return log(visit.base, visit.head);
    }
    let mut logs: Vec<f64> = visit.pairs.iter().filter_map(|[base, head]| log(*base, *head)).collect();
    median(&mut logs)
}

fn median(numbers: &mut [f64]) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => None,
        length if length % 2 == 1 => Some(numbers[middle]),
        _ => Some((numbers[middle - 1] + numbers[middle]) / 2.0),
    }
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn plot(row: &Comparison, visits: &[Visit]) -> Option<Plot> {
    let seen: Vec<(usize, f64, Side)> = visits
        .iter()
        .enumerate()
        .filter_map(|(at, visit)| Some((at, difference(visit)?, visit.first)))
        .collect();
    if seen.is_empty() {
        return None;
    }
    let mut reaches: Vec<f64> = seen.iter().map(|(_, log, _)| log.abs()).collect();
    reaches.sort_by(f64::total_cmp);
    let fitting = reaches[((reaches.len() as f64 * FITTING) as usize).min(reaches.len() - 1)];
    let ends = [row.low, row.high].into_iter().filter(|end| end.is_finite() && *end > -1.0);
    let reach = ends.map(|end| end.ln_1p().abs()).fold(fitting.max(REACH_MIN), f64::max) * 1.1;
    let middle = HEIGHT / 2.0;
    let y = |log: f64| {
        let share = (log / reach).clamp(-1.0, 1.0);
        tenth(middle - if share.is_finite() { share } else { 0.0 } * (middle - EDGE))
    };
    let of = |change: f64| y(change.max(-0.999_999).ln_1p());
    let step = (WIDTH - LEFT - EDGE) / visits.len() as f64;
    let dots = seen.iter().map(|(at, log, first)| Dot {
        x: tenth(LEFT + step * (*at as f64 + 0.5)),
        y: y(*log),
        head_first: *first == Side::Head,
        cut: log.abs() > reach,
    });
    let dots: Vec<Dot> = dots.collect();
    let marks = [-reach / 1.1, -reach / 2.2, 0.0, reach / 2.2, reach / 1.1];
    let (low, high) = (of(row.high), of(row.low));
    let cut = dots.iter().filter(|dot| dot.cut).count();
    Some(Plot {
        words: format!(
            "{}: each dot is the difference that one saw, head over base. The line is the estimate, {}, the darker \
             band its interval, {}; the lighter band around zero is what counts as equal.",
            format::count(seen.len(), "visit", "visits"),
            format::change(row.estimate),
            format::interval(row.low, row.high)
        ),
        lines: marks
            .into_iter()
            .map(|log| Line { y: y(log), text_y: y(log) + 4.0, label: format::change(log.exp() - 1.0) })
            .collect(),
        equal_y: of(EQUAL_WITHIN),
        equal_height: tenth(of(-EQUAL_WITHIN) - of(EQUAL_WITHIN)),
        interval_y: low,
        interval_height: tenth((high - low).max(1.0)),
        estimate_y: of(row.estimate),
        zero_y: y(0.0),
        dots,
        cut,
    })
}

/// All that was sampled in lock-step; where a visit has one value a side, those.
fn histogram(metric: Metric, visits: &[Visit]) -> Option<Histogram> {
    let usable = |value: &f64| value.is_finite() && *value > 0.0;
    let of = |side: usize| -> Vec<f64> {
        let values = visits.iter().flat_map(|visit| match visit.pairs.is_empty() {
            true => vec![[visit.base, visit.head][side]],
            false => visit.pairs.iter().map(|pair| pair[side]).collect(),
        });
        let mut values: Vec<f64> = values.filter(usable).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let sides = [of(0), of(1)];
    // From the lowest value on, up to where nearly all of both sides lie: a few that were disturbed lie far above.
    let low = sides.iter().filter_map(|values| values.first()).copied().fold(f64::INFINITY, f64::min);
    let at = |values: &Vec<f64>| {
        values.get(((values.len() as f64 * 0.98) as usize).min(values.len().saturating_sub(1))).copied()
    };
    let high = sides.iter().filter_map(at).fold(0.0, f64::max);
    if sides.iter().any(Vec::is_empty) || low >= high {
        return None;
    }
    let width = (WIDTH - LEFT - EDGE) / BARS as f64;
    let place = |value: f64| (value - low) / (high - low);
    let counts = sides.each_ref().map(|values| {
        let mut counts = [0_usize; BARS];
        for value in values.iter().filter(|value| **value <= high) {
            counts[((place(*value) * BARS as f64) as usize).min(BARS - 1)] += 1;
        }
        counts
    });
    let tallest = |counts: &[usize; BARS]| counts.iter().copied().max().unwrap_or(1).max(1) as f64;
    let side = |number: usize, name: &'static str| {
        let mut values = sides[number].clone();
        let median = median(&mut values).unwrap_or(low);
        let most = tallest(&counts[number]);
        let bars = counts[number].iter().enumerate().filter(|(_, count)| **count > 0).map(|(at, count)| {
            let height = (*count as f64 / most * (HISTOGRAM - EDGE)).max(1.0);
            Bar {
                x: tenth(LEFT + width * at as f64),
                y: tenth(HISTOGRAM - height),
                width: tenth(width - 1.0),
                height: tenth(height),
            }
        });
        HistogramSide {
            name,
            bars: bars.collect(),
            median_x: tenth(LEFT + width * BARS as f64 * place(median).clamp(0.0, 1.0)),
            median: format::value(metric, median),
        }
    };
    let all = sides.iter().map(Vec::len).sum::<usize>();
    let cut = sides.iter().flatten().filter(|value| **value > high).count();
    let sides = [side(0, "base"), side(1, "head")];
    Some(Histogram {
        words: format!(
            "{} of both sides on one scale from {} to {}: half of the base's are below {}, half of the head's below {}.",
            format::count(all, "value", "values"),
            format::value(metric, low),
            format::value(metric, high),
            sides[0].median,
            sides[1].median
        ),
        sides,
        low: format::value(metric, low),
        high: format::value(metric, high),
        cut,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(first: Side, base: f64, head: f64) -> Visit {
        Visit { first, base, head, pairs: Vec::new() }
    }

    fn row() -> Comparison {
        use perfsuite::model::{BenchmarkId, Certainty, Mode, Verdict};
        Comparison {
            suite: "s".into(),
            benchmark: BenchmarkId("b".into()),
            metric: Metric::Time,
            base: 100.0,
            head: 105.0,
            estimate: 0.05,
            low: 0.04,
            high: 0.06,
            verdict: Verdict::Slower,
            certainty: Certainty::Confirmed,
            mode: Mode::Gate,
            mode_reason: None,
            smallest_visible: 0.02,
            spread: 0.01,
            visits: 3,
            instructions: None,
            minutes_to_settle: None,
        }
    }

    #[test]
    fn every_visit_has_its_dot_and_far_ones_are_marked() {
        let mut visits: Vec<Visit> = (0..40).map(|_| visit(Side::Base, 100.0, 105.0)).collect();
        visits.push(visit(Side::Head, 100.0, 900.0));
        visits.push(visit(Side::Head, 0.0, 100.0));
        let plot = plot(&row(), &visits).unwrap();
        assert_eq!(plot.dots.len(), 41, "one has no difference to draw");
        assert_eq!((plot.cut, plot.dots[40].cut, plot.dots[40].head_first), (1, true, true));
        assert_eq!(plot.dots[40].y, EDGE, "at the upper edge");
        assert!(plot.dots[0].y < plot.zero_y, "slower is above");
        assert!(
            plot.interval_y < plot.estimate_y && plot.estimate_y < plot.interval_y + plot.interval_height
        );
        for dot in &plot.dots {
            assert!((LEFT..WIDTH).contains(&dot.x) && (0.0..=HEIGHT).contains(&dot.y));
        }
    }

    #[test]
    fn nothing_measured_is_nothing_drawn() {
        assert!(plot(&row(), &[]).is_none() && histogram(Metric::Time, &[]).is_none());
        let broken = [visit(Side::Base, 0.0, f64::NAN), visit(Side::Base, -1.0, f64::INFINITY)];
        assert!(plot(&row(), &broken).is_none() && histogram(Metric::Time, &broken).is_none());
        let endless = Comparison { low: f64::NAN, high: f64::INFINITY, estimate: f64::NAN, ..row() };
        let drawn = plot(&endless, &[visit(Side::Base, 1.0, 1.0)]).unwrap();
        assert!(drawn.estimate_y.is_finite() && drawn.interval_height.is_finite());
    }

    #[test]
    fn pairs_are_what_a_visit_is_made_of() {
        let pairs = vec![[100.0, 110.0], [100.0, 120.0], [50.0, 55.0]];
        let visit = Visit { first: Side::Base, base: 100.0, head: 110.0, pairs };
        assert!((difference(&visit).unwrap() - 1.1_f64.ln()).abs() < 1e-12);
        let histogram = histogram(Metric::Time, &[visit]).unwrap();
        assert!(histogram.words.starts_with("6 values"), "{}", histogram.words);
        assert_eq!(histogram.sides[0].bars.len(), 2);
        assert_eq!(histogram.cut, 0);
    }
}
