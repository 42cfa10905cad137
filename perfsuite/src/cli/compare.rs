//! `perfsuite compare`: two commits of a local repository, measured here and now.

use super::report::{answer, print, write};
use super::settings::Settings;
use super::{Answer, Format};
use crate::host;
use crate::measure::{Job, measure};
use crate::model::{CriterionSuite, JobId, JobSpec, Mode, Sha, SuiteKind, SuiteSpec, Trust};
use crate::progress::Bars;
use crate::sandbox::{Preference, Sandbox};
use crate::verdict::judge;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};

/// Measure two commits against each other: the suites of the base's .github/paceline.toml, or else every criterion bench
/// that both have.
///
/// Exit code 0: no change, 1: some change, 2: could not judge.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// The commit to compare with: any revision
    base: String,
    /// The commit to judge: any revision
    head: String,
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,
    /// Only this suite of the base's .github/paceline.toml, or the benches of this package
    #[arg(long, value_name = "NAME")]
    suite: Option<String>,
    /// Most minutes of measuring, without the builds [default: by the configuration, 15]
    #[arg(long, value_name = "N")]
    budget_minutes: Option<f64>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Measure also benchmarks that run the same machine code on both sides
    #[arg(long)]
    all: bool,
    /// Measure on a machine that does much else, too
    #[arg(long)]
    even_when_busy: bool,
    /// Seeds the order of visits
    #[arg(long)]
    seed: Option<u64>,
    /// Where builds of base commits are kept [default: paceline in the user's cache directory]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Also store the evidence, for `perfsuite report`
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// Walls around the code that is measured
    #[arg(long, value_enum, default_value_t)]
    sandbox: Preference,
}

pub(super) fn run(args: &CompareArgs) -> anyhow::Result<Answer> {
    ensure!(
        args.budget_minutes.is_none_or(|minutes| minutes > 0.0 && minutes.is_finite()),
        "--budget-minutes must be more than 0"
    );
    let (base, head) = (resolve(&args.repo, &args.base)?, resolve(&args.repo, &args.head)?);
    if let Some(reason) = host::too_busy().filter(|_| !args.even_when_busy) {
        anyhow::bail!("{reason} (--even-when-busy measures all the same)");
    }
    let settings = Settings::of(&args.repo, &base)?;
    let work = tempfile::Builder::new().prefix("perfsuite-").tempdir().context("no temporary directory")?;
    let seed = args.seed.unwrap_or_else(rand::random);
    let spec = JobSpec {
        job: JobId(format!("local-{seed:016x}")),
        repository: args.repo.display().to_string(),
        base,
        head,
        trust: Trust::Own,
        suites: chosen(&settings.suite, args.suite.as_deref()),
        limits: settings.limits(args.budget_minutes),
        budget: settings.budget()?,
        seed,
        all: args.all,
        checks: None,
        focus: None,
    };
    let job = Job {
        spec,
        repository: args.repo.clone(),
        work_dir: work.path().to_owned(),
        cache_dir: args.cache_dir.clone().unwrap_or_else(cache_dir),
        sandbox: Sandbox::detect(args.sandbox)?,
    };
    let bars = Bars::on_stderr().stopped_by_signals()?;
    let evidence = measure(&job, &bars)?;
    bars.finish();
    if let Some(file) = &args.evidence {
        write(&evidence, file)?;
    }
    let report = judge(&evidence);
    print(&report, args.format)?;
    Ok(answer(&report))
}

/// The configured suites, or the one of that name; a name that none has is a package's.
pub(super) fn chosen(configured: &[SuiteSpec], name: Option<&str>) -> Vec<SuiteSpec> {
    let Some(name) = name else { return configured.to_vec() };
    let found = configured.iter().find(|suite| suite.name == name);
    vec![found.cloned().unwrap_or_else(|| package_suite(name))]
}

pub(super) fn package_suite(name: &str) -> SuiteSpec {
    let wanted = CriterionSuite { package: Some(name.to_owned()), bench: None, features: vec![] };
    SuiteSpec {
        name: name.to_owned(),
        kind: SuiteKind::Criterion(wanted),
        paths: vec![],
        on: "push".into(),
        mode: Mode::default(),
        metrics: Default::default(),
        benchmarks: Default::default(),
    }
}

/// The commit that a revision names, by git. The revision never becomes an option: it stands after `--end-of-options`.
pub(super) fn resolve(repository: &Path, revision: &str) -> anyhow::Result<Sha> {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{commit}}")])
        .output()
        .context("cannot run git; install it")?;
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let reason = if complaint.is_empty() { String::new() } else { format!(": {complaint}") };
    ensure!(output.status.success(), "{} has no commit {revision:?}{reason}", repository.display());
    Ok(String::from_utf8_lossy(&output.stdout).trim().parse()?)
}

pub(super) fn cache_dir() -> PathBuf {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = of("XDG_CACHE_HOME").or_else(|| Some(of("HOME")?.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("paceline")
}
