//! The kinds of suites: each runs rounds of both sides and hands back series.

pub mod command;
pub mod criterion;
pub mod load;
