//! Tests of the connection rate of a library server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use echoline::proxy::AcceptProxy;
use echoline::sources::{Source, SourceAction, SourceLimits, Sources};
use echoline::transport::{Stream, Transport};
use echoline::{Address, Closed, Connection, Listener, ListenerOptions, Report, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The time limit of every wait. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

async fn whoami(mut client: Connection) -> Result<(), Closed> {
    let source = client.origin().source();
    client.write_line(format!("you are {source}")).await?;
    client.read_line().await.map(drop)
}

fn sources(text: &str) -> Arc<Sources> {
    Arc::new(Sources::new(text.parse().unwrap()))
}

/// Serves until `clients` is done, and returns the report.
async fn serve<F>(server: Server, clients: impl FnOnce(SocketAddr) -> F) -> Report
where
    F: Future<Output = ()>,
{
    let (at, shutdown) = (server.local_addr().unwrap(), server.shutdown());
    let serving = tokio::spawn(server.serve_until(whoami, std::future::pending()));
    timeout(PATIENCE, clients(at)).await.expect("the clients are answered");
    shutdown.drain();
    timeout(PATIENCE, serving).await.expect("the server ends").unwrap().unwrap()
}

async fn all(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut heard = Vec::new();
    // The server does not wait for a refused client, so the connection may end with a reset.
    let _ = stream.read_to_end(&mut heard).await;
    String::from_utf8(heard).unwrap()
}

/// Connects, sends `first`, ends the stream, and returns all that the server sends.
async fn ask(at: SocketAddr, first: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(first.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    all(&mut stream).await
}

/// Issue 12, rates: a flood of connections from one source is refused after its burst, with the
/// time to wait. The access log gets one refusal for each penalty.
#[tokio::test]
async fn attack_a_flood_of_connections_is_refused_after_its_burst() {
    let sources = sources("connections 1/h burst 3, loopback limited");
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let server = server.sources(Arc::clone(&sources)).on_closed(move |summary| {
        if let Closed::SourceRate(seconds) = summary.closed {
            assert_eq!(seconds, 2);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let report = serve(server, async |at| {
        for _ in 0..3 {
            assert_eq!(ask(at, "").await, "you are 127.0.0.1\n");
        }
        let words = "Too many connections from your address; try again in 2 s.\n";
        for _ in 0..20 {
            let mut stream = TcpStream::connect(at).await.unwrap();
            assert_eq!(all(&mut stream).await, words);
        }
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut other = socket.connect(at).await.unwrap();
        other.shutdown().await.unwrap();
        assert_eq!(all(&mut other).await, "you are 127.0.0.2\n");
    })
    .await;
    assert_eq!(report.count(Closed::SourceRate(0)), 20);
    assert_eq!(report.count(Closed::SourceRate(7)), 20, "the count includes every wait time");
    assert_eq!(report.accepted, 24);
    assert_eq!(told.load(Ordering::Relaxed), 1);
    assert_eq!(sources.refused(SourceAction::Connection), 20);
    assert_eq!(sources.counts(), (2, 1));
}

/// Issue 12, rates: behind a trusted proxy, each client that it names has its own limit, and the
/// health checks of the proxy have none.
#[tokio::test]
async fn attack_a_flood_behind_a_proxy_does_not_affect_other_clients() {
    let sources = sources("connections 1/h burst 1, loopback limited");
    let options = ListenerOptions::default();
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let proxy = AcceptProxy::from_networks(vec!["127.0.0.0/8".parse().unwrap()]);
    let transport = Transport::plain().then(Arc::new(proxy));
    let listener = Listener::bind(&address, &options).await.unwrap().remove(0);
    let server = Server::new(vec![listener.transport(transport)]).sources(sources);
    let report = serve(server, async |at| {
        let header = |client: &str| format!("PROXY TCP4 {client} 198.51.100.1 4711 80\r\n");
        assert_eq!(ask(at, &header("192.0.2.1")).await, "you are 192.0.2.1\n");
        for _ in 0..5 {
            let refused = ask(at, &header("192.0.2.1")).await;
            let words = "Too many connections from your address; try again in 2 s.\n";
            assert!(refused == words || refused.is_empty(), "{refused}");
            assert!(ask(at, "PROXY UNKNOWN\r\n").await.starts_with("you are 127.0.0.1"));
        }
        assert_eq!(ask(at, &header("192.0.2.2")).await, "you are 192.0.2.2\n");
    })
    .await;
    assert_eq!(report.count(Closed::SourceRate(0)), 5);
}

/// Issue 12, rates: at a Unix socket the user at the other end is the source.
#[tokio::test]
async fn a_unix_socket_knows_the_user_at_its_other_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s").display().to_string();
    let uid = std::os::unix::fs::MetadataExt::uid(&folder.path().metadata().unwrap());
    let limits: SourceLimits = "connections 1/h burst 1".parse().unwrap();
    let sources = Arc::new(Sources::new(limits));
    let server = Server::bind(format!("unix:{path}")).await.unwrap();
    let server = server.sources(Arc::clone(&sources));
    let shutdown = server.shutdown();
    let serving = tokio::spawn(server.serve_until(whoami, std::future::pending()));
    let connect = async || {
        let mut stream = timeout(PATIENCE, Stream::connect_unix(&path)).await.unwrap().unwrap();
        stream.shutdown().await.unwrap();
        all(&mut stream).await
    };
    assert_eq!(connect().await, format!("you are uid {uid}\n"));
    assert!(connect().await.starts_with("Too many connections"), "no exemption for loopback");
    let [penalised] = &sources.penalised(10)[..] else { panic!("one penalty") };
    assert_eq!(penalised.source, Source::User(uid));
    assert!(sources.pardon(Source::User(uid)));
    assert_eq!(connect().await, format!("you are uid {uid}\n"));
    shutdown.drain();
    timeout(PATIENCE, serving).await.unwrap().unwrap().unwrap();
}
