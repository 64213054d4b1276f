//! `echoline chat --bus`: the flags of a cluster, and a chat that is a node of a cluster.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use crate::admin::ExtraMetric;
use crate::config;
use crate::files::shared_files::SharedFilesArgs;
use crate::usage_error::UsageError;
use crate::values;
use echoline_base::SecretText;
use echoline_base::secret::without_login;
use echoline_chat::{Chat, ChatSettings, ClusterOptions, ClusterStatus};
use echoline_chat_nats::{
    self, ClusterFinding, DriverError, DriverStatus, NatsIdentity, NatsOptions, Severity,
    StreamDriver,
};

/// The time that a shutdown waits until the other nodes have received its notice.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// The flags of a node.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clustering (--bus)")]
pub(crate) struct ClusterArgs {
    /// NATS servers that connect the nodes of a cluster.
    ///
    /// For example nats://10.0.0.1:4222,nats://10.0.0.2:4222. tls:// requires encryption. All nodes
    /// with the same servers and the same --cluster are one chat. The servers need JetStream
    /// (`nats-server -js`). Put a password into the file of --bus-login.
    #[arg(long, env = "ECHOLINE_BUS", value_name = "URL", hide_env_values = true)]
    bus: Option<SecretText>,

    #[command(flatten)]
    stream: StreamArgs,

    /// Name of this node that users see [default: the host name].
    #[arg(long, alias = "machine", env = "ECHOLINE_NODE", value_name = "NAME", requires = "bus")]
    node: Option<NodeName>,

    /// Time limit for the start of the node, which reads the entries of the stream.
    #[arg(long, env = "ECHOLINE_BUS_TIMEOUT", value_name = "TIME", requires = "bus")]
    #[arg(value_parser = values::some_duration, default_value = "30s")]
    bus_timeout: Duration,

    /// Number of entries that a new stream keeps.
    ///
    /// A node that missed more entries continues from a snapshot. The limit also applies to the
    /// history after a restart.
    #[arg(long, env = "ECHOLINE_BUS_ENTRIES", value_name = "N", default_value = "200000")]
    #[arg(value_parser = |text: &str| values::number_in(text, 1000..=1_000_000_000_u64))]
    bus_entries: u64,
}

/// The flags of the stream.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clustering (--bus)")]
pub(crate) struct StreamArgs {
    /// Name of the cluster [default: chat].
    ///
    /// The same NATS servers can connect several clusters.
    #[arg(long, env = "ECHOLINE_CLUSTER", value_name = "NAME")]
    cluster: Option<String>,

    /// Number of replicas of a new stream.
    ///
    /// More than 1 needs NATS 2.10.26 or newer.
    #[arg(long, env = "ECHOLINE_BUS_REPLICAS", value_name = "N", default_value = "1")]
    #[arg(value_parser = |text: &str| values::number_in(text, 1..=5_u8))]
    bus_replicas: u8,

    /// Credentials file for the NATS servers, as `nsc` writes it.
    #[arg(long, env = "ECHOLINE_BUS_CREDENTIALS", value_name = "FILE")]
    bus_credentials: Option<PathBuf>,

    /// File whose first line is USER:PASSWORD or a token for the NATS servers.
    #[arg(long, env = "ECHOLINE_BUS_LOGIN", value_name = "FILE")]
    bus_login: Option<PathBuf>,

    /// File with the key of the cluster, the same on all nodes.
    ///
    /// A node ignores messages without a tag of this key. Create a key with `openssl rand -hex 32`.
    #[arg(long, env = "ECHOLINE_CLUSTER_KEY", value_name = "FILE")]
    cluster_key: Option<PathBuf>,

    /// Trusted authorities of the NATS servers (PEM) [default: the system's].
    #[arg(long, env = "ECHOLINE_BUS_CA", value_name = "FILE")]
    bus_ca: Option<PathBuf>,

    /// Client certificate for NATS servers that require one (PEM).
    #[arg(long, env = "ECHOLINE_BUS_CERT", value_name = "FILE")]
    bus_cert: Option<PathBuf>,

    /// Private key of --bus-cert (PEM) [default: same file].
    #[arg(long, env = "ECHOLINE_BUS_KEY", value_name = "FILE", requires = "bus_cert")]
    bus_key: Option<PathBuf>,
}

/// The name of a node that users see.
#[derive(Clone, Debug)]
struct NodeName(String);

impl FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > 64 || !text.chars().all(is_fine) {
            return Err("write 1 to 64 letters, digits, '.', '_' or '-', for example east-1".into());
        }
        Ok(Self(text.to_owned()))
    }
}

/// A chat that is a node of a cluster.
#[derive(Debug)]
pub(crate) struct ClusteredChat {
    chat: Arc<Chat>,
    driver: Arc<StreamDriver>,
}

impl StreamArgs {
    /// Returns an error of the driver that names the flag of its file, or the error itself.
    pub(crate) fn name_flag(&self, error: DriverError) -> anyhow::Error {
        let named = |path: PathBuf| {
            let flag = self.files().find(|(_, file)| *file == path);
            flag.map_or(path.clone(), |(flag, _)| format!("{flag} {}", path.display()).into())
        };
        let file = match &error {
            DriverError::KeyFile => self.cluster_key.as_ref().map(|path| ("--cluster-key", path)),
            DriverError::Logins => self.bus_login.as_ref().map(|path| ("--bus-login", path)),
            _ => None,
        };
        let error = match error {
            DriverError::Name { .. } | DriverError::Servers { .. } => {
                return UsageError::new(error.to_string()).into();
            }
            error => error,
        };
        let error = anyhow::Error::from(match error {
            DriverError::Certificates { path, reason } => {
                DriverError::Certificates { path: named(path), reason }
            }
            DriverError::Credentials { path, reason } => {
                DriverError::Credentials { path: named(path), reason }
            }
            error => error,
        });
        match file {
            Some((flag, path)) => error.context(format!("{flag} {}", path.display())),
            None => error,
        }
    }

    /// Returns the files, each with its flag.
    fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [
            ("--bus-ca", &self.bus_ca),
            ("--bus-cert", &self.bus_cert),
            ("--bus-key", &self.bus_key),
            ("--bus-credentials", &self.bus_credentials),
            ("--bus-login", &self.bus_login),
            ("--cluster-key", &self.cluster_key),
        ];
        files.into_iter().filter_map(|(flag, path)| Some((flag, path.as_deref()?)))
    }

    fn cluster(&self) -> &str {
        self.cluster.as_deref().unwrap_or("chat")
    }

    pub(crate) fn options(
        &self,
        servers: &SecretText,
        shared: &SharedFilesArgs,
    ) -> anyhow::Result<NatsOptions> {
        if let Some(path) = &self.bus_credentials {
            shared.check_secret("--bus-credentials", path)?;
        }
        if let Some(cert) = &self.bus_cert {
            shared.check_key(("--bus-key", self.bus_key.as_deref()), ("--bus-cert", cert))?;
        }
        let mut options = NatsOptions::new(servers.clone(), self.cluster());
        options.replicas = self.bus_replicas;
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

impl ClusterArgs {
    /// Returns whether the chat is a node of a cluster.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.bus.is_some()
    }

    /// Returns an error for --cluster and for files of the NATS servers without --bus, because such
    /// a chat would have no other nodes.
    pub(crate) fn refuse_half(&self) -> anyhow::Result<()> {
        if self.bus.is_some() {
            return Ok(());
        }
        // A variable for files may be meant for 'chat doctor' in the same environment.
        let mut files = self.stream.files().filter(|(flag, _)| !config::may_set(&flag[2..]));
        let cluster = self.stream.cluster.as_ref().map(|name| format!("--cluster {name}"));
        let file = || files.next().map(|(flag, path)| format!("{flag} {}", path.display()));
        match cluster.or_else(file) {
            Some(given) => Err(UsageError::new(format!(
                "{given} needs --bus, which names the NATS servers of a cluster"
            ))
            .into()),
            None => Ok(()),
        }
    }

    /// Returns the value of `--bus` if it contains a login.
    pub(crate) fn login(&self) -> Option<&str> {
        let servers = self.bus.as_ref()?.reveal();
        servers.contains('@').then_some(servers)
    }

    fn options(&self, shared: &SharedFilesArgs) -> anyhow::Result<Option<NatsOptions>> {
        let Some(servers) = &self.bus else { return Ok(None) };
        let mut options = self.stream.options(servers, shared)?;
        options.start_timeout = self.bus_timeout;
        options.max_entries = self.bus_entries;
        Ok(Some(options))
    }

    /// Starts the node. Blocks until the chat has applied all entries of the stream.
    pub(crate) fn open(
        &self,
        settings: ChatSettings,
        shared: &SharedFilesArgs,
    ) -> anyhow::Result<Option<ClusteredChat>> {
        let Some(options) = self.options(shared)? else { return Ok(None) };
        if let Some(warning) = command_line_warning(&options.servers) {
            tracing::warn!("{warning}");
        }
        let servers = without_login(options.servers.reveal());
        let cluster = ClusterOptions {
            cluster: self.stream.cluster().to_owned(),
            node_name: self.node_name()?,
            node: node_id()?,
        };
        let (chat, proposals) = Chat::clustered(settings, cluster);
        let driver = echoline_chat_nats::start(options, Arc::<Chat>::clone(&chat), proposals);
        let driver = driver.map_err(|error| {
            let error = self.stream.name_flag(error);
            match error.is::<UsageError>() {
                true => error,
                false => error.context(format!("cannot use --bus {servers}")),
            }
        })?;
        let status = driver.status();
        tracing::info!(
            stream = status.stream,
            entries = status.applied,
            server = status.server_version,
            "joined the cluster at {servers}"
        );
        Ok(Some(ClusteredChat { chat, driver: Arc::new(driver) }))
    }

    fn node_name(&self) -> anyhow::Result<String> {
        if let Some(NodeName(name)) = &self.node {
            return Ok(name.clone());
        }
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        match name.parse() {
            Ok(NodeName(name)) => Ok(name),
            Err(why) => {
                bail!(
                    "the host name {name:?} cannot be the name of this node ({why}): add --node \
                     NAME"
                )
            }
        }
    }

    /// Examines servers and stream for `--check`, and describes them in sentences.
    pub(crate) fn describe(&self, shared: &SharedFilesArgs) -> anyhow::Result<Vec<String>> {
        let Some(options) = self.options(shared)? else { return Ok(Vec::new()) };
        let findings = echoline_chat_nats::examine(&options);
        let findings = findings.map_err(|error| self.stream.name_flag(error))?;
        if let Some(problem) = findings.iter().find(|f| f.severity == Severity::Problem) {
            let servers = without_login(options.servers.reveal());
            bail!("--bus {servers}: {}", problem.sentence);
        }
        let ClusterFinding { sentence, .. } =
            findings.into_iter().next().unwrap_or(ClusterFinding {
                severity: Severity::Fine,
                sentence: "The servers were examined.".to_owned(),
            });
        let mut sentences = vec![
            format!("This node joins the cluster {}.", self.stream.cluster()),
            format!("{}.", capitalized(sentence.trim_end_matches('.'))),
        ];
        let warning = command_line_warning(&options.servers);
        sentences.extend(warning.map(|warning| format!("{}.", capitalized(warning))));
        Ok(sentences)
    }
}

impl ClusteredChat {
    pub(crate) fn chat(&self) -> Arc<Chat> {
        Arc::clone(&self.chat)
    }

    /// Returns a function that reads the metrics of the cluster.
    pub(crate) fn figures(&self) -> impl Fn() -> Vec<ExtraMetric> + Send + Sync + 'static {
        let (chat, driver) = (Arc::downgrade(&self.chat), Arc::downgrade(&self.driver));
        move || {
            let (Some(chat), Some(driver)) = (chat.upgrade(), driver.upgrade()) else {
                return Vec::new();
            };
            let Some(chat) = chat.cluster_status() else { return Vec::new() };
            let mut figures = chat_figures(&chat);
            figures.extend(driver_figures(&driver.status()));
            figures
        }
    }

    /// Tells the other nodes that this one stops, and closes the driver.
    pub(crate) fn leave(self) {
        let Self { chat, driver } = self;
        if !chat.take_leave(LEAVE_TIMEOUT) {
            tracing::warn!(
                "the other nodes do not know that this node stops; they remove it when its lease \
                 expires"
            );
        }
        if let Some(driver) = Arc::into_inner(driver) {
            driver.close();
        }
    }
}

fn chat_figures(chat: &ClusterStatus) -> Vec<ExtraMetric> {
    let (gauge, counter) = (ExtraMetric::gauge, ExtraMetric::counter);
    #[rustfmt::skip]
    let figures = vec![
        gauge("echoline_cluster_linked",
            "1 while the node can read the stream and append to it.", u64::from(chat.is_linked)),
        gauge("echoline_cluster_machines",
            "Nodes whose lease has not expired, this one included.", chat.nodes.len() as u64),
        gauge("echoline_cluster_applied_entry",
            "The last applied entry of the stream.", chat.applied),
        gauge("echoline_cluster_held_lines",
            "Lines of this node's users that are not in the stream yet.", chat.held),
        counter("echoline_cluster_entries_total",
            "Applied entries of the stream.", chat.entries),
        counter("echoline_cluster_unreadable_total",
            "Skipped entries: malformed, refused, or of a newer version.", chat.unreadable),
        counter("echoline_cluster_not_delivered_lines_total",
            "Lines whose authors were told that they were not delivered.", chat.not_delivered),
        counter("echoline_cluster_link_losses_total",
            "Times that the link to the other nodes was lost.", chat.losses),
        counter("echoline_cluster_returns_total",
            "Times that the lease of this node expired and the node came back.", chat.returns),
        counter("echoline_cluster_gaps_total",
            "Times that this node continued from a snapshot, and missed lines.", chat.gaps),
    ];
    figures
}

fn driver_figures(driver: &DriverStatus) -> Vec<ExtraMetric> {
    let counter = ExtraMetric::counter;
    #[rustfmt::skip]
    let figures = vec![
        counter("echoline_bus_publishes_total",
            "Publishes of proposals, retries included.", driver.publishes),
        counter("echoline_bus_retries_total",
            "Retries of publishes.", driver.retries),
        counter("echoline_bus_slow_consumer_total",
            "Times that the NATS client dropped entries, which were read again.",
            driver.slow_consumers),
        counter("echoline_bus_restarts_total",
            "Times that the driver of the stream started over after an error.", driver.restarts),
        counter("echoline_bus_snapshots_total",
            "Snapshots that this node has written.", driver.snapshots),
        counter("echoline_bus_refused_total",
            "Messages without a valid tag of the cluster's key.", driver.refused),
        counter("echoline_bus_divergences_total",
            "Times that this node was reset, because its entries differed from the stream's.",
            driver.divergences),
    ];
    figures
}

/// Returns a warning if the login of the NATS servers is on the command line, because the process
/// list shows it to every user.
pub(crate) fn command_line_warning(servers: &SecretText) -> Option<&'static str> {
    let servers = servers.reveal();
    let contains = |argument: OsString| argument.to_string_lossy().contains(servers);
    (servers.contains('@') && std::env::args_os().any(contains)).then_some(
        "the login of the NATS servers is on the command line, where every user of this host \
         can read it (ps): put it into a file for --bus-login, or set ECHOLINE_BUS",
    )
}

/// Reads the first line of a file with a secret.
fn first_line(flag: &str, path: &Path, shared: &SharedFilesArgs) -> anyhow::Result<SecretText> {
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

/// Returns a random node id, which is practically unique.
fn node_id() -> anyhow::Result<u32> {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(u32::from_ne_bytes(bytes)),
        Err(error) => bail!("the system has no random bytes: {error}"),
    }
}
