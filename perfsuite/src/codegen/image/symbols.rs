//! The symbol table: what relocations point to, and the names of functions for the report.

use super::{Section, broken};
use crate::codegen::Unreadable;
use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{SectionTable, Sym};
use std::collections::HashSet;
use std::ops::Range;

pub(super) struct Symbols<'a> {
    /// As in the file: relocations count them.
    all: Vec<Symbol<'a>>,
    /// By address, then name; of several names at one place the first counts.
    functions: Vec<Named<'a>>,
    statics: Vec<Named<'a>>,
    function_names: HashSet<&'a [u8]>,
}

#[derive(Clone, Copy)]
pub(super) struct Symbol<'a> {
    pub(super) place: Place,
    pub(super) name: &'a [u8],
    /// Stands for an output section: what it meant before linking is gone.
    pub(super) is_section: bool,
    /// Chooses a function when the program starts; calls go through a slot of the linker's.
    pub(super) is_resolver: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Address in one of the loaded sections, by its number among them.
    Loaded { section: usize, address: u64 },
    /// A number, no address.
    Absolute { value: u64 },
    /// In a shared library, or in a section that is not looked at.
    Elsewhere,
}

#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    /// By its number among the loaded ones: those of a thread's own variables overlap others.
    section: usize,
    pub(super) address: u64,
    pub(super) name: &'a [u8],
}

impl<'a> Symbols<'a> {
    pub(super) fn read(
        table: &SectionTable<'a, FileHeader64<LittleEndian>>,
        endian: LittleEndian,
        file: &'a [u8],
        sections: &[Section<'a>],
    ) -> Result<Symbols<'a>, Unreadable> {
        /// The benches of the gateway, which link criterion, have 13,000.
        const SYMBOLS_MAX: usize = 2_000_000;
        let symbols = table.symbols(endian, file, elf::SHT_SYMTAB).map_err(broken)?;
        if symbols.is_empty() {
            return Err(Unreadable::because("it has no symbols (is it stripped?)"));
        }
        if symbols.len() > SYMBOLS_MAX {
            return Err(Unreadable::because("it has too many symbols"));
        }
        let mut loaded = vec![None; table.len()];
        for (number, section) in sections.iter().enumerate() {
            loaded[section.index] = Some(number);
        }
        let thread_start = thread_start(sections);
        let mut read = Symbols {
            all: Vec::with_capacity(symbols.len()),
            functions: vec![],
            statics: vec![],
            function_names: HashSet::new(),
        };
        for (index, symbol) in symbols.enumerate() {
            let name = symbol.name(endian, symbols.strings()).map_err(broken)?;
            let section = symbols.symbol_section(endian, symbol, index).map_err(broken)?;
            let section = section.and_then(|index| loaded.get(index.0).copied().flatten());
            let kind = symbol.st_type();
            let value = symbol.st_value(endian);
            let place = match section {
                Some(section) if kind == elf::STT_TLS => {
                    Place::Loaded { section, address: thread_start.wrapping_add(value) }
                }
                Some(section) => Place::Loaded { section, address: value },
                None if symbol.st_shndx(endian) == elf::SHN_ABS => Place::Absolute { value },
                None => Place::Elsewhere,
            };
            let (is_section, is_resolver) = (kind == elf::STT_SECTION, kind == elf::STT_GNU_IFUNC);
            read.all.push(Symbol { place, name, is_section, is_resolver });
            let Place::Loaded { section, address } = place else { continue };
            let named = Named { section, address, name };
            match kind {
                elf::STT_FUNC | elf::STT_GNU_IFUNC => {
                    read.functions.push(named);
                    read.function_names.insert(name);
                }
                elf::STT_OBJECT | elf::STT_TLS => read.statics.push(named),
                _ => {}
            }
        }
        read.functions.sort_unstable_by_key(|named| (named.address, named.name));
        read.functions.dedup_by_key(|named| named.address);
        read.statics.sort_unstable_by_key(|named| (named.address, named.name));
        Ok(read)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Symbol<'a>> {
        self.all.get(index)
    }

    pub(super) fn functions_in(&self, addresses: Range<u64>) -> impl Iterator<Item = &Named<'a>> {
        within(&self.functions, addresses)
    }

    pub(super) fn last_function_in(&self, addresses: Range<u64>) -> Option<&Named<'a>> {
        let end = self.functions.partition_point(|named| named.address < addresses.end);
        let last = self.functions.get(end.checked_sub(1)?)?;
        (last.address >= addresses.start).then_some(last)
    }

    pub(super) fn statics_in(
        &self,
        section: usize,
        addresses: Range<u64>,
    ) -> impl Iterator<Item = &Named<'a>> {
        within(&self.statics, addresses).filter(move |named| named.section == section)
    }

    pub(super) fn has_function(&self, name: &[u8]) -> bool {
        self.function_names.contains(name)
    }
}

fn within<'s, 'a>(sorted: &'s [Named<'a>], addresses: Range<u64>) -> impl Iterator<Item = &'s Named<'a>> {
    let start = sorted.partition_point(|named| named.address < addresses.start);
    sorted[start..].iter().take_while(move |named| named.address < addresses.end)
}

/// A thread-local symbol's value counts from the start of the segment, which is that of its first section.
fn thread_start(sections: &[Section]) -> u64 {
    let threads = sections.iter().filter(|section| section.kind == super::Kind::Thread);
    threads.map(|section| section.address).min().unwrap_or(0)
}
