//! `perfsuite judge`: the verdict on ratios that another tool measured.

use super::Answer;
use crate::model::Verdict;
use crate::verdict::sample::median;
use crate::verdict::sequential::VISITS_MIN;
use crate::verdict::{Decision, Judged, Rule, judge_ratios};
use anyhow::{Context, bail, ensure};
use serde::Serialize;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A million visits of 30 pairs; read whole.
const FILE_MAX_BYTES: u64 = 1 << 30;

/// Judge measured pairs as if they were coming in live.
///
/// FILE has the columns benchmark,visit,pair,base_ns,head_ns in order of measurement, with or without that header.
/// A visit's value is the median over its pairs of ln(head / base). Prints one JSON object a line; exit code 0: no
/// change, 1: some change, 2: could not judge.
#[derive(Debug, clap::Args)]
pub struct JudgeArgs {
    /// Benchmark-metric pairs that share the budget (at least as many as FILE has benchmarks are counted)
    #[arg(long, default_value_t = 1)]
    suite_size: u32,
    /// False alarms allowed per run, as a probability
    #[arg(long, default_value_t = 0.01, value_parser = probability)]
    budget: f64,
    /// The measurements; `-` reads standard input
    file: PathBuf,
}

#[derive(Debug, PartialEq, Serialize)]
struct Line<'a> {
    benchmark: &'a str,
    verdict: Verdict,
    estimate: f64,
    low: f64,
    high: f64,
    visits: usize,
    smallest_visible: f64,
}

pub(super) fn run(args: &JudgeArgs) -> anyhow::Result<Answer> {
    let text = read(&args.file)?;
    let (lines, answer) = judge(&text, args.suite_size, args.budget)?;
    for line in lines {
        println!("{line}");
    }
    Ok(answer)
}

/// The answer's lines, and what they amount to.
pub(super) fn judge(text: &str, suite_size: u32, budget: f64) -> anyhow::Result<(Vec<String>, Answer)> {
    let measured = parse(text)?;
    ensure!(!measured.is_empty(), "there are no measurements");
    let rule = Rule::new(budget, suite_size);
    let mut answer = Answer::NoChange;
    let mut lines = Vec::new();
    for benchmark in &measured {
        let ratios: Vec<f64> = benchmark.visits.iter().filter_map(|pairs| median(pairs)).collect();
        let judged = judge_ratios(&rule, &ratios);
        let verdict = verdict(&judged);
        answer = match (answer, verdict) {
            (Answer::Change, _) | (_, Verdict::Slower | Verdict::Faster) => Answer::Change,
            _ if ratios.len() < VISITS_MIN => Answer::CouldNotJudge,
            _ => answer,
        };
        let line = Line {
            benchmark: &benchmark.name,
            verdict,
            estimate: judged.estimate(),
            low: judged.low(),
            high: judged.high(),
            visits: judged.visits,
            smallest_visible: judged.smallest_visible(),
        };
        lines.push(serde_json::to_string(&line)?);
    }
    Ok((lines, answer))
}

fn verdict(judged: &Judged) -> Verdict {
    match judged.decision {
        Decision::Changed if judged.mean > 0.0 => Verdict::Slower,
        Decision::Changed => Verdict::Faster,
        Decision::Equal => Verdict::Equal,
        Decision::Inconclusive | Decision::Go => Verdict::Inconclusive,
    }
}

/// One benchmark's visits in order of measurement, each the log-ratios of its usable pairs.
struct Measured {
    name: String,
    visits: Vec<Vec<f64>>,
}

/// Pairs without a usable ratio (zero, negative, missing, not a number) are left out, and so is a visit without any.
/// A line that is not of five columns is an error: nothing tells what else is wrong.
fn parse(text: &str) -> anyhow::Result<Vec<Measured>> {
    let mut measured: Vec<Measured> = Vec::new();
    let mut benchmarks: HashMap<String, usize> = HashMap::new();
    let mut visits: HashMap<(usize, String), usize> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start_matches('\u{feff}').trim_end_matches('\r');
        if line.trim().is_empty() {
            continue;
        }
        // From the right, since a benchmark's name may hold commas.
        let columns: Vec<&str> = line.rsplitn(5, ',').map(str::trim).collect();
        let [head, base, _pair, visit, name] = columns.as_slice() else {
            bail!("line {}: not of the form benchmark,visit,pair,base_ns,head_ns", number + 1);
        };
        if number == 0 && *name == "benchmark" && *base == "base_ns" {
            continue;
        }
        ensure!(!name.is_empty() && !visit.is_empty(), "line {}: no benchmark or no visit", number + 1);
        let name = unquoted(name);
        let at = *benchmarks.entry(name.clone()).or_insert_with(|| {
            measured.push(Measured { name, visits: vec![] });
            measured.len() - 1
        });
        let all = &mut measured[at].visits;
        let visit = *visits.entry((at, (*visit).to_owned())).or_insert_with(|| {
            all.push(vec![]);
            all.len() - 1
        });
        all[visit].extend(ratio(base, head));
    }
    Ok(measured)
}

fn ratio(base: &str, head: &str) -> Option<f64> {
    let usable = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.0);
    Some((usable(head)? / usable(base)?).ln()).filter(|ratio| ratio.is_finite())
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(FILE_MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        let open = std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
        open.take(FILE_MAX_BYTES + 1).read_to_string(&mut text)
    };
    let bytes = read.with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(bytes as u64 <= FILE_MAX_BYTES, "{} is larger than {FILE_MAX_BYTES} bytes", file.display());
    Ok(text)
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value < 1.0 => Ok(value),
        _ => Err("a probability between 0 and 1, such as 0.01 for one run in a hundred".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of one benchmark: `visits` visits of three pairs around `ratio`.
    fn rows(name: &str, visits: usize, ratio: f64) -> String {
        let mut text = String::new();
        for visit in 0..visits {
            for pair in 0..3 {
                let head = 100.0 * ratio * (1.0 + 0.001 * ((visit + pair) % 4) as f64);
                text.push_str(&format!("{name},{visit},{pair},100,{head}\n"));
            }
        }
        text
    }

    fn judged(text: &str) -> (Vec<serde_json::Value>, Answer) {
        let (lines, answer) = judge(text, 100, 0.01).unwrap();
        (lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect(), answer)
    }

    #[test]
    fn three_answers_and_their_exit() {
        let text = format!(
            "benchmark,visit,pair,base_ns,head_ns\n{}{}{}",
            rows("a/slow", 40, 1.2),
            rows("b, with a comma", 40, 1.0),
            rows("c/few", 3, 2.0)
        );
        let (lines, answer) = judged(&text);
        let verdicts: Vec<_> =
            lines.iter().map(|l| (l["benchmark"].as_str(), l["verdict"].as_str())).collect();
        assert_eq!(
            verdicts,
            [
                (Some("a/slow"), Some("slower")),
                (Some("b, with a comma"), Some("equal")),
                (Some("c/few"), Some("inconclusive"))
            ]
        );
        assert_eq!(answer, Answer::Change);
        let slow = &lines[0];
        assert_eq!(slow["visits"], 10, "stops at the first look");
        assert!((slow["estimate"].as_f64().unwrap() - 0.2).abs() < 0.01);
        assert!(slow["low"].as_f64() < slow["estimate"].as_f64());
        let keys: Vec<_> = slow.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys.len(), 7, "{keys:?}");
    }

    #[test]
    fn few_visits_cannot_be_judged() {
        let (lines, answer) = judged(&rows("few", 9, 3.0));
        assert_eq!(lines[0]["verdict"], "inconclusive");
        assert_eq!(answer, Answer::CouldNotJudge);
        assert_eq!(judged(&rows("enough", 10, 1.0)).1, Answer::NoChange);
    }

    #[test]
    fn unusable_pairs_are_left_out() {
        let mut text = rows("a", 12, 1.2);
        for bad in [
            "a,x1,0,0,5\n",
            "a,x2,0,-1,5\n",
            "a,x3,0,NaN,5\n",
            "a,x4,0,5,\n",
            "a,x5,0,inf,5\n",
            "a,3,9,0,1\n",
        ] {
            text.insert_str(0, bad);
        }
        let (lines, _) = judged(&text);
        assert_eq!(lines[0]["verdict"], "slower");
        assert_eq!(lines[0]["visits"], 10);
        assert_eq!(judged("a,1,1,0,0\n").0[0]["visits"], 0);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (text, expected) in [
            ("", "there are no measurements"),
            ("benchmark,visit,pair,base_ns,head_ns\n", "there are no measurements"),
            ("a,1,2\n", "line 1: not of the form benchmark,visit,pair,base_ns,head_ns"),
            (",1,2,3,4\n", "line 1: no benchmark or no visit"),
        ] {
            assert_eq!(judge(text, 1, 0.01).unwrap_err().to_string(), expected);
        }
    }
}
