//! Paceline through its doors: real router, real database, real git; GitHub alone is a stand-in.

mod commands;
mod git;
mod github;
mod journey;
mod scene;
mod standin;
mod webhook;
mod whole;
mod world;
