//! The words around figures: sizes, ranks, odds, verdicts; the same in comment, check run and terminal.

use crate::format;
use perfsuite::{
    model::{Certainty, Comparison, FailureReason, Metric, Mode, Side, Verdict},
    verdict::comparison::UNBOUNDED,
};

/// The word for a size, as everybody uses it; the figure stands beside it.
pub fn size(fraction: f64) -> &'static str {
    match fraction.abs() {
        s if s < 0.03 => "small",
        s if s < 0.10 => "moderate",
        s if s < 0.50 => "large",
        _ => "very large",
    }
}

/// `1.0 % to 3.4 %`, or one figure where both ends read the same.
pub fn range(low: f64, high: f64) -> String {
    let (low, high) = (format::percent(low), format::percent(high));
    if low == high { low } else { format!("{low} to {high}") }
}

/// The 95 % interval of a row: `+15.1 to +22.0`, with `unit` behind it.
pub fn interval(row: &Comparison, unit: &str) -> String {
    if row.metric == Metric::Instructions {
        return "counted exactly".into();
    }
    if row.high.is_finite() && row.high < UNBOUNDED {
        format!("{}{unit}", format::interval(row.low, row.high))
    } else {
        "unknown, too few visits".into()
    }
}

/// `95 % CI +15.1 to +22.0`, or that there is no doubt about it.
pub fn confidence(row: &Comparison) -> String {
    match row.metric {
        Metric::Instructions => interval(row, ""),
        _ => format!("95 % CI {}", interval(row, "")),
    }
}

/// `1st`, `2nd`, `3rd`, `4th`, `11th`.
pub fn ordinal(number: u32) -> String {
    let end = match (number % 10, number % 100) {
        (1, tens) if tens != 11 => "st",
        (2, tens) if tens != 12 => "nd",
        (3, tens) if tens != 13 => "rd",
        _ => "th",
    };
    format!("{}{end}", format::thousands(f64::from(number)))
}

/// `1 in 100` for 0.01.
pub fn odds(probability: f64) -> String {
    if probability > 0.0 && probability <= 1.0 {
        format!("1 in {}", format::thousands(1.0 / probability))
    } else {
        "an unknown share".into()
    }
}

/// A sign that is told apart without colours too, and the words.
pub fn verdict(row: &Comparison) -> (&'static str, String) {
    let suspect = row.certainty == Certainty::LayoutSuspect;
    let counted = row.instructions.map(|change| format!(", instructions {}", format::change(change)));
    let counted = counted.unwrap_or_default();
    match row.verdict {
        _ if !row.metric.judged() => ("▫️", "shown, not judged".into()),
        Verdict::Slower | Verdict::Faster if row.metric == Metric::Instructions => {
            let more = if row.verdict == Verdict::Slower { "more" } else { "fewer" };
            let time = match row.certainty {
                Certainty::InstructionChange => ", in the same time",
                _ => "",
            };
            (if row.blocks() { "🔴" } else { "🔹" }, format!("{more} instructions{time}"))
        }
        Verdict::Equal if row.metric == Metric::Instructions => ("▫️", "counted, equal".into()),
        Verdict::Slower if suspect => ("◽", format!("slower, perhaps only layout{counted}")),
        Verdict::Faster if suspect => ("◽", format!("faster, perhaps only layout{counted}")),
        Verdict::Slower => {
            (if row.blocks() { "🔴" } else { "🟠" }, format!("slower{}{counted}", aside(row.mode)))
        }
        Verdict::Faster => ("🟢", format!("faster{counted}")),
        Verdict::Equal => {
            ("⚪", format!("equal within {}", format::percent(row.low.abs().max(row.high.abs()))))
        }
        Verdict::Inconclusive => ("❔", "inconclusive".into()),
    }
}

fn aside(mode: Mode) -> &'static str {
    match mode {
        Mode::Gate => "",
        Mode::Advise => ", not blocking",
        Mode::Record => ", recorded only",
    }
}

/// What happened instead of a measurement, after the benchmark's name.
pub fn failure(reason: FailureReason, side: Option<Side>) -> String {
    let what = match reason {
        FailureReason::Panicked => "panicked",
        FailureReason::TimedOut => "ran out of time",
        FailureReason::BadOutput => "printed no result that could be read",
        FailureReason::NotReady => "did not become ready",
        FailureReason::Refused => "was not run",
    };
    match side {
        Some(side) => format!("{what} on the {}", side.as_str()),
        None => what.into(),
    }
}

/// Names in a row, bounded, with a count of the rest.
pub fn listed(names: impl Iterator<Item = String>, max: usize) -> String {
    let all: Vec<String> = names.collect();
    let rest = all.len().saturating_sub(max);
    let mut text = all.into_iter().take(max).collect::<Vec<_>>().join(", ");
    if rest > 0 {
        text += &format!(" and {rest} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_odds() {
        let ranks = [1, 2, 3, 4, 11, 12, 13, 21, 111].map(ordinal);
        assert_eq!(ranks, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "111th"]);
        assert_eq!(odds(0.01), "1 in 100");
        assert_eq!(range(0.01, 0.0101), "1.0 %");
        assert_eq!(range(0.01, 0.034), "1.0 % to 3.4 %");
    }
}
