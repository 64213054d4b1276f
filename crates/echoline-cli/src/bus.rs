//! `echoline chat --bus`: flags to a chat that is one of several machines.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::admin::Figure;
use super::shared_files::SharedFilesFlag;
use super::values;
use echoline_base::SecretText;
use echoline_base::secret::without_login;
use echoline_chat::nats::{self, Bus, Finding, NatsIdentity, NatsOptions, Severity, Status};
use echoline_chat::{Chat, ClusterOptions, ClusterStatus, Settings};

/// How long the other machines may take to hear that this one ends.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// The flags that say which machines are one chat.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clustering (--bus)")]
pub(super) struct BusFlags {
    /// Be one chat with all machines that name the same NATS servers and --cluster:
    /// nats://HOST:4222, several with commas between; tls:// for encryption. The
    /// servers need JetStream (`nats-server -js`). A password belongs into the file of --bus-login.
    #[arg(long, env = "ECHOLINE_BUS", value_name = "URL", hide_env_values = true)]
    bus: Option<SecretText>,

    #[command(flatten)]
    stream: StreamFlags,

    /// What this machine is called, for people. [default: the system's host name]
    #[arg(long, env = "ECHOLINE_MACHINE", value_name = "NAME", requires = "bus")]
    machine: Option<MachineName>,

    /// How long to wait at the start for the servers and all that was said so far.
    #[arg(long, env = "ECHOLINE_BUS_TIMEOUT", value_name = "DURATION", requires = "bus")]
    #[arg(value_parser = values::some_duration, default_value = "30s")]
    bus_timeout: Duration,
}

/// Which stream is the order of a chat, and how it is kept.
#[derive(Debug, Args)]
pub(super) struct StreamFlags {
    /// What the chat is called on its bus: one server may carry several. [default: chat]
    #[arg(long, env = "ECHOLINE_CLUSTER", value_name = "NAME")]
    cluster: Option<String>,

    /// On how many NATS servers everything is kept, where the stream is made now.
    #[arg(long, env = "ECHOLINE_BUS_REPLICAS", value_name = "N", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=5))]
    bus_replicas: u8,

    /// Entries that the stream keeps, where it is made now: so far a machine can catch up, and so
    /// much history there is after a restart.
    #[arg(long, env = "ECHOLINE_BUS_ENTRIES", value_name = "N", default_value = "200000")]
    #[arg(value_parser = clap::value_parser!(u64).range(1000..))]
    bus_entries: u64,

    /// A file of credentials for the NATS servers, as `nsc` writes it.
    #[arg(long, env = "ECHOLINE_BUS_CREDENTIALS", value_name = "PATH")]
    bus_credentials: Option<PathBuf>,

    /// A file whose first line is USER:PASSWORD, or a token, for the NATS servers.
    #[arg(long, env = "ECHOLINE_BUS_LOGIN", value_name = "PATH")]
    bus_login: Option<PathBuf>,

    /// A file with the key of the cluster, the same on all machines: what others send is ignored.
    /// Make one with `openssl rand -hex 32`.
    #[arg(long, env = "ECHOLINE_CLUSTER_KEY", value_name = "PATH")]
    cluster_key: Option<PathBuf>,

    /// Trust NATS servers whose certificate was signed by one in this file (PEM), instead of those
    /// that the system trusts.
    #[arg(long, env = "ECHOLINE_BUS_CA", value_name = "FILE")]
    bus_ca: Option<PathBuf>,

    /// The certificate to show to NATS servers that ask for one (PEM).
    #[arg(long, env = "ECHOLINE_BUS_CERT", value_name = "FILE")]
    bus_cert: Option<PathBuf>,

    /// The private key of --bus-cert (PEM). [default: it is in the file of --bus-cert]
    #[arg(long, env = "ECHOLINE_BUS_KEY", value_name = "FILE", requires = "bus_cert")]
    bus_key: Option<PathBuf>,
}

/// What people are shown of a machine.
#[derive(Clone, Debug)]
struct MachineName(String);

impl FromStr for MachineName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > 64 || !text.chars().all(is_fine) {
            return Err("it takes 1 to 64 letters, digits, '.', '_' or '-', as in east-1".into());
        }
        Ok(Self(text.to_owned()))
    }
}

/// A chat on its bus.
#[derive(Debug)]
pub(super) struct Linked {
    chat: Arc<Chat>,
    bus: Arc<Bus>,
}

impl StreamFlags {
    fn cluster(&self) -> &str {
        self.cluster.as_deref().unwrap_or("chat")
    }

    pub(super) fn options(
        &self,
        servers: &SecretText,
        shared: &SharedFilesFlag,
    ) -> anyhow::Result<NatsOptions> {
        if let Some(path) = &self.bus_credentials {
            shared.check_secret("--bus-credentials", path)?;
        }
        if let Some(cert) = &self.bus_cert {
            shared.check_key(("--bus-key", self.bus_key.as_deref()), ("--bus-cert", cert))?;
        }
        let mut options = NatsOptions::new(servers.clone(), self.cluster());
        options.replicas = self.bus_replicas;
        options.max_entries = self.bus_entries;
        options.credentials.clone_from(&self.bus_credentials);
        options.authorities.clone_from(&self.bus_ca);
        options.identity = self.bus_cert.clone().map(|certificate| NatsIdentity {
            key: self.bus_key.clone().unwrap_or_else(|| certificate.clone()),
            certificate,
        });
        let login = self.bus_login.as_deref();
        options.login = login.map(|path| first_line("--bus-login", path, shared)).transpose()?;
        let keys = self.cluster_key.as_deref();
        let keys = keys.map(|path| shared.read_secret("--cluster-key", path)).transpose()?;
        options.keys = keys.map(SecretText::from);
        Ok(options)
    }
}

impl BusFlags {
    /// Whether there are to be several machines.
    pub(super) fn is_asked_for(&self) -> bool {
        self.bus.is_some()
    }

    /// Whoever names a cluster and no bus would be alone and not notice.
    pub(super) fn refuse_half(&self) -> anyhow::Result<()> {
        if self.bus.is_none()
            && let Some(cluster) = &self.stream.cluster
        {
            bail!("--cluster needs --bus: without NATS servers nobody else is in {cluster}");
        }
        Ok(())
    }

    /// The part of the address that is secret, if it has one.
    pub(super) fn login(&self) -> Option<&str> {
        let servers = self.bus.as_ref()?.reveal();
        servers.contains('@').then_some(servers)
    }

    fn options(&self, shared: &SharedFilesFlag) -> anyhow::Result<Option<NatsOptions>> {
        let Some(servers) = &self.bus else { return Ok(None) };
        let mut options = self.stream.options(servers, shared)?;
        options.start_timeout = self.bus_timeout;
        Ok(Some(options))
    }

    /// The chat, when it has come up to the others.
    pub(super) fn open(
        &self,
        settings: Settings,
        shared: &SharedFilesFlag,
    ) -> anyhow::Result<Option<Linked>> {
        let Some(options) = self.options(shared)? else { return Ok(None) };
        if let Some(warning) = command_line_warning(&options.servers) {
            tracing::warn!("{warning}");
        }
        let servers = without_login(options.servers.reveal());
        let cluster = ClusterOptions {
            cluster: self.stream.cluster().to_owned(),
            machine: self.machine_name()?,
            node: node()?,
        };
        let (chat, proposals) = Chat::clustered(settings, cluster);
        let bus = nats::start(options, Arc::<Chat>::clone(&chat), proposals);
        let bus = bus.with_context(|| format!("cannot use --bus {servers}"))?;
        let status = bus.status();
        tracing::info!(
            stream = status.stream,
            entries = status.applied,
            server = status.server_version,
            "one chat with the machines on {servers}"
        );
        Ok(Some(Linked { chat, bus: Arc::new(bus) }))
    }

    fn machine_name(&self) -> anyhow::Result<String> {
        if let Some(MachineName(name)) = &self.machine {
            return Ok(name.clone());
        }
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        match name.parse() {
            Ok(MachineName(name)) => Ok(name),
            Err(why) => bail!("the host name {name:?} cannot name this machine ({why}): --machine"),
        }
    }

    /// The findings of a check, in sentences.
    pub(super) fn describe(&self, shared: &SharedFilesFlag) -> anyhow::Result<Vec<String>> {
        let Some(options) = self.options(shared)? else { return Ok(Vec::new()) };
        let findings = nats::examine(&options)?;
        if let Some(problem) = findings.iter().find(|f| f.severity == Severity::Problem) {
            let servers = without_login(options.servers.reveal());
            bail!("--bus {servers}: {}", problem.sentence);
        }
        let Finding { sentence, .. } = findings.into_iter().next().unwrap_or(Finding {
            severity: Severity::Fine,
            sentence: "It was looked at.".to_owned(),
        });
        let mut sentences = vec![
            format!("It is one chat with all machines of the cluster {}.", self.stream.cluster()),
            format!("{}.", capitalized(sentence.trim_end_matches('.'))),
        ];
        let warning = command_line_warning(&options.servers);
        sentences.extend(warning.map(|warning| format!("{}.", capitalized(warning))));
        Ok(sentences)
    }
}

impl Linked {
    pub(super) fn chat(&self) -> Arc<Chat> {
        Arc::clone(&self.chat)
    }

    /// What metrics tell of it.
    pub(super) fn figures(&self) -> impl Fn() -> Vec<Figure> + Send + Sync + 'static {
        let (chat, bus) = (Arc::downgrade(&self.chat), Arc::downgrade(&self.bus));
        move || {
            let (Some(chat), Some(bus)) = (chat.upgrade(), bus.upgrade()) else {
                return Vec::new();
            };
            let Some(chat) = chat.cluster_status() else { return Vec::new() };
            let mut figures = chat_figures(&chat);
            figures.extend(bus_figures(&bus.status()));
            figures
        }
    }

    /// Tells the other machines that this one ends.
    pub(super) fn leave(self) {
        let Self { chat, bus } = self;
        if !chat.take_leave(LEAVE_TIMEOUT) {
            tracing::warn!(
                "the other machines have not heard that this one ends: they take it for \
                            gone in a while"
            );
        }
        if let Some(bus) = Arc::into_inner(bus) {
            bus.close();
        }
    }
}

fn chat_figures(chat: &ClusterStatus) -> Vec<Figure> {
    let (gauge, counter) = (Figure::gauge, Figure::counter);
    #[rustfmt::skip]
    let figures = vec![
        gauge("echoline_cluster_linked",
            "1 while the other machines can be reached.", u64::from(chat.is_linked)),
        gauge("echoline_cluster_machines",
            "Machines that are heard of, this one too.", chat.machines.len() as u64),
        gauge("echoline_cluster_applied_entry",
            "The last entry of the common order that was applied.", chat.applied),
        gauge("echoline_cluster_held_lines",
            "Lines said here that are not yet known to have reached the others.", chat.held),
        counter("echoline_cluster_entries_total",
            "Entries of the common order that were applied.", chat.entries),
        counter("echoline_cluster_unreadable_total",
            "Entries that could not be read: of a newer version, say.", chat.unreadable),
        counter("echoline_cluster_not_delivered_lines_total",
            "Lines whose authors heard that they were not delivered.", chat.not_delivered),
        counter("echoline_cluster_link_losses_total",
            "Times that the link to the other machines was lost.", chat.losses),
        counter("echoline_cluster_returns_total",
            "Times that this machine was taken for gone and came back.", chat.returns),
        counter("echoline_cluster_gaps_total",
            "Times that this machine went on from a snapshot, and missed lines.", chat.gaps),
    ];
    figures
}

fn bus_figures(bus: &Status) -> Vec<Figure> {
    let counter = Figure::counter;
    #[rustfmt::skip]
    let figures = vec![
        counter("echoline_bus_publishes_total",
            "Times that something was sent to the bus.", bus.publishes),
        counter("echoline_bus_retries_total",
            "Times that one of these was sent again.", bus.retries),
        counter("echoline_bus_slow_consumer_total",
            "Times that the bus's client dropped entries, which were read again.",
            bus.slow_consumers),
        counter("echoline_bus_restarts_total",
            "Times that the thread of the bus began again after an error.", bus.restarts),
        counter("echoline_bus_snapshots_total",
            "Snapshots that this machine has written.", bus.snapshots),
        counter("echoline_bus_refused_total",
            "Messages that came from no node with the key of the cluster.", bus.refused),
        counter("echoline_bus_divergences_total",
            "Times that this machine's order was not the stream's, and it began anew.",
            bus.divergences),
    ];
    figures
}

/// Returns a warning if the process list shows the login of the NATS servers.
pub(super) fn command_line_warning(servers: &SecretText) -> Option<&'static str> {
    let servers = servers.reveal();
    let contains = |argument: OsString| argument.to_string_lossy().contains(servers);
    (servers.contains('@') && std::env::args_os().any(contains)).then_some(
        "the login of the NATS servers is on the command line, where every user of this machine \
         can read it (ps): put it into a file for --bus-login, or set ECHOLINE_BUS",
    )
}

/// Reads the first line of a file with a secret.
fn first_line(flag: &str, path: &Path, shared: &SharedFilesFlag) -> anyhow::Result<SecretText> {
    let text = shared.read_secret(flag, path)?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.into()),
        _ => bail!("{flag} {}: its first line is empty", path.display()),
    }
}

fn capitalized(sentence: &str) -> String {
    let first = sentence.chars().next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(sentence.chars().skip(1)).collect()
}

/// A number that no other start has, as good as certainly.
fn node() -> anyhow::Result<u32> {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(u32::from_ne_bytes(bytes)),
        Err(error) => bail!("the system has no random bytes: {error}"),
    }
}
