//! The program: parse, run, exit code. The only place that prints an error.
//!
//! # Design
//!
//! **One parser for all settings.** A key of the configuration file is a flag's long name, and its
//! value becomes an argument before the typed ones, unless the command line or the environment has
//! that flag. So a new flag is a key at once, errors of the file use the flag's words, and clap's
//! definition is the only list.
//!
//! **A reload has two phases.** Each part of a running server registers a hook: the keys that it
//! applies, and a function that reads and checks them and returns a commit that cannot fail. After
//! one error nothing is committed. Keys without a hook are reported to need a restart. The reload
//! runs on a thread of its own, because a file may be a pipe.
//!
//! **Start.** A serving command starts in one order: inherited sockets, own sockets, dropped
//! privileges, then threads (the log's is the first), files and keys.
//!
//! **Upgrade.** On SIGUSR2 the server starts its program's file with a socket pair as standard
//! input and passes copies of all listening sockets over it (`SCM_RIGHTS`). The new process does
//! a complete start and reports that it is ready. A second later the old one tells the service
//! manager and retires: it drops its listeners without emptying their queues, which the new
//! process shares, and serves its connections on. Any failure before that ends the new process
//! only. Sockets are shared, never bound again: closing one of two sockets of `SO_REUSEPORT`
//! resets the connections in its queue.

mod admin;
mod command_line;
mod commands;
mod config;
mod files;
mod help;
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
            // If stderr is closed, the error cannot be reported.
            let _ = writeln!(std::io::stderr(), "echoline: {}", command_line::shown(&error));
            usage_error::exit_code(&error)
        }
    }
}
