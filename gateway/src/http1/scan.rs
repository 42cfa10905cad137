//! Finds the end of a message's head while it arrives, and refuses lines that do not end in CR LF.
//!
//! RFC 9112, section 2.2, lets a recipient take a bare LF for the end of a line. A proxy that does, in front
//! of a server that does not, is how requests are smuggled, so here it is a fault.

use memchr::memchr;

/// How far a head has been looked at. Each byte is looked at once, however small the pieces it comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    seen: usize,
    line_start: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// A line feed without a carriage return before it.
    BareLf,
    /// An empty line where the first line has to be.
    Empty,
}

impl HeadScan {
    /// `bytes` is everything from the first byte of the head on. The length of the head with its empty line,
    /// once that is there.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadLine> {
        while let Some(at) = memchr(b'\n', &bytes[self.seen..]) {
            let end = self.seen + at;
            if end == self.line_start || bytes[end - 1] != b'\r' {
                return Err(BadLine::BareLf);
            }
            let is_empty = end - 1 == self.line_start;
            self.seen = end + 1;
            if is_empty {
                return if self.line_start == 0 { Err(BadLine::Empty) } else { Ok(Some(end + 1)) };
            }
            self.line_start = end + 1;
        }
        self.seen = bytes.len();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &str, expect: Result<Option<usize>, BadLine>) {
        assert_eq!(HeadScan::default().advance(bytes.as_bytes()), expect, "{bytes:?}");
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        check("", Ok(None));
        check("GET / HTTP/1.1\r\n", Ok(None));
        check("GET / HTTP/1.1\r\na: b\r", Ok(None));
        check("GET / HTTP/1.1\r\n\r\n", Ok(Some(18)));
        check("x\r\na: b\r\n\r\nbody\n", Ok(Some(11)));
        check("x\n\r\n", Err(BadLine::BareLf));
        check("x\r\na\n\r\n", Err(BadLine::BareLf));
        check("x\r\n\n", Err(BadLine::BareLf));
        check("\nx", Err(BadLine::BareLf));
        check("\r\nx\r\n\r\n", Err(BadLine::Empty));
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(text in "[a\r\n]{0,24}", cuts in prop::collection::vec(0usize..24, 0..6)) {
            let bytes = text.as_bytes();
            let whole = HeadScan::default().advance(bytes);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut scan = HeadScan::default();
            let mut pieces = Ok(None);
            for cut in cuts {
                pieces = scan.advance(&bytes[..cut]);
                if pieces != Ok(None) {
                    break;
                }
            }
            prop_assert_eq!(pieces, whole);
        }
    }
}
