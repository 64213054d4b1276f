//! Chapter 1, the simple echo server. asyncio: `start_server(handle_client)` and a loop around
//! `reader.read(1024)`. Better here: a message is a line, not the contents of one packet; bytes
//! that are not UTF-8 come back unchanged; Ctrl-C sends all replies before the server ends. Run it:
//! `cargo run --example s1_simple_echo [ADDRESS]`

use std::env;
use std::io::{self, Write};

use echoline::{Closed, Connection, Server};

/// Serves one client. There is no `finally`: when `client` goes out of scope, its connection is
/// closed, however the function ends.
async fn echo(mut client: Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        // `drain()` is not needed: all buffered replies are sent when the handler next waits for
        // input.
        client.write_line_parts(&[b"Echo: ", &line.trim()]).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = Server::bind(address).await?;
    // Port 0 means any free port, so the program prints the actual one.
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    server.serve(echo).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use echoline::testing::TestServer;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_line_comes_back() {
        let mut client = TestServer::new(echo).connect();
        client.send("Hello!\r\n caf\u{e9} \nlast").await;
        client.expect_line("Echo: Hello!").await;
        client.expect_line("Echo: caf\u{e9}").await;
        client.shutdown_write().await;
        client.expect_line("Echo: last").await;
        client.expect_end().await;
        client.expect_closed(Closed::EndOfStream).await;
    }
}
