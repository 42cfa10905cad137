//! Which criterion benches a checkout has, by cargo's metadata and the manifests.

use super::home::CargoHome;
use super::{Places, Task, last_lines, prepare, stopped};
use crate::model::{CriterionSuite, Mode, SuiteKind, SuiteSpec};
use anyhow::Context;
use cargo_metadata::{Metadata, Package, TargetKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Reading manifests; a minute is a workspace of thousands of packages.
const METADATA_MAX: Duration = Duration::from_secs(60);
/// A workspace of a thousand packages describes itself in about 10 MiB.
const METADATA_MAX_BYTES: usize = 32 << 20;
/// A manifest larger than this is none.
const MANIFEST_MAX_BYTES: u64 = 4 << 20;

/// A bench target that criterion drives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BenchTarget {
    pub package: String,
    pub bench: String,
    /// The package's directory below the checkout: a bench's working directory.
    pub directory: PathBuf,
    /// Features without which cargo does not build it.
    pub required_features: Vec<String>,
}

/// What a checkout offers.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) benches: Vec<BenchTarget>,
    /// Benches that criterion does not drive, in words.
    pub(super) notes: Vec<String>,
}

impl Found {
    /// The benches that a suite means: of its package and name, where it gives them. Benches whose required features
    /// the suite does not switch on are left out, as `cargo bench` does.
    pub(super) fn matching(&self, suite: &CriterionSuite) -> Vec<BenchTarget> {
        self.benches
            .iter()
            .filter(|target| suite.package.as_ref().is_none_or(|package| *package == target.package))
            .filter(|target| suite.bench.as_ref().is_none_or(|bench| *bench == target.bench))
            .filter(|target| target.required_features.iter().all(|needed| suite.features.contains(needed)))
            .cloned()
            .collect()
    }
}

/// Asks cargo, without resolving dependencies. The inner error is cargo's complaint about the manifests.
pub(super) fn benches(
    task: &Task,
    places: &Places,
    cargo: &CargoHome,
) -> anyhow::Result<Result<Found, String>> {
    let mut prepared = prepare(task, places, cargo, "cargo");
    prepared
        .command
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .deadline(METADATA_MAX)
        .keep(METADATA_MAX_BYTES, METADATA_MAX_BYTES);
    let finished = task.sandbox.run(&prepared.command, task.observer).context("cannot run cargo metadata")?;
    stopped(task.observer)?;
    if !finished.success() {
        let output = last_lines(&finished.stderr_tail);
        return Ok(Err(format!("cargo cannot read the manifests ({})\n{output}", finished.in_words())));
    }
    let text = finished.stdout_text();
    let Some(line) = text.lines().find(|line| line.starts_with('{')) else {
        return Ok(Err("cargo metadata printed no metadata".into()));
    };
    let metadata: Metadata = match serde_json::from_str(line) {
        Ok(metadata) => metadata,
        Err(error) => return Ok(Err(format!("cargo metadata cannot be read: {error}"))),
    };
    let mut found = Found::default();
    for package in &metadata.packages {
        look_into(package, &prepared.seen_source, &places.source(), &mut found);
    }
    found.benches.sort();
    Ok(Ok(found))
}

/// One suite for each package with benches, named like the package; packages that are there already are left.
pub(super) fn add_suites(found: &Found, suites: &mut Vec<SuiteSpec>) {
    let packages: BTreeSet<&String> = found.benches.iter().map(|target| &target.package).collect();
    for package in packages {
        if !suites.iter().any(|suite| suite.name == *package) {
            suites.push(SuiteSpec {
                name: package.clone(),
                kind: SuiteKind::Criterion(CriterionSuite {
                    package: Some(package.clone()),
                    bench: None,
                    features: vec![],
                }),
                paths: vec![],
                on: "push".into(),
                mode: Mode::default(),
                metrics: BTreeMap::new(),
                benchmarks: BTreeMap::new(),
            });
        }
    }
}

fn look_into(package: &Package, seen_source: &Path, source: &Path, found: &mut Found) {
    let Some(seen) = package.manifest_path.parent().map(|directory| directory.as_std_path()) else { return };
    // A package outside of the checkout (a path that leads out of it) is none of ours.
    let Ok(directory) = seen.strip_prefix(seen_source) else { return };
    let criterion = package.dependencies.iter().any(|dependency| {
        dependency.name == "criterion" || dependency.rename.as_deref() == Some("criterion")
    });
    let own_main = without_harness(source, &directory.join("Cargo.toml"));
    for target in package.targets.iter().filter(|target| target.kind.contains(&TargetKind::Bench)) {
        let called = format!("bench `{}` of `{}`", target.name, package.name);
        if !criterion {
            found.notes.push(format!("{called} is left out: the package does not depend on criterion"));
        } else if !own_main.contains(&target.name) {
            found.notes.push(format!(
                "{called} is left out: it runs under Rust's own harness (no `harness = false`)"
            ));
        } else {
            found.benches.push(BenchTarget {
                package: package.name.to_string(),
                bench: target.name.clone(),
                directory: directory.to_owned(),
                required_features: target.required_features.clone(),
            });
        }
    }
}

/// Names of the `[[bench]]` sections with `harness = false`: cargo's metadata does not say.
fn without_harness(source: &Path, manifest: &Path) -> BTreeSet<String> {
    let parsed = read_inside(source, manifest).and_then(|text| text.parse::<toml_edit::DocumentMut>().ok());
    let Some(document) = parsed else { return BTreeSet::new() };
    let named = |bench: &dyn toml_edit::TableLike| {
        let own = bench.get("harness").and_then(|harness| harness.as_bool()) == Some(false);
        own.then(|| bench.get("name").and_then(|name| name.as_str()).map(str::to_owned)).flatten()
    };
    match document.get("bench") {
        Some(toml_edit::Item::ArrayOfTables(benches)) => benches.iter().filter_map(|b| named(b)).collect(),
        Some(toml_edit::Item::Value(toml_edit::Value::Array(benches))) => {
            benches.iter().filter_map(|b| b.as_inline_table()).filter_map(|b| named(b)).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// A file of the checkout, unless links lead out of it.
fn read_inside(source: &Path, file: &Path) -> Option<String> {
    let root = source.canonicalize().ok()?;
    let path = source.join(file).canonicalize().ok().filter(|path| path.starts_with(&root))?;
    let size = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?.len();
    (size <= MANIFEST_MAX_BYTES).then(|| std::fs::read_to_string(path).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benches_without_harness_are_found_in_both_spellings() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(
            root.path().join("Cargo.toml"),
            "[[bench]]\nname = 'one'\nharness = false\n[[bench]]\nname = 'two'\n[[bench]]\nname = 'three'\nharness = true\n",
        )
        .unwrap();
        std::fs::write(root.path().join("inline.toml"), "bench = [{ name = 'four', harness = false }]\n")
            .unwrap();
        let names =
            |file: &str| without_harness(root.path(), Path::new(file)).into_iter().collect::<Vec<_>>();
        assert_eq!(names("Cargo.toml"), ["one"]);
        assert_eq!(names("inline.toml"), ["four"]);
        assert!(names("missing.toml").is_empty());
    }

    #[test]
    fn a_link_out_of_the_checkout_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("Cargo.toml")).unwrap();
        assert_eq!(read_inside(root.path(), Path::new("Cargo.toml")), None);
    }

    #[test]
    fn a_suite_means_its_package_bench_and_features() {
        let target = |package: &str, bench: &str, features: &[&str]| BenchTarget {
            package: package.into(),
            bench: bench.into(),
            directory: PathBuf::new(),
            required_features: features.iter().map(|f| f.to_string()).collect(),
        };
        let found = Found {
            benches: vec![target("a", "x", &[]), target("a", "y", &["fast"]), target("b", "x", &[])],
            notes: vec![],
        };
        let names = |package: Option<&str>, bench: Option<&str>, features: &[&str]| {
            let suite = CriterionSuite {
                package: package.map(Into::into),
                bench: bench.map(Into::into),
                features: features.iter().map(|f| f.to_string()).collect(),
            };
            found.matching(&suite).iter().map(|t| format!("{}/{}", t.package, t.bench)).collect::<Vec<_>>()
        };
        assert_eq!(names(Some("a"), None, &[]), ["a/x"]);
        assert_eq!(names(Some("a"), None, &["fast"]), ["a/x", "a/y"]);
        assert_eq!(names(None, Some("x"), &[]), ["a/x", "b/x"]);
        assert!(names(Some("c"), None, &[]).is_empty());
    }
}
