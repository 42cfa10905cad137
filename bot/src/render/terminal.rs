//! The report for a terminal: what the comment says, in plain text, as wide as the window.
//!
//! Everything foreign is stripped of control characters, so that no name moves the cursor or colours the screen.

use super::{
    causes,
    facts::{Facts, Names},
    markdown::{tail, visible},
    words,
};
use crate::{
    format,
    judgement::{CommitJudgement, Level, Performance, Run},
    text,
};
use perfsuite::model::{Comparison, Report, Verdict};
use std::fmt::Write;

mod notes;
mod tested;

/// How the terminal shows it.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// ANSI colours. The caller knows whether it is a terminal and whether `NO_COLOR` is set.
    pub colours: bool,
    /// Columns of the window.
    pub width: usize,
}

impl Default for Style {
    /// What a pipe gets.
    fn default() -> Self {
        Self { colours: false, width: 120 }
    }
}

/// Rows of the table; the JSON has all.
const ROWS_MAX: usize = 500;
const COMMITS_MAX: usize = 100;
/// Bytes of the end of a program's output.
const OUTPUT_MAX_BYTES: usize = 4_000;
/// Narrower windows get longer lines than they can hold.
const WIDTH_MIN: usize = 60;

/// The whole report; ends with a line end.
pub fn terminal(run: &Run, style: &Style) -> String {
    let mut screen = Screen { out: String::new(), style: *style };
    screen.line(&format!("{}  {}..{}", visible(&run.repository), run.base.short(), run.head.short()));
    if let Some(error) = &run.config_error {
        let place = format!("{}:{}:{}", visible(&error.path), error.line, error.column);
        screen.blank();
        screen.title(Colour::Red, "Configuration", &format!("{place}: {}", visible(&error.message)));
    }
    screen.commits(run);
    screen.tests(run);
    screen.performance(&run.performance);
    screen.out
}

#[derive(Clone, Copy)]
enum Colour {
    Red,
    Green,
    Yellow,
    Dim,
    Plain,
}

struct Screen {
    out: String,
    style: Style,
}

impl Screen {
    fn line(&mut self, line: &str) {
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    fn blank(&mut self) {
        self.out.push('\n');
    }

    fn paint(&self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Red => "31",
            Colour::Green => "32",
            Colour::Yellow => "33",
            Colour::Dim => "2",
            Colour::Plain => return text.into(),
        };
        if self.style.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.into() }
    }

    fn title(&mut self, colour: Colour, name: &str, words: &str) {
        let words = self.paint(colour, words);
        self.line(&format!("{name}: {words}"));
    }

    /// A sentence broken at spaces, with `indent` in front of every line.
    fn wrapped(&mut self, indent: &str, sentence: &str) {
        let width = self.style.width.max(WIDTH_MIN);
        let mut line = indent.to_owned();
        let mut columns = indent.len();
        for word in sentence.split(' ') {
            let length = text::graphemes(word);
            if columns > indent.len() && columns + 1 + length > width {
                self.line(&line);
                line = indent.to_owned();
                columns = indent.len();
            }
            if columns > indent.len() {
                line.push(' ');
                columns += 1;
            }
            line.push_str(word);
            columns += length;
        }
        self.line(&line);
    }

    fn commits(&mut self, run: &Run) {
        let (total, clean) = (run.commits.commits.len(), run.commits.clean());
        if total == 0 {
            return;
        }
        self.blank();
        let (colour, words) = match run.commits.worst() {
            Level::Off => (Colour::Green, format!("{clean} of {total} follow the convention")),
            Level::Warn => (Colour::Yellow, format!("{} of {total} could be better", total - clean)),
            Level::Error => (Colour::Red, format!("{} of {total} to reword", total - clean)),
        };
        self.title(colour, "Commits", &words);
        for claim in &run.commits.claims {
            self.line(&format!("  note: {}", visible(&claim.message)));
        }
        let offending =
            run.commits.commits.iter().filter(|c| c.findings.iter().any(|f| f.level >= Level::Warn));
        for commit in offending.clone().take(COMMITS_MAX) {
            self.commit(commit);
        }
        if let Some(more) = offending.count().checked_sub(COMMITS_MAX).filter(|more| *more > 0) {
            self.line(&format!("  and {more} more"));
        }
    }

    fn commit(&mut self, commit: &CommitJudgement) {
        self.line(&format!("  {} {}", commit.sha.short(), visible(&commit.header)));
        for finding in &commit.findings {
            let (colour, word) = match finding.level {
                Level::Error => (Colour::Red, "error"),
                Level::Warn | Level::Off => (Colour::Yellow, "warning"),
            };
            let word = self.paint(colour, word);
            let (line, column) = (finding.line, finding.column);
            self.line(&format!(
                "    {word} {line}:{column} {}: {}",
                visible(&finding.rule),
                visible(&finding.message)
            ));
        }
        if let Some(line) = commit.mended_header() {
            self.line(&format!("    write: {}", visible(line)));
        }
    }

    fn performance(&mut self, performance: &Performance) {
        self.blank();
        let name = "Performance";
        match performance {
            Performance::Done { report } => self.report(report),
            Performance::Queued { position, .. } => {
                self.title(Colour::Yellow, name, &format!("waiting for a runner, at position {position}"));
            }
            Performance::Running { text, done, total } => {
                let count = if *total > 0 { format!(" ({done} of {total})") } else { String::new() };
                self.title(Colour::Yellow, name, &format!("{}{count}", visible(text)));
            }
            Performance::Failed { message, output } => {
                self.title(Colour::Red, name, &format!("could not be measured: {}", visible(message)));
                self.output(output);
            }
            Performance::NeedsApproval { head } => {
                self.title(
                    Colour::Yellow,
                    name,
                    &format!("{head} comes from a fork and was not allowed to run"),
                );
            }
            Performance::Skipped { reason } => {
                self.title(Colour::Plain, name, &format!("not measured: {}", visible(reason)));
            }
            Performance::Cancelled { by } => {
                self.title(Colour::Yellow, name, &format!("cancelled by {}", visible(by)));
            }
        }
    }

    fn report(&mut self, report: &Report) {
        if let Some(build) = report.broken_build() {
            let side = build.side.as_str();
            self.title(
                Colour::Red,
                "Performance",
                &format!("the {side} does not build, so nothing was measured"),
            );
            self.output(build.error.as_deref().unwrap_or_default());
            return;
        }
        let (facts, names) = (Facts::of(report), Names::of(report));
        let (colour, words) = headline(report, &facts, &names);
        self.title(colour, "Performance", &words);
        self.table(&facts, &names);
        for failure in &report.failures {
            let name = failure.benchmark.as_ref().map_or(&failure.suite, |benchmark| &benchmark.0);
            let failed = self.paint(Colour::Red, "failed");
            self.line(&format!(
                "  {failed} {} {}",
                visible(name),
                words::failure(failure.reason, failure.side)
            ));
            self.output(&failure.output);
        }
        self.blank();
        for profile in &report.profiles {
            let name = names.name(&profile.suite, &profile.benchmark.0);
            self.wrapped("", &format!("{} is {}", visible(&name), visible(&causes::told(profile))));
        }
        for note in notes::notes(report, &facts, &names) {
            self.wrapped("", &note);
        }
    }

    fn output(&mut self, output: &str) {
        for line in tail(output, OUTPUT_MAX_BYTES).lines() {
            let line = self.paint(Colour::Dim, line);
            self.line(&format!("    | {line}"));
        }
    }

    fn table(&mut self, facts: &Facts<'_>, names: &Names<'_>) {
        let rows: Vec<&Comparison> = facts.all_judged().chain(facts.shown.iter().copied()).collect();
        if rows.is_empty() {
            return;
        }
        let (cells, widths) = self.fitting(&rows[..rows.len().min(ROWS_MAX)], names);
        self.blank();
        for (index, cell) in cells.iter().enumerate() {
            let mut line = String::from(" ");
            for (column, (content, width)) in cell.iter().zip(&widths).enumerate() {
                let content = text::cut(content, *width);
                let space = " ".repeat(width.saturating_sub(text::graphemes(&content)));
                let _ = match column {
                    2 | 3 if cell.len() == 6 => write!(line, " {space}{content} "),
                    _ => write!(line, " {content}{space} "),
                };
            }
            let colour = match index.checked_sub(1).map(|row| rows[row]) {
                None => Colour::Dim,
                Some(row)
                    if facts.shown.iter().chain(&facts.suspects).any(|other| std::ptr::eq(*other, row)) =>
                {
                    Colour::Dim
                }
                Some(row) => match row.verdict {
                    Verdict::Slower => Colour::Red,
                    Verdict::Faster => Colour::Green,
                    Verdict::Inconclusive => Colour::Yellow,
                    Verdict::Equal => Colour::Plain,
                },
            };
            let line = self.paint(colour, line.trim_end());
            self.line(&line);
        }
        if rows.len() > ROWS_MAX {
            self.line(&format!("  and {} more rows", rows.len() - ROWS_MAX));
        }
    }

    /// The fullest table that fits the window: names give way first, then the verdict's bound, then both values.
    fn fitting(&self, rows: &[&Comparison], names: &Names<'_>) -> (Vec<Vec<String>>, Vec<usize>) {
        const NAME_MIN: usize = 16;
        let window = self.style.width.max(WIDTH_MIN);
        let mut table = (Vec::new(), Vec::new());
        for detail in [Detail::Full, Detail::ShortVerdict, Detail::ChangeOnly] {
            let mut cells = vec![
                detail.of(["benchmark", "metric", "base", "head", "change (95 % CI)", ""].map(str::to_owned)),
            ];
            cells.extend(rows.iter().map(|row| detail.of(row_cells(row, names, detail))));
            let widest =
                |column: usize| cells.iter().map(|row| text::graphemes(&row[column])).max().unwrap_or(0);
            let mut widths: Vec<usize> = (0..cells[0].len()).map(widest).collect();
            let total = widths.iter().sum::<usize>() + 2 * widths.len();
            let over = total.saturating_sub(window);
            let name = widths[0].saturating_sub(over).max(NAME_MIN.min(widths[0]));
            let fits = over <= widths[0] - name;
            widths[0] = name;
            table = (cells, widths);
            if fits {
                break;
            }
        }
        table
    }
}

/// How much of a row is shown.
#[derive(Clone, Copy, PartialEq)]
enum Detail {
    Full,
    ShortVerdict,
    ChangeOnly,
}

impl Detail {
    fn of(self, cells: [String; 6]) -> Vec<String> {
        let kept = cells
            .into_iter()
            .enumerate()
            .filter(|(at, _)| self != Detail::ChangeOnly || !matches!(at, 2 | 3));
        kept.map(|(_, cell)| cell).collect()
    }
}

fn row_cells(row: &Comparison, names: &Names<'_>, detail: Detail) -> [String; 6] {
    /// Longer names are nobody's intention.
    const NAME_MAX_GRAPHEMES: usize = 120;
    [
        text::cut(&visible(&names.name(&row.suite, &row.benchmark.0)), NAME_MAX_GRAPHEMES),
        row.metric.title().into(),
        format::value(row.metric, row.base),
        format::value(row.metric, row.head),
        format!("{} ({})", format::change(row.estimate), words::interval(row, "")),
        match (detail, words::verdict(row).1) {
            (Detail::Full, word) => word,
            (_, word) if row.verdict == Verdict::Equal => {
                word.split(' ').next().unwrap_or_default().to_owned()
            }
            (_, word) => word.replace("perhaps only ", ""),
        },
    ]
}

fn headline(report: &Report, facts: &Facts<'_>, names: &Names<'_>) -> (Colour, String) {
    let first = |rows: &[&Comparison]| {
        let row = rows[0];
        let more = if rows.len() > 1 { format!(", and {} more", rows.len() - 1) } else { String::new() };
        format!(
            "{} {} {} ({}){more}",
            text::cut(&visible(&names.name(&row.suite, &row.benchmark.0)), 80),
            row.metric.title(),
            format::change(row.estimate),
            words::confidence(row)
        )
    };
    let suspects: Vec<&Comparison> = facts.slower_suspects().collect();
    if !facts.blocking.is_empty() {
        (Colour::Red, format!("slower: {}", first(&facts.blocking)))
    } else if !facts.advised.is_empty() {
        (Colour::Yellow, format!("slower, not blocking: {}", first(&facts.advised)))
    } else if !report.failures.is_empty() {
        (
            Colour::Red,
            format!(
                "{} not measured",
                format::count(report.failures.len(), "benchmark was", "benchmarks were")
            ),
        )
    } else if !suspects.is_empty() {
        (Colour::Yellow, format!("slower, perhaps only by code layout: {}", first(&suspects)))
    } else if !facts.faster.is_empty() {
        (Colour::Green, format!("faster: {}", first(&facts.faster)))
    } else if facts.judged() == 0 && report.has_same_code() {
        (Colour::Green, "cannot have changed: both sides run identical machine code".into())
    } else if facts.judged() == 0 {
        (Colour::Plain, "nothing to compare".into())
    } else if facts.inconclusive.len() == facts.judged() {
        (Colour::Yellow, "no verdict: every comparison is inconclusive".into())
    } else if facts.inconclusive.is_empty() {
        (
            Colour::Green,
            format!("no change: {} equal", format::count(facts.equal.len(), "comparison", "comparisons")),
        )
    } else {
        let (open, judged) = (facts.inconclusive.len(), facts.judged());
        (Colour::Yellow, format!("no change found; {open} of {judged} comparisons inconclusive"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::fixtures::{self, hostile};

    const WIDE: Style = Style { colours: false, width: 120 };

    #[test]
    fn every_state() {
        for (name, run) in fixtures::states() {
            insta::assert_snapshot!(name, terminal(&run, &WIDE));
        }
    }

    #[test]
    fn colours_only_when_asked_for() {
        let run = fixtures::done(fixtures::regressed());
        let coloured = terminal(&run, &Style { colours: true, ..WIDE });
        assert!(coloured.contains("\u{1b}[31m") && coloured.contains("\u{1b}[32m"));
        let plain = terminal(&run, &WIDE);
        assert!(!plain.contains('\u{1b}'));
        let stripped = ["31", "32", "33", "2", "0"]
            .iter()
            .fold(coloured, |text, c| text.replace(&format!("\u{1b}[{c}m"), ""));
        assert_eq!(stripped, plain);
    }

    #[test]
    fn a_narrow_window_loses_what_matters_least() {
        let mut report = fixtures::regressed();
        report.profiles.clear();
        report.rows[0].benchmark = serde_json::from_value("a/".repeat(60).into()).unwrap();
        let run = fixtures::done(report);
        for width in [80, 100, 120, 160] {
            let text = terminal(&run, &Style { width, ..WIDE });
            let table: Vec<&str> =
                text.lines().filter(|line| line.starts_with("  ") && line.contains(" % (")).collect();
            assert_eq!(table.len(), 11, "{text}");
            assert!(table.iter().all(|line| text::graphemes(line) <= width), "{width}\n{text}");
            assert!(table[0].contains("+32.2 % (+31.0 to +33.4)") && table[0].contains("slower"), "{text}");
        }
        insta::assert_snapshot!("narrow", terminal(&run, &Style { width: 80, ..WIDE }));
    }

    #[test]
    fn foreign_text_does_not_reach_the_terminal_raw() {
        for foreign in ["\u{1b}[2Jx", "a\rb\nc", "\u{202e}x", "\u{7}\u{9b}31m"] {
            let text = terminal(&hostile(foreign), &WIDE);
            let raw = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(raw, None, "{foreign:?}");
        }
    }
}
