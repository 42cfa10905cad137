//! HTTP/2 (RFC 9113): connections by `h2`, and each of their streams in the shape of HTTP/1.
//!
//! A request of a client is written down as HTTP/1 has it, and then judged, routed, limited and passed on by the
//! same code as any other; its answer is read back from HTTP/1 as it is written to the client. So both versions
//! have one reading of a message, and what a translation could smuggle meets the same strict parser. The way to
//! an upstream that speaks HTTP/2 is the mirror image.

mod asked;
mod inbound;
mod io;
mod outbound;
mod served;
mod server;
pub(crate) mod text;

pub use self::asked::{Asked, Line, connect};
pub use self::io::Io;
pub use self::served::Served;
pub use self::server::serve;

/// What a client begins a connection with (RFC 9113, section 3.4), as far as it reads like a head of HTTP/1.
pub const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// How a body is carried in HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
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
