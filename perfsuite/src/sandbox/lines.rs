//! Bytes as they come from a program, cut into lines. Pure.

/// One line of a conversation with a program.
const LINE_MAX_BYTES: usize = 1 << 20;

/// What came and is not yet a line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// So many bytes at the start hold no line end.
    searched: usize,
}

/// A line without an end in sight.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, without its end; what is no UTF-8 in it is replaced.
    pub(super) fn next(&mut self) -> Result<Option<String>, TooLong> {
        let found = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n');
        let Some(end) = found.map(|at| self.searched + at) else {
            self.searched = self.buffer.len();
            return if self.searched > LINE_MAX_BYTES { Err(TooLong) } else { Ok(None) };
        };
        let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..=end);
        self.searched = 0;
        Ok(Some(line))
    }
}

/// The lines of what comes in pieces.
#[cfg(any(test, fuzzing))]
pub(crate) fn lines_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let (mut lines, mut whole) = (Lines::default(), Vec::new());
    for piece in pieces {
        lines.push(piece);
        while let Ok(Some(line)) = lines.next() {
            whole.push(line);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_whatever_the_pieces() {
        let text = "one\n\ntwo words\r\n\u{fffd}\nwithout an end".as_bytes();
        for size in 1..text.len() {
            assert_eq!(lines_of(text.chunks(size)), ["one", "", "two words\r", "\u{fffd}"], "{size}");
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut lines = Lines::default();
        for _ in 0..LINE_MAX_BYTES / 8_192 {
            lines.push(&[b'x'; 8_192]);
            assert_eq!(lines.next(), Ok(None));
        }
        lines.push(b"xx");
        assert_eq!(lines.next(), Err(TooLong));
    }
}
