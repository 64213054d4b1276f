//! Decides which datagrams are answered. Pure.
//!
//! A datagram's source address may be forged. The answer then goes to a host that did not ask: a
//! victim, this server itself, or another echo server. Two echo servers would answer each other
//! forever (CVE-2024-2169). The guard decides by the known facts about a datagram's origin.

// This code is pure. `core::net` has the types of addresses, but no sockets.
use std::num::NonZeroU32;
use std::time::Duration;

use core::net::{IpAddr, SocketAddr};

use super::bucket::{SourceBuckets, TokenRate};
use crate::sources::token_bucket::TokenBucket;
use echoline_base::source::network;

/// The lowest port that a system assigns to clients. Ports below it usually belong to servers.
const UNPRIVILEGED: u16 = 1024;

/// The mark of answers: six bits (DSCP) in the IP header of every answer. The value 000011 is from
/// the pool that RFC 2474 reserves for local use. A datagram with this mark is an answer, and
/// answering it would create a loop. Routers between networks may clear the mark. Then only the
/// rate per source limits the loop.
const ANSWER_DSCP: u8 = 0b00_0011;

/// The traffic class byte in the IP header of an answer.
pub(super) const ANSWER_MARK: u8 = ANSWER_DSCP << 2;

/// The rules that decide which datagrams are answered, and how many.
///
/// ```
/// use echoline::udp::DatagramRules;
///
/// let rules = DatagramRules { rate: None, ..DatagramRules::default() };
/// assert_eq!(DatagramRules::default().rate.map(|rate| rate.get()), Some(100));
/// # drop(rules);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramRules {
    /// The maximum number of answers per second to one source (IPv6: one /64 network). A burst may
    /// have twice as many. `None` for no limit. Default 100.
    pub rate: Option<NonZeroU32>,
    /// Whether `rate` applies to loopback addresses too. Default [`Loopback::Unlimited`].
    pub loopback: Loopback,
    /// The maximum number of answers per second to all sources together. A burst may have twice as
    /// many. Default `None`.
    pub total_rate: Option<NonZeroU32>,
    /// The source ports that are answered. Default [`SourcePorts::Clients`].
    pub source_ports: SourcePorts,
    /// The maximum length of an answer. Default [`AnswerLength::Request`].
    pub answers: AnswerLength,
}

/// Whether loopback sources, which other hosts cannot forge, have a rate limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loopback {
    /// Loopback sources have no limit.
    #[default]
    Unlimited,
    /// Loopback sources have the same limit as all other sources.
    Limited,
}

/// The source ports that are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourcePorts {
    /// The ports of clients: 1024 and higher, except the ports on which this server listens. A
    /// datagram from such a port is probably the answer of another echo server.
    #[default]
    Clients,
    /// All ports except 0.
    Any,
}

/// The maximum length of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnswerLength {
    /// The length of the request, so that the server does not amplify a flood.
    #[default]
    Request,
    /// No maximum. Attackers can then use the server to flood other hosts.
    Any,
}

impl Default for DatagramRules {
    fn default() -> Self {
        Self {
            rate: NonZeroU32::new(100),
            loopback: Loopback::default(),
            total_rate: None,
            source_ports: SourcePorts::default(),
            answers: AnswerLength::default(),
        }
    }
}

/// The reason why a datagram gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatagramRefusal {
    /// The source is one of this server's own addresses.
    Own,
    /// The datagram has the mark of an answer.
    Answer,
    /// The source port is not a port that clients use.
    Port,
    /// The source or the destination is multicast, broadcast or unspecified.
    Address,
    /// The source has used up its rate limit.
    Rate,
    /// All sources together have used up the total rate limit.
    TotalRate,
    /// The answer would be longer than the datagram.
    Length,
}

impl DatagramRefusal {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Own,
        Self::Answer,
        Self::Port,
        Self::Address,
        Self::Rate,
        Self::TotalRate,
        Self::Length,
    ];

    /// Returns the name of the reason in logs and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Own => "own_address",
            Self::Answer => "answer",
            Self::Port => "source_port",
            Self::Address => "address",
            Self::Rate => "rate",
            Self::TotalRate => "total_rate",
            Self::Length => "longer",
        }
    }
}

/// The facts known about a datagram before its bytes are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DatagramArrival {
    pub(super) source: SocketAddr,
    /// The local address to which the datagram was sent; `None` for multicast and broadcast.
    pub(super) to: Option<IpAddr>,
    /// The traffic class byte of the IP header (DSCP and ECN).
    pub(super) mark: u8,
}

/// The rules and rate limits that decide which datagrams of one socket are answered.
#[derive(Debug)]
pub(super) struct DatagramGuard {
    rules: DatagramRules,
    /// The addresses at which this server receives datagrams.
    own: Vec<SocketAddr>,
    sources: Option<SourceBuckets>,
    total: Option<(TokenRate, TokenBucket)>,
}

impl DatagramGuard {
    pub(super) fn new(rules: DatagramRules, own: Vec<SocketAddr>) -> Self {
        let sources = rules.rate.map(|rate| SourceBuckets::new(TokenRate::new(rate)));
        let total = rules.total_rate.map(|rate| (TokenRate::new(rate), TokenBucket::default()));
        Self { rules, own, sources, total }
    }

    /// Returns whether a datagram received at `now` may be answered.
    pub(super) fn judge(
        &mut self,
        arrival: &DatagramArrival,
        now: Duration,
    ) -> Result<(), DatagramRefusal> {
        let source = arrival.source.ip();
        if is_of_many(source) || arrival.to.is_none_or(is_of_many) {
            return Err(DatagramRefusal::Address);
        }
        self.judge_port(arrival)?;
        if arrival.mark >> 2 == ANSWER_DSCP {
            return Err(DatagramRefusal::Answer);
        }
        if self.rules.loopback == Loopback::Limited || !source.is_loopback() {
            let sources = self.sources.as_mut();
            if !sources.is_none_or(|sources| sources.take(network(source), now)) {
                return Err(DatagramRefusal::Rate);
            }
        }
        let total = self.total.as_mut();
        match total.is_none_or(|(rate, bucket)| rate.take(bucket, now)) {
            true => Ok(()),
            false => Err(DatagramRefusal::TotalRate),
        }
    }

    /// Returns whether an answer of this length may be sent.
    pub(super) fn judge_answer(
        &self,
        answer: usize,
        request: usize,
    ) -> Result<(), DatagramRefusal> {
        let is_short = answer <= request || self.rules.answers == AnswerLength::Any;
        if is_short { Ok(()) } else { Err(DatagramRefusal::Length) }
    }

    fn judge_port(&self, arrival: &DatagramArrival) -> Result<(), DatagramRefusal> {
        let port = arrival.source.port();
        let is_ours = |own: &SocketAddr| own.port() == port && is_own(own.ip(), arrival);
        if self.own.iter().any(is_ours) {
            return Err(DatagramRefusal::Own);
        }
        let is_client = port >= UNPRIVILEGED && self.own.iter().all(|own| own.port() != port);
        match self.rules.source_ports {
            SourcePorts::Any if port != 0 => Ok(()),
            SourcePorts::Clients if is_client => Ok(()),
            _ => Err(DatagramRefusal::Port),
        }
    }
}

/// Returns whether the source is the address of the listening socket. If the socket is bound to the
/// unspecified address, the source is compared with the datagram's destination, and loopback
/// addresses count too.
fn is_own(listening: IpAddr, arrival: &DatagramArrival) -> bool {
    let source = arrival.source.ip();
    source == listening
        || (listening.is_unspecified() && (source.is_loopback() || arrival.to == Some(source)))
}

fn is_of_many(address: IpAddr) -> bool {
    let canonical = address.to_canonical();
    let broadcast = matches!(canonical, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0);
    broadcast || canonical.is_multicast() || canonical.is_unspecified()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn guard(rules: DatagramRules) -> DatagramGuard {
        let own = ["0.0.0.0:7000", "127.0.0.1:7001", "[::1]:7002"];
        DatagramGuard::new(rules, own.map(|address| address.parse().unwrap()).into())
    }

    fn any_port() -> DatagramRules {
        DatagramRules { source_ports: SourcePorts::Any, ..DatagramRules::default() }
    }

    fn from(source: &str) -> DatagramArrival {
        let to = Some("192.0.2.1".parse().unwrap());
        DatagramArrival { source: source.parse().unwrap(), to, mark: 0 }
    }

    /// Fault 40: only datagrams that a client may have sent are answered.
    #[test]
    fn refuses_datagrams_that_no_client_sent() {
        use DatagramRefusal::{Address, Own, Port};
        let no = Err;
        for (source, by_default, with_any_port) in [
            ("198.51.100.1:40000", Ok(()), Ok(())),
            ("198.51.100.1:1024", Ok(()), Ok(())),
            ("198.51.100.1:1023", no(Port), Ok(())),
            ("198.51.100.1:7", no(Port), Ok(())),
            ("198.51.100.1:0", no(Port), no(Port)),
            // The source is a server of this kind on another host.
            ("198.51.100.1:7000", no(Port), Ok(())),
            ("127.0.0.2:7001", no(Port), Ok(())),
            ("127.0.0.1:7001", no(Own), no(Own)),
            ("127.0.0.3:7000", no(Own), no(Own)),
            ("192.0.2.1:7000", no(Own), no(Own)),
            ("[::1]:7002", no(Own), no(Own)),
            ("[::2]:7003", Ok(()), Ok(())),
            ("224.0.0.1:40000", no(Address), no(Address)),
            ("255.255.255.255:40000", no(Address), no(Address)),
            ("0.0.0.0:40000", no(Address), no(Address)),
            ("0.1.2.3:40000", no(Address), no(Address)),
            ("[::]:40000", no(Address), no(Address)),
            ("[ff02::1]:40000", no(Address), no(Address)),
            ("[::ffff:224.0.0.1]:40000", no(Address), no(Address)),
        ] {
            let judge = |rules| guard(rules).judge(&from(source), Duration::ZERO);
            assert_eq!(judge(DatagramRules::default()), by_default, "{source}");
            assert_eq!(judge(any_port()), with_any_port, "{source}");
        }
    }

    #[test]
    fn refuses_multicast_broadcast_and_answers() {
        let mut guard = guard(any_port());
        let client = from("198.51.100.1:40000");
        for (to, mark, wanted) in [
            (None, 0, Err(DatagramRefusal::Address)),
            (Some("224.0.0.1"), 0, Err(DatagramRefusal::Address)),
            (Some("192.0.2.1"), ANSWER_MARK, Err(DatagramRefusal::Answer)),
            // The two lower bits are for congestion control (ECN). Routers may change them.
            (Some("192.0.2.1"), ANSWER_MARK | 0b11, Err(DatagramRefusal::Answer)),
            (Some("192.0.2.1"), 0b11, Ok(())),
            (Some("192.0.2.1"), 0b1011_1000, Ok(())),
        ] {
            let to = to.map(|address| address.parse().unwrap());
            let arrival = DatagramArrival { to, mark, ..client };
            assert_eq!(guard.judge(&arrival, Duration::ZERO), wanted, "{arrival:?}");
        }
    }

    /// Fault 40: a source that looks like a client is limited to its rate.
    #[test]
    fn each_source_has_its_rate_and_loopback_has_none() {
        let passed = |guard: &mut DatagramGuard, source: &str| {
            let judge = |_: &usize| guard.judge(&from(source), Duration::ZERO).is_ok();
            (0..1000).filter(judge).count()
        };
        let mut limited = guard(DatagramRules::default());
        assert_eq!(passed(&mut limited, "198.51.100.1:40000"), 200);
        assert_eq!(passed(&mut limited, "198.51.100.1:40001"), 0);
        assert_eq!(passed(&mut limited, "198.51.100.2:40000"), 200);
        assert_eq!(passed(&mut limited, "[2001:db8::1]:40000"), 200);
        assert_eq!(passed(&mut limited, "[2001:db8::2]:40000"), 0);
        assert_eq!(passed(&mut limited, "[2001:db8:0:1::2]:40000"), 200);
        assert_eq!(passed(&mut limited, "127.0.0.1:40000"), 1000);
        let everybody = DatagramRules { loopback: Loopback::Limited, ..DatagramRules::default() };
        assert_eq!(passed(&mut guard(everybody), "127.0.0.1:40000"), 200);
        let total_rate = NonZeroU32::new(150);
        let mut few = guard(DatagramRules { total_rate, ..DatagramRules::default() });
        assert_eq!(passed(&mut few, "198.51.100.1:40000"), 200);
        assert_eq!(passed(&mut few, "198.51.100.2:40000"), 100);
        let last = few.judge(&from("198.51.100.3:40000"), Duration::ZERO);
        assert_eq!(last, Err(DatagramRefusal::TotalRate));
    }

    proptest! {
        /// Fault 41: an answer is never longer than its request, unless the rules allow it.
        #[test]
        fn no_answer_is_longer_than_its_request(
            answer in 0usize..70_000, request in 0usize..70_000,
        ) {
            let strict = guard(DatagramRules::default()).judge_answer(answer, request);
            prop_assert_eq!(strict.is_ok(), answer <= request);
            let any = DatagramRules { answers: AnswerLength::Any, ..DatagramRules::default() };
            prop_assert_eq!(guard(any).judge_answer(answer, request), Ok(()));
        }

        /// No source causes a panic, and no source with a server's port is answered.
        #[test]
        fn every_source_is_judged(ip: [u8; 16], v4: bool, port: u16, mark: u8) {
            let ip = if v4 { IpAddr::from([ip[0], ip[1], ip[2], ip[3]]) } else { ip.into() };
            let arrival = DatagramArrival { source: (ip, port).into(), to: Some(ip), mark };
            let answered = guard(DatagramRules::default()).judge(&arrival, Duration::ZERO).is_ok();
            prop_assert!(!answered || (port >= 1024 && !(7000..=7002).contains(&port)));
        }
    }
}
