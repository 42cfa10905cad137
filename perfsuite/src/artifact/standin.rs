//! Criterion's stand-in, put in criterion's place for a build: its sources, its manifest, and the lockfile that fits.
//!
//! Building criterion with its plots takes most of a bench's build, and its executables cannot be driven in lock-step.
//! The stand-in takes its place by `[patch]` on cargo's command line, under the version that the lockfile pins; the
//! repository's files stay as they are, but for the lockfile of the checkout, which is put back after the build.

use super::home::{self, CargoHome};
use super::{Places, Task, last_lines, prepare, stopped};
use crate::sandbox::{Command, Sandbox};
use anyhow::Context;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml_edit::DocumentMut;

/// Where the sources are seen inside walls, the same for both sides.
const STANDIN_INSIDE: &str = "/build/duet";
/// Resolving again with one package replaced, from what is here.
const RESOLVE_MAX: Duration = Duration::from_secs(60);
/// A lockfile larger than this is none.
const LOCK_MAX_BYTES: u64 = 16 << 20;

const SOURCES: &[(&str, &str)] = &[
    ("async_executor.rs", include_str!("../../duet/src/async_executor.rs")),
    ("bencher.rs", include_str!("../../duet/src/bencher.rs")),
    ("bencher_async.rs", include_str!("../../duet/src/bencher_async.rs")),
    ("group.rs", include_str!("../../duet/src/group.rs")),
    ("lib.rs", include_str!("../../duet/src/lib.rs")),
    ("macros.rs", include_str!("../../duet/src/macros.rs")),
    ("measurement.rs", include_str!("../../duet/src/measurement.rs")),
    ("profiler.rs", include_str!("../../duet/src/profiler.rs")),
    ("seat.rs", include_str!("../../duet/src/seat.rs")),
    ("settings.rs", include_str!("../../duet/src/settings.rs")),
    ("system.rs", include_str!("../../duet/src/system.rs")),
];

/// Everything but the version and the feature `stable`. The features are all that criterion ever had, those that its
/// versions before 0.6 have by the names of their dependencies included; the executors that they bring are in the lockfile
/// already when the repository uses them.
const MANIFEST: &str = r#"
edition = "2021"
publish = false

[workspace]

[lib]
test = false
doctest = false

[features]
default = ["cargo_bench_support", "plotters", "rayon"]
async = []
async_futures = ["async", "dep:futures"]
async_smol = ["async", "dep:smol"]
async_std = ["async", "dep:async-std"]
async_tokio = ["async", "dep:tokio"]
async-std = ["dep:async-std"]
bench_private = []
cargo_bench_support = []
csv = []
csv_output = []
futures = ["dep:futures"]
html_reports = []
plotters = []
rayon = []
real_blackbox = []
smol = ["dep:smol"]
tokio = ["dep:tokio"]
{{stable}}

[dependencies]
async-std = { version = "1.9", optional = true }
futures = { version = "0.3", default-features = false, features = ["executor"], optional = true }
smol = { version = ">=1, <3", default-features = false, optional = true }
tokio = { version = "1", default-features = false, features = ["rt"], optional = true }
"#;

/// The stand-in in place, until it is dropped: then the checkout has its own lockfile again.
pub(super) struct StandIn {
    directory: PathBuf,
    lock: PathBuf,
    original: Vec<u8>,
    sandbox: Sandbox,
}

impl StandIn {
    /// Puts it in place. The inner error says why this repository cannot have it.
    pub(super) fn put(
        task: &Task,
        places: &Places,
        cargo: &CargoHome,
    ) -> anyhow::Result<Result<StandIn, String>> {
        let lock = places.source().join("Cargo.lock");
        let Some(original) = read_plain(&lock) else {
            return Ok(Err("there is no lockfile that could be read".into()));
        };
        let version = match pinned(&original) {
            Ok(version) => version,
            Err(reason) => return Ok(Err(reason)),
        };
        let directory = places.work.join("duet");
        write_sources(&directory, &version, &stable(&original))
            .context("cannot write criterion's stand-in")?;
        let standin = StandIn { directory, lock, original, sandbox: task.sandbox.clone() };
        Ok(standin.resolve(task, places, cargo)?.map(|()| standin))
    }

    /// Makes `command`, a cargo command that takes `--config`, use it.
    pub(super) fn apply(&self, command: &mut Command) {
        let seen = command.read(&self.directory, STANDIN_INSIDE);
        let path = toml_edit::Value::from(seen.to_string_lossy().into_owned());
        command.args(["--config".to_owned(), format!("patch.crates-io.criterion.path={path}")]);
    }

    /// Lets cargo rewrite the checkout's lockfile, and makes sure that only criterion's part of it differs.
    fn resolve(&self, task: &Task, places: &Places, cargo: &CargoHome) -> anyhow::Result<Result<(), String>> {
        let mut prepared = prepare(task, places, cargo, "cargo");
        self.apply(&mut prepared.command);
        // For other platforms than this nothing was fetched.
        let platform = ["--filter-platform", home::host_triple(&places.rustc)?];
        prepared.command.args(["metadata", "--offline", "--format-version", "1"]).args(platform);
        prepared.command.deadline(RESOLVE_MAX);
        prepared.command.keep(1 << 10, 64 << 10);
        let finished = task.sandbox.run(&prepared.command, task.observer).context("cannot run cargo")?;
        stopped(task.observer)?;
        if !finished.success() {
            return Ok(Err(format!("cargo cannot resolve with it\n{}", last_lines(&finished.stderr_tail))));
        }
        let derived = read_plain(&self.lock).unwrap_or_default();
        Ok(only_criterion_differs(&self.original, &derived))
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Measured code may have put anything there: never written through.
        let _ = std::fs::remove_file(&self.lock);
        let written = std::fs::write(&self.lock, &self.original);
        if let Err(error) = written.and_then(|()| self.sandbox.give(&self.lock)) {
            tracing::warn!(%error, "the checkout's lockfile could not be put back");
        }
    }
}

fn read_plain(path: &Path) -> Option<Vec<u8>> {
    std::fs::symlink_metadata(path).ok().filter(|m| m.is_file() && m.len() <= LOCK_MAX_BYTES)?;
    std::fs::read(path).ok()
}

/// What the feature `stable` of the pinned version brings: all executors that it knows, and which those are changed from
/// version to version. What it brings is in the lockfile.
fn stable(lock: &[u8]) -> String {
    let packages = packages(lock).unwrap_or_default();
    let mut brings = vec!["csv_output", "html_reports"];
    for (package, feature) in [
        ("async-std", "async_std"),
        ("futures", "async_futures"),
        ("smol", "async_smol"),
        ("tokio", "async_tokio"),
    ] {
        brings.extend(packages.iter().any(|(name, ..)| name == package).then_some(feature));
    }
    format!("stable = {brings:?}")
}

fn write_sources(directory: &Path, version: &str, stable: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(directory.join("src"))?;
    let manifest = MANIFEST.replace("{{stable}}", stable);
    let version = toml_edit::Value::from(version);
    let manifest = format!("[package]\nname = \"criterion\"\nversion = {version}{manifest}");
    write_if_new(&directory.join("Cargo.toml"), &manifest)?;
    SOURCES.iter().try_for_each(|(name, text)| write_if_new(&directory.join("src").join(name), text))
}

/// Leaves a file that is right already alone: cargo builds again what has a newer time.
fn write_if_new(file: &Path, text: &str) -> std::io::Result<()> {
    if std::fs::read(file).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    std::fs::write(file, text)
}

/// A package of a lockfile: name, version, source, checksum.
type Locked = (String, String, Option<String>, Option<String>);

fn packages(lock: &[u8]) -> Result<BTreeSet<Locked>, String> {
    let unreadable = || "the lockfile cannot be read".to_owned();
    let text = std::str::from_utf8(lock).map_err(|_| unreadable())?;
    let document: DocumentMut = text.parse().map_err(|_| unreadable())?;
    let Some(packages) = document.get("package").and_then(|item| item.as_array_of_tables()) else {
        return Err("the lockfile names no packages".into());
    };
    packages
        .iter()
        .map(|package| {
            let field = |name: &str| package.get(name).and_then(|value| value.as_str()).map(str::to_owned);
            let (name, version) = field("name").zip(field("version")).ok_or_else(unreadable)?;
            Ok((name, version, field("source"), field("checksum")))
        })
        .collect()
}

/// The one version of criterion that comes from the registry.
fn pinned(lock: &[u8]) -> Result<String, String> {
    let packages = packages(lock)?;
    let mut found = packages.iter().filter(|(name, ..)| name == "criterion");
    match (found.next(), found.next()) {
        (Some((_, version, Some(source), _)), None) if source.starts_with("registry+") => Ok(version.clone()),
        (Some((_, _, source, _)), None) => {
            Err(format!("criterion comes from {}", source.as_deref().unwrap_or("the repository itself")))
        }
        (Some(_), Some(_)) => Err("the lockfile has several criterions".into()),
        (None, _) => Err("the lockfile has no criterion".into()),
    }
}

/// What criterion needed may go; nothing may come, and nothing else may change.
fn only_criterion_differs(original: &[u8], derived: &[u8]) -> Result<(), String> {
    let (original, derived) = (packages(original)?, packages(derived)?);
    let mut replaced = false;
    for package in &derived {
        let (name, version, source, _) = package;
        if name == "criterion" && source.is_none() {
            replaced = true;
        } else if !original.contains(package) {
            return Err(format!("it would bring another {name} {version}"));
        }
    }
    if replaced { Ok(()) } else { Err("cargo did not put it in criterion's place".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &[(&str, &str, Option<&str>)]) -> Vec<u8> {
        let mut text = String::from("version = 4\n");
        for (name, version, source) in packages {
            text += &format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
            if let Some(source) = source {
                text += &format!("source = \"{source}\"\n");
            }
        }
        text.into_bytes()
    }

    const REGISTRY: Option<&str> = Some("registry+https://example.org/index");

    #[test]
    fn the_version_that_is_pinned() {
        for (packages, expect) in [
            (vec![("own", "0.1.0", None), ("criterion", "0.5.1", REGISTRY)], Ok("0.5.1")),
            (vec![("own", "0.1.0", None)], Err("the lockfile has no criterion")),
            (
                vec![("criterion", "0.5.1", REGISTRY), ("criterion", "0.8.0", REGISTRY)],
                Err("the lockfile has several criterions"),
            ),
            (vec![("criterion", "0.5.1", None)], Err("criterion comes from the repository itself")),
            (
                vec![("criterion", "0.5.1", Some("git+https://example.org/fork"))],
                Err("criterion comes from git+https://example.org/fork"),
            ),
        ] {
            assert_eq!(pinned(&lock(&packages)).as_deref().map_err(String::as_str), expect);
        }
        assert!(pinned(b"\xff").is_err());
    }

    #[test]
    fn only_criterion_may_differ() {
        let original = lock(&[
            ("criterion", "0.5.1", REGISTRY),
            ("plotters", "0.3.0", REGISTRY),
            ("serde", "1.0.0", REGISTRY),
        ]);
        let check =
            |packages: &[(&str, &str, Option<&str>)]| only_criterion_differs(&original, &lock(packages));
        let fine = [("criterion", "0.5.1", None), ("serde", "1.0.0", REGISTRY)];
        assert_eq!(check(&fine), Ok(()));
        let newer = [("criterion", "0.5.1", None), ("serde", "1.0.1", REGISTRY)];
        assert_eq!(check(&newer), Err("it would bring another serde 1.0.1".into()));
        let more = [("criterion", "0.5.1", None), ("tokio", "1.0.0", REGISTRY)];
        assert!(check(&more).is_err());
        assert!(check(&[("criterion", "0.5.1", REGISTRY)]).is_err(), "the patch was not used");
    }

    #[test]
    fn stable_brings_the_executors_of_the_pinned_version() {
        let old = lock(&[
            ("async-std", "1.12.0", REGISTRY),
            ("futures", "0.3.0", REGISTRY),
            ("smol", "1.3.0", REGISTRY),
            ("tokio", "1.0.0", REGISTRY),
        ]);
        assert_eq!(
            stable(&old),
            r#"stable = ["csv_output", "html_reports", "async_std", "async_futures", "async_smol", "async_tokio"]"#
        );
        let new = lock(&[("criterion", "0.8.2", REGISTRY), ("tokio", "1.0.0", REGISTRY)]);
        assert_eq!(stable(&new), r#"stable = ["csv_output", "html_reports", "async_tokio"]"#);
        let manifest = MANIFEST.replace("{{stable}}", &stable(&new));
        let manifest: DocumentMut = format!("[package]\nname = \"criterion\"{manifest}").parse().unwrap();
        let features = manifest["features"].as_table().unwrap();
        let known = |name: &str| features.contains_key(name) || name.starts_with("dep:");
        for (name, brings) in features {
            for brought in brings.as_array().unwrap() {
                assert!(known(brought.as_str().unwrap()), "{name} brings {brought}");
            }
        }
    }

    #[test]
    fn the_sources_are_all_there() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("duet/src");
        let mut there: Vec<String> = std::fs::read_dir(own)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        assert_eq!(there, SOURCES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
