//! `perfsuite changepoints`: where along a history of measurements its level changed.

use super::Answer;
use super::text::percent;
use crate::history::read::{Series, series};
use crate::history::{Rule, State, change_points};
use anyhow::{Context, ensure};
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Find where a benchmark's history changed its level.
///
/// FILE has the columns series,index,value, with or without that header: a benchmark's name, a commit's place in the
/// history, and a time, count or ratio; rows of a series in order of their index. Rows without a positive value are gaps.
/// Prints one JSON object a line for each change: its series, the index of the first point after it, its size as a
/// fraction, and its state: provisional while fewer than 8 points came after it, then confirmed. Exit code 0: judged,
/// whether or not there are changes; 2: FILE cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  perfsuite changepoints history.csv
  perfsuite changepoints --format text history.csv
  cut -d, -f1,2,5 nightly.csv | perfsuite changepoints -

  $ perfsuite changepoints history.csv
  {\"series\":\"route/match\",\"index\":120,\"size\":0.0301,\"state\":\"confirmed\"}")]
pub struct ChangepointsArgs {
    /// The measurements; `-` reads standard input
    file: PathBuf,
    /// Changes smaller than this fraction are not told
    #[arg(long, value_name = "FRACTION", default_value_t = Rule::default().size_min)]
    min_size: f64,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    #[default]
    Json,
    Text,
}

#[derive(Serialize)]
struct Line<'a> {
    series: &'a str,
    index: i64,
    size: f64,
    state: State,
}

pub(super) fn run(args: &ChangepointsArgs) -> anyhow::Result<Answer> {
    ensure!(
        args.min_size >= 0.0 && args.min_size.is_finite(),
        "--min-size is a fraction, such as 0.01 for 1 %"
    );
    let rule = Rule { size_min: args.min_size, ..Rule::default() };
    let all = read(&args.file)?;
    for gaps in all.iter().filter(|series| series.left_out > 0) {
        eprintln!(
            "perfsuite: series {}: {} rows without a positive value were left out",
            gaps.name, gaps.left_out
        );
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    print(&all, &rule, args.format, &mut out).context("cannot write")?;
    Ok(Answer::NoChange)
}

fn print(all: &[Series], rule: &Rule, format: Format, out: &mut impl Write) -> anyhow::Result<()> {
    for series in all {
        let changes = change_points(&series.points, rule);
        let name = &series.name;
        if changes.is_empty() && format == Format::Text {
            writeln!(out, "{name}: no change in {} points", series.points.len())?;
        }
        for change in changes {
            let line = Line { series: name, index: change.index, size: change.size, state: change.state };
            match (format, change.state) {
                (Format::Json, _) => writeln!(out, "{}", serde_json::to_string(&line)?)?,
                (_, State::Confirmed) => {
                    writeln!(out, "{name}: {} from {} on", percent(change.size), change.index)?;
                }
                (_, State::Provisional) => writeln!(
                    out,
                    "{name}: {} from {} on, provisionally: few points came after it",
                    percent(change.size),
                    change.index
                )?,
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// The lines that are printed about a file's text, where it can be read.
#[cfg(any(test, fuzzing))]
pub(super) fn told(text: &[u8]) -> Option<String> {
    let all = series(text).ok()?;
    let mut out = Vec::new();
    print(&all, &Rule::default(), Format::Json, &mut out).ok()?;
    String::from_utf8(out).ok()
}

fn read(file: &Path) -> anyhow::Result<Vec<Series>> {
    let from: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file).with_context(|| format!("cannot open {}", file.display()))?))
    };
    series(from).with_context(|| format!("cannot read {}", file.display()))
}
