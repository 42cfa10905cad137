//! Real programs, built twice at one path with one word changed: what counts as the same machine code.

use object::LittleEndian;
use object::elf::{FileHeader64, SHT_SYMTAB, STT_FUNC};
use object::read::elf::{FileHeader, Sym};
use perfsuite::codegen::{Changed, Comparison, Difference, Entrance, Image, LINK_ARG, Place, Same};
use proptest::prelude::*;
use std::path::Path;
use std::process::Command;

const PROGRAM: &str = include_str!("../fixtures/codegen.rs");
const BENCHMARKS: [&str; 11] = [
    "bench_shapes",
    "bench_handlers",
    "bench_primes",
    "bench_letters",
    "bench_words",
    "bench_steps",
    "bench_generics",
    "bench_parity",
    "bench_threads",
    "bench_limit",
    "bench_collected",
];

#[derive(Clone, Copy)]
enum Linker {
    Default,
    Gnu,
}

struct Built {
    program: Vec<u8>,
    map: Vec<u8>,
}

/// Builds at one path, whatever is built, as both sides of a pull request are.
fn build(directory: &Path, source: &str, linker: Linker) -> Built {
    build_with(directory, source, linker, &[])
}

fn build_with(directory: &Path, source: &str, linker: Linker, flags: &[&str]) -> Built {
    std::fs::write(directory.join("demo.rs"), source).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.current_dir(directory).args(["--edition=2024", "-O", "-Cdebuginfo=line-tables-only"]);
    // With several units, a function more can move others to another unit, where they are optimised otherwise: a change
    // of code indeed, and none to test for.
    rustc
        .args(["-Ccodegen-units=1", "demo.rs", "-o", "demo", LINK_ARG, "-Clink-arg=-Wl,-Map=demo.map"])
        .args(flags);
    if let Linker::Gnu = linker {
        rustc.arg("-Clink-arg=-fuse-ld=bfd");
    }
    let output = rustc.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read(directory.join(name)).unwrap();
    Built { program: read("demo"), map: read("demo.map") }
}

fn edited(from: &str, to: &str) -> String {
    assert!(PROGRAM.contains(from), "nothing to edit: {from}");
    PROGRAM.replace(from, to)
}

/// Address of the function `demo::NAME`.
fn address(program: &[u8], name: &str) -> u64 {
    let endian = LittleEndian;
    let header = FileHeader64::<LittleEndian>::parse(program).unwrap();
    let symbols = header.sections(endian, program).unwrap().symbols(endian, program, SHT_SYMTAB).unwrap();
    let wanted = format!("{}{name}", name.len());
    let found = symbols.iter().find(|symbol| {
        let symbol_name = String::from_utf8_lossy(symbol.name(endian, symbols.strings()).unwrap());
        symbol.st_type() == STT_FUNC && symbol_name.contains("4demo") && symbol_name.contains(&wanted)
    });
    found.unwrap_or_else(|| panic!("no {name}")).st_value(endian)
}

fn entrance(program: &[u8], name: &str) -> Entrance {
    let all = BENCHMARKS.iter().map(|name| address(program, name)).collect();
    Entrance { own: address(program, name), all }
}

/// What is said of every benchmark.
fn compare(base: &Built, head: &Built) -> Vec<(&'static str, Difference)> {
    let base_image = Image::read(&base.program, &base.map).unwrap();
    let head_image = Image::read(&head.program, &head.map).unwrap();
    let mut comparison = Comparison::new(&base_image, &head_image);
    let say = |name: &&'static str| {
        (*name, comparison.benchmark(&entrance(&base.program, name), &entrance(&head.program, name)))
    };
    BENCHMARKS.iter().map(say).collect()
}

fn changed(functions: &[&str], data: &[&str]) -> Changed {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Changed { place: Place::Inside, functions: owned(functions), data: owned(data), unnamed: 0, unsure: None }
}

/// One benchmark, and only that one, is changed, in this way.
fn assert_only(differences: &[(&str, Difference)], wanted: &str, expect: &Changed) {
    for (name, difference) in differences {
        match difference {
            Difference::Changed(changed) => {
                let mut changed = changed.clone();
                // What the standard library's macro adds to a thread's own variable is its matter.
                for name in &mut changed.data {
                    name.truncate(name.find("::{").unwrap_or(name.len()));
                }
                assert_eq!((*name, &changed), (wanted, expect));
            }
            Difference::Same(same) => {
                assert_ne!(*name, wanted, "{same:?}");
                assert!(!same.lines_moved, "{name}");
            }
        }
    }
}

fn assert_all_same(differences: &[(&str, Difference)], lines_moved: &[&str]) {
    for (name, difference) in differences {
        match difference {
            Difference::Same(Same { functions, bytes, lines_moved: moved }) => {
                assert!(*functions > 100 && *bytes > 10_000, "{name}: {functions} functions, {bytes} bytes");
                assert_eq!(*moved, lines_moved.contains(name), "{name}");
            }
            Difference::Changed(changed) => panic!("{name}: {changed:?}"),
        }
    }
}

/// What changes nothing that a benchmark can reach.
#[test]
fn the_same_code_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let build = |source: &str| build(directory.path(), source, Linker::Default);
    let base = build(PROGRAM);
    assert_all_same(&compare(&base, &base), &[]);

    // Only in these a panic is possible, whose message names the line.
    let with_places =
        ["bench_shapes", "bench_handlers", "bench_primes", "bench_letters", "bench_steps", "bench_generics"];
    let lower = build(&edited("#[inline(never)]\nfn step", "// A comment.\n\n#[inline(never)]\nfn step"));
    assert_all_same(&compare(&base, &lower), &with_places);

    let renamed = build(&edited("even(", "is_even("));
    assert_all_same(&compare(&base, &renamed), &[]);

    let unrelated = "fn main() {\n    ";
    let function = "#[unsafe(no_mangle)]\npub fn added(x: u64) -> String {\n    format!(\"new {x} {:?}\", [1, 2, x])\n}\n\n";
    let added = build(&edited(unrelated, &format!("{function}{unrelated}")));
    assert_all_same(&compare(&base, &added), &[]);
}

/// Each way to reach code.
#[test]
fn changed_code_is_found_by_every_way() {
    let directory = tempfile::tempdir().unwrap();
    let build = |source: &str| build(directory.path(), source, Linker::Default);
    let base = build(PROGRAM);
    let check = |from: &str, to: &str, benchmark: &str, functions: &[&str]| {
        let head = build(&edited(from, to));
        assert_only(&compare(&base, &head), benchmark, &changed(functions, &[]));
    };
    // Through a vtable, with an immediate of other value.
    check("^ 77", "^ 78", "bench_shapes", &["<demo::Circle as demo::Shape>::area"]);
    // Through a table of function pointers.
    check("x * 2", "x * 3", "bench_handlers", &["demo::double"]);
    // A generic, called directly.
    check("*x > largest", "*x < largest", "bench_generics", &["demo::largest"]);
    // In a ring of calls.
    check("n == 0 ||", "n == 9 ||", "bench_parity", &["demo::even"]);
    // Through a section, the second that is there.
    check("x * x", "x * x + 1", "bench_collected", &["demo::square"]);
    // The benchmark itself.
    check("count.get() + 1", "count.get() + 2", "bench_threads", &["demo::bench_threads"]);
}

#[test]
fn changed_constants_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let build = |source: &str| build(directory.path(), source, Linker::Default);
    let base = build(PROGRAM);
    let check = |from: &str, to: &str, benchmark: &str, data: &[&str]| {
        let head = build(&edited(from, to));
        assert_only(&compare(&base, &head), benchmark, &changed(&[], data));
    };
    check("977 + 3", "977 + 4", "bench_primes", &["demo::PRIMES"]);
    check("*b\"abcdefg\"", "*b\"abcdefG\"", "bench_letters", &["demo::LETTERS"]);
    // Through a table of distances to strings.
    check("\"three\"", "\"threE\"", "bench_words", &["a constant of demo::word"]);
    check("AtomicU8::new(3)", "AtomicU8::new(5)", "bench_limit", &["demo::LIMIT"]);
    // The initial value of a thread's own variable.
    check("Cell::new(7)", "Cell::new(8)", "bench_threads", &["demo::COUNT"]);
}

/// Code around the benchmarks prepares what they work on.
#[test]
fn changes_around_the_benchmarks_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let base = build(directory.path(), PROGRAM, Linker::Default);
    let check = |from: &str, to: &str, function: &str| {
        let head = build(directory.path(), &edited(from, to), Linker::Default);
        for (name, difference) in compare(&base, &head) {
            let Difference::Changed(changed) = difference else { panic!("{name} is not changed") };
            assert_eq!((changed.place, changed.unsure), (Place::Around, None), "{name}");
            assert!(changed.functions.contains(&function.to_owned()), "{name}: {:?}", changed.functions);
        }
    };
    check("fn main() {\n", "fn main() {\n    println!(\"begin\");\n", "demo::main");
    check("black_box(1234)", "black_box(1235)", "demo::early");
}

#[test]
fn gnu_ld_is_understood_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let build = |source: &str| build(directory.path(), source, Linker::Gnu);
    let base = build(PROGRAM);
    assert!(base.map.windows(11).any(|text| text == b"\nLOAD demo."), "not linked by GNU ld");
    assert_all_same(&compare(&base, &base), &[]);
    let head = build(&edited("^ 77", "^ 78"));
    assert_only(
        &compare(&base, &head),
        "bench_shapes",
        &changed(&["<demo::Circle as demo::Shape>::area"], &[]),
    );
    let head = build(&edited("\"three\"", "\"threE\""));
    assert_only(&compare(&base, &head), "bench_words", &changed(&[], &["a constant of demo::word"]));
    let head = build(&edited("977 + 3", "977 + 4"));
    assert_only(&compare(&base, &head), "bench_primes", &changed(&[], &["demo::PRIMES"]));
}

#[test]
fn says_what_it_cannot_read() {
    let directory = tempfile::tempdir().unwrap();
    let built = build(directory.path(), PROGRAM, Linker::Default);
    let check = |program: &[u8], map: &[u8], expect: &str| {
        let said = Image::read(program, map).err().unwrap().to_string();
        assert!(said.contains(expect), "{said}");
    };
    check(b"#!/bin/sh\n", &built.map, "no ELF file");
    check(&built.program, b"", "neither of LLD nor of GNU ld");
    let header = b"             VMA              LMA     Size Align Out     In      Symbol\n";
    check(&built.program, header, "of another file");
    let longer = edited("fn main() {\n", "fn main() {\n    println!(\"{:?}\", [1, 2]);\n");
    let longer = build(directory.path(), &longer, Linker::Default);
    check(&built.program, &longer.map, "of another file");
    let status = Command::new("strip").arg("-o").args(["stripped", "demo"]).current_dir(&directory).status();
    if status.is_ok_and(|status| status.success()) {
        check(&std::fs::read(directory.path().join("stripped")).unwrap(), &built.map, "no symbols");
    }
    // An address that is no code of the benchmark.
    let image = Image::read(&built.program, &built.map).unwrap();
    let nowhere = Entrance { own: 1, all: vec![] };
    let Difference::Changed(changed) = Comparison::new(&image, &image).benchmark(&nowhere, &nowhere) else {
        panic!("nothing was compared and found the same")
    };
    assert!(changed.unsure.is_some());
}

/// A stranger's file is refused or compared; it never ends us, and never takes longer than a good one by much.
#[test]
fn broken_files_are_survived() {
    let directory = tempfile::tempdir().unwrap();
    let source = "fn main() { println!(\"{}\", std::env::args().count()); }";
    // Without what debuggers read, more of the edits hit what is read here.
    let built = build_with(directory.path(), source, Linker::Default, &["-Cstrip=debuginfo"]);
    let entry = address(&built.program, "main");
    // The headers of sections are at the end, and the file's own at the start.
    let headers = built.program.len() - 64 * 60..built.program.len();
    let places = prop_oneof![60 => 0..built.program.len(), 20 => headers, 1 => 0usize..64];
    let bytes = prop_oneof![Just(0u8), Just(0xff), Just(0x7f), any::<u8>()];
    let edits = prop::collection::vec((places, bytes), 1..10);
    let map_edits = prop::collection::vec((0..built.map.len(), any::<u8>()), 0..4);
    let cut = prop_oneof![4 => Just(built.program.len()), 1 => 0..built.program.len()];
    let config = ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(edits in edits, map_edits in map_edits, cut in cut)| {
        let (mut program, mut map) = (built.program.clone(), built.map.clone());
        for (at, byte) in edits {
            program[at] = byte;
        }
        for (at, byte) in map_edits {
            map[at] = byte;
        }
        program.truncate(cut);
        let good = Image::read(&built.program, &built.map).unwrap();
        if let Ok(broken) = Image::read(&program, &map) {
            let entrance = Entrance { own: entry, all: vec![entry, u64::MAX] };
            Comparison::new(&good, &broken).benchmark(&entrance, &entrance);
            Comparison::new(&broken, &broken).benchmark(&entrance, &entrance);
        }
    });
}
