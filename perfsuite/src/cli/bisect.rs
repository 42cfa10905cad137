//! `perfsuite bisect`: which commit of a range changed a benchmark.

use super::compare::{cache_dir, chosen, resolve};
use super::settings::Settings;
use super::text::percent;
use super::{Answer, TextOrJson};
use crate::bisect::{Ending, Measured, Search, Seen, search};
use crate::host;
use crate::measure::{Job, measure};
use crate::model::{Evidence, JobId, JobSpec, Metric, Report, Sha, Side, Trust};
use crate::progress::Bars;
use crate::sandbox::{Preference, Sandbox};
use crate::verdict::judge;
use anyhow::{Context, bail, ensure};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Commits of a range: fourteen comparisons.
const COMMITS_MAX: usize = 10_000;

/// Find the commit that changed a benchmark, in a range of a local repository.
///
/// The ends are compared first; then the range is halved, each commit measured against the good end; the commit that is
/// found is measured against its parent. A commit that does not build, or lacks the benchmark, is skipped. Merges count
/// as one commit. Exit code 0: the ends do not differ, 1: found, 2: could not tell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  perfsuite bisect v1.2 main --bench route/match/1000
  perfsuite bisect HEAD~16 HEAD --bench parse --minutes 1 --format json")]
pub struct BisectArgs {
    /// A commit before the change
    good: String,
    /// A commit after it
    bad: String,
    /// The benchmark: its id, or a part that no other has
    #[arg(long, value_name = "ID")]
    bench: String,
    #[arg(long, value_name = "PATH", default_value = ".")]
    repo: PathBuf,
    /// Only this suite of the good commit's .github/paceline.toml, or the benches of this package
    #[arg(long, value_name = "NAME")]
    suite: Option<String>,
    /// Most minutes of measuring of each comparison, without the builds
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    minutes: f64,
    #[arg(long, value_enum, default_value_t)]
    format: TextOrJson,
    /// Measure on a machine that does much else, too
    #[arg(long)]
    even_when_busy: bool,
    /// Seeds the order of visits
    #[arg(long)]
    seed: Option<u64>,
    /// Where builds of base commits are kept [default: paceline in the user's cache directory]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Walls around the code that is measured
    #[arg(long, value_enum, default_value_t)]
    sandbox: Preference,
}

pub(super) fn run(args: &BisectArgs) -> anyhow::Result<Answer> {
    ensure!(args.minutes > 0.0 && args.minutes.is_finite(), "--minutes must be more than 0");
    let (good, bad) = (resolve(&args.repo, &args.good)?, resolve(&args.repo, &args.bad)?);
    if let Some(reason) = host::too_busy().filter(|_| !args.even_when_busy) {
        bail!("{reason} (--even-when-busy measures all the same)");
    }
    let commits = range(&args.repo, &good, &bad)?;
    let bench = Bench {
        args,
        settings: Settings::of(&args.repo, &good)?,
        sandbox: Sandbox::detect(args.sandbox)?,
        bars: Bars::on_stderr().stopped_by_signals()?,
        seed: args.seed.unwrap_or_else(rand::random),
    };
    let mut comparisons = 0;
    let found = search(commits.len(), |before, at| {
        let base = before.map_or(&good, |before| &commits[before]);
        comparisons += 1;
        bench.compare(base, &commits[at], comparisons)
    })?;
    bench.bars.finish();
    let told = Told::of(&found, &good, &commits);
    match args.format {
        TextOrJson::Json => println!("{}", serde_json::to_string(&told)?),
        TextOrJson::Text => print!("{}", words(&told, &args.repo, &args.bench)),
    }
    Ok(match found.ending {
        Ending::Found { .. } => Answer::Change,
        Ending::None { .. } => Answer::NoChange,
        Ending::Among { .. } | Ending::Unconfirmed { .. } => Answer::CouldNotJudge,
    })
}

/// The commits after `good` up to `bad`, oldest first, along first parents.
fn range(repository: &Path, good: &Sha, bad: &Sha) -> anyhow::Result<Vec<Sha>> {
    ensure!(good != bad, "both ends are {}", good.short());
    let git = |words: &[&str]| {
        std::process::Command::new("git")
            .arg("-C")
            .arg(repository)
            .args(words)
            .output()
            .context("cannot run git; install it")
    };
    let above = git(&["merge-base", "--is-ancestor", good.as_str(), bad.as_str()])?;
    ensure!(
        above.status.success(),
        "{} is no ancestor of {}: name the older commit first",
        good.short(),
        bad.short()
    );
    let most = format!("--max-count={}", COMMITS_MAX + 1);
    let listed = git(&["rev-list", "--first-parent", &most, &format!("{good}..{bad}")])?;
    ensure!(listed.status.success(), "git rev-list: {}", String::from_utf8_lossy(&listed.stderr).trim());
    let text = String::from_utf8(listed.stdout).context("git rev-list printed no text")?;
    let mut commits = text.lines().map(|line| Ok(line.parse()?)).collect::<anyhow::Result<Vec<Sha>>>()?;
    ensure!(commits.len() <= COMMITS_MAX, "the range has more than {COMMITS_MAX} commits");
    commits.reverse();
    Ok(commits)
}

/// Everything that a comparison needs.
struct Bench<'a> {
    args: &'a BisectArgs,
    settings: Settings,
    sandbox: Sandbox,
    bars: Bars,
    seed: u64,
}

impl Bench<'_> {
    fn compare(&self, base: &Sha, head: &Sha, number: u64) -> anyhow::Result<Seen> {
        let work =
            tempfile::Builder::new().prefix("perfsuite-").tempdir().context("no temporary directory")?;
        let seed = self.seed.wrapping_add(number);
        let job = Job {
            spec: JobSpec {
                job: JobId(format!("bisect-{seed:016x}")),
                repository: self.args.repo.display().to_string(),
                base: base.clone(),
                head: head.clone(),
                trust: Trust::Own,
                suites: chosen(&self.settings.suite, self.args.suite.as_deref()),
                limits: self.settings.limits(Some(self.args.minutes)),
                budget: self.settings.budget()?,
                seed,
                all: false,
                checks: None,
                focus: None,
            },
            repository: self.args.repo.clone(),
            work_dir: work.path().to_owned(),
            cache_dir: self.args.cache_dir.clone().unwrap_or_else(cache_dir),
            sandbox: self.sandbox.clone(),
        };
        let evidence = measure(&job, &self.bars)?;
        let seen = seen(&evidence, &self.args.bench)?;
        let of = format!("{} against {}", head.short(), base.short());
        match &seen {
            Seen::Measured(row) => {
                eprintln!("{of}: {} ({} to {})", percent(row.estimate), percent(row.low), percent(row.high))
            }
            Seen::Skipped(reason) => eprintln!("{of}: skipped: {reason}"),
        }
        Ok(seen)
    }
}

/// What a comparison says of the benchmark. An error when that is about the base, or about the name.
fn seen(evidence: &Evidence, bench: &str) -> anyhow::Result<Seen> {
    let report = judge(evidence);
    let first_line =
        |text: &str| text.lines().find(|line| !line.trim().is_empty()).unwrap_or("").trim().to_owned();
    if let Some(broken) = report.broken_build() {
        let why = first_line(broken.error.as_deref().unwrap_or_default());
        ensure!(broken.side == Side::Head, "{} does not build: {why}", broken.commit.short());
        return Ok(Seen::Skipped(format!("it does not build: {why}")));
    }
    let measured = names(&report, bench, report.rows.iter().map(|row| row.benchmark.0.as_str()))?;
    if let Some(name) = measured {
        let time = |metric: Metric| !matches!(metric, Metric::Instructions | Metric::LatencyP999);
        let rows = report.rows.iter().filter(|row| row.benchmark.0 == name && time(row.metric));
        // Of a load scenario, the metric that changed the most.
        if let Some(row) = rows.max_by(|a, b| a.estimate.abs().total_cmp(&b.estimate.abs())) {
            let Some(row) = Some(row).filter(|row| row.visits > 0) else {
                return Ok(Seen::Skipped("there was no time to measure it".into()));
            };
            return Ok(Seen::Measured(Measured {
                verdict: row.verdict,
                estimate: row.estimate,
                low: row.low,
                high: row.high,
            }));
        }
    }
    if let Some(failure) = report
        .failures
        .iter()
        .find(|failure| failure.benchmark.as_ref().is_none_or(|failed| failed.0.contains(bench)))
    {
        return Ok(Seen::Skipped(format!("it fails: {}", first_line(&failure.output))));
    }
    if report.one_sided.iter().any(|row| row.benchmark.0.contains(bench)) {
        return Ok(Seen::Skipped("it has no such benchmark".into()));
    }
    let same = report.unaffected.iter().any(|row| row.benchmark.0.contains(bench));
    // Of an executable that is the same on both sides the benchmarks are not listed.
    if same || !report.identical.is_empty() {
        return Ok(Seen::Measured(Measured::SAME));
    }
    bail!("there is no benchmark {bench:?} in {}", evidence.spec.base.short())
}

/// The one benchmark that is meant: of that id, or with it as a part of its own.
fn names<'a>(
    report: &Report,
    bench: &str,
    all: impl Iterator<Item = &'a str> + Clone,
) -> anyhow::Result<Option<&'a str>> {
    if let Some(exact) = all.clone().find(|id| *id == bench) {
        return Ok(Some(exact));
    }
    let mut parts: Vec<&str> = all.filter(|id| id.contains(bench)).collect();
    parts.dedup();
    parts.sort_unstable();
    parts.dedup();
    ensure!(
        parts.len() <= 1,
        "{bench:?} is a part of several benchmarks' names in {}: {}",
        report.base.short(),
        parts.join(", ")
    );
    Ok(parts.pop())
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Told {
    outcome: &'static str,
    /// The commit that did it.
    commit: Option<Sha>,
    /// The one before it.
    parent: Option<Sha>,
    estimate: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    /// One of these did it, where commits between cannot be measured.
    candidates: Vec<Sha>,
    commits: usize,
    comparisons: u32,
    skipped: Vec<Skip>,
}

#[derive(Debug, Serialize)]
struct Skip {
    commit: Sha,
    reason: String,
}

impl Told {
    fn of(found: &Search, good: &Sha, commits: &[Sha]) -> Told {
        let before = |at: usize| at.checked_sub(1).map_or(good, |before| &commits[before]).clone();
        let (outcome, at, seen, candidates) = match &found.ending {
            Ending::Found { at, change } => ("found", Some(*at), Some(*change), vec![]),
            Ending::None { ends } => ("none", None, Some(*ends), vec![]),
            Ending::Among { from, to } => ("among", None, None, commits[*from..=*to].to_vec()),
            Ending::Unconfirmed { at, seen } => ("unconfirmed", Some(*at), Some(*seen), vec![]),
        };
        Told {
            outcome,
            commit: at.map(|at| commits[at].clone()),
            parent: at.map(before),
            estimate: seen.map(|seen| seen.estimate),
            low: seen.map(|seen| seen.low),
            high: seen.map(|seen| seen.high),
            candidates,
            commits: commits.len(),
            comparisons: found.comparisons,
            skipped: found
                .skipped
                .iter()
                .map(|(at, reason)| Skip { commit: commits[*at].clone(), reason: reason.clone() })
                .collect(),
        }
    }
}

fn words(told: &Told, repository: &Path, bench: &str) -> String {
    let change = match (told.estimate, told.low, told.high) {
        (Some(estimate), Some(low), Some(high)) => {
            format!("{} ({} to {})", percent(estimate), percent(low), percent(high))
        }
        _ => String::new(),
    };
    let commit = told.commit.as_ref().map(|commit| subject(repository, commit)).unwrap_or_default();
    let mut out = match told.outcome {
        "found" => format!("{bench}: {change} by\n  {commit}\n"),
        "none" => format!("{bench}: none: the ends do not differ, {change}\n"),
        "unconfirmed" => format!(
            "{bench}: halving led to\n  {commit}\nbut against its parent it is {change}: a drift, or noise\n"
        ),
        _ => {
            let all: Vec<String> =
                told.candidates.iter().map(|commit| format!("  {}\n", subject(repository, commit))).collect();
            format!("{bench}: one of these, of which only the last can be measured:\n{}", all.concat())
        }
    };
    for skip in &told.skipped {
        out += &format!("skipped {}: {}\n", skip.commit.short(), skip.reason);
    }
    out + &format!("{} commits, {} comparisons\n", told.commits, told.comparisons)
}

/// A commit's short id and first line.
fn subject(repository: &Path, commit: &Sha) -> String {
    let shown = std::process::Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(["show", "--no-patch", "--format=%s", commit.as_str()])
        .output();
    let line =
        shown.map(|shown| String::from_utf8_lossy(&shown.stdout).trim().to_owned()).unwrap_or_default();
    // A message is a stranger's text: what it holds must not move the terminal's cursor.
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    format!("{} {line}", commit.short())
}
