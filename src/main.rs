//! The program: parse, run, exit code. The only place that prints an error.

use std::io::Write;
use std::process::ExitCode;

use echoline::cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if !cli::have_memory() {
        // No text is put together, because that would need memory.
        let text =
            b"echoline: this process may have too little memory: raise the limit (ulimit -v)\n";
        let _ = std::io::stderr().write_all(text);
        return ExitCode::FAILURE;
    }
    let arguments: Vec<_> = std::env::args_os().collect();
    match cli::run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            // With stderr gone too there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "echoline: {error:#}");
            ExitCode::FAILURE
        }
    }
}
