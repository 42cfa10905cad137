//! Live profiles of this process: where its CPU time goes, and what it has allocated, while it serves.
//!
//! | | |
//! |---|---|
//! | `heap` | what is allocated, by sampling |
//! | `code` | addresses become callers and names, by the files that are mapped |
//! | `stacks`, `pprof`, `flame` | counts, and how they are told; pure |
//!
//! What is unsafe about it lies below, in `sys::profiling`: the signal that copies the stack it interrupts, and the
//! allocator that tells what it does. A thread that serves does nothing for a profile of the CPU but that copy, a hundred times in a second of its own CPU
//! time. Unwinding and naming are done where the profile is asked for, by the tables that panics are unwound by: a release
//! needs no frame pointers for it. A program has one profile made at a time, whoever asks.

mod code;
mod flame;
mod heap;
mod pprof;
mod stacks;

pub use crate::sys::profiling::sampling::thread_begins;

use self::code::Code;
use self::pprof::About;
use self::stacks::Stacks;
use crate::sys::profiling::allocator::Watched;
use crate::sys::profiling::sampling::Sampling;
use anyhow::Context;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// The system's allocator, of which a few allocations are remembered. It is a program's choice: its global allocator.
pub type Heap = Watched<heap::Sampler>;
pub const HEAP: Heap = Watched(heap::Sampler);

/// Of a thread's CPU time between two samples; as in Go.
const PERIOD: Duration = Duration::from_millis(10);
/// Samples wait for so long in the ring, which has room for more.
const TAKEN_OUT_EVERY: Duration = Duration::from_millis(10);
/// Different stacks of addresses, before they have names; what comes beyond is left out and told.
const STACKS_MAX: usize = 50_000;
/// Frames of the allocator itself at the inner end of a stack.
const OWN_FRAMES_MAX: usize = 12;

/// How a profile is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `profile.pb.gz`.
    Pprof,
    /// SVG.
    Flame,
}

/// Why there is no profile.
#[derive(Debug)]
pub enum Refused {
    /// Another is being made, for so long still.
    Busy {
        seconds: u64,
    },
    /// This program cannot.
    Never(&'static str),
    /// Nothing ran.
    Nothing,
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Refused {
        Refused::Failed(error)
    }
}

/// Where the CPU time of all threads goes in a while from now on. Blocks for as long, or until it is given up.
pub fn cpu(length: Duration, form: Form, is_given_up: &AtomicBool) -> Result<Vec<u8>, Refused> {
    let _turn = Turn::take(length)?;
    let begun = SystemTime::now();
    let mut code = Code::of_this_process();
    let (mut counts, mut lost) = (HashMap::<Vec<u64>, u64>::new(), 0);
    let mut unwinding = code.unwinding();
    let mut sampling = Sampling::start(PERIOD).context("the kernel gives no timers for threads")?;
    let end = Instant::now() + length;
    while Instant::now() < end && !is_given_up.load(Ordering::Relaxed) {
        thread::sleep(TAKEN_OUT_EVERY.min(end.saturating_duration_since(Instant::now())));
        sampling.drain(|sample| {
            let stack = unwinding.stack(sample);
            match counts.len() < STACKS_MAX || counts.contains_key(&stack) {
                true => *counts.entry(stack).or_default() += 1,
                false => lost += 1,
            }
        });
    }
    lost += sampling.lost();
    drop(sampling);
    drop(unwinding);
    let mut named = Named::new(&code);
    let period_ns = PERIOD.as_nanos() as u64;
    for (addresses, count) in counts {
        named.add(addresses.iter().copied(), [count, count * period_ns]);
    }
    let stacks = named.stacks;
    match form {
        Form::Flame => {
            let title = format!("gateway: CPU time of {} s", length.as_secs());
            flame::draw(&stacks, &title, "samples of 10 ms")?.ok_or(Refused::Nothing)
        }
        Form::Pprof => {
            let comments =
                (lost > 0).then(|| format!("{lost} samples were lost")).into_iter().collect::<Vec<_>>();
            let about = About {
                kinds: [("samples", "count"), ("cpu", "nanoseconds")],
                first: "cpu",
                period: ("cpu", "nanoseconds", period_ns),
                begun,
                length,
                comments: &comments,
            };
            Ok(pprof::encode(&stacks, &about).context("cannot write a profile")?)
        }
    }
}

/// What is allocated now, and was ever, by which stacks.
pub fn heap() -> Result<Vec<u8>, Refused> {
    let _turn = Turn::take(Duration::ZERO)?;
    let Some((all, missed)) = heap::snapshot() else {
        return Err(Refused::Never("this program was built with an allocator that cannot be looked into"));
    };
    let code = Code::of_this_process();
    let (mut named, mut is_own) = (Named::new(&code), HashMap::new());
    for of_stack in all {
        let values = [of_stack.ever.objects, of_stack.ever.bytes, of_stack.now.objects, of_stack.now.bytes];
        // They are where functions go on; the calls lie before. What is at 0 is no function.
        let frames = of_stack.frames.iter().take_while(|frame| **frame > 0);
        let addresses: Vec<u64> = frames.map(|frame| *frame as u64 - 1).collect();
        let own = addresses.iter().take(OWN_FRAMES_MAX).rposition(|address| {
            *is_own.entry(*address).or_insert_with(|| is_of_allocator(&code.name(*address)))
        });
        let callers = &addresses[own.map_or(0, |own| own + 1)..];
        named.add(callers.iter().copied(), values.map(|value| value.round() as u64));
    }
    let comments = (missed > 0)
        .then(|| format!("{missed} sampled allocations were left out"))
        .into_iter()
        .collect::<Vec<_>>();
    let about = About {
        kinds: [
            ("alloc_objects", "count"),
            ("alloc_space", "bytes"),
            ("inuse_objects", "count"),
            ("inuse_space", "bytes"),
        ],
        first: "inuse_space",
        period: ("space", "bytes", heap::EVERY_BYTES as u64),
        begun: SystemTime::now(),
        length: Duration::ZERO,
        comments: &comments,
    };
    Ok(pprof::encode(&named.stacks, &about).context("cannot write a profile")?)
}

/// Whether a function belongs to the way from a program's wish for memory to the choice of a sample.
fn is_of_allocator(name: &str) -> bool {
    ["gateway::profile::heap::", "gateway::sys::profiling::"].iter().any(|own| name.contains(own))
        || ["__rust_", "__rustc::", "alloc::alloc::"].iter().any(|way| name.starts_with(way))
}

/// Stacks of addresses that become stacks of names, each address looked up once.
struct Named<'c, const N: usize> {
    code: &'c Code,
    known: HashMap<u64, u32>,
    stacks: Stacks<N>,
}

impl<const N: usize> Named<'_, N> {
    fn new(code: &Code) -> Named<'_, N> {
        Named { code, known: HashMap::new(), stacks: Stacks::default() }
    }

    fn place(&mut self, address: u64) -> u32 {
        if let Some(place) = self.known.get(&address) {
            return *place;
        }
        let place = self.stacks.place(&self.code.name(address));
        self.known.insert(address, place);
        place
    }

    /// `addresses` has the innermost first.
    fn add(&mut self, addresses: impl DoubleEndedIterator<Item = u64>, values: [u64; N]) {
        let mut stack: Vec<u32> = addresses.rev().map(|address| self.place(address)).collect();
        if stack.is_empty() {
            stack.push(self.stacks.place("[unknown]"));
        }
        self.stacks.add(stack, values);
    }
}

/// The right to make a profile, until it is dropped.
struct Turn;

/// Until when the one that is being made takes, about.
static TAKEN: Mutex<Option<Instant>> = Mutex::new(None);

impl Turn {
    fn take(length: Duration) -> Result<Turn, Refused> {
        let now = Instant::now();
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = *taken {
            return Err(Refused::Busy { seconds: until.saturating_duration_since(now).as_secs() + 1 });
        }
        *taken = Some(now + length);
        Ok(Turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read;

    #[inline(never)]
    fn burn_until(done: &AtomicBool) -> u64 {
        let mut number = 1_u64;
        while !done.load(Ordering::Relaxed) {
            (0..1000)
                .for_each(|_| number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005)));
        }
        number
    }

    /// Until nobody else's profile is in the way.
    fn asked(mut ask: impl FnMut() -> Result<Vec<u8>, Refused>) -> Result<Vec<u8>, Refused> {
        loop {
            match ask() {
                Err(Refused::Busy { .. }) => thread::sleep(Duration::from_millis(5)),
                other => return other,
            }
        }
    }

    #[test]
    fn what_runs_is_found_with_its_callers() {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread_begins();
                burn_until(&done)
            });
            let on = AtomicBool::new(false);
            // On a busy machine the thread may get less than a sample's worth of a second, and more of a minute.
            let found = [1, 2, 4, 8, 16, 32, 64].iter().any(|seconds| {
                let Ok(svg) = asked(|| cpu(Duration::from_secs(*seconds), Form::Flame, &on)) else {
                    return false;
                };
                let svg = String::from_utf8(svg).expect("text");
                ["burn_until (", "what_runs_is_found_with_its_callers::"]
                    .iter()
                    .all(|name| svg.contains(name))
            });
            done.store(true, Ordering::Relaxed);
            assert!(found, "the function that burns and its caller");
        });
    }

    #[test]
    fn one_profile_is_made_at_a_time_and_can_be_given_up() {
        let given_up = AtomicBool::new(false);
        thread::scope(|scope| {
            let first = scope.spawn(|| asked(|| cpu(Duration::from_secs(3600), Form::Pprof, &given_up)));
            // It may be the turn of another test's.
            let busy = loop {
                match cpu(Duration::ZERO, Form::Pprof, &given_up) {
                    Err(Refused::Busy { seconds }) if seconds > 60 => break seconds,
                    _ => thread::sleep(Duration::from_millis(5)),
                }
            };
            assert!(busy <= 3601, "{busy}");
            assert!(matches!(heap(), Err(Refused::Busy { .. })));
            given_up.store(true, Ordering::Relaxed);
            let gzip = first.join().expect("a thread").expect("what there was until then");
            let mut bytes = Vec::new();
            GzDecoder::new(&gzip[..]).read_to_end(&mut bytes).expect("gzip");
            assert!(!bytes.is_empty());
        });
    }

    #[test]
    fn a_program_with_another_allocator_says_so() {
        assert!(matches!(asked(heap), Err(Refused::Never(_))));
    }

    #[test]
    fn the_allocators_own_functions_are_known() {
        for own in [
            "<gateway::sys::profiling::allocator::Watched<gateway::profile::heap::Sampler> as core::alloc::global::GlobalAlloc>::alloc",
            "__rustc::__rust_alloc",
        ] {
            assert!(is_of_allocator(own), "{own}");
        }
        assert!(!is_of_allocator("gateway::worker::run") && !is_of_allocator("alloc::vec::Vec<T>::push"));
    }
}
