//! Builds and runs the tests of the packages that were grafted, in the sandbox.

use super::outcome::{Ran, Results, read};
use anyhow::Context;
use perfsuite::observe::Observer;
use perfsuite::process::{End, Exit};
use perfsuite::sandbox::{Command, Limits, Network, SOURCE_INSIDE, Sandbox, TARGET_INSIDE};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Downloading the dependencies of a large workspace on a slow line.
const FETCH_MAX: Duration = Duration::from_secs(10 * 60);
/// One side's tests, compiled.
const BUILD_MAX: Duration = Duration::from_secs(30 * 60);
/// One test executable.
const TEST_MAX: Duration = Duration::from_secs(10 * 60);
/// cargo's messages: about 2 KiB an artifact; of more the end is kept, where the tests are.
const MESSAGES_MAX_BYTES: usize = 32 << 20;
/// The end of the compiler's words.
const COMPLAINTS_MAX_BYTES: usize = 8 << 10;
/// What one test executable prints; of more the end is kept, where the failures are.
const OUTPUT_MAX_BYTES: usize = 4 << 20;
/// What a machine's owner may have set so that downloads work at all. None of it is a secret.
const NETWORK_VARIABLES: [&str; 9] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CARGO_HTTP_CAINFO",
];

/// One side's sources with a target directory of their own.
pub struct Suite<'a> {
    sandbox: &'a Sandbox,
    observer: &'a dyn Observer,
    source: PathBuf,
    target: PathBuf,
    cargo_home: PathBuf,
    /// What was grafted: the tests of the packages that hold it are run.
    grafted: &'a [String],
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

impl<'a> Suite<'a> {
    /// `place` holds `src`; the rest of it is the suite's.
    pub fn new(
        sandbox: &'a Sandbox,
        observer: &'a dyn Observer,
        place: &Path,
        cache: &Path,
        grafted: &'a [String],
    ) -> anyhow::Result<Suite<'a>> {
        let (target, cargo_home) = (place.join("target"), cache.join("cargo-home"));
        for directory in [&target, &cargo_home] {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        Ok(Suite { sandbox, observer, source: place.join("src"), target, cargo_home, grafted })
    }

    /// Builds the tests, and runs them `times`.
    pub fn run(&mut self, times: usize) -> anyhow::Result<Vec<Ran>> {
        if let Err(output) = self.fetch()? {
            return Ok(vec![Ran::DoesNotCompile { output }]);
        }
        let mut command = self.cargo();
        self.home(&mut command, Home::Read);
        command.args([
            "test",
            "--workspace",
            "--no-run",
            "--offline",
            "--message-format=json-render-diagnostics",
        ]);
        command.deadline(BUILD_MAX).keep(MESSAGES_MAX_BYTES, COMPLAINTS_MAX_BYTES);
        let built = self.sandbox.run(&command, self.observer).context("cannot run cargo")?;
        anyhow::ensure!(
            !built.timed_out(),
            "the tests took longer to build than {} minutes",
            BUILD_MAX.as_secs() / 60
        );
        if !built.success() {
            return Ok(vec![Ran::DoesNotCompile { output: built.stderr_tail }]);
        }
        let executables = self.executables(&built.stdout);
        let mut runs = Vec::new();
        for _ in 0..times {
            let mut results = Results::new();
            for executable in &executables {
                results.extend(self.test(executable)?);
            }
            runs.push(Ran::Tests(results));
        }
        Ok(runs)
    }

    /// Dependencies: from what is here when that suffices, else from the network. The inner error is cargo's.
    fn fetch(&self) -> anyhow::Result<Result<(), String>> {
        let mut words = String::new();
        for (home, network) in [(Home::Read, Network::None), (Home::Write, Network::Fetch)] {
            let mut command = self.cargo();
            self.home(&mut command, home);
            command.arg("fetch").args((network == Network::None).then_some("--offline"));
            if network == Network::Fetch {
                let set = NETWORK_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
                for (name, value) in set {
                    command.env(name, value);
                }
            }
            command.network(network).deadline(FETCH_MAX).keep(COMPLAINTS_MAX_BYTES, COMPLAINTS_MAX_BYTES);
            let finished = self.sandbox.run(&command, self.observer).context("cannot run cargo")?;
            if finished.success() {
                return Ok(Ok(()));
            }
            words = finished.stderr_tail;
        }
        Ok(Err(words))
    }

    fn cargo(&self) -> Command {
        let mut command = self.sandbox.command("cargo");
        let source = command.write(&self.source, SOURCE_INSIDE);
        let target = command.write(&self.target, TARGET_INSIDE);
        command.limits(Limits::default()).cwd(source);
        command
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_INCREMENTAL", "0");
        command
    }

    fn home(&self, command: &mut Command, home: Home) {
        match home {
            // Without walls it is the owner's own code, and the owner's own home.
            _ if !self.sandbox.walled() => {
                command.env("CARGO_HOME", self.sandbox.toolchain().cargo_home());
            }
            Home::Read => {
                command.cargo_home(&self.cargo_home);
            }
            Home::Write => {
                command.cargo_home_writable(&self.cargo_home);
            }
        }
    }

    /// Test executables of the packages that hold what was grafted, by cargo's messages.
    fn executables(&self, messages: &[u8]) -> Vec<Executable> {
        let seen = if self.sandbox.walled() { PathBuf::from(SOURCE_INSIDE) } else { self.source.clone() };
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

    fn test(&self, executable: &Executable) -> anyhow::Result<Results> {
        let mut command = self.sandbox.command(&executable.path);
        let source = command.write(&self.source, SOURCE_INSIDE);
        command.write(&self.target, TARGET_INSIDE);
        let package = source.join(&executable.directory);
        command.limits(Limits::default()).cwd(&package).env("CARGO_MANIFEST_DIR", &package);
        command.deadline(TEST_MAX).keep(OUTPUT_MAX_BYTES, COMPLAINTS_MAX_BYTES);
        let finished = self.sandbox.run(&command, self.observer).context("cannot run a test")?;
        let ended = match finished.end {
            End::Exited(Exit::Code(code)) => Ok(code),
            _ => Err(finished.in_words()),
        };
        Ok(read(&executable.name, &finished.stdout_text(), ended))
    }
}

#[derive(Clone, Copy)]
enum Home {
    Read,
    Write,
}
