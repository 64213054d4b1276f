//! `naive_chat PORT`: a chat with tokio as a beginner writes it.
//!
//! Each member has a task, lines go through `tokio::sync::broadcast`, and each line is sent with
//! one `write_all`. This is tokio's own chat example with the dialogue of the lesson. A line is
//! created once and shared.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::select;
use tokio::sync::broadcast::{self, error::RecvError};

/// The number of lines that a member may be behind before it misses some.
const LINES_BEHIND: usize = 4096;

/// A line and its author, who does not get it again.
type Said = (SocketAddr, Arc<str>);

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(Ok(port)), None) = (arguments.next().map(|word| word.parse()), arguments.next())
    else {
        eprintln!("usage: naive_chat PORT");
        std::process::exit(2);
    };
    Builder::new_current_thread().enable_all().build()?.block_on(accept(port))
}

async fn accept(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let mut output = io::stdout();
    writeln!(output, "{}", listener.local_addr()?.port())?;
    output.flush()?;
    let (room, _) = broadcast::channel(LINES_BEHIND);
    loop {
        let (stream, address) = listener.accept().await?;
        let room = room.clone();
        // A lost connection only ends its own task.
        tokio::spawn(async move { chat(stream, address, room).await.ok() });
    }
}

async fn chat(
    mut stream: TcpStream,
    address: SocketAddr,
    room: broadcast::Sender<Said>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"Enter your name: ").await?;
    let Some(name) = lines.next_line().await? else { return Ok(()) };
    let name = name.trim();

    let mut inbox = room.subscribe();
    let say = |line: String, author| room.send((author, line.into())).ok();
    // This line has no author, so that the newcomer gets it too.
    say(format!("*** {name} joined the chat ***\r\n"), ([0, 0, 0, 0], 0).into());
    loop {
        select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => say(format!("{name}: {}\r\n", line.trim()), address),
                Ok(None) | Err(_) => break,
            },
            said = inbox.recv() => match said {
                Ok((author, _)) if author == address => continue,
                Ok((_, line)) => {
                    writer.write_all(line.as_bytes()).await?;
                    continue;
                }
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => break,
            },
        };
    }
    say(format!("*** {name} left the chat ***\r\n"), address);
    Ok(())
}
