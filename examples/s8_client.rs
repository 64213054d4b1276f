//! Chapter 8, a client. asyncio: `open_connection`, `write`, `readline`. Better here: a client has
//! limits too, so a server that sends nothing, or never ends its line, cannot block it forever; and
//! a close without a reply differs from an empty line. Run it: `cargo run --example s8_client
//! [ADDRESS]`

use std::env;
use std::io::{self, Write};
use std::time::Duration;

use echoline::{Connection, Limits};
use tokio::net::TcpStream;

/// Sends one line over a new connection and prints the reply.
async fn ask(address: &str, message: &str) -> io::Result<()> {
    let limits = Limits { idle_timeout: Some(Duration::from_secs(10)), ..Limits::default() };
    let mut server = Connection::new(TcpStream::connect(address).await?, limits);
    writeln!(io::stdout(), "Sending: {message}")?;
    server.write_line(message).await?;
    // Waiting for the reply also sends the line, so a forgotten `drain()` cannot block this client.
    match server.read_line().await? {
        Some(reply) => writeln!(io::stdout(), "Received: {}", reply.trim())?,
        None => writeln!(io::stdout(), "The server closed without a reply")?,
    }
    server.close().await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    ask(&address, "Hello, Server!").await?;
    ask(&address, "How are you?").await
}
