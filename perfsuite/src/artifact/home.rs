//! Cargo's home, and the dependencies in it: fetched in a stage of their own, the only one with network.

use super::{Places, Task, copy_tree, last_lines, prepare_without_cargo, say, stopped};
use crate::model::Side;
use crate::model::wire::Phase;
use crate::process::Echo;
use crate::sandbox::{Command, Network, Sandbox};
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Downloading the dependencies of a large workspace on a slow line.
pub(crate) const FETCH_MAX: Duration = Duration::from_secs(10 * 60);
/// Asking a compiler for its version, cargo for its metadata.
const ASK_MAX: Duration = Duration::from_secs(60);
/// A lockfile larger than this is none.
const LOCK_MAX_BYTES: u64 = 16 << 20;
/// What a machine's owner may have set so that downloads work at all. None of it is a secret of the runner.
pub(crate) const NETWORK_VARIABLES: &[&str] = &[
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

/// Which directory is `CARGO_HOME`.
///
/// Within walls it is one of the runner's own for each repository, since the owner's holds credentials; only the base's
/// fetch writes to it, and later jobs of the repository share it. A head that needs more gets a copy, so that nothing that a pull request brings stays.
/// Without walls it is the owner's own code, and the owner's own home.
#[derive(Clone, Debug)]
pub(crate) struct CargoHome {
    path: PathBuf,
    walled: bool,
}

impl CargoHome {
    pub(super) fn shared(task: &Task) -> anyhow::Result<CargoHome> {
        if !task.sandbox.walled() {
            return Ok(CargoHome { path: task.sandbox.toolchain().cargo_home().to_owned(), walled: false });
        }
        let path = shared_in(&task.cache, task.repository_name);
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the cache at {}", path.display()))?;
        Ok(CargoHome { path, walled: true })
    }

    /// For everything but fetching: to be read only.
    pub(super) fn mount(&self, command: &mut Command) {
        if self.walled {
            command.cargo_home(&self.path);
        } else {
            command.env("CARGO_HOME", &self.path);
        }
    }

    fn mount_for(&self, access: Access, command: &mut Command) {
        match access {
            Access::Write if self.walled => drop(command.cargo_home_writable(&self.path)),
            _ => self.mount(command),
        }
    }

    /// A copy for one job.
    fn private(&self, places: &Places) -> anyhow::Result<CargoHome> {
        let path = places.own_cargo_home();
        copy_tree(&self.path, &path)?;
        Ok(CargoHome { path, walled: self.walled })
    }
}

/// Where a repository's jobs share their downloads.
pub(crate) fn shared_in(cache: &Path, repository_name: &str) -> PathBuf {
    super::cache::place_of(cache, repository_name).join("cargo-home")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Fetches what the lockfile names, from what is here already when that suffices, else from the network. Makes the
/// lockfile where the repository has none; the head then gets the base's. Returns the home to build with; the inner
/// error is cargo's complaint.
pub(super) fn fetch(
    task: &Task,
    places: &Places,
    shared: CargoHome,
    side: Side,
) -> anyhow::Result<Result<CargoHome, String>> {
    let lock = places.source().join("Cargo.lock");
    // The checkout is a stranger's: a link in the lockfile's place would be written through.
    let made = match std::fs::symlink_metadata(&lock) {
        Ok(meta) if meta.is_file() => false,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        _ => return Ok(Err("Cargo.lock is not a regular file".into())),
    };
    places.lock_made.set(made);
    if made && side == Side::Head && places.base_lock().is_file() {
        let base = std::fs::read(places.base_lock()).context("cannot read the base's lockfile")?;
        let mut new = std::fs::File::create_new(&lock).context("cannot make the head's lockfile")?;
        std::io::Write::write_all(&mut new, &base).context("cannot give the head the base's lockfile")?;
        task.sandbox.give(&places.source())?;
    }
    say(task.observer, Phase::Preparing, &format!("resolving the dependencies of the {}", side.as_str()));
    let mut home = shared;
    if home.walled && side == Side::Head {
        if cargo_fetch(task, places, &home, Access::Read, Network::None)?.is_ok() {
            return Ok(Ok(home));
        }
        home = home.private(places)?;
    }
    // A private home is nobody else's.
    let shared = home.walled && side == Side::Base;
    let _writing = if shared { Some(writing(task, &home.path)?) } else { None };
    if home.walled {
        seed(task.sandbox, &places.source(), &home.path)?;
    }
    let mut fetched = cargo_fetch(task, places, &home, Access::Write, Network::None)?;
    if fetched.is_err() {
        say(task.observer, Phase::Preparing, &format!("fetching the dependencies of the {}", side.as_str()));
        fetched = cargo_fetch(task, places, &home, Access::Write, Network::Fetch)?;
    }
    if side == Side::Base && fetched.is_ok() && lock.is_file() {
        std::fs::copy(&lock, places.base_lock()).context("cannot keep the base's lockfile")?;
    }
    Ok(fetched.map(|()| home))
}

/// One job at a time writes to a shared home: it belongs to the user of the job's sandbox meanwhile, which for root's
/// runners is another for each.
fn writing(task: &Task, home: &Path) -> anyhow::Result<std::fs::File> {
    const POLL: Duration = Duration::from_millis(50);
    let path = home.with_extension("lock");
    let cannot = || format!("cannot lock {}", path.display());
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(cannot)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => stopped(task.observer)?,
            Err(std::fs::TryLockError::Error(error)) => return Err(error).with_context(cannot),
        }
        std::thread::sleep(POLL);
    }
}

fn cargo_fetch(
    task: &Task,
    places: &Places,
    home: &CargoHome,
    access: Access,
    network: Network,
) -> anyhow::Result<Result<(), String>> {
    stopped(task.observer)?;
    let mut prepared = prepare_without_cargo(task, places, "cargo");
    let command = &mut prepared.command;
    home.mount_for(access, command);
    command.args(["fetch", "--target", host_triple(&places.rustc)?]).deadline(FETCH_MAX);
    command.args((!places.lock_made.get()).then_some("--locked"));
    match network {
        Network::None => drop(command.arg("--offline")),
        Network::Fetch => {
            command.network(Network::Fetch).echo(Echo::Stderr);
            for name in NETWORK_VARIABLES {
                if let Some(value) = std::env::var_os(name) {
                    command.env(name, value);
                }
            }
        }
    }
    let finished = task.sandbox.run(command, task.observer).context("cannot run cargo fetch")?;
    stopped(task.observer)?;
    if finished.success() {
        return Ok(Ok(()));
    }
    let output = last_lines(&finished.stderr_tail);
    Ok(Err(format!("the dependencies could not be fetched (cargo fetch: {})\n{output}", finished.in_words())))
}

/// `rustc --version --verbose`, by the toolchain that builds.
pub(super) fn rustc_version(task: &Task) -> anyhow::Result<String> {
    let mut command = task.sandbox.command("rustc");
    command.args(["--version", "--verbose"]).deadline(ASK_MAX);
    let finished = task.sandbox.run(&command, task.observer).context("cannot run rustc")?;
    stopped(task.observer)?;
    ensure!(finished.success(), "rustc does not work: {}", finished.stderr_tail.trim());
    Ok(finished.stdout_text().trim().to_owned())
}

pub(super) fn host_triple(rustc: &str) -> anyhow::Result<&str> {
    rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not say its host")
}

pub(super) fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    let plain = std::fs::symlink_metadata(path).ok().filter(|m| m.is_file() && m.len() <= LOCK_MAX_BYTES)?;
    std::fs::read(path).ok().filter(|bytes| bytes.len() as u64 <= plain.len().max(LOCK_MAX_BYTES))
}

/// Brings over what the machine's owner has downloaded already: the registries' indexes, and of the packages those
/// that the lockfile names. Saves the network; nothing else of the owner's home is looked at.
pub(crate) fn seed(sandbox: &Sandbox, source: &Path, home: &Path) -> anyhow::Result<()> {
    let owners = sandbox.toolchain().cargo_home().join("registry");
    let ours = home.join("registry");
    let index = ours.join("index");
    let mut brought = false;
    if !index.exists() && owners.join("index").is_dir() {
        std::fs::create_dir_all(&ours)?;
        copy_whole(&owners.join("index"), &index)?;
        brought = true;
    }
    let Some(lock) = read_bounded(&source.join("Cargo.lock")) else {
        // Nothing says what will be needed: everything may be.
        if owners.join("cache").is_dir() && !ours.join("cache").exists() {
            std::fs::create_dir_all(&ours)?;
            copy_whole(&owners.join("cache"), &ours.join("cache"))?;
        }
        return sandbox.give(home).context(HAND_OVER);
    };
    let packages = locked_packages(&lock);
    for registry in std::fs::read_dir(owners.join("cache")).into_iter().flatten().flatten() {
        let to = ours.join("cache").join(registry.file_name());
        std::fs::create_dir_all(&to)?;
        for package in &packages {
            let (from, to) = (registry.path().join(package), to.join(package));
            if from.is_file() && !to.exists() {
                copy_whole(&from, &to)?;
                brought = true;
            }
        }
    }
    if brought { sandbox.give(home).context(HAND_OVER) } else { Ok(()) }
}

/// All of it or nothing, since other jobs may look at the same place: copied aside, then renamed.
fn copy_whole(from: &Path, to: &Path) -> anyhow::Result<()> {
    let parent = to.parent().context("a place without a directory")?;
    let aside = tempfile::Builder::new().prefix(".copying-").tempdir_in(parent)?;
    let copy = aside.path().join("copy");
    copy_tree(from, &copy)?;
    match std::fs::rename(&copy, to) {
        // Another job was sooner.
        Err(_) if to.exists() => Ok(()),
        result => result.with_context(|| format!("cannot make {}", to.display())),
    }
}

const HAND_OVER: &str = "cannot hand cargo's home to the sandbox";

/// File names of the registry packages that a lockfile names; empty when it cannot be read as one.
fn locked_packages(lock: &[u8]) -> Vec<String> {
    let parsed = std::str::from_utf8(lock).ok().and_then(|text| text.parse::<toml_edit::DocumentMut>().ok());
    let Some(document) = parsed else { return vec![] };
    let Some(packages) = document.get("package").and_then(|item| item.as_array_of_tables()) else {
        return vec![];
    };
    // Names and versions become file names: nothing but what cargo allows in them.
    let plain = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
    };
    packages
        .iter()
        .filter_map(|package| {
            let field = |name: &str| package.get(name).and_then(|value| value.as_str());
            let from_registry = field("source").is_some_and(|source| source.starts_with("registry+"));
            match (field("name"), field("version")) {
                (Some(name), Some(version)) if from_registry && plain(name) && plain(version) => {
                    Some(format!("{name}-{version}.crate"))
                }
                _ => None,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_packages_are_those_of_registries() {
        let lock = br#"
version = 4
[[package]]
name = "own"
version = "0.1.0"
[[package]]
name = "serde"
version = "1.0.229"
source = "registry+https://github.com/rust-lang/crates.io-index"
[[package]]
name = "../../evil"
version = "1.0.0"
source = "registry+https://example.org"
[[package]]
name = "forked"
version = "1.0.0"
source = "git+https://example.org/forked"
"#;
        assert_eq!(locked_packages(lock), ["serde-1.0.229.crate"]);
        assert!(locked_packages(b"\xff").is_empty());
        assert!(locked_packages(b"package = 3").is_empty());
    }
}
