//! The server: its settings, and the calls that serve.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::accept::{ListenerContext, ServerInner};
use super::admission::Admission;
use super::drain_guard::DrainGuard;
use super::failure::{ServerFailure, accept, note_panic};
use super::parts::ServerParts;
use super::registry::ConnectionRegistry;
use super::report::Report;
use super::shutdown::{Phase, Shutdown};
use super::signals::SignalGuard;
use super::usage::ConnectionUsage;
use super::workers::Workers;
use crate::connection::config::{ConnectionConfig, Eol, Farewell, LiveLimits};
use crate::connection::handle::Connection;
use crate::connection::limits::Limits;
use crate::listener::acceptor::Acceptor;
use crate::listener::address::{Address, AddressError};
use crate::listener::bind::Listener;
use crate::metrics::observer::{LivenessProbe, Observer};
use crate::metrics::summary::{ConnectionSummary, Hook, ReceivedLine};
use crate::metrics::worker_stats::Metering;
use crate::sources::Sources;
use crate::transport::fault::Faults;

/// A server that is bound but does not serve yet.
///
/// ```no_run
/// use echoline::{Closed, Connection, Limits, Server};
///
/// async fn shout(mut client: Connection) -> Result<(), Closed> {
///     while let Some(line) = client.read_line().await? {
///         client.write_line(line.to_string().to_uppercase()).await?;
///     }
///     Ok(())
/// }
///
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// let limits = Limits { max_connections: 10, ..Limits::default() };
/// let report = Server::bind("127.0.0.1:8080").await?.limits(limits).serve(shout).await?;
/// assert!(report.is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    shutdown: Shutdown,
    live: LiveLimits,
    pub(crate) registry: Arc<ConnectionRegistry>,
    metering: Metering,
    workers: Option<NonZeroUsize>,
    busy_poll: Option<Duration>,
    faults: Option<Faults>,
    liveness_probe: LivenessProbe,
    admission: Admission,
}

impl Server {
    /// Binds `HOST:PORT` or `unix:PATH` with the default
    /// [`ListenerOptions`](crate::ListenerOptions). Connections queue up from now on. Cancel safe.
    /// The address is a text, a [`SocketAddr`], a pair of host and port, or an [`Address`]. A name
    /// is bound on all its addresses, with port 0 at one free port. [`Listener::bind`] takes
    /// options.
    ///
    /// ```
    /// # use echoline::Server;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let by_text = Server::bind("127.0.0.1:0").await?;
    /// let by_pair = Server::bind(("127.0.0.1", 0)).await?;
    /// # let _ = (by_text, by_pair);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// One sentence about an invalid address, or about the reason why it cannot be bound. A scheme
    /// that needs more than a socket (`tls://`, `ws://`, `wss://`) is an error. Use
    /// [`Listener::bind`] with [`Listener::transport`] for these schemes.
    #[doc(alias = "start_server")]
    #[doc(alias = "listen")]
    pub async fn bind<A>(address: A) -> io::Result<Self>
    where
        A: TryInto<Address>,
        AddressError: From<A::Error>,
    {
        let address = address.try_into().map_err(AddressError::from)?;
        Ok(Self::new(Listener::bind_plain(&address).await?))
    }

    /// Creates a server on listeners that were bound before. Bind all of them before the first
    /// connection is served.
    #[must_use]
    pub fn new(listeners: Vec<Listener>) -> Self {
        let shutdown = Shutdown::new();
        let (limits, eol, farewell) = (Limits::default(), Eol::default(), Farewell::default());
        Self {
            listeners,
            live: LiveLimits::new(ConnectionConfig::new(limits, shutdown.clone(), eol, farewell)),
            registry: ConnectionRegistry::new(shutdown.clone()),
            shutdown,
            metering: Metering::Off,
            workers: None,
            busy_poll: None,
            faults: None,
            liveness_probe: LivenessProbe::default(),
            admission: Admission::default(),
        }
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.live.set(limits);
        self
    }

    /// Sets the line end of [`Connection::write_line`] and of the farewell. Default [`Eol::Lf`].
    #[must_use]
    pub fn eol(self, eol: Eol) -> Self {
        self.live.change(|config| config.eol = eol);
        self
    }

    /// Sets the message to a client when the server ends its connection. Default
    /// [`Farewell::Sentences`].
    #[must_use]
    pub fn farewell(self, farewell: Farewell) -> Self {
        self.live.change(|config| config.farewell = farewell);
        self
    }

    /// Serves on `count` threads, each with its own current-thread runtime, instead of on the
    /// caller's runtime. A new connection goes to the thread with the fewest.
    ///
    /// Tasks that a handler spawns run on the thread of its connection. The server neither counts
    /// nor drains them: when the last connection has ended, it stops the threads and drops the
    /// tasks that are left. It logs their number at level `debug`. So a handler waits for its
    /// tasks, or they own a half of its connection ([`Connection::into_split`]). Without `workers`
    /// the tasks belong to the caller's runtime, and go on after the server.
    ///
    /// `tokio::task::block_in_place` panics on these threads, because each runtime has only one;
    /// use [`tokio::task::spawn_blocking`] instead.
    #[must_use]
    pub fn workers(mut self, count: NonZeroUsize) -> Self {
        self.workers = Some(count);
        self
    }

    /// Makes the workers poll for `length` after each read before they sleep. With few connections
    /// this saves a third of the latency, but the workers use their cores all the time. It requires
    /// [`workers`](Self::workers). It is harmful if the clients run on the same cores.
    #[must_use]
    pub fn busy_poll(mut self, length: Duration) -> Self {
        self.busy_poll = Some(length);
        self
    }

    /// Injects planned faults into every stream connection. Default: none, which costs nothing. An
    /// empty plan costs a little and can be replaced while the server runs.
    ///
    /// ```
    /// use echoline::Server;
    /// use echoline::faults::{FaultPlan, Faults};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // One connection of ten is reset after a kibibyte.
    /// let plan: FaultPlan = "reset after=1KiB p=0.1".parse()?;
    /// let server = Server::bind("127.0.0.1:0").await?.faults(Faults::new(plan, 42));
    /// # let _ = server;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Limits how often a source may connect ([`Closed::SourceRate`](crate::Closed::SourceRate)).
    /// Default: no limit.
    #[must_use]
    pub fn sources(mut self, sources: Arc<Sources>) -> Self {
        self.admission = Admission::new(sources);
        self
    }

    /// Calls `hook` with the summary of each connection, served or refused, once it has ended. The
    /// hook runs on the thread that served the connection, so it must not block. A panic of the
    /// hook is logged. The counters take about 80 bytes per connection.
    ///
    /// ```
    /// use echoline::Server;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let server = Server::bind("127.0.0.1:0").await?.on_closed(|summary| {
    ///     let (peer, closed) = (summary.origin.client(), summary.closed.label());
    ///     println!("{peer:?} {closed}: {} lines received", summary.lines_received);
    /// });
    /// # let _ = server;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_closed(self, hook: impl Fn(ConnectionSummary) + Send + Sync + 'static) -> Self {
        self.registry.set_hook(Hook(Box::new(hook)));
        self
    }

    /// Calls `hook` when a client connects and more than nine tenths of
    /// [`Limits::max_connections`](crate::Limits::max_connections) are in use, but at most twice a
    /// second. The hook can then end the least important connections. The accepting task calls it,
    /// so it must not block.
    #[must_use]
    pub fn on_nearly_full(self, hook: impl Fn(ConnectionUsage) + Send + Sync + 'static) -> Self {
        self.registry.nearly_full.set_hook(Hook(Box::new(hook)));
        self
    }

    /// Calls `hook` with each line that a handler reads, and with each read of a raw echo. The hook
    /// runs before the handler continues, so it must not block.
    #[must_use]
    pub fn on_line(self, hook: impl Fn(ReceivedLine<'_>) + Send + Sync + 'static) -> Self {
        let hook = Arc::new(Hook(Box::new(hook) as Box<_>));
        self.live.change(|config| config.on_line = Some(hook));
        self
    }

    /// Returns a handle that reports the state of this server while it serves. From this call on,
    /// the server counts the traffic of its connections and measures the duration of some turns.
    /// This costs less than one percent of its work. Without an observer, the server does neither.
    ///
    /// ```
    /// use echoline::Server;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let mut server = Server::bind("127.0.0.1:0").await?;
    /// let observer = server.observe();
    /// // While the server serves, from any thread:
    /// let snapshot = observer.snapshot();
    /// println!("{} open, {} bytes sent", snapshot.open, snapshot.traffic().sent);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn observe(&mut self) -> Observer {
        self.metering = Metering::On;
        Observer::new(Arc::clone(&self.registry))
    }

    /// Returns the handle that ends this server from another task or thread.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Returns the handle that changes the limits while the server runs.
    #[must_use]
    pub fn live_limits(&self) -> LiveLimits {
        self.live.clone()
    }

    /// Returns a liveness probe for the worker threads.
    #[must_use]
    pub fn liveness_probe(&self) -> LivenessProbe {
        self.liveness_probe.clone()
    }

    /// Returns the socket address of the first listener, with the bound port.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] for a Unix socket, which has a path instead: use
    /// [`addresses`](Self::addresses).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listeners.first().ok_or(io::ErrorKind::NotFound)?.local_addr()
    }

    /// Returns the address of each listener, to which clients connect.
    ///
    /// # Errors
    /// The error of the system, which is not expected.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        self.listeners.iter().map(Listener::address).collect()
    }

    /// Serves until Ctrl-C, SIGTERM, SIGQUIT or SIGHUP, then drains. A second signal aborts the
    /// connections. This is asyncio's `serve_forever` with an orderly end.
    ///
    /// After this has returned, each of these signals ends the process again if it did so before
    /// this call. The exit code is then 128 plus the number of the signal (130 for Ctrl-C), and no
    /// destructors run. Signal handlers that the program installs later do not change this. A
    /// program with its own signal handling uses [`serve_until`](Self::serve_until), or installs
    /// its handlers before it calls this.
    ///
    /// The error of a handler may be [`Closed`](crate::Closed), an enum of the program,
    /// [`io::Error`] or `anyhow::Error`. If it is, or was caused by, a [`Closed`](crate::Closed),
    /// the connection is counted under that reason. Any other error is logged at level `warn` with
    /// its causes and counted as [`Closed::Application`](crate::Closed::Application). The
    /// connection has ended before the server handles the error. So the handler itself must send
    /// any message to the peer.
    ///
    /// ```no_run
    /// use echoline::{Closed, Connection, Server};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum Failure {
    ///     #[error(transparent)]
    ///     Closed(#[from] Closed),
    ///     #[error("a number was expected")]
    ///     NotANumber(#[from] std::num::ParseIntError),
    ///     #[error("not valid UTF-8")]
    ///     NotText(#[from] std::str::Utf8Error),
    /// }
    ///
    /// async fn double(mut client: Connection) -> Result<(), Failure> {
    ///     while let Some(line) = client.read_line().await? {
    ///         let number: i64 = line.as_str()?.parse()?;
    ///         client.write_line(2 * number).await?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> std::io::Result<()> {
    /// Server::bind("127.0.0.1:8080").await?.serve(double).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If a signal handler cannot be installed or a thread cannot be started. The server has then
    /// served no connection. Also if a part of the server panics, as in
    /// [`serve_until`](Self::serve_until).
    #[doc(alias = "serve_forever")]
    pub async fn serve<H, F, E>(self, handler: H) -> io::Result<Report>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let (listening, shutdown) = (SignalGuard::start()?, self.shutdown());
        listening.during(self.serve_until(handler, std::future::pending()), &shutdown).await
    }

    /// Serves until `end` completes or the [`Shutdown`] handle is used. Then it drains: it accepts
    /// the queued connections, closes the listeners, lets each connection answer the input that it
    /// has received, and ends the remaining connections after [`Limits::drain_timeout`]. Dropping
    /// the future aborts all connections. After [`Shutdown::retire`] it returns once the last
    /// connection has ended.
    ///
    /// # Errors
    /// If a listener cannot be registered, a transport does not match its listener's address, or a
    /// thread cannot be started. The server has then served no connection. Also if a thread of
    /// [`workers`](Self::workers) or an accepting task panics. The connections of that thread are
    /// then lost, the others are drained, and the error contains the panic message. A handler that
    /// panics ends only its own connection.
    #[doc(alias = "with_graceful_shutdown")]
    pub async fn serve_until<H, F, E>(
        mut self,
        handler: H,
        end: impl Future<Output = ()>,
    ) -> io::Result<Report>
    where
        H: Fn(Connection) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let (listeners, faults) = (std::mem::take(&mut self.listeners), self.faults.take());
        listeners.iter().try_for_each(Listener::check_transport)?;
        let failure = ServerFailure::default();
        let workers = match self.workers {
            Some(count) => Workers::start(count, self.busy_poll, self.metering, &failure)?,
            None => Workers::current(self.metering),
        };
        let acceptors: Vec<Acceptor> =
            listeners.into_iter().map(Listener::into_acceptor).collect::<io::Result<_>>()?;
        let (inner, drain_guard) = self.begin(workers, &failure);
        let mut accepting = JoinSet::new();
        for (listener, acceptor) in acceptors.into_iter().enumerate() {
            let (transport, faults) = (acceptor.transport().clone(), faults.clone());
            let context = ListenerContext { listener, transport: Arc::new(transport), faults };
            accepting.spawn(Arc::clone(&inner).accept_from(acceptor, context, handler.clone()));
        }
        tokio::select! {
            () = end => drain_guard.shutdown.drain(),
            () = drain_guard.shutdown.reached(Phase::Draining) => {}
            () = drain_guard.retired() => {}
            () = failure.wait() => drain_guard.shutdown.drain(),
            () = accept(&mut accepting, &failure) => drain_guard.shutdown.drain(),
        }
        inner.registry.wake_all();
        while let Some(ended) = accepting.join_next().await {
            note_panic(ended, &failure);
        }
        drain_guard.drain().await;
        if inner.registry.open() == 0 {
            inner.workers.report_left_tasks().await;
        }
        failure.check().map(|()| inner.registry.report())
    }

    /// Begins to serve on `workers`. Returns the running server, and the guard that ends it.
    pub(super) fn begin(
        self,
        workers: Workers,
        failure: &ServerFailure,
    ) -> (Arc<ServerInner>, DrainGuard) {
        self.liveness_probe.set(workers.runtimes());
        let Self { live, shutdown, registry, admission, .. } = self;
        let (parts, failure) = (workers.observed(), failure.clone());
        registry.begin(ServerParts { live: live.clone(), workers: parts, failure });
        let inner = ServerInner {
            live: live.clone(),
            shutdown: shutdown.clone(),
            registry: Arc::clone(&registry),
            workers,
            admission,
        };
        (Arc::new(inner), DrainGuard { live, shutdown, registry })
    }

    /// Takes out the planned faults and the metering, for a server without listeners.
    pub(super) fn take_faults(&mut self) -> (Option<Faults>, Metering) {
        (self.faults.take(), self.metering)
    }
}
