//! The `perfsuite` program: all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    perfsuite::cli::run(std::env::args_os())
}
