//! Chapter 11, graceful shutdown. asyncio: `server.close()`, `wait_closed()`, and cancelling tasks.
//! Better here: draining means that every line that was sent is answered first; who is idle is let
//! go at once; there is a deadline; and the report accounts for every connection there was.
//! Run it: `cargo run --example s11_graceful_shutdown [ADDRESS]`, then press Ctrl-C, send SIGTERM,
//! or have a client say `shutdown`.

use std::env;
use std::io::{self, Write};
use std::time::Duration;

use echoline::{Closed, Connection, Eol, Limits, Server, Shutdown};

/// A handler may hold the handle as well: here any client can end the server.
async fn echo(mut client: Connection, shutdown: Shutdown) -> Result<(), Closed> {
    // While the server drains, `read_line` gives out what has come already and then returns
    // `Closed::Drained`, so the handler needs no test for "are we ending?".
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
    // After five seconds whoever still has not finished is broken off.
    let limits = Limits { drain_timeout: Duration::from_secs(5), ..Limits::default() };
    let server = Server::bind(address).await?.eol(Eol::CrLf).limits(limits);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    // From here it is a clone of the same handle, wherever it is used.
    let shutdown = server.shutdown();
    let report = server.serve(move |client| echo(client, shutdown.clone())).await?;
    writeln!(io::stdout(), "connections: {}", report.accepted)?;
    for (closed, count) in &report.ends {
        writeln!(io::stdout(), "{}: {count}", closed.label())?;
    }
    writeln!(io::stdout(), "everybody was answered: {}", report.is_clean())
}
