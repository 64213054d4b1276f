//! What can be found out about a bus without being on it: for `echoline chat doctor`.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::stream::Info;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout};

use super::super::clock;
use super::connect::{connect, reason};
use super::error::BusError;
use super::names::Names;
use super::options::NatsOptions;
use super::seal::Seal;
use super::shelf::Label;
use super::snapshots::Shelf;
use super::{order, version};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Good to know.
    Note,
    /// Something is to be done.
    Problem,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in one sentence.
    pub sentence: String,
}

/// For everything that is asked of a server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// From this difference on people see lines in an order that their times do not have.
const CLOCKS_APART_MAX_MS: u64 = 2000;
/// A replica that is further behind than this would lose lines if it became the leader.
const LAG_MAX: u64 = 1000;

/// Looks at the servers, the stream and the snapshots, and changes nothing.
///
/// # Errors
/// What is wrong with the options.
pub fn examine(options: &NatsOptions) -> Result<Vec<Finding>, BusError> {
    let names = Names::of(options)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| BusError::Thread { reason: error.to_string() })?;
    let mut findings = Findings::default();
    let seal = Seal::read(options.keys.as_ref())?;
    runtime.block_on(findings.of(options, &names, seal.as_ref()));
    runtime.shutdown_background();
    Ok(findings.0)
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, sentence: impl Into<String>) {
        self.0.push(Finding { severity, sentence: sentence.into() });
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

    async fn of(&mut self, options: &NatsOptions, names: &Names, seal: Option<&Seal>) {
        if let Some(warning) = names.warning(options) {
            self.note(warning);
        }
        let mut reached = None;
        for (address, shown) in options.servers.reveal().split(',').zip(names.servers.split(',')) {
            let options = NatsOptions { servers: address.into(), ..options.clone() };
            let names = Names { servers: shown.to_owned(), ..names.clone() };
            match timeout(ANSWER_TIMEOUT, connect(&options, &names)).await {
                Ok(Ok((client, _))) => {
                    self.server(&client, shown).await;
                    reached.get_or_insert(client);
                }
                Ok(Err(BusError::Unreachable { reason, .. })) => {
                    self.problem(format!("no NATS server answers at {shown}: {reason}"));
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
        match order::look(&jetstream, names).await {
            Ok(Some(info)) => {
                self.settings(options, names, &info);
                self.state(names, &info);
                self.replicas(&version, &info);
                self.snapshots(&jetstream, names, &info, seal).await;
                self.clock(&jetstream, names).await;
            }
            Ok(None) => {
                self.note(format!("there is no stream {} yet: a chat makes it", names.order));
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
            Err(reason) => self.problem(format!("the server at {shown} is mute: {reason}")),
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

    /// Whether streams can be used at all. The client's own type for the answer has fields that
    /// NATS 2.9 does not send.
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
                    "JetStream is not there ({reason}): start the server with 'nats-server -js'"
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

    fn settings(&mut self, options: &NatsOptions, names: &Names, info: &Info) {
        let order = &names.order;
        let found = order::differences(&order::wanted(options, names), &info.config);
        if found.fatal.is_empty() && found.harmless.is_empty() {
            self.fine(format!("the stream {order} is as it should be"));
        }
        for difference in found.fatal {
            self.problem(format!("the stream {order} is no order of a chat: {difference}"));
        }
        for difference in found.harmless {
            self.note(format!("the stream {order} is not as it would be made: {difference}"));
        }
    }

    fn state(&mut self, names: &Names, info: &Info) {
        let state = &info.state;
        self.fine(format!(
            "the stream {} has entries {} to {}, {} KiB",
            names.order,
            state.first_sequence,
            state.last_sequence,
            state.bytes >> 10
        ));
        if state.deleted_count.unwrap_or_default() > 0 {
            self.problem(format!(
                "entries were deleted from the middle of {}: machines that start now cannot read \
                 past them",
                names.order
            ));
        }
    }

    fn replicas(&mut self, version: &str, info: &Info) {
        if let Some(sentence) = version::replication(version, info.config.num_replicas) {
            self.problem(format!("the stream {}: {sentence}", info.config.name));
        }
        let Some(cluster) = &info.cluster else { return };
        match &cluster.leader {
            Some(leader) => self.fine(format!("the stream is led by {leader}")),
            None => self.problem("the stream has no leader: nothing can be written"),
        }
        for replica in &cluster.replicas {
            let (name, lag) = (&replica.name, replica.lag.unwrap_or_default());
            if replica.offline {
                self.problem(format!("the replica at {name} is away"));
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
        names: &Names,
        info: &Info,
        seal: Option<&Seal>,
    ) {
        let first = info.state.first_sequence;
        let labels = match Shelf::of(jetstream, names).await {
            Ok(shelf) => shelf.labels(seal).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let created_ns = info.created.unix_timestamp_nanos();
        let ours = |label: &&Label| label.created_ns == created_ns;
        let sequences = || labels.iter().filter(ours).map(|label| label.sequence);
        let reach = sequences().any(|sequence| sequence.saturating_add(1) >= first);
        match (sequences().min(), sequences().max()) {
            (Some(oldest), Some(newest)) if reach || first <= 1 => self.fine(format!(
                "{} snapshot(s), from entry {oldest} to entry {newest}",
                sequences().count()
            )),
            _ if first <= 1 => self.fine("no snapshot yet, and none needed: all entries are there"),
            _ => self.problem(format!(
                "no snapshot reaches entry {first}, where the stream begins: a machine that starts \
                 now has nothing to begin with"
            )),
        }
    }

    /// By a consumer, whose birth the server tells: the stream's times are those of the past.
    async fn clock(&mut self, jetstream: &Context, names: &Names) {
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: ANSWER_TIMEOUT,
            ..pull::Config::default()
        };
        let before_ms = clock::now_ms();
        let made = jetstream.create_consumer_on_stream(config, names.order.as_str()).await;
        let after_ms = clock::now_ms();
        let consumer = match made {
            Ok(consumer) => consumer,
            Err(error) => {
                return self.problem(format!("the stream cannot be read: {}", reason(&error)));
            }
        };
        let info = consumer.cached_info();
        let at_ms = u64::try_from(info.created.unix_timestamp_nanos() / 1_000_000);
        let at_ms = at_ms.unwrap_or_default();
        // Whatever lies between question and answer is no difference.
        let apart_ms = before_ms.saturating_sub(at_ms).max(at_ms.saturating_sub(after_ms));
        if apart_ms > CLOCKS_APART_MAX_MS {
            self.problem(format!(
                "the server's clock and this machine's are {:.1} s apart: set them by NTP",
                apart_ms as f64 / 1000.0
            ));
        } else {
            self.fine(format!("the server's clock and this machine's agree to {apart_ms} ms"));
        }
        // It would go away by itself a little later.
        let _ = jetstream.delete_consumer_from_stream(&info.name, names.order.as_str()).await;
    }
}

/// A message to ourselves.
async fn round_trip(client: &Client) -> Result<Duration, String> {
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await.map_err(|error| reason(&error))?;
    // The first is on the way together with the subscription.
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
