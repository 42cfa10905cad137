//! `paceline demo`: the whole journey on one machine, with a stand-in for GitHub.

pub mod standin;
