//! Shares, with Wilson's interval: the one that holds for few and for shares near none and all.

use super::Estimate;

/// Of the normal distribution, for 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// `part` of `all`; `None` where there is nothing.
pub fn share(part: usize, all: usize) -> Option<Estimate> {
    if all == 0 || part > all {
        return None;
    }
    let (n, p) = (all as f64, part as f64 / all as f64);
    let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Estimate {
        value: p,
        low: Some((middle - half).clamp(0.0, p)),
        high: Some((middle + half).clamp(p, 1.0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilsons_interval() {
        let check = |part, all, low: f64, high: f64| {
            let share = share(part, all).unwrap();
            let (l, h) = (share.low.unwrap(), share.high.unwrap());
            assert!((l - low).abs() < 0.001 && (h - high).abs() < 0.001, "{part}/{all}: {l} to {h}");
        };
        check(8, 10, 0.490, 0.943);
        check(0, 10, 0.0, 0.278);
        check(10, 10, 0.722, 1.0);
        check(81, 263, 0.255, 0.366);
        assert_eq!(share(0, 0), None);
        assert_eq!(share(2, 1), None);
    }
}
