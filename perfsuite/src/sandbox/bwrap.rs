//! The walls: bubblewrap's arguments, and what root prepares before it.

use super::cargo_config::{self, CargoConfig};
use super::cgroup::Group;
use super::command::{Access, Command, Network, RUST_INSIDE};
use super::sys::{self, BeforeExec, Directory, Rlimit, Staged};
use super::{Toolchain, seccomp, users};
use anyhow::Context;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Shared memory: enough for a bench that uses it, too little to matter beside the memory limit.
const SHARED_MEMORY_BYTES: u64 = 64 << 20;

/// Seen read-only where they exist. `/bin`, `/lib` and the like are links on systems that merged them into `/usr`.
const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// The parts of `/etc` that programs need to be loaded and to know the time; no secrets, no configuration of the host.
const ETC: &[&str] =
    &["/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime"];

/// What fetching needs besides: names and certificates.
const ETC_FETCH: &[&str] = &[
    "/etc/ca-certificates",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/pki",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
];

/// Variables that name a file or directory of certificates.
const CERTIFICATES: &[&str] = &["SSL_CERT_FILE", "SSL_CERT_DIR", "CARGO_HTTP_CAINFO"];

/// bubblewrap as found, and how it is used here.
#[derive(Debug)]
pub struct Bubblewrap {
    program: PathBuf,
    version: String,
    /// System call filters, without and with network.
    closed: Vec<u8>,
    fetching: Vec<u8>,
    /// Run by root: the user to become, and the mount point where root stages what that user may not reach.
    as_root: Option<AsRoot>,
}

#[derive(Debug)]
struct AsRoot {
    uid: u32,
    _user: users::User,
    stage: tempfile::TempDir,
}

impl Bubblewrap {
    pub(super) fn find() -> anyhow::Result<Bubblewrap> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program =
            std::env::split_paths(&path).map(|directory| directory.join("bwrap")).find(|file| file.is_file());
        let program = program.context("bubblewrap is not installed (no `bwrap` on the PATH)")?;
        let output = std::process::Command::new(&program)
            .arg("--version")
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let as_root = match sys::effective_uid() {
            0 => {
                let user = users::take()?;
                Some(AsRoot { uid: user.uid, _user: user, stage: staging_directory()? })
            }
            _ => None,
        };
        Ok(Bubblewrap {
            program,
            version,
            closed: seccomp::program(Network::None)?,
            fetching: seccomp::program(Network::Fetch)?,
            as_root,
        })
    }

    pub(super) fn describe(&self) -> String {
        match &self.as_root {
            Some(_) => format!("{}, as a user of its own", self.version),
            None => self.version.clone(),
        }
    }

    /// Whom measured code runs as, when that is not the runner's own user.
    pub(super) fn user(&self) -> Option<u32> {
        self.as_root.as_ref().map(|root| root.uid)
    }

    pub(super) fn seccomp(&self, network: Network) -> &[u8] {
        match network {
            Network::None => &self.closed,
            Network::Fetch => &self.fetching,
        }
    }

    /// The user that owns what measured code may write, when that is not the runner's own.
    pub(super) fn give(&self, directory: &Path) -> io::Result<()> {
        match &self.as_root {
            Some(root) => give_tree(directory, root.uid),
            None => Ok(()),
        }
    }

    /// The bubblewrap process for a command, and what must happen in it before exec.
    pub(super) fn prepare(
        &self,
        command: &Command,
        toolchain: &Toolchain,
        pipes: Descriptors,
        group: Option<&Group>,
    ) -> io::Result<(std::process::Command, BeforeExec)> {
        let mut wrapped = std::process::Command::new(&self.program);
        let mut staged = Vec::new();
        let mut bind = |host: &Path,
                        inside: &Path,
                        access: Access,
                        args: &mut Vec<OsString>|
         -> io::Result<()> {
            let host = std::path::absolute(host)?;
            let source = match &self.as_root {
                None => host,
                Some(root) => {
                    let target = root.stage.path().join(staged.len().to_string());
                    let directory =
                        if std::fs::metadata(&host)?.is_dir() { Directory::Yes } else { Directory::No };
                    staged.push(Staged { source: c_string(&host)?, target: c_string(&target)?, directory });
                    target
                }
            };
            let option = if access == Access::Write { "--bind" } else { "--ro-bind" };
            args.extend([option.into(), source.into(), inside.into()]);
            Ok(())
        };

        let mut args: Vec<OsString> = Vec::new();
        let isolate = [
            "--unshare-user",
            "--disable-userns",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup-try",
            "--hostname",
            "sandbox",
            "--die-with-parent",
            "--new-session",
            "--cap-drop",
            "ALL",
            "--clearenv",
        ];
        args.extend(isolate.map(OsString::from));
        if command.network == Network::None {
            args.push("--unshare-net".into());
        }
        for path in SYSTEM {
            system_path(Path::new(path), &mut args);
        }
        let fetch: &[&str] = if command.network == Network::Fetch { ETC_FETCH } else { &[] };
        for path in ETC.iter().chain(fetch) {
            // Bound by its resolved source: `/etc/resolv.conf` is often a link to what is not seen inside.
            args.extend(["--ro-bind-try".into(), resolved(Path::new(path)), OsString::from(path)]);
        }
        args.extend(
            ["--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"].map(OsString::from),
        );
        args.extend(["--proc", "/proc", "--dev", "/dev"].map(OsString::from));
        tmpfs("/dev/shm", SHARED_MEMORY_BYTES, &mut args);
        tmpfs("/tmp", command.limits.tmp_bytes, &mut args);
        if let Some(sysroot) = toolchain.to_mount() {
            bind(sysroot, Path::new(RUST_INSIDE), Access::Read, &mut args)?;
        }
        for mount in &command.mounts {
            if mount.access == Access::Write {
                self.own(&mount.host)?;
            }
            bind(&mount.host, &mount.inside, mount.access, &mut args)?;
        }
        for path in self.named_paths(command, toolchain)? {
            bind(&path, &path, Access::Read, &mut args)?;
        }
        // Last, when all mount points exist: the root itself and `/dev` are memory, not to be filled.
        args.extend(["--remount-ro", "/dev", "--remount-ro", "/"].map(OsString::from));
        if let Some(cwd) = &command.cwd {
            args.extend(["--chdir".into(), cwd.into()]);
        }
        for (name, value) in &command.env {
            args.extend(["--setenv".into(), name.clone(), without_secret(name, value)]);
        }
        for (option, fd) in
            [("--seccomp", pipes.seccomp), ("--info-fd", pipes.info), ("--block-fd", pipes.block)]
        {
            args.extend([option.into(), fd.to_string().into()]);
        }
        args.push("--".into());
        args.push(command.program.clone());
        args.extend(command.args.iter().cloned());
        wrapped.args(args).env_clear().current_dir("/");

        let stage = match &self.as_root {
            Some(root) => Some((c_string(root.stage.path())?, staged)),
            None => None,
        };
        let before = BeforeExec {
            stage,
            join: doors(group)?,
            become_user: self.as_root.as_ref().map(|root| root.uid),
            limits: limits(command, group)?,
            inherit: vec![pipes.seccomp, pipes.info, pipes.block],
            die_with_parent: true,
        };
        Ok((wrapped, before))
    }

    /// Files and directories of the host that the configuration names: mirrors of registries, certificates. Also puts
    /// cargo's configuration in its place.
    fn named_paths(&self, command: &Command, toolchain: &Toolchain) -> io::Result<Vec<PathBuf>> {
        let mut paths = vec![];
        if let Some(home) = &command.cargo_home {
            if home == toolchain.cargo_home() {
                let words = "the owner's CARGO_HOME may hold credentials and is never mounted";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
            }
            let config =
                CargoConfig::of(toolchain.cargo_home()).map_err(|e| io::Error::other(format!("{e:#}")))?;
            config.place(home)?;
            paths.extend(config.paths);
        }
        if command.network == Network::Fetch {
            let certificates = CERTIFICATES.iter().filter_map(|name| command.env.get(OsStr::new(name)));
            paths.extend(certificates.map(PathBuf::from));
        }
        let seen = |path: &Path| SYSTEM.iter().chain(ETC_FETCH).any(|system| path.starts_with(system));
        paths.retain(|path| path.is_absolute() && path.exists() && !seen(path));
        paths.dedup();
        Ok(paths)
    }

    fn own(&self, directory: &Path) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        match &self.as_root {
            Some(root) if std::fs::metadata(directory)?.uid() != root.uid => give_tree(directory, root.uid),
            _ => Ok(()),
        }
    }
}

/// The ends of the three pipes that bubblewrap inherits.
#[derive(Clone, Copy)]
pub(super) struct Descriptors {
    pub(super) seccomp: i32,
    pub(super) info: i32,
    pub(super) block: i32,
}

/// A proxy's address without its password: fetching runs under the repository's configuration too.
fn without_secret(name: &OsStr, value: &OsStr) -> OsString {
    let proxy = name.to_str().is_some_and(|name| name.to_ascii_lowercase().ends_with("_proxy"));
    match value.to_str() {
        Some(address) if proxy => cargo_config::without_password(address).into(),
        _ => value.to_owned(),
    }
}

/// The limit on processes, to be set once the user namespace exists: within it only the sandbox's own count (Linux 5.14;
/// before, all that its user has, which for root's sandbox is the job's). Where a group bounds them too, that one comes
/// first, since it counts what it refused.
pub(super) fn processes(command: &Command, group: Option<&Group>) -> Rlimit {
    /// bubblewrap's own, and then some.
    const BEYOND_GROUP: u64 = 64;
    let beyond = if group.is_some_and(Group::bounds_processes) { BEYOND_GROUP } else { 0 };
    Rlimit { resource: libc::RLIMIT_NPROC, value: command.limits.processes + beyond }
}

pub(super) fn doors(group: Option<&Group>) -> io::Result<Vec<CString>> {
    group.map(Group::doors).unwrap_or_default().into_iter().map(c_string).collect()
}

/// The limits that mean the same inside and outside. Where a group bounds the memory of all, address space is free:
/// some programs reserve far more than they use.
pub(super) fn limits(command: &Command, group: Option<&Group>) -> io::Result<Vec<Rlimit>> {
    // A compiler reserves several times the memory that it ever touches (an arena per thread).
    const ADDRESS_SPACE_PER_MEMORY: u64 = 4;
    // Enough for any server under test; the same on every machine.
    const FILES_MAX: u64 = 65_536;
    let address_space = match group {
        Some(_) => libc::RLIM_INFINITY,
        None => command.limits.memory_bytes.saturating_mul(ADDRESS_SPACE_PER_MEMORY),
    };
    let wanted = [
        (libc::RLIMIT_DATA, command.limits.memory_bytes),
        (libc::RLIMIT_AS, address_space),
        (libc::RLIMIT_FSIZE, command.limits.file_bytes),
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_NOFILE, FILES_MAX),
        (libc::RLIMIT_MEMLOCK, 8 << 20),
    ];
    wanted
        .into_iter()
        .map(|(resource, value)| Ok(Rlimit { resource, value: value.min(sys::hard_limit(resource)?) }))
        .collect()
}

fn system_path(path: &Path, args: &mut Vec<OsString>) {
    match std::fs::read_link(path) {
        Ok(target) => args.extend(["--symlink".into(), target.into(), path.into()]),
        Err(_) if path.exists() => args.extend(["--ro-bind".into(), path.into(), path.into()]),
        Err(_) => {}
    }
}

fn resolved(path: &Path) -> OsString {
    path.canonicalize().unwrap_or_else(|_| path.to_owned()).into()
}

fn tmpfs(at: &str, bytes: u64, args: &mut Vec<OsString>) {
    args.extend(["--size".into(), bytes.to_string().into(), "--tmpfs".into(), OsString::from(at)]);
}

/// A mount point that the unprivileged user can reach. Nothing is ever in it but within a child's mount namespace.
fn staging_directory() -> anyhow::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let make_in = |parent: &str| {
        sweep_stages(Path::new(parent));
        let prefix = format!("{STAGE_PREFIX}{}-", std::process::id());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).permissions(std::fs::Permissions::from_mode(0o711)).tempdir_in(parent)
    };
    make_in("/run").or_else(|_| make_in("/tmp")).context("cannot make a directory below /run")
}

const STAGE_PREFIX: &str = "paceline-stage-";

/// Removes the mount points of runners that were killed. They are empty.
fn sweep_stages(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(STAGE_PREFIX).and_then(|rest| rest.split_once('-'));
        if owner.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            // Another runner may have been quicker.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

fn give_tree(path: &Path, uid: u32) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(uid), Some(uid))?;
    if std::fs::symlink_metadata(path)?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give_tree(&entry?.path(), uid)?;
        }
    }
    Ok(())
}

fn c_string(text: impl AsRef<OsStr>) -> io::Result<CString> {
    Ok(CString::new(text.as_ref().as_bytes())?)
}

impl Descriptors {
    pub(super) fn of(seccomp: &impl AsRawFd, info: &impl AsRawFd, block: &impl AsRawFd) -> Self {
        Self { seccomp: seccomp.as_raw_fd(), info: info.as_raw_fd(), block: block.as_raw_fd() }
    }
}
