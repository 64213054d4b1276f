//! The program: parse, run, exit code. The only place that prints an error.

use std::io::Write;
use std::process::ExitCode;

use echoline::cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    match cli::run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            // Without stderr there is no place for the error.
            let _ = writeln!(std::io::stderr(), "echoline: {}", cli::shown(&error));
            ExitCode::FAILURE
        }
    }
}
