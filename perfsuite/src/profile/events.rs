//! The kernel's side of sampling: counters of one thread on one core, and the ring that they write to.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// CPU time between two samples: 2,000 a second. Not a whole fraction of a batch's millisecond, so that samples do not
/// fall on the same place of each.
pub(super) const PERIOD_NS: u64 = 499_979;
/// Of the stack above the stack pointer: enough for the frames of the C library's functions, which have no frame
/// pointers.
pub(super) const STACK_BYTES: u32 = 2_048;
/// Of a ring, without its first page: 60 ms of samples, and together with that page what an unprivileged user may lock
/// twice for each core (`kernel.perf_event_mlock_kb`).
const RING_BYTES: usize = 256 << 10;
/// `struct perf_event_attr` as of Linux 4.1 (`PERF_ATTR_SIZE_VER5`), which every later kernel takes.
#[repr(C)]
#[derive(Default)]
struct Attr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

const TYPE_SOFTWARE: u32 = 1;
const CPU_CLOCK: u64 = 0;
/// TID, CALLCHAIN, ID, REGS_USER, STACK_USER: what [`super::record`] reads, in the kernel's order.
const SAMPLE_TYPE: u64 = 1 << 1 | 1 << 5 | 1 << 6 | 1 << 12 | 1 << 13;
const DISABLED: u64 = 1;
const INHERIT: u64 = 1 << 1;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const ENABLE_ON_EXEC: u64 = 1 << 12;
const EXCLUDE_CALLCHAIN_KERNEL: u64 = 1 << 21;
const FLAG_FD_CLOEXEC: u64 = 8;
/// `_IO('$', n)` and `_IOR('$', 7, u64)` of `linux/perf_event.h`.
const IOC_ENABLE: u64 = 0x2400;
const IOC_DISABLE: u64 = 0x2401;
const IOC_SET_OUTPUT: u64 = 0x2405;
const IOC_ID: u64 = 0x8008_2407;

/// The registers that are kept of a sample, as bits of `asm/perf_regs.h`: frame pointer, stack pointer, instruction.
const REGISTERS: u64 =
    if cfg!(target_arch = "x86_64") { 1 << 6 | 1 << 7 | 1 << 8 } else { 1 << 29 | 1 << 31 | 1 << 32 };

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// A thread as this process sees it; zero is the calling one.
    pub(super) thread: u32,
    pub(super) core: usize,
    pub(super) kernel: bool,
    /// Begins when the thread's process becomes another program.
    pub(super) on_exec: bool,
}

/// A counter, off until it is switched on. What its thread starts is counted with it.
pub(super) struct Event {
    fd: OwnedFd,
    pub(super) id: u64,
}

impl Event {
    pub(super) fn open(wanted: Wanted) -> io::Result<Event> {
        let mut attr = Attr {
            kind: TYPE_SOFTWARE,
            size: u32::try_from(size_of::<Attr>()).unwrap_or_default(),
            config: CPU_CLOCK,
            sample_period: PERIOD_NS,
            sample_type: SAMPLE_TYPE,
            flags: DISABLED | INHERIT | EXCLUDE_CALLCHAIN_KERNEL,
            sample_regs_user: REGISTERS,
            sample_stack_user: STACK_BYTES,
            ..Attr::default()
        };
        if !wanted.kernel {
            attr.flags |= EXCLUDE_KERNEL;
        }
        if wanted.on_exec {
            attr.flags |= ENABLE_ON_EXEC;
        }
        let (thread, core) = (libc::c_long::from(wanted.thread), wanted.core as libc::c_long);
        // SAFETY: `attr` lives through the call and says its own size; the other arguments are numbers.
        let fd = unsafe {
            libc::syscall(libc::SYS_perf_event_open, &raw const attr, thread, core, -1_i64, FLAG_FD_CLOEXEC)
        };
        let fd = libc::c_int::try_from(check(fd)?).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor for us alone.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut id = 0_u64;
        // SAFETY: the kernel writes eight bytes to `id`, which lives through the call.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), IOC_ID as _, &raw mut id) }.into())?;
        Ok(Event { fd, id })
    }

    pub(super) fn enable(&self) -> io::Result<()> {
        self.order(IOC_ENABLE, 0)
    }

    pub(super) fn disable(&self) -> io::Result<()> {
        self.order(IOC_DISABLE, 0)
    }

    /// Writes to another counter's ring, of the same core.
    pub(super) fn write_to(&self, other: &Event) -> io::Result<()> {
        self.order(IOC_SET_OUTPUT, other.fd.as_raw_fd())
    }

    fn order(&self, order: u64, argument: libc::c_int) -> io::Result<()> {
        // SAFETY: no pointers; the descriptor is ours.
        check(unsafe { libc::ioctl(self.fd.as_raw_fd(), order as _, argument) }.into()).map(drop)
    }
}

/// Where counters of one core write their samples.
pub(super) struct Ring {
    start: NonNull<u8>,
    length: usize,
    page: usize,
}

// SAFETY: the mapping belongs to this value alone, wherever that is.
unsafe impl Send for Ring {}

impl Ring {
    /// The ring of a counter, whose descriptor may be closed before it.
    pub(super) fn of(event: &Event) -> io::Result<Ring> {
        // SAFETY: no pointers.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let length = page + RING_BYTES.max(page);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at a place of the kernel's choice, of a descriptor that lives through the call.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, access, libc::MAP_SHARED, event.fd.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped to nowhere"))?;
        Ok(Ring { start, length, page })
    }

    /// Moves all that was written since to the end of `into`: whole records.
    pub(super) fn drain(&mut self, into: &mut Vec<u8>) {
        /// Places of `data_head` and `data_tail` in `struct perf_event_mmap_page`.
        const HEAD_AT: usize = 1024;
        const TAIL_AT: usize = 1032;
        let size = self.length - self.page;
        // SAFETY: both lie in the first page of the mapping, are aligned, and are only ever touched as atomics by us.
        let (head, tail) = unsafe {
            (
                &*self.start.as_ptr().add(HEAD_AT).cast::<AtomicU64>(),
                &*self.start.as_ptr().add(TAIL_AT).cast::<AtomicU64>(),
            )
        };
        let end = head.load(Ordering::Acquire);
        let from = tail.load(Ordering::Relaxed);
        // The kernel keeps them a ring apart at most; a difference beyond that would be its own mistake.
        let count = usize::try_from(end.wrapping_sub(from)).unwrap_or(0).min(size);
        let at = usize::try_from(from % size as u64).unwrap_or(0);
        let first = count.min(size - at);
        for (offset, length) in [(at, first), (0, count - first)] {
            // SAFETY: within the data pages, and the kernel writes there no more until the tail has moved on.
            let bytes =
                unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(self.page + offset), length) };
            into.extend_from_slice(bytes);
        }
        fence(Ordering::SeqCst);
        tail.store(end, Ordering::Release);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, and nobody refers to it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
