//! Relocations of x86-64: how wide the field is, what it means, and where the instruction around it ends.
//!
//! Source: System V ABI, AMD64 supplement, table 4.9 and section B.2 (what the linker may rewrite); Intel SDM volume 2,
//! chapter 2 and appendix A (which instructions carry an immediate).

/// What a relocated field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing that is followed; the bytes are compared as they are.
    Plain,
    /// The address of symbol + addend.
    Absolute,
    /// The distance from the field to symbol + addend.
    Relative,
    /// The distance to a slot that holds the symbol's address, or what the linker made of it.
    Slot,
    /// Where a thread's own variable lies.
    Thread,
    /// None of those that compilers of Rust and C emit.
    Unknown,
}

/// Kind as it is compared: forms that differ only in what the linker may do with them are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) kind: u8,
    pub(super) width: u8,
    pub(super) meaning: Meaning,
}

pub(super) fn field(r_type: u32) -> Field {
    use object::elf::*;
    let (kind, width, meaning) = match r_type {
        R_X86_64_NONE => (R_X86_64_NONE, 0, Meaning::Plain),
        R_X86_64_64 => (R_X86_64_64, 8, Meaning::Absolute),
        // Calls of a function in this executable are made direct, so both mean the same.
        R_X86_64_PC32 | R_X86_64_PLT32 => (R_X86_64_PC32, 4, Meaning::Relative),
        R_X86_64_PC64 => (R_X86_64_PC64, 8, Meaning::Relative),
        R_X86_64_32 | R_X86_64_32S => (r_type, 4, Meaning::Absolute),
        R_X86_64_GOTPCREL | R_X86_64_GOTPCRELX | R_X86_64_REX_GOTPCRELX => {
            (R_X86_64_GOTPCREL, 4, Meaning::Slot)
        }
        R_X86_64_GOTPC32 => (r_type, 4, Meaning::Slot),
        R_X86_64_GOTPC64 | R_X86_64_GOTOFF64 => (r_type, 8, Meaning::Slot),
        R_X86_64_TLSGD
        | R_X86_64_TLSLD
        | R_X86_64_DTPOFF32
        | R_X86_64_GOTTPOFF
        | R_X86_64_TPOFF32
        | R_X86_64_GOTPC32_TLSDESC => (r_type, 4, Meaning::Thread),
        R_X86_64_DTPOFF64 | R_X86_64_TPOFF64 => (r_type, 8, Meaning::Thread),
        R_X86_64_SIZE32 | R_X86_64_SIZE64 | R_X86_64_TLSDESC_CALL => (r_type, 0, Meaning::Plain),
        _ => (0xff, 0, Meaning::Unknown),
    };
    Field { kind: kind as u8, width, meaning }
}

/// How far before its record's offset the field starts: the linker makes `jmp *slot(%rip)`, six bytes, into
/// `jmp target; nop`, whose field is one byte earlier.
pub(super) fn moved_back(field: Field, before: &[u8]) -> u64 {
    let jump = field.kind == object::elf::R_X86_64_GOTPCREL as u8 && before.iter().nth_back(1) == Some(&0xe9);
    u64::from(jump)
}

/// Distances from a 32-bit displacement to the end of its instruction: 4, or more where an immediate follows. A
/// displacement counts from there, so this is what it takes to know what it points to. All that are possible, when the
/// bytes before the field can be read in several ways; never none.
pub(super) fn ends(before: &[u8]) -> Ends {
    let mut ends = Ends::default();
    let at = |back: usize| before.len().checked_sub(back).and_then(|at| before.get(at)).copied();
    let (Some(modrm), Some(op)) = (at(1), at(2)) else { return ends.or(4) };
    // Only mod=00 rm=101 is relative to the instruction; otherwise this is a branch.
    if modrm & 0xc7 != 0x05 {
        return ends.or(4);
    }
    let group = modrm >> 3 & 7;
    match op {
        0x80 | 0x83 | 0xc0 | 0xc1 | 0x6b | 0xc6 => ends = ends.or(5),
        0x81 | 0x69 | 0xc7 => ends = ends.or_word(&before[..before.len() - 2]),
        0xf6 if group < 2 => ends = ends.or(5),
        0xf7 if group < 2 => ends = ends.or_word(&before[..before.len() - 2]),
        // These have no ModRM as one-byte opcodes.
        0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4 | 0xc5 => {}
        _ => ends = ends.or(4),
    }
    let with_byte_in_map_1 = matches!(op, 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6);
    let in_map = |map: u8| match map {
        1 if with_byte_in_map_1 => 5,
        3 => 5,
        _ => 4,
    };
    if at(3) == Some(0x0f) {
        ends = ends.or(in_map(1));
    }
    if at(4) == Some(0x0f) && at(3) == Some(0x3a) {
        ends = ends.or(5);
    }
    if at(4) == Some(0x0f) && at(3) == Some(0x38) {
        ends = ends.or(4);
    }
    // VEX with two and three bytes, EVEX.
    if at(4) == Some(0xc5) {
        ends = ends.or(in_map(1));
    }
    if let (Some(0xc4), Some(first)) = (at(5), at(4)) {
        ends = ends.or(in_map(first & 0x1f));
    }
    if let (Some(0x62), Some(first)) = (at(6), at(5)) {
        ends = ends.or(in_map(first & 0x07));
    }
    if ends.mask == 0 { ends.or(4).or(5) } else { ends }
}

/// A set of distances: 0, or 4 to 8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    mask: u16,
}

impl Ends {
    /// For what is no displacement.
    pub(super) fn none() -> Ends {
        Ends::default().or(0)
    }

    /// For instructions that never carry an immediate.
    pub(super) fn four() -> Ends {
        Ends::default().or(4)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = u64> {
        (0..16).filter(move |bit| self.mask >> bit & 1 == 1)
    }

    fn or(self, distance: u16) -> Ends {
        Ends { mask: self.mask | 1 << distance }
    }

    /// An immediate of four bytes, or of two after an operand-size prefix.
    fn or_word(self, before_opcode: &[u8]) -> Ends {
        let prefixed = before_opcode.iter().rev().take(3).any(|b| *b == 0x66);
        let ends = self.or(8);
        if prefixed { ends.or(6) } else { ends }
    }
}

#[cfg(test)]
mod tests {
    use super::ends;

    #[test]
    fn knows_where_instructions_end() {
        let check = |before: &[u8], expect: &[u64]| {
            assert_eq!(ends(before).iter().collect::<Vec<_>>(), expect, "{before:x?}");
        };
        check(&[0x48, 0x8d, 0x05], &[4]); // lea rax, [rip+X]
        check(&[0xe8], &[4]); // call
        check(&[0x0f, 0x84], &[4]); // je
        check(&[0x80, 0x3d], &[5]); // cmp byte [rip+X], 1
        check(&[0x48, 0x83, 0x3d], &[5]); // cmp qword [rip+X], 1
        check(&[0xc7, 0x05], &[8]); // mov dword [rip+X], 1
        check(&[0x66, 0xc7, 0x05], &[6, 8]); // mov word [rip+X], 1
        check(&[0xf6, 0x05], &[5]); // test byte [rip+X], 1
        check(&[0xf7, 0x1d], &[4]); // neg dword [rip+X]
        check(&[0x0f, 0x10, 0x05], &[4]); // movups xmm0, [rip+X]
        check(&[0x66, 0x0f, 0x70, 0x05], &[5]); // pshufd xmm0, [rip+X], 1
        check(&[0x66, 0x0f, 0x3a, 0x0f, 0x05], &[4, 5]); // palignr xmm0, [rip+X], 1
        check(&[0xc5, 0xf8, 0xc6, 0x05], &[5]); // vshufps xmm0, xmm0, [rip+X], 1
        check(&[0xc5, 0xfc, 0x58, 0x05], &[4]); // vaddps ymm0, ymm0, [rip+X]
        check(&[], &[4]);
    }
}
