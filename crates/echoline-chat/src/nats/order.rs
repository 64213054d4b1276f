//! The stream that is the order: made where it is missing, and checked where it is there.

use std::error::Error;
use std::time::Duration;

use async_nats::jetstream::context::{
    CreateStreamErrorKind, GetStreamErrorKind, RequestError, RequestErrorKind,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};

use super::connect::reason;
use super::error::BusError;
use super::names::Names;
use super::options::NatsOptions;
use super::version;

/// How long the server knows a message id: longer than a chat holds a line.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// What a stream has that is not as it was wanted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// With these it is no order of a chat.
    pub(super) fatal: Vec<String>,
    /// With these it is one.
    pub(super) harmless: Vec<String>,
}

/// The stream as it is wanted.
pub(super) fn wanted(options: &NatsOptions, names: &Names) -> Config {
    Config {
        name: names.order.clone(),
        subjects: vec![names.order_subject.clone()],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: usize::from(options.replicas.max(1)),
        max_messages: i64::try_from(options.max_entries).unwrap_or(i64::MAX),
        max_bytes: i64::try_from(options.max_bytes).unwrap_or(i64::MAX),
        // Bounds of each subject or of age would leave holes between the entries.
        max_messages_per_subject: -1,
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        description: Some("The order of an echoline chat".to_owned()),
        ..Config::default()
    }
}

/// The stream as it is; made if it is not there.
pub(super) async fn open(
    jetstream: &Context,
    options: &NatsOptions,
    names: &Names,
) -> Result<Info, BusError> {
    let info = match look(jetstream, names).await? {
        Some(info) => info,
        None => create(jetstream, wanted(options, names), names).await?,
    };
    let differences = differences(&wanted(options, names), &info.config);
    if !differences.fatal.is_empty() {
        let differences = differences.fatal.join(", ");
        return Err(BusError::Settings { stream: names.order.clone(), differences });
    }
    Ok(info)
}

/// Says what is not as it was wanted and can be lived with.
pub(super) fn warn(info: &Info, version: &str, options: &NatsOptions, names: &Names) {
    if let Some(sentence) = version::replication(version, info.config.num_replicas) {
        tracing::warn!("the stream {}: {sentence}", names.order);
    }
    for difference in differences(&wanted(options, names), &info.config).harmless {
        tracing::warn!("the stream {} was made by other settings: {difference}", names.order);
    }
}

/// The stream as it is, if it is there.
pub(super) async fn look(jetstream: &Context, names: &Names) -> Result<Option<Info>, BusError> {
    match jetstream.get_stream(&names.order).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) => match error.error_code() {
                ErrorCode::STREAM_NOT_FOUND => Ok(None),
                code => Err(refused(code, error.to_string(), names)),
            },
            _ => Err(without_answer(&error, names)),
        },
    }
}

/// Another machine may make it at the same moment: then it is there, which is what was wanted.
pub(super) async fn create(
    jetstream: &Context,
    config: Config,
    names: &Names,
) -> Result<Info, BusError> {
    let name = config.name.clone();
    match jetstream.create_stream(config).await {
        Ok(stream) => {
            tracing::info!("made the stream {name}");
            Ok(stream.cached_info().clone())
        }
        Err(error) => match error.kind() {
            CreateStreamErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::STREAM_NAME_EXIST =>
            {
                let stream = jetstream.get_stream(&name).await;
                let stream = stream.map_err(|error| without_answer(&error, names))?;
                Ok(stream.cached_info().clone())
            }
            CreateStreamErrorKind::JetStream(error) => {
                Err(refused(error.error_code(), error.to_string(), names))
            }
            _ => Err(without_answer(&error, names)),
        },
    }
}

fn refused(code: ErrorCode, reason: String, names: &Names) -> BusError {
    match code {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            BusError::NoJetStream { servers: names.servers.clone() }
        }
        _ => BusError::Stream { stream: names.order.clone(), reason },
    }
}

/// A server without JetStream has nobody who answers questions about streams.
fn without_answer(error: &dyn Error, names: &Names) -> BusError {
    let below = error.source().and_then(|below| below.downcast_ref::<RequestError>());
    if below.is_some_and(|below| below.kind() == RequestErrorKind::NoResponders) {
        return BusError::NoJetStream { servers: names.servers.clone() };
    }
    BusError::Stream { stream: names.order.clone(), reason: reason(error) }
}

/// Compares what the server took with what is needed.
pub(super) fn differences(wanted: &Config, is: &Config) -> Differences {
    let mut found = Differences::default();
    let mut fatal = |holds: bool, sentence: String| {
        if holds {
            found.fatal.push(sentence);
        }
    };
    let subjects = is.subjects.join(" ");
    fatal(is.subjects != wanted.subjects, format!("it takes the subjects '{subjects}'"));
    fatal(is.retention != wanted.retention, "it does not keep what was read".to_owned());
    fatal(is.discard != wanted.discard, "it refuses new entries when it is full".to_owned());
    fatal(!is.max_age.is_zero(), format!("it forgets entries after {:?}", is.max_age));
    fatal(
        is.max_messages_per_subject > 0,
        format!("it keeps only {} messages of a subject", is.max_messages_per_subject),
    );
    fatal(is.duplicate_window.is_zero(), "it does not know duplicates".to_owned());
    fatal(is.no_ack, "it acknowledges nothing".to_owned());
    fatal(is.sealed, "it is sealed".to_owned());
    fatal(
        is.mirror.is_some() || is.sources.as_ref().is_some_and(|sources| !sources.is_empty()),
        "it is fed by other streams".to_owned(),
    );
    let mut harmless = |differs: bool, sentence: String| {
        if differs {
            found.harmless.push(sentence);
        }
    };
    let (window, needed) = (is.duplicate_window, wanted.duplicate_window);
    harmless(!window.is_zero() && window < needed, format!("it knows duplicates for {window:?}"));
    harmless(is.storage != wanted.storage, "it is kept in memory only".to_owned());
    for (what, is, wanted) in [
        ("entries", is.max_messages, wanted.max_messages),
        ("bytes", is.max_bytes, wanted.max_bytes),
        ("replicas", is.num_replicas as i64, wanted.num_replicas as i64),
    ] {
        let bound = if is < 0 { "any number of".to_owned() } else { is.to_string() };
        harmless(is != wanted, format!("it has {bound} {what} and not {wanted}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let options = NatsOptions::new("nats://a", "tea");
        wanted(&options, &Names::of(&options).unwrap())
    }

    #[test]
    fn what_would_break_the_order_is_told_from_what_would_not() {
        assert_eq!(differences(&config(), &config()), Differences::default());
        let breaks: [fn(&mut Config); 6] = [
            |config| config.duplicate_window = Duration::ZERO,
            |config| config.discard = DiscardPolicy::New,
            |config| config.max_age = Duration::from_secs(60),
            |config| config.max_messages_per_subject = 10,
            |config| config.subjects = vec!["echoline.*.order".to_owned()],
            |config| config.retention = RetentionPolicy::WorkQueue,
        ];
        for change in breaks {
            let mut is = config();
            change(&mut is);
            let found = differences(&config(), &is);
            assert_eq!((found.fatal.len(), found.harmless.len()), (1, 0), "{found:?}");
        }
        let is = Config { max_messages: 7, storage: StorageType::Memory, ..config() };
        let found = differences(&config(), &is);
        assert_eq!((found.fatal.len(), found.harmless.len()), (0, 2), "{found:?}");
    }
}
