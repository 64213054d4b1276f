//! Chapter 5, a chat. asyncio: a set of writers, and `broadcast` that awaits each in turn. Better
//! here: all users get the lines in one order, and a slow reader misses lines instead of stopping
//! the others. Weaknesses that `echoline chat` does not have: names are not unique, texts may have
//! terminal escapes, login has no time limit. `cargo run --example s5_chat [ADDRESS]`
use echoline::{Closed, Connection, Eol, Server};
use std::{env, io, io::Write, sync::Arc};
use tokio::sync::{Mutex, broadcast, broadcast::Sender};

/// The names of the users, and the lines for all, each with its author's port (0: none).
struct Chat(Mutex<Vec<String>>, Sender<(u16, String)>);

async fn chat(mut client: Connection, state: Arc<Chat>) -> Result<(), Closed> {
    let (Chat(names, lines), port) = (&*state, client.peer().map_or(0, |peer| peer.port()));
    client.write(b"Enter your name: ").await?;
    let Some(line) = client.read_line().await? else { return Ok(()) };
    let name = Some(line.trim().to_string()).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| format!("User_{port}"));
    names.lock().await.push(name.clone());
    let mut heard = lines.subscribe(); // Before `send`, so that the newcomer gets that line.
    let _ = lines.send((0, format!("*** {name} joined the chat ***")));
    let end = async {
        loop {
            // Both futures are cancel safe: the one that is dropped loses nothing.
            tokio::select! {
                line = heard.recv() => match line {
                    Ok((author, _)) if author == port => {}
                    Ok((_, line)) => client.write_line(line).await?,
                    Err(_) => client.write_line("*** lines missed ***").await?,
                },
                line = client.read_line() => {
                    let Some(line) = line? else { return Ok(()) };
                    let text = line.trim().to_string();
                    match text.to_lowercase().as_str() {
                        "/quit" => return Ok(()),
                        "/users" => {
                            let online = names.lock().await.join(", ");
                            client.write_line(format!("Online: {online}")).await?;
                        }
                        _ => drop(lines.send((port, format!("{name}: {text}")))),
                    }
                }
            }
        }
    }
    .await;
    let mut here = names.lock().await;
    let place = here.iter().position(|other| *other == name);
    place.map(|place| here.remove(place));
    let _ = lines.send((0, format!("*** {name} left the chat ***")));
    end
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = Server::bind(address).await?.eol(Eol::CrLf);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    let state = Arc::new(Chat(Mutex::default(), broadcast::channel(1024).0));
    server.serve(move |client| chat(client, Arc::clone(&state))).await.map(|_report| ())
}

#[cfg(test)]
mod tests {
    use echoline::testing::{TestClient, TestServer};

    use super::*;

    async fn join(server: &TestServer, name: &str) -> TestClient {
        let mut client = server.connect();
        client.expect("Enter your name: ").await;
        client.send_line(name).await;
        client.expect_line(format!("*** {name} joined the chat ***")).await;
        client
    }

    #[tokio::test(start_paused = true)]
    async fn all_other_users_hear_a_line() {
        let state = Arc::new(Chat(Mutex::default(), broadcast::channel(1024).0));
        let server = TestServer::new(move |client| chat(client, Arc::clone(&state)))
            .configure(|server| server.eol(Eol::CrLf));
        let (mut ann, mut bob) = (join(&server, "Ann").await, join(&server, "Bob").await);
        ann.expect_line("*** Bob joined the chat ***").await;
        bob.send_line("hello").await;
        ann.expect_line("Bob: hello").await;
        ann.send_line("/users").await;
        ann.expect_line("Online: Ann, Bob").await;
        ann.send_line("/quit").await;
        ann.expect_end().await;
        ann.expect_closed(Closed::Finished).await;
        bob.expect_line("*** Ann left the chat ***").await;
    }
}
