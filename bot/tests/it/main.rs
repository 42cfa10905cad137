//! Paceline through its doors: real router, real database, real git; GitHub alone is a stand-in.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

mod commands;
mod git;
mod github;
mod journey;
mod pages;
mod scene;
mod seed;
mod standin;
mod webhook;
mod whole;
mod world;
