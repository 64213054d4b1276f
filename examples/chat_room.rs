//! A chat room. Each user picks a free name; `/names` lists the users, `/quit` leaves. A user who
//! reads slowly misses lines, and delays no other.
//! Run it: `cargo run --example chat_room [ADDRESS]`

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{env, io, io::Write, time::Duration};

use echoline::{Closed, Connection, Limits, Server};
use tokio::sync::broadcast::{self, Sender, error::RecvError};

struct Room(Mutex<BTreeSet<String>>, Sender<Arc<str>>);

impl Room {
    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a line to all users. Control characters are left out, because a terminal obeys them.
    fn say(&self, line: &str) {
        let line: String = line.chars().filter(|letter| !letter.is_control()).collect();
        let _no_users = self.1.send(line.into());
    }
}

/// A name in use. It is free again when the user leaves, in whatever way the connection ends.
struct User(String, Arc<Room>);

impl Drop for User {
    fn drop(&mut self) {
        self.1.names().remove(&self.0);
        self.1.say(&format!("* {} left", self.0));
    }
}

async fn enter(client: &mut Connection, room: Arc<Room>) -> Result<Option<User>, Closed> {
    client.write_line("Your name? (1 to 20 letters or digits)").await?;
    while let Some(line) = client.read_line().await? {
        let name = line.to_string();
        let is_valid =
            name.len() <= 20 && !name.is_empty() && name.chars().all(char::is_alphanumeric);
        if is_valid && room.names().insert(name.clone()) {
            return Ok(Some(User(name, room)));
        }
        client.write_line("That name is taken or invalid. Another one?").await?;
    }
    Ok(None)
}

async fn chat(mut client: Connection, room: Arc<Room>) -> Result<(), Closed> {
    let Some(user) = enter(&mut client, room).await? else { return Ok(()) };
    let (User(name, room), mut lines) = (&user, user.1.1.subscribe());
    room.say(&format!("* {name} joined"));
    loop {
        // Both are cancel safe: the one that is dropped loses nothing.
        tokio::select! {
            line = lines.recv() => match line {
                Ok(line) => client.write_line(line).await?,
                Err(RecvError::Lagged(missed)) => {
                    client.write_line(format!("* {missed} lines missed")).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            },
            line = client.read_line() => match line? {
                None => return Ok(()),
                Some(line) if line == "/quit" => return Ok(()),
                Some(line) if line == "/names" => {
                    let names = Vec::from_iter(room.names().iter().cloned()).join(" ");
                    client.write_line(format!("* {names}")).await?;
                }
                Some(line) => room.say(&format!("{name}: {line}")),
            },
        }
    }
}

fn configure(server: Server) -> Server {
    let idle_timeout = Some(Duration::from_secs(600));
    server.limits(Limits { max_line: 1000, idle_timeout, ..Limits::default() })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = configure(Server::bind(address).await?);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    let room = Arc::new(Room(Mutex::default(), broadcast::channel(256).0));
    server.serve(move |client| chat(client, Arc::clone(&room))).await.map(|_report| ())
}

#[cfg(test)]
mod tests {
    use echoline::testing::{TestClient, TestServer};

    use super::*;

    const PROMPT: &str = "Your name? (1 to 20 letters or digits)";
    const REFUSED: &str = "That name is taken or invalid. Another one?";

    fn server() -> TestServer {
        let room = Arc::new(Room(Mutex::default(), broadcast::channel(256).0));
        TestServer::new(move |client| chat(client, Arc::clone(&room))).configure(configure)
    }

    async fn join(server: &TestServer, name: &str) -> TestClient {
        let mut client = server.connect();
        client.expect_line(PROMPT).await;
        client.send_line(name).await;
        client.expect_line(format!("* {name} joined")).await;
        client
    }

    #[tokio::test(start_paused = true)]
    async fn all_users_hear_a_line_without_its_control_characters() {
        let server = server();
        let mut ann = join(&server, "Ann").await;
        let mut bob = join(&server, "Bob").await;
        ann.expect_line("* Bob joined").await;
        bob.send(b"\x1b[2Jhello \xff\n/names\n").await;
        ann.expect_line("Bob: [2Jhello \u{fffd}").await;
        // The reply to the command and the line of the user may come in either order.
        let mut heard = [bob.read_line().await, bob.read_line().await];
        heard.sort();
        assert_eq!(heard, ["* Ann Bob", "Bob: [2Jhello \u{fffd}"]);
        bob.send_line("/quit").await;
        bob.expect_end().await;
        ann.expect_line("* Bob left").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_valid_and_in_use_once() {
        let server = server();
        let mut ann = join(&server, "Ann").await;
        let mut other = server.connect();
        other.expect_line(PROMPT).await;
        for name in ["Ann", "", "A B", "\u{1b}", "aaaaaaaaaaaaaaaaaaaaa"] {
            other.send_line(name).await;
            other.expect_line(REFUSED).await;
        }
        // The name is free again after a reset.
        ann.reset();
        ann.closed().await;
        other.send_line("Ann").await;
        other.expect_line("* Ann joined").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_who_does_not_read_misses_lines_and_delays_no_other() {
        let server = server();
        let mut ann = join(&server, "Ann").await;
        let mut slow = join(&server, "Slow").await;
        ann.expect_line("* Slow joined").await;
        let line = "x".repeat(990);
        for _ in 0..1000 {
            ann.send_line(&line).await;
            ann.expect_line(format!("Ann: {line}")).await;
        }
        let mut heard = slow.read_line().await;
        while !heard.starts_with("* ") {
            heard = slow.read_line().await;
        }
        assert!(heard.ends_with(" lines missed"), "{heard}");
    }

    #[tokio::test(start_paused = true)]
    async fn limits_end_a_connection() {
        let mut client = join(&server(), "Ann").await;
        client.send_line("x".repeat(1001)).await;
        client.expect_line("Line too long (limit 1000 bytes). Goodbye!").await;
        client.expect_closed(Closed::LineTooLong).await;
        let mut client = server().connect();
        client.expect_line(PROMPT).await;
        client.expect_silence(Duration::from_secs(599)).await;
        client.expect_line("Connection timeout. Goodbye!").await;
        client.expect_closed(Closed::IdleTimeout).await;
    }
}
