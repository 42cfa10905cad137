//! What the standard library has no words for: taking over descriptors before `main`, and random numbers by order.
//!
//! Before `main`, because a bench may read its standard input or print before it makes its first `Criterion`: from its
//! first line on, its input is empty and what it prints goes to standard error, so that it cannot disturb the
//! conversation. And because a process that is asked for fixed seeds needs them before its first hash map.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_long, c_uint, c_void};
use std::fs::File;
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::OnceLock;

/// What this process was started for, as its environment said. The variables are taken away, so that programs that a
/// bench starts, which may be benches too, are not driven.
pub(crate) struct Orders {
    pub(crate) part: String,
    pub(crate) benchmark: String,
}

static ORDERS: OnceLock<Orders> = OnceLock::new();
/// The descriptors of the conversation; -1 where there is none, or no longer.
static INPUT: AtomicI32 = AtomicI32::new(-1);
static OUTPUT: AtomicI32 = AtomicI32::new(-1);

pub(crate) fn orders() -> Option<&'static Orders> {
    ORDERS.get()
}

/// Both ends of the conversation, to whoever asks first.
pub(crate) fn conversation() -> Option<(File, File)> {
    let (input, output) = (INPUT.swap(-1, Ordering::Relaxed), OUTPUT.swap(-1, Ordering::Relaxed));
    if input < 0 || output < 0 {
        return None;
    }
    // SAFETY: `begin` opened both for this alone, and each is handed out once.
    Some(unsafe { (File::from_raw_fd(input), File::from_raw_fd(output)) })
}

extern "C" {
    fn close(fd: c_int) -> c_int;
    fn dup2(old: c_int, new: c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
}

/// Run by the loader before `main`, with one thread.
#[used]
#[link_section = ".init_array"]
static BEGIN: extern "C" fn() = begin;

/// By this an executable is known to be driven, without running it.
static LINKED: [u8; 33] = *b"paceline:duet:in-criterions-place";

extern "C" fn begin() {
    std::hint::black_box(&LINKED);
    let Some(part) = taken("PACELINE_DUET") else { return };
    let benchmark = taken("PACELINE_DUET_BENCHMARK").unwrap_or_default();
    if let Some(seed) = taken("PACELINE_DUET_SEED").and_then(|seed| seed.parse().ok()) {
        STATE.store(seed, Ordering::Relaxed);
        SEEDED.store(true, Ordering::Relaxed);
    }
    // A thread would have to panic for this to be set already.
    let _ = ORDERS.set(Orders { part, benchmark });
    INPUT.store(moved(0), Ordering::Relaxed);
    OUTPUT.store(moved(1), Ordering::Relaxed);
    // SAFETY: system calls on the three standard descriptors, with a path that ends in zero; where one fails, the bench
    // keeps what it had.
    unsafe {
        let nothing = open(c"/dev/null".as_ptr(), 0);
        if nothing > 0 {
            dup2(nothing, 0);
            close(nothing);
        }
        dup2(2, 1);
    }
}

fn taken(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    std::env::remove_var(name);
    value
}

/// A copy of a descriptor, out of the way of those that a bench opens, and closed in programs that it starts.
fn moved(fd: c_int) -> c_int {
    const F_DUPFD_CLOEXEC: c_int = 1030;
    /// Below the usual limit of 1024, above what a bench opens in passing.
    const ABOVE: c_int = 400;
    // SAFETY: a system call that reads and writes no memory of ours.
    unsafe {
        match fcntl(fd, F_DUPFD_CLOEXEC, ABOVE) {
            copy if copy >= 0 => copy,
            _ => fcntl(fd, F_DUPFD_CLOEXEC, 3),
        }
    }
}

static SEEDED: AtomicBool = AtomicBool::new(false);
static STATE: AtomicU64 = AtomicU64::new(0);

/// Stands before the C library's function of this name, for everything that is linked into this executable: the
/// standard library's hash maps take their seeds from it. Passes on to the system unless a seed was ordered.
///
/// # Safety
///
/// As of the C library's: `buffer` must have room for `length` bytes.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
#[no_mangle]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    const NUMBER: c_long = if cfg!(target_arch = "x86_64") { 318 } else { 278 };
    extern "C" {
        fn syscall(number: c_long, ...) -> c_long;
    }
    if !SEEDED.load(Ordering::Relaxed) {
        // SAFETY: the arguments of getrandom(2), as the caller gave them.
        return unsafe { syscall(NUMBER, buffer, length, flags) } as isize;
    }
    let bytes = buffer.cast::<u8>();
    for at in (0..length).step_by(8) {
        for (offset, byte) in next().to_le_bytes().into_iter().enumerate().take(length - at) {
            // SAFETY: `at + offset` is less than `length`, up to which the caller owns the buffer.
            unsafe { bytes.add(at + offset).write(byte) };
        }
    }
    length as isize
}

/// SplitMix64 (Steele, Lea and Flood, 2014): every seed gives another sequence, and no bit depends on how fast it is
/// asked for.
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")),
    allow(dead_code)
)]
fn next() -> u64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut mixed = STATE.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
