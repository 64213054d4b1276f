//! Creates the stream, or checks the configuration of an existing one.

use std::error::Error;
use std::time::Duration;

use async_nats::jetstream::context::{
    CreateStreamErrorKind, GetStreamErrorKind, RequestError, RequestErrorKind,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};

use super::connect::reason;
use super::error::DriverError;
use super::options::NatsOptions;
use super::options::StreamNames;
use super::version;

/// The time for which the server remembers message ids. It is longer than the time for which a node
/// holds lines back.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The differences between the configuration of a stream and the wanted one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ConfigDifferences {
    /// Differences that make the stream unusable for a chat.
    pub(super) fatal: Vec<String>,
    /// Differences with which a chat still works.
    pub(super) harmless: Vec<String>,
}

/// Returns the wanted configuration.
pub(super) fn wanted(options: &NatsOptions, names: &StreamNames) -> Config {
    Config {
        name: names.stream.clone(),
        subjects: vec![names.entry_subject.clone()],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: usize::from(options.replicas.max(1)),
        max_messages: i64::try_from(options.max_entries).unwrap_or(i64::MAX),
        max_bytes: i64::try_from(options.max_bytes).unwrap_or(i64::MAX),
        // A limit per subject or on the age would cause gaps between entries.
        max_messages_per_subject: -1,
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        description: Some("The order of an echoline chat".to_owned()),
        ..Config::default()
    }
}

/// Returns the stream. Creates it if it does not exist. Refuses a stream that cannot be used, and
/// refuses several replicas if `version` is too old for them.
pub(super) async fn open_or_create(
    jetstream: &Context,
    version: &str,
    options: &NatsOptions,
    names: &StreamNames,
) -> Result<Info, DriverError> {
    version::check_replicas(version, &names.stream, options.replicas.into())?;
    let info = match look_up(jetstream, names).await? {
        Some(info) => info,
        None => create(jetstream, wanted(options, names), names).await?,
    };
    version::check_replicas(version, &names.stream, info.config.num_replicas)?;
    let differences = differences(&wanted(options, names), &info.config);
    if !differences.fatal.is_empty() {
        let differences = differences.fatal.join(", ");
        return Err(DriverError::Settings { stream: names.stream.clone(), differences });
    }
    Ok(info)
}

/// Logs the harmless differences.
pub(super) fn warn(info: &Info, options: &NatsOptions, names: &StreamNames) {
    for difference in differences(&wanted(options, names), &info.config).harmless {
        tracing::warn!("the stream {} has other settings: {difference}", names.stream);
    }
}

/// Returns the stream, if it exists.
pub(super) async fn look_up(
    jetstream: &Context,
    names: &StreamNames,
) -> Result<Option<Info>, DriverError> {
    match jetstream.get_stream(&names.stream).await {
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

/// Creates a stream. If another node has just created it, returns that stream.
pub(super) async fn create(
    jetstream: &Context,
    config: Config,
    names: &StreamNames,
) -> Result<Info, DriverError> {
    let name = config.name.clone();
    match jetstream.create_stream(config).await {
        Ok(stream) => {
            tracing::info!("created the stream {name}");
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

fn refused(code: ErrorCode, reason: String, names: &StreamNames) -> DriverError {
    match code {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            DriverError::NoJetStream { servers: names.servers.clone() }
        }
        _ => DriverError::Stream { stream: names.stream.clone(), reason },
    }
}

/// Converts the error of a request that got no answer. If JetStream is not enabled, the request has
/// no responder.
fn without_answer(error: &dyn Error, names: &StreamNames) -> DriverError {
    let below = error.source().and_then(|below| below.downcast_ref::<RequestError>());
    if below.is_some_and(|below| below.kind() == RequestErrorKind::NoResponders) {
        return DriverError::NoJetStream { servers: names.servers.clone() };
    }
    DriverError::Stream { stream: names.stream.clone(), reason: reason(error) }
}

/// Compares the actual configuration `is` with the configuration `wanted`.
pub(super) fn differences(wanted: &Config, is: &Config) -> ConfigDifferences {
    let mut found = ConfigDifferences::default();
    let mut fatal = |holds: bool, sentence: String| {
        if holds {
            found.fatal.push(sentence);
        }
    };
    let subjects = is.subjects.join(" ");
    fatal(is.subjects != wanted.subjects, format!("it takes the subjects '{subjects}'"));
    fatal(is.retention != wanted.retention, "it drops entries that were read".to_owned());
    fatal(is.discard != wanted.discard, "it refuses new entries when it is full".to_owned());
    fatal(!is.max_age.is_zero(), format!("it drops entries after {:?}", is.max_age));
    fatal(
        is.max_messages_per_subject > 0,
        format!("it keeps only {} messages of a subject", is.max_messages_per_subject),
    );
    fatal(is.duplicate_window.is_zero(), "it does not detect duplicates".to_owned());
    fatal(is.no_ack, "it acknowledges nothing".to_owned());
    fatal(is.sealed, "it is sealed".to_owned());
    fatal(
        is.mirror.is_some() || is.sources.as_ref().is_some_and(|sources| !sources.is_empty()),
        "it copies other streams".to_owned(),
    );
    let mut harmless = |differs: bool, sentence: String| {
        if differs {
            found.harmless.push(sentence);
        }
    };
    let (window, needed) = (is.duplicate_window, wanted.duplicate_window);
    harmless(
        !window.is_zero() && window < needed,
        format!("it detects duplicates for {window:?} only"),
    );
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
        wanted(&options, &StreamNames::of(&options).unwrap())
    }

    #[test]
    fn distinguishes_fatal_from_harmless_differences() {
        assert_eq!(differences(&config(), &config()), ConfigDifferences::default());
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
