//! Which defects a server's version is known to have. Pure.

/// `2.9.10` as numbers.
pub(super) type Version = (u32, u32, u32);

/// The first version that we know nothing bad of that matters.
pub(super) const RECOMMENDED: Version = (2, 9, 21);

/// The first version of which we have seen that streams on several servers come through: 2.9.10
/// loses entries of theirs when servers are killed (docs/reliability.md), those between were not
/// tried.
const REPLICATES: Version = (2, 10, 26);

/// A defect, and the first version without it.
struct Defect {
    without: Version,
    sentence: &'static str,
}

const DEFECTS: &[Defect] = &[
    Defect {
        without: (2, 9, 21),
        sentence: "in a cluster more than one of those who compare and set may win; a chat does \
                   not use it, other programs at this server may",
    },
    Defect {
        without: (2, 10, 0),
        sentence: "newer settings of streams and consumers are ignored without a word; a chat uses \
                   none of them",
    },
    Defect {
        without: (u32::MAX, 0, 0),
        sentence: "what is acknowledged is on the disk up to a minute or two later: a power \
                   failure of all servers that keep the stream can lose the last lines",
    },
];

pub(super) fn parse(text: &str) -> Option<Version> {
    let mut numbers = text.trim_start_matches('v').split(['.', '-']).map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

/// What is known about a server of this version.
pub(super) fn defects(version: Version) -> impl Iterator<Item = &'static str> {
    DEFECTS.iter().filter(move |defect| version < defect.without).map(|defect| defect.sentence)
}

/// What is wrong with a stream that servers of this version keep so many times.
pub(super) fn replication(text: &str, replicas: usize) -> Option<String> {
    let is_old = parse(text).is_some_and(|version| version < REPLICATES);
    (is_old && replicas > 1).then(|| {
        format!(
            "it is kept on {replicas} servers of NATS {text}, which may lose what was acknowledged \
             and differ from each other when they are killed: make it anew with \
             one replica, or take NATS 2.10.26 or newer"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_replicas_need_a_newer_server() {
        assert!(replication("2.9.10", 3).unwrap().contains("on 3 servers of NATS 2.9.10"));
        for (version, replicas) in [("2.9.10", 1), ("2.10.26", 3), ("2.15.1", 3), ("dev", 3)] {
            assert_eq!(replication(version, replicas), None);
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
