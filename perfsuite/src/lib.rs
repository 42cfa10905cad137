//! Measures two commits against each other: the model, the verdict, the suites, the sandbox, the runner.

pub mod artifact;
pub mod bisect;
pub mod calibrate;
pub mod checking;
pub mod cli;
pub mod codegen;
pub mod disk;
pub mod evidence;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod history;
pub mod host;
pub mod http;
pub mod load;
pub mod measure;
pub mod model;
pub mod observe;
pub mod process;
pub mod profile;
pub mod progress;
pub mod runner;
pub mod sandbox;
pub mod session;
pub mod suite;
pub mod verdict;
