//! Header compression (RFC 7541): blocks of a client read into fields, fields of an answer written. Pure.
//!
//! What is written is remembered by nobody: an answer costs no table here, and the client's may be of any size.

mod huffman;
mod table;

use self::table::{STATIC, Table};

/// What a client may have this remember: the size that both sides begin with (RFC 9113, section 6.5.2).
const TABLE_MAX_BYTES: usize = 4096;
/// A number beyond this is none that could be meant.
const NUMBER_MAX: usize = 1 << 24;

/// A block that cannot be read: nothing that follows on its connection can be, either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBlock;

#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// Strings that were not in the clear.
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder { table: Table::new(TABLE_MAX_BYTES), name: Vec::new(), value: Vec::new() }
    }
}

impl Decoder {
    /// Tells every field of a block, in order, for as long as there is a need to know: what is told "no" goes on to
    /// be read for what has to be remembered of it.
    pub fn decode(
        &mut self,
        mut block: &[u8],
        mut field: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), BadBlock> {
        let mut wanted = true;
        let mut may_resize = true;
        while let Some(first) = block.first() {
            match *first {
                // A field of the tables.
                0x80.. => {
                    let place = number(&mut block, 7)?;
                    let (name, value) = self.table.field(place).ok_or(BadBlock)?;
                    wanted = wanted && field(name, value);
                }
                0x20..0x40 => {
                    let bytes = number(&mut block, 5)?;
                    if !may_resize || bytes > TABLE_MAX_BYTES {
                        return Err(BadBlock);
                    }
                    self.table.resize(bytes);
                    continue;
                }
                // A literal: to be remembered, or (two kinds) not.
                kind => {
                    let remembered = kind >= 0x40;
                    let place = number(&mut block, if remembered { 6 } else { 4 })?;
                    self.name.clear();
                    let name = match place {
                        0 => string(&mut block, &mut self.name)?,
                        place if remembered => {
                            // It may be dropped to make room for the new one.
                            self.name.extend_from_slice(self.table.field(place).ok_or(BadBlock)?.0);
                            &self.name
                        }
                        place => self.table.field(place).ok_or(BadBlock)?.0,
                    };
                    self.value.clear();
                    let value = string(&mut block, &mut self.value)?;
                    wanted = wanted && field(name, value);
                    if remembered {
                        let (name, value) = (Box::from(name), Box::from(value));
                        self.table.insert(name, value);
                    }
                }
            }
            may_resize = false;
        }
        Ok(())
    }
}

/// RFC 7541, section 5.1.
fn number(block: &mut &[u8], prefix: u32) -> Result<usize, BadBlock> {
    let most = (1_usize << prefix) - 1;
    let (first, mut rest) = block.split_first().ok_or(BadBlock)?;
    let mut number = usize::from(*first) & most;
    if number == most {
        let mut shift = 0;
        loop {
            let (byte, behind) = rest.split_first().ok_or(BadBlock)?;
            rest = behind;
            number += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 21 {
                return Err(BadBlock);
            }
        }
    }
    *block = rest;
    if number > NUMBER_MAX { Err(BadBlock) } else { Ok(number) }
}

/// RFC 7541, section 5.2: where it lies, or decoded in `room`.
fn string<'r, 'b: 'r>(block: &mut &'b [u8], room: &'r mut Vec<u8>) -> Result<&'r [u8], BadBlock> {
    let is_coded = block.first().is_some_and(|first| first & 0x80 != 0);
    let length = number(block, 7)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(BadBlock)?;
    *block = rest;
    match is_coded {
        false => Ok(bytes),
        true if huffman::decode(room, bytes) => Ok(room),
        true => Err(BadBlock),
    }
}

/// Writes the status of an answer, which comes first.
pub fn status(out: &mut Vec<u8>, status: &[u8]) {
    match status {
        b"200" => out.push(0x88),
        b"204" => out.push(0x89),
        b"206" => out.push(0x8a),
        b"304" => out.push(0x8b),
        b"400" => out.push(0x8c),
        b"404" => out.push(0x8d),
        b"500" => out.push(0x8e),
        _ => {
            // By the name of another status, as a literal that is not remembered.
            out.push(0x08);
            push_string(out, status);
        }
    }
}

/// Says that nothing is remembered any more. Owed before the next block once the client has changed how much may
/// be (RFC 7541, section 4.2).
pub fn forget(out: &mut Vec<u8>) {
    out.push(0x20);
}

/// Writes a field as a literal; its name in lower case.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    // Cookies are worth guessing, so nobody on the way is to remember them (RFC 7541, section 7.1.3).
    let kind = if name.eq_ignore_ascii_case(b"set-cookie") { 0x10 } else { 0 };
    match known(name) {
        Some(place @ 0..15) => out.push(kind | place),
        Some(place) => out.extend_from_slice(&[kind | 15, place - 15]),
        None => {
            out.push(kind);
            push_number(out, name.len());
            let from = out.len();
            out.extend_from_slice(name);
            out[from..].make_ascii_lowercase();
        }
    }
    push_string(out, value);
}

/// The place in the static table of a name that answers have; by length first, as most have none.
fn known(name: &[u8]) -> Option<u8> {
    let candidates: &[u8] = match name.len() {
        3 => &[21, 60],
        4 => &[33, 59, 34, 45],
        5 => &[22],
        6 => &[54],
        7 => &[36],
        8 => &[46],
        10 => &[55],
        11 => &[53],
        12 => &[31],
        13 => &[24, 44, 30, 18],
        14 => &[28],
        16 => &[26, 61, 27, 29],
        19 => &[25],
        25 => &[56],
        27 => &[20],
        _ => return None,
    };
    candidates.iter().copied().find(|place| STATIC[usize::from(*place) - 1].0.eq_ignore_ascii_case(name))
}

fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    push_number(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// With a prefix of seven bits that are all the number's.
fn push_number(out: &mut Vec<u8>, number: usize) {
    if number < 127 {
        return out.push(number as u8);
    }
    out.push(127);
    let mut left = number - 127;
    while left >= 128 {
        out.push((left % 128) as u8 | 0x80);
        left /= 128;
    }
    out.push(left as u8);
}

#[cfg(test)]
mod tests;
