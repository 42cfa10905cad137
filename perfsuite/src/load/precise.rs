//! A timer finer than the runtime's millisecond: a timerfd that the runtime's own poll waits on.
//!
//! Latency is counted from the scheduled time, so a pacer that rounds to milliseconds would add up to one to each.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};
use tokio::io::{Interest, unix::AsyncFd};

pub struct PreciseTimer {
    fd: AsyncFd<OwnedFd>,
}

impl PreciseTimer {
    /// Needs a runtime with I/O. The error is the kernel's: no descriptor left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let raw =
            unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `raw` is a fresh descriptor that nothing else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        // SAFETY: an `OwnedFd` stays open and the same until it is dropped, and the `AsyncFd` owns it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self { fd })
    }

    /// Waits at least `wait` (a zero wait still passes through the poll once).
    pub async fn sleep(&self, wait: Duration) -> io::Result<()> {
        let wait = wait.max(Duration::from_nanos(1));
        let timer = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: wait.as_secs() as libc::time_t,
                tv_nsec: wait.subsec_nanos() as libc::c_long,
            },
        };
        // SAFETY: `timer` outlives the call; the old value is not asked for; the descriptor is ours and open.
        let set = unsafe { libc::timerfd_settime(self.fd.as_raw_fd(), 0, &timer, std::ptr::null_mut()) };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        // Expirations are counted in the descriptor and a new setting clears the count, so it is never read; readiness
        // left over from a sleep that was dropped ends this one early at worst, which callers check by the clock.
        self.fd.readable().await?.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn sleeps_again_and_again_and_never_short() {
        let timer = PreciseTimer::new().unwrap();
        for micros in [0, 50, 300, 2_000, 100] {
            let wait = Duration::from_micros(micros);
            let begun = Instant::now();
            timer.sleep(wait).await.unwrap();
            assert!(begun.elapsed() >= wait, "a sleep of {wait:?} ended after {:?}", begun.elapsed());
        }
    }
}
