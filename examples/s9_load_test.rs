//! Chapter 9, a load test. asyncio: `gather` over 100 client sessions. Better here: it measures
//! latency, not only a rate; it checks each reply; a failed client keeps the messages that were
//! answered, and one that gets nothing for 10 s fails. Two weaknesses that `echoline load` does not
//! have: all clients start at once, and a slow server slows the senders down, which hides its worst
//! moments. Run it: `cargo run --release --example s9_load_test [ADDRESS [CLIENTS [MESSAGES]]]`

use std::io::{self, Write};
use std::{env, time::Duration};

use echoline::{Closed, Connection, Limits};
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

/// Adds the duration of each reply to `times`, until all have arrived or an error occurs.
async fn session(
    address: String,
    client: usize,
    messages: usize,
    times: &mut Vec<Duration>,
) -> Result<(), Closed> {
    let limits = Limits { idle_timeout: Some(Duration::from_secs(10)), ..Limits::default() };
    let mut server = Connection::new(TcpStream::connect(address).await?, limits);
    for message in 0..messages {
        let text = format!("Client {client}, message {message}");
        let sent = Instant::now();
        server.write_line(&text).await?;
        let reply = server.read_line().await?.ok_or(Closed::Incomplete)?;
        if reply.trim() != *format!("Echo: {text}").as_bytes() {
            return Err(Closed::Io(io::ErrorKind::InvalidData));
        }
        times.push(sent.elapsed());
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let number = |position| env::args().nth(position).map_or(Ok(100), |text| text.parse());
    let clients: usize = number(2).map_err(io::Error::other)?;
    let messages: usize = number(3).map_err(io::Error::other)?;
    let (mut out, start, mut tasks) = (io::stdout(), Instant::now(), JoinSet::new());
    for client in 0..clients {
        let address = address.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            (session(address, client, messages, &mut times).await, times)
        });
    }
    let (ends, times): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().unzip();
    let seconds = start.elapsed().as_secs_f64();
    let mut times = times.concat();
    times.sort_unstable();
    let successful = ends.iter().filter(|end| end.is_ok()).count();
    writeln!(out, "Successful clients: {successful}/{clients}")?;
    writeln!(out, "Total messages: {}", times.len())?;
    writeln!(out, "Time: {seconds:.2} s")?;
    writeln!(out, "Messages/sec: {:.0}", times.len() as f64 / seconds)?;
    let Some(last) = times.len().checked_sub(1) else { return Ok(()) };
    writeln!(out, "Latency p50: {:?}, p99: {:?}", times[last / 2], times[last * 99 / 100])
}
