//! Chapter 11, graceful shutdown. asyncio: `server.close()`, `wait_closed()`, and cancelling tasks.
//! Better here: draining answers every line that was sent; idle clients are disconnected at once;
//! there is a deadline; and the report accounts for every connection. Run it: `cargo run --example
//! s11_graceful_shutdown [ADDRESS]`, then press Ctrl-C, send SIGTERM, or send `shutdown` from a
//! client.

use std::env;
use std::io::{self, Write};
use std::time::Duration;

use echoline::{Closed, Connection, Eol, Limits, Server, Shutdown};

/// A handler can also use the shutdown handle: here any client can end the server.
async fn echo(mut client: Connection, shutdown: Shutdown) -> Result<(), Closed> {
    // While the server drains, `read_line` returns the lines that have already arrived and then
    // `Closed::Drained`, so the handler need not check for a shutdown.
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
    // Connections that are still open after five seconds are reset.
    let limits = Limits { drain_timeout: Duration::from_secs(5), ..Limits::default() };
    let server = Server::bind(address).await?.eol(Eol::CrLf).limits(limits);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    // Each connection gets a clone of this handle.
    let shutdown = server.shutdown();
    let report = server.serve(move |client| echo(client, shutdown.clone())).await?;
    writeln!(io::stdout(), "connections: {}", report.accepted)?;
    for (closed, count) in &report.ends {
        writeln!(io::stdout(), "{}: {count}", closed.label())?;
    }
    writeln!(io::stdout(), "everybody was answered: {}", report.is_clean())
}

#[cfg(test)]
mod tests {
    use echoline::testing::TestServer;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn every_line_is_answered_before_the_end() {
        let server =
            TestServer::new_with_shutdown(|shutdown| move |client| echo(client, shutdown.clone()));
        let server = server.configure(|server| server.eol(Eol::CrLf));
        let (mut one, mut other) = (server.connect(), server.connect());
        other.send("half a li").await;
        one.send_line("shutdown").await;
        one.expect_line("Echo: shutdown").await;
        one.expect_end().await;
        one.expect_closed(Closed::Drained).await;
        other.send_line("ne").await;
        other.expect_line("Echo: half a line").await;
        other.expect_end().await;
        other.expect_closed(Closed::Drained).await;
        drop((one, other));
        assert!(server.stop().await.is_clean());
    }
}
