//! Location and spread of a benchmark's log-ratios, hardened against outliers.

/// Where winsorising begins, in robust standard deviations. A normal sample loses 1.2 % of its values to it.
const WINSOR_DEVIATIONS: f64 = 2.5;
/// Makes the median absolute deviation an estimate of a normal distribution's standard deviation.
const MAD_TO_SD: f64 = 1.4826;

/// With fewer values than this, clipped ones widen the standard error by `(n − 1) / (h − 1)`, `h` values being left
/// inside (Tukey & McLaughlin). The median absolute deviation of 10 values is small by chance often enough to clip
/// honest noise away: without this, ten visits of plain normal noise raised a false alarm about 100 times as often as
/// look 1 may, and bimodal noise 400 times. From 30 values on no excess was seen, and widening would only cost power
/// on heavy tails.
const WIDENED_BELOW: usize = 30;

/// Mean and spread of winsorised values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    pub count: usize,
    pub mean: f64,
    /// Standard deviation of the winsorised values.
    pub sd: f64,
    /// Standard error of the mean: `sd / √count`, widened where few values were clipped much.
    pub se: f64,
}

impl Moments {
    /// Of at least two finite values, in any order; `None` with fewer.
    ///
    /// Where more than half of the values are the same (a coarse clock, an exact counter), the median absolute
    /// deviation is zero and would clip every other value away, leaving a certainty that is not there: such values
    /// are taken as they are.
    pub fn of(values: &[f64]) -> Option<Moments> {
        let count = values.len();
        if count < 2 {
            return None;
        }
        let centre = median(values)?;
        let distances: Vec<f64> = values.iter().map(|v| (v - centre).abs()).collect();
        let reach = WINSOR_DEVIATIONS * MAD_TO_SD * median(&distances)?;
        // Sorted, so that the sum and therefore the last bit of the result do not depend on the order of the visits.
        let mut clipped: Vec<f64> = if reach > 0.0 {
            values.iter().map(|v| v.clamp(centre - reach, centre + reach)).collect()
        } else {
            values.to_vec()
        };
        clipped.sort_by(f64::total_cmp);
        let mean = clipped.iter().sum::<f64>() / count as f64;
        let squares: f64 = clipped.iter().map(|v| (v - mean).powi(2)).sum();
        let sd = (squares / (count - 1) as f64).sqrt();
        let inside = |v: &&f64| reach == 0.0 || (**v - centre).abs() <= reach;
        let widened = match values.iter().filter(inside).count() {
            kept if count < WIDENED_BELOW => (count - 1) as f64 / (kept.max(2) - 1) as f64,
            _ => 1.0,
        };
        Some(Moments { count, mean, sd, se: widened * sd / (count as f64).sqrt() })
    }
}

/// The middle value, or the mean of the two middle ones; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_even_and_nothing() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn clean_values_are_left_alone() {
        let moments = Moments::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(moments.mean, 3.0);
        assert!((moments.sd - 2.5f64.sqrt()).abs() < 1e-12);
        assert!((moments.se - (2.5f64 / 5.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn an_outlier_is_pulled_to_the_edge_not_dropped() {
        // Median 0, MAD 1: the edge is at 2.5 * 1.4826 = 3.7065.
        let moments = Moments::of(&[-2.0, -1.0, -1.0, 0.0, 1.0, 1.0, 1e9]).unwrap();
        assert!((moments.mean - (-2.0 + 3.7065) / 7.0).abs() < 1e-12, "{moments:?}");
    }

    #[test]
    fn mostly_equal_values_keep_their_spread() {
        let mut values = [0.0; 11];
        values[3] = 0.5;
        values[7] = -0.25;
        let moments = Moments::of(&values).unwrap();
        assert!(moments.se > 0.0, "a coarse clock must not look like certainty: {moments:?}");
    }

    #[test]
    fn one_value_has_no_spread() {
        assert_eq!(Moments::of(&[1.0]), None);
    }
}
