//! The Rust toolchain that builds both sides: where it is, and where it is seen.

use super::{RUST_INSIDE, Walls};
use anyhow::{Context, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The toolchain of the machine's owner. A repository's `rust-toolchain.toml` does not change it: the path holds the
/// toolchain's own programs, not rustup's.
#[derive(Clone, Debug)]
pub struct Toolchain {
    sysroot: PathBuf,
    version: String,
    cargo_home: PathBuf,
}

const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

impl Toolchain {
    pub(super) fn find() -> anyhow::Result<Toolchain> {
        let ask = |args: &[&str]| -> anyhow::Result<String> {
            // Asked in the root directory, where no repository's toolchain file is found.
            let output =
                Command::new("rustc").args(args).current_dir("/").output().context(
                    "no Rust toolchain: rustc is not on the PATH; install it from https://rustup.rs",
                )?;
            let complaint = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "rustc does not work: {}", complaint.trim());
            Ok(String::from_utf8(output.stdout).context("rustc's answer")?.trim().to_owned())
        };
        Ok(Toolchain {
            sysroot: ask(&["--print", "sysroot"])?.into(),
            version: ask(&["--version"])?,
            cargo_home: owners_cargo_home(),
        })
    }

    pub fn sysroot(&self) -> &Path {
        &self.sysroot
    }

    /// `rustc --version`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The `CARGO_HOME` of the machine's owner. It may hold credentials: never mounted as it is.
    pub fn cargo_home(&self) -> &Path {
        &self.cargo_home
    }

    /// Whether it must be mounted, being neither below `/usr` nor anywhere else that is seen anyway.
    pub(super) fn to_mount(&self) -> Option<&Path> {
        (!self.sysroot.starts_with("/usr")).then_some(&self.sysroot)
    }

    pub(super) fn search_path(&self, walls: Walls) -> OsString {
        let root = match (walls, self.to_mount()) {
            (Walls::Bubblewrap, Some(_)) => Path::new(RUST_INSIDE),
            _ => &self.sysroot,
        };
        let mut path = root.join("bin").into_os_string();
        path.push(":");
        path.push(SYSTEM_PATH);
        path
    }
}

fn owners_cargo_home() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into()));
    std::env::var_os("CARGO_HOME")
        .filter(|path| !path.is_empty())
        .map_or_else(|| home().join(".cargo"), PathBuf::from)
}
