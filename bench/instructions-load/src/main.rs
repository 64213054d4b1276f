//! `echoline-instructions-load ADDRESS CLIENTS MESSAGES DEPTH`: the closed loop of `echoline load`
//! with MESSAGES for each client, without the rest of the program, so that
//! `scripts/instructions.sh load` builds it in seconds. Fails if a reply is not right.

use std::io;
use std::num::NonZero;

use echoline::{Address, Eol, Shutdown};
use echoline_load::{LoadSettings, Plan, run};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of a message, as in `bench/load.sh`.
const MESSAGE_BYTES: usize = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, clients, messages, depth] = arguments.as_slice() else {
        let usage = "usage: echoline-instructions-load ADDRESS CLIENTS MESSAGES DEPTH";
        return Err(io::Error::other(usage));
    };
    let address: Address = address.parse().map_err(io::Error::other)?;
    let messages: NonZero<u32> = messages.parse().map_err(io::Error::other)?;
    let clients = clients.parse().map_err(io::Error::other)?;
    let plan = Plan::new(clients, messages, MESSAGE_BYTES, Eol::Lf, 1);
    let mut settings = LoadSettings::new(address, plan.map_err(io::Error::other)?);
    settings.depth = depth.parse().map_err(io::Error::other)?;
    let report = run(&settings, &Shutdown::new(), |_| {}).await?;
    if report.is_clean() { Ok(()) } else { Err(io::Error::other(report.to_string())) }
}
