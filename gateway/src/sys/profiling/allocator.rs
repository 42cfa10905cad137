//! The system's allocator, which tells somebody what it does.

use std::alloc::{GlobalAlloc, Layout, System};
use std::{mem, process};

/// Is told of what is allocated and freed, by the address alone. What it allocates itself, it is told of as well.
pub trait Watch {
    /// At 0 where there was no memory.
    fn allocated(&self, address: usize, bytes: usize);
    /// Before it is: afterwards the address may be another's already.
    fn freed(&self, address: usize);
}

/// Of which one watches. It is a program's choice: its global allocator.
#[derive(Clone, Copy, Debug)]
pub struct Watched<W>(pub W);

/// An allocator must not unwind, whatever is told of it: the process ends instead.
struct MustReturn;

impl Drop for MustReturn {
    fn drop(&mut self) {
        process::abort();
    }
}

impl<W: Watch> Watched<W> {
    #[inline]
    fn allocated(&self, pointer: *mut u8, bytes: usize) {
        let unwinding = MustReturn;
        self.0.allocated(pointer.addr(), bytes);
        mem::forget(unwinding);
    }

    #[inline]
    fn freed(&self, pointer: *mut u8) {
        let unwinding = MustReturn;
        self.0.freed(pointer.addr());
        mem::forget(unwinding);
    }
}

// SAFETY: every call is the system's allocator's, with the arguments as they came; who is told besides gets numbers, and
// cannot unwind.
unsafe impl<W: Watch> GlobalAlloc for Watched<W> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises what the system asks for.
        let pointer = unsafe { System.alloc(layout) };
        self.allocated(pointer, layout.size());
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        self.allocated(pointer, layout.size());
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.freed(pointer);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        self.freed(pointer);
        // SAFETY: as above.
        let pointer = unsafe { System.realloc(pointer, layout, bytes) };
        self.allocated(pointer, bytes);
        pointer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[derive(Default)]
    struct Ledger(RefCell<Vec<(&'static str, usize, usize)>>);

    impl Watch for Ledger {
        fn allocated(&self, address: usize, bytes: usize) {
            self.0.borrow_mut().push(("allocated", address, bytes));
        }

        fn freed(&self, address: usize) {
            self.0.borrow_mut().push(("freed", address, 0));
        }
    }

    #[test]
    fn all_that_is_done_is_told_and_is_the_systems() {
        let heap = Watched(Ledger::default());
        let layout = Layout::from_size_align(24, 8).expect("a layout");
        // SAFETY: the size is not 0.
        let first = unsafe { heap.alloc_zeroed(layout) };
        assert!(!first.is_null());
        // SAFETY: 24 bytes, all of them zero.
        assert_eq!(unsafe { std::slice::from_raw_parts(first, 24) }, [0; 24]);
        // SAFETY: of this allocator with this layout; the new size is not 0.
        let second = unsafe { heap.realloc(first, layout, 48) };
        // SAFETY: 24 bytes are as they were.
        assert_eq!(unsafe { std::slice::from_raw_parts(second, 24) }, [0; 24]);
        let larger = Layout::from_size_align(48, 8).expect("a layout");
        // SAFETY: of this allocator, with the layout that it has now.
        unsafe { heap.dealloc(second, larger) };
        // SAFETY: the size is not 0.
        let third = unsafe { heap.alloc(layout) };
        // SAFETY: as above.
        unsafe { heap.dealloc(third, layout) };
        let (first, second, third) = (first.addr(), second.addr(), third.addr());
        assert_eq!(
            *heap.0.0.borrow(),
            [
                ("allocated", first, 24),
                ("freed", first, 0),
                ("allocated", second, 48),
                ("freed", second, 0),
                ("allocated", third, 24),
                ("freed", third, 0),
            ]
        );
    }
}
