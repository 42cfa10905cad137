//! The walk up one's own stack.

use std::ffi::{c_int, c_void};

/// Of the unwinder that panics are unwound by (Itanium C++ ABI: Exception Handling, level I).
type Step = extern "C" fn(*mut c_void, *mut c_void) -> c_int;

unsafe extern "C" {
    fn _Unwind_Backtrace(step: Step, argument: *mut c_void) -> c_int;
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

/// Writes down where the calling functions go on, the innermost first, and returns how many there are.
pub fn walk(frames: &mut [usize]) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no unwinder of C's")]
    fn ones_own_stack_is_walked_to_a_bound() {
        let mut frames = [0; 64];
        let count = walk(&mut frames);
        // Below the first function there is none, which some systems tell as one at 0.
        assert!(count > 3 && frames[..count - 1].iter().all(|frame| *frame > 0), "{count} frames");
        let mut few = [0; 2];
        assert_eq!(walk(&mut few), 2);
    }
}
