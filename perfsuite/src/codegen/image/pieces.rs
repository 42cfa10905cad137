//! Pieces: what the linker moves as a whole, an input section each; of sections that it merges, an entry each.

use super::{PieceId, Section};
use crate::codegen::Unreadable;
use crate::codegen::map::Row;
use std::collections::HashMap;

/// The benches of the gateway, which link criterion, have 20,000.
const PIECES_MAX: usize = 2_000_000;

/// How far ends of strings are looked for, in all. Strings have tens of bytes; only a file made for it gets here.
const SCANNED_BYTES_MAX: usize = 1 << 30;

pub(super) struct Pieces<'a> {
    pieces: Vec<Piece<'a>>,
    /// By section, numbers of its pieces by address.
    of_section: Vec<std::ops::Range<u32>>,
    /// Entries of merged sections that something refers to, by section and address. They come after all others.
    entries: HashMap<(u32, u64), PieceId>,
    /// Bytes in which the end of a string may still be looked for.
    scan_left: usize,
}

#[derive(Clone, Copy)]
struct Piece<'a> {
    section: u32,
    start: u64,
    len: u64,
    name: &'a [u8],
    merged: Merged,
}

/// Equal entries of such input sections are put together, so only entries have a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merged {
    No,
    /// Of one size.
    Constants(u64),
    /// Ended by a zero of one byte. Wider ones stay whole.
    Strings,
}

impl<'a> Pieces<'a> {
    /// From the map, which must be of this executable.
    pub(super) fn read(sections: &[Section<'a>], rows: &[Row<'a>]) -> Result<Pieces<'a>, Unreadable> {
        /// Each is looked for among the file's sections.
        const OUTPUTS_MAX: usize = 16_384;
        let mut pieces: Vec<Piece<'a>> = Vec::new();
        let mut current: Option<usize> = None;
        let mut seen = vec![false; sections.len()];
        let mut outputs = 0;
        for row in rows {
            match *row {
                Row::Output { name, address, size } => {
                    outputs += 1;
                    if outputs > OUTPUTS_MAX {
                        return Err(Unreadable::because("the linker's map has too many sections"));
                    }
                    current = sections
                        .iter()
                        .position(|s| s.name == name && s.address == address && s.size == size);
                    if let Some(index) = current {
                        seen[index] = true;
                    }
                }
                Row::Input { section: name, address, size, file } => {
                    let Some(index) = current else { continue };
                    let merged = merged(name);
                    // What the linker makes itself (.got, .plt) is no piece: references name what is behind it.
                    let made = file == b"<internal>" && merged == Merged::No;
                    if size == 0 || made {
                        continue;
                    }
                    let section = &sections[index];
                    let offset = address.wrapping_sub(section.address);
                    if offset >= section.size || size > section.size - offset {
                        return Err(not_its_map());
                    }
                    pieces.push(Piece { section: index as u32, start: address, len: size, name, merged });
                }
            }
        }
        if let Some(missing) = seen.iter().zip(sections).find(|(seen, s)| !**seen && s.size > 0) {
            let name = String::from_utf8_lossy(missing.1.name).into_owned();
            return Err(Unreadable::because(format!(
                "the linker's map is of another file: {name} is not in it"
            )));
        }
        if pieces.len() > PIECES_MAX {
            return Err(Unreadable::because("it has too many pieces"));
        }
        pieces.sort_by_key(|piece| (piece.section, piece.start));
        let overlap = |pair: &[Piece]| {
            pair[0].section == pair[1].section && pair[1].start - pair[0].start < pair[0].len
        };
        if pieces.windows(2).any(overlap) {
            return Err(Unreadable::because("the linker's map has two pieces at one place"));
        }
        let of_section = (0..sections.len() as u32)
            .map(|section| {
                let start = pieces.partition_point(|piece| piece.section < section);
                let end = pieces.partition_point(|piece| piece.section <= section);
                start as u32..end as u32
            })
            .collect();
        Ok(Pieces { pieces, of_section, entries: HashMap::new(), scan_left: SCANNED_BYTES_MAX })
    }

    pub(super) fn count(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn section(&self, piece: PieceId) -> usize {
        self.at(piece).section as usize
    }

    pub(super) fn start(&self, piece: PieceId) -> u64 {
        self.at(piece).start
    }

    pub(super) fn len(&self, piece: PieceId) -> u64 {
        self.at(piece).len
    }

    /// The input section's name.
    pub(super) fn name(&self, piece: PieceId) -> &'a [u8] {
        self.at(piece).name
    }

    /// By address, merged sections as a whole.
    pub(super) fn of_section(&self, section: usize) -> impl ExactSizeIterator<Item = PieceId> + use<> {
        self.of_section[section].clone().map(PieceId)
    }

    /// The last piece that starts at or before an address, merged sections as a whole. The address may be behind its
    /// end: one past the end is a place that code computes with.
    pub(super) fn find_plain(&self, section: usize, address: u64) -> Option<PieceId> {
        let range = self.of_section[section].clone();
        let pieces = &self.pieces[range.start as usize..range.end as usize];
        let after = pieces.partition_point(|piece| piece.start <= address);
        (after > 0).then(|| PieceId(range.start + after as u32 - 1))
    }

    /// As [`Pieces::find_plain`], with an entry of a merged section as a piece of its own.
    pub(super) fn find(&mut self, section: &Section, index: usize, address: u64) -> Option<PieceId> {
        let id = self.find_plain(index, address)?;
        let whole = *self.at(id);
        let offset = address - whole.start;
        if offset >= whole.len {
            return Some(id);
        }
        let (start, len) = match whole.merged {
            Merged::No => return Some(id),
            Merged::Constants(size) => (offset / size * size, size),
            Merged::Strings => {
                let in_section = address - section.address;
                let rest = section.slice(in_section..in_section + (whole.len - offset));
                let rest = &rest[..rest.len().min(self.scan_left)];
                let Some(end) = rest.iter().position(|byte| *byte == 0) else {
                    self.scan_left -= rest.len();
                    return Some(id);
                };
                self.scan_left -= end;
                (offset, end as u64 + 1)
            }
        };
        let len = len.min(whole.len - start);
        let start = whole.start + start;
        if let Some(entry) = self.entries.get(&(whole.section, start)) {
            return Some(*entry);
        }
        if self.pieces.len() > PIECES_MAX {
            return Some(id);
        }
        let entry = PieceId(self.pieces.len() as u32);
        self.pieces.push(Piece { start, len, merged: Merged::No, ..whole });
        self.entries.insert((whole.section, start), entry);
        Some(entry)
    }

    /// The piece that ends exactly where this one starts.
    pub(super) fn ends_at_start_of(&self, piece: PieceId) -> Option<PieceId> {
        let this = self.at(piece);
        let before = PieceId(piece.0.checked_sub(1)?);
        let previous = self.at(before);
        let listed = self.of_section[this.section as usize].contains(&piece.0);
        let touches = previous.section == this.section && previous.start + previous.len == this.start;
        (listed && touches && previous.merged == Merged::No).then_some(before)
    }

    fn at(&self, piece: PieceId) -> &Piece<'a> {
        &self.pieces[piece.0 as usize]
    }
}

/// By the names that compilers give to such sections (`.rodata.cst16`, `.rodata.str1.1`): the map has no flags.
fn merged(name: &[u8]) -> Merged {
    let size = |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    let mut parts = name.rsplit(|b| *b == b'.');
    let (last, before) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if before == b"str1" && size(last).is_some() {
        return Merged::Strings;
    }
    match last.strip_prefix(b"cst").and_then(size) {
        Some(size @ (4 | 8 | 16 | 32)) => Merged::Constants(size),
        _ => Merged::No,
    }
}

fn not_its_map() -> Unreadable {
    Unreadable::because("the linker's map is of another file: a piece lies outside of its section")
}

#[cfg(test)]
mod tests {
    use super::{Merged, merged};

    #[test]
    fn knows_merged_sections_by_name() {
        let check = |name: &str, expect: Merged| assert_eq!(merged(name.as_bytes()), expect, "{name}");
        check(".rodata.cst16", Merged::Constants(16));
        check(".rodata.cst0", Merged::No);
        check(".rodata.str1.1", Merged::Strings);
        check(".rodata.name.str1.8", Merged::Strings);
        check(".rodata.str4.4", Merged::No);
        check(".rodata..Lanon.7e94.8", Merged::No);
        check(".text._ZN1a6cst16E", Merged::No);
        check("", Merged::No);
    }
}
