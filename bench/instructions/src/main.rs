//! `echoline-instructions raw|line READY_FILE`: the echo server of `echoline echo` on one worker,
//! without the rest of the program, so that `scripts/instructions.sh` builds it in seconds. It
//! writes its address to READY_FILE and serves until SIGTERM.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use echoline::echo::{EchoDialogue, EchoMode, serve};
use echoline::{Limits, Server};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, ready_file] = arguments.as_slice() else {
        return Err(io::Error::other("usage: echoline-instructions raw|line READY_FILE"));
    };
    let mode = match mode.as_str() {
        "raw" => EchoMode::Raw,
        "line" => EchoMode::Line,
        other => return Err(io::Error::other(format!("unknown mode {other}; use raw or line"))),
    };
    let dialogue = Arc::new(EchoDialogue::new(mode, String::new));
    // All time-outs are on, as in bench/echo.sh.
    let limits = Limits { idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() };
    let server = Server::bind("127.0.0.1:0").await?.limits(limits).workers(NonZeroUsize::MIN);
    std::fs::write(ready_file, server.local_addr()?.to_string())?;
    server.serve(move |client| serve(client, Arc::clone(&dialogue))).await?;
    Ok(())
}
