//! The program: parse, run, exit code. The only place that prints an error.

mod admin;
mod command_line;
mod commands;
mod config;
mod files;
mod log;
mod process;
mod server;
mod usage_error;
mod values;

use std::io::Write as _;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    match command_line::run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            // Without stderr there is no place for the error.
            let _ = writeln!(std::io::stderr(), "echoline: {}", command_line::shown(&error));
            ExitCode::FAILURE
        }
    }
}
