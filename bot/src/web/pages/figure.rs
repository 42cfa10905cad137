//! A measure as people see it: the number, how sure it is, of how many, its trend, and what it means. Pure.

use super::parts::{Badge, Kind};
use crate::format;
use crate::measures::{Better, Measure, Unit};
use askama::Template;
use askama::filters::HtmlSafe;

/// A bar of the trend, in the drawing's own units.
const BAR_WIDTH: f64 = 6.0;
const BAR_GAP: f64 = 2.0;
const HEIGHT: f64 = 32.0;
/// What is there is seen, however small.
const BAR_MIN: f64 = 2.0;

#[derive(Template)]
#[template(path = "pages/parts/figure.html")]
pub struct Figure {
    name: &'static str,
    definition: &'static str,
    value: Option<String>,
    interval: Option<String>,
    made_by: &'static str,
    of: String,
    missing: Option<String>,
    trend: Option<String>,
    met: Option<Badge>,
    target: Option<String>,
    weeks: Option<Weeks>,
}

impl HtmlSafe for Figure {}

/// The weeks as bars. A week without anything has none.
struct Weeks {
    width: f64,
    bars: Vec<Bar>,
    words: String,
}

struct Bar {
    x: f64,
    y: f64,
    height: f64,
    /// The week that ends now.
    last: bool,
}

impl Figure {
    pub fn new(measure: &Measure) -> Self {
        let unit = measure.unit;
        let target = measure.target.map(|target| {
            let word = match target.at {
                Better::More => "at least",
                Better::Less => "at most",
            };
            format!("{word} {}", number(unit, target.value))
        });
        let met = measure.meets().map(|met| match met {
            true => Badge::new(Kind::Fine, "target met"),
            false => Badge::new(Kind::Unsure, "target missed"),
        });
        Self {
            name: measure.name,
            definition: measure.definition,
            value: measure.value.map(|value| number(unit, value)),
            interval: interval(measure),
            made_by: measure.interval,
            of: format!("{} {}", format::thousands(measure.n as f64), measure.of),
            missing: measure.missing.clone(),
            trend: trend(measure),
            met,
            target,
            weeks: weeks(measure),
        }
    }
}

/// A number in its unit.
pub fn number(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Seconds => format::seconds(value),
        Unit::Share => format::percent(value),
        Unit::Ratio => format!("{value:.2}"),
        Unit::People | Unit::Count if value.fract() == 0.0 => format::thousands(value),
        Unit::People | Unit::Count => format::number(value),
    }
}

fn interval(measure: &Measure) -> Option<String> {
    measure.value?;
    let of = |value| number(measure.unit, value);
    match (measure.low, measure.high) {
        (Some(low), Some(high)) => Some(format!("{} to {}", of(low), of(high))),
        (Some(low), None) => Some(format!("{} or more", of(low))),
        (None, Some(high)) => Some(format!("up to {}", of(high))),
        (None, None) => None,
    }
}

/// Against the period before, in words.
fn trend(measure: &Measure) -> Option<String> {
    let (now, before) = (measure.value?, measure.before?);
    let of = number(measure.unit, before);
    let word = if number(measure.unit, now) == of {
        "as in the period before".into()
    } else if now > before {
        format!("up from {of}")
    } else {
        format!("down from {of}")
    };
    Some(word)
}

fn weeks(measure: &Measure) -> Option<Weeks> {
    let known: Vec<f64> = measure.weeks.iter().flatten().copied().filter(|value| value.is_finite()).collect();
    let largest = known.iter().copied().fold(0.0, f64::max);
    if known.is_empty() || largest <= 0.0 {
        return None;
    }
    let bars = measure.weeks.iter().enumerate().filter_map(|(index, week)| {
        let value = week.filter(|value| value.is_finite())?.max(0.0);
        let height = (value / largest * HEIGHT).clamp(BAR_MIN, HEIGHT);
        let round = |number: f64| (number * 10.0).round() / 10.0;
        Some(Bar {
            x: index as f64 * (BAR_WIDTH + BAR_GAP),
            y: round(HEIGHT - height),
            height: round(height),
            last: index + 1 == measure.weeks.len(),
        })
    });
    let last = measure.weeks.last().copied().flatten();
    let words = format!(
        "By week: {} of {} weeks with anything, at most {}, {}.",
        known.len(),
        measure.weeks.len(),
        number(measure.unit, largest),
        match last {
            Some(last) => format!("{} in the last", number(measure.unit, last)),
            None => "nothing in the last".into(),
        }
    );
    let width = measure.weeks.len() as f64 * (BAR_WIDTH + BAR_GAP) - BAR_GAP;
    Some(Weeks { width, bars: bars.collect(), words })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure() -> Measure {
        Measure {
            id: "x",
            name: "First response, half",
            definition: "Time to the first response.",
            unit: Unit::Seconds,
            value: Some(7_200.0),
            low: Some(3_600.0),
            high: None,
            interval: "Kaplan-Meier",
            n: 12,
            of: "pull requests",
            missing: None,
            before: Some(10_800.0),
            target: None,
            weeks: vec![Some(3_600.0), None, Some(f64::NAN), Some(7_200.0)],
        }
    }

    #[test]
    fn a_figure_says_everything_that_it_takes_to_believe_it() {
        let html = Figure::new(&measure()).to_string();
        for words in
            ["2 h", "1 h or more", "12 pull requests", "down from 3 h", "Time to the first response."]
        {
            assert!(html.contains(words), "{words}: {html}");
        }
        assert_eq!(html.matches("<rect").count(), 2, "weeks with nothing, and no number, have no bar");
    }

    #[test]
    fn what_is_not_known_is_no_zero() {
        let unknown = Measure { value: None, low: None, before: Some(1.0), weeks: vec![None], ..measure() };
        let html = Figure::new(&unknown).to_string();
        assert!(html.contains("not known yet") && !html.contains("<svg") && !html.contains("down"), "{html}");
    }
}
