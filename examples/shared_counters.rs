//! A line server with state that all its connections share: named counters. `ADD NAME [NUMBER]`
//! adds and answers the sum, `GET NAME` answers it, `LIST` names all counters, `QUIT` ends.
//! Run it: `cargo run --example shared_counters [ADDRESS]`

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Write};
use std::num::ParseIntError;
use std::str::Utf8Error;
use std::sync::{Arc, Mutex, PoisonError};

use echoline::{Closed, Connection, Server};

type Counters = Arc<Mutex<BTreeMap<String, i64>>>;

/// An error that ends a dialogue.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("a line is not UTF-8")]
    NotText(#[from] Utf8Error),
}

async fn count(mut client: Connection, counters: Counters) -> Result<(), Failure> {
    while let Some(line) = client.read_line().await? {
        if line == "QUIT" {
            client.write_line("BYE").await?;
            break;
        }
        let answer = answer(line.as_str()?, &counters);
        client.write_line(answer.unwrap_or_else(|error| format!("ERROR {error}"))).await?;
    }
    Ok(())
}

/// Carries out one command. The lock is held for this call only, never while a client is awaited.
fn answer(line: &str, counters: &Counters) -> Result<String, ParseIntError> {
    let mut counters = counters.lock().unwrap_or_else(PoisonError::into_inner);
    let words: Vec<&str> = line.split_whitespace().collect();
    Ok(match words[..] {
        ["ADD", name] => add(&mut counters, name, 1),
        ["ADD", name, number] => add(&mut counters, name, number.parse()?),
        ["GET", name] => counters.get(name).copied().unwrap_or_default().to_string(),
        ["LIST"] => counters.keys().map(String::as_str).collect::<Vec<_>>().join(" "),
        _ => "ERROR unknown command; try ADD, GET, LIST or QUIT".to_owned(),
    })
}

fn add(counters: &mut BTreeMap<String, i64>, name: &str, number: i64) -> String {
    let sum = counters.entry(name.to_owned()).or_default();
    *sum = sum.saturating_add(number);
    sum.to_string()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = Server::bind(&address).await?;
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    let counters = Counters::default();
    server.serve(move |client| count(client, Arc::clone(&counters))).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use echoline::testing::TestServer;

    use super::*;

    fn server() -> TestServer {
        let counters = Counters::default();
        TestServer::new(move |client| count(client, Arc::clone(&counters)))
    }

    #[tokio::test(start_paused = true)]
    async fn all_clients_count_together() {
        let server = server();
        let (mut one, mut other) = (server.connect(), server.connect());
        one.send("ADD apples\nADD apples 41\n").await;
        one.expect("1\n42\n").await;
        other.send("GET apples\nLIST\nADD apples many\n").await;
        other.expect("42\napples\nERROR invalid digit found in string\n").await;
        other.send_line("QUIT").await;
        other.expect_line("BYE").await;
        other.expect_end().await;
        other.expect_closed(Closed::Finished).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_is_not_text_ends_its_own_dialogue() {
        let server = server();
        let (mut one, mut other) = (server.connect(), server.connect());
        one.send(b"\xff\n").await;
        one.expect_end().await;
        one.expect_closed(Closed::Application).await;
        other.send_line("LIST").await;
        other.expect_line("").await;
    }
}
