//! HTTP/1.0 and 1.1 on the wire: heads, framing and bodies, validated strictly and forwarded in place.
//!
//! Pure: bytes in, decisions and bytes out; no socket and no clock. What two readers could take for two
//! different messages is refused (RFC 9112, sections 2.2, 3, 5 and 6), and nothing of it is forwarded.

pub mod body;
pub mod buffer;
pub mod chunked;
pub mod field;
pub mod framing;
pub mod onward;
pub mod request;
pub mod response;
pub mod scan;
