//! Text for people: the words, other people's text made harmless, and the report for a terminal.

pub mod facts;
pub mod markdown;
pub mod words;
