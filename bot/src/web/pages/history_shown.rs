//! One series as it is shown: what is known of it in a window, and what its chart draws of that. Pure.

use super::history_list::metric;
use super::history_reach;
use crate::db::bisects::Bisect;
use crate::db::change_points::ChangePoint;
use crate::db::history_commits::HistoryCommit;
use crate::db::points::{self, Figure, Link, Point, Ratio};
use crate::db::quarantined_benchmarks::Quarantined;
use crate::db::references::Reference;
use crate::db::series;
use crate::history::linked::linked;
use crate::judgement::Acceptance;
use perfsuite::model::{Environment, Metric};
use std::collections::{BTreeMap, BTreeSet};

/// Points that a chart begins with, the newest.
const POINTS_FIRST: i64 = 500;
/// Stretches that a longer chart is cut into: of each the lowest and the highest point is drawn, so that nothing that
/// stands out is lost, and about as many as a screen has columns.
const STRETCHES: usize = 400;
/// Points that a chart draws before it is cut.
const POINTS_DRAWN: usize = 2 * STRETCHES;

/// Everything that is known of one series in a window.
pub struct Facts {
    pub series: series::Series,
    /// Oldest first: for a page the newest ones, for an export all.
    pub points: Vec<Point>,
    pub links: Vec<Link>,
    pub changes: Vec<ChangePoint>,
    /// By change point.
    pub accepted: BTreeMap<String, Acceptance>,
    /// That somebody had it recorded only.
    pub quarantined: Option<Quarantined>,
    /// By change point.
    pub searches: BTreeMap<String, Bisect>,
    /// Of what is shown, oldest first.
    pub commits: Vec<HistoryCommit>,
    pub environments: BTreeMap<i64, Environment>,
    pub references: Vec<Reference>,
    pub window: Window,
    /// The places of its first and its newest point, wherever the window is.
    pub ends: (i64, i64),
}

impl Facts {
    pub fn metric(&self) -> Metric {
        metric(&self.series.key)
    }

    pub fn commit(&self, position: i64) -> Option<&HistoryCommit> {
        let at = self.commits.binary_search_by_key(&position, |commit| commit.position).ok()?;
        self.commits.get(at)
    }
}

/// Positions that are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

impl Window {
    /// First and last position, and how many points at most.
    pub fn bounds(self) -> (i64, i64, i64) {
        match (self.from, self.to) {
            (None, None) => (0, i64::MAX, POINTS_FIRST),
            (from, to) => (from.unwrap_or(0), to.unwrap_or(i64::MAX), points::READ_MAX),
        }
    }

    /// The same, from the first commit on where nothing else is said.
    pub fn whole(self) -> Self {
        Self { from: self.from.or(Some(0)), to: self.to }
    }
}

/// Which figure a chart shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    Reference,
    Parent,
    Raw,
}

impl View {
    pub const ALL: [View; 3] = [View::Reference, View::Parent, View::Raw];

    /// What is asked for; else the first one that the newest points have.
    pub fn from_query(text: &str, newest: &[Point]) -> Self {
        let asked = Self::ALL.into_iter().find(|view| view.query() == text);
        asked.unwrap_or_else(|| {
            let shows = |view: &View| match view {
                View::Reference => newest.iter().any(|point| point.reference.is_some()),
                View::Parent => newest.iter().any(|point| point.parent.is_some()),
                View::Raw => newest.iter().any(|point| point.value.is_some()),
            };
            Self::ALL.into_iter().find(shows).unwrap_or(View::Reference)
        })
    }

    pub fn figure(self) -> Figure {
        match self {
            View::Reference => Figure::Reference,
            View::Parent => Figure::Parent,
            View::Raw => Figure::Value,
        }
    }

    pub fn query(self) -> &'static str {
        match self {
            View::Reference => "reference",
            View::Parent => "parent",
            View::Raw => "raw",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            View::Reference => "to the reference",
            View::Parent => "to the parent",
            View::Raw => "raw",
        }
    }
}

/// A point of a chart. Ratios are told as changes: 0.03 is 3 % more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    pub position: i64,
    pub y: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// Another series in the same chart, at the same commits.
pub struct Other {
    pub series: series::Series,
    /// Of those commits, those that it has.
    pub drawn: Vec<Drawn>,
}

/// One figure along the branch, thinned where there are too many points for a screen.
pub struct Chart {
    pub view: View,
    /// Oldest first.
    pub drawn: Vec<Drawn>,
    /// Points that the window has; more than are drawn where it was thinned.
    pub of: usize,
    /// Points of other references, which nothing links to the newest.
    pub unlinked: usize,
    /// What the scale shows at first, where a few points far out would flatten all others.
    pub reach: Option<(f64, f64)>,
    pub others: Vec<Other>,
}

impl Chart {
    /// `points` have the view's figure.
    pub fn of(view: View, points: &[Point], links: &[Link], changes: &[ChangePoint]) -> Self {
        let all = figures(view, points, links);
        let of = all.len();
        let unlinked = if view == View::Reference { points.len() - of } else { 0 };
        let marked = |position| changes.iter().any(|change| change.position == position);
        let reach = history_reach::reach(&all, marked);
        Self { view, drawn: thinned(all, changes), of, unlinked, reach, others: Vec::new() }
    }

    /// Those of these points, which are over their own reference where the chart is over the newest: as far from a level
    /// there as here.
    pub fn give_intervals(&mut self, points: &[Point]) {
        let ratio = |point: &Point| match self.view {
            View::Reference => point.reference,
            View::Parent => point.parent,
            View::Raw => None,
        };
        let of: BTreeMap<i64, Ratio> =
            points.iter().filter_map(|point| Some((point.position, ratio(point)?))).collect();
        for drawn in &mut self.drawn {
            let interval = of.get(&drawn.position).map(|ratio| {
                let scale = (drawn.y + 1.0) / ratio.ratio;
                (ratio.low * scale - 1.0, ratio.high * scale - 1.0)
            });
            (drawn.low, drawn.high) = interval.unzip();
        }
        // The scale has room for what an interval usually is.
        let mut halves: Vec<f64> =
            self.drawn.iter().filter_map(|drawn| Some((drawn.high? - drawn.low?) / 2.0)).collect();
        halves.sort_unstable_by(f64::total_cmp);
        if let (Some((low, high)), Some(half)) = (&mut self.reach, halves.get(halves.len() / 2)) {
            (*low, *high) = (*low - half, *high + half);
        }
    }

    /// What the scale of all series together shows at first.
    pub fn reach_of_all(&self) -> Option<(f64, f64)> {
        let others =
            self.others.iter().map(|other| (history_reach::reach(&other.drawn, |_| false), &other.drawn));
        let all: Vec<_> = std::iter::once((self.reach, &self.drawn)).chain(others).collect();
        all.iter().find(|(reach, _)| reach.is_some())?;
        let each = all.iter().filter_map(|(reach, drawn)| reach.or_else(|| history_reach::whole(drawn)));
        each.reduce(|(least, most), (low, high)| (least.min(low), most.max(high)))
    }
}

/// Every point of a view.
pub fn figures(view: View, points: &[Point], links: &[Link]) -> Vec<Drawn> {
    match view {
        View::Reference => {
            linked(points, links).iter().map(|point| over(point.position, point.ratio)).collect()
        }
        View::Parent => points.iter().filter_map(|point| Some(over(point.position, point.parent?))).collect(),
        View::Raw => {
            let raw = points.iter().filter_map(|point| Some((point.position, point.value?)));
            raw.map(|(position, y)| Drawn { position, y, low: None, high: None }).collect()
        }
    }
}

/// A ratio as a change.
pub fn over(position: i64, ratio: Ratio) -> Drawn {
    Drawn { position, y: ratio.ratio - 1.0, low: Some(ratio.low - 1.0), high: Some(ratio.high - 1.0) }
}

fn thinned(all: Vec<Drawn>, changes: &[ChangePoint]) -> Vec<Drawn> {
    if all.len() <= POINTS_DRAWN {
        return all;
    }
    let marked: BTreeSet<i64> = changes.iter().flat_map(|change| [change.before, change.position]).collect();
    let step = all.len().div_ceil(STRETCHES);
    let last = all.len() - 1;
    let mut kept = Vec::with_capacity(POINTS_DRAWN + 2);
    for (stretch, points) in all.chunks(step).enumerate() {
        let by_height = |&a: &usize, &b: &usize| points[a].y.total_cmp(&points[b].y);
        let lowest = (0..points.len()).min_by(by_height);
        let highest = (0..points.len()).max_by(by_height);
        for (at, point) in points.iter().enumerate() {
            let place = stretch * step + at;
            let stands_out = lowest == Some(at) || highest == Some(at) || place == 0 || place == last;
            if stands_out || marked.contains(&point.position) {
                kept.push(*point);
            }
        }
    }
    kept
}

/// The run whose page tells more of a commit.
pub fn run_of(commit: &HistoryCommit) -> Option<&str> {
    commit.parent_job.as_deref().or(commit.reference_job.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::change_points::State;

    fn point(position: i64, y: f64) -> Drawn {
        Drawn { position, y, low: None, high: None }
    }

    fn change(position: i64) -> ChangePoint {
        ChangePoint {
            id: "c".into(),
            series: 1,
            position,
            before: position - 1,
            size: 0.03,
            state: State::Confirmed,
            found_ms: 0,
            confirmed_ms: None,
        }
    }

    #[test]
    fn a_long_series_is_thinned_and_keeps_what_stands_out() {
        // A slow wave, with one point far above and one far below it, each alone.
        let wave = |n: i64| match n {
            1_234 => 9.0,
            7_777 => -9.0,
            n => (n as f64 / 500.0).sin(),
        };
        let all: Vec<Drawn> = (0..10_000).map(|n| point(n, wave(n))).collect();
        let kept = thinned(all.clone(), &[change(4_321)]);
        assert!(kept.len() <= POINTS_DRAWN + 4, "{}", kept.len());
        for position in [0, 1_234, 4_320, 4_321, 7_777, 9_999] {
            assert!(kept.iter().any(|drawn| drawn.position == position), "{position}");
        }
        assert!(kept.is_sorted_by_key(|drawn| drawn.position));
        // Of every stretch the whole height is drawn.
        for points in all.chunks(25) {
            let (first, last) = (points[0].position, points[points.len() - 1].position);
            let of = |drawn: &[Drawn]| {
                let within = drawn.iter().filter(|drawn| (first..=last).contains(&drawn.position));
                within.fold((f64::MAX, f64::MIN), |(low, high), drawn| (low.min(drawn.y), high.max(drawn.y)))
            };
            assert_eq!(of(&kept), of(points), "from {first}");
        }
    }

    #[test]
    fn intervals_move_with_their_level() {
        let drawn = vec![point(1, 0.21), point(2, 0.0)];
        let mut chart =
            Chart { view: View::Reference, drawn, of: 2, unlinked: 0, reach: None, others: Vec::new() };
        let ratio = Ratio::new(1.1, 1.0, 1.2);
        let measured =
            Point { position: 1, value: None, parent: None, reference: ratio, reference_number: Some(1) };
        chart.give_intervals(&[measured]);
        let (low, high) = (chart.drawn[0].low.unwrap(), chart.drawn[0].high.unwrap());
        assert!((low - 0.1).abs() < 1e-9 && (high - 0.32).abs() < 1e-9, "{low} to {high}");
        assert_eq!((chart.drawn[1].low, chart.drawn[1].high), (None, None), "of it nothing is known");
    }

    #[test]
    fn a_short_or_a_level_series_stays_as_it_is() {
        let level = |n: i64| (0..n).map(|n| point(n, 0.0)).collect::<Vec<_>>();
        assert_eq!(thinned(level(POINTS_DRAWN as i64), &[]).len(), POINTS_DRAWN);
        assert!(thinned(level(10_000), &[]).len() <= POINTS_DRAWN + 2);
        assert_eq!(thinned(level(1), &[]).len(), 1);
        assert_eq!(thinned(Vec::new(), &[change(5)]), []);
    }
}
