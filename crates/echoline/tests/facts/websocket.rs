//! The request that opened a WebSocket, subprotocols, and the half-close of both ends.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use echoline::site::{Asset, Site};
use echoline::transport::Step;
use echoline::websocket::{AcceptWebSocket, Framing, OpenWebSocket, OriginPolicy};
use echoline::{Address, Closed, Connection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::{Served, line};

/// Says what the request contained, in one line.
async fn tell(mut client: Connection) -> Result<(), Closed> {
    let request = client.websocket().unwrap();
    let mut text = format!("{} {:?}", request.path(), request.query());
    write!(text, " agent={:?}", request.header("User-Agent")).unwrap();
    for (name, value) in request.cookies() {
        write!(text, " {name}={value}").unwrap();
    }
    let headers = request.headers().count();
    write!(text, " headers={headers} protocol={:?}", request.subprotocol()).unwrap();
    assert_eq!(client.origin().websocket.as_deref(), client.websocket());
    client.write_line(text).await
}

fn any() -> Address {
    "ws://127.0.0.1:1".parse().unwrap()
}

fn step() -> AcceptWebSocket {
    AcceptWebSocket::new(&any(), Framing::Lines, OriginPolicy::default())
}

fn request(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// Sends a request and returns everything that the server answers until it ends.
async fn answer(server: &Served, request: &[u8]) -> String {
    let mut socket = server.socket().await;
    socket.write_all(request).await.unwrap();
    let mut heard = Vec::new();
    let reading = timeout(Duration::from_secs(30), async {
        let mut chunk = [0; 1024];
        // Until the Close of the server, which is its last frame.
        while !heard.windows(2).any(|two| two == [0x88, 2]) {
            match socket.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(count) => heard.extend_from_slice(&chunk[..count]),
            }
        }
    });
    reading.await.unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}

/// Issue 15, item 5: the whole request, in which a hostile cookie hides no other.
#[tokio::test]
async fn a_handler_reads_the_request() {
    let server = Served::start("ws", [Arc::new(step()) as Arc<dyn Step>], tell).await;
    let headers = b"user-agent: a b\r\nCookie: session=1; =x; \xFF=2; noise\r\n\
                    cookie: theme=\"dark\"; session=2\r\nX-Latin: \xE9\r\n";
    let asked = request("/a%20b/?x=1&y=%3F?", "MARK\r\n").into_bytes();
    let at = asked.windows(6).position(|found| found == b"MARK\r\n").unwrap();
    let asked = [&asked[..at], headers, b"\r\n"].concat();
    let told = answer(&server, &asked).await;
    let wanted = "/a%20b/ Some(\"x=1&y=%3F?\") agent=Some(\"a b\") session=1 theme=\"dark\" \
                  session=2 headers=9 protocol=None";
    assert!(told.contains(wanted), "{told}");
    assert!(!told.contains("Sec-WebSocket-Protocol"), "{told}");
    server.end().await;
}

/// A flood of headers is refused before a handler starts. A request within the limits is served.
#[tokio::test]
async fn a_flood_of_headers_is_refused() {
    let server = Served::start("ws", [Arc::new(step()) as Arc<dyn Step>], tell).await;
    let many = |count: usize| "X: y\r\n".repeat(count);
    let told = answer(&server, request("/", &many(95)).as_bytes()).await;
    assert!(told.contains(" headers=100 "), "{told}");
    let too_many = answer(&server, request("/", &many(96)).as_bytes()).await;
    assert!(too_many.starts_with("HTTP/1.1 431 "), "{too_many}");
    let cookies = |length: usize| format!("Cookie: {}\r\n", "a=1;".repeat(length / 4));
    let told = answer(&server, request("/", &cookies(15 * 1024)).as_bytes()).await;
    assert_eq!(told.matches(" a=1").count(), 15 * 256);
    let too_long = answer(&server, request("/", &cookies(17 * 1024)).as_bytes()).await;
    assert!(too_long.starts_with("HTTP/1.1 431 "), "{too_long}");
    assert_eq!(server.end().await.count(Closed::HandshakeFailed), 2);
}

/// RFC 6455 section 4.2.2: the server answers with the first offered subprotocol that it supports.
#[tokio::test]
async fn the_server_chooses_a_subprotocol() {
    let site = Site::new(&[Asset { path: "/", kind: "text/plain", content: "page" }], policy());
    let site = site.subprotocols(["v1", "v2"]).unwrap().discard_headers();
    let plain = step().subprotocols(["v1", "v2"]).unwrap();
    let steps: [(Arc<dyn Step>, &str); 2] = [(Arc::new(plain), "/"), (Arc::new(site), "/ws")];
    for (step, target) in steps {
        let server = Served::start("ws", [step], tell).await;
        for (offered, chosen) in [
            ("v3, v2,v1", Some("v2")),
            ("v1\r\nSec-WebSocket-Protocol: v2", Some("v1")),
            ("V1", None),
            ("v3", None),
            (",,", None),
        ] {
            let origin = "Origin: http://127.0.0.1\r\n";
            let headers = format!("{origin}sec-websocket-protocol: {offered}\r\n");
            let told = answer(&server, request(target, &headers).as_bytes()).await;
            assert!(told.starts_with("HTTP/1.1 101 "), "{told}");
            assert!(told.contains(&format!(" protocol={chosen:?}")), "{told}");
            let header = "sec-websocket-protocol: ";
            let told = told.to_ascii_lowercase();
            let answered = told.split_once(header).and_then(|(_, rest)| rest.split("\r\n").next());
            assert_eq!(answered, chosen, "{told}");
            assert_eq!(told.contains("headers=0"), target == "/ws", "{told}");
        }
        server.end().await;
    }
}

fn policy() -> OriginPolicy {
    OriginPolicy { is_loopback: true, ..OriginPolicy::default() }
}

/// A page's WebSocket has the same facts.
#[tokio::test]
async fn a_site_passes_the_request_on() {
    let site = Site::new(&[Asset { path: "/", kind: "text/plain", content: "page" }], policy());
    let server = Served::start("ws", [Arc::new(site) as Arc<dyn Step>], tell).await;
    let headers = "Origin: http://127.0.0.1\r\nCookie: session=1\r\nUser-Agent: test\r\n";
    let told = answer(&server, request("/ws?room=7", headers).as_bytes()).await;
    let wanted = "/ws Some(\"room=7\") agent=Some(\"test\") session=1 headers=8 protocol=None";
    assert!(told.contains(wanted), "{told}");
    server.end().await;
}

#[tokio::test]
async fn a_client_offers_subprotocols_and_reads_the_choice() {
    let accept = step().subprotocols(["chat.v1", "chat.v2"]).unwrap();
    let server = Served::start("ws", [Arc::new(accept) as Arc<dyn Step>], tell).await;
    let address: Address =
        format!("ws://127.0.0.1:{}/room?a=b", server.address.port()).parse().unwrap();
    let open = OpenWebSocket::new(&address).subprotocols(["chat.v9", "chat.v2"]).unwrap();
    let mut client = server.connect([Arc::new(open) as Arc<dyn Step>]).await.unwrap();
    let facts = client.websocket().unwrap();
    assert_eq!((facts.path(), facts.query()), ("/room", Some("a=b")));
    assert_eq!(facts.subprotocol(), Some("chat.v2"));
    assert_eq!(facts.header("upgrade"), Some("websocket"), "a header of the answer");
    assert!(line(&mut client).await.ends_with("protocol=Some(\"chat.v2\")"));
    drop(client);
    assert!(OpenWebSocket::new(&address).subprotocols(["a\r\nX: y"]).is_err());
    assert!(step().subprotocols(["a b"]).is_err());
    server.end().await;
}

/// Issue 15, item 1: a client that ends its direction gets the answers to everything that it has
/// sent.
#[tokio::test]
async fn a_half_close_of_the_client_lets_the_server_answer() {
    let handler = |mut client: Connection| async move {
        let mut lines = Vec::new();
        while let Some(line) = client.read_line().await? {
            lines.push(line.to_string());
        }
        client.write_line(format!("{} lines: {}", lines.len(), lines.join(" "))).await?;
        client.write_line("goodbye").await
    };
    let server = Served::start("ws", [Arc::new(step()) as Arc<dyn Step>], handler).await;
    let mut client = server.connect([open(&server)]).await.unwrap();
    for word in ["one", "two", "three"] {
        client.write_line(word).await.unwrap();
    }
    client.shutdown_write().await.unwrap();
    assert_eq!(line(&mut client).await, "3 lines: one two three");
    assert_eq!(line(&mut client).await, "goodbye");
    assert_eq!(line(&mut client).await, "the end");
    drop(client);
    let report = server.end().await;
    assert_eq!((report.count(Closed::EndOfStream), report.accepted), (1, 1), "{report:?}");
}

fn open(server: &Served) -> Arc<dyn Step> {
    Arc::new(OpenWebSocket::new(&server.address))
}

/// Issue 15, item 1: a server that ends its direction still gets everything that the client sends.
#[tokio::test]
async fn a_half_close_of_the_server_lets_the_client_finish() {
    let (heard, mut told) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |mut client: Connection| {
        let heard = heard.clone();
        async move {
            client.write_line("enough").await?;
            client.shutdown_write().await?;
            while let Some(line) = client.read_line().await? {
                heard.send(line.to_string()).unwrap();
            }
            heard.send("the end".to_owned()).unwrap();
            Ok(())
        }
    };
    let server = Served::start("ws", [Arc::new(step()) as Arc<dyn Step>], handler).await;
    let mut client = server.connect([open(&server)]).await.unwrap();
    assert_eq!(line(&mut client).await, "enough");
    assert_eq!(line(&mut client).await, "the end");
    for number in 0..1000 {
        client.write_line(number).await.unwrap();
    }
    client.shutdown_write().await.unwrap();
    for number in 0..1000 {
        assert_eq!(told.recv().await.unwrap(), number.to_string());
    }
    assert_eq!(told.recv().await.unwrap(), "the end");
    drop(client);
    let report = server.end().await;
    assert_eq!((report.count(Closed::EndOfStream), report.accepted), (1, 1), "{report:?}");
}
