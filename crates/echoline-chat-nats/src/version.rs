//! Known defects of server versions.

use super::error::DriverError;

/// A version such as `2.9.10`, as three numbers.
pub(super) type ServerVersion = (u32, u32, u32);

/// The first version without a known defect that concerns a stream with one replica.
pub(super) const RECOMMENDED: ServerVersion = (2, 9, 21);

/// The first version for which several replicas are accepted. In 2.9.10, replicas lose acknowledged
/// entries and differ from each other if servers are killed (docs/reliability.md). Versions between
/// these two were not tested.
const REPLICATES: ServerVersion = (2, 10, 26);

/// A defect, and the first version that does not have it.
struct KnownDefect {
    without: ServerVersion,
    sentence: &'static str,
}

const DEFECTS: &[KnownDefect] = &[
    KnownDefect {
        without: (2, 9, 21),
        sentence: "in a cluster, two clients may both succeed with a compare-and-set; a chat does \
                   not use it, other programs at this server may",
    },
    KnownDefect {
        without: (2, 10, 0),
        sentence: "newer settings of streams and consumers are silently ignored; a chat uses none \
                   of them",
    },
    KnownDefect {
        without: (u32::MAX, 0, 0),
        sentence: "acknowledged entries reach the disk up to two minutes later: a power failure \
                   of all servers that keep the stream can lose the last lines",
    },
];

/// Parses a version. Returns `None` for a development build.
pub(super) fn parse(text: &str) -> Option<ServerVersion> {
    let mut numbers = text.trim_start_matches('v').split(['.', '-']).map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

/// Returns the known defects of this version, as sentences.
pub(super) fn defects(version: ServerVersion) -> impl Iterator<Item = &'static str> {
    DEFECTS.iter().filter(move |defect| version < defect.without).map(|defect| defect.sentence)
}

/// Refuses several replicas of a stream on servers older than [`REPLICATES`].
///
/// # Errors
/// [`DriverError::OldServers`] if there are several replicas and the server is too old.
pub(super) fn check_replicas(
    version: &str,
    stream: &str,
    replicas: usize,
) -> Result<(), DriverError> {
    let is_old = parse(version).is_some_and(|version| version < REPLICATES);
    if is_old && replicas > 1 {
        let (stream, version) = (stream.to_owned(), version.to_owned());
        return Err(DriverError::OldServers { stream, version, replicas });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_replicas_need_a_newer_server() {
        for version in ["2.9.10", "2.10.25"] {
            let error = check_replicas(version, "ECHOLINE_tea", 3).unwrap_err();
            assert!(error.is_final());
            let sentence = error.to_string();
            for words in ["3 replicas of the stream ECHOLINE_tea", version, "2.10.26 or newer"] {
                assert!(sentence.contains(words), "{sentence}");
            }
        }
        for (version, replicas) in [("2.9.10", 1), ("2.10.26", 3), ("2.15.1", 3), ("dev", 3)] {
            assert!(check_replicas(version, "ECHOLINE_tea", replicas).is_ok());
        }
    }

    #[test]
    fn an_old_server_has_more_defects() {
        assert_eq!(parse("2.9.10"), Some((2, 9, 10)));
        assert_eq!(parse("v2.11.0-RC.1"), Some((2, 11, 0)));
        assert_eq!(parse("2.9"), None);
        assert_eq!(defects((2, 9, 10)).count(), 3);
        assert_eq!(defects(RECOMMENDED).count(), 2);
        assert_eq!(defects((2, 10, 0)).count(), 1);
    }
}
