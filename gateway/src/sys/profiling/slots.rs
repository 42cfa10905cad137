//! Where the copies of stacks wait: slots that a signal's handler fills, and one thread empties. No lock, no allocation, and
//! no system call.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// Of a stack, from its inner end: all of it but in deep recursion, of which the outermost functions are cut off.
pub(super) const STACK_BYTES: usize = 64 * 1024;

const FREE: u8 = 0;
const WRITING: u8 = 1;
const FULL: u8 = 2;
const READING: u8 = 3;

/// Where a thread was, and how it came there.
pub struct Sample {
    pub registers: Registers,
    pub(super) length: usize,
    pub(super) bytes: [u8; STACK_BYTES],
}

/// What unwinding begins with.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    pub instruction: u64,
    pub stack: u64,
    pub frame: u64,
    /// Where the function returns to, which this processor keeps in a register.
    #[cfg(target_arch = "aarch64")]
    pub link: u64,
}

impl Registers {
    pub(super) const NONE: Registers = Registers {
        instruction: 0,
        stack: 0,
        frame: 0,
        #[cfg(target_arch = "aarch64")]
        link: 0,
    };
}

impl Sample {
    /// The stack, from where its register points to.
    pub fn stack(&self) -> &[u8] {
        &self.bytes[..self.length.min(STACK_BYTES)]
    }
}

struct Slot {
    state: AtomicU8,
    sample: UnsafeCell<Sample>,
}

// SAFETY: the sample is touched by the one that has set the state to WRITING or READING alone, until it sets another. Both
// are set by an exchange that only one can win.
unsafe impl Sync for Slot {}

impl Slot {
    const fn new() -> Slot {
        let sample = Sample { registers: Registers::NONE, length: 0, bytes: [0; STACK_BYTES] };
        Slot { state: AtomicU8::new(FREE), sample: UnsafeCell::new(sample) }
    }

    /// Nothing where the slot is in another state.
    fn pass<R>(&self, from: u8, by: u8, to: u8, touch: impl FnOnce(&mut Sample) -> R) -> Option<R> {
        self.state.compare_exchange(from, by, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // SAFETY: the state is what only this call has set it to.
        let touched = touch(unsafe { &mut *self.sample.get() });
        self.state.store(to, Ordering::Release);
        Some(touched)
    }
}

/// What comes too fast is counted, and lost.
pub(super) struct Slots<const N: usize> {
    slots: [Slot; N],
    next: AtomicUsize,
    lost: AtomicU64,
}

impl<const N: usize> Slots<N> {
    pub(super) const fn new() -> Slots<N> {
        let slots = [const { Slot::new() }; N];
        Slots { slots, next: AtomicUsize::new(0), lost: AtomicU64::new(0) }
    }

    /// For a signal's handler, which may interrupt another or [`Slots::take`] in the same thread.
    pub(super) fn put(&self, write: impl FnOnce(&mut Sample)) {
        let slot = &self.slots[self.next.fetch_add(1, Ordering::Relaxed) % N];
        if slot.pass(FREE, WRITING, FULL, write).is_none() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes out what has come. A sample that `take` panics over stays where it is, for ever.
    pub(super) fn take(&self, mut take: impl FnMut(&Sample)) {
        for slot in &self.slots {
            slot.pass(FULL, READING, FREE, |sample| take(sample));
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn forget_lost(&self) {
        self.lost.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    /// A stack of which every byte says which it is.
    fn fill(sample: &mut Sample, number: u64) {
        sample.registers.instruction = number;
        sample.length = number as usize % 64;
        sample.bytes[..sample.length].fill(number as u8);
    }

    fn check(sample: &Sample) -> u64 {
        let number = sample.registers.instruction;
        assert_eq!(sample.stack(), vec![number as u8; number as usize % 64]);
        number
    }

    #[test]
    fn samples_come_out_as_they_went_in_and_once() {
        static SLOTS: Slots<3> = Slots::new();
        (1..=5).for_each(|number| SLOTS.put(|sample| fill(sample, number)));
        let taken = || {
            let mut numbers = Vec::new();
            SLOTS.take(|sample| numbers.push(check(sample)));
            numbers
        };
        assert_eq!((taken(), taken(), SLOTS.lost()), (vec![1, 2, 3], vec![], 2));
        SLOTS.forget_lost();
        SLOTS.put(|sample| fill(sample, 6));
        assert_eq!((taken(), SLOTS.lost()), (vec![6], 0));
    }

    #[test]
    fn whoever_interrupts_finds_no_slot_that_is_in_use() {
        static SLOTS: Slots<1> = Slots::new();
        SLOTS.put(|sample| {
            SLOTS.put(|_| panic!("it is being written"));
            SLOTS.take(|_| panic!("it is not full yet"));
            fill(sample, 7);
        });
        SLOTS.take(|sample| {
            SLOTS.put(|_| panic!("it is being read"));
            SLOTS.take(|_| panic!("it is being read"));
            assert_eq!(check(sample), 7);
        });
        assert_eq!(SLOTS.lost(), 2);
    }

    #[test]
    fn threads_that_write_and_read_at_once_see_whole_samples() {
        static SLOTS: Slots<4> = Slots::new();
        let (each, done) = (if cfg!(miri) { 40 } else { 20_000 }, AtomicBool::new(false));
        let mut taken = Vec::new();
        thread::scope(|scope| {
            let writers = [0, 1, 2].map(|writer| {
                scope.spawn(move || {
                    (1..=each).for_each(|n| SLOTS.put(|sample| fill(sample, writer * each + n)));
                })
            });
            let reader = scope.spawn(|| {
                let mut taken = Vec::new();
                while !done.load(Ordering::Acquire) {
                    SLOTS.take(|sample| taken.push(check(sample)));
                    thread::yield_now();
                }
                taken
            });
            writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
            done.store(true, Ordering::Release);
            taken = reader.join().expect("a reader");
        });
        SLOTS.take(|sample| taken.push(check(sample)));
        let count = taken.len() as u64;
        taken.sort_unstable();
        taken.dedup();
        assert_eq!((taken.len() as u64, count + SLOTS.lost()), (count, 3 * each));
    }
}
