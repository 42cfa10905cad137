//! `paceline review`: the same work on a local repository, without GitHub.

use crate::assess::{self, Whose};
use crate::comment;
use crate::conventions;
use crate::conventions::claims;
use crate::db::new_id;
use crate::error::UserError;
use crate::facts::GitFacts;
use crate::git::{GitError, History, Range};
use crate::hooks;
use crate::judgement::{Checks, Performance, RUN_SCHEMA, Run, TestsJudgement};
use crate::proof::trial;
use crate::render::{self, Style};
use crate::repo_config::{FixupPolicy, RepoConfig, Trigger};
use anyhow::Context;
use clap::{Args, ValueEnum};
use perfsuite::measure::{self, Job};
use perfsuite::model::{JobId, JobSpec, SuiteSpec, Trust};
use perfsuite::observe::Observer;
use perfsuite::sandbox::{Preference, Sandbox};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    paceline review                          this branch since it left the default branch\n  \
    paceline review v1.2.0..HEAD --suite routing\n  \
    paceline review --no-measure             the commits only, in a moment\n  \
    paceline review --install-hooks          the same before every commit and push\n  \
    paceline review --format json > run.json\n\n\
    Exit code: 0 clean, 1 a finding, 2 could not judge.")]
pub struct ReviewArgs {
    /// What to judge, as git writes it: A..B, or A for A..HEAD [default: HEAD since the default branch]
    #[arg(value_name = "RANGE")]
    pub range: Option<String>,
    /// The repository
    #[arg(long, default_value = ".", value_name = "PATH")]
    pub repo: PathBuf,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Only this suite
    #[arg(long, value_name = "NAME")]
    pub suite: Option<String>,
    /// Minutes of measuring at most; what is undecided then is inconclusive [default: by the configuration, 15]
    #[arg(long, value_name = "N")]
    pub budget_minutes: Option<f64>,
    /// Measure also benchmarks that run the same machine code on both sides
    #[arg(long)]
    pub all: bool,
    /// Judge the commits without building or measuring anything
    #[arg(long)]
    pub no_measure: bool,
    /// Run also the repository's own checks on the merge result, and have a fix prove itself
    #[arg(long)]
    pub tests: bool,
    /// What only blocks a merge (`fixup!` commits) is no finding
    #[arg(long)]
    pub before_push: bool,
    /// Have git judge messages before a commit and branches before a push, by hooks of this repository; nothing else
    #[arg(long)]
    pub install_hooks: bool,
    /// `auto`: in a sandbox where there is one; `off`: without
    #[arg(long, value_enum, default_value_t = Preference::Auto)]
    pub sandbox: Preference,
    /// Repeats the order of an earlier run
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Markdown,
    Json,
}

pub async fn run(args: ReviewArgs) -> anyhow::Result<ExitCode> {
    if let Some(minutes) = args.budget_minutes
        && !(0.1..=720.0).contains(&minutes)
    {
        return Err(UserError::new("--budget-minutes wants a number from 0.1 to 720").into());
    }
    if args.install_hooks {
        let history = History::local(&args.repo).map_err(in_words)?;
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        for place in hooks::install(&history, &program)? {
            println!("{}", place.display());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let format = args.format;
    let run = tokio::task::spawn_blocking(move || review(&args)).await.context("the review was ended")??;
    match format {
        Format::Text => {
            let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let width = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
            let style = Style { colours, width: width.unwrap_or(Style::default().width) };
            print!("{}", render::terminal(&run, &style));
        }
        Format::Markdown => print!("{}", comment::local(&run)),
        Format::Json => print!("{}", render::json(&run)?),
    }
    Ok(ExitCode::from(render::exit_code(&run)))
}

/// Judges the range and measures what it calls for. Blocks.
fn review(args: &ReviewArgs) -> anyhow::Result<Run> {
    let history = History::local(&args.repo).map_err(in_words)?;
    let range = history.range(args.range.as_deref()).map_err(in_words)?;
    let facts = GitFacts::read(&history, &range.base, &range.head).map_err(in_words)?;
    if history.has_uncommitted_changes().map_err(in_words)? {
        eprintln!("note: uncommitted changes are not part of this review");
    }
    let trigger = match &args.suite {
        Some(name) => Trigger::Command { suite: Some(name) },
        None => Trigger::Push { labels: &[] },
    };
    let mut assessment = assess::assess(&facts, Whose::Mine, trigger);
    if args.before_push && assessment.config.commits.fixup == FixupPolicy::BlockMerge {
        for commit in &mut assessment.commits.commits {
            commit.findings.retain(|finding| finding.rule != "fixup");
        }
    }
    let tests = match assessment.tests.take() {
        None => None,
        Some(asked) if !args.tests => {
            let reason = "only `paceline review --tests` runs them here".into();
            Some(TestsJudgement { asked, checks: Checks::Skipped { reason } })
        }
        Some(asked) => {
            let checks = checked(&history, &range, &facts, &assessment.config, args.sandbox)?;
            Some(TestsJudgement { asked, checks })
        }
    };
    let root = history.work_tree().unwrap_or_else(|| args.repo.clone());
    let repository = std::path::absolute(&root).unwrap_or(root);
    let performance = match assessment.plan {
        Err(reason) => Performance::Skipped { reason },
        Ok(_) if args.no_measure => Performance::Skipped { reason: "switched off by --no-measure".into() },
        Ok(plan) => {
            let mut limits = plan.limits;
            if let Some(minutes) = args.budget_minutes {
                limits.measure_seconds = (minutes * 60.0).ceil() as u64;
            }
            let spec = JobSpec {
                job: JobId(new_id()),
                repository: repository.display().to_string(),
                base: range.base.clone(),
                head: range.head.clone(),
                trust: Trust::Own,
                suites: chosen(plan.suites, args.suite.as_deref())?,
                limits,
                budget: plan.budget,
                seed: args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
                all: args.all || plan.all,
                checks: None,
                focus: None,
            };
            measured(&repository, spec, args.sandbox)?
        }
    };
    let run = Run {
        schema: RUN_SCHEMA,
        repository: repository.display().to_string(),
        pull: None,
        base: range.base,
        head: range.head,
        commits: assessment.commits,
        config_error: assessment.config_error,
        reviews: None,
        tests,
        accepted: None,
        performance,
    };
    Ok(claims::with_measured(run))
}

/// The repository's own checks, as a runner runs them.
fn checked(
    history: &History,
    range: &Range,
    facts: &GitFacts,
    config: &RepoConfig,
    preference: Preference,
) -> anyhow::Result<Checks> {
    let work =
        tempfile::Builder::new().prefix("paceline-checks-").tempdir().context("no temporary directory")?;
    let repository = work.path().join("repository.git");
    // Commits are made to be tried, and somebody's own repository stays as it is.
    let ours = history.borrowed(&repository).map_err(in_words)?;
    let fix = trial::is_fix(facts, None);
    let planned = trial::plan(&ours, facts, (&range.base, &range.head), &config.tests, fix);
    let trial = match planned.map_err(in_words)? {
        Ok(trial) => trial,
        Err(reason) => return Ok(Checks::Skipped { reason }),
    };
    let bars = perfsuite::progress::Bars::on_stderr().stopped_by_signals()?;
    let observer: Arc<dyn Observer> = Arc::new(bars);
    let commit = trial.head.clone();
    let job = Job {
        spec: JobSpec {
            job: JobId(new_id()),
            repository: "local".into(),
            base: trial.base,
            head: trial.head,
            trust: Trust::Own,
            suites: Vec::new(),
            limits: config.perf.limits(),
            budget: config.perf.budget.probability(),
            seed: 0,
            all: false,
            checks: Some(trial.spec),
            focus: None,
        },
        repository,
        work_dir: work.path().join("work"),
        cache_dir: cache_dir(),
        sandbox: Sandbox::detect(preference)?,
    };
    let evidence = measure::measure(&job, observer.as_ref())?;
    let asked = job.spec.checks.as_ref().zip(evidence.checks.as_ref());
    let (spec, found) = asked.context("a job of checks has them in its evidence")?;
    Ok(Checks::Done { report: Box::new(conventions::checked::decide(&commit, spec, found)) })
}

fn chosen(suites: Vec<SuiteSpec>, name: Option<&str>) -> anyhow::Result<Vec<SuiteSpec>> {
    let Some(name) = name else { return Ok(suites) };
    let chosen: Vec<SuiteSpec> = suites.into_iter().filter(|suite| suite.name == name).collect();
    if chosen.is_empty() {
        return Err(UserError::new(format!("the configuration of the base names no suite {name:?}")).into());
    }
    Ok(chosen)
}

fn measured(repository: &Path, spec: JobSpec, preference: Preference) -> anyhow::Result<Performance> {
    if let Some(reason) = perfsuite::host::too_busy() {
        return Err(UserError::new(format!("{reason}; --no-measure judges the commits alone")).into());
    }
    let sandbox = Sandbox::detect(preference)?;
    let work_dir =
        tempfile::Builder::new().prefix("paceline-review-").tempdir().context("no temporary directory")?;
    let bars = perfsuite::progress::Bars::on_stderr().stopped_by_signals()?;
    let observer: Arc<dyn Observer> = Arc::new(bars);
    let job = Job {
        spec,
        repository: repository.to_owned(),
        work_dir: work_dir.path().to_owned(),
        cache_dir: cache_dir(),
        sandbox,
    };
    let evidence = measure::measure(&job, observer.as_ref())?;
    Ok(Performance::Done { report: Box::new(perfsuite::verdict::judge(&evidence)) })
}

/// Where builds of base commits are kept between reviews: `$XDG_CACHE_HOME/paceline`, else `~/.cache/paceline`.
pub fn cache_dir() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    base.or_else(home).unwrap_or_else(std::env::temp_dir).join("paceline")
}

/// What git could not find or do is the person's to mend: no chain of causes.
fn in_words(error: GitError) -> anyhow::Error {
    UserError::new(error.to_string()).into()
}
