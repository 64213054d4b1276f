//! `naive_tokio current|multi PORT [BUFFER_BYTES]`: an echo server as a beginner writes it.
//!
//! Each connection has a task and a buffer, and calls `read` and `write_all`. This is the
//! reference for the main package, whose additions (limits, lines, deadlines, a log) must cost
//! almost nothing.

use std::io::{self, Write};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// The default size is enough for a line echo. For bulk data, 65536 is the best size.
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
        // Enables I/O and timers, as `#[tokio::main]` does.
        "current" => Builder::new_current_thread().enable_all().build(),
        // Two workers on any machine, so that runs on different machines can be compared.
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
        // A lost connection only ends its own task.
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
