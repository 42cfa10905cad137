//! What lies where in this process: the tables that its stacks are unwound by, and the names of its functions. Read from
//! the files that are mapped, when a profile is made; kept no longer than that.

use crate::sys::profiling::slots::Sample;
use framehop::{
    CacheNative, ExplicitModuleSectionInfo, MayAllocateDuringUnwind, Module, UnwindRegsNative, Unwinder,
    UnwinderNative,
};
use object::elf;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Frames of one stack; deeper ones keep their innermost.
const DEPTH_MAX: usize = 256;
/// Larger files are not looked into: a program without debug information has some tens of megabytes.
const FILE_MAX_BYTES: u64 = 512 << 20;
/// Files that are looked into; a gateway maps five.
const FILES_MAX: usize = 64;
/// Beyond this, a name costs more to read than it is worth.
const NAME_MAX_BYTES: usize = 4 * 1024;
/// Of a name that is shown.
const NAME_MAX_CHARS: usize = 400;

/// The code of this process.
pub(super) struct Code {
    files: Vec<Mapped>,
}

/// The code of one file.
struct Mapped {
    start: u64,
    end: u64,
    /// What lies at an address here has in the file one that is lower by this.
    base: u64,
    /// Shown where a function has no name.
    name: String,
    functions: Vec<Function>,
    /// All functions' names in a row, as they are in the file.
    names: Vec<u8>,
    unwinding: ExplicitModuleSectionInfo<Vec<u8>>,
}

struct Function {
    start: u64,
    length: u64,
    /// Where its name begins and ends.
    name: (u32, u32),
}

impl Code {
    pub(super) fn of_this_process() -> Code {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let own = fs::read_link("/proc/self/exe").ok();
        let mut seen = HashSet::new();
        let mut files = Vec::new();
        for mapping in maps.lines().filter_map(Mapping::parse) {
            if files.len() >= FILES_MAX || !seen.insert(mapping.path) {
                continue;
            }
            let data = match mapping.path {
                "[vdso]" => own_memory(mapping.start, mapping.end),
                // Replaced since, most likely by a newer version; what runs can still be read.
                path if own.as_deref() == Some(Path::new(path)) => read(Path::new("/proc/self/exe")),
                path => read(Path::new(path)),
            };
            files.extend(data.and_then(|data| Mapped::read(&mapping, &data)));
        }
        Code { files }
    }

    pub(super) fn unwinding(&mut self) -> Unwinding<'_> {
        let mut unwinder = UnwinderNative::new();
        for file in &mut self.files {
            let sections = std::mem::take(&mut file.unwinding);
            unwinder.add_module(Module::new(file.name.clone(), file.start..file.end, file.base, sections));
        }
        Unwinding { code: self, unwinder, cache: CacheNative::default() }
    }

    /// The function that an address lies in, as people write it.
    pub(super) fn name(&self, address: u64) -> String {
        let Some(file) = self.file(address) else { return "[unknown]".into() };
        match file.function(address.wrapping_sub(file.base)) {
            Some(mangled) => readable(mangled),
            None => format!("[{}]", file.name),
        }
    }

    fn file(&self, address: u64) -> Option<&Mapped> {
        self.files.iter().find(|file| (file.start..file.end).contains(&address))
    }
}

/// Follows stacks to their outer ends.
pub(super) struct Unwinding<'c> {
    code: &'c Code,
    unwinder: UnwinderNative<Vec<u8>, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
}

impl Unwinding<'_> {
    /// An address in each function of a stack, the innermost first.
    pub(super) fn stack(&mut self, sample: &Sample) -> Vec<u64> {
        let (registers, bytes) = (sample.registers, sample.stack());
        let mut word = |address: u64| {
            let at = usize::try_from(address.checked_sub(registers.stack).ok_or(())?).map_err(drop)?;
            let word = bytes.get(at..at.saturating_add(8)).and_then(|word| word.try_into().ok());
            word.map(u64::from_ne_bytes).ok_or(())
        };
        #[cfg(target_arch = "x86_64")]
        let first = UnwindRegsNative::new(registers.instruction, registers.stack, registers.frame);
        #[cfg(target_arch = "aarch64")]
        let first = UnwindRegsNative::new(registers.link, registers.stack, registers.frame);
        let mut frames = self.unwinder.iter_frames(registers.instruction, first, &mut self.cache, &mut word);
        let mut addresses = Vec::with_capacity(32);
        while let Ok(Some(frame)) = frames.next() {
            let address = frame.address_for_lookup();
            // What is no code was no return address: the way out was lost.
            if addresses.len() >= DEPTH_MAX || self.code.file(address).is_none() {
                break;
            }
            addresses.push(address);
        }
        addresses
    }
}

impl Mapped {
    /// None for what is no such file.
    fn read(mapping: &Mapping<'_>, data: &[u8]) -> Option<Mapped> {
        let file = ElfFile64::<Endianness>::parse(data).ok()?;
        let endian = file.endian();
        let is_code = |segment: &&elf::ProgramHeader64<Endianness>| {
            segment.p_type(endian) == elf::PT_LOAD && segment.p_flags(endian) & elf::PF_X != 0
        };
        let segment = file.elf_program_headers().iter().find(is_code)?;
        let in_file = segment.p_vaddr(endian).wrapping_sub(segment.p_offset(endian));
        let base = mapping.start.wrapping_sub(in_file.wrapping_add(mapping.offset));
        let (mut functions, mut names) = (Vec::new(), Vec::new());
        for symbol in file.symbols().chain(file.dynamic_symbols()) {
            let Ok(name) = symbol.name_bytes() else { continue };
            if symbol.kind() != SymbolKind::Text || symbol.is_undefined() || name.is_empty() {
                continue;
            }
            let from = u32::try_from(names.len()).ok()?;
            names.extend_from_slice(&name[..name.len().min(NAME_MAX_BYTES)]);
            let name = (from, u32::try_from(names.len()).ok()?);
            functions.push(Function { start: symbol.address(), length: symbol.size(), name });
        }
        // Of several names at one place the first counts.
        functions.sort_by_key(|function: &Function| function.start);
        functions.dedup_by_key(|function| function.start);
        let range = |name: &str| {
            let section = file.section_by_name(name)?;
            Some(section.address()..section.address().checked_add(section.size())?)
        };
        let bytes = |name: &str| Some(file.section_by_name(name)?.data().ok()?.to_vec());
        let unwinding = ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: range(".text"),
            got_svma: range(".got"),
            eh_frame_svma: range(".eh_frame"),
            eh_frame: bytes(".eh_frame"),
            eh_frame_hdr_svma: range(".eh_frame_hdr"),
            eh_frame_hdr: bytes(".eh_frame_hdr"),
            ..ExplicitModuleSectionInfo::default()
        };
        let name = mapping.path.rsplit('/').next().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        Some(Mapped { start: mapping.start, end: mapping.end, base, name, functions, names, unwinding })
    }

    /// By an address of the file.
    fn function(&self, address: u64) -> Option<&[u8]> {
        let after = self.functions.partition_point(|function| function.start <= address);
        let function = self.functions.get(after.checked_sub(1)?)?;
        // Assembler's functions often have no length: they reach to the next.
        let is_within = function.length == 0 || address - function.start < function.length;
        let (from, to) = function.name;
        self.names.get(from as usize..to as usize).filter(|_| is_within)
    }
}

/// A line of `/proc/self/maps` that tells of code: `START-END r-xp OFFSET DEVICE INODE   PATH`.
#[derive(Debug, PartialEq)]
struct Mapping<'l> {
    start: u64,
    end: u64,
    /// In the file.
    offset: u64,
    path: &'l str,
}

impl<'l> Mapping<'l> {
    fn parse(line: &'l str) -> Option<Mapping<'l>> {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let rights = words.next()?;
        let offset = words.next()?;
        let path = words.nth(2)?.trim_start();
        let is_code = rights.as_bytes().get(2) == Some(&b'x');
        if !is_code || !(path.starts_with('/') || path == "[vdso]") {
            return None;
        }
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some(Mapping { start: hex(start)?, end: hex(end)?, offset: hex(offset)?, path })
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let about = fs::metadata(path).ok()?;
    if !about.is_file() || about.len() > FILE_MAX_BYTES {
        return None;
    }
    fs::read(path).ok()
}

/// Of this process, by the file that the kernel shows it as: what cannot be read is an error and no fault.
fn own_memory(start: u64, end: u64) -> Option<Vec<u8>> {
    const MOST: u64 = 1 << 20;
    let mut bytes = vec![0; usize::try_from(end.checked_sub(start)?.min(MOST)).ok()?];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut bytes, start).ok()?;
    Some(bytes)
}

/// A function's name as people write it, without its hash; bounded.
fn readable(mangled: &[u8]) -> String {
    let mangled = String::from_utf8_lossy(mangled);
    let name = match rustc_demangle::try_demangle(&mangled) {
        Ok(name) => format!("{name:#}"),
        Err(_) => mangled.into_owned(),
    };
    // LLVM's marks of clones: `f.llvm.123`.
    let end = name.find(".llvm.").unwrap_or(name.len());
    name[..end].chars().filter(|c| !c.is_control()).take(NAME_MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read() {
        let line =
            "55d0c0a00000-55d0c0f00000 r-xp 00012000 fe:00 1234                   /srv/a b/gateway (deleted)";
        let (start, end) = (0x55d0_c0a0_0000, 0x55d0_c0f0_0000);
        let path = "/srv/a b/gateway (deleted)";
        assert_eq!(Mapping::parse(line), Some(Mapping { start, end, offset: 0x12000, path }));
        for other in [
            line.replace("r-xp", "rw-p"),
            "7f00-7f01 r-xp 0 00:00 0 ".into(),
            "7f00-7f01 r-xp 0 00:00 0 [vsyscall]".into(),
            "nonsense".into(),
        ] {
            assert_eq!(Mapping::parse(&other), None, "{other}");
        }
    }

    #[inline(never)]
    fn marked() -> u64 {
        std::hint::black_box(7)
    }

    #[test]
    fn ones_own_functions_have_their_names() {
        let code = Code::of_this_process();
        assert_eq!(marked(), 7);
        let name = code.name(marked as fn() -> u64 as usize as u64);
        assert!(name.ends_with("profile::code::tests::marked"), "{name}");
        assert_eq!(code.name(1), "[unknown]");
        let now: fn() -> std::time::Instant = std::time::Instant::now;
        assert!(code.file(now as usize as u64).is_some());
    }
}
