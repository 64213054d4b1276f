//! A TLS server inside the test, and its clients.

use std::sync::Arc;
use std::time::SystemTime;

use echoline::tls::{
    Authorities, Certificates, ClientAuth, Identity, Resumption, TlsClient, TlsServerConfig, Trust,
};
use echoline::transport::{Origin, Stream, Transport};
use echoline::{
    Address, Closed, Connection, Limits, Listener, ListenerOptions, Report, Server, Shutdown,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::pairs::{Authority, Kind, Pair};

/// A running server; [`end`](Self::end) stops it.
pub(crate) struct Served {
    pub(crate) authority: Authority,
    pub(crate) certificates: Certificates,
    pub(crate) address: Address,
    shutdown: Shutdown,
    serving: JoinHandle<Report>,
}

/// The behaviour of a handler.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Handler {
    Lines,
    Bytes,
    /// Sends the TLS parameters that were negotiated.
    Facts,
}

pub(crate) fn config(pair: &Pair, clients: &ClientAuth) -> TlsServerConfig {
    let identity = Identity::load(&pair.cert, &pair.key, SystemTime::now()).unwrap();
    TlsServerConfig::new(&identity, clients).unwrap()
}

async fn handle(mut client: Connection, handler: Handler) -> Result<(), Closed> {
    match handler {
        Handler::Lines => {
            while let Some(line) = client.read_line().await? {
                client.write_line_parts(&[&line]).await?;
            }
        }
        Handler::Bytes => client.echo().await?,
        Handler::Facts => {
            let facts = client.origin().tls.unwrap();
            let subject = facts.subject.as_deref().unwrap_or("nobody");
            let name = facts.server_name.as_deref().unwrap_or("no name");
            let text = format!("{} {} {subject} {name}", facts.version, facts.cipher);
            client.write_line(text).await?;
        }
    }
    Ok(())
}

impl Served {
    /// Starts a server. `ask` returns the policy for client certificates, given the test's
    /// authority.
    pub(crate) async fn start(
        handler: Handler,
        limits: Limits,
        ask: impl FnOnce(Authorities) -> ClientAuth,
    ) -> Self {
        let authority = Authority::new();
        let pair = authority.sign("first", Kind::Server);
        let clients = ask(Authorities::load(&authority.ca()).unwrap());
        let certificates = Certificates::new(config(&pair, &clients));
        let address: Address = "tls://127.0.0.1:0".parse().unwrap();
        let listeners = Listener::bind(&address, &ListenerOptions::default()).await.unwrap();
        let transport = Transport::plain().then(certificates.step());
        let listeners = listeners.into_iter().map(|one| one.transport(transport.clone())).collect();
        let server = Server::new(listeners).limits(limits);
        let (address, shutdown) = (server.addresses().unwrap().remove(0), server.shutdown());
        let handle = move |client| handle(client, handler);
        let serving =
            async move { server.serve_until(handle, std::future::pending()).await.unwrap() };
        let serving = tokio::spawn(serving);
        Self { authority, certificates, address, shutdown, serving }
    }

    /// Starts a server that requests no client certificates.
    pub(crate) async fn plain(handler: Handler) -> Self {
        Self::start(handler, Limits::default(), |_| ClientAuth::Off).await
    }

    pub(crate) async fn end(self) -> Report {
        self.shutdown.drain();
        self.serving.await.unwrap()
    }

    pub(crate) async fn socket(&self) -> TcpStream {
        TcpStream::connect((self.address.host(), self.address.port())).await.unwrap()
    }

    /// Connects a client of the CLI.
    pub(crate) async fn connect(&self, identity: Option<&Identity>) -> Result<Stream, String> {
        let trust = Trust::Authorities(Authorities::load(&self.authority.ca()).unwrap());
        let client = TlsClient::new(&trust, identity, Resumption::Off).unwrap();
        let transport = Transport::plain().then(client.step("localhost").unwrap());
        let mut origin = Origin::default();
        let opened = transport.open(self.socket().await.into(), &mut origin).await;
        opened.map_err(|closed| origin.failure.unwrap_or_else(|| closed.to_string()))
    }

    /// Returns a client of the TLS library itself, for one version only.
    pub(crate) fn connector(&self, version: &'static SupportedProtocolVersion) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority.ca()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}

pub(crate) fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}
