//! The server of a test, whose connections are streams in memory.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::client::TestClient;
use super::pipe::pipe;
use super::run::{TestRun, seed};
use crate::connection::handle::Connection;
use crate::server::builder::Server;
use crate::server::handler_error::{BoxError, sentence};
use crate::server::in_memory::InMemoryServer;
use crate::server::report::Report;
use crate::server::shutdown::{Phase, Shutdown};
use crate::transport::steps::Transport;
use crate::transport::stream::Stream;
use echoline_base::poison::IgnorePoison;

/// The network of the addresses from which clients connect (RFC 5737, TEST-NET-1).
const CLIENT_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The port of the client before the first.
const CLIENT_PORT: u16 = 49151;

type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;
type Handler = Arc<dyn Fn(Connection) -> HandlerFuture + Send + Sync>;

/// A server over streams in memory, for tests of a handler. See the
/// [module](crate::testing).
///
/// It runs the handler as [`Server`] does: with its limits, its slots, its drain, and the same
/// counts of close reasons. It starts when the first client connects.
///
/// ```
/// use echoline::testing::TestServer;
/// use echoline::{Closed, Connection, Limits};
///
/// async fn echo(mut client: Connection) -> Result<(), Closed> {
///     while let Some(line) = client.read_line().await? {
///         client.write_line(line).await?;
///     }
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let limits = Limits { max_connections: 1, ..Limits::default() };
/// let server = TestServer::new(echo).configure(|server| server.limits(limits));
/// let mut first = server.connect();
/// let mut second = server.connect();
/// second.expect_line("Server is busy. Try again later.").await;
/// second.expect_closed(Closed::Busy).await;
/// first.send_line("hello").await;
/// first.expect_line("hello").await;
/// # }
/// ```
pub struct TestServer {
    handler: Handler,
    settings: Mutex<TestSettings>,
    /// Set when the first client connects.
    run: OnceLock<Arc<TestRun>>,
    capacity: usize,
    patience: Duration,
    seed: u64,
}

/// The settings of a server that has not started.
struct TestSettings {
    /// `None` once it has started.
    server: Option<Server>,
    transport: Transport,
}

impl TestServer {
    /// Creates a server that runs `handler` for each connection, with the default settings of
    /// [`Server`].
    ///
    /// # Panics
    /// If the environment variable `ECHOLINE_SEED` is not a number.
    #[must_use]
    pub fn new<H, F, E>(handler: H) -> Self
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        Self::new_with_shutdown(|_| handler)
    }

    /// Does the same as [`new`](Self::new) for a handler that can end its server: `make` gets the
    /// handle of this server and returns the handler.
    ///
    /// ```
    /// use echoline::testing::TestServer;
    /// use echoline::{Closed, Connection, Shutdown};
    ///
    /// async fn ends_the_server(client: Connection, shutdown: Shutdown) -> Result<(), Closed> {
    ///     shutdown.drain();
    ///     client.phase_reached(echoline::Phase::Draining).await;
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let server = TestServer::new_with_shutdown(|shutdown| {
    ///     move |client| ends_the_server(client, shutdown.clone())
    /// });
    /// let (mut client, shutdown) = (server.connect(), server.shutdown());
    /// shutdown.reached(echoline::Phase::Draining).await;
    /// client.expect_closed(Closed::Finished).await;
    /// # }
    /// ```
    ///
    /// # Panics
    /// Like [`new`](Self::new).
    #[must_use]
    pub fn new_with_shutdown<H, F, E>(make: impl FnOnce(Shutdown) -> H) -> Self
    where
        H: Fn(Connection) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let server = Server::new(Vec::new());
        let handler = make(server.shutdown());
        let settings = TestSettings { server: Some(server), transport: Transport::plain() };
        Self {
            handler: Arc::new(move |client| {
                let dialogue = handler(client);
                Box::pin(async move { dialogue.await.map_err(Into::into) })
            }),
            settings: Mutex::new(settings),
            run: OnceLock::new(),
            capacity: 64 * 1024,
            patience: Duration::from_secs(10),
            seed: seed(),
        }
    }

    /// Changes the settings: limits, line end, farewell, faults, hooks. The server runs on the
    /// runtime of the test, so [`Server::workers`] has no effect.
    #[must_use]
    pub fn configure(self, change: impl FnOnce(Server) -> Server) -> Self {
        self.change(|settings| settings.server = settings.server.take().map(change))
    }

    /// Sets the steps that each connection passes before its handler begins, as
    /// [`Listener::transport`](crate::Listener::transport) does. Default: none.
    #[must_use]
    pub fn transport(self, transport: Transport) -> Self {
        self.change(|settings| settings.transport = transport)
    }

    /// Sets the seed of the points at which reads and writes are cut. Default: the environment
    /// variable `ECHOLINE_SEED`, or a random seed, which a failure prints.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the number of bytes that each direction of a connection holds, at least 1. With few
    /// bytes a handler soon waits for a client that does not read. Default 64 KiB.
    #[must_use]
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes.max(1);
        self
    }

    /// Sets the maximum wait of each method of a client, after which the test fails. It is measured
    /// by the clock of tokio, which may be paused. Default 10 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Connects a client. Each client has an address of its own, in 192.0.2.0/24.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or after the server was drained, retired or aborted.
    #[must_use]
    pub fn connect(&self) -> TestClient {
        let number = self.run().next_client();
        let port = CLIENT_PORT.wrapping_add(number as u16);
        self.open(Some((CLIENT_ADDRESS, port).into()), number)
    }

    /// Connects a client from `peer`; with `None` from a stream that has no address, like a Unix
    /// socket.
    ///
    /// # Panics
    /// Like [`connect`](Self::connect).
    #[must_use]
    pub fn connect_from(&self, peer: impl Into<Option<SocketAddr>>) -> TestClient {
        let number = self.run().next_client();
        self.open(peer.into(), number)
    }

    /// Returns the handle that drains or aborts the server.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.run().server.shutdown().clone()
    }

    /// Drains the server, waits until it has ended, and returns its report, as
    /// [`Server::serve_until`] does. A closed connection lingers for up to
    /// [`Limits::linger_timeout`](crate::Limits::linger_timeout) until its client is dropped.
    /// Cancel safe.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn stop(self) -> Report {
        let run = Arc::clone(self.run());
        run.server.stop().await
    }

    fn change(self, change: impl FnOnce(&mut TestSettings)) -> Self {
        change(&mut self.settings.lock().ignore_poison());
        self
    }

    fn run(&self) -> &Arc<TestRun> {
        self.run.get_or_init(|| {
            let mut settings = self.settings.lock().ignore_poison();
            let server = settings.server.take().unwrap_or_else(|| Server::new(Vec::new()));
            let server = InMemoryServer::start(server, settings.transport.clone());
            Arc::new(TestRun::new(server, self.patience, self.seed))
        })
    }

    fn open(&self, peer: Option<SocketAddr>, number: u64) -> TestClient {
        let run = self.run();
        let phase = run.server.shutdown().phase();
        assert!(phase == Phase::Running, "the test server does not accept: it is {phase:?}");
        let (server_end, client_end) = pipe(self.capacity, self.seed, number);
        let (error, handler) = (Arc::new(OnceLock::new()), Arc::clone(&self.handler));
        let noted: Arc<OnceLock<String>> = Arc::clone(&error);
        let handler = move |client| {
            let (dialogue, noted) = (handler(client), Arc::clone(&noted));
            async move {
                // The connection ends once, so the error is set once.
                dialogue.await.inspect_err(|error| _ = noted.set(sentence(&**error)))
            }
        };
        let task = run.server.accept(Stream::in_memory(server_end), peer, &handler);
        TestClient::new(client_end, task, error, Arc::clone(run))
    }
}

impl fmt::Debug for TestServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServer").field("seed", &self.seed).finish_non_exhaustive()
    }
}
