//! The linker's map: which input section went where. LLD's form and GNU ld's; both are for people, neither is specified.

use super::Unreadable;

/// A line of the map: an output section, or a piece of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Row<'a> {
    Output { name: &'a [u8], address: u64, size: u64 },
    Input { section: &'a [u8], address: u64, size: u64, file: &'a [u8] },
}

/// The rows in the order of the file: an output section, then its pieces.
pub(super) fn rows(map: &[u8]) -> Result<Vec<Row<'_>>, Unreadable> {
    /// That of the benches of the gateway, which link criterion, has 8 MB.
    const BYTES_MAX: usize = 128 * 1024 * 1024;
    if map.len() > BYTES_MAX {
        return Err(Unreadable::because("the linker's map is too long"));
    }
    let first = map.split(|b| *b == b'\n').next().unwrap_or_default();
    let titles: Vec<&[u8]> = words(first).collect();
    if titles == [&b"VMA"[..], b"LMA", b"Size", b"Align", b"Out", b"In", b"Symbol"] {
        return Ok(lld(map));
    }
    const GNU_START: &[u8] = b"\nLinker script and memory map\n";
    match find(map, GNU_START) {
        Some(start) => Ok(gnu(&map[start + GNU_START.len()..])),
        None => Err(Unreadable::because("the linker's map is neither of LLD nor of GNU ld")),
    }
}

/// `VMA LMA Size Align ` right-aligned in hexadecimal (Align in decimal), then the name: an output section at once, an
/// input section (`file:(section)`) after 8 blanks, a symbol after 16.
fn lld(map: &[u8]) -> Vec<Row<'_>> {
    map.split(|b| *b == b'\n').skip(1).filter_map(lld_row).collect()
}

fn lld_row(line: &[u8]) -> Option<Row<'_>> {
    let (address, rest) = next_word(line)?;
    let (_, rest) = next_word(rest)?;
    let (size, rest) = next_word(rest)?;
    let (_, rest) = next_word(rest)?;
    let (address, size) = (hex(address)?, hex(size)?);
    let text = rest.strip_prefix(b" ")?;
    let name = text.trim_ascii_start();
    match text.len() - name.len() {
        0 => Some(Row::Output { name, address, size }),
        8 => {
            let open = rfind(name, b":(")?;
            let section = name[open + 2..].strip_suffix(b")")?;
            Some(Row::Input { section, address, size, file: &name[..open] })
        }
        _ => None,
    }
}

/// An output section at the start of a line, an input section after one blank, both with `0xADDRESS 0xSIZE` behind, on
/// the next line where the name is long. Patterns (`*(.text)`), fill and symbols are in between.
fn gnu(map: &[u8]) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    // The name whose numbers are on the next line.
    let mut waiting: Option<(usize, &[u8])> = None;
    for line in map.split(|b| *b == b'\n') {
        let text = line.trim_ascii_start();
        let indent = line.len() - text.len();
        let held = waiting.take();
        let (indent, name, numbers) = match held {
            Some((indent_of_name, name)) if indent > 1 && text.starts_with(b"0x") => {
                (indent_of_name, name, text)
            }
            _ if indent > 1 || text.is_empty() || text.starts_with(b"*") => continue,
            _ => match next_word(text) {
                Some((name, rest)) if rest.trim_ascii().is_empty() => {
                    waiting = Some((indent, name));
                    continue;
                }
                Some((name, rest)) => (indent, name, rest),
                None => continue,
            },
        };
        let Some((address, rest)) = next_word(numbers) else { continue };
        let Some((size, rest)) = next_word(rest) else { continue };
        let (Some(address), Some(size)) = (hex_0x(address), hex_0x(size)) else { continue };
        rows.push(match indent {
            0 => Row::Output { name, address, size },
            _ => Row::Input { section: name, address, size, file: rest.trim_ascii() },
        });
    }
    rows
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

fn next_word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|b| b.is_ascii_whitespace()).unwrap_or(line.len());
    (end > 0).then(|| line.split_at(end))
}

fn hex(word: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()
}

fn hex_0x(word: &[u8]) -> Option<u64> {
    hex(word.strip_prefix(b"0x")?)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn rfind(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).rposition(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::{Row, rows};

    const LLD: &str = "\
             VMA              LMA     Size Align Out     In      Symbol
           149e0            149e0    3fa73    16 .text
           149e0            149e0       2b    16         /usr/lib/my libs/Scrt1.o:(.text)
           149e0            149e0        0     1                 _start
           15a70            15a70      2c1    16         lib(x).rlib(a.o):(.text._ZN1a4jump17h488c0a828cfc8192E)
               0                0    181e0     8 .rela.text
";

    const GNU: &str = "\
Discarded input sections

 .text.gone     0x0000000000000000       0x10 a.o

Memory Configuration

Linker script and memory map

LOAD a.o
.text           0x0000000000005060    0x3fc91
 *(.text.unlikely .text.*_unlikely .text.unlikely.*)
 .text.unlikely._RINvMs0
                0x0000000000005060       0x78 /my libs/a.o
                0x0000000000005060                a::b
 *fill*         0x00000000000050d8        0x8 
 .text.x        0x00000000000050e0        0x4 b.o
.rodata.verylong.name
                0x0000000000006000       0x10
 .rodata.str1.1
                0x0000000000006000       0x10 b.o
                                         0x1c (size before relaxing)
";

    #[test]
    fn reads_both_linkers() {
        let input = |section: &'static str, address, size, file: &'static str| Row::Input {
            section: section.as_bytes(),
            address,
            size,
            file: file.as_bytes(),
        };
        let output = |name: &'static str, address, size| Row::Output { name: name.as_bytes(), address, size };
        assert_eq!(
            rows(LLD.as_bytes()).unwrap(),
            [
                output(".text", 0x149e0, 0x3fa73),
                input(".text", 0x149e0, 0x2b, "/usr/lib/my libs/Scrt1.o"),
                input(".text._ZN1a4jump17h488c0a828cfc8192E", 0x15a70, 0x2c1, "lib(x).rlib(a.o)"),
                output(".rela.text", 0, 0x181e0),
            ]
        );
        assert_eq!(
            rows(GNU.as_bytes()).unwrap(),
            [
                output(".text", 0x5060, 0x3fc91),
                input(".text.unlikely._RINvMs0", 0x5060, 0x78, "/my libs/a.o"),
                input(".text.x", 0x50e0, 4, "b.o"),
                output(".rodata.verylong.name", 0x6000, 0x10),
                input(".rodata.str1.1", 0x6000, 0x10, "b.o"),
            ]
        );
        assert!(rows(b"").is_err());
        assert!(rows(b"not a map\n").is_err());
    }
}
