//! What is allocated, by sampling: one allocation in about 512 KiB is remembered with its stack until it is freed.
//!
//! This runs within the allocator. What it allocates itself is not looked at ([`Inside`]); nothing here panics; an
//! allocation that is not chosen costs a look at a variable of its thread, and what is freed one at a small table.

use crate::balance::mix;
use crate::sys::profiling::allocator::Watch;
use crate::sys::profiling::backtrace;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One byte in so many is chosen, and with it the allocation that it belongs to; as in Go. Each costs some microseconds.
pub(super) const EVERY_BYTES: usize = 512 * 1024;
/// Of one stack; the outermost functions of deeper ones are left out.
const DEPTH_MAX: usize = 64;
/// Different stacks, each of half a kilobyte.
const STACKS_MAX: usize = 4096;
/// Allocations that are remembered: those of 8 GiB.
const LIVE_MAX: usize = 16 * 1024;
/// The table that tells most of what is freed from what is remembered; a power of two, and half of a core's first cache.
const MARKS: usize = 8 * 1024;

thread_local! {
    /// Bytes until the next choice; 0 before the first. Neither variable has anything to do at a thread's end, so both
    /// may be used at any time.
    static LEFT: Cell<usize> = const { Cell::new(0) };
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// How many allocations are remembered, by a hash of their address. Changed only under the table's lock.
static MARKED: [AtomicU16; MARKS] = [const { AtomicU16::new(0) }; MARKS];
static TABLE: Mutex<Table> = Mutex::new(Table::new());
static IN_USE: AtomicBool = AtomicBool::new(false);
static DRAWN: AtomicU64 = AtomicU64::new(0);

/// Objects and bytes: what was chosen, each counted for those that were not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) objects: f64,
    pub(super) bytes: f64,
}

impl Sum {
    /// An object of a size is chosen by the chance that one of its bytes is.
    fn add(&mut self, size: usize) {
        let weight = 1.0 / -(-(size.max(1) as f64) / EVERY_BYTES as f64).exp_m1();
        self.objects += weight;
        self.bytes += weight * size as f64;
    }
}

/// What one stack has allocated.
#[derive(Clone, Debug, Default)]
pub(super) struct Allocated {
    /// Where its functions go on, the innermost first.
    pub(super) frames: Vec<usize>,
    pub(super) ever: Sum,
    pub(super) now: Sum,
}

/// Who watches the allocator.
#[derive(Clone, Copy, Debug)]
pub struct Sampler;

impl Watch for Sampler {
    #[inline]
    fn allocated(&self, address: usize, bytes: usize) {
        let left = LEFT.get();
        match left > bytes {
            true => LEFT.set(left - bytes),
            false if address != 0 => choose(address, bytes, left),
            false => {}
        }
    }

    #[inline]
    fn freed(&self, address: usize) {
        if mark(address).load(Relaxed) != 0 {
            forget(address);
        }
    }
}

/// What all stacks have allocated, and how many allocations could not be remembered. None where the program has another
/// allocator.
pub(super) fn snapshot() -> Option<(Vec<Allocated>, u64)> {
    let _inside = Inside::enter()?;
    IN_USE.load(Relaxed).then(|| lock().snapshot())
}

#[cold]
fn choose(address: usize, size: usize, left: usize) {
    let Some(_inside) = Inside::enter() else { return };
    IN_USE.store(true, Relaxed);
    let next = draw();
    if left == 0 && next > size {
        return LEFT.set(next - size);
    }
    LEFT.set(if left == 0 { draw() } else { next });
    let mut frames = [0; DEPTH_MAX];
    let depth = backtrace::walk(&mut frames);
    let mut table = lock();
    if table.add(address, size, &frames[..depth]) {
        let mark = mark(address);
        mark.store(mark.load(Relaxed).saturating_add(1), Relaxed);
    }
}

#[cold]
fn forget(address: usize) {
    let Some(_inside) = Inside::enter() else { return };
    let mut table = lock();
    if table.live.remove(&address).is_some() {
        let mark = mark(address);
        mark.store(mark.load(Relaxed).saturating_sub(1), Relaxed);
    }
}

/// The way to the next choice: each byte has the same chance (a Poisson process), whatever allocations it lies in.
fn draw() -> usize {
    let number = mix(DRAWN.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed));
    let part = (number >> 11) as f64 / (1_u64 << 53) as f64;
    (-(1.0 - part).ln() * EVERY_BYTES as f64) as usize + 1
}

fn mark(address: usize) -> &'static AtomicU16 {
    let spread = (address as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &MARKED[(spread >> 32) as usize % MARKS]
}

fn lock() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread is at work here: what it allocates and frees meanwhile is this module's own.
struct Inside;

impl Inside {
    fn enter() -> Option<Inside> {
        (!INSIDE.replace(true)).then_some(Inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}

struct Table {
    /// By their frames.
    places: BTreeMap<Vec<usize>, u32>,
    ever: Vec<Sum>,
    /// By address: the stack's place and the size.
    live: BTreeMap<usize, (u32, usize)>,
    missed: u64,
}

impl Table {
    const fn new() -> Table {
        Table { places: BTreeMap::new(), ever: Vec::new(), live: BTreeMap::new(), missed: 0 }
    }

    /// Whether it is remembered.
    fn add(&mut self, address: usize, size: usize, frames: &[usize]) -> bool {
        let place = match self.places.get(frames) {
            Some(place) => *place,
            None if self.ever.len() < STACKS_MAX => {
                let place = self.ever.len() as u32;
                self.places.insert(frames.to_vec(), place);
                self.ever.push(Sum::default());
                place
            }
            None => {
                self.missed += 1;
                return false;
            }
        };
        if let Some(ever) = self.ever.get_mut(place as usize) {
            ever.add(size);
        }
        if self.live.len() >= LIVE_MAX {
            self.missed += 1;
            return false;
        }
        // One that is there already would have been freed unseen, and be marked still.
        self.live.insert(address, (place, size)).is_none()
    }

    fn snapshot(&self) -> (Vec<Allocated>, u64) {
        let mut all: Vec<Allocated> =
            self.ever.iter().map(|ever| Allocated { ever: *ever, ..Allocated::default() }).collect();
        for (frames, place) in &self.places {
            if let Some(of_stack) = all.get_mut(*place as usize) {
                of_stack.frames.clone_from(frames);
            }
        }
        for (place, size) in self.live.values() {
            if let Some(of_stack) = all.get_mut(*place as usize) {
                of_stack.now.add(*size);
            }
        }
        (all, self.missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_remembers_until_it_forgets() {
        let mut table = Table::new();
        assert!(table.add(16, EVERY_BYTES, &[1, 2]));
        assert!(table.add(32, 10 * EVERY_BYTES, &[1, 2]));
        assert!(table.add(48, 8, &[3]));
        assert!(table.live.remove(&32).is_some());
        let (all, missed) = table.snapshot();
        assert_eq!((all.len(), missed), (2, 0));
        assert_eq!(all[0].frames, [1, 2]);
        assert!(all[0].ever.bytes > 11.0 * EVERY_BYTES as f64, "{all:?}");
        assert!(all[0].now.bytes < 2.0 * EVERY_BYTES as f64, "{all:?}");
        // One of eight bytes stands for all that were not chosen: about as many bytes as one choice does.
        assert!((all[1].now.bytes - EVERY_BYTES as f64).abs() < 16.0, "{all:?}");
        assert!((all[1].now.objects * 8.0 - all[1].now.bytes).abs() < 1e-6);
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes Miri minutes, and is the same as the test above but for its numbers")]
    fn a_table_has_bounds() {
        let mut table = Table::new();
        let kept = (0..2 * LIVE_MAX).filter(|n| table.add(16 * n, 1, &[n % 2])).count();
        assert_eq!((kept, table.missed as usize), (LIVE_MAX, LIVE_MAX));
        let mut table = Table::new();
        let kept = (0..2 * STACKS_MAX).filter(|n| table.add(16 * n, 1, &[*n])).count();
        assert_eq!((kept, table.missed as usize), (STACKS_MAX, STACKS_MAX));
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes Miri minutes, and has nothing unsafe")]
    fn choices_are_apart_by_the_rate_on_average() {
        let draws = 100_000;
        let mean = (0..draws).map(|_| draw() as f64).sum::<f64>() / f64::from(draws);
        let off = mean / EVERY_BYTES as f64 - 1.0;
        // Ten standard errors.
        assert!(off.abs() < 10.0 / f64::from(draws).sqrt(), "{mean}");
    }
}
