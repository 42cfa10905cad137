//! The system calls that measured code may not make, as a filter for bubblewrap.

use super::Network;
use anyhow::Context;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use std::collections::BTreeMap;

/// Refused with EPERM, whatever the arguments: watching other processes, loading code into the kernel, changing what is
/// mounted or the clock, keys, and interfaces with a long record of holes that no build or benchmark needs.
const DENIED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// The only socket families: the others (netlink, packet, vsock, bluetooth, …) reach the kernel or the host. In the
/// host's network namespace local sockets do so too, by their abstract names.
fn socket_families(network: Network) -> &'static [libc::c_int] {
    match network {
        Network::None => &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6],
        Network::Fetch => &[libc::AF_INET, libc::AF_INET6],
    }
}

/// The filter's program as bytes, in the form that `bwrap --seccomp` reads.
pub(crate) fn program(network: Network) -> anyhow::Result<Vec<u8>> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|&call| (call, vec![])).collect();
    let no_other_family = SeccompRule::new(
        socket_families(network)
            .iter()
            .map(|&family| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family as u64))
            .collect::<Result<_, _>>()?,
    )?;
    rules.insert(libc::SYS_socket, vec![no_other_family]);
    // TIOCSTI types into the terminal, TIOCLINUX pastes into it; TIOCSETD loads line disciplines.
    let terminal = [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCSETD].map(|request| {
        SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, request)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    });
    rules.insert(libc::SYS_ioctl, terminal.into_iter().collect::<Result<_, _>>()?);
    let arch =
        TargetArch::try_from(std::env::consts::ARCH).context("no system call filter for this processor")?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32), arch)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(serialize(&refuse_x32(), &program))
}

/// On x86-64 the same processor answers to a second set of numbers (x32), which the rules above would not match:
/// refuse all of them first.
#[cfg(target_arch = "x86_64")]
fn refuse_x32() -> Vec<seccompiler::sock_filter> {
    const X32_SYSCALL_BIT: u32 = 0x4000_0000;
    let statement = |code: u32, jt, jf, k| seccompiler::sock_filter { code: code as u16, jt, jf, k };
    vec![
        // The system call's number is the first field of seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32_SYSCALL_BIT),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn refuse_x32() -> Vec<seccompiler::sock_filter> {
    vec![]
}

/// `struct sock_filter` as the kernel lays it out: jumps are relative, so programs may simply follow each other.
fn serialize(first: &[seccompiler::sock_filter], then: &[seccompiler::sock_filter]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((first.len() + then.len()) * 8);
    for statement in first.iter().chain(then) {
        bytes.extend_from_slice(&statement.code.to_ne_bytes());
        bytes.push(statement.jt);
        bytes.push(statement.jf);
        bytes.extend_from_slice(&statement.k.to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_whole_statements_and_fits_a_pipe() {
        for network in [Network::None, Network::Fetch] {
            let bytes = program(network).unwrap();
            assert_eq!(bytes.len() % 8, 0);
            assert!(bytes.len() / 8 > DENIED.len());
            // bubblewrap gets it through a pipe that nobody reads while it is written.
            assert!(bytes.len() < 65_536, "{} bytes", bytes.len());
        }
    }
}
