//! Chapter 4, low level: readiness by hand. Better than asyncio's `sock_recv`: lines, not packets;
//! no reads from a client that does not read; `stop` is really called (press Enter). Weaknesses
//! that echoline does not have: a client that never stops sending delays the others; a line that is
//! too long gives no message. Run it: `cargo run --example s4_low_level [ADDRESS]`
use echoline::Lines;
use mio::{Events, Interest, Poll, Token, Waker, event::Event, net::TcpListener, net::TcpStream};
use std::io::{self, ErrorKind::WouldBlock, Read, Write};
use std::{collections::HashMap, env, thread};

/// The socket of a client, its received bytes, and the bytes that could not be sent yet.
struct Client(TcpStream, Lines, Vec<u8>);

/// mio reports readiness only once, so use it up. `Ok`: the client has ended its stream and got
/// every reply. `WouldBlock`: there are no more bytes to read, or no room to write.
fn advance(Client(stream, lines, unsent): &mut Client) -> io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        while !unsent.is_empty() {
            let sent = stream.write(unsent)?;
            unsent.drain(..sent);
        }
        let length = stream.read(&mut chunk)?;
        // A last line may have no line end. Adding one makes all lines alike.
        lines.push(if length == 0 && !lines.is_empty() { b"\n" } else { &chunk[..length] });
        while let Some(line) = lines.next_line().map_err(io::Error::other)? {
            unsent.extend([b"Echo: ", &*line.trim(), b"\r\n"].concat());
        }
        if length == 0 && unsent.is_empty() {
            return Ok(());
        }
    }
}

fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let mut listener = TcpListener::bind(address.parse().map_err(io::Error::other)?)?;
    writeln!(io::stdout(), "listening on {}", listener.local_addr()?)?;
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(64));
    let (stop, accept, both) = (Token(0), Token(1), Interest::READABLE | Interest::WRITABLE);
    poll.registry().register(&mut listener, accept, Interest::READABLE)?;
    let waker = Box::leak(Box::new(Waker::new(poll.registry(), stop)?)); // Must outlive `poll`.
    thread::spawn(move || io::stdin().lines().next().map(|_enter| waker.wake()));
    // The open clients. Removing a client closes its socket.
    let (mut clients, mut tokens) = (HashMap::new(), (2..).map(Token));
    while !events.iter().any(|event| event.token() == stop) {
        for token in events.iter().map(Event::token) {
            let end = clients.get_mut(&token).map(advance);
            if end.is_some_and(|end| !end.is_err_and(|error| error.kind() == WouldBlock)) {
                clients.remove(&token);
            }
        }
        while let (Ok((mut stream, _)), Some(token)) = (listener.accept(), tokens.next()) {
            poll.registry().register(&mut stream, token, both)?;
            // A new socket is writable, so its first event sends this greeting.
            clients.insert(token, Client(stream, Lines::new(65_536), b"Welcome!\r\n".to_vec()));
        }
        poll.poll(&mut events, None)?;
    }
    Ok(())
}
