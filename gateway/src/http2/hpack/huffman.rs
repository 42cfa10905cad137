//! The Huffman code of HPACK (RFC 7541, appendix B), read. Pure.
//!
//! The code is canonical: its lengths alone say what it is, so the tables are made of them when this is compiled.

/// Of each byte's code in bits, and last that of the end of a string, which never stands in one.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26, 30,
];

const LONGEST: usize = 30;
const END: u16 = 256;

/// All codes of one length follow each other, in the order of what they stand for.
struct Codes {
    /// By what the next eight bits are: a byte and its code's length, which is 0 where the code is longer.
    short: [(u8, u8); 256],
    /// The code behind the last one of each length.
    after: [u32; LONGEST + 1],
    /// Of each length, what to take off a code to have its place in `symbols`.
    shift: [i64; LONGEST + 1],
    /// By length, and then by value.
    symbols: [u16; 257],
}

static CODES: Codes = codes();

const fn codes() -> Codes {
    let mut codes =
        Codes { short: [(0, 0); 256], after: [0; LONGEST + 1], shift: [0; LONGEST + 1], symbols: [0; 257] };
    let (mut code, mut place, mut length) = (0_u32, 0, 1);
    while length <= LONGEST {
        code <<= 1;
        codes.shift[length] = code as i64 - place as i64;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                codes.symbols[place] = symbol as u16;
                if length <= 8 {
                    let first = (code as usize) << (8 - length);
                    let mut at = first;
                    while at < first + (1 << (8 - length)) {
                        codes.short[at] = (symbol as u8, length as u8);
                        at += 1;
                    }
                }
                place += 1;
                code += 1;
            }
            symbol += 1;
        }
        codes.after[length] = code;
        length += 1;
    }
    codes
}

/// What the first bits of `window` stand for, and how many they are. Every window begins with some code.
fn symbol(window: u32) -> (u16, u32) {
    let (byte, length) = CODES.short[(window >> 24) as usize];
    if length > 0 {
        return (u16::from(byte), u32::from(length));
    }
    for length in 9..=LONGEST {
        let code = window >> (32 - length);
        if code < CODES.after[length] {
            let place = i64::from(code) - CODES.shift[length];
            return (CODES.symbols[place as usize], length as u32);
        }
    }
    (END, LONGEST as u32)
}

/// Appends what a string stands for. False where it is none: its padding is more than seven bits, or not of ones
/// (RFC 7541, section 5.2).
pub(super) fn decode(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let (mut bits, mut count, mut rest) = (0_u64, 0_u32, bytes.iter());
    loop {
        while count <= 56
            && let Some(byte) = rest.next()
        {
            bits = bits << 8 | u64::from(*byte);
            count += 8;
        }
        if count < 8 && bits & ((1 << count) - 1) == (1 << count) - 1 {
            return true;
        }
        // What is missing is read as ones, which begin no byte's code that could be whole without them.
        let window = match count {
            32.. => (bits >> (count - 32)) as u32,
            _ => (bits << (32 - count)) as u32 | (u32::MAX >> count),
        };
        let (symbol, length) = symbol(window);
        if symbol == END || length > count {
            return false;
        }
        out.push(symbol as u8);
        count -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hex: &str, expect: Option<&str>) {
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
            .collect();
        let mut out = Vec::new();
        let read = decode(&mut out, &bytes).then(|| String::from_utf8(out).expect("text"));
        assert_eq!(read.as_deref(), expect, "{hex}");
    }

    /// Bit by bit, for what is not in the examples.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for byte in text {
            let (mut code, mut length) = (0_u32, 0);
            // Canonical: the first code of a length follows the last one of the length before.
            let mut found = None;
            while found.is_none() {
                length += 1;
                code <<= 1;
                for (symbol, of_symbol) in LENGTHS.iter().enumerate() {
                    if usize::from(*of_symbol) == length {
                        if symbol == usize::from(*byte) {
                            found = Some(code);
                        }
                        code += u32::from(found.is_none());
                    }
                }
            }
            bits.extend((0..length).rev().map(|bit| found.expect("a code") >> bit & 1));
        }
        bits.resize(bits.len().div_ceil(8) * 8, 1);
        bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8)).collect()
    }

    #[test]
    fn strings_are_read() {
        // RFC 7541, appendix C.
        check("f1e3c2e5f23a6ba0ab90f4ff", Some("www.example.com"));
        check("a8eb10649cbf", Some("no-cache"));
        check("25a849e95bb8e8b4bf", Some("custom-value"));
        check("d07abe941054d444a8200595040b8166e082a62d1bff", Some("Mon, 21 Oct 2013 20:13:21 GMT"));
        check("9d29ad171863c78f0b97c8e9ae82ae43d3", Some("https://www.example.com"));
        check("", Some(""));
    }

    #[test]
    fn every_byte_has_a_code() {
        let all: Vec<u8> = (0..=255).collect();
        for text in [&all[..], &[0], &[255; 9], b"a", b"zz", &[10, 13, 22]] {
            let mut out = Vec::new();
            assert!(decode(&mut out, &encode(text)), "{text:?}");
            assert_eq!(out, text);
        }
    }

    #[test]
    fn what_is_no_string_is_refused() {
        // Padding of eight ones, padding of zeros, and the code of the end.
        check("a8eb10649cbfff", None);
        check("a8eb10649cb8", None);
        check("ff", None);
        check("ffffffff", None);
        check("00", None);
    }
}
