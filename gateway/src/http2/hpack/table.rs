//! The two tables of HPACK: fields that everybody knows, and those that a connection has had lately. Pure.

use std::collections::VecDeque;

/// What an entry counts besides its strings (RFC 7541, section 4.1).
const ENTRY_BYTES: usize = 32;

/// A name and a value.
type Entry = (Box<[u8]>, Box<[u8]>);

/// Fields by how lately they came, within a bound of bytes.
#[derive(Debug)]
pub(super) struct Table {
    /// The latest first.
    entries: VecDeque<Entry>,
    bytes: usize,
    max_bytes: usize,
}

impl Table {
    pub(super) fn new(max_bytes: usize) -> Table {
        Table { entries: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// The static table's places come first, and begin with 1.
    pub(super) fn field(&self, place: usize) -> Option<(&[u8], &[u8])> {
        match STATIC.get(place.checked_sub(1)?) {
            Some(known) => Some(*known),
            None => self.entries.get(place - 1 - STATIC.len()).map(|(name, value)| (&**name, &**value)),
        }
    }

    pub(super) fn resize(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
        self.make_room(0);
    }

    /// One that is larger than all of the table leaves it empty (RFC 7541, section 4.4).
    pub(super) fn insert(&mut self, name: Box<[u8]>, value: Box<[u8]>) {
        let bytes = name.len() + value.len() + ENTRY_BYTES;
        self.make_room(bytes);
        if bytes <= self.max_bytes {
            self.bytes += bytes;
            self.entries.push_front((name, value));
        }
    }

    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > self.max_bytes
            && let Some((name, value)) = self.entries.pop_back()
        {
            self.bytes -= name.len() + value.len() + ENTRY_BYTES;
        }
    }
}

/// RFC 7541, appendix A.
pub(super) const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];
