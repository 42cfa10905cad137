//! Builds and runs the tests of the packages that were grafted.

use super::place::Place;
use super::read_harness;
use crate::artifact::{last_lines, stopped};
use crate::model::checks::{Ran, TestRan};
use crate::process::{End, Exit};
use crate::sandbox::{SOURCE_INSIDE, TARGET_INSIDE};
use anyhow::Context;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One side's tests, compiled.
const BUILD_MAX: Duration = Duration::from_secs(30 * 60);
/// One test executable.
const TEST_MAX: Duration = Duration::from_secs(10 * 60);
/// A whole proof: three builds, and what is run between them.
pub(super) const PROOF_MAX: Duration = Duration::from_secs(2 * 60 * 60);
/// cargo's messages: about 2 KiB an artifact; of more the end is kept, where the tests are.
const MESSAGES_MAX_BYTES: usize = 32 << 20;
/// The end of the compiler's words.
const COMPLAINTS_MAX_BYTES: usize = 8 << 10;
/// What one test executable prints; of more the end is kept, where the failures are.
const OUTPUT_MAX_BYTES: usize = 4 << 20;

/// The tests of some packages, of whatever sources stand in the place.
pub(super) struct Suite<'a> {
    pub place: &'a Place<'a>,
    /// What was grafted: the tests of the packages that hold it are run.
    pub grafted: &'a [String],
}

/// A test executable.
struct Executable {
    /// `test inner/overflow`: kind, package and target.
    name: String,
    /// As the program sees it.
    path: PathBuf,
    /// Its package, below the sources.
    directory: PathBuf,
}

impl Suite<'_> {
    pub fn run_once(&self) -> anyhow::Result<Ran> {
        self.run(1)?.pop().context("it was run once")
    }

    /// Builds the tests, and runs them `times`. What does not compile is told once.
    pub fn run(&self, times: u32) -> anyhow::Result<Vec<Ran>> {
        if let Err(output) = self.place.fetch()? {
            return Ok(vec![Ran::DoesNotCompile { output: last_lines(&output) }]);
        }
        let mut command = self.place.command("cargo");
        command.args([
            "test",
            "--workspace",
            "--no-run",
            "--offline",
            "--message-format=json-render-diagnostics",
        ]);
        command.deadline(BUILD_MAX).keep(MESSAGES_MAX_BYTES, COMPLAINTS_MAX_BYTES);
        let built = self.place.sandbox.run(&command, self.place.observer).context("cannot run cargo")?;
        stopped(self.place.observer)?;
        anyhow::ensure!(
            !built.timed_out(),
            "the tests took longer to build than {} minutes",
            BUILD_MAX.as_secs() / 60
        );
        if !built.success() {
            return Ok(vec![Ran::DoesNotCompile { output: last_lines(&built.stderr_tail) }]);
        }
        let executables = self.executables(&built.stdout);
        let mut runs = Vec::new();
        for _ in 0..times {
            let mut tests = Vec::new();
            for executable in &executables {
                tests.extend(self.test(executable)?);
            }
            runs.push(Ran::Tests { tests });
        }
        Ok(runs)
    }

    /// Test executables of the packages that hold what was grafted, by cargo's messages.
    fn executables(&self, messages: &[u8]) -> Vec<Executable> {
        let seen = self.place.seen_source();
        let messages = messages.split(|byte| *byte == b'\n');
        let found = messages.filter_map(|line| {
            let message: Value = serde_json::from_slice(line).ok()?;
            let path = message["executable"].as_str().filter(|_| message["profile"]["test"] == true)?;
            let manifest = Path::new(message["manifest_path"].as_str()?).parent()?;
            let directory = manifest.strip_prefix(&seen).ok()?.to_path_buf();
            // A library and a program may have one name.
            let kind = message["target"]["kind"][0].as_str()?;
            let target = directory.join(message["target"]["name"].as_str()?);
            let name = format!("{kind} {}", target.display());
            Some(Executable { name, path: path.into(), directory })
        });
        let all: Vec<Executable> = found.collect();
        // The package of a file is the innermost one that holds it.
        let package_of = |path: &str| {
            let holding = all.iter().filter(|e| Path::new(path).starts_with(&e.directory));
            holding.map(|e| e.directory.clone()).max_by_key(|directory| directory.components().count())
        };
        let wanted: Vec<PathBuf> = self.grafted.iter().filter_map(|path| package_of(path)).collect();
        all.into_iter().filter(|executable| wanted.contains(&executable.directory)).collect()
    }

    fn test(&self, executable: &Executable) -> anyhow::Result<Vec<TestRan>> {
        let place = self.place;
        let mut command = place.sandbox.command(&executable.path);
        let source = command.write(place.source(), SOURCE_INSIDE);
        command.write(place.target(), TARGET_INSIDE);
        let package = source.join(&executable.directory);
        command.limits(place.limits).cwd(&package).env("CARGO_MANIFEST_DIR", &package);
        command.deadline(TEST_MAX).keep(OUTPUT_MAX_BYTES, COMPLAINTS_MAX_BYTES);
        let finished = place.sandbox.run(&command, place.observer).context("cannot run a test")?;
        stopped(place.observer)?;
        let ended = match finished.end {
            End::Exited(Exit::Code(code)) => Ok(code),
            _ => Err(finished.in_words()),
        };
        Ok(read_harness(&executable.name, &finished.stdout_text(), ended))
    }
}
