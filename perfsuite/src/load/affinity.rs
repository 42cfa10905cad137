//! Which cores do what in a round: both servers on the same ones, the generator and the upstream on others.
//!
//! Left to the scheduler, one server shares a core with the generator and the other one does not, by chance and for
//! a whole round: with identical sides the log-ratio of CPU per request then spreads by 0.2 to 0.4, with shared cores
//! by less than 0.02. What disturbs the servers' core disturbs both of them.
#![allow(unsafe_code)]

use std::{io, mem};

/// Cores that a mask of the C library holds.
const CORES_MAX: usize = libc::CPU_SETSIZE as usize;

/// Disjoint parts of the machine, but for the upstream on small ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    pub generator: Vec<usize>,
    pub upstream: Vec<usize>,
    /// Of both sides together.
    pub servers: Vec<usize>,
}

impl Shares {
    /// Shares out `cores`; `None` where a single core has to do everything.
    pub fn of(cores: &[usize]) -> Option<Self> {
        match cores {
            [] | [_] => None,
            // The generator and the upstream are cheap next to a proxy; a core each only where there are plenty.
            [first, servers @ ..] if servers.len() < 3 => {
                Some(Self { generator: vec![*first], upstream: vec![*first], servers: servers.to_vec() })
            }
            [first, second, servers @ ..] => {
                Some(Self { generator: vec![*first], upstream: vec![*second], servers: servers.to_vec() })
            }
        }
    }
}

/// The cores that this thread may run on, in order.
pub fn current() -> io::Result<Vec<usize>> {
    // SAFETY: a mask of zeros is a valid value of this plain array of bits.
    let mut mask: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the size is that of the mask, which outlives the call; 0 is the calling thread.
    let got = unsafe { libc::sched_getaffinity(0, mem::size_of_val(&mask), &mut mask) };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: every number is below the mask's size.
    Ok((0..CORES_MAX).filter(|&core| unsafe { libc::CPU_ISSET(core, &mask) }).collect())
}

/// Keeps this thread, and the processes that it starts from now on, on `cores`.
pub fn set(cores: &[usize]) -> io::Result<()> {
    // SAFETY: as in `current`.
    let mut mask: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &core in cores.iter().filter(|&&core| core < CORES_MAX) {
        // SAFETY: the number is below the mask's size.
        unsafe { libc::CPU_SET(core, &mut mask) };
    }
    // SAFETY: the size is that of the mask, which outlives the call; 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, mem::size_of_val(&mask), &mask) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps this thread on some cores until it is dropped; then it may run where it could before.
pub struct Pinned {
    before: Vec<usize>,
}

impl Pinned {
    pub fn to(cores: &[usize]) -> io::Result<Self> {
        let before = current()?;
        set(cores)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // They were allowed a moment ago; if they no longer are, the kernel has moved the thread already.
        let _ = set(&self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_share_cores_that_the_generator_does_not_use() {
        let check = |cores: &[usize], generator: usize, upstream: usize, servers: &[usize]| {
            let expect =
                Shares { generator: vec![generator], upstream: vec![upstream], servers: servers.to_vec() };
            assert_eq!(Shares::of(cores), Some(expect));
        };
        check(&[0, 1], 0, 0, &[1]);
        check(&[2, 5, 7], 2, 2, &[5, 7]);
        check(&[0, 1, 2, 3], 0, 1, &[2, 3]);
        assert_eq!(Shares::of(&[3]), None);
        assert_eq!(Shares::of(&[]), None);
    }

    #[test]
    fn children_inherit_and_the_thread_is_given_back() {
        let before = current().unwrap();
        let last = *before.last().unwrap();
        let pinned = Pinned::to(&[last]).unwrap();
        assert_eq!(current().unwrap(), [last]);
        let child = std::process::Command::new("cat").arg("/proc/self/status").output().unwrap();
        let status = String::from_utf8(child.stdout).unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        assert_eq!(allowed.map(str::trim), Some(last.to_string().as_str()));
        drop(pinned);
        assert_eq!(current().unwrap(), before);
    }
}
