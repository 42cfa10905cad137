//! What `perfsuite calibrate` found, in words, Markdown or JSON.

use super::{Answer, Format};
use crate::calibrate::Samples;
use crate::calibrate::trial::{Answers, Calibrated, IN_TIME_S, Trial, upper_bound};
use serde::Serialize;
use std::fmt::Write;

/// Identical sides that differ by more than this, with certainty, are measured with a bias.
const BIAS_MAX: f64 = 0.003;
/// "With certainty": standard errors. Of a hundred unbiased benchmarks one is called biased in four calibrations.
const BIAS_ERRORS: f64 = 3.0;
/// A benchmark that spreads more from visit to visit is named as noisy.
const NOISY: f64 = 0.04;

/// All benchmarks, those of identical sides apart from those with a change.
#[derive(Debug, Serialize)]
pub(super) struct Calibration {
    suite_size: u32,
    budget: f64,
    same: Vec<Calibrated>,
    changed: Vec<Calibrated>,
    /// Live decisions between identical sides.
    same_live: Answers,
    changed_live: Answers,
    totals: Option<Totals>,
    failures: Vec<String>,
    notes: Vec<String>,
}

/// Of identical sides.
#[derive(Debug, Serialize)]
struct Totals {
    #[serde(flatten)]
    answers: Answers,
    /// False alarms of a decision, at most, with 95 % confidence.
    alarms_bound: f64,
    blocking_bound: f64,
    /// The same for a suite of the given size: the chance of any.
    suite_blocking_bound: f64,
    biased: Vec<String>,
    noisy: Vec<String>,
}

impl Calibration {
    pub(super) fn of(trial: &Trial, suite_size: u32, budget: f64, all: &[Samples]) -> Calibration {
        let drawn = |same: bool| -> Vec<Calibrated> {
            let of = |samples: &Samples| -> Vec<Calibrated> {
                let series = samples.series.iter();
                series.filter_map(|s| trial.of(&samples.repository, samples.relinked, s)).collect()
            };
            all.iter().filter(|samples| samples.same_sides() == same).flat_map(of).collect()
        };
        let live = |same: bool| {
            let of = all.iter().filter(|samples| samples.same_sides() == same);
            Answers::sum(of.map(|samples| trial.live(&samples.live)))
        };
        let (same, changed) = (drawn(true), drawn(false));
        let failed = |failure: &crate::model::Failure| {
            let what = failure.benchmark.as_ref().map_or(failure.suite.as_str(), |b| b.0.as_str());
            format!("{what}: {}", failure.output.lines().next().unwrap_or("failed"))
        };
        Calibration {
            suite_size,
            budget,
            totals: (!same.is_empty()).then(|| totals(&same, suite_size)),
            same,
            changed,
            same_live: live(true),
            changed_live: live(false),
            failures: all.iter().flat_map(|samples| samples.failures.iter().map(failed)).collect(),
            notes: all.iter().flat_map(|samples| samples.notes.clone()).collect(),
        }
    }

    /// False alarms beyond the budget, or a bias: a change. Nothing drawn and nothing live: could not judge.
    pub(super) fn answer(&self) -> Answer {
        let Some(totals) = &self.totals else {
            let nothing =
                self.changed.is_empty() && self.same_live.decisions.max(self.changed_live.decisions) == 0;
            return match (nothing, self.same_live.blocking) {
                (true, _) => Answer::CouldNotJudge,
                (false, 0) => Answer::NoChange,
                (false, _) => Answer::Change,
            };
        };
        let share = f64::from(totals.answers.blocking) / f64::from(totals.answers.decisions.max(1));
        let broken = share > self.budget / f64::from(self.suite_size) || !totals.biased.is_empty();
        if broken { Answer::Change } else { Answer::NoChange }
    }

    pub(super) fn print(&self, format: Format) -> anyhow::Result<()> {
        let text = match format {
            Format::Json => serde_json::to_string_pretty(self)? + "\n",
            Format::Markdown => self.words(&Markdown),
            Format::Text => self.words(&Plain),
        };
        print!("{text}");
        Ok(())
    }

    fn words(&self, table: &dyn Table) -> String {
        let mut out = String::new();
        if !self.same.is_empty() {
            let head = [
                "identical sides",
                "visits",
                "spread",
                "bias",
                "alarms",
                "blocking",
                "equal",
                "inconclusive",
                "visits to decide",
                "seconds",
            ];
            let row = |c: &Calibrated| {
                let of = |count: u32| share(count, c.answers.decisions);
                vec![
                    name(c),
                    c.visits.to_string(),
                    percent(c.spread, false),
                    change(c),
                    of(c.answers.changed()),
                    of(c.answers.blocking),
                    of(c.answers.equal),
                    of(c.answers.inconclusive),
                    format!("{:.1}", c.answers.visits_mean),
                    format!("{:.2}", c.answers.seconds_mean),
                ]
            };
            out += &table.of(&head, &self.same.iter().map(row).collect::<Vec<_>>());
        }
        if !self.changed.is_empty() {
            let found = format!("found in {IN_TIME_S:.0} s");
            let head = [
                "changed sides",
                "visits",
                "spread",
                "true change",
                "found",
                &found,
                "wrong sign",
                "equal",
                "inconclusive",
                "visits to decide",
                "seconds",
            ];
            let row = |c: &Calibrated| {
                let (right, wrong) = (c.found(), c.answers.changed() - c.found());
                let of = |count: u32| share(count, c.answers.decisions);
                vec![
                    name(c),
                    c.visits.to_string(),
                    percent(c.spread, false),
                    change(c),
                    of(right),
                    of(c.answers.in_time),
                    of(wrong),
                    of(c.answers.equal),
                    of(c.answers.inconclusive),
                    format!("{:.1}", c.answers.visits_mean),
                    format!("{:.2}", c.answers.seconds_mean),
                ]
            };
            out += &table.of(&head, &self.changed.iter().map(row).collect::<Vec<_>>());
        }
        let _ = self.sentences(&mut out);
        out
    }

    fn sentences(&self, out: &mut String) -> std::fmt::Result {
        if let Some(totals) = &self.totals {
            let all = &totals.answers;
            writeln!(
                out,
                "Identical sides, {} benchmarks: {} decisions drawn, {} called changed (at most {} of decisions, with 95 % confidence), {} of them blocking (at most {}; in a suite of {} at most {}). Mean {:.1} visits, {:.2} s a decision.",
                self.same.len(),
                all.decisions,
                all.changed(),
                percent(totals.alarms_bound, true),
                all.blocking,
                percent(totals.blocking_bound, true),
                self.suite_size,
                percent(totals.suite_blocking_bound, true),
                all.visits_mean,
                all.seconds_mean,
            )?;
            for (names, what) in [
                (&totals.biased, "biased: identical sides differ by more than 0.3 %"),
                (&totals.noisy, "noisy: visits spread by more than 4 %"),
            ] {
                if !names.is_empty() {
                    writeln!(out, "{what}: {}.", names.join(", "))?;
                }
            }
        }
        self.power(out)?;
        for (live, of) in [(&self.same_live, "identical sides"), (&self.changed_live, "changed sides")] {
            if live.decisions > 0 {
                writeln!(
                    out,
                    "Live, {of}: {} decisions, {} called changed, {} blocking, {} equal, {} inconclusive; mean {:.1} visits, {:.2} s.",
                    live.decisions,
                    live.changed(),
                    live.blocking,
                    live.equal,
                    live.inconclusive,
                    live.visits_mean,
                    live.seconds_mean,
                )?;
            }
        }
        for failure in &self.failures {
            writeln!(out, "failed: {failure}")?;
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        Ok(())
    }
}

impl Calibration {
    /// How often a real change is found, on calm benchmarks and on all.
    fn power(&self, out: &mut String) -> std::fmt::Result {
        let calm = |c: &&Calibrated| c.spread <= NOISY;
        for (which, rows) in [
            ("with visits that spread by at most 4 %", self.changed.iter().filter(calm).collect::<Vec<_>>()),
            ("in all", self.changed.iter().collect()),
        ] {
            let all = Answers::sum(rows.iter().map(|c| c.answers));
            let counted = |of: &dyn Fn(&Calibrated) -> u32| -> u32 { rows.iter().map(|c| of(c)).sum() };
            if all.decisions == 0 {
                continue;
            }
            let found = counted(&|c| c.found());
            writeln!(
                out,
                "Changed sides, {} benchmarks {which}: found in {} of {} decisions, within {IN_TIME_S:.0} s in {}; called equal in {}, of the wrong sign in {}. Mean {:.1} visits, {:.2} s a decision.",
                rows.len(),
                percent(f64::from(found) / f64::from(all.decisions), false),
                all.decisions,
                percent(f64::from(all.in_time) / f64::from(all.decisions), false),
                percent(f64::from(all.equal) / f64::from(all.decisions), true),
                percent(f64::from(all.changed() - found) / f64::from(all.decisions), true),
                all.visits_mean,
                all.seconds_mean,
            )?;
        }
        Ok(())
    }
}

fn totals(same: &[Calibrated], suite_size: u32) -> Totals {
    let answers = Answers::sum(same.iter().map(|c| c.answers));
    let blocking_bound = upper_bound(answers.blocking, answers.decisions);
    let named = |holds: &dyn Fn(&Calibrated) -> bool| -> Vec<String> {
        same.iter().filter(|c| holds(c)).map(name).collect()
    };
    Totals {
        answers,
        alarms_bound: upper_bound(answers.changed(), answers.decisions),
        blocking_bound,
        suite_blocking_bound: 1.0 - (1.0 - blocking_bound).powf(f64::from(suite_size)),
        // Code at another place may really be slower or faster: that is no bias of the measurement.
        biased: named(&|c| {
            !c.relinked && c.change.abs() > BIAS_MAX && c.change.abs() > BIAS_ERRORS * c.change_se
        }),
        noisy: named(&|c| c.spread > NOISY),
    }
}

fn name(c: &Calibrated) -> String {
    format!("{}: {}{}", c.repository, c.benchmark, if c.relinked { " (re-linked)" } else { "" })
}

fn change(c: &Calibrated) -> String {
    format!("{:+.2} ± {:.2} %", c.change * 100.0, c.change_se * 100.0)
}

fn percent(value: f64, fine: bool) -> String {
    if fine { format!("{:.3} %", value * 100.0) } else { format!("{:.1} %", value * 100.0) }
}

fn share(count: u32, of: u32) -> String {
    match count {
        0 => "0".into(),
        _ if count == of => "100 %".into(),
        _ => percent(f64::from(count) / f64::from(of), false),
    }
}

/// How rows become text.
trait Table {
    fn of(&self, head: &[&str], rows: &[Vec<String>]) -> String;
}

struct Markdown;

impl Table for Markdown {
    fn of(&self, head: &[&str], rows: &[Vec<String>]) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = head.iter().enumerate().map(|(at, _)| if at == 0 { "---".into() } else { "--:".into() });
        let mut out = line(head.iter().map(|h| (*h).to_owned()).collect()) + &line(rule.collect());
        for row in rows {
            out += &line(row.iter().map(|cell| cell.replace('|', "\\|")).collect());
        }
        out + "\n"
    }
}

struct Plain;

impl Table for Plain {
    fn of(&self, head: &[&str], rows: &[Vec<String>]) -> String {
        let width = |at: usize| {
            let cells = rows.iter().map(|row| row[at].chars().count());
            cells.chain([head[at].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let mut out = String::new();
        let heads: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
        for row in std::iter::once(&heads).chain(rows) {
            for (at, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[at] - cell.chars().count());
                let _ = if at == 0 { write!(out, "{cell}{pad}") } else { write!(out, "  {pad}{cell}") };
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        out + "\n"
    }
}
