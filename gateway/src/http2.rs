//! HTTP/2 (RFC 9113), and each of its streams in the shape of HTTP/1.
//!
//! A request of a client is written down as HTTP/1 has it while its fields are read, and then judged, routed, limited
//! and passed on by the same code as any other; the head of its answer goes from HTTP/1 to a header block in one
//! pass. So both versions have one reading of a message, and what a translation could smuggle meets the same strict
//! parser.
//!
//! For clients the frames, the header compression and the streams are ours (`frame.rs`, `hpack.rs`, `session.rs`), all
//! of them pure; `server.rs` has the socket, and serves all streams of a connection in its one task. The way to an
//! upstream is by the library `h2` (`asked.rs`).

pub mod answer;
mod asked;
mod frame;
pub mod hpack;
mod inbound;
mod outbound;
pub mod request;
mod served;
mod server;
mod session;
mod streams;
mod text;

pub(crate) use self::asked::{Asked, Line, connect};
pub(crate) use self::served::Served;
pub(crate) use self::server::serve;
#[cfg(any(test, fuzzing))]
pub(crate) use self::session::take_frames;

/// What a client begins a connection with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// And as far as that reads like a head of HTTP/1.
pub(crate) const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// How a body is carried in HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    Nothing,
    /// So many bytes.
    Length(u64),
    Chunks,
}

/// Of a stream or a connection: an error of ours, in the words of the standard library.
fn broken(error: h2::Error) -> std::io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| std::io::ErrorKind::BrokenPipe.into());
    }
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, error)
}
