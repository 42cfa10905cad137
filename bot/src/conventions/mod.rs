//! What a pull request owes its repository's conventions: facts in, findings out. Nothing here does I/O.

pub mod checked;
pub mod claims;
pub mod commits;
mod footers;
mod header;
pub mod landing;
mod message;
pub mod reviews;
mod style;
pub mod tested;
pub mod what_if;

pub use commits::judge;
pub use footers::Footer;
pub use message::{Conventional, Fault, Kind, MESSAGE_MAX_BYTES, Message, parse};

#[cfg(any(test, fuzzing))]
pub(crate) use message::parse as parse_message;

/// Whether a line is a header by the specification.
#[cfg(any(test, fuzzing))]
pub(crate) fn scan_header(line: &str) -> bool {
    header::scan(line).is_ok()
}
