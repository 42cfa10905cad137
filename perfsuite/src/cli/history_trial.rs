//! `perfsuite history-trial`: how often change points are right, on generated histories.

use super::Answer;
use crate::history::Rule;
use crate::history::trial::{Scenario, TOLERANCE, Tally, WIDE_TOLERANCE, scenarios, tally};
use anyhow::ensure;
use std::io::{BufWriter, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is promised of the first scenario.
const F1_MIN: f64 = 0.95;
const ALARMS_MAX: f64 = 0.01;

/// Measure how often `changepoints` is right, on generated histories whose changes are known.
///
/// Prints a table as Markdown. Exit code 0: the first scenario has an F1 of .95 at least and alarms in at most 1 % of
/// the histories without a step, 1: not so.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  perfsuite history-trial --series 300
  perfsuite history-trial --generate 50 --seed 3 >history.csv 2>truth.csv   for other tools")]
pub struct HistoryTrialArgs {
    /// Histories of each scenario, with steps, and as many without
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    series: u64,
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Judge nothing: print N histories of the first scenario, and their steps on standard error
    #[arg(long, value_name = "N")]
    generate: Option<u64>,
    /// A line of JSON for each scenario
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &HistoryTrialArgs) -> anyhow::Result<Answer> {
    ensure!(args.series > 0, "--series must be more than 0");
    let scenarios = scenarios();
    if let Some(count) = args.generate {
        generate(&scenarios[0], count, args.seed)?;
        return Ok(Answer::NoChange);
    }
    let tallies = all(&scenarios, args);
    if args.json {
        for tally in &tallies {
            println!("{}", serde_json::to_string(tally)?);
        }
    } else {
        table(&tallies);
    }
    let kept = tallies.first().is_some_and(|usual| usual.f1 >= F1_MIN && usual.alarms <= ALARMS_MAX);
    Ok(if kept { Answer::NoChange } else { Answer::Change })
}

/// On all cores: scenarios do not depend on one another.
fn all(scenarios: &[Scenario], args: &HistoryTrialArgs) -> Vec<Tally> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || {
        while let Some((i, scenario)) = {
            let i = next.fetch_add(1, Ordering::Relaxed);
            scenarios.get(i).map(|scenario| (i, scenario))
        } {
            let tally = tally(scenario, &Rule::default(), args.series, args.seed);
            if let Ok(mut done) = done.lock() {
                done.push((i, tally));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, tally)| tally).collect()
}

fn table(tallies: &[Tally]) {
    println!(
        "| histories | steps | told | precision | recall | F1 | F1 within {WIDE_TOLERANCE} | at the very point | size is off by \
         | alarms | watched: ever told | ever confirmed | told after | confirmed after |"
    );
    println!("| --- |{}", " --: |".repeat(13));
    for t in tallies {
        let share = |share: f64| format!("{:.1} %", share * 100.0);
        let watched = |text: String| if t.watched > 0 { text } else { "–".into() };
        println!(
            "| {} | {} | {} | {:.3} | {:.3} | {:.3} | {:.3} | {} | {:.2} | {} | {} | {} | {} | {} |",
            t.name,
            t.steps,
            t.told,
            t.precision,
            t.recall,
            t.f1,
            t.f1_wide,
            share(t.exact as f64 / t.right.max(1) as f64),
            t.size_error,
            share(t.alarms),
            watched(share(t.watched_alarms)),
            watched(share(t.watched_confirmed)),
            watched(t.told_after.to_string()),
            watched(t.confirmed_after.to_string()),
        );
    }
    let series = tallies.first().map_or(0, |tally| tally.series);
    println!();
    println!(
        "{series} histories of each kind with steps, and {series} without. A step is found when a change is told within \
         {TOLERANCE} points of it with its sign. Alarms: the share of histories without a step of which any change is told; \
         watched: judged anew after every point."
    );
}

fn generate(scenario: &Scenario, count: u64, seed: u64) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    writeln!(out, "series,index,value")?;
    for i in 0..count {
        let made = scenario.shape.series(seed.wrapping_add(i));
        for point in &made.points {
            writeln!(out, "history-{i},{},{:.4}", point.index, point.value)?;
        }
        for (at, size) in &made.steps {
            eprintln!("history-{i},{at},{size}");
        }
    }
    out.flush()?;
    Ok(())
}
