//! Paceline through its doors: real router, real database, real git; GitHub alone is a stand-in.

mod commands;
mod journey;
mod webhook;
mod whole;
mod world;
