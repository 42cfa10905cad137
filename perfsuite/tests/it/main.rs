//! Tests through the door: the verdict on simulated machines, the measuring of real repositories.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

mod bisect;
mod changepoints;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod codegen;
mod duet;
mod fallback;
mod hostile;
mod load;
mod load_command;
mod measure;
mod profile;
mod report;
mod repository;
mod runner;
mod stopping;
mod verdict;
