//! The cheapest piecewise constant level under the biweight loss, exactly: R-FPOP (Fearnhead & Rigaill, "Changepoint
//! Detection in the Presence of Outliers", Journal of the American Statistical Association 114, 2019).
//!
//! For every level that the newest segment may have, the least cost of all that came before is known as a function made
//! of pieces, each a parabola. A new point adds its loss to that function; where a new segment is cheaper, the function
//! is cut off at the height of the cheapest plus the penalty.

/// Beyond so many spreads a point is an outlier and costs no more: the value of the paper.
const REACH: f64 = 3.0;

/// What a point costs that lies `distance` spreads from its level.
pub(super) fn loss(distance: f64) -> f64 {
    (distance * distance).min(REACH * REACH)
}

/// The bounds of the segments of `values`, which are in units of the spread: 0, the first point of every further
/// segment, the length. `penalty` is what a segment costs.
pub(super) fn segment(values: &[f64], penalty: f64) -> Vec<usize> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.is_empty() || !low.is_finite() || !high.is_finite() {
        return vec![0, values.len()];
    }
    // Where the newest segment of the best solution up to each point begins.
    let mut begins = Vec::with_capacity(values.len());
    let mut costs = vec![Piece { from: low, to: high, square: 0.0, linear: 0.0, fixed: 0.0, begin: 0 }];
    let mut next = Vec::new();
    for (at, value) in values.iter().enumerate() {
        for piece in &costs {
            piece.add(*value, &mut next);
        }
        let (least, begin) = least(&next);
        begins.push(begin);
        costs.clear();
        for piece in &next {
            piece.cut(least + penalty, at + 1, &mut costs);
        }
        next.clear();
        // Costs are compared, never told: kept small, they keep their precision.
        costs.iter_mut().for_each(|piece| piece.fixed -= least);
    }
    let mut bounds = vec![values.len()];
    while let Some(last) = bounds.last().filter(|last| **last > 0) {
        bounds.push(begins[last - 1]);
    }
    bounds.reverse();
    bounds
}

/// A stretch of levels, the cost of each `square * level² + linear * level + fixed`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    from: f64,
    to: f64,
    square: f64,
    linear: f64,
    fixed: f64,
    /// The first point of the newest segment.
    begin: usize,
}

impl Piece {
    fn at(&self, level: f64) -> f64 {
        (self.square * level + self.linear) * level + self.fixed
    }

    /// The least cost of this stretch.
    fn least(&self) -> f64 {
        let ends = self.at(self.from).min(self.at(self.to));
        if self.square <= 0.0 {
            return ends;
        }
        let vertex = -self.linear / (2.0 * self.square);
        if (self.from..self.to).contains(&vertex) { self.at(vertex).min(ends) } else { ends }
    }

    /// With the loss of one more point.
    fn add(&self, value: f64, to: &mut Vec<Piece>) {
        let (near, far) = (value - REACH, value + REACH);
        for (from, until, inside) in [
            (self.from, self.to.min(near), false),
            (self.from.max(near), self.to.min(far), true),
            (self.from.max(far), self.to, false),
        ] {
            // Levels in a stretch of no width are at the end of its neighbour; a series of one value has only that.
            if from < until || (from == until && self.from == self.to && inside) {
                let mut piece = Piece { from, to: until, ..*self };
                if inside {
                    piece.square += 1.0;
                    piece.linear -= 2.0 * value;
                    piece.fixed += value * value;
                } else {
                    piece.fixed += REACH * REACH;
                }
                to.push(piece);
            }
        }
    }

    /// Nowhere higher than `height`, at which a new segment begins at the point `begin`.
    fn cut(&self, height: f64, begin: usize, to: &mut Vec<Piece>) {
        let (first, second) = self.below(height);
        let fresh = |from, until| Piece { from, to: until, square: 0.0, linear: 0.0, fixed: height, begin };
        if first >= second && !(self.from == self.to && self.at(self.from) <= height) {
            return push(to, fresh(self.from, self.to));
        }
        if self.from < first {
            push(to, fresh(self.from, first));
        }
        push(to, Piece { from: first, to: second, ..*self });
        if second < self.to {
            push(to, fresh(second, self.to));
        }
    }

    /// The part of the stretch that is not above `height`; empty when the first end is not before the second one.
    fn below(&self, height: f64) -> (f64, f64) {
        if self.square <= 0.0 {
            let all = self.fixed <= height;
            return if all { (self.from, self.to) } else { (self.to, self.from) };
        }
        let middle = -self.linear / (2.0 * self.square);
        let half = middle * middle - (self.fixed - height) / self.square;
        if half <= 0.0 {
            return (self.to, self.from);
        }
        let half = half.sqrt();
        (self.from.max(middle - half), self.to.min(middle + half))
    }
}

/// Joins what begins a new segment here to a neighbour that does the same.
fn push(to: &mut Vec<Piece>, piece: Piece) {
    match to.last_mut() {
        Some(last)
            if last.begin == piece.begin
                && last.square == 0.0
                && piece.square == 0.0
                && last.fixed == piece.fixed =>
        {
            last.to = piece.to;
        }
        _ => to.push(piece),
    }
}

/// The least cost, and where the newest segment of that solution begins.
fn least(pieces: &[Piece]) -> (f64, usize) {
    let of = |piece: &Piece| (piece.least(), piece.begin);
    pieces.iter().map(of).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::generate::Shape;

    /// The same by trying every way to cut, each segment with its best level on a fine grid: for short series.
    fn brute_force(values: &[f64], penalty: f64) -> f64 {
        let grid: Vec<f64> = (-80..=80).map(|i| f64::from(i) * 0.05).collect();
        let segment = |from: usize, to: usize| {
            let cost = |level: &f64| values[from..to].iter().map(|v| loss(v - level)).sum::<f64>();
            grid.iter().map(cost).fold(f64::INFINITY, f64::min)
        };
        let mut best = vec![-penalty];
        for to in 1..=values.len() {
            let cost = (0..to).map(|from| best[from] + penalty + segment(from, to));
            best.push(cost.fold(f64::INFINITY, f64::min));
        }
        best[values.len()]
    }

    fn cost(values: &[f64], bounds: &[usize], penalty: f64) -> f64 {
        let grid: Vec<f64> = (-80..=80).map(|i| f64::from(i) * 0.05).collect();
        let segment = |pair: &[usize]| {
            let cost = |level: &f64| values[pair[0]..pair[1]].iter().map(|v| loss(v - level)).sum::<f64>();
            grid.iter().map(cost).fold(f64::INFINITY, f64::min)
        };
        bounds.windows(2).map(segment).sum::<f64>() + penalty * (bounds.len() - 2) as f64
    }

    #[test]
    fn nothing_is_cheaper() {
        for seed in 0..60 {
            let shape = Shape { points: 24, steps: 2, size: 0.03, outliers: 0.1, gap: 4, ..Shape::default() };
            let logs: Vec<f64> = shape.series(seed).points.iter().map(|p| p.value.ln()).collect();
            let values: Vec<f64> =
                logs.iter().map(|log| (log - logs[0]).clamp(-0.035, 0.035) / 0.01).collect();
            let bounds = segment(&values, 5.0);
            let (found, best) = (cost(&values, &bounds, 5.0), brute_force(&values, 5.0));
            // The grid costs both something, by at most 24 * 0.025².
            assert!(found <= best + 0.05, "seed {seed}: {found} > {best}, {bounds:?}");
        }
    }

    #[test]
    fn an_outlier_buys_no_segment_and_a_step_does() {
        let mut values = vec![0.0; 20];
        values[7] = 1e6;
        assert_eq!(segment(&values, 10.0), [0, 20]);
        values[12..].fill(5.0);
        assert_eq!(segment(&values, 10.0), [0, 12, 20]);
    }

    #[test]
    fn short_and_constant_series() {
        assert_eq!(segment(&[], 10.0), [0, 0]);
        assert_eq!(segment(&[3.0], 10.0), [0, 1]);
        assert_eq!(segment(&[3.0; 50], 10.0), [0, 50]);
    }
}
