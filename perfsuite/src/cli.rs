//! The command line of `perfsuite`, which `paceline perfsuite` is too.

mod bisect;
mod calibrate;
mod calibration;
mod changepoints;
mod compare;
mod history_trial;
mod judge;
mod load;
mod markdown;
mod profile;
mod report;
mod runner;
mod scenario;
mod settings;
mod text;

use crate::load::{round, upstream};
use crate::suite::command::exec_when_told;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Measures two commits against each other and says what changed.
#[derive(Debug, Parser)]
#[command(name = "perfsuite", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bisect(bisect::BisectArgs),
    Calibrate(calibrate::CalibrateArgs),
    Changepoints(changepoints::ChangepointsArgs),
    Compare(compare::CompareArgs),
    #[command(hide = true)]
    HistoryTrial(history_trial::HistoryTrialArgs),
    /// Read a line, then become a command: so that who started it can watch it from its first instruction on.
    #[command(hide = true)]
    ExecWhenTold {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    Judge(judge::JudgeArgs),
    Load(load::LoadArgs),
    Profile(profile::ProfileArgs),
    Report(report::ReportArgs),
    Runner(crate::runner::RunnerArgs),
    Upstream(upstream::UpstreamArgs),
    /// Play one round of a load scenario: its plan on stdin, its outcome on stdout, a line of JSON each.
    #[command(hide = true)]
    LoadRound,
}

/// The lines that `judge` prints about a file's text, where it can be read.
#[cfg(any(test, fuzzing))]
pub(crate) fn judged(text: &str) -> Option<Vec<String>> {
    judge::judge(text, 10, 0.01).ok().map(|(lines, _)| lines)
}

/// The lines that `changepoints` prints about a file's text, where it can be read.
#[cfg(any(test, fuzzing))]
pub(crate) fn change_points_told(text: &[u8]) -> Option<String> {
    changepoints::told(text)
}

/// What a command found, as its exit code: 0, 1, 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    NoChange,
    Change,
    CouldNotJudge,
}

impl From<Answer> for ExitCode {
    fn from(answer: Answer) -> ExitCode {
        ExitCode::from(match answer {
            Answer::NoChange => 0,
            Answer::Change => 1,
            Answer::CouldNotJudge => 2,
        })
    }
}

/// Runs a command line; the first argument is the program's name.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own code for a wrong command line is 2 as well; help and version are no failure.
            let wrong = error.use_stderr();
            let _ = error.print();
            return if wrong { Answer::CouldNotJudge.into() } else { ExitCode::SUCCESS };
        }
    };
    let answer = match &cli.command {
        Command::Bisect(args) => bisect::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Changepoints(args) => changepoints::run(args),
        Command::Compare(args) => compare::run(args),
        Command::HistoryTrial(args) => history_trial::run(args),
        Command::ExecWhenTold { command } => exec_when_told(command).map(|()| Answer::CouldNotJudge),
        Command::Judge(args) => judge::run(args),
        Command::Load(args) => load::run(args),
        Command::Profile(args) => profile::run(args),
        Command::Report(args) => report::run(args),
        Command::Runner(args) => runner::run(args),
        Command::Upstream(args) => upstream::run(args).map(|()| Answer::NoChange),
        Command::LoadRound => round::run().map(|()| Answer::NoChange),
    };
    match answer {
        Ok(answer) => answer.into(),
        Err(error) => {
            eprintln!("perfsuite: {error:#}");
            Answer::CouldNotJudge.into()
        }
    }
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Markdown,
    Json,
}

/// How an answer is printed that has no Markdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum TextOrJson {
    #[default]
    Text,
    Json,
}

/// A report as `compare` and `report` print it.
pub fn rendered(report: &crate::model::Report, format: Format) -> anyhow::Result<String> {
    report::rendered(report, format)
}
