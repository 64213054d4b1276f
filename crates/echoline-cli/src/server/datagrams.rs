//! The datagram flags, and the thread that answers datagrams beside the connections.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;

use anyhow::{Context, anyhow};
use clap::Args;
use tokio::sync::oneshot;

use crate::values::{self, AnswerRate};
use echoline::faults::Faults;
use echoline::internals::spawn_with_runtime;
use echoline::udp::{
    AnswerLength, DatagramAnswer, DatagramCounts, DatagramListener, DatagramRules, DatagramServer,
    DatagramSnapshot, Loopback, SourcePorts,
};
use echoline::{Phase, Shutdown};

/// The limits of replies over `udp://`. A source address may be forged, so a reply may reach a host
/// that has sent nothing.
#[derive(Debug, Args)]
#[command(next_help_heading = "Datagrams (--listen udp://HOST:PORT)")]
pub(crate) struct DatagramArgs {
    /// Replies per second to one source, or 'off' [default: 100/s].
    ///
    /// A source is an IPv4 address or an IPv6 /64 network. A burst may have twice as many replies.
    /// Without this flag, replies to this host itself are not limited.
    #[arg(long, env = "ECHOLINE_UDP_RATE", value_name = "RATE", value_parser = values::answer_rate)]
    udp_rate: Option<AnswerRate>,

    /// Replies per second to all sources together, or 'off'.
    ///
    /// A burst may have twice as many replies.
    #[arg(long, env = "ECHOLINE_UDP_TOTAL_RATE", value_name = "RATE", default_value = "off")]
    #[arg(value_parser = values::answer_rate)]
    udp_total_rate: AnswerRate,

    /// Also reply to source ports below 1024 and to the server's own ports.
    ///
    /// These ports usually belong to servers, and two servers can reply to each other without end.
    #[arg(long, env = "ECHOLINE_UDP_ALLOW_ANY_PORT")]
    udp_allow_any_port: bool,

    /// Allow replies that are longer than the request.
    ///
    /// The modes chargen and daytime need this. A client with a forged address can then use the
    /// server to flood another host.
    #[arg(long, env = "ECHOLINE_UDP_ALLOW_AMPLIFICATION")]
    pub(crate) udp_allow_amplification: bool,
}

impl DatagramArgs {
    /// Returns the datagram service that answers with `answer`.
    pub(crate) fn service<A>(&self, answer: A) -> DatagramService
    where
        A: FnMut(&[u8], &mut Vec<u8>) -> DatagramAnswer + Clone + Send + 'static,
    {
        let rules = self.rules();
        let serve = |server: DatagramServer| -> ServeFuture { Box::pin(server.serve(answer)) };
        DatagramService { rules, serve: Box::new(serve) }
    }

    fn rules(&self) -> DatagramRules {
        let default = DatagramRules::default();
        DatagramRules {
            rate: self.udp_rate.map_or(default.rate, |rate| rate.0),
            // An explicit limit also applies to loopback. Without one, local tests are unlimited.
            loopback: match self.udp_rate {
                Some(_) => Loopback::Limited,
                None => Loopback::Unlimited,
            },
            total_rate: self.udp_total_rate.0,
            source_ports: match self.udp_allow_any_port {
                true => SourcePorts::Any,
                false => SourcePorts::Clients,
            },
            answers: match self.udp_allow_amplification {
                true => AnswerLength::Any,
                false => AnswerLength::Request,
            },
        }
    }
}

/// The datagram part of a service.
pub(crate) struct DatagramService {
    rules: DatagramRules,
    serve: Box<dyn FnOnce(DatagramServer) -> ServeFuture + Send>,
}

type ServeFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

impl fmt::Debug for DatagramService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramService").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// The thread that serves all datagrams. It is separate, so that datagrams and connections cannot
/// starve each other.
#[derive(Debug)]
pub(crate) struct DatagramThread {
    ended: oneshot::Receiver<io::Result<()>>,
    counts: DatagramCounts,
    shutdown: Shutdown,
}

impl DatagramThread {
    /// Serves the sockets, if there are any, until [`end_with`](Self::end_with) ends the thread.
    pub(crate) fn start(
        sockets: Vec<DatagramListener>,
        service: Option<DatagramService>,
        faults: Option<Faults>,
    ) -> anyhow::Result<Option<Self>> {
        match service {
            Some(service) if !sockets.is_empty() => {
                let server = DatagramServer::new(sockets)?.faults(faults);
                Self::run(server, service).context("cannot serve udp://").map(Some)
            }
            _ => Ok(None),
        }
    }

    fn run(server: DatagramServer, service: DatagramService) -> io::Result<Self> {
        let (counts, shutdown) = (server.counts(), Shutdown::new());
        let server = server.shutdown(shutdown.clone());
        let serving = (service.serve)(server.rules(service.rules));
        let (end, ended) = oneshot::channel();
        spawn_with_runtime("udp", move |runtime| {
            // An error means that the receiver was dropped.
            let _ = end.send(runtime.block_on(serving));
        })?;
        Ok(Self { ended, counts, shutdown })
    }

    /// Returns the counters of the datagrams.
    pub(crate) fn counts(&self) -> DatagramCounts {
        self.counts.clone()
    }

    /// Ends `thread`, if there is one, when the server of `connections` ends. Waits for its end and
    /// logs the datagram counters.
    pub(crate) async fn end_with(
        connections: Shutdown,
        thread: Option<Self>,
    ) -> anyhow::Result<()> {
        let Some(Self { ended, counts, shutdown }) = thread else { return Ok(()) };
        let ended = tokio::select! {
            ended = ended => ended.map_err(|_| anyhow!("the thread of udp:// panicked"))?,
            never = follow(&connections, &shutdown) => match never {},
        };
        ended.context("cannot serve udp://")?;
        log_account(&counts.read());
        Ok(())
    }
}

/// Makes the datagram server drain or retire when the server of connections does. Does not pass on
/// the end: a server without connections ends at once, but datagrams that already wait at a socket
/// are still answered. That takes at most a second.
async fn follow(connections: &Shutdown, datagrams: &Shutdown) -> Infallible {
    connections.reached(Phase::Retiring).await;
    match connections.phase() {
        Phase::Retiring => datagrams.retire(),
        _ => datagrams.drain(),
    }
    pending().await
}

fn log_account(datagrams: &DatagramSnapshot) {
    let refused: Vec<String> = datagrams
        .refusals()
        .map(|(refusal, count)| format!("{}={count}", refusal.label()))
        .collect();
    tracing::info!(
        received = datagrams.received,
        answered = datagrams.answered,
        not_sent = datagrams.not_sent,
        overflowed = datagrams.overflowed,
        "datagrams ended; {}",
        if refused.is_empty() { "none refused".to_owned() } else { refused.join(" ") }
    );
    if datagrams.overflowed > 0 {
        tracing::warn!(
            "the system dropped {} datagrams that arrived faster than they were read: raise \
             net.core.rmem_max",
            datagrams.overflowed
        );
    }
}
