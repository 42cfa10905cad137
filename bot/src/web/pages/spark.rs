//! Small drawings of where a series went: in a list, and alone for a README. Pure.

use super::history_list::metric;
use super::parts::clean;
use crate::db::series::Key;
use crate::format;
use crate::history::linked::Linked;
use askama::Template;
use askama::filters::HtmlSafe;

/// Characters of a benchmark's name that a README's drawing has.
const NAME_MAX_CHARS: usize = 60;
/// Units of one character, about, at the drawing's size.
const CHAR_WIDTH: usize = 7;

/// The drawing in a list, beside the same in words.
#[derive(Template)]
#[template(
    source = "<svg class=\"spark\" viewBox=\"0 0 120 24\" aria-hidden=\"true\" focusable=\"false\"><path d=\"{{ path }}\"/><circle cx=\"{{ x }}\" cy=\"{{ y }}\" r=\"2\"/></svg>",
    ext = "html"
)]
pub struct Spark {
    path: String,
    x: String,
    y: String,
}

impl HtmlSafe for Spark {}

impl Spark {
    /// `None` with fewer than two points. Places along the branch, oldest first, with what is drawn.
    pub fn of(points: &[(i64, f64)]) -> Option<Self> {
        let ((first, _), (last, _)) = (points.first()?, points.last()?);
        let low = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let high = points.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max);
        // Less than 2 % from end to end is drawn as that little.
        let middle = low / 2.0 + high / 2.0;
        let height = (high - low).max(middle.abs() * 0.02).max(f64::MIN_POSITIVE);
        let place = |(position, value): &(i64, f64)| {
            let x = 2.0 + 116.0 * (position - first) as f64 / (last - first) as f64;
            let y = 12.0 - 18.0 * (value - middle) / height;
            (format!("{x:.1}"), format!("{y:.1}"))
        };
        if points.len() < 2 || first == last {
            return None;
        }
        let places: Vec<(String, String)> = points.iter().map(place).collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x} {y}")).collect();
        let (x, y) = places.last()?.clone();
        Some(Self { path: format!("M{}", path.join("L")), x, y })
    }
}

/// The drawing as a picture of its own: it has no stylesheet, and stands on light and dark pages alike.
#[derive(Template)]
#[template(path = "pages/spark.svg", escape = "html")]
pub struct Alone {
    name: String,
    told: String,
    width: usize,
    spark: Option<Spark>,
}

impl Alone {
    pub fn of(key: &Key, reference: Option<&str>, points: &[Linked]) -> Self {
        let drawn: Vec<(i64, f64)> = points.iter().map(|point| (point.position, point.ratio.ratio)).collect();
        let name: String = clean(&key.benchmark).chars().take(NAME_MAX_CHARS).collect();
        let told = match (points.last(), reference) {
            (Some(last), Some(reference)) => format!(
                "{} {} to {}",
                metric(key).title(),
                format::change(last.ratio.ratio - 1.0),
                clean(reference).chars().take(NAME_MAX_CHARS).collect::<String>()
            ),
            _ => "not measured yet".into(),
        };
        let longest = name.chars().count().max(told.chars().count());
        Self { name, told, width: 140 + longest * CHAR_WIDTH, spark: Spark::of(&drawn) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::points::Ratio;

    #[test]
    fn a_sparkline_needs_two_points_and_stays_in_its_box() {
        assert!(Spark::of(&[]).is_none());
        assert!(Spark::of(&[(3, 1.0)]).is_none());
        for points in [vec![(1, 1.0), (2, 1.0)], vec![(1, 1.0), (5, 2.0), (9, 1e-9)]] {
            let spark = Spark::of(&points).unwrap();
            for number in spark.path.split(['M', 'L', ' ']).filter(|part| !part.is_empty()) {
                let number: f64 = number.parse().unwrap();
                assert!((0.0..=120.0).contains(&number), "{}", spark.path);
            }
        }
    }

    #[test]
    fn a_picture_says_what_it_shows() {
        let key = Key { suite: "s".into(), benchmark: "<b>/fast".into(), metric: "time".into() };
        let point = |position, ratio| Linked { position, ratio: Ratio { ratio, low: ratio, high: ratio } };
        let drawn = Alone::of(&key, Some("v1.0.0"), &[point(1, 1.0), point(2, 1.05)]).to_string();
        assert!(drawn.contains("&#60;b&#62;/fast") && drawn.contains("+5.0 % to v1.0.0"), "{drawn}");
        assert!(drawn.contains("<path"), "{drawn}");
        let none = Alone::of(&key, None, &[]).to_string();
        assert!(none.contains("not measured yet") && !none.contains("<path"), "{none}");
    }
}
