//! Builds one side's bench executables and server programs, and copies them to where they stay.

use super::discover::BenchTarget;
use super::home::CargoHome;
use super::standin::StandIn;
use super::{
    BenchExecutable, Complaint, Harness, Linking, Places, Prepared, Task, flags, last_lines, prepare, say,
    stopped,
};
use crate::codegen;
use crate::model::Side;
use crate::model::job::LoadSuite;
use crate::model::wire::Phase;
use crate::process::Echo;
use anyhow::Context;
use cargo_metadata::{Message, TargetKind};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::{BufReader, Read};
use std::path::{Component, Path, PathBuf};

/// cargo's messages: about 2 KiB an artifact; of more the end is kept, where the benches are.
const MESSAGES_MAX_BYTES: usize = 32 << 20;
/// The compiler's complaints; the end is kept.
const COMPLAINTS_MAX_BYTES: usize = 256 << 10;

/// The benches of one suite.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) suite: &'a str,
    pub(super) features: &'a [String],
    pub(super) targets: &'a [BenchTarget],
}

/// What was built of them.
#[derive(Default)]
pub(super) struct Built {
    pub(super) executables: Vec<BenchExecutable>,
    /// `package/bench` of those that do not use criterion.
    pub(super) foreign: Vec<String>,
}

/// Builds the benches of one suite.
///
/// A build that fails with criterion's stand-in is tried once more with criterion itself: whose fault it was decides
/// whether this side is broken or the stand-in does not fit. A head is spared that where the stand-in can have no part
/// in it, its base having been built with it.
pub(super) fn benches(
    task: &Task,
    places: &Places,
    cargo: &CargoHome,
    harness: Harness,
    side: Side,
    wanted: Wanted,
) -> anyhow::Result<Result<Built, Complaint>> {
    if wanted.targets.is_empty() {
        return Ok(Ok(Built::default()));
    }
    if harness == Harness::Criterion {
        return Ok(build(task, places, cargo, None, side, wanted)?.map_err(Complaint::Build));
    }
    let standin = match StandIn::put(task, places, cargo)? {
        Ok(standin) => standin,
        Err(reason) => return Ok(Err(Complaint::NoDuet(reason))),
    };
    let with_it = match build(task, places, cargo, Some(&standin), side, wanted)? {
        Ok(mut built) => {
            drop(standin);
            add_undriven(task, places, cargo, side, wanted, &mut built)?;
            return Ok(Ok(built));
        }
        Err(complaint) => complaint,
    };
    drop(standin);
    if side == Side::Head && !speaks_of_criterion(&with_it) {
        return Ok(Err(Complaint::Build(with_it)));
    }
    say(task.observer, Phase::Building, "building with criterion itself");
    Ok(Err(match build(task, places, cargo, None, side, wanted)? {
        Err(without_it) => Complaint::Build(without_it),
        Ok(_) => Complaint::NoDuet(format!("they do not build with the stand-in that is driven\n{with_it}")),
    }))
}

/// Builds once more, with criterion itself, what may have benchmarks with a measurement of their own. Where that does
/// not build they are left out, and said to be.
fn add_undriven(
    task: &Task,
    places: &Places,
    cargo: &CargoHome,
    side: Side,
    wanted: Wanted,
    built: &mut Built,
) -> anyhow::Result<()> {
    for executable in &mut built.executables {
        if !has_mark(executable, b"paceline:duet:other-measurement")? {
            continue;
        }
        let name = &executable.target.bench;
        let words =
            format!("building {name} with criterion itself, for its own measurement ({})", side.as_str());
        say(task.observer, Phase::Building, &words);
        match build_one(task, places, cargo, None, side, wanted, &executable.target)? {
            Ok(itself) => executable.undriven = Some(Box::new(itself)),
            Err(complaint) => task.observer.log(&complaint),
        }
    }
    Ok(())
}

/// Whether a compiler's complaint names anything of criterion's.
fn speaks_of_criterion(complaint: &str) -> bool {
    ["criterion", "Criterion", "Bencher", "BenchmarkGroup", "BenchmarkId", "/duet/"]
        .iter()
        .any(|word| complaint.contains(word))
}

/// The inner error is the compiler's.
fn build(
    task: &Task,
    places: &Places,
    cargo: &CargoHome,
    standin: Option<&StandIn>,
    side: Side,
    wanted: Wanted,
) -> anyhow::Result<Result<Built, String>> {
    let packages: BTreeSet<&str> = wanted.targets.iter().map(|target| target.package.as_str()).collect();
    say(
        task.observer,
        Phase::Building,
        &format!("building the benches of {} ({})", list(&packages), side.as_str()),
    );
    let mut built = Built::default();
    for target in wanted.targets {
        match build_one(task, places, cargo, standin, side, wanted, target)? {
            Ok(executable) if is_criterions(&executable)? => built.executables.push(executable),
            Ok(_) => built.foreign.push(format!("{}/{}", target.package, target.bench)),
            Err(complaint) => return Ok(Err(complaint)),
        }
    }
    Ok(Ok(built))
}

/// Whether criterion or its stand-in is in an executable: a package that depends on criterion may have benches with a
/// `main` of their own, and running one to find out costs whatever it does. By what stands in the executable: the
/// stand-in's mark; criterion's name in symbols and messages, or the variable that it reads.
fn is_criterions(executable: &BenchExecutable) -> anyhow::Result<bool> {
    Ok(match executable.harness {
        Harness::Duet => has_mark(executable, b"paceline:duet:in-criterions-place")?,
        Harness::Criterion => has_mark(executable, b"criterion")? || has_mark(executable, b"CRITERION_HOME")?,
    })
}

fn has_mark(executable: &BenchExecutable, mark: &[u8]) -> anyhow::Result<bool> {
    let program = std::fs::read(&executable.program).context("cannot read an executable")?;
    Ok(memchr::memmem::find(&program, mark).is_some())
}

/// One bench a call, since the linker's map of it must have a name of its own; what benches share builds in the first.
/// `--bench NAME` and not `--benches`, which would build the libraries' tests too.
fn build_one(
    task: &Task,
    places: &Places,
    cargo: &CargoHome,
    standin: Option<&StandIn>,
    side: Side,
    wanted: Wanted,
    target: &BenchTarget,
) -> anyhow::Result<Result<BenchExecutable, String>> {
    let harness = if standin.is_some() { Harness::Duet } else { Harness::Criterion };
    // Two suites may build one bench with other features.
    let name = file_name(&format!("{}--{}--{}--{harness:?}", wanted.suite, target.package, target.bench));
    let mut prepared = prepare(task, places, cargo, "cargo");
    let command = &mut prepared.command;
    if let Some(standin) = standin {
        standin.apply(command);
    }
    for (name, value) in flags::environment(places)? {
        command.env(name, value);
    }
    command.args(["rustc", "--profile", "bench", "--offline", "--message-format=json-render-diagnostics"]);
    // Where the repository has a lockfile, it must fit; what was derived from it for the stand-in does.
    command.args((standin.is_some() || !places.lock_made.get()).then_some("--locked"));
    command.args(["--package", &target.package, "--bench", &target.bench]);
    if !wanted.features.is_empty() {
        command.args(["--features", &wanted.features.join(",")]);
    }
    let map = PathBuf::from(format!("{name}.map"));
    command.args(["--".to_owned(), codegen::LINK_ARG.to_owned()]);
    command.arg(format!("-Clink-arg=-Wl,-Map={}", prepared.seen_target.join(&map).display()));
    if side == Side::Head && task.linking == Linking::HeadSorted {
        command.arg("-Clink-arg=-Wl,--sort-section=name");
    }
    let messages = match run(task, &mut prepared)? {
        Ok(messages) => messages,
        Err(complaint) => return Ok(Err(complaint)),
    };
    let Some(program) = executable(&messages, target, &prepared.seen_source) else {
        return Ok(Err(format!("cargo built no executable for the bench {}", target.bench)));
    };
    let kept = places.bin(side).join(&name);
    let relative = program.strip_prefix(&prepared.seen_target);
    keep(places, relative.context("a bench executable outside of the target directory")?, &kept)?;
    let kept_map = kept.with_extension("map");
    // A linker that writes none leaves it to the clock.
    let map = keep(places, &map, &kept_map).is_ok().then_some(kept_map);
    let digest = digest(&kept)?;
    Ok(Ok(BenchExecutable { target: target.clone(), harness, program: kept, digest, map, undriven: None }))
}

/// The executable of a bench, as cargo saw it, by its messages.
fn executable(messages: &[u8], target: &BenchTarget, seen_source: &Path) -> Option<PathBuf> {
    Message::parse_stream(BufReader::new(messages)).flatten().find_map(|message| {
        let Message::CompilerArtifact(artifact) = message else { return None };
        let directory = artifact.manifest_path.parent()?.as_std_path().strip_prefix(seen_source).ok()?;
        let meant = artifact.target.kind.contains(&TargetKind::Bench)
            && artifact.target.name == target.bench
            && directory == target.directory;
        artifact.executable.filter(|_| meant).map(PathBuf::from)
    })
}

/// Runs a load suite's build command and keeps its products: every word of the server's and the upstream's commands that
/// names a file below `{target}` is copied to the same place below the directory that is returned, which stands for
/// `{target}` from then on. The inner error is the command's.
pub(super) fn server(
    task: &Task,
    places: &Places,
    cargo: &CargoHome,
    side: Side,
    suite: &str,
    load: &LoadSuite,
) -> anyhow::Result<Result<PathBuf, String>> {
    let kept = places.bin(side).join("servers").join(file_name(suite));
    std::fs::create_dir_all(&kept)?;
    if let Some(program) = load.build.first() {
        say(task.observer, Phase::Building, &format!("building the server of {suite} ({})", side.as_str()));
        let mut prepared = prepare(task, places, cargo, program);
        let seen = |text: &String| {
            text.replace("{target}", &prepared.seen_target.to_string_lossy())
                .replace("{checkout}", &prepared.seen_source.to_string_lossy())
        };
        let arguments: Vec<String> = load.build.iter().skip(1).map(seen).collect();
        prepared.command.args(&arguments).env("CARGO_NET_OFFLINE", "true");
        for (name, value) in flags::environment(places)? {
            prepared.command.env(name, value);
        }
        if let Err(complaint) = run(task, &mut prepared)? {
            return Ok(Err(complaint));
        }
    }
    for product in load.server.iter().chain(&load.upstream).filter_map(|word| word.strip_prefix("{target}/"))
    {
        if let Err(error) = keep(places, Path::new(product), &kept.join(plain_path(product))) {
            return Ok(Err(format!("the build of suite {suite} did not make {product}: {error:#}")));
        }
    }
    Ok(Ok(kept))
}

/// Runs a build; its stdout, or the end of its complaints.
fn run(task: &Task, prepared: &mut Prepared) -> anyhow::Result<Result<Vec<u8>, String>> {
    prepared.command.keep(MESSAGES_MAX_BYTES, COMPLAINTS_MAX_BYTES).echo(Echo::Stderr);
    let finished = task.sandbox.run(&prepared.command, task.observer).context("cannot run the build")?;
    stopped(task.observer)?;
    if finished.success() {
        return Ok(Ok(finished.stdout));
    }
    let output = last_lines(&finished.stderr_tail);
    Ok(Err(format!("{output}\n(the build ended with {})", finished.in_words()).trim_start().to_owned()))
}

/// Copies a product of the build out of the target directory. The build was the repository's code, so what lies there
/// may be a link to anywhere: only a regular file within the target directory is taken.
fn keep(places: &Places, relative: &Path, kept: &Path) -> anyhow::Result<()> {
    let target = places.target().canonicalize()?;
    let from = target
        .join(relative)
        .canonicalize()
        .with_context(|| format!("there is no {} in the target directory", relative.display()))?;
    anyhow::ensure!(
        from.starts_with(&target) && std::fs::metadata(&from)?.is_file(),
        "{} is not a file in the target directory",
        relative.display()
    );
    if let Some(directory) = kept.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::copy(&from, kept).with_context(|| format!("cannot keep {}", relative.display()))?;
    Ok(())
}

/// A name as a single component of a path.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' }).collect()
}

/// A relative path without anything that leads out of where it is joined to.
fn plain_path(path: &str) -> PathBuf {
    Path::new(path).components().filter(|c| matches!(c, Component::Normal(_))).collect()
}

fn digest(file: &Path) -> anyhow::Result<String> {
    let mut reader = std::fs::File::open(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn list(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_out_of_their_directory() {
        assert_eq!(file_name("a/../b c"), "a____b_c");
        assert_eq!(plain_path("release/../../etc/passwd"), Path::new("release/etc/passwd"));
        assert_eq!(plain_path("/release/gateway"), Path::new("release/gateway"));
    }
}
