//! A single bit that differs, anywhere that a benchmark can reach, is seen.

use super::{Comparison, Difference, Entrance};
use crate::codegen::image::{Image, PieceId};
use proptest::prelude::*;
use std::process::Command;

const PROGRAM: &str = include_str!("../../../tests/fixtures/codegen.rs");

#[test]
fn a_single_bit_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("demo.rs"), PROGRAM).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.current_dir(&directory).args([
        "--edition=2024",
        "-O",
        "-Cstrip=debuginfo",
        "demo.rs",
        "-o",
        "demo",
    ]);
    rustc.args([crate::codegen::LINK_ARG, "-Clink-arg=-Wl,-Map=demo.map"]);
    assert!(rustc.status().unwrap().success());
    let program = std::fs::read(directory.path().join("demo")).unwrap();
    let map = std::fs::read(directory.path().join("demo.map")).unwrap();
    let base = Image::read(&program, &map).unwrap();

    // With nothing left out, all that the linker kept is reached: it has gone the same ways. Merged sections are
    // reached by their entries, and notes are read by the loader.
    let everything = Entrance { own: base.entry_address(), all: vec![] };
    let mut itself = Comparison::new(&base, &base);
    assert!(matches!(itself.benchmark(&everything, &everything), Difference::Same(_)));
    let (pieces, missed): (Vec<PieceId>, Vec<PieceId>) = (0..base.piece_count() as u32)
        .map(PieceId)
        .partition(|piece| itself.numbers.contains_key(&(*piece, *piece)));
    for piece in missed {
        let name = String::from_utf8_lossy(base.function_name(piece, 0));
        let expected = name.starts_with(".note") || name.contains(".cst") || name.contains(".str");
        assert!(expected, "not reached: {name}");
    }
    let pieces: Vec<PieceId> = pieces.into_iter().filter(|piece| !base.bytes(*piece).is_empty()).collect();
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(piece in prop::sample::select(pieces), at: prop::sample::Index, bit in 0..8)| {
        let bytes = base.bytes(piece);
        let at = at.index(bytes.len());
        let is_field = |at: usize| base.references(piece).iter().any(|reference| {
            let start = reference.field_start as usize;
            (start..start + usize::from(reference.field_width)).contains(&at)
        });
        prop_assume!(!is_field(at));
        let mut flipped = program.clone();
        flipped[bytes.as_ptr() as usize - program.as_ptr() as usize + at] ^= 1u8 << bit;
        let head = Image::read(&flipped, &map).unwrap();
        match Comparison::new(&base, &head).benchmark(&everything, &everything) {
            Difference::Changed(_) => {}
            Difference::Same(same) => prop_assert!(same.lines_moved, "byte {} of {:?}", at, piece),
        }
    });
}
