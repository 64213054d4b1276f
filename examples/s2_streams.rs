//! Chapter 2, the calls of the stream API, one after the other. asyncio: `StreamReader` and
//! `StreamWriter`. Better here: the end of the stream is `None`, which differs from an empty line;
//! every read has a limit; and `write` itself waits if the peer does not read. The program runs
//! both the server and the client: `cargo run --example s2_streams [ADDRESS]`

use std::io::{self, Write};
use std::{env, fmt};

use echoline::{Closed, Connection, Limits, Server};
use tokio::net::TcpStream;

fn show(what: &str, value: impl fmt::Debug) -> io::Result<()> {
    writeln!(io::stdout(), "{what:<18} {value:?}")
}

/// The server: one read of each kind, then one reply.
async fn read_all(mut client: Connection) -> Result<(), Closed> {
    show("peer()", client.peer().map(|peer| peer.ip()))?;
    // `readline()`, `readexactly(n)`, `readuntil(separator)` and `read(n)`, in that order.
    show("read_line()", client.read_line().await?)?;
    show("read_exact(4)", client.read_exact(4).await?)?;
    show("read_until(\"; \")", client.read_until(b"; ").await?)?;
    show("read(8)", client.read(8).await?)?;
    client.write_line("that was all").await?;
    // This sends the reply and then waits for the client, so a `drain()` is not needed.
    show("read_line()", client.read_line().await?)?;
    show("at the end", client.read_line().await?).map_err(Closed::from)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = Server::bind(address).await?;
    let (address, shutdown) = (server.local_addr()?, server.shutdown());
    let client = async {
        let stream = TcpStream::connect(address).await?;
        let mut server = Connection::new(stream, Limits::default());
        // `write` puts bytes into a buffer, and `flush` sends all of them, unlike `drain()`.
        server.write(b"a line\r\n").await?;
        server.write(b"4321up to here; the rest").await?;
        server.flush().await?;
        // The connection is split into a reader and a writer, so that one task can use both at
        // once.
        let (mut reader, mut writer) = server.split();
        let ask = async {
            writer.write_line("thank you").await?;
            writer.flush().await
        };
        let (reply, ()) = tokio::try_join!(reader.read_line(), ask)?;
        show("split(): reply", reply)?;
        // This does what `close()` and `wait_closed()` do: it ends the stream and waits for the
        // peer.
        server.close().await;
        shutdown.drain();
        Ok::<(), io::Error>(())
    };
    tokio::try_join!(server.serve(read_all), client).map(|_| ())
}
