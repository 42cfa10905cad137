//! Weeks of a period. A week in which nothing happened has nothing, which is no zero.

use super::{DAY_MS, Period};

const WEEK_MS: i64 = 7 * DAY_MS;
/// A year's weeks and one; more bars than that are no picture.
const WEEKS_MAX: i64 = 53;

/// Puts items into the weeks that end with the period, the oldest first, and makes a number of each week that has any.
pub fn by_week<T>(
    period: Period,
    items: &[T],
    at_ms: impl Fn(&T) -> i64,
    number: impl Fn(&[&T]) -> Option<f64>,
) -> Vec<Option<f64>> {
    let length = period.to_ms - period.from_ms;
    let count = ((length + WEEK_MS - 1) / WEEK_MS).clamp(1, WEEKS_MAX);
    let mut weeks: Vec<Vec<&T>> = (0..count).map(|_| Vec::new()).collect();
    for item in items {
        let back = period.to_ms - 1 - at_ms(item);
        if (0..count * WEEK_MS).contains(&back) && period.has(at_ms(item)) {
            weeks[(count - 1 - back / WEEK_MS) as usize].push(item);
        }
    }
    weeks.iter().map(|week| if week.is_empty() { None } else { number(week) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_with_nothing_shows_nothing() {
        let period = Period { from_ms: 0, to_ms: 4 * WEEK_MS };
        let at = [0, 1, 3 * WEEK_MS, 4 * WEEK_MS - 1, 4 * WEEK_MS, -1];
        let weeks = by_week(period, &at, |at| *at, |week| Some(week.len() as f64));
        assert_eq!(weeks, [Some(2.0), None, None, Some(2.0)]);
        assert_eq!(by_week(period, &[] as &[i64], |at| *at, |_| Some(1.0)), [None; 4]);
    }

    #[test]
    fn a_long_period_has_no_more_weeks_than_a_picture_holds() {
        let period = Period { from_ms: 0, to_ms: 500 * WEEK_MS };
        let weeks = by_week(period, &[0, 500 * WEEK_MS - 1], |at| *at, |week| Some(week.len() as f64));
        assert_eq!((weeks.len(), weeks.last()), (53, Some(&Some(1.0))));
    }
}
