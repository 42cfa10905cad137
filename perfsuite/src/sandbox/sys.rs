//! The system calls that the standard library does not wrap. All of the crate's unsafe code is here.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// One resource limit, soft and hard alike: nothing inside may raise it again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rlimit {
    pub(crate) resource: u32,
    pub(crate) value: u64,
}

/// A bind mount made by root, in a mount namespace of the child's own, before it gives up its rights.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) source: CString,
    pub(crate) target: CString,
    pub(crate) directory: Directory,
}

/// What kind of mount point a staged source needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Directory {
    Yes,
    /// A file is mounted on a file.
    No,
}

/// What happens between fork and exec. Everything is allocated beforehand: only system calls are allowed there.
#[derive(Clone, Debug, Default)]
pub(crate) struct BeforeExec {
    /// The mount point of the staging tmpfs, and what is bound below it.
    pub(crate) stage: Option<(CString, Vec<Staged>)>,
    /// The `cgroup.procs` of each group to join.
    pub(crate) join: Vec<CString>,
    /// The unprivileged user to become.
    pub(crate) become_user: Option<u32>,
    pub(crate) limits: Vec<Rlimit>,
    /// Descriptors that the program inherits.
    pub(crate) inherit: Vec<RawFd>,
    /// SIGKILL when the thread that started the program ends.
    pub(crate) die_with_parent: bool,
}

/// Arranges for `before` to happen in the child.
pub(crate) fn before_exec(command: &mut Command, before: BeforeExec) {
    // SAFETY: the closure makes only async-signal-safe system calls on memory that it owns since before the fork.
    unsafe {
        command.pre_exec(move || before.apply());
    }
}

impl BeforeExec {
    fn apply(&self) -> io::Result<()> {
        for door in &self.join {
            join(door)?;
        }
        if let Some((root, mounts)) = &self.stage {
            stage(root, mounts)?;
        }
        for limit in &self.limits {
            let value = libc::rlimit { rlim_cur: limit.value, rlim_max: limit.value };
            // SAFETY: `value` lives through the call.
            check(unsafe { libc::setrlimit(limit.resource, &value) })?;
        }
        if let Some(uid) = self.become_user {
            // SAFETY: no pointers but the empty group list, whose length is zero.
            unsafe {
                check(libc::setgroups(0, std::ptr::null()))?;
                check(libc::setresgid(uid, uid, uid))?;
                check(libc::setresuid(uid, uid, uid))?;
            }
        }
        // SAFETY: prctl and fcntl with integer arguments.
        unsafe {
            check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            if self.die_with_parent {
                check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
            }
            for &fd in &self.inherit {
                check(libc::fcntl(fd, libc::F_SETFD, 0))?;
            }
        }
        Ok(())
    }
}

/// Moves this process into a control group, by its `cgroup.procs`.
fn join(door: &CString) -> io::Result<()> {
    // SAFETY: the path is a C string and the byte is static; both outlive their calls. Zero stands for the writer.
    unsafe {
        let fd = check(libc::open(door.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        let written = libc::write(fd, c"0".as_ptr().cast(), 1);
        let error = io::Error::last_os_error();
        check(libc::close(fd))?;
        if written == 1 { Ok(()) } else { Err(error) }
    }
}

/// In a mount namespace of its own: a tmpfs over `root`, and every source bound below it.
fn stage(root: &CString, mounts: &[Staged]) -> io::Result<()> {
    // SAFETY: every pointer is a C string that outlives its call, or null where the kernel ignores it.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let slash = c"/".as_ptr();
        check(libc::mount(
            std::ptr::null(),
            slash,
            std::ptr::null(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        ))?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        let options = c"mode=0755,size=1m".as_ptr().cast();
        check(libc::mount(c"tmpfs".as_ptr(), root.as_ptr(), c"tmpfs".as_ptr(), flags, options))?;
        for mount in mounts {
            if mount.directory == Directory::Yes {
                check(libc::mkdir(mount.target.as_ptr(), 0o755))?;
            } else {
                let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_CLOEXEC;
                let fd = check(libc::open(mount.target.as_ptr(), flags, 0o644))?;
                check(libc::close(fd))?;
            }
            let (source, target) = (mount.source.as_ptr(), mount.target.as_ptr());
            check(libc::mount(
                source,
                target,
                std::ptr::null(),
                libc::MS_BIND | libc::MS_REC,
                std::ptr::null(),
            ))?;
        }
    }
    Ok(())
}

/// A pipe whose ends are closed on exec: reading end first.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both descriptors, which nobody else owns.
    unsafe {
        check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: fcntl with integer arguments on a descriptor that is borrowed through the call.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK))?;
    }
    Ok(())
}

/// Waits until one of `fds` can be read, hung up or failed; `None` entries are never ready. An interrupted wait
/// returns early with nothing ready.
pub(crate) fn poll<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    wait: Duration,
) -> io::Result<[bool; N]> {
    let mut entries = fds.map(|fd| libc::pollfd {
        fd: fd.map_or(-1, |fd| fd.as_raw_fd()),
        events: libc::POLLIN,
        revents: 0,
    });
    // Rounded up, so that the last fraction of a millisecond before a deadline does not spin.
    let millis = wait.as_micros().div_ceil(1000).min(i32::MAX as u128) as libc::c_int;
    // SAFETY: the array is N entries long and outlives the call.
    match check(unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t, millis) }) {
        Ok(_) => Ok(entries.map(|entry| entry.revents != 0)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok([false; N]),
        Err(error) => Err(error),
    }
}

/// A descriptor that becomes readable when the process has ended. Kernels before 5.3 have none.
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and returns a descriptor that nobody else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0);
        check(fd as libc::c_int).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

/// SIGKILL by descriptor, which never hits a process that got the same number later.
pub(crate) fn pidfd_kill(fd: BorrowedFd<'_>) {
    // SAFETY: the siginfo may be null; a process that is already gone is no error to us.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            fd.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        );
    }
}

/// Whether a child of ours has ended; it stays unreaped, so that its number cannot be reused yet.
pub(crate) fn has_ended(pid: u32) -> io::Result<bool> {
    // SAFETY: zeroed is a valid siginfo_t, and it outlives the call.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        check(libc::waitid(libc::P_PID, pid, &mut info, flags))?;
        Ok(info.si_pid() != 0)
    }
}

/// SIGKILL to a process group whose leader is our unreaped child.
pub(crate) fn kill_group(leader: u32) {
    // SAFETY: two integers; a group that is already gone is no error to us.
    unsafe {
        libc::kill(-(leader as libc::pid_t), libc::SIGKILL);
    }
}

/// Sets a limit of another process that has not started its program yet. `user`: whose process it is, when that is not
/// our own.
///
/// Root without CAP_SYS_RESOURCE, as in most containers, may do so only for processes of its own real user. So this
/// thread alone takes that real user for the moment; its effective one, and with it its rights, stay.
pub(crate) fn limit_process(pid: u32, limit: Rlimit, user: Option<u32>) -> io::Result<()> {
    let Some(user) = user else { return limit_own_process(pid, limit) };
    let limited = take_real_user(user).and_then(|()| limit_own_process(pid, limit));
    take_real_user(0)?;
    limited
}

fn take_real_user(id: u32) -> io::Result<()> {
    const UNCHANGED: libc::c_long = -1;
    let id = libc::c_long::from(id);
    // SAFETY: integers alone. The system calls themselves: libc's functions of these names change all threads.
    unsafe {
        check(libc::syscall(libc::SYS_setresgid, id, UNCHANGED, UNCHANGED) as libc::c_int)?;
        check(libc::syscall(libc::SYS_setresuid, id, UNCHANGED, UNCHANGED) as libc::c_int)?;
    }
    Ok(())
}

fn limit_own_process(pid: u32, limit: Rlimit) -> io::Result<()> {
    let value = libc::rlimit { rlim_cur: limit.value, rlim_max: limit.value };
    // SAFETY: `value` outlives the call; the old limit is not asked for.
    check(unsafe { libc::prlimit(pid as libc::pid_t, limit.resource, &value, std::ptr::null_mut()) })
        .map(drop)
}

/// The hard limit of a resource for this process.
pub(crate) fn hard_limit(resource: u32) -> io::Result<u64> {
    let mut value = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `value` outlives the call.
    check(unsafe { libc::getrlimit(resource, &mut value) })?;
    Ok(value.rlim_max)
}

/// Whether anybody has this file open for writing: a lease to read is refused then (`F_SETLEASE` in fcntl(2)). Where a
/// file system has no leases nothing is known, and the answer is no. The file must be open for reading alone.
pub(crate) fn is_being_written(file: BorrowedFd<'_>) -> bool {
    let lease = |kind: libc::c_int| {
        // SAFETY: takes no pointers, and the descriptor is borrowed, so it is open.
        check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) })
    };
    match lease(libc::F_RDLCK) {
        Ok(_) => {
            // Given back at once: nobody comes to break it.
            let _ = lease(libc::F_UNLCK);
            false
        }
        Err(error) => error.raw_os_error() == Some(libc::EAGAIN),
    }
}

pub(crate) fn effective_uid() -> u32 {
    // SAFETY: cannot fail and takes nothing.
    unsafe { libc::geteuid() }
}

/// Bytes that are free for ordinary users on the file system of `path`.
pub(crate) fn free_bytes(path: &std::path::Path) -> io::Result<u64> {
    space(path).map(|(free, _)| free)
}

/// Bytes that are free for ordinary users on the file system of `path`, and all that it has.
pub(crate) fn space(path: &std::path::Path) -> io::Result<(u64, u64)> {
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: zeroed is a valid statvfs, and both pointers outlive the call.
    unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        check(libc::statvfs(path.as_ptr(), &mut stat))?;
        let unit = stat.f_frsize as u64;
        Ok((stat.f_bavail as u64 * unit, stat.f_blocks as u64 * unit))
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
