//! The chunks of memory that the kernel writes what came into, and the list that it is given them by. Makes no system call:
//! who registers the list with a ring promises what the kernel then does.

use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

/// As many as come between two looks, as a rule, and half of a core's second cache at most: a chunk is given back as soon
/// as it is read. Where none is left, what came is read by a system call. A power of two.
pub(super) const CHUNKS: u16 = 128;
/// Holds nearly every head.
const CHUNK_BYTES: u16 = 4096;
/// Pages are what the kernel maps.
const PAGE_BYTES: usize = 4096;
const LIST_BYTES: usize = CHUNKS as usize * size_of::<BufRingEntry>();
const FIRST_CHUNK: usize = LIST_BYTES.next_multiple_of(PAGE_BYTES);

/// A chunk that the kernel has filled; this program's until it is given back.
#[derive(Debug)]
pub struct Chunk {
    /// The list that it was taken from.
    list: u32,
    place: u16,
    length: u16,
}

/// A list, and behind it its chunks.
pub(super) struct Chunks {
    memory: NonNull<u8>,
    /// No other list of this process has it.
    number: u32,
    tail: u16,
}

fn layout() -> Layout {
    let bytes = FIRST_CHUNK + usize::from(CHUNKS) * usize::from(CHUNK_BYTES);
    Layout::from_size_align(bytes, PAGE_BYTES).expect("a few pages are a valid layout")
}

impl Chunks {
    /// With all of them on the list.
    pub(super) fn new() -> Chunks {
        static LISTS: AtomicU32 = AtomicU32::new(0);
        // SAFETY: the layout's size is not 0.
        let memory = unsafe { alloc_zeroed(layout()) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout()) };
        let mut chunks = Chunks { memory, number: LISTS.fetch_add(1, Ordering::Relaxed), tail: 0 };
        (0..CHUNKS).for_each(|place| chunks.put(place));
        chunks.publish();
        chunks
    }

    /// Where the list begins: on a page, with `CHUNKS` entries.
    pub(super) fn list(&self) -> u64 {
        self.memory.as_ptr().expose_provenance() as u64
    }

    /// Takes a chunk from the kernel, which says how many bytes it has written.
    ///
    /// # Safety
    ///
    /// The kernel has taken the place from this list, and writes to it no more.
    pub(super) unsafe fn taken(&self, place: u16, length: i32) -> Chunk {
        let length = u16::try_from(length.max(0)).unwrap_or(u16::MAX).min(CHUNK_BYTES);
        Chunk { list: self.number, place: place % CHUNKS, length }
    }

    /// Nothing where the chunk is another list's.
    pub(super) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        if chunk.list != self.number {
            return &[];
        }
        // SAFETY: within the allocation; and this program's, since a `Chunk` is what the kernel has written to and will
        // not write to before it is given back, by value.
        unsafe { std::slice::from_raw_parts(self.place(chunk.place), usize::from(chunk.length)) }
    }

    pub(super) fn give_back(&mut self, chunk: Chunk) {
        if chunk.list == self.number {
            self.put(chunk.place);
            self.publish();
        }
    }

    fn place(&self, place: u16) -> *mut u8 {
        let offset = FIRST_CHUNK + usize::from(place % CHUNKS) * usize::from(CHUNK_BYTES);
        // SAFETY: the last place ends where the allocation does.
        unsafe { self.memory.as_ptr().add(offset) }
    }

    /// Writes a chunk into the list, behind all others.
    fn put(&mut self, place: u16) {
        let (chunk, at) = (self.place(place), usize::from(self.tail % CHUNKS));
        // SAFETY: there are as many entries as chunks, and the list begins where the allocation does.
        let entry = unsafe { self.memory.cast::<BufRingEntry>().add(at) };
        // SAFETY: the kernel does not read the entry before it is published: as many are out as this one takes the place
        // of. What lies beside its three fields, which is the tail in the first one, is not touched.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(chunk.expose_provenance() as u64);
        entry.set_len(u32::from(CHUNK_BYTES));
        entry.set_bid(place);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see what was put.
    fn publish(&self) {
        let list = self.memory.cast::<BufRingEntry>().as_ptr();
        // SAFETY: the start of a list whose entries are numbers, all zero at first.
        let tail = unsafe { BufRingEntry::tail(list) }.cast_mut();
        // SAFETY: within the first entry, which lives as long as this and is written as a tail here alone; the kernel
        // reads it as an atomic number.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout. Who has registered the list drops this only once that is taken back.
        unsafe { dealloc(self.memory.as_ptr(), layout()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// What the kernel does with a list, by nothing but its address.
    struct Kernel {
        list: *const BufRingEntry,
        head: u16,
    }

    impl Kernel {
        fn of(chunks: &Chunks) -> Kernel {
            let list = std::ptr::with_exposed_provenance(chunks.list() as usize);
            Kernel { list, head: 0 }
        }

        /// Fills the next chunk, if there is one.
        fn fill(&mut self, bytes: &[u8]) -> Option<u16> {
            // SAFETY: a list, for as long as the test keeps it.
            let tail = unsafe { BufRingEntry::tail(self.list) }.cast_mut();
            // SAFETY: as above; both sides take it for an atomic number.
            let tail = unsafe { AtomicU16::from_ptr(tail) }.load(Ordering::Acquire);
            if tail == self.head {
                return None;
            }
            // SAFETY: one of the list's entries.
            let entry = unsafe { self.list.add(usize::from(self.head % CHUNKS)) };
            // SAFETY: published, and so not written to.
            let entry = unsafe { &*entry };
            assert!(bytes.len() <= entry.len() as usize);
            let chunk = std::ptr::with_exposed_provenance_mut(entry.addr() as usize);
            // SAFETY: the chunk was given to the kernel, and has room.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), chunk, bytes.len()) };
            self.head = self.head.wrapping_add(1);
            Some(entry.bid())
        }
    }

    #[test]
    fn chunks_go_round_and_keep_what_they_hold() {
        let mut chunks = Chunks::new();
        let mut kernel = Kernel::of(&chunks);
        let mut held = VecDeque::new();
        // More often than the tail has numbers, where it does not take Miri minutes.
        let rounds = if cfg!(miri) { 3 * u32::from(CHUNKS) } else { 70_000 };
        for n in 0..rounds {
            let text = n.to_le_bytes();
            let place = kernel.fill(&text).expect("one is given back for each that is taken");
            // SAFETY: it was just taken.
            held.push_back((text, unsafe { chunks.taken(place, text.len() as i32) }));
            // Given back in another order than taken.
            if held.len() > 5 {
                let (text, chunk) = held.remove(n as usize % 5).expect("one of six");
                assert_eq!(chunks.bytes(&chunk), text);
                chunks.give_back(chunk);
            }
        }
        held.iter().for_each(|(text, chunk)| assert_eq!(chunks.bytes(chunk), text));
    }

    #[test]
    fn a_list_runs_out_and_is_filled_again() {
        let mut chunks = Chunks::new();
        let mut kernel = Kernel::of(&chunks);
        let full = [7; CHUNK_BYTES as usize];
        let places: Vec<u16> = std::iter::from_fn(|| kernel.fill(&full)).collect();
        assert_eq!(places, (0..CHUNKS).collect::<Vec<_>>());
        for place in places {
            // SAFETY: it was taken above. The kernel may say more than there is room for; nobody believes it.
            let chunk = unsafe { chunks.taken(place, i32::MAX) };
            assert_eq!(chunks.bytes(&chunk), full);
            chunks.give_back(chunk);
        }
        assert_eq!(kernel.fill(b"again"), Some(0));
    }

    #[test]
    fn an_error_fills_nothing() {
        let chunks = Chunks::new();
        let place = Kernel::of(&chunks).fill(b"").expect("a chunk");
        // SAFETY: it was just taken.
        let chunk = unsafe { chunks.taken(place, -libc::ECONNRESET) };
        assert_eq!(chunks.bytes(&chunk), b"");
    }

    #[test]
    fn another_lists_chunk_is_neither_read_nor_taken() {
        let (mut chunks, others) = (Chunks::new(), Chunks::new());
        let mut kernel = Kernel::of(&chunks);
        while kernel.fill(b"ours").is_some() {}
        let place = Kernel::of(&others).fill(b"theirs").expect("a chunk");
        // SAFETY: it was just taken.
        let theirs = unsafe { others.taken(place, 6) };
        assert_eq!((chunks.bytes(&theirs), others.bytes(&theirs)), (&b""[..], &b"theirs"[..]));
        chunks.give_back(theirs);
        assert_eq!(kernel.fill(b"more"), None);
    }
}
