//! What is read of Rust's sources without compiling them: tokens, and the items that others can see.

mod public;
mod tokens;

pub use public::public_items;
pub use tokens::{closed, tokens};
