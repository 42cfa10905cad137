//! An executable as pieces and the references between them.

mod pieces;
mod references;
mod symbols;

use super::{Unreadable, map};
use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, SectionHeader, SectionTable};
use pieces::Pieces;
use std::ops::Range;
use symbols::Symbols;

/// An executable, read: what the linker put together, and what refers to what.
///
/// Nothing in it is trusted: sizes, offsets and counts are checked, work grows with the file's length.
pub struct Image<'a> {
    sections: Vec<Section<'a>>,
    pieces: Pieces<'a>,
    symbols: Symbols<'a>,
    references: Vec<Reference<'a>>,
    entry: u64,
    lowest: u64,
}

/// An output section that is loaded.
#[derive(Clone, Copy, Debug)]
struct Section<'a> {
    /// Index in the file.
    index: usize,
    name: &'a [u8],
    address: u64,
    size: u64,
    kind: Kind,
    /// Empty for what is zero at the start.
    bytes: &'a [u8],
    /// Run before or after `main`, by being there.
    is_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Code,
    Constants,
    Zeros,
    /// A thread's own variables: their addresses are those of the initial values.
    Thread,
}

/// Number of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PieceId(pub(super) u32);

/// A field in a piece that the linker filled in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference<'a> {
    from: PieceId,
    /// In the piece: of the field, and where its bytes are.
    pub(super) offset: u64,
    pub(super) field_start: u64,
    pub(super) field_width: u8,
    pub(super) kind: u8,
    pub(super) target: Target<'a>,
    /// A piece that ends where the target starts, and that nothing else refers to: the reference may be to its end.
    pub(super) or_end_of: Option<PieceId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// A place in a piece, or near it: `delta` counts from the piece's start.
    Piece { piece: PieceId, delta: i64 },
    /// Another reading of the reference before; both hold.
    AlsoPiece { piece: PieceId },
    /// Of a shared library, or made by the linker.
    Named { name: &'a [u8], addend: i64 },
    /// `__start_NAME`, `__stop_NAME`: everything in an output section, by its place among ours.
    Section { section: usize, name: &'a [u8] },
    /// Not understood; equal to nothing, itself included.
    Unknown,
}

impl<'a> Image<'a> {
    /// Reads an executable and the map that the linker wrote with it.
    pub fn read(bytes: &'a [u8], map: &'a [u8]) -> Result<Image<'a>, Unreadable> {
        let header = FileHeader64::<LittleEndian>::parse(bytes)
            .map_err(|_| Unreadable::because("it is no ELF file of 64 bits"))?;
        let endian = header.endian().map_err(|_| Unreadable::because("it is not little-endian"))?;
        if header.e_machine(endian) != elf::EM_X86_64 {
            return Err(Unreadable::because("it is not for x86-64"));
        }
        if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) || header.e_entry(endian) == 0 {
            return Err(Unreadable::because("it is no executable"));
        }
        let table = header.sections(endian, bytes).map_err(broken)?;
        let sections = loaded_sections(&table, endian, bytes)?;
        let symbols = Symbols::read(&table, endian, bytes, &sections)?;
        let mut pieces = Pieces::read(&sections, &map::rows(map)?)?;
        let references = references::read(&table, endian, bytes, &sections, &symbols, &mut pieces)?;
        let lowest = lowest_address(header, endian, bytes)?;
        Ok(Image { sections, pieces, symbols, references, entry: header.e_entry(endian), lowest })
    }

    /// The address, as in the file, of the first page that is loaded: what a process calls its load address is this.
    pub fn lowest_address(&self) -> u64 {
        self.lowest
    }

    /// The piece of code at an address.
    pub(super) fn code_at(&self, address: u64) -> Option<PieceId> {
        let section = self
            .sections
            .iter()
            .position(|s| s.kind == Kind::Code && address.wrapping_sub(s.address) < s.size)?;
        let piece = self.pieces.find_plain(section, address)?;
        (address < self.pieces.start(piece) + self.pieces.len(piece)).then_some(piece)
    }

    /// The piece that is the function at an address and nothing else: what may be left out when it is not called.
    pub(super) fn function_alone_at(&self, address: u64) -> Option<PieceId> {
        let piece = self.code_at(address)?;
        let range = self.addresses(piece);
        let alone = range.start == address && self.symbols.functions_in(range).all(|f| f.address == address);
        alone.then_some(piece)
    }

    /// Where the process starts, as an address.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn entry_address(&self) -> u64 {
        self.entry
    }

    /// Where the process starts.
    pub(super) fn entry(&self) -> Option<PieceId> {
        self.code_at(self.entry)
    }

    /// What runs by being in `.init_array` and its like, in order, with the name of the section.
    pub(super) fn run_by_place(&self) -> impl Iterator<Item = (&'a [u8], PieceId)> {
        let places = self.sections.iter().enumerate().filter(|(_, s)| s.is_run);
        places.flat_map(|(index, section)| self.pieces.of_section(index).map(|piece| (section.name, piece)))
    }

    pub(super) fn pieces_of_section(&self, section: usize) -> impl ExactSizeIterator<Item = PieceId> {
        self.pieces.of_section(section)
    }

    pub(super) fn piece_count(&self) -> usize {
        self.pieces.count()
    }

    pub(super) fn kind(&self, piece: PieceId) -> Kind {
        self.sections[self.pieces.section(piece)].kind
    }

    pub(super) fn len(&self, piece: PieceId) -> u64 {
        self.pieces.len(piece)
    }

    /// Empty for what is zero at the start.
    pub(super) fn bytes(&self, piece: PieceId) -> &'a [u8] {
        let section = &self.sections[self.pieces.section(piece)];
        let start = self.pieces.start(piece) - section.address;
        section.slice(start..start + self.pieces.len(piece))
    }

    /// By offset.
    pub(super) fn references(&self, piece: PieceId) -> &[Reference<'a>] {
        let start = self.references.partition_point(|r| r.from < piece);
        let len = self.references[start..].partition_point(|r| r.from == piece);
        &self.references[start..start + len]
    }

    /// The function around an offset in a piece, mangled; or the section that holds it.
    pub(super) fn function_name(&self, piece: PieceId, offset: u64) -> &'a [u8] {
        let start = self.pieces.start(piece);
        let around = self.symbols.last_function_in(start..start.saturating_add(offset).saturating_add(1));
        around.map_or_else(|| self.pieces.name(piece), |function| function.name)
    }

    /// The function that starts where the piece starts, mangled.
    pub(super) fn function_at_start(&self, piece: PieceId) -> Option<&'a [u8]> {
        let range = self.addresses(piece);
        let first = self.symbols.functions_in(range.clone()).next()?;
        (first.address == range.start).then_some(first.name)
    }

    pub(super) fn has_function(&self, name: &[u8]) -> bool {
        self.symbols.has_function(name)
    }

    /// A static's own name, mangled; constants of the compiler have none.
    pub(super) fn static_name(&self, piece: PieceId) -> Option<&'a [u8]> {
        let section = self.pieces.section(piece);
        self.symbols.statics_in(section, self.addresses(piece)).map(|named| named.name).next()
    }

    fn addresses(&self, piece: PieceId) -> Range<u64> {
        let start = self.pieces.start(piece);
        start..start + self.pieces.len(piece)
    }
}

impl<'a> Section<'a> {
    /// Bytes by offset; what the file does not hold is left out.
    fn slice(&self, range: Range<u64>) -> &'a [u8] {
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        match (start, end) {
            (Ok(start), Ok(end)) => self.bytes.get(start..end).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// What is loaded and can be run or read, without what the linker and the unwinder keep for themselves.
fn loaded_sections<'a>(
    table: &SectionTable<'a, FileHeader64<LittleEndian>>,
    endian: LittleEndian,
    file: &'a [u8],
) -> Result<Vec<Section<'a>>, Unreadable> {
    /// Linkers make some 40. Sections are looked up by going through them, so few keep that cheap.
    const SECTIONS_MAX: usize = 1_024;
    if table.len() > SECTIONS_MAX {
        return Err(Unreadable::because("it has too many sections"));
    }
    let mut sections = Vec::new();
    for (index, header) in table.enumerate() {
        let flags = header.sh_flags(endian);
        let name = table.section_name(endian, header).map_err(broken)?;
        let is_run = matches!(
            header.sh_type(endian),
            elf::SHT_INIT_ARRAY | elf::SHT_FINI_ARRAY | elf::SHT_PREINIT_ARRAY
        ) || matches!(name, b".init" | b".fini" | b".ctors" | b".dtors");
        let wanted = !matches!(
            header.sh_type(endian),
            elf::SHT_DYNSYM
                | elf::SHT_STRTAB
                | elf::SHT_HASH
                | elf::SHT_GNU_HASH
                | elf::SHT_RELA
                | elf::SHT_REL
                | elf::SHT_RELR
                | elf::SHT_DYNAMIC
                | elf::SHT_GNU_VERDEF
                | elf::SHT_GNU_VERNEED
                | elf::SHT_GNU_VERSYM
        );
        let unwinding = name.starts_with(b".eh_frame") || name == b".gcc_except_table";
        if flags & u64::from(elf::SHF_ALLOC) == 0 || !wanted || unwinding {
            continue;
        }
        let kind = if flags & u64::from(elf::SHF_TLS) != 0 {
            Kind::Thread
        } else if flags & u64::from(elf::SHF_EXECINSTR) != 0 {
            Kind::Code
        } else if header.sh_type(endian) == elf::SHT_NOBITS {
            Kind::Zeros
        } else {
            Kind::Constants
        };
        let (address, size) = (header.sh_addr(endian), header.sh_size(endian));
        if address.checked_add(size).is_none_or(|end| end > i64::MAX as u64) {
            return Err(Unreadable::because("a section lies beyond all addresses"));
        }
        let bytes = header.data(endian, file).map_err(broken)?;
        sections.push(Section { index: index.0, name, address, size, kind, bytes, is_run });
    }
    Ok(sections)
}

fn lowest_address(
    header: &FileHeader64<LittleEndian>,
    endian: LittleEndian,
    bytes: &[u8],
) -> Result<u64, Unreadable> {
    const PAGE: u64 = 4096;
    let segments = header.program_headers(endian, bytes).map_err(broken)?;
    let loaded = segments.iter().filter(|segment| segment.p_type.get(endian) == elf::PT_LOAD);
    let lowest = loaded.map(|segment| segment.p_vaddr.get(endian) / PAGE * PAGE).min();
    lowest.ok_or_else(|| Unreadable::because("nothing of it is loaded"))
}

fn broken(error: object::read::Error) -> Unreadable {
    Unreadable::because(format!("the file is broken: {error}"))
}
