//! Whether a benchmark's machine code is the same in two executables, read from the files, without running anything.
//!
//! # What is compared
//!
//! Everything that one benchmark's process can run or read, as far as the executable says so: the code and the
//! constants reachable over references from the entry point (`_start`, so `main`), from what runs before and after it
//! (`.init_array` and its like), and from the benchmark itself, *without* entering the other benchmarks' own functions,
//! which that process never calls.
//!
//! The unit is the *piece*: an input section, which the linker moves as a whole. What is inside one piece needs no
//! reference, what crosses from one to another has a relocation (ELF gABI, "Relocation"; System V ABI, AMD64
//! supplement, 4.4). So with `--emit-relocs`, which keeps the relocations in the executable, and `-Map`, which says
//! where each input section went and how long it is, both the extents and the references are known and nothing is
//! guessed from instructions. rustc gives each function, constant, vtable and string a section of its own.
//!
//! Two pieces are the same when they are of equal length, hold equal bytes outside of the fields that the linker
//! filled in, and refer to the same places at the same offsets: to pieces that are the same in turn, or to a symbol of
//! one name in a shared library. Loops (a function that calls itself) are the same as long as nothing in them differs:
//! it is the coarsest bisimulation of the two graphs of references (Park 1981), walked from the roots. Neither names
//! nor addresses take part; names serve the report only. So a function that is renamed, moved, or merged with a twin
//! is the same, and a local symbol that exists twice confuses nobody.
//!
//! A panic's place (`core::panic::Location`: file, line, column) that differs in line and column alone counts as the
//! same, and [`Same::lines_moved`] says so.
//!
//! # What can fool it
//!
//! Same code is not the same work, or the same time:
//!
//! - what a program computes or reads when it runs: files, the environment, arguments, random seeds, `dlopen`;
//! - shared libraries: they are compared by the names they are asked for, their code is the machine's;
//! - the layout: where functions lie, how they are aligned, and which of them share a cache line;
//! - unwinding tables (`.eh_frame`, `.gcc_except_table`): where a panic lands is not compared, the code there is;
//! - an executable that says something else than it runs: assembler that computes addresses from its own, `build.rs`
//!   that puts a program of its own in the place of the linker. The verdict is about honest builds, and what compilers
//!   emit;
//! - a constant of the shape of a panic's place, that names a file `*.rs` and means its numbers;
//! - a constant that some function reaches by its end alone (counting down), and another function by its start: with
//!   the first function alone, it passes for its neighbour.
//!
//! # What is changed though its source is not
//!
//! A crate is compiled in several units (`codegen-units`), and a change of one function can move others to another
//! unit, where they are inlined or allotted registers otherwise. That is other code, and it is called so. The linker's
//! relaxation of an instruction, when a distance outgrows a field, is another.
//!
//! What cannot be followed counts as changed, and [`Changed::unsure`] says why. That costs a measurement and nothing
//! else.
//!
//! # Where
//!
//! ELF for x86-64, linked by LLD (what rustc uses there since 1.90) or GNU ld. Everything else is [`Unreadable`].

mod compare;
mod image;
mod map;
mod names;
mod x86_64;

pub use compare::{Changed, Comparison, Difference, Entrance, NAMES_MAX, Place, Same};
pub use image::Image;
pub(crate) use names::readable;

/// What the linker must be asked for, beside `-Clink-arg=-Wl,-Map=FILE`: a file for each executable, since linkers run
/// at the same time and none of them names the file after its output.
pub const LINK_ARG: &str = "-Clink-arg=-Wl,--emit-relocs";

/// Why nothing can be said about an executable, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub(crate) String);

impl Unreadable {
    pub(crate) fn because(reason: impl Into<String>) -> Unreadable {
        Unreadable(reason.into())
    }
}
