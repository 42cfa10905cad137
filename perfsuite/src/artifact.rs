//! From two commits to executables of both sides: check out, fetch, build, keep, compare.
//!
//! Both sides are built one after the other at the same path into the same target directory, so that dependencies
//! build once and equal sources give equal bytes. Only the base's build is ever kept for later jobs. Every program that
//! reads the repository's files (cargo included, since its configuration is the repository's too) runs in the sandbox.

mod build;
pub mod cache;
mod discover;
mod flags;
pub(crate) mod git;
pub(crate) mod home;
mod standin;
mod strange;

pub use discover::BenchTarget;

use crate::model::wire::{Phase, Progress};
use crate::model::{Build, Failure, Sha, Side, SuiteKind, SuiteSpec};
use crate::observe::Observer;
use crate::sandbox::{Command, Limits, Sandbox};
use anyhow::Context;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Ended because the observer said so: neither a result nor a failure.
#[derive(Debug, thiserror::Error)]
#[error("stopped on request")]
pub struct Stopped;

/// What is built, and where.
pub struct Task<'a> {
    pub sandbox: &'a Sandbox,
    pub observer: &'a dyn Observer,
    /// A git directory, bare or not; only read.
    pub repository: &'a Path,
    pub base: &'a Sha,
    pub head: &'a Sha,
    /// Empty: discover.
    pub suites: &'a [SuiteSpec],
    /// Must exist; absolute.
    pub work: PathBuf,
    /// Where builds and dependencies are kept from job to job.
    pub cache: PathBuf,
    pub linking: Linking,
    pub keep: Keep,
    /// Whose cache is used: what one repository's builds leave there, no other repository's meet.
    pub repository_name: &'a str,
    pub limits: Limits,
}

/// What later jobs may start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The build of the base, which is a commit that people of the repository have taken.
    Base,
    Nothing,
}

/// How the two sides' bench executables are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linking {
    Alike,
    /// The head's functions in order of their names instead of their object files: the same code at other places, for
    /// calibration.
    HeadSorted,
}

/// What a bench executable was linked with, which decides how it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harness {
    /// Criterion's stand-in: driven batch by batch, both sides in lock-step.
    Duet,
    /// Criterion itself: short processes that take turns.
    Criterion,
}

/// A bench executable of one side, copied to where the other side's build does not overwrite it.
#[derive(Clone, Debug)]
pub struct BenchExecutable {
    pub target: BenchTarget,
    pub harness: Harness,
    pub program: PathBuf,
    /// SHA-256 of its bytes, hex.
    pub digest: String,
    /// The linker's map of it, where it wrote one.
    pub map: Option<PathBuf>,
    /// The same bench linked with criterion itself, where it has benchmarks that the stand-in cannot drive.
    pub undriven: Option<Box<BenchExecutable>>,
}

/// One side's files and programs, as suites need them.
#[derive(Clone, Debug)]
pub struct SidePaths {
    pub side: Side,
    /// The checkout of this side; nothing but this side's files.
    pub checkout: PathBuf,
    /// Bench executables, by suite.
    pub benches: BTreeMap<String, Vec<BenchExecutable>>,
    /// Some benches of the suites do not use criterion, and were left out.
    pub foreign: bool,
    /// For each load suite the directory that stands for `{target}`, with copies of what its commands name.
    pub targets: BTreeMap<String, PathBuf>,
}

/// Both sides, as far as they got.
#[derive(Debug)]
pub struct Artifacts {
    /// The suites that run: those of the task, or one for each package with criterion benches.
    pub suites: Vec<SuiteSpec>,
    pub builds: Vec<Build>,
    /// Base and head, when both were built.
    pub sides: Option<(SidePaths, SidePaths)>,
    /// Suites that cannot run, whatever was built.
    pub failures: Vec<Failure>,
    /// What people should know: benches left out and why.
    pub notes: Vec<String>,
    /// Changed files that are neither source nor words, so that benches may read them when they run.
    pub changed_data: Vec<String>,
    /// Modules whose files differ, as paths of Rust.
    pub changed_modules: Vec<String>,
    /// `rustc --version --verbose`.
    pub rustc: String,
}

/// Builds base, then head. A side that does not build is no error: it is told in `builds`.
///
/// Benches are built with criterion's stand-in where that can be had on both sides, else both with criterion itself.
pub fn build_both(task: &Task) -> anyhow::Result<Artifacts> {
    let rustc = home::rustc_version(task)?;
    let places = Places::make(&task.work, &rustc)?;
    let reason = match attempt(task, &places, Harness::Duet)? {
        Ok(artifacts) => return Ok(artifacts),
        Err(reason) => reason,
    };
    let note = format!("The benches were measured with criterion itself, less sharply: {reason}");
    task.observer.log(&note);
    // The head's build has written to them, and the base is built again.
    places.clear()?;
    match attempt(task, &places, Harness::Criterion)? {
        Ok(mut artifacts) => {
            artifacts.notes.push(note);
            Ok(artifacts)
        }
        Err(reason) => {
            anyhow::bail!("criterion's stand-in was not asked for, and failed: {reason}")
        }
    }
}

/// Why a side has no executables.
enum Complaint {
    /// Its own code broke the build: the end of the compiler's output.
    Build(String),
    /// With criterion itself it might build.
    NoDuet(String),
}

/// Both sides with one harness. The inner error says why criterion's stand-in cannot be had.
fn attempt(task: &Task, places: &Places, harness: Harness) -> anyhow::Result<Result<Artifacts, String>> {
    let git_dir = git::git_dir(task.repository)?;
    let changed = git::changed_files(&git_dir, task.base, task.head)?;
    let mut artifacts = Artifacts {
        suites: task.suites.to_vec(),
        builds: vec![],
        sides: None,
        failures: vec![],
        notes: vec![],
        changed_modules: crate::profile::touched::modules(&changed, |directory| {
            git::package_name(&git_dir, task.head, directory)
        }),
        changed_data: changed.into_iter().filter(|path| git::is_data(path)).collect(),
        rustc: places.rustc.clone(),
    };
    artifacts.notes.extend(strange::notes(&git_dir, task.base, task.head)?);
    let mut built = Vec::new();
    for (side, commit) in [(Side::Base, task.base), (Side::Head, task.head)] {
        stopped(task.observer)?;
        say(task.observer, Phase::Preparing, &format!("checking out {} {}", side.as_str(), commit.short()));
        if places.lock_made.replace(false) {
            std::fs::remove_file(places.source().join("Cargo.lock")).context("cannot remove a lockfile")?;
        }
        git::check_out(&git_dir, &places.source(), &places.index(), commit)?;
        task.sandbox.give(&places.source()).context("cannot hand the checkout to the sandbox")?;
        let started = Instant::now();
        places.build_ends.set(Some(started + task.limits.deadline));
        let outcome = build_side(task, places, harness, side, &mut artifacts)?;
        let seconds = to_millis(started.elapsed());
        let (error, paths) = match outcome {
            Ok(paths) => (None, Some(paths)),
            Err(Complaint::Build(complaint)) => (Some(complaint), None),
            Err(Complaint::NoDuet(reason)) => return Ok(Err(reason)),
        };
        let failed = error.is_some();
        artifacts.builds.push(Build { side, commit: commit.clone(), seconds, error });
        built.extend(paths);
        if failed {
            return Ok(Ok(artifacts));
        }
    }
    if let (Some(head), Some(base)) = (built.pop(), built.pop()) {
        artifacts.sides = Some((base, head));
    }
    Ok(Ok(artifacts))
}

/// Everything of one side.
fn build_side(
    task: &Task,
    places: &Places,
    harness: Harness,
    side: Side,
    artifacts: &mut Artifacts,
) -> anyhow::Result<Result<SidePaths, Complaint>> {
    let mut paths = SidePaths {
        side,
        checkout: places.source(),
        benches: BTreeMap::new(),
        foreign: false,
        targets: BTreeMap::new(),
    };
    if let Err(refusal) = permit_toolchain(places, side, &mut artifacts.notes) {
        return Ok(Err(Complaint::Build(refusal)));
    }
    let mut cargo = home::CargoHome::shared(task)?;
    let wants_cargo = places.source().join("Cargo.toml").is_file();
    let mut found = discover::Found::default();
    if wants_cargo {
        say(task.observer, Phase::Preparing, &format!("looking for benches of the {}", side.as_str()));
        match discover::benches(task, places, &cargo)? {
            Ok(benches) => found = benches,
            Err(complaint) => return Ok(Err(Complaint::Build(complaint))),
        }
        for note in &found.notes {
            if !artifacts.notes.contains(note) {
                task.observer.log(note);
                artifacts.notes.push(note.clone());
            }
        }
        if task.suites.is_empty() {
            discover::add_suites(&found, &mut artifacts.suites);
        }
        match home::fetch(task, places, cargo, side)? {
            Ok(home) => cargo = home,
            Err(complaint) => return Ok(Err(Complaint::Build(complaint))),
        }
        if side == Side::Base {
            cache::restore(task, places)?;
        }
    }
    for suite in artifacts.suites.clone() {
        stopped(task.observer)?;
        let built = match &suite.kind {
            SuiteKind::Criterion(wanted) => {
                let targets = found.matching(wanted);
                let wanted =
                    build::Wanted { suite: &suite.name, features: &wanted.features, targets: &targets };
                build::benches(task, places, &cargo, harness, side, wanted)?.map(|built| {
                    for foreign in &built.foreign {
                        let note = format!("bench `{foreign}` is left out: it does not use criterion");
                        if !artifacts.notes.contains(&note) {
                            task.observer.log(&note);
                            artifacts.notes.push(note);
                        }
                    }
                    paths.foreign |= !built.foreign.is_empty();
                    paths.benches.insert(suite.name.clone(), built.executables);
                })
            }
            SuiteKind::Load(load) => build::server(task, places, &cargo, side, &suite.name, load)?
                .map(|target| drop(paths.targets.insert(suite.name.clone(), target)))
                .map_err(Complaint::Build),
        };
        if let Err(complaint) = built {
            return Ok(Err(complaint));
        }
    }
    if side == Side::Base {
        if wants_cargo && task.keep == Keep::Base {
            cache::store(task, places);
        }
        paths.checkout = places.park_base()?;
    }
    Ok(Ok(paths))
}

/// Both sides are built by the runner's own toolchain. A base that asks for another one has been told so; a head that
/// newly does would be measured as something that its author does not mean.
fn permit_toolchain(places: &Places, side: Side, notes: &mut Vec<String>) -> Result<(), String> {
    let asked =
        strange::toolchain_of(&places.source()).filter(|channel| !strange::is_here(channel, &places.rustc));
    let here = places.rustc.lines().next().unwrap_or_default();
    match (side, asked) {
        (Side::Base, asked) => {
            if let Some(channel) = &asked {
                let note =
                    format!("The repository asks for the toolchain {channel:?}; it was built with {here}.");
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
            places.base_toolchain.replace(asked);
            Ok(())
        }
        (Side::Head, Some(channel)) if places.base_toolchain.borrow().as_ref() != Some(&channel) => {
            Err(format!(
                "The head asks for the toolchain {channel:?} (rust-toolchain.toml), and this runner has {here} alone. \
             Let the runner's owner install it as the default, or take the change of toolchain out."
            ))
        }
        (Side::Head, _) => Ok(()),
    }
}

/// Where one job's files are.
pub(crate) struct Places {
    work: PathBuf,
    /// `rustc --version --verbose` of the toolchain that builds.
    rustc: String,
    /// The checkout's lockfile was made here, the repository having none.
    lock_made: Cell<bool>,
    /// When the side that is being built must be ready: all of its commands together.
    build_ends: Cell<Option<Instant>>,
    /// A toolchain that the base asks for and that is not here.
    base_toolchain: RefCell<Option<String>>,
}

impl Places {
    fn make(work: &Path, rustc: &str) -> anyhow::Result<Places> {
        let work = work.canonicalize().with_context(|| format!("no work directory at {}", work.display()))?;
        let places = Places {
            work,
            rustc: rustc.to_owned(),
            lock_made: Cell::new(false),
            build_ends: Cell::new(None),
            base_toolchain: RefCell::new(None),
        };
        for directory in [places.source(), places.target()] {
            std::fs::create_dir_all(&directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        Ok(places)
    }

    /// Empties everything, for a second attempt.
    fn clear(&self) -> anyhow::Result<()> {
        crate::disk::empty(&self.work).context("cannot empty the work directory")?;
        self.lock_made.set(false);
        Self::make(&self.work, &self.rustc).map(drop)
    }

    /// The checkout that is built: first the base's, then the head's, at one path.
    pub(crate) fn source(&self) -> PathBuf {
        self.work.join("src")
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.work.join("target")
    }

    /// git's index of the checkout: kept outside of it and outside of the repository.
    pub(crate) fn index(&self) -> PathBuf {
        self.work.join("index")
    }

    /// The lockfile of the base, or the one made where the repository has none.
    pub(crate) fn base_lock(&self) -> PathBuf {
        self.work.join("base-Cargo.lock")
    }

    pub(crate) fn own_cargo_home(&self) -> PathBuf {
        self.work.join("cargo-home")
    }

    fn bin(&self, side: Side) -> PathBuf {
        self.work.join("bin").join(side.as_str())
    }

    /// Copies the base's checkout aside, for benches and servers that read files when they run.
    fn park_base(&self) -> anyhow::Result<PathBuf> {
        // As long as the name of the head's: a program's paths lie on its stack, and move what is beside them.
        let parked = self.work.join("old");
        copy_tree(&self.source(), &parked)?;
        Ok(parked)
    }
}

/// A command that works on the checkout: source and target at the same path for both sides, cargo's home, no network.
pub(crate) struct Prepared {
    pub(crate) command: Command,
    pub(crate) seen_source: PathBuf,
    pub(crate) seen_target: PathBuf,
}

pub(crate) fn prepare(task: &Task, places: &Places, cargo: &home::CargoHome, program: &str) -> Prepared {
    let mut prepared = prepare_without_cargo(task, places, program);
    cargo.mount(&mut prepared.command);
    prepared
}

fn prepare_without_cargo(task: &Task, places: &Places, program: &str) -> Prepared {
    use crate::sandbox::{SOURCE_INSIDE, TARGET_INSIDE};
    let mut command = task.sandbox.command(program);
    let seen_source = command.write(places.source(), SOURCE_INSIDE);
    let seen_target = command.write(places.target(), TARGET_INSIDE);
    command
        .cwd(&seen_source)
        .env("CARGO_TARGET_DIR", &seen_target)
        .env("CARGO_TERM_COLOR", "never")
        .env("CARGO_INCREMENTAL", "0")
        .limits(task.limits);
    if let Some(ends) = places.build_ends.get() {
        command.deadline(ends.saturating_duration_since(Instant::now()));
    }
    Prepared { command, seen_source, seen_target }
}

/// `cp -a`: attributes and times kept (cargo compares times), links not followed, blocks shared where the file system
/// can.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    let output = std::process::Command::new("cp")
        .args(["-a", "--reflink=auto", "-T", "--"])
        .arg(from)
        .arg(to)
        .output()
        .context("cannot run cp")?;
    anyhow::ensure!(
        output.status.success(),
        "cannot copy {} to {}: {}",
        from.display(),
        to.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

pub(crate) fn stopped(observer: &dyn Observer) -> Result<(), Stopped> {
    if observer.stopped() { Err(Stopped) } else { Ok(()) }
}

pub(crate) fn say(observer: &dyn Observer, phase: Phase, text: &str) {
    observer.progress(Progress { phase, text: text.into(), done: 0, total: 0 });
    observer.log(text);
}

/// Seconds in whole milliseconds: what JSON gives back exactly.
pub(crate) fn to_millis(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1_000.0).round() / 1_000.0
}

/// The end of a program's output that is kept as the reason of a failure.
pub(crate) fn last_lines(output: &str) -> String {
    /// What a person reads before scrolling; a compiler's errors come last.
    const LINES_MAX: usize = 60;
    const CHARS_MAX: usize = 8_000;
    let lines: Vec<&str> = output.trim_end().lines().collect();
    let text = lines[lines.len().saturating_sub(LINES_MAX)..].join("\n");
    let skip = text.chars().count().saturating_sub(CHARS_MAX);
    text.chars().skip(skip).filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect()
}
