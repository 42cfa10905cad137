//! The `paceline` binary.

fn main() -> std::process::ExitCode {
    bot::cli::run()
}
