//! All unsafe code of profiles: a signal that copies the stack that it interrupts, the timers that send it, the walk up
//! one's own stack, and an allocator that tells [`heap`] what it does.
//!
//! The signal's handler only copies: it takes no lock, allocates nothing, calls nothing that may, and reads nothing but
//! the mapped part of the stack that it interrupts. Everything that can go wrong is done with the copies, elsewhere.
#![allow(unsafe_code)]

use super::heap;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_int, c_void};
use std::io;
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Of a stack, from its inner end: all of it but in deep recursion, of which the outermost functions are cut off.
const STACK_BYTES: usize = 64 * 1024;
/// Samples that may wait to be taken out. A thread is sampled by its own CPU time, so that no more than a hundred come in
/// a second for each core, and they are taken out many times in one. The memory is touched only where a profile was made.
const SLOTS: usize = 128;
/// Threads that are sampled; the configuration may ask for 1,024 that serve.
const THREADS_MAX: usize = 2048;
/// The smallest page there is: what lies in one with the end of the stack is mapped as well.
const PAGE_BYTES: usize = 4096;

const FREE: u8 = 0;
const WRITING: u8 = 1;
const FULL: u8 = 2;

/// Where a thread was, and how it came there.
pub(super) struct Sample {
    pub(super) registers: Registers,
    length: usize,
    bytes: [u8; STACK_BYTES],
}

/// What unwinding begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers {
    pub(super) instruction: u64,
    pub(super) stack: u64,
    pub(super) frame: u64,
    /// Where the function returns to, which this processor keeps in a register.
    #[cfg(target_arch = "aarch64")]
    pub(super) link: u64,
}

impl Sample {
    /// The stack, from where its register points to.
    pub(super) fn stack(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

struct Slot {
    state: AtomicU8,
    sample: UnsafeCell<Sample>,
}

// SAFETY: the sample is touched by the one that has set the state to WRITING, until it sets it to FULL, and then by the
// one [`Sampling`] that there is, until that sets it to FREE.
unsafe impl Sync for Slot {}

impl Slot {
    const fn new() -> Slot {
        let registers = Registers {
            instruction: 0,
            stack: 0,
            frame: 0,
            #[cfg(target_arch = "aarch64")]
            link: 0,
        };
        let sample = Sample { registers, length: 0, bytes: [0; STACK_BYTES] };
        Slot { state: AtomicU8::new(FREE), sample: UnsafeCell::new(sample) }
    }
}

static RING: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];
static NEXT: AtomicUsize = AtomicUsize::new(0);
static LOST: AtomicU64 = AtomicU64::new(0);
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
    // SAFETY: the first call fills `about` in, or fails, and then nothing reads it; the second writes to two variables
    // that live through it; the third gives back what the first has made.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), about.as_mut_ptr()) != 0 {
            return;
        }
        libc::pthread_attr_getstack(about.as_ptr(), &raw mut start, &raw mut bytes);
        libc::pthread_attr_destroy(about.as_mut_ptr());
    }
    STACK.set((start as usize, (start as usize).saturating_add(bytes)));
}

/// Samples all threads but the one that began it, for as long as it lives. There is one at a time.
pub(super) struct Sampling {
    timers: Vec<Timer>,
}

impl Sampling {
    /// `period` is of each thread's CPU time.
    pub(super) fn start(period: Duration) -> io::Result<Sampling> {
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
        LOST.store(0, Ordering::Relaxed);
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
    pub(super) fn drain(&mut self, mut take: impl FnMut(&Sample)) {
        for slot in &RING {
            if slot.state.load(Ordering::Acquire) == FULL {
                // SAFETY: it is full, so no handler touches it; nobody else takes out, since there is one `Sampling`.
                take(unsafe { &*slot.sample.get() });
                slot.state.store(FREE, Ordering::Release);
            }
        }
    }

    /// Samples for which there was no room.
    pub(super) fn lost(&self) -> u64 {
        LOST.load(Ordering::Relaxed)
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
    let slot = &RING[NEXT.fetch_add(1, Ordering::Relaxed) % SLOTS];
    if slot.state.compare_exchange(FREE, WRITING, Ordering::Acquire, Ordering::Relaxed).is_err() {
        LOST.fetch_add(1, Ordering::Relaxed);
        return;
    }
    // SAFETY: the state was FREE and is WRITING by us, so nobody else touches the sample until it is FULL.
    let sample = unsafe { &mut *slot.sample.get() };
    // SAFETY: the kernel gives a handler of SA_SIGINFO a valid context as its third argument.
    sample.registers = registers(unsafe { &*context.cast::<libc::ucontext_t>() });
    let from = sample.registers.stack as usize;
    let (start, end) = STACK.get();
    let end = if (start..end).contains(&from) { end } else { (from | (PAGE_BYTES - 1)).saturating_add(1) };
    sample.length = (end - from).min(STACK_BYTES);
    // SAFETY: from the stack's pointer up to the end of the stack, or of the page that it points into, everything is
    // mapped and readable; the sample has room for as much, and is no part of a stack.
    unsafe { ptr::copy_nonoverlapping(from as *const u8, sample.bytes.as_mut_ptr(), sample.length) };
    slot.state.store(FULL, Ordering::Release);
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

/// Of the unwinder that panics are unwound by (Itanium C++ ABI: Exception Handling, level I).
type Step = extern "C" fn(*mut c_void, *mut c_void) -> c_int;

unsafe extern "C" {
    fn _Unwind_Backtrace(step: Step, argument: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

/// Writes down where the calling functions go on, the innermost first, and returns how many there are.
pub(super) fn walk(frames: &mut [usize]) -> usize {
    struct Walk<'a> {
        frames: &'a mut [usize],
        count: usize,
    }
    extern "C" fn step(context: *mut c_void, walk: *mut c_void) -> c_int {
        /// Any other value than 0 ends the walk.
        const END_OF_STACK: c_int = 5;
        // SAFETY: what was given to `_Unwind_Backtrace` below, which nobody else touches until that returns.
        let walk = unsafe { &mut *walk.cast::<Walk<'_>>() };
        let Some(frame) = walk.frames.get_mut(walk.count) else { return END_OF_STACK };
        // SAFETY: the unwinder's own context, valid as long as this function runs.
        *frame = unsafe { _Unwind_GetIP(context) };
        walk.count += 1;
        0
    }
    let mut walk = Walk { frames, count: 0 };
    // SAFETY: the function takes what it is given here; it does not unwind and keeps nothing.
    unsafe { _Unwind_Backtrace(step, (&raw mut walk).cast()) };
    walk.count
}

/// The system's allocator, of which a few allocations are remembered. It is a program's choice: its global allocator.
#[derive(Clone, Copy, Debug)]
pub struct Heap;

// SAFETY: every call is the system's allocator's, with the arguments as they came; what is noted besides neither reads the
// memory nor keeps it, and does not panic.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises what the system asks for.
        let pointer = unsafe { System.alloc(layout) };
        heap::allocated(pointer as usize, layout.size());
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        heap::allocated(pointer as usize, layout.size());
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // Before: afterwards it may be another's already.
        heap::freed(pointer as usize);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        heap::freed(pointer as usize);
        // SAFETY: as above.
        let pointer = unsafe { System.realloc(pointer, layout, bytes) };
        heap::allocated(pointer as usize, bytes);
        pointer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_stack_is_walked_to_a_bound() {
        let mut frames = [0; 64];
        let count = walk(&mut frames);
        // Below the first function there is none, which some systems tell as one at 0.
        assert!(count > 3 && frames[..count - 1].iter().all(|frame| *frame > 0), "{count} frames");
        let mut few = [0; 2];
        assert_eq!(walk(&mut few), 2);
    }

    #[test]
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
