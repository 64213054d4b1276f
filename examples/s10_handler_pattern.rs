//! Chapter 10, the handler pattern of good practice. asyncio: `try` / `except ConnectionResetError`
//! / `except Exception` / `finally`. Better here: `?` replaces all `except` clauses, since `Closed`
//! names every kind of end; `Drop` replaces `finally`, and also runs on a panic and on shutdown.
//! Run it: `cargo run --example s10_handler_pattern [ADDRESS]`

use std::env;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use echoline::{Closed, Connection, Eol, Limits, Server};

/// Counts the visits in progress. A visit is counted until its `Visit` is dropped, however it ends.
struct Visit(Arc<AtomicUsize>);

impl Visit {
    fn begin(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let left = self.0.fetch_sub(1, Ordering::Relaxed) - 1;
        // The visit ends even if this line cannot be written.
        let _ = writeln!(io::stdout(), "cleaned up, {left} still here");
    }
}

/// Contains only the dialogue.
async fn talk(client: &mut Connection) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        let line = line.trim();
        assert!(line != *b"bug", "a bug ends its own connection and no other");
        client.write_parts(&[b"Echo: ", &line, b"\r\n"]).await?;
    }
    Ok(())
}

/// Sets up a visit, runs the dialogue, and logs how it ended. From the returned reason the server
/// knows how to count the visit, and which farewell to send.
async fn handle(mut client: Connection, open: Arc<AtomicUsize>) -> Result<(), Closed> {
    let _visit = Visit::begin(&open);
    let end = talk(&mut client).await;
    let reason = end.map_or_else(Closed::label, |()| "finished");
    let _ = writeln!(io::stdout(), "{reason}");
    end
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let limits = Limits { max_line: 1000, ..Limits::default() };
    let server = Server::bind(address).await?.eol(Eol::CrLf).limits(limits);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    let open = Arc::default();
    server.serve(move |client| handle(client, Arc::clone(&open))).await.map(|_report| ())
}
