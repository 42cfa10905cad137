//! Where checks run: one checkout, one target directory, one home of cargo's, for one job alone.

use crate::artifact::git;
use crate::artifact::{copy_tree, home, stopped};
use crate::disk;
use crate::measure::Job;
use crate::model::Sha;
use crate::observe::Observer;
use crate::process::Echo;
use crate::sandbox::{Command, Limits, Network, SOURCE_INSIDE, Sandbox, TARGET_INSIDE};
use anyhow::Context;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The end of cargo's words on dependencies.
const COMPLAINTS_MAX_BYTES: usize = 8 << 10;

pub struct Place<'a> {
    pub(super) sandbox: &'a Sandbox,
    pub(super) observer: &'a dyn Observer,
    pub(super) limits: Limits,
    work: PathBuf,
    cargo_home: PathBuf,
}

impl<'a> Place<'a> {
    /// `work` is the place's alone; downloads come to `cargo_home`, which the sandboxed code may write to while it
    /// fetches.
    pub fn new(
        sandbox: &'a Sandbox,
        observer: &'a dyn Observer,
        work: &Path,
        cargo_home: PathBuf,
    ) -> anyhow::Result<Place<'a>> {
        let place = Place { sandbox, observer, limits: Limits::default(), work: work.to_owned(), cargo_home };
        for directory in [&place.target(), &place.source(), &place.cargo_home] {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        Ok(place)
    }

    /// A runner's: with a copy of what the repository's jobs have downloaded, since nothing that a pull request brings
    /// may stay.
    pub(super) fn of_job(
        job: &'a Job,
        observer: &'a dyn Observer,
        work: &Path,
        limits: Limits,
    ) -> anyhow::Result<Place<'a>> {
        let cargo_home = work.join("cargo-home");
        let shared = home::shared_in(&job.cache_dir, &job.spec.repository);
        if job.sandbox.walled() && shared.is_dir() {
            copy_tree(&shared, &cargo_home)?;
        }
        Ok(Place { limits, ..Place::new(&job.sandbox, observer, work, cargo_home)? })
    }

    /// Where sources are laid, of this machine's paths.
    pub fn source(&self) -> PathBuf {
        self.work.join("src")
    }

    pub(super) fn target(&self) -> PathBuf {
        self.work.join("target")
    }

    /// Where programs see the sources.
    pub(super) fn seen_source(&self) -> PathBuf {
        if self.sandbox.walled() { PathBuf::from(SOURCE_INSIDE) } else { self.source() }
    }

    /// Removes the sources that stand here: what ran on them may have left links.
    pub fn clear_source(&self) -> anyhow::Result<()> {
        disk::remove_tree(&self.source()).context("cannot remove a checkout")?;
        std::fs::create_dir_all(self.source()).context("cannot make a directory for the sources")
    }

    /// Lays a commit's files in the place of what stands here.
    pub(super) fn check_out(&self, git_dir: &Path, commit: &Sha) -> anyhow::Result<()> {
        self.clear_source()?;
        let index = self.work.join("index");
        let _ = std::fs::remove_file(&index);
        git::check_out(git_dir, &self.source(), &index, commit)
    }

    /// A program that works on the sources, with cargo's home for reading.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.bare(program);
        self.home(&mut command, Home::Read);
        command
    }

    fn bare(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.sandbox.command(program);
        let source = command.write(self.source(), SOURCE_INSIDE);
        let target = command.write(self.target(), TARGET_INSIDE);
        command.limits(self.limits).cwd(source);
        command
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_NET_OFFLINE", "true");
        command
    }

    /// Dependencies: from what is here when that suffices, else from the network. The inner error is cargo's.
    pub(super) fn fetch(&self) -> anyhow::Result<Result<(), String>> {
        if !self.source().join("Cargo.toml").is_file() {
            return Ok(Ok(()));
        }
        if self.sandbox.walled() {
            home::seed(self.sandbox, &self.source(), &self.cargo_home)?;
        }
        let mut words = String::new();
        for network in [Network::None, Network::Fetch] {
            stopped(self.observer)?;
            let mut command = self.bare("cargo");
            self.home(&mut command, Home::Write);
            command.arg("fetch");
            if network == Network::Fetch {
                command.env("CARGO_NET_OFFLINE", "false").echo(Echo::Stderr);
                let set = home::NETWORK_VARIABLES.iter();
                for (name, value) in set.filter_map(|name| Some((name, std::env::var_os(name)?))) {
                    command.env(name, value);
                }
            }
            command
                .network(network)
                .deadline(home::FETCH_MAX)
                .keep(COMPLAINTS_MAX_BYTES, COMPLAINTS_MAX_BYTES);
            let finished = self.sandbox.run(&command, self.observer).context("cannot run cargo")?;
            stopped(self.observer)?;
            if finished.success() {
                return Ok(Ok(()));
            }
            words = format!("cargo fetch: {}\n{}", finished.in_words(), finished.stderr_tail);
        }
        Ok(Err(words))
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
}

#[derive(Clone, Copy)]
enum Home {
    Read,
    Write,
}
