//! The functions of one file: which one an address of the file belongs to.

use crate::codegen::readable;
use object::read::elf::{FileHeader, ProgramHeader, Sym};
use object::{LittleEndian, elf};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Larger files are not looked into: a program without debug information has some tens of megabytes.
const FILE_MAX_BYTES: u64 = 512 << 20;
/// The largest programs have some hundred thousand.
const SYMBOLS_MAX: usize = 2_000_000;

type Header = elf::FileHeader64<LittleEndian>;

/// A file's functions, by address as in the file.
pub(super) struct Image {
    bytes: Vec<u8>,
    functions: Vec<Function>,
    /// Address, place in the file, length: what of the file is loaded where.
    segments: Vec<(u64, u64, u64)>,
    /// It has a symbol table of its own, not only what it exports.
    pub(super) has_symbols: bool,
}

struct Function {
    start: u64,
    length: u64,
    mangled: Box<[u8]>,
    /// Made when it is first asked for: most functions never are.
    name: OnceLock<Arc<str>>,
}

/// A function, and how far into it an address is.
pub(super) struct Found<'a> {
    function: &'a Function,
    pub(super) offset: u64,
}

impl Found<'_> {
    /// As people write it.
    pub(super) fn name(&self) -> Arc<str> {
        self.function.name.get_or_init(|| name(&self.function.mangled).into()).clone()
    }
}

impl Function {
    fn new(start: u64, length: u64, mangled: &[u8]) -> Function {
        Function { start, length, mangled: mangled.into(), name: OnceLock::new() }
    }
}

impl Image {
    /// `None` for what is no such file, or cannot be read.
    pub(super) fn read(file: &Path) -> Option<Image> {
        let meta = std::fs::metadata(file).ok()?;
        if !meta.is_file() || meta.len() > FILE_MAX_BYTES {
            return None;
        }
        Image::parse(std::fs::read(file).ok()?)
    }

    pub(super) fn parse(bytes: Vec<u8>) -> Option<Image> {
        let data = bytes.as_slice();
        let header = Header::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let loaded = header.program_headers(endian, data).ok()?.iter();
        let loaded = loaded.filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
        let segments = loaded.map(|s| (s.p_vaddr(endian), s.p_offset(endian), s.p_filesz(endian))).collect();
        let sections = header.sections(endian, data).ok()?;
        let mut functions = Vec::new();
        let mut has_symbols = false;
        for table in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
            let Ok(symbols) = sections.symbols(endian, data, table) else { continue };
            for symbol in symbols.iter().take(SYMBOLS_MAX) {
                let is_function = matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_GNU_IFUNC);
                if !is_function || symbol.st_shndx(endian) == elf::SHN_UNDEF {
                    continue;
                }
                let Ok(name) = symbol.name(endian, symbols.strings()) else { continue };
                if name.is_empty() {
                    continue;
                }
                has_symbols |= table == elf::SHT_SYMTAB;
                functions.push(Function::new(symbol.st_value(endian), symbol.st_size(endian), name));
            }
        }
        functions.sort_by(|a, b| (a.start, &a.mangled).cmp(&(b.start, &b.mangled)));
        // Of several names at one place the first counts, as everywhere.
        functions.dedup_by_key(|function| function.start);
        Some(Image { functions, segments, has_symbols, bytes })
    }

    /// The address, as in the file, of what lies at an offset of it.
    pub(super) fn address(&self, offset: u64) -> Option<u64> {
        let inside =
            |&&(_, from, length): &&(u64, u64, u64)| offset.checked_sub(from).is_some_and(|at| at < length);
        let (address, from, _) = self.segments.iter().find(inside)?;
        address.checked_add(offset - from)
    }

    pub(super) fn function_at(&self, address: u64) -> Option<Found<'_>> {
        let after = self.functions.partition_point(|function| function.start <= address);
        let function = self.functions.get(after.checked_sub(1)?)?;
        let offset = address - function.start;
        // Assembler's functions often have no length: they reach to the next.
        (function.length == 0 || offset < function.length).then_some(Found { function, offset })
    }

    /// Bytes by offset in the file.
    pub(super) fn bytes_at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(offset).ok()?;
        self.bytes.get(at..at.checked_add(length)?)
    }

    /// Whether the instruction before an offset of the file is a call, as x86-64 encodes them: `E8` with four bytes, or
    /// `FF /2` with up to six.
    pub(super) fn follows_a_call(&self, offset: u64) -> bool {
        let before = |length: u64| {
            offset.checked_sub(length).and_then(|at| self.bytes_at(at, usize::try_from(length).ok()?))
        };
        if before(5).is_some_and(|bytes| bytes[0] == 0xe8) {
            return true;
        }
        [2, 3, 4, 6, 7]
            .into_iter()
            .any(|length| before(length).is_some_and(|bytes| bytes[0] == 0xff && bytes[1] >> 3 & 7 == 2))
    }
}

/// A function's name as people write it, without its hash; bounded.
fn name(mangled: &[u8]) -> String {
    let name = readable(mangled);
    // LLVM's marks of clones: `f.llvm.123`, `f.cold`.
    let end = name.find(".llvm.").unwrap_or(name.len());
    name[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_has_its_functions() {
        let image = Image::read(&std::env::current_exe().unwrap()).unwrap();
        assert!(image.has_symbols);
        let own =
            image.functions.iter().find(|f| name(&f.mangled).ends_with("this_program_has_its_functions"));
        let own = own.expect("the test itself");
        let found = image.function_at(own.start + own.length / 2).unwrap();
        assert!(found.name().ends_with("image::tests::this_program_has_its_functions"), "{}", found.name());
        assert_eq!(found.offset, own.length / 2);
    }

    #[test]
    fn what_is_no_program_has_none() {
        assert!(Image::read(Path::new("/etc/passwd")).is_none());
        assert!(Image::read(Path::new("/")).is_none());
        assert!(Image::parse(vec![]).is_none());
    }

    #[test]
    fn offsets_become_addresses_and_calls_are_known() {
        let image = Image {
            bytes: vec![0x90, 0xe8, 1, 2, 3, 4, 0x90, 0xff, 0xd0, 0x90, 0xff, 0xe0, 0x90],
            functions: vec![Function::new(0x10, 4, b"a"), Function::new(0x20, 0, b"b")],
            segments: vec![(0x4000, 0x1000, 0x100)],
            has_symbols: true,
        };
        assert_eq!(image.address(0x1010), Some(0x4010));
        assert_eq!(image.address(0x1100), None);
        let name = |address| image.function_at(address).map(|found| found.name().to_string());
        assert_eq!((name(0x13), name(0x14), name(0x99)), (Some("a".into()), None, Some("b".into())));
        assert_eq!(name(1), None);
        assert!(image.follows_a_call(6) && image.follows_a_call(9));
        assert!(!image.follows_a_call(12), "a jump is no call");
        assert!(!image.follows_a_call(0) && !image.follows_a_call(u64::MAX));
    }

    #[test]
    fn marks_of_clones_are_cut_off() {
        assert_eq!(name(b"_ZN1a5drive17h417b0108b1cb8888E.llvm.77"), "a::drive");
    }
}
