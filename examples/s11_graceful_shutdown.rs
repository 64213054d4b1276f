//! Chapter 11, graceful shutdown. asyncio: `server.close()`, `wait_closed()`, and cancelling tasks.
//! Better here: a drain answers every received line, and does not wait for idle connections. It has
//! a deadline, and the report counts every connection.
//! Run it: `cargo run --example s11_graceful_shutdown [ADDRESS]`, then press Ctrl-C, send SIGTERM,
//! or let a client send `shutdown`.

use std::env;
use std::io::{self, Write};
use std::time::Duration;

use echoline::{Closed, Connection, Eol, Limits, Server, Shutdown};

/// A handler may own a shutdown handle: here any client can end the server.
async fn echo(mut client: Connection, shutdown: Shutdown) -> Result<(), Closed> {
    // During a drain, `read_line` returns the lines that were received before, and then
    // `Closed::Drained`. So the handler does not have to ask whether the server ends.
    while let Some(line) = client.read_line().await? {
        let line = line.trim();
        if line == *b"shutdown" {
            shutdown.drain();
        }
        client.write_parts(&[b"Echo: ", &line, b"\r\n"]).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    // After five seconds the remaining connections are aborted.
    let limits = Limits { drain_timeout: Duration::from_secs(5), ..Limits::default() };
    let server = Server::bind(address).await?.eol(Eol::CrLf).limits(limits);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    // All clones are the same handle.
    let shutdown = server.shutdown();
    let report = server.serve(move |client| echo(client, shutdown.clone())).await?;
    writeln!(io::stdout(), "connections: {}", report.accepted)?;
    for (closed, count) in &report.ends {
        writeln!(io::stdout(), "{}: {count}", closed.label())?;
    }
    writeln!(io::stdout(), "everybody was answered: {}", report.is_clean())
}
