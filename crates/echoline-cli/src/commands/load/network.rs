//! Flags of `load` for connections and threads.

use std::net::IpAddr;
use std::num::NonZero;

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use crate::commands::tls_client::TlsSide;
use crate::server::transport_args::{ClientTransportArgs, network_value};
use crate::usage_error::UsageError;
use crate::values;
use echoline::Address;
use echoline_base::amount;
use echoline_load::target::{IpFamily, ResolvePolicy, SocketOptions};
use echoline_load::{BusyPoll, LoadSettings, Targets};

/// Connections and threads.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connections")]
pub(super) struct NetworkArgs {
    /// Local addresses to connect from, used in turn.
    ///
    /// Each address has its own ports, about 28,000 for each server.
    #[arg(long, env = "ECHOLINE_SOURCE", value_name = "IP,...", value_delimiter = ',')]
    #[arg(value_parser = source)]
    source: Vec<IpAddr>,

    /// Resolution of host names.
    #[arg(long, env = "ECHOLINE_RESOLVE", value_enum, default_value = "once")]
    resolve: ResolveName,

    /// Connect to IPv4 addresses only.
    #[arg(short = '4', long, env = "ECHOLINE_IPV4")]
    ipv4: bool,

    /// Connect to IPv6 addresses only.
    #[arg(short = '6', long, env = "ECHOLINE_IPV6", conflicts_with = "ipv4")]
    ipv6: bool,

    /// TCP_NODELAY; with off the system may delay small packets.
    #[arg(long, env = "ECHOLINE_NODELAY", value_enum, default_value = "on")]
    nodelay: OnOff,

    /// Send buffer of sockets (SO_SNDBUF) [default: the system's].
    #[arg(long, env = "ECHOLINE_SEND_BUFFER", value_name = "BYTES", value_parser = buffer)]
    send_buffer: Option<u32>,

    /// Receive buffer of sockets (SO_RCVBUF) [default: the system's].
    #[arg(long, env = "ECHOLINE_RECEIVE_BUFFER", value_name = "BYTES", value_parser = buffer)]
    receive_buffer: Option<u32>,

    #[command(flatten)]
    wires: ClientTransportArgs,

    /// Network of the client addresses in the headers of --proxy, used in turn.
    #[arg(long, env = "ECHOLINE_PROXY_SOURCE", value_name = "CIDR", requires = "proxy")]
    #[arg(value_parser = network_value)]
    proxy_source: Option<IpNet>,

    /// Close connections with a reset, so that their ports are free at once.
    #[arg(long, env = "ECHOLINE_RST")]
    rst: bool,

    /// Threads that send messages [default: half of the cores].
    ///
    /// The other cores are for the system and a local server.
    #[arg(long, env = "ECHOLINE_WORKERS", value_name = "N", value_parser = values::threads)]
    workers: Option<NonZero<usize>>,

    /// Time to poll before each planned time of --rate: auto, or for example 100us.
    ///
    /// Polling makes send times exact to a few microseconds and uses a core. auto polls only while
    /// no other program needs the core, and no longer than wake-ups take; 0s never polls.
    #[arg(long, env = "ECHOLINE_BUSY_POLL", value_name = "TIME|auto", default_value = "auto")]
    #[arg(value_parser = busy_poll)]
    busy_poll: BusyPoll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ResolveName {
    /// Once; connections try the addresses in their order.
    Once,
    /// Once; each connection begins with the next address.
    Rotate,
    /// For each connection.
    Each,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

fn source(text: &str) -> Result<IpAddr, String> {
    text.trim().parse().map_err(|_| {
        format!("'{text}' is not an IP address: write for example 127.0.0.2,127.0.0.3")
    })
}

fn busy_poll(text: &str) -> Result<BusyPoll, String> {
    match text.trim() {
        "auto" => Ok(BusyPoll::Auto),
        time if amount::time_or_seconds(time).is_none() => Err(format!(
            "'{text}' is not a time: write auto, or a time such as 100us, or 0s for never"
        )),
        time => values::poll_time(time).map(BusyPoll::For),
    }
}

fn buffer(text: &str) -> Result<u32, String> {
    let bytes = values::bytes(text)?;
    u32::try_from(bytes).map_err(|_| format!("'{text}' is too large: write for example 256KiB"))
}

impl NetworkArgs {
    /// Applies the flags. `tls` is the TLS step of addresses that need it.
    pub(super) fn apply(
        &self,
        addresses: &[Address],
        tls: &TlsSide,
        settings: &mut LoadSettings,
    ) -> anyhow::Result<()> {
        if let Some(text) = self.wires.usage_error(addresses) {
            return Err(UsageError::new(text).into());
        }
        let transport =
            |address| Ok(self.wires.transport(address, self.proxy_source, tls.step(address)?));
        settings.targets = Targets {
            addresses: addresses.to_vec(),
            transports: addresses.iter().map(transport).collect::<anyhow::Result<_>>()?,
            family: match (self.ipv4, self.ipv6) {
                (true, _) => IpFamily::Ipv4,
                (_, true) => IpFamily::Ipv6,
                _ => IpFamily::Any,
            },
            resolve: match self.resolve {
                ResolveName::Once => ResolvePolicy::Once,
                ResolveName::Rotate => ResolvePolicy::Rotate,
                ResolveName::Each => ResolvePolicy::Each,
            },
            sources: self.source.clone(),
            socket: SocketOptions {
                nodelay: self.nodelay == OnOff::On,
                send_buffer: self.send_buffer,
                receive_buffer: self.receive_buffer,
                reset: self.rst,
            },
        };
        settings.workers = self.workers.unwrap_or_else(half_the_cores);
        settings.busy_poll = self.busy_poll;
        Ok(())
    }
}

/// Returns half of the number of cores, but at least one.
fn half_the_cores() -> NonZero<usize> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    NonZero::new(cores / 2).unwrap_or(NonZero::<usize>::MIN)
}
