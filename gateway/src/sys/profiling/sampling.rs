//! Timers for threads, and the signal that copies the stack it interrupts.
//!
//! The signal's handler only copies: it takes no lock, allocates nothing, calls nothing that may, and reads nothing but
//! the mapped part of the stack that it interrupts. Everything that can go wrong is done with the copies, elsewhere.

use super::slots::{Registers, STACK_BYTES, Sample, Slots};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Samples that may wait to be taken out. A thread is sampled by its own CPU time, so that no more than a hundred come in
/// a second for each core, and they are taken out many times in one. The memory is touched only where a profile was made.
const SLOTS: usize = 128;
/// Threads that are sampled; the configuration may ask for 1,024 that serve.
const THREADS_MAX: usize = 2048;
/// The smallest page there is: what lies in one with the end of the stack is mapped as well.
const PAGE_BYTES: usize = 4096;

static SAMPLES: Slots<SLOTS> = Slots::new();
static ON: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// From and to where this thread's stack lies. Nothing is run for it at the thread's start or end, so that a signal's
    /// handler may look at it at any time.
    static STACK: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// Tells where the calling thread's stack lies. A thread that does not is sampled all the same, with few of its callers.
pub fn thread_begins() {
    let mut about = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut start, mut bytes) = (ptr::null_mut(), 0);
    // SAFETY: takes nothing and cannot fail.
    let own = unsafe { libc::pthread_self() };
    // SAFETY: fills `about` in, or fails.
    if unsafe { libc::pthread_getattr_np(own, about.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: `about` was filled in; the call writes to two variables that live through it.
    unsafe { libc::pthread_attr_getstack(about.as_ptr(), &raw mut start, &raw mut bytes) };
    // SAFETY: gives back what was filled in; nothing reads it afterwards.
    unsafe { libc::pthread_attr_destroy(about.as_mut_ptr()) };
    STACK.set((start as usize, (start as usize).saturating_add(bytes)));
}

/// Samples all threads but the one that began it, for as long as it lives. There is one at a time.
pub struct Sampling {
    timers: Vec<Timer>,
}

impl Sampling {
    /// `period` is of each thread's CPU time.
    pub fn start(period: Duration) -> io::Result<Sampling> {
        /// By the number of the error that there was. Never taken back: a signal that is still under way would end the
        /// process.
        static INSTALLED: OnceLock<Result<(), c_int>> = OnceLock::new();
        let installed =
            INSTALLED.get_or_init(|| install().map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL)));
        (*installed).map_err(io::Error::from_raw_os_error)?;
        if ON.swap(true, Ordering::AcqRel) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let mut sampling = Sampling { timers: Vec::new() };
        // What came too late for the one before.
        sampling.drain(|_| {});
        SAMPLES.forget_lost();
        // SAFETY: takes nothing and cannot fail.
        let own = unsafe { libc::gettid() };
        let mut refused = None;
        for thread in threads()?.filter(|thread| *thread != own).take(THREADS_MAX) {
            match Timer::start(thread, period) {
                Ok(timer) => sampling.timers.push(timer),
                // It may have ended meanwhile.
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if sampling.timers.is_empty() => Err(error),
            _ => Ok(sampling),
        }
    }

    /// Takes out what has come.
    pub fn drain(&mut self, take: impl FnMut(&Sample)) {
        SAMPLES.take(take);
    }

    /// Samples for which there was no room.
    pub fn lost(&self) -> u64 {
        SAMPLES.lost()
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        self.timers.clear();
        ON.store(false, Ordering::Release);
    }
}

/// The threads of this process.
fn threads() -> io::Result<impl Iterator<Item = i32>> {
    let tasks = std::fs::read_dir("/proc/self/task")?;
    Ok(tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()))
}

fn install() -> io::Result<()> {
    // SAFETY: all zeros is a valid `sigaction`: no flags, an empty mask, the default action.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for and does nothing that a handler must not; both
    // structures live through the call.
    check(unsafe { libc::sigaction(libc::SIGPROF, &raw const action, ptr::null_mut()) })
}

extern "C" fn on_signal(_signal: c_int, _about: *mut libc::siginfo_t, context: *mut c_void) {
    if !ON.load(Ordering::Acquire) {
        return;
    }
    SAMPLES.put(|sample| {
        // SAFETY: the kernel gives a handler of SA_SIGINFO a valid context as its third argument.
        sample.registers = registers(unsafe { &*context.cast::<libc::ucontext_t>() });
        let from = sample.registers.stack as usize;
        let (start, end) = STACK.get();
        let end =
            if (start..end).contains(&from) { end } else { (from | (PAGE_BYTES - 1)).saturating_add(1) };
        sample.length = (end - from).min(STACK_BYTES);
        // SAFETY: from the stack's pointer up to the end of the stack, or of the page that it points into, everything is
        // mapped and readable; the sample has room for as much, and is no part of a stack.
        unsafe { ptr::copy_nonoverlapping(from as *const u8, sample.bytes.as_mut_ptr(), sample.length) };
    });
}

#[cfg(target_arch = "x86_64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let register = |number: c_int| context.uc_mcontext.gregs[number as usize] as u64;
    Registers {
        instruction: register(libc::REG_RIP),
        stack: register(libc::REG_RSP),
        frame: register(libc::REG_RBP),
    }
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &libc::ucontext_t) -> Registers {
    let machine = &context.uc_mcontext;
    Registers {
        instruction: machine.pc as u64,
        stack: machine.sp as u64,
        frame: machine.regs[29] as u64,
        link: machine.regs[30] as u64,
    }
}

/// Sends the signal to one thread whenever that has used so much CPU time. Gone when dropped.
struct Timer(libc::timer_t);

impl Timer {
    fn start(thread: i32, period: Duration) -> io::Result<Timer> {
        /// The clock of a thread's CPU time (`CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED` of `linux/posix-timers.h`).
        const OF_THREAD: c_int = 0b110;
        // SAFETY: all zeros is a valid `sigevent`.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGPROF;
        event.sigev_notify_thread_id = thread;
        let mut timer = ptr::null_mut();
        // SAFETY: both pointers are to variables that live through the call; numbers that make no sense are refused.
        check(unsafe { libc::timer_create(!thread << 3 | OF_THREAD, &raw mut event, &raw mut timer) })?;
        let timer = Timer(timer);
        // SAFETY: all zeros is a valid `itimerspec`.
        let mut every: libc::itimerspec = unsafe { mem::zeroed() };
        every.it_interval.tv_sec = period.as_secs() as _;
        every.it_interval.tv_nsec = period.subsec_nanos().into();
        every.it_value = every.it_interval;
        // SAFETY: the timer is ours; the structure lives through the call.
        check(unsafe { libc::timer_settime(timer.0, 0, &raw const every, ptr::null_mut()) })?;
        Ok(timer)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer is ours, and was not deleted before.
        unsafe { libc::timer_delete(self.0) };
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "asks the C library where the stack is")]
    fn a_threads_stack_is_where_its_variables_are() {
        std::thread::spawn(|| {
            assert_eq!(STACK.get(), (0, 0));
            thread_begins();
            let (on_stack, on_heap) = (0_u8, Box::new(0_u8));
            let (start, end) = STACK.get();
            let is_within = |place: &u8| (start..end).contains(&ptr::from_ref(place).addr());
            assert!(is_within(&on_stack) && !is_within(&on_heap), "{start:x}..{end:x}");
        })
        .join()
        .expect("a thread");
    }
}
