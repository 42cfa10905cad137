//! Relocations, kept by the linker, become references between pieces.

use super::pieces::Pieces;
use super::symbols::{Place, Symbol, Symbols};
use super::{Kind, PieceId, Reference, Section, Target, broken};
use crate::codegen::Unreadable;
use crate::codegen::x86_64::{self, Ends, Field, Meaning};
use object::LittleEndian;
use object::elf::{self, FileHeader64, Rela64};
use object::read::elf::{SectionHeader, SectionTable};

/// The benches of the gateway, which link criterion, have 54,000.
const REFERENCES_MAX: usize = 4_000_000;

type Record = Rela64<LittleEndian>;

pub(super) fn read<'a>(
    table: &SectionTable<'a, FileHeader64<LittleEndian>>,
    endian: LittleEndian,
    file: &'a [u8],
    sections: &[Section<'a>],
    symbols: &Symbols<'a>,
    pieces: &mut Pieces<'a>,
) -> Result<Vec<Reference<'a>>, Unreadable> {
    let mut kept: Vec<(usize, &'a [Record])> = Vec::new();
    for header in table.iter().filter(|header| header.sh_flags(endian) & u64::from(elf::SHF_ALLOC) == 0) {
        let Some((records, _)) = header.rela(endian, file).map_err(broken)? else { continue };
        let of = header.info_link(endian).0;
        if let Some(section) = sections.iter().position(|section| section.index == of) {
            kept.push((section, records));
        }
    }
    if !kept.iter().any(|(section, _)| sections[*section].kind == Kind::Code) {
        return Err(Unreadable::because("its relocations are gone: it was linked without --emit-relocs"));
    }
    if kept.iter().map(|(_, records)| records.len()).sum::<usize>() > REFERENCES_MAX {
        return Err(Unreadable::because("it has too many relocations"));
    }
    let mut reader = Reader { sections, symbols, pieces, references: vec![], starts: vec![] };
    // Distances within tables count from the table's start, and what is a start is known by what refers to it.
    let mut in_tables = Vec::new();
    for (section, records) in kept {
        for record in records {
            let field = x86_64::field(record.r_type(endian, false));
            let relocation = Relocation {
                section,
                address: record.r_offset.get(endian),
                field,
                symbol: record.r_sym(endian, false) as usize,
                addend: record.r_addend.get(endian),
            };
            match field.meaning {
                Meaning::Plain if field.kind == elf::R_X86_64_NONE as u8 => {}
                Meaning::Relative if sections[section].kind != Kind::Code => in_tables.push(relocation),
                _ => reader.add(relocation)?,
            }
        }
    }
    let mut starts = std::mem::take(&mut reader.starts);
    starts.sort_unstable();
    for relocation in in_tables {
        reader.add_in_table(relocation, &starts)?;
    }
    reader.mark_ends();
    let mut references = reader.references;
    references.sort_by_key(|reference| (reference.from, reference.offset));
    Ok(references)
}

#[derive(Clone, Copy)]
struct Relocation {
    section: usize,
    address: u64,
    field: Field,
    symbol: usize,
    addend: i64,
}

struct Reader<'r, 'a> {
    sections: &'r [Section<'a>],
    symbols: &'r Symbols<'a>,
    pieces: &'r mut Pieces<'a>,
    references: Vec<Reference<'a>>,
    /// Addresses that something refers to, in the order in which that was read.
    starts: Vec<u64>,
}

impl<'a> Reader<'_, 'a> {
    fn add(&mut self, relocation: Relocation) -> Result<(), Unreadable> {
        let from = self.piece_around(&relocation)?;
        let (targets, also) = match relocation.field.meaning {
            Meaning::Plain => return Ok(()),
            Meaning::Unknown => (Target::Unknown, None),
            Meaning::Relative if !self.is_as_recorded(&relocation) => (Target::Unknown, None),
            Meaning::Relative => self.follow(&relocation, x86_64::ends(self.before(&relocation)), 4),
            Meaning::Slot => self.follow(&relocation, Ends::four(), 4),
            Meaning::Absolute | Meaning::Thread => self.follow(&relocation, Ends::none(), 0),
        };
        self.push(from, &relocation, targets);
        if let Some(also) = also {
            self.push(from, &relocation, also);
        }
        Ok(())
    }

    /// `label - table` is written as the distance from the field, plus the field's own distance from the table.
    /// `starts` are sorted addresses, the table's among them.
    fn add_in_table(&mut self, relocation: Relocation, starts: &[u64]) -> Result<(), Unreadable> {
        let from = self.piece_around(&relocation)?;
        let piece_start = self.pieces.start(from);
        let before = starts.partition_point(|start| *start <= relocation.address);
        let table = before.checked_sub(1).map_or(piece_start, |last| starts[last].max(piece_start));
        let in_table = (relocation.address - table) as i64;
        let target = match self.is_as_recorded(&relocation) {
            true => {
                let direct = Relocation { addend: relocation.addend.wrapping_sub(in_table), ..relocation };
                self.follow(&direct, Ends::none(), 0).0
            }
            false => Target::Unknown,
        };
        self.push(from, &relocation, target);
        Ok(())
    }

    /// What symbol + addend + one of `ends` is, and what else it may be. `delta` counts to symbol + addend + `bias`, so
    /// that it is the same whichever reading holds.
    fn follow(&mut self, relocation: &Relocation, ends: Ends, bias: i64) -> (Target<'a>, Option<Target<'a>>) {
        let Some(symbol) = self.symbols.get(relocation.symbol).copied() else {
            return (Target::Unknown, None);
        };
        let (section, address) = match symbol.place {
            Place::Elsewhere if symbol.name.is_empty() => return (Target::Unknown, None),
            Place::Elsewhere => {
                return (Target::Named { name: symbol.name, addend: relocation.addend }, None);
            }
            Place::Absolute { value } => {
                let addend = relocation.addend.wrapping_add_unsigned(value);
                return (Target::Named { name: symbol.name, addend }, None);
            }
            Place::Loaded { section, address } => (section, address),
        };
        if let Some(all) = self.whole_section(&symbol, section) {
            return (all, None);
        }
        let value = address.wrapping_add_signed(relocation.addend);
        let biased = value.wrapping_add_signed(bias);
        if !symbol.is_section {
            self.start(section, biased);
            return match self.pieces.find(&self.sections[section], section, address) {
                Some(piece) => (self.at(piece, biased), None),
                None => (Target::Named { name: symbol.name, addend: relocation.addend }, None),
            };
        }
        // Nothing of ours is there: the section is empty, or the linker's own.
        if self.pieces.of_section(section).next().is_none() {
            let (name, addend) = (self.sections[section].name, relocation.addend);
            return (Target::Named { name, addend }, None);
        }
        let mut found: [Option<PieceId>; 2] = [None, None];
        for end in ends.iter() {
            let piece = self.pieces.find(&self.sections[section], section, value.wrapping_add(end));
            match (piece, found[0]) {
                (None, _) => return (Target::Unknown, None),
                (piece, None) => found[0] = piece,
                (piece, first) if piece == first => {}
                (piece, _) if found[1].is_none() || found[1] == piece => found[1] = piece,
                _ => return (Target::Unknown, None),
            }
            self.start(section, value.wrapping_add(end));
        }
        match found {
            [Some(piece), also] => (self.at(piece, biased), also.map(|piece| Target::AlsoPiece { piece })),
            _ => (Target::Unknown, None),
        }
    }

    /// Addresses of a thread's own variables overlap others, and nothing in them is a table.
    fn start(&mut self, section: usize, address: u64) {
        if self.sections[section].kind != Kind::Thread {
            self.starts.push(address);
        }
    }

    fn at(&self, piece: PieceId, address: u64) -> Target<'a> {
        Target::Piece { piece, delta: address.wrapping_sub(self.pieces.start(piece)) as i64 }
    }

    /// The linker's own names for the ends of a section: code that uses them goes through all of it.
    fn whole_section(&self, symbol: &Symbol<'a>, section: usize) -> Option<Target<'a>> {
        let name = symbol.name;
        let of = name.strip_prefix(b"__start_").or_else(|| name.strip_prefix(b"__stop_"))?;
        (of == self.sections[section].name).then_some(Target::Section { section, name })
    }

    /// Where code was rewritten so that the record no longer describes it, it is not followed.
    fn is_as_recorded(&self, relocation: &Relocation) -> bool {
        let Some(symbol) = self.symbols.get(relocation.symbol) else { return false };
        let Place::Loaded { section, address } = symbol.place else { return true };
        let calls_resolver = self.sections[section].kind == Kind::Code && symbol.is_resolver;
        let distance = address.wrapping_add_signed(relocation.addend).wrapping_sub(relocation.address);
        let within = &self.sections[relocation.section];
        let start = relocation.address - within.address;
        let written = match *within.slice(start..start + u64::from(relocation.field.width)) {
            [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => return false,
        };
        calls_resolver || written == distance as i64
    }

    /// A place that nothing visible refers to, and that the linker kept, is reached by its end, as a loop does that
    /// counts down: the reference seems to be to what follows.
    fn mark_ends(&mut self) {
        let mut referred = vec![false; self.pieces.count()];
        for reference in &self.references {
            if let Target::Piece { piece, .. } | Target::AlsoPiece { piece } = reference.target {
                referred[piece.0 as usize] = true;
            }
        }
        for reference in &mut self.references {
            let Target::Piece { piece, .. } = reference.target else { continue };
            if self.sections[self.pieces.section(piece)].kind != Kind::Code {
                let before = self.pieces.ends_at_start_of(piece);
                reference.or_end_of = before.filter(|before| !referred[before.0 as usize]);
            }
        }
    }

    fn push(&mut self, from: PieceId, relocation: &Relocation, target: Target<'a>) {
        let offset = relocation.address - self.pieces.start(from);
        let back = x86_64::moved_back(relocation.field, self.before(relocation));
        self.references.push(Reference {
            from,
            offset,
            field_start: offset.saturating_sub(back),
            field_width: relocation.field.width,
            kind: relocation.field.kind,
            target,
            or_end_of: None,
        });
    }

    /// The bytes in front of a field, as many as an instruction can have there.
    fn before(&self, relocation: &Relocation) -> &'a [u8] {
        const INSTRUCTION_BYTES: u64 = 12;
        let section = &self.sections[relocation.section];
        let end = relocation.address - section.address;
        section.slice(end.saturating_sub(INSTRUCTION_BYTES)..end)
    }

    fn piece_around(&self, relocation: &Relocation) -> Result<PieceId, Unreadable> {
        let section = &self.sections[relocation.section];
        let piece = match relocation.address.checked_sub(section.address) {
            Some(offset) if offset < section.size => {
                self.pieces.find_plain(relocation.section, relocation.address)
            }
            _ => None,
        };
        let width = u64::from(relocation.field.width);
        piece
            .filter(|piece| {
                let offset = relocation.address - self.pieces.start(*piece);
                offset <= self.pieces.len(*piece) && self.pieces.len(*piece) - offset >= width
            })
            .ok_or_else(|| Unreadable::because("a relocation lies in no piece of the linker's map"))
    }
}
