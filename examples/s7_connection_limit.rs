//! Chapter 7, a limit on connections. asyncio: `Semaphore(10)`. Better here: the eleventh client
//! really gets `Server is busy. Try again later.` In the lesson it gets nothing: `wait_for` raises
//! an exception where `if not` expects False, and the socket stays open. Run it: `cargo run
//! --example s7_connection_limit [ADDRESS]`

use std::env;
use std::io::{self, Write};

use echoline::{Closed, Connection, Eol, Limits, Server};

/// Runs only for a client within the limit. The server counts the connections, so the handler needs
/// no counter of its own.
async fn echo(mut client: Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        client.write_parts(&[b"Echo: ", &line.trim(), b"\r\n"]).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    // `max_per_ip` would prevent one address from using all ten.
    let limits = Limits { max_connections: 10, ..Limits::default() };
    let server = Server::bind(address).await?.eol(Eol::CrLf).limits(limits);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    server.serve(echo).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use echoline::testing::TestServer;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_eleventh_client_is_told_to_come_later() {
        let limits = Limits { max_connections: 10, ..Limits::default() };
        let server = TestServer::new(echo).configure(|server| server.eol(Eol::CrLf).limits(limits));
        let mut served: Vec<_> = (0..10).map(|_| server.connect()).collect();
        let mut refused = server.connect();
        refused.expect_line("Server is busy. Try again later.").await;
        refused.expect_end().await;
        refused.expect_closed(Closed::Busy).await;
        for client in &mut served {
            client.send_line("hello").await;
            client.expect_line("Echo: hello").await;
        }
        // A client that leaves makes room for the next one.
        let mut leaving = served.remove(3);
        leaving.shutdown_write().await;
        leaving.expect_end().await;
        leaving.expect_closed(Closed::EndOfStream).await;
        let mut next = server.connect();
        next.send_line("hello").await;
        next.expect_line("Echo: hello").await;
    }
}
