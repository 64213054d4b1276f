//! Tests of a change to TLS in the middle of a dialogue (STARTTLS), and of half-closes over TLS.

use std::sync::Arc;
use std::time::Duration;

use echoline::tls::{
    Authorities, Certificates, ClientAuth, Resumption, TlsClient, TlsServerConfig, Trust,
};
use echoline::transport::{Stream, Transport};
use echoline::{Closed, Connection, Limits, Server};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::pairs::{Authority, Kind};
use crate::served::config;

async fn mail(mut client: Connection, tls: Arc<Transport>) -> Result<(), Closed> {
    while let Some(line) = client.read_line().await? {
        if line == "STARTTLS" {
            client.write_line("220 go ahead").await?;
            client = client.upgrade(&tls).await?;
            continue;
        }
        let version = client.origin().tls.map(|facts| facts.version).unwrap_or_default();
        client.write_line(format!("{version}: {line}")).await?;
    }
    client.write_line("221 goodbye").await?;
    client.shutdown_write().await
}

async fn ask(server: &mut Connection, line: &str) -> Result<String, Closed> {
    server.write_line(line).await?;
    Ok(server.read_line().await?.map(|line| line.to_string()).unwrap_or_default())
}

/// Issue 15, item 1: both ends change to TLS after some lines. Each end half-closes with
/// `close_notify`, so that neither stream counts as truncated.
#[tokio::test]
async fn a_dialogue_changes_to_tls_and_ends_in_order() {
    let authority = Authority::new();
    let tls: TlsServerConfig = config(&authority.sign("first", Kind::Server), &ClientAuth::Off);
    let tls = Arc::new(Transport::plain().then(Certificates::new(tls).step()));
    let server = Server::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (server.local_addr().unwrap(), server.shutdown());
    let handler = move |client| mail(client, Arc::clone(&tls));
    let serving = tokio::spawn(server.serve_until(handler, std::future::pending()));

    let dialogue = async {
        let socket = TcpStream::connect(address).await?;
        let mut server = Connection::new(Stream::from(socket), Limits::default());
        assert_eq!(ask(&mut server, "one").await?, ": one");
        assert_eq!(ask(&mut server, "STARTTLS").await?, "220 go ahead");
        let trust = Trust::Authorities(Authorities::load(&authority.ca()).unwrap());
        let client = TlsClient::new(&trust, None, Resumption::Off).unwrap();
        let client = Transport::plain().then(client.step("localhost").unwrap());
        let mut server = server.upgrade(&client).await?;
        assert_eq!(ask(&mut server, "two").await?, "TLSv1.3: two");
        server.shutdown_write().await?;
        assert_eq!(server.read_line().await?.unwrap(), "221 goodbye");
        assert_eq!(server.read_line().await?, None);
        server.write_line("too late").await?;
        assert_eq!(server.flush().await, Err(Closed::Reset));
        Ok::<(), Closed>(())
    };
    timeout(Duration::from_secs(20), dialogue).await.unwrap().unwrap();
    shutdown.drain();
    let report = serving.await.unwrap().unwrap();
    assert_eq!((report.count(Closed::EndOfStream), report.accepted), (1, 1), "{report:?}");
}
