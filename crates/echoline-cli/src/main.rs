//! The program: parse, run, exit code. The only place that prints an error.

mod admin;
mod binding;
mod bounds;
mod cert;
mod chat;
mod check;
mod cluster;
mod command_line;
mod compare;
mod config;
mod datagrams;
mod descriptors;
mod destination;
mod doctor;
mod echo;
mod faults;
mod generate;
mod hangup;
mod hash_password;
mod hints;
mod history;
mod holder;
mod life;
mod links;
mod load;
mod load_output;
mod log;
mod merge;
mod newest_lines;
mod output;
mod reload;
mod report_files;
mod resources;
mod restart;
mod send;
mod serving;
mod shared_files;
mod socket_flags;
mod source_limits;
mod tls;
mod tls_client;
mod usage_error;
mod values;
mod verify;
mod web;
mod wires;

use std::io::Write as _;
use std::process::ExitCode;

use command_line::{Arguments, Command, exit};

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
