//! Series of a file with the columns `series,index,value`, a line at a time: what cannot be read is named by its line.

use super::Point;
use anyhow::{Context, bail, ensure};
use std::collections::HashMap;
use std::io::{BufRead, Read};

/// A row is a name and two numbers; one of this length is no row, and is not kept in memory.
const LINE_MAX_BYTES: u64 = 16 << 10;
/// A hundred benchmarks, each with every commit of thirty years: 160 MB of points.
const POINTS_MAX: usize = 10_000_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub name: String,
    /// In order of their indexes.
    pub points: Vec<Point>,
    /// Rows without a value that is a positive number: gaps.
    pub left_out: usize,
    last: Option<(i64, usize)>,
}

/// The series in order of their first row; rows of several may be mixed.
///
/// A row whose value is empty, not a number, infinite, 0 or negative is a gap: such a run failed. Whatever else is not of
/// the form is an error, since nothing tells what else is wrong with the file.
pub fn series(mut from: impl BufRead) -> anyhow::Result<Vec<Series>> {
    let mut all: Vec<Series> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut points = 0;
    let mut row = Vec::new();
    for number in 1.. {
        row.clear();
        let read = from.by_ref().take(LINE_MAX_BYTES + 1).read_until(b'\n', &mut row);
        if read.with_context(|| format!("line {number}: cannot be read"))? == 0 {
            break;
        }
        ensure!(row.len() as u64 <= LINE_MAX_BYTES, "line {number}: longer than {LINE_MAX_BYTES} bytes");
        let Ok(text) = std::str::from_utf8(&row) else { bail!("line {number}: not UTF-8") };
        let text = text.trim_start_matches('\u{feff}').trim_end();
        if text.trim().is_empty() {
            continue;
        }
        // From the right, since a series' name may hold commas.
        let columns: Vec<&str> = text.rsplitn(3, ',').map(str::trim).collect();
        let [value, index, name] = columns.as_slice() else {
            bail!("line {number}: not of the form series,index,value");
        };
        if number == 1 && index.eq_ignore_ascii_case("index") {
            continue;
        }
        let name = unquoted(name);
        ensure!(!name.is_empty(), "line {number}: the series has no name");
        let Some(whole) = whole(index) else {
            bail!("line {number}: the index {index:?} is no whole number")
        };
        let Some(value) = number_of(value) else { bail!("line {number}: the value {value:?} is no number") };
        let place = *places.entry(name).or_insert_with_key(|name| {
            all.push(Series { name: name.clone(), ..Series::default() });
            all.len() - 1
        });
        let series = &mut all[place];
        if let Some((last, line)) = series.last.filter(|(last, _)| *last >= whole) {
            bail!(
                "line {number}: index {whole} of series {} does not come after {last} of line {line}; the rows of a \
                 series must be in order, each index once",
                series.name
            );
        }
        series.last = Some((whole, number));
        if value.is_finite() && value > 0.0 {
            points += 1;
            ensure!(points <= POINTS_MAX, "line {number}: more than {POINTS_MAX} points");
            series.points.push(Point { index: whole, value });
        } else {
            series.left_out += 1;
        }
    }
    ensure!(!all.is_empty(), "there are no measurements");
    Ok(all)
}

/// 12, and also 12.0, which spreadsheets make of it.
fn whole(text: &str) -> Option<i64> {
    if let Ok(whole) = text.parse() {
        return Some(whole);
    }
    // Beyond, neighbouring whole numbers are the same floating-point number.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let float = text.parse::<f64>().ok()?;
    (float.fract() == 0.0 && float.abs() <= EXACT_MAX).then_some(float as i64)
}

/// Not-a-number for what other tools write where there is no value.
fn number_of(text: &str) -> Option<f64> {
    let absent = ["", "na", "n/a", "null", "none", "nil", "-"];
    if absent.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Some(f64::NAN);
    }
    text.parse().ok()
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Vec<Series>> {
        series(text.as_bytes())
    }

    #[test]
    fn series_may_be_mixed_and_have_gaps() {
        let text = "\u{feff}series,index,value\r\na,1,10\r\n\"b, \"\"c\"\"\",-5,1e3\r\na,3.0,11.5\n\na,4,NaN\na,7,\na,9,0\n\
                    a,10,-2\na,11,inf\na,12,null\na,20,12";
        let all = read(text).unwrap();
        let names: Vec<&str> = all.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["a", "b, \"c\""]);
        let indexes: Vec<i64> = all[0].points.iter().map(|point| point.index).collect();
        assert_eq!((indexes, all[0].left_out), (vec![1, 3, 20], 6));
        assert_eq!(all[1].points, [Point { index: -5, value: 1000.0 }]);
        assert_eq!(read("a,1,10").unwrap()[0].points.len(), 1, "a file without a header");
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_line() {
        let long = format!("a,1,2\n{}", "x".repeat(20_000));
        for (text, expected) in [
            ("", "there are no measurements"),
            ("series,index,value\n", "there are no measurements"),
            ("a,1,2\nb\n", "line 2: not of the form series,index,value"),
            ("series,index,value\na,x,2\n", "line 2: the index \"x\" is no whole number"),
            ("a,1.5,2\n", "line 1: the index \"1.5\" is no whole number"),
            ("a,1,2\na,2,fast\n", "line 2: the value \"fast\" is no number"),
            (",1,2\n", "line 1: the series has no name"),
            (long.as_str(), "line 2: longer than 16384 bytes"),
            (
                "a,1,2\nb,1,2\na,1,3\n",
                "line 3: index 1 of series a does not come after 1 of line 1; the rows of a series must be in order, \
                 each index once",
            ),
            (
                "a,1,2\na,9,\na,8,3\n",
                "line 3: index 8 of series a does not come after 9 of line 2; the rows of a series must be in order, \
                 each index once",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), expected);
        }
        assert_eq!(series(&b"a,1,2\n\xff,1,2\n"[..]).unwrap_err().to_string(), "line 2: not UTF-8");
    }
}
