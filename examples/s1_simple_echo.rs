//! Chapter 1, the simple echo server. asyncio: `start_server(handle_client)` and a loop around
//! `reader.read(1024)`. Better here: a message is a line, not whatever one packet held; bytes that
//! are no UTF-8 come back as they came; Ctrl-C lets everybody have the last reply first.
//! Run it: `cargo run --example s1_simple_echo [ADDRESS]`

use std::env;
use std::io::{self, Write};

use echoline::{Closed, Connection, Server};

/// One client, from the first line to the last. There is no `finally`: when `client` goes out of
/// scope its connection is closed, on every way out of this function.
async fn echo(mut client: Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        // No `drain()`: replies leave when we next wait for input, all that are due at once.
        client.write_line_parts(&[b"Echo: ", &line.trim()]).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = Server::bind(address).await?;
    // Port 0 means "any free one", so say which one it became.
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    server.serve(echo).await?;
    Ok(())
}
