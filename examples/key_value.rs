//! A key–value server in the style of Redis: `PING`, `ECHO`, `SET`, `GET`, `DEL` and `QUIT`, as
//! inline commands (without quotes) and in RESP 2. `redis-cli` and `redis-benchmark` understand it:
//! `redis-benchmark -p 8080 -t ping_inline,ping_mbulk,set,get`.
//! Run it: `cargo run --example key_value [ADDRESS]`

use std::collections::HashMap;
use std::env;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use echoline::{Closed, Connection, Eol, Farewell, Limits, Server};

/// The maximum number of arguments, and of bytes in all arguments, of one request.
const ARGUMENTS_MAX: i64 = 1024;
const REQUEST_MAX: usize = 1024 * 1024;
/// The maximum number of bytes in all keys and values.
const STORE_MAX: usize = 256 * 1024 * 1024;

#[derive(Default)]
struct Store {
    values: HashMap<Bytes, Bytes>,
    bytes: usize,
}

enum Reply {
    Text(&'static str),
    Error(String),
    Number(usize),
    Bulk(Option<Bytes>),
    List(Vec<Bytes>),
}

async fn serve(mut client: Connection, store: Arc<Mutex<Store>>) -> Result<(), Closed> {
    while let Some(request) = read_request(&mut client).await? {
        let [name, arguments @ ..] = &request[..] else { continue };
        let name = name.to_ascii_uppercase();
        let reply =
            answer(&name, arguments, &mut store.lock().unwrap_or_else(PoisonError::into_inner));
        write_reply(&mut client, reply).await?;
        if name == b"QUIT" {
            break;
        }
    }
    Ok(())
}

/// Reads the words of an inline command, or the arguments of a RESP array of bulk strings.
async fn read_request(client: &mut Connection) -> Result<Option<Vec<Bytes>>, Closed> {
    let Some(line) = client.read_line().await? else { return Ok(None) };
    let Some(count) = line.strip_prefix("*") else {
        let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        return Ok(Some(words.map(Bytes::copy_from_slice).collect()));
    };
    // A drain waits for the rest of the request.
    let mut client = client.begin_message();
    let count: Option<i64> = count.as_str().ok().and_then(|count| count.parse().ok());
    let Some(count @ ..=ARGUMENTS_MAX) = count else {
        return Err(refuse(&mut client, "invalid multibulk length").await);
    };
    let (mut request, mut room) = (Vec::new(), REQUEST_MAX);
    for _ in 0..count {
        let line = client.read_line().await?.ok_or(Closed::Incomplete)?;
        let Some(length) = line.strip_prefix("$") else {
            return Err(refuse(&mut client, "expected '$' and a length").await);
        };
        let length = length.as_str().ok().and_then(|length| length.parse().ok());
        let Some(length) = length.filter(|length| *length <= room) else {
            return Err(refuse(&mut client, "invalid bulk length").await);
        };
        room -= length;
        let mut argument = client.read_exact(length + 2).await?;
        if argument.split_off(length) != b"\r\n"[..] {
            return Err(refuse(&mut client, "expected CR LF after a bulk string").await);
        }
        request.push(argument);
    }
    Ok(Some(request))
}

/// Tells the client its error, which ends the connection.
async fn refuse(client: &mut Connection, reason: &str) -> Closed {
    let written = client.write_line(format!("-ERR Protocol error: {reason}")).await;
    written.err().unwrap_or(Closed::Malformed)
}

/// Carries out one command. The lock is held for this call only, never while a client is awaited.
fn answer(name: &[u8], arguments: &[Bytes], store: &mut Store) -> Reply {
    match (name, arguments) {
        (b"PING", []) => Reply::Text("PONG"),
        (b"PING" | b"ECHO", [text]) => Reply::Bulk(Some(text.clone())),
        (b"SET", [key, value]) => store.set(key, value),
        (b"SET", [_, _, ..]) => Reply::Error("syntax error".to_owned()),
        (b"GET", [key]) => Reply::Bulk(store.values.get(key).cloned()),
        (b"DEL", [_, ..]) => {
            Reply::Number(arguments.iter().filter(|key| store.delete(key)).count())
        }
        (b"QUIT", _) => Reply::Text("OK"),
        // `redis-cli` asks for the commands; `redis-benchmark` for the persistence, which is off.
        (b"COMMAND", _) => Reply::List(Vec::new()),
        (b"CONFIG", [get, name]) if get.eq_ignore_ascii_case(b"GET") => match &**name {
            b"save" => Reply::List(vec![name.clone(), Bytes::new()]),
            b"appendonly" => Reply::List(vec![name.clone(), Bytes::from_static(b"no")]),
            _ => Reply::List(Vec::new()),
        },
        (b"PING" | b"ECHO" | b"SET" | b"GET" | b"DEL" | b"CONFIG", _) => {
            Reply::Error("wrong number of arguments".to_owned())
        }
        _ => {
            let name = &name[..name.len().min(128)];
            Reply::Error(format!("unknown command '{}'", name.escape_ascii()))
        }
    }
}

impl Store {
    fn set(&mut self, key: &Bytes, value: &Bytes) -> Reply {
        let old = self.values.get(key).map_or(0, |value| key.len() + value.len());
        let bytes = self.bytes - old + key.len() + value.len();
        if bytes > STORE_MAX {
            return Reply::Error("the store is full; delete keys first".to_owned());
        }
        self.bytes = bytes;
        // Copies, because an argument keeps the whole read that it is a part of.
        self.values.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        Reply::Text("OK")
    }

    fn delete(&mut self, key: &Bytes) -> bool {
        let old = self.values.remove(key);
        self.bytes -= old.as_ref().map_or(0, |value| key.len() + value.len());
        old.is_some()
    }
}

async fn write_reply(client: &mut Connection, reply: Reply) -> Result<(), Closed> {
    match reply {
        Reply::Text(text) => client.write_line_parts(&[b"+", text.as_bytes()]).await,
        Reply::Error(text) => client.write_line(format!("-ERR {text}")).await,
        Reply::Number(number) => client.write_line(format!(":{number}")).await,
        Reply::Bulk(None) => client.write_line("$-1").await,
        Reply::Bulk(Some(bytes)) => write_bulk(client, &bytes).await,
        Reply::List(list) => {
            client.write_line(format!("*{}", list.len())).await?;
            for bytes in &list {
                write_bulk(client, bytes).await?;
            }
            Ok(())
        }
    }
}

async fn write_bulk(client: &mut Connection, bytes: &[u8]) -> Result<(), Closed> {
    let length = bytes.len().to_string();
    client.write_line_parts(&[b"$", length.as_bytes(), b"\r\n", bytes]).await
}

/// Returns the error that a client gets when the server ends its connection.
fn farewell(closed: Closed) -> Option<String> {
    match closed {
        Closed::Busy | Closed::BusyAddress => Some("-ERR max number of clients reached".to_owned()),
        Closed::LineTooLong => Some("-ERR Protocol error: too big inline request".to_owned()),
        _ => None,
    }
}

fn configure(server: Server) -> Server {
    let limits = Limits { idle_timeout: Some(Duration::from_secs(300)), ..Limits::default() };
    server.limits(limits).eol(Eol::CrLf).farewell(Farewell::Custom(Arc::new(farewell)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let server = configure(Server::bind(address).await?);
    writeln!(io::stdout(), "listening on {}", server.local_addr()?)?;
    let store = Arc::default();
    server.serve(move |client| serve(client, Arc::clone(&store))).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use echoline::testing::TestServer;

    use super::*;

    /// No more than eight bytes fit between a client and the server.
    fn server() -> TestServer {
        let store = Arc::default();
        let server = TestServer::new(move |client| serve(client, Arc::clone(&store)));
        server.configure(configure).capacity(8)
    }

    #[tokio::test(start_paused = true)]
    async fn inline_commands_and_arrays_have_the_same_replies() {
        let server = server();
        let (mut one, mut other) = (server.connect(), server.connect());
        one.send("PING\r\nset  fruit apple\n\r\nget fruit\r\n").await;
        one.expect("+PONG\r\n+OK\r\n$5\r\napple\r\n").await;
        // A value may contain any bytes, and be empty.
        other.send(b"*3\r\n$3\r\nSET\r\n$4\r\n\xff\r\n\0\r\n$0\r\n\r\n").await;
        other.expect("+OK\r\n").await;
        other.send(b"*2\r\n$3\r\nGET\r\n$4\r\n\xff\r\n\0\r\n*0\r\n*-1\r\n").await;
        other.expect("$0\r\n\r\n").await;
        other.send("*4\r\n$3\r\nDEL\r\n$5\r\nfruit\r\n$5\r\nfruit\r\n$1\r\n \r\n").await;
        other.expect(":1\r\n").await;
        one.send("GET fruit\nECHO \u{e9}\nQUIT\nPING\n").await;
        one.expect("$-1\r\n$2\r\n\u{e9}\r\n+OK\r\n").await;
        one.expect_end().await;
        one.expect_closed(Closed::Finished).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_command_gets_an_error_and_the_dialogue_goes_on() {
        let mut client = server().connect();
        client.send("GET\nSET a b EX 5\nDEL\nCONFIG GET maxmemory\nconfig\n").await;
        client.expect("-ERR wrong number of arguments\r\n-ERR syntax error\r\n").await;
        client.expect("-ERR wrong number of arguments\r\n*0\r\n").await;
        client.expect("-ERR wrong number of arguments\r\n").await;
        client.send(b"*1\r\n$5\r\n\xffA\r\nb\r\n").await;
        client.expect("-ERR unknown command '\\xffA\\r\\nB'\r\n").await;
    }

    #[tokio::test(start_paused = true)]
    async fn bad_requests_end_the_connection_with_one_error() {
        let lengths = "invalid bulk length";
        for (request, error) in [
            ("*1025\r\n", "invalid multibulk length"),
            ("*99999999999999999999\r\n", "invalid multibulk length"),
            ("*\r\n", "invalid multibulk length"),
            ("*1\r\n$-1\r\n", lengths),
            ("*1\r\n$1048577\r\n", lengths),
            ("*1\r\n$18446744073709551615\r\n", lengths),
            ("*1\r\n$ 4\r\n", lengths),
            // Each argument is below the limit, but not both together.
            ("*2\r\n$1\r\na\r\n$1048576\r\n", lengths),
            ("*1\r\n:4\r\n", "expected '$' and a length"),
            ("*1\r\n$4\r\nPINGxx", "expected CR LF after a bulk string"),
        ] {
            let mut client = server().connect();
            client.send(request).await;
            client.expect_line(format!("-ERR Protocol error: {error}")).await;
            client.expect_end().await;
            client.expect_closed(Closed::Malformed).await;
        }
        let mut client = server().connect();
        client.send(b"*\xff\r\n").await;
        client.expect_line("-ERR Protocol error: invalid multibulk length").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_the_rest_of_a_request() {
        let server = server();
        let mut client = server.connect();
        client.send("PING\r\n*2\r\n$4\r\nPING\r\n").await;
        client.expect("+PONG\r\n").await;
        server.shutdown().drain();
        client.send("$2\r\nhi\r\n").await;
        client.expect("$2\r\nhi\r\n").await;
        client.expect_end().await;
        client.expect_closed(Closed::Drained).await;
    }

    #[test]
    fn the_store_counts_its_bytes_and_refuses_more() {
        let mut store = Store { bytes: STORE_MAX - 4, ..Store::default() };
        let [key, short, long] = ["k", "abc", "abcd"].map(Bytes::from);
        assert!(matches!(store.set(&key, &long), Reply::Error(_)));
        assert!(matches!(store.set(&key, &short), Reply::Text("OK")));
        assert!(matches!(store.set(&key, &short), Reply::Text("OK")));
        assert!(matches!(store.set(&key, &long), Reply::Error(_)));
        assert!(store.delete(&key) && !store.delete(&key));
        assert_eq!(store.bytes, STORE_MAX - 4);
    }
}
