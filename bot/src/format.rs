//! Numbers and times as people read them, the same in comment, pages and terminal. Pure.

use chrono::{DateTime, Utc};
use perfsuite::model::{Metric, Unit};

/// What stands where there is no number.
pub const NONE: &str = "–";
/// The typographic minus: as wide as a plus, and no hyphen.
pub const MINUS: char = '−';

/// A metric's value with its unit, three digits: `1.21 ms`, `61,300`, `842 ns`.
pub fn value(metric: Metric, value: f64) -> String {
    match metric.unit() {
        Unit::Nanoseconds => nanoseconds(value),
        Unit::RequestsPerSecond | Unit::Instructions | Unit::Own => number(value),
    }
}

/// Nanoseconds in the unit that suits their size, three digits: `842 ns`, `1.21 µs`, `12.1 ms`, `3.00 s`.
pub fn nanoseconds(ns: f64) -> String {
    /// Below this in a unit, three digits do not round up to its thousand.
    const STEP: f64 = 999.5;
    if !ns.is_finite() {
        return NONE.into();
    }
    let size = ns.abs();
    if size < STEP {
        format!("{} ns", number(ns))
    } else if size < STEP * 1e3 {
        format!("{} µs", number(ns / 1e3))
    } else if size < STEP * 1e6 {
        format!("{} ms", number(ns / 1e6))
    } else {
        format!("{} s", number(ns / 1e9))
    }
}

/// Three significant digits, thousands separated: `0.0123`, `4.56`, `789`, `61,300`, `1,230,000`.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return NONE.into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let digits = value.abs().log10().floor() as i32;
    if digits < 2 {
        // Rounding may add a digit (9.995 is 10.0), so the decimals are counted again after it.
        let rounded = rounded_to(value, 2 - digits);
        let decimals = (2 - rounded.abs().log10().floor() as i32).clamp(0, 12) as usize;
        return signed_minus(&format!("{rounded:.decimals$}"));
    }
    let unit = 10f64.powi(digits - 2);
    thousands((value / unit).round() * unit)
}

fn rounded_to(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}

/// A whole number with thousands separated: `61,300`.
pub fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::with_capacity(digits.len() * 4 / 3 + 1);
    if value <= -0.5 {
        grouped.push(MINUS);
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 benchmark`, `2 benchmarks`, `1,204 benchmarks`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number as f64), if number == 1 { one } else { many })
}

/// A relative change with its sign: `+18.4 %`, `−3.9 %`, `0.0 %`. `fraction` is 0.184 for the first.
pub fn change(fraction: f64) -> String {
    if fraction.is_finite() { format!("{} %", points(fraction)) } else { NONE.into() }
}

/// A size without sign: `2.5 %`.
pub fn percent(fraction: f64) -> String {
    if fraction.is_finite() { format!("{} %", tenths(fraction.abs())) } else { NONE.into() }
}

/// An interval in percent: `+15.1 to +22.0`.
pub fn interval(low: f64, high: f64) -> String {
    format!("{} to {}", points(low), points(high))
}

/// Percentage points with their sign: `+15.1`, `−4.8`, `0.0`.
fn points(fraction: f64) -> String {
    if !fraction.is_finite() {
        return NONE.into();
    }
    let size = tenths(fraction.abs());
    if size == "0.0" {
        size
    } else if fraction < 0.0 {
        format!("{MINUS}{size}")
    } else {
        format!("+{size}")
    }
}

/// A fraction as percent with one decimal; whole, with thousands separated, from 1,000 % on.
fn tenths(fraction: f64) -> String {
    let percent = fraction * 100.0;
    if percent < 999.95 { format!("{percent:.1}") } else { thousands(percent) }
}

fn signed_minus(text: &str) -> String {
    text.replace('-', "−")
}

/// A length of time in its two largest units: `0.4 s`, `38 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NONE.into();
    }
    if seconds < 9.95 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let whole = seconds.round() as u64;
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => two(whole / 60, "min", whole % 60, "s"),
        3_600..86_400 => two(whole / 3_600, "h", whole % 3_600 / 60, "min"),
        _ => two(whole / 86_400, "d", whole % 86_400 / 3_600, "h"),
    }
}

/// How long ago: `just now`, `5 minutes ago`, `yesterday`, `3 weeks ago`.
pub fn ago(at_ms: i64, now_ms: i64) -> String {
    let seconds = now_ms.saturating_sub(at_ms) / 1_000;
    let some = |number: i64, unit: &str| match number {
        1 => format!("1 {unit} ago"),
        _ => format!("{number} {unit}s ago"),
    };
    match seconds {
        // Clocks differ a little between machines: a moment ahead is now.
        ..45 => "just now".into(),
        45..90 => "a minute ago".into(),
        90..3_600 => some((seconds + 30) / 60, "minute"),
        3_600..86_400 => some(seconds / 3_600, "hour"),
        86_400..172_800 => "yesterday".into(),
        172_800..1_209_600 => some(seconds / 86_400, "day"),
        1_209_600..5_184_000 => some(seconds / 604_800, "week"),
        5_184_000..63_072_000 => some(seconds / 2_592_000, "month"),
        _ => some(seconds / 31_536_000, "year"),
    }
}

/// The exact time: `2026-11-22 10:57:04 UTC`.
pub fn exact(at_ms: i64) -> String {
    time(at_ms, "%Y-%m-%d %H:%M:%S UTC")
}

/// The exact time for machines, by RFC 3339: `2026-11-22T10:57:04Z`.
pub fn iso(at_ms: i64) -> String {
    time(at_ms, "%Y-%m-%dT%H:%M:%SZ")
}

/// The day: `2026-11-22`.
pub fn day(at_ms: i64) -> String {
    time(at_ms, "%Y-%m-%d")
}

fn time(at_ms: i64, pattern: &str) -> String {
    match DateTime::<Utc>::from_timestamp_millis(at_ms) {
        Some(at) => at.format(pattern).to_string(),
        None => NONE.into(),
    }
}

/// Bytes in binary units: `512 B`, `4.00 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = bytes as f64;
    let mut unit = 0;
    while scaled >= 1_023.5 && unit + 1 < UNITS.len() {
        scaled /= 1_024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{} {}", number(scaled), UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits_and_a_unit() {
        let check = |metric, given: f64, expect: &str| assert_eq!(value(metric, given), expect, "{given}");
        check(Metric::Time, 842.0, "842 ns");
        check(Metric::Time, 0.25, "0.250 ns");
        check(Metric::Time, 999.4, "999 ns");
        check(Metric::Time, 999.6, "1.00 µs");
        check(Metric::LatencyP99, 1_210_000.0, "1.21 ms");
        check(Metric::LatencyP99, 12_149_000.0, "12.1 ms");
        check(Metric::Time, 3e9, "3.00 s");
        check(Metric::Time, 9_996.0, "10.0 µs");
        check(Metric::QpsPerCore, 61_312.0, "61,300");
        check(Metric::Instructions, 1_234_567.0, "1,230,000");
        check(Metric::QpsPerCore, 0.0, "0");
        check(Metric::Time, f64::NAN, "–");
        check(Metric::QpsPerCore, f64::INFINITY, "–");
    }

    #[test]
    fn changes_carry_a_sign_that_is_no_hyphen() {
        let check = |fraction: f64, expect: &str| assert_eq!(change(fraction), expect);
        check(0.184, "+18.4 %");
        check(-0.039, "−3.9 %");
        check(0.0, "0.0 %");
        check(-0.0004, "0.0 %");
        check(12.5, "+1,250 %");
        check(f64::NAN, "–");
        assert_eq!(interval(0.151, 0.22), "+15.1 to +22.0");
        assert_eq!(interval(-0.048, 0.0), "−4.8 to 0.0");
        assert_eq!(percent(0.025), "2.5 %");
    }

    #[test]
    fn thousands_are_separated() {
        for (given, expect) in [(0.0, "0"), (999.0, "999"), (1_000.0, "1,000"), (-1_234_567.0, "−1,234,567")]
        {
            assert_eq!(thousands(given), expect);
        }
        assert_eq!(count(1, "benchmark", "benchmarks"), "1 benchmark");
        assert_eq!(count(1_204, "benchmark", "benchmarks"), "1,204 benchmarks");
    }

    #[test]
    fn lengths_of_time_have_two_units() {
        let check = |given: f64, expect: &str| assert_eq!(seconds(given), expect);
        check(0.44, "0.4 s");
        check(38.2, "38 s");
        check(200.0, "3 min 20 s");
        check(3_600.0, "1 h");
        check(7_530.0, "2 h 5 min");
        check(273_600.0, "3 d 4 h");
        check(f64::NAN, "–");
    }

    #[test]
    fn times_are_told_from_now() {
        let check = |seconds: i64, expect: &str| assert_eq!(ago(0, seconds * 1_000), expect);
        check(-5, "just now");
        check(10, "just now");
        check(60, "a minute ago");
        check(300, "5 minutes ago");
        check(3_700, "1 hour ago");
        check(100_000, "yesterday");
        check(4 * 86_400, "4 days ago");
        check(21 * 86_400, "3 weeks ago");
        check(400 * 86_400, "13 months ago");
        check(1_000 * 86_400, "2 years ago");
        assert_eq!(exact(1_795_345_024_000), "2026-11-22 10:57:04 UTC");
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
        assert_eq!(exact(i64::MAX), "–");
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(4 << 30), "4.00 GiB");
        assert_eq!(bytes(1_536), "1.50 KiB");
    }
}
