//! Chapter 1, the simple echo server. asyncio: `start_server(handle_client)` and a loop around
//! `reader.read(1024)`. Better here: a message is a line, not the content of one packet. Bytes that
//! are not UTF-8 come back unchanged. After Ctrl-C every client still gets its last reply.
//! Run it: `cargo run --example s1_simple_echo [ADDRESS]`

use std::env;
use std::io::{self, Write};

use echoline::{Closed, Connection, Server};

/// Serves one client, from the first line to the last. There is no `finally`: every way out of this
/// function drops `client`, which closes the connection.
async fn echo(mut client: Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        // No `drain()`: the next read sends all replies that are due at once.
        client.write_line_parts(&[b"Echo: ", &line.trim()]).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = Server::bind(address).await?;
    // Port 0 means any free port, so print the port that was bound.
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    server.serve(echo).await?;
    Ok(())
}
