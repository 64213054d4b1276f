//! The program `echoline`. This file only runs the command line and prints an error that ends a
//! command.
//!
//! # Reading order
//!
//! 1. [`command_line`] parses the arguments and runs the command that they name.
//! 2. [`commands`] has a module for each command. Each turns flags into settings of a library, runs
//!    it, and turns the result into an exit code. [`commands::echo`] is the shortest server,
//!    [`commands::send`] a client.
//! 3. [`server`] contains what all servers share: flags, sockets, TLS, and the run.
//! 4. [`process`] is the life of a server's process: privileges, signals, reload, upgrade, and the
//!    service manager.
//! 5. [`config`] reads the configuration file and the environment.
//! 6. [`admin`] is the admin address, [`log`] the log and the access log, and [`files`] writes and
//!    checks files.
//!
//! # The run of `echoline echo`
//!
//! 1. `command_line::run` calls `config::read`, which adds the settings of the file and of the
//!    environment to the arguments and parses them.
//! 2. `commands::echo::run` describes the service. `ServingArgs::bind` binds its addresses, drops
//!    privileges, and returns a `BoundServer`.
//! 3. `ServingArgs::start_log` starts the log, and `ServingArgs::run` starts the server of the
//!    library `echoline` with the handler of the command.
//! 4. `process::Lifecycle::serve` writes the ready file, notifies the service manager, and waits
//!    for signals: SIGTERM drains, SIGHUP reloads, SIGUSR2 upgrades.
//! 5. The report of the library becomes the last line of the log and the exit code.
//!
//! # Design
//!
//! **One parser for all settings.** A key of the configuration file is a flag's long name, and its
//! value becomes an argument before the typed ones, unless the command line or the environment has
//! that flag. So each new flag is also a key, errors of the file use the words of the flag, and the
//! flags are defined only once, with clap.
//!
//! **A reload has two phases.** Each part of a running server registers a hook: the keys that it
//! applies, and a function that reads and checks them and returns a commit that cannot fail. After
//! one error nothing is committed. Keys without a hook are reported to need a restart. The reload
//! runs on a separate thread, because a file may be a pipe.
//!
//! **Start.** A serving command always starts in this order: it takes inherited sockets, binds its
//! own, reads secrets and certificates, drops privileges, and starts threads. The thread of the log
//! is the first.
//!
//! **Upgrade.** On SIGUSR2 the server starts its program's file with a socket pair as standard
//! input and passes copies of all listening sockets over it (`SCM_RIGHTS`). The new process starts
//! completely and reports that it is ready. A second later the old one tells the service manager
//! and retires: it drops its listeners and continues to serve its connections. It does not empty
//! the queues of the listeners, because the new process shares them. If a step fails before the old
//! process retires, only the new process ends. Both processes share the same sockets. A second
//! socket with `SO_REUSEPORT` would have its own queue, and closing the first one would reset the
//! connections in its queue.

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
