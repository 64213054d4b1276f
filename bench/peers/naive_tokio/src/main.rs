//! `naive_tokio current|multi PORT [BUFFER_BYTES]`: the echo server that everybody writes first.
//!
//! A task per connection, a buffer per connection, `read`, `write_all`. It is the mark for the
//! main package: what that adds (limits, lines, deadlines, a log) must cost next to nothing.

use std::io::{self, Write};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// As much as a line echo needs. For bulk give it 65536, the size that suits such a load best.
const DEFAULT_BUFFER_BYTES: usize = 4096;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((runtime, port, buffer_bytes)) = parse(&arguments) else {
        eprintln!("usage: naive_tokio current|multi PORT [BUFFER_BYTES]");
        std::process::exit(2);
    };
    runtime?.block_on(accept(port, buffer_bytes))
}

fn parse(arguments: &[String]) -> Option<(io::Result<Runtime>, u16, usize)> {
    let runtime = match arguments.first()?.as_str() {
        // Everything on, as `#[tokio::main]` has it.
        "current" => Builder::new_current_thread().enable_all().build(),
        // Two workers whatever the machine has, so that runs on different machines compare.
        "multi" => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
        _ => return None,
    };
    let port = arguments.get(1)?.parse().ok()?;
    let buffer_bytes = match arguments.get(2) {
        Some(text) => text.parse().ok().filter(|bytes| *bytes > 0)?,
        None => DEFAULT_BUFFER_BYTES,
    };
    Some((runtime, port, buffer_bytes))
}

async fn accept(port: u16, buffer_bytes: usize) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let mut output = io::stdout();
    writeln!(output, "{}", listener.local_addr()?.port())?;
    output.flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A lost connection is the business of its task alone.
        tokio::spawn(async move { echo(stream, buffer_bytes).await.ok() });
    }
}

async fn echo(mut stream: TcpStream, buffer_bytes: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; buffer_bytes];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
