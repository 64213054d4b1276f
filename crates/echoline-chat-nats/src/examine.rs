//! Examines the servers and the stream, without joining the cluster. Used by `echoline chat doctor`
//! and `--check`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::stream::Info;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout};

use super::cluster_key::ClusterKey;
use super::connect::{connect, reason};
use super::error::DriverError;
use super::options::NatsOptions;
use super::options::StreamNames;
use super::snapshot_catalog::SnapshotCatalog;
use super::snapshot_label::SnapshotLabel;
use super::{stream, version};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Everything is in order.
    Fine,
    /// The finding is only information.
    Note,
    /// An operator must act.
    Problem,
}

/// One result of [`examine`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFinding {
    /// The severity.
    pub severity: Severity,
    /// The finding in one sentence.
    pub sentence: String,
}

/// The time-out of each request to a server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum acceptable difference between two clocks, in milliseconds. Above it, users see lines
/// whose times are out of order.
const CLOCKS_APART_MAX_MS: u64 = 2000;
/// A replica that is behind by more operations than this gets a note.
const LAG_MAX: u64 = 1000;

/// Examines the servers, the stream and the snapshots, without changing anything.
///
/// # Errors
/// [`DriverError`] if the options are invalid.
pub fn examine(options: &NatsOptions) -> Result<Vec<ClusterFinding>, DriverError> {
    let names = StreamNames::of(options)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| DriverError::Thread { reason: error.to_string() })?;
    let mut findings = ClusterFindings::default();
    let key = ClusterKey::read(options.keys.as_ref())?;
    runtime.block_on(findings.examine(options, &names, key.as_ref()));
    runtime.shutdown_background();
    Ok(findings.0)
}

#[derive(Debug, Default)]
struct ClusterFindings(Vec<ClusterFinding>);

impl ClusterFindings {
    fn add(&mut self, severity: Severity, sentence: impl Into<String>) {
        self.0.push(ClusterFinding { severity, sentence: sentence.into() });
    }

    fn fine(&mut self, sentence: impl Into<String>) {
        self.add(Severity::Fine, sentence);
    }

    fn note(&mut self, sentence: impl Into<String>) {
        self.add(Severity::Note, sentence);
    }

    fn problem(&mut self, sentence: impl Into<String>) {
        self.add(Severity::Problem, sentence);
    }

    async fn examine(
        &mut self,
        options: &NatsOptions,
        names: &StreamNames,
        key: Option<&ClusterKey>,
    ) {
        if let Some(warning) = names.warning(options) {
            self.note(warning);
        }
        let mut reached = None;
        for (address, shown) in options.servers.reveal().split(',').zip(names.servers.split(',')) {
            let options = NatsOptions { servers: address.into(), ..options.clone() };
            let names = StreamNames { servers: shown.to_owned(), ..names.clone() };
            match timeout(ANSWER_TIMEOUT, connect(&options, &names)).await {
                Ok(Ok((client, _))) => {
                    self.server(&client, shown).await;
                    reached.get_or_insert(client);
                }
                Ok(Err(DriverError::Unreachable { reason, .. })) => {
                    self.problem(format!(
                        "no NATS server answers at {shown}: {reason}; start one with 'nats-server \
                         -js', or give another address"
                    ));
                }
                Ok(Err(error)) => self.problem(error.to_string()),
                Err(_) => self.problem(format!("the server at {shown} does not answer in time")),
            }
        }
        let Some(client) = reached else { return };
        let version = client.server_info().version;
        let jetstream = async_nats::jetstream::new(client);
        if !self.account(&jetstream).await {
            return;
        }
        let found = stream::look_up(&jetstream, names).await;
        let existing = found.as_ref().ok().and_then(Option::as_ref);
        let existing = existing.map_or(0, |info| info.config.num_replicas);
        let replicas = existing.max(options.replicas.into());
        if let Err(error) = version::check_replicas(&version, &names.stream, replicas) {
            self.problem(error.to_string());
        }
        match found {
            Ok(Some(info)) => {
                self.settings(options, names, &info);
                self.state(names, &info);
                self.replicas(&info);
                self.snapshots(&jetstream, names, &info, key).await;
                self.clock(&jetstream, names).await;
            }
            Ok(None) => {
                self.note(format!("there is no stream {} yet: a chat creates it", names.stream));
            }
            Err(error) => self.problem(error.to_string()),
        }
    }

    async fn server(&mut self, client: &Client, shown: &str) {
        let info = client.server_info();
        match round_trip(client).await {
            Ok(trip) => self.fine(format!(
                "the server at {shown} is NATS {}, {:.1} ms there and back",
                info.version,
                trip.as_secs_f64() * 1000.0
            )),
            Err(reason) => self.problem(format!("the server at {shown} is silent: {reason}")),
        }
        let max_payload = info.max_payload >> 10;
        self.fine(format!("the server at {shown} takes messages up to {max_payload} KiB"));
        let Some(version) = version::parse(&info.version) else {
            return self.note(format!("nothing is known about version '{}'", info.version));
        };
        for sentence in version::defects(version) {
            self.note(format!("NATS {}: {sentence}", info.version));
        }
        if version < version::RECOMMENDED {
            self.note(format!("NATS {} is old: 2.9.21 or newer is better", info.version));
        }
    }

    /// Returns whether the account can use streams. The answer is parsed as plain JSON, because the
    /// client's type requires fields that NATS 2.9 does not send.
    async fn account(&mut self, jetstream: &Context) -> bool {
        let answer: Result<Value, _> = jetstream.request("INFO", &()).await;
        let account = match answer {
            Ok(account) => account,
            Err(error) if error.kind() == RequestErrorKind::TimedOut => {
                self.problem("JetStream does not answer: has its cluster a majority?");
                return false;
            }
            Err(error) => {
                let reason = reason(&error);
                self.problem(format!(
                    "JetStream is not available ({reason}): start the server with 'nats-server -js'"
                ));
                return false;
            }
        };
        if let Some(error) = account["error"]["description"].as_str() {
            self.problem(format!("JetStream cannot be used by this account: {error}"));
            return false;
        }
        let used = account["storage"].as_u64().unwrap_or_default();
        let most = account["limits"]["max_storage"].as_u64();
        let storage = match most {
            Some(bytes) => format!("of {} MiB", bytes >> 20),
            None => "without a limit of the account".to_owned(),
        };
        let streams = account["streams"].as_u64().unwrap_or_default();
        let used_mib = used >> 20;
        self.fine(format!("JetStream has {streams} stream(s) in {used_mib} MiB, {storage}"));
        if most.is_some_and(|most| used / 9 > most / 10) {
            self.problem("the account's storage is nearly full: lines will be refused");
        }
        true
    }

    fn settings(&mut self, options: &NatsOptions, names: &StreamNames, info: &Info) {
        let stream = &names.stream;
        let found = stream::differences(&stream::wanted(options, names), &info.config);
        if found.fatal.is_empty() && found.harmless.is_empty() {
            self.fine(format!("the stream {stream} is as it should be"));
        }
        for difference in found.fatal {
            self.problem(format!("a chat cannot use the stream {stream}: {difference}"));
        }
        for difference in found.harmless {
            self.note(format!("the stream {stream} has other settings: {difference}"));
        }
    }

    fn state(&mut self, names: &StreamNames, info: &Info) {
        let state = &info.state;
        self.fine(format!(
            "the stream {} has entries {} to {}, {} KiB",
            names.stream,
            state.first_sequence,
            state.last_sequence,
            state.bytes >> 10
        ));
        if state.deleted_count.unwrap_or_default() > 0 {
            self.problem(format!(
                "entries were deleted from the middle of {}: nodes that start now cannot read \
                 past them",
                names.stream
            ));
        }
    }

    fn replicas(&mut self, info: &Info) {
        let Some(cluster) = &info.cluster else { return };
        match &cluster.leader {
            Some(leader) => self.fine(format!("the stream is led by {leader}")),
            None => self.problem("the stream has no leader: nothing can be written"),
        }
        for replica in &cluster.replicas {
            let (name, lag) = (&replica.name, replica.lag.unwrap_or_default());
            if replica.offline {
                self.problem(format!("the replica at {name} is offline"));
            } else if !replica.current || lag > LAG_MAX {
                self.note(format!("the replica at {name} is {lag} operations behind"));
            } else {
                self.fine(format!("the replica at {name} is up to date"));
            }
        }
    }

    async fn snapshots(
        &mut self,
        jetstream: &Context,
        names: &StreamNames,
        info: &Info,
        key: Option<&ClusterKey>,
    ) {
        let first = info.state.first_sequence;
        let labels = match SnapshotCatalog::open(jetstream, names).await {
            Ok(catalog) => catalog.labels(key).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let created_ns = info.created.unix_timestamp_nanos();
        let ours = |label: &&SnapshotLabel| label.created_ns == created_ns;
        let sequences = || labels.iter().filter(ours).map(|label| label.sequence);
        let reach = sequences().any(|sequence| sequence.saturating_add(1) >= first);
        match (sequences().min(), sequences().max()) {
            (Some(oldest), Some(newest)) if reach || first <= 1 => self.fine(format!(
                "{} snapshot(s), from entry {oldest} to entry {newest}",
                sequences().count()
            )),
            _ if first <= 1 => {
                self.fine("no snapshot yet, and none needed: the stream has all entries")
            }
            _ => self.problem(format!(
                "no snapshot reaches entry {first}, where the stream begins: a node that starts \
                 now cannot restore the chat"
            )),
        }
    }

    /// Compares the clocks. Creates a consumer for this, because the answer contains the server's
    /// time of the creation.
    async fn clock(&mut self, jetstream: &Context, names: &StreamNames) {
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: ANSWER_TIMEOUT,
            ..pull::Config::default()
        };
        let before_ms = wall_clock_ms();
        let made = jetstream.create_consumer_on_stream(config, names.stream.as_str()).await;
        let after_ms = wall_clock_ms();
        let consumer = match made {
            Ok(consumer) => consumer,
            Err(error) => {
                return self.problem(format!("the stream cannot be read: {}", reason(&error)));
            }
        };
        let info = consumer.cached_info();
        let at_ms = u64::try_from(info.created.unix_timestamp_nanos() / 1_000_000);
        let at_ms = at_ms.unwrap_or_default();
        // A server time between the request and the answer counts as no difference.
        let apart_ms = before_ms.saturating_sub(at_ms).max(at_ms.saturating_sub(after_ms));
        if apart_ms > CLOCKS_APART_MAX_MS {
            self.problem(format!(
                "the server's clock and this host's are {:.1} s apart: set them by NTP",
                apart_ms as f64 / 1000.0
            ));
        } else {
            self.fine(format!("the server's clock and this host's agree to {apart_ms} ms"));
        }
        // If this fails, the server removes the consumer after `inactive_threshold`.
        let _ = jetstream.delete_consumer_from_stream(&info.name, names.stream.as_str()).await;
    }
}

/// Measures the time that a message takes from this client to the server and back.
async fn round_trip(client: &Client) -> Result<Duration, String> {
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await.map_err(|error| reason(&error))?;
    // The second message is measured, because the first one also waits for the subscription.
    let mut trip = Duration::ZERO;
    for _ in 0..2 {
        let since = Instant::now();
        let sent = client.publish(inbox.clone(), "".into()).await;
        sent.map_err(|error| reason(&error))?;
        let heard = timeout(ANSWER_TIMEOUT, echo.next()).await;
        heard.map_err(|_| "it does not answer in time")?.ok_or("it closed the connection")?;
        trip = since.elapsed();
    }
    Ok(trip)
}

/// Returns the current time, in milliseconds since 1970 (UTC).
#[expect(clippy::disallowed_methods, reason = "the wall clock is compared with the server's")]
fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
