//! The command line: reads arguments, calls, and picks the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    scenarios::cli::main().into()
}
