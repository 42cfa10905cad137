//! The command line: what `paceline` can be asked to do.

use crate::backfill::{self, BackfillArgs};
use crate::backup::{self, BackupArgs, DatabaseArgs, RestoreArgs};
use crate::clock::Clock;
use crate::commits::{self, CommitsArgs};
use crate::config::{Config, ServeArgs};
use crate::db::runners;
use crate::demo::{self, DemoArgs};
use crate::error::UserError;
use crate::history::backfill::{self as history_backfill, BackfillArgs as HistoryBackfillArgs};
use crate::history::told::{AcceptArgs, QuarantineArgs, ReleaseArgs, RenameArgs};
use crate::proof::{self, ProveArgs};
use crate::replay::{self, ReplayArgs};
use crate::repo_config;
use crate::review::{self, ReviewArgs};
use crate::reviewers::{self, ReviewersArgs};
use crate::serve;
use crate::setup::{self, SetupArgs};
use clap::{Args, Parser, Subcommand};
use perfsuite::runner::RunnerArgs;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::mpsc;

#[derive(Parser)]
#[command(
    name = "paceline",
    version,
    about = "Conventions and performance on every pull request, measured on your own machines",
    after_help = "Examples:\n  \
        paceline demo                     see all of it on this machine, without GitHub\n  \
        paceline review                   judge the current branch before pushing it\n  \
        paceline review main..topic --format markdown\n  \
        git log -z --format=%B main.. | paceline commits -\n  \
        paceline serve --config paceline-server.toml\n  \
        paceline runner add build-box     a token for a runner on another machine\n  \
        paceline backup paceline.backup   all that the server knows, in one file"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the GitHub App: webhooks, pages, and a runner of its own
    Serve(ServeArgs),
    /// Make the GitHub App and keep its secrets, in one page; or check what there is
    Setup(SetupArgs),
    /// Show the whole of it on a real slowdown, with a stand-in for GitHub on this machine
    Demo(DemoArgs),
    /// Judge a range of a local repository, without GitHub
    Review(ReviewArgs),
    /// Judge commit messages, wherever they come from: one JSON object a line
    Commits(CommitsArgs),
    /// Who must still approve a change, by CODEOWNERS: one JSON object
    Reviewers(ReviewersArgs),
    /// Whether a fix proves itself: its tests, put upon the base, must fail there
    Prove(ProveArgs),
    /// Run jobs for a server, or manage its runners
    Runner(RunnerCommand),
    /// Read what happened before the App was installed, for measures of contributions
    Backfill(Box<BackfillArgs>),
    /// Write the database and its evidence to one file; the server may go on
    Backup(BackupArgs),
    /// Fill an empty database, of either kind, from such a file; stop the server first
    Restore(RestoreArgs),
    /// Judge a delivery's run once more, from its evidence: the same bytes, offline
    Replay(ReplayArgs),
    /// The history of benchmarks along the default branch
    #[command(subcommand)]
    History(HistoryCommand),
    /// The repository's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Find the commit of a range that changed a benchmark (`paceline bisect --help`)
    #[command(disable_help_flag = true)]
    Bisect {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// The measuring tool itself (also installed as `perfsuite`)
    #[command(hide = true, disable_help_flag = true)]
    Perfsuite {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct RunnerCommand {
    #[command(subcommand)]
    manage: Option<ManageRunners>,
    // Directly, not within another flattened struct: clap would take that one for absent.
    #[command(flatten)]
    run: Option<RunnerArgs>,
    /// Stop when standard input ends, as it does when the program that started this one ends
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

#[derive(Subcommand)]
enum ManageRunners {
    /// Make a token for a runner and print it once; an earlier token of that name ends
    Add {
        name: String,
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// List the runners
    List {
        #[command(flatten)]
        database: DatabaseArgs,
    },
    /// End a runner's token
    Revoke {
        name: String,
        #[command(flatten)]
        database: DatabaseArgs,
    },
}

#[derive(Subcommand)]
enum HistoryCommand {
    Backfill(HistoryBackfillArgs),
    Accept(AcceptArgs),
    Rename(RenameArgs),
    Quarantine(QuarantineArgs),
    Release(ReleaseArgs),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check a `.github/paceline.toml`: exit code 0 when it can be used, 1 when not
    Check {
        #[arg(default_value = ".github/paceline.toml")]
        file: PathBuf,
    },
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Before clap: the measuring tool has a command line of its own.
    if arguments.get(1).is_some_and(|word| word == "perfsuite") {
        return perfsuite::cli::run(arguments.into_iter().skip(1));
    }
    // One of its commands, under our name.
    if arguments.get(1).is_some_and(|word| word == "bisect") {
        return perfsuite::cli::run(arguments.into_iter());
    }
    let cli = Cli::parse_from(arguments);
    log_to_stderr(matches!(cli.command, Command::Serve(_)));
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("paceline: cannot start: {error}");
            return ExitCode::from(2);
        }
    };
    let outcome = runtime.block_on(obey(cli.command));
    // Threads that still measure do not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome.unwrap_or_else(|error| {
        match error.downcast_ref::<UserError>() {
            Some(words) => eprintln!("paceline: {words}"),
            None => eprintln!("paceline: {error:#}"),
        }
        ExitCode::from(2)
    })
}

async fn obey(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => {
            serve::run(Config::load(&args, |name| std::env::var(name).ok())?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Setup(args) => setup::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Review(args) => review::run(args).await,
        Command::Commits(args) => commits::run(&args),
        Command::Reviewers(args) => reviewers::run(&args),
        Command::Prove(args) => proof::run(args).await,
        Command::Runner(RunnerCommand { manage: Some(manage), .. }) => manage_runners(manage).await,
        Command::Runner(RunnerCommand { manage: None, run: Some(run), until_stdin_closes }) => {
            run_runner(run, until_stdin_closes).await
        }
        Command::Runner(RunnerCommand { manage: None, run: None, .. }) => {
            Err(UserError::new("say --server URL, or one of add, list, revoke").into())
        }
        Command::Backfill(args) => backfill::run(*args).await.map(|()| ExitCode::SUCCESS),
        Command::Backup(args) => backup::backup(args).await.map(|()| ExitCode::SUCCESS),
        Command::Restore(args) => backup::restore(args).await.map(|()| ExitCode::SUCCESS),
        Command::Replay(args) => replay::run(args).await,
        Command::History(HistoryCommand::Backfill(args)) => {
            history_backfill::run(args).await.map(|()| ExitCode::SUCCESS)
        }
        Command::History(HistoryCommand::Accept(args)) => args.run().await.map(|()| ExitCode::SUCCESS),
        Command::History(HistoryCommand::Rename(args)) => args.run().await.map(|()| ExitCode::SUCCESS),
        Command::History(HistoryCommand::Quarantine(args)) => args.run().await.map(|()| ExitCode::SUCCESS),
        Command::History(HistoryCommand::Release(args)) => args.run().await.map(|()| ExitCode::SUCCESS),
        Command::Config(ConfigCommand::Check { file }) => {
            let check = repo_config::check_file(&file);
            print!("{}", check.text);
            Ok(ExitCode::from(u8::from(!check.valid)))
        }
        Command::Perfsuite { .. } | Command::Bisect { .. } => unreachable!("taken before clap"),
    }
}

async fn run_runner(args: RunnerArgs, until_stdin_closes: bool) -> anyhow::Result<ExitCode> {
    let config = args.config()?;
    let measure = perfsuite::runner::Here::new(args.sandbox, args.cache_dir(), args.reserve_bytes())?;
    let mut signals = perfsuite::runner::stop_signals()?;
    let (ask, stop) = mpsc::channel(2);
    if until_stdin_closes {
        let ask = ask.clone();
        // Nothing is ever written to it: its end is the end of whoever holds the other side. A thread of its own,
        // because a read of standard input cannot be given up.
        std::thread::spawn(move || {
            let ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            tracing::debug!(?ended, "standard input closed");
            // Refused only when the runner has ended already.
            let _ = ask.blocking_send(());
        });
    }
    tokio::spawn(async move { while signals.recv().await.is_some() && ask.send(()).await.is_ok() {} });
    perfsuite::runner::run(config, Arc::new(measure), stop).await?;
    Ok(ExitCode::SUCCESS)
}

async fn manage_runners(command: ManageRunners) -> anyhow::Result<ExitCode> {
    let now_ms = Clock::system().now_ms();
    match command {
        ManageRunners::Add { name, database } => {
            let alphabet = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            if name.is_empty() || name.len() > 64 || !alphabet {
                return Err(
                    UserError::new("a runner's name has 1 to 64 letters, digits, '-', '_' or '.'").into()
                );
            }
            let token = runners::new_token();
            runners::upsert(&database.open().await?, &name, &token, false, now_ms).await?;
            println!("{token}");
            eprintln!(
                "This token is shown once. On the other machine:\n  \
                 PACELINE_RUNNER_TOKEN=… paceline runner --server URL-OF-THIS-SERVER"
            );
        }
        ManageRunners::List { database } => {
            for runner in runners::all(&database.open().await?).await? {
                let state = match (runner.revoked_ms, runner.seen_ms) {
                    (Some(_), _) => "revoked".to_owned(),
                    (None, None) => "never seen".to_owned(),
                    (None, Some(seen)) => format!("seen {} s ago", (now_ms - seen) / 1_000),
                };
                let walls = if runner.sandboxed { "sandboxed" } else { "no sandbox" };
                println!("{}\t{state}\t{walls}", runner.name);
            }
        }
        ManageRunners::Revoke { name, database } => {
            if !runners::revoke(&database.open().await?, &name, now_ms).await? {
                return Err(UserError::new(format!("there is no runner {name:?} with a token")).into());
            }
            println!("The token of {name} has ended.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `RUST_LOG` decides; by default a server tells what it does and a command only what went wrong.
fn log_to_stderr(server: bool) {
    let default = if server { "info,sqlx=warn" } else { "warn,sqlx=error" };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runner(arguments: &[&str]) -> RunnerCommand {
        let cli = Cli::try_parse_from([&["paceline", "runner"], arguments].concat()).expect("it parses");
        match cli.command {
            Command::Runner(command) => command,
            _ => panic!("not the runner"),
        }
    }

    #[test]
    fn a_runner_runs_or_is_managed() {
        let run = runner(&["--server", "http://localhost", "--until-stdin-closes", "--work-dir", "/w"]);
        assert!(run.until_stdin_closes && run.manage.is_none());
        assert_eq!(run.run.map(|args| args.server).as_deref(), Some("http://localhost"));
        assert!(matches!(runner(&["add", "box"]).manage, Some(ManageRunners::Add { .. })));
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
