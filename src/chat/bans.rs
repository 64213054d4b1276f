//! Who may not come in: names, addresses and networks, for a time or for good. Pure.

// Addresses are values; only `std::net` has the sockets that a pure file may not name.
use core::net::IpAddr;
use std::fmt;

use ipnet::IpNet;

use super::key::Key;
use super::name::Name;

/// Bans at most; the oldest goes first.
const BANS_MAX: usize = 10_000;

/// Whom a ban means.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Subject {
    /// Whoever uses this name, or one that looks like it.
    Name(Name),
    /// Whoever comes from there.
    Network(IpNet),
}

/// Where a ban holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Scope {
    Chat,
    Room(Name),
}

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Ban {
    pub(super) subject: Subject,
    pub(super) scope: Scope,
    pub(super) by: String,
    pub(super) reason: String,
    /// Milliseconds since 1970; `None` is for good.
    pub(super) until_ms: Option<u64>,
    /// The user of the banned name when the ban was put in force: it means them under any name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lineage: Option<u64>,
}

/// The known properties of a user that a ban may apply to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Suspect<'a> {
    pub(super) name: Option<&'a Name>,
    pub(super) address: Option<IpAddr>,
    pub(super) lineage: Option<u64>,
}

/// How long a ban or a mute holds, in words: `until 2026-11-23 17:04 +01:00` or `for good`.
/// `moment` prints a time in milliseconds since 1970; `None` and `u64::MAX` are for good.
pub(super) fn ending(until_ms: Option<u64>, moment: fn(u64) -> String) -> String {
    match until_ms {
        None | Some(u64::MAX) => "for good".to_owned(),
        Some(until_ms) => format!("until {}", moment(until_ms)),
    }
}

/// All bans.
#[derive(Debug, Default)]
pub(super) struct Bans {
    bans: Vec<Ban>,
}

/// The network that is banned, and counted by `--max-per-ip`: of IPv6 at least a /64, in which one
/// host can have any address.
pub(super) fn counted(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) if v6.prefix_len() > 64 => {
            ipnet::Ipv6Net::new_assert(v6.addr(), 64).trunc().into()
        }
        network => network.trunc(),
    }
}

/// The network of a host, as it is banned and counted.
pub(super) fn network_of(address: IpAddr) -> IpNet {
    counted(IpNet::from(address.to_canonical()))
}

impl Subject {
    fn means(&self, suspect: Suspect<'_>) -> bool {
        match self {
            Self::Name(banned) => suspect.name.is_some_and(|name| name.looks_like(banned)),
            Self::Network(network) => {
                let address = suspect.address.map(|address| address.to_canonical());
                address.is_some_and(|address| counted(*network).contains(&address))
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name.as_str()),
            Self::Network(network) => match counted(*network) {
                network if network.prefix_len() == network.max_prefix_len() => {
                    network.addr().fmt(f)
                }
                network => network.fmt(f),
            },
        }
    }
}

impl Scope {
    fn is(&self, room: Option<&Key>) -> bool {
        match self {
            Self::Chat => room.is_none(),
            Self::Room(name) => room == Some(name.key()),
        }
    }
}

impl Ban {
    fn holds(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until| until > now_ms)
    }

    pub(super) fn means(&self, suspect: Suspect<'_>) -> bool {
        let is_same_user = self.lineage.is_some() && self.lineage == suspect.lineage;
        is_same_user || self.subject.means(suspect)
    }
}

impl Bans {
    /// Adds a ban, in place of one of the same subject and scope.
    pub(super) fn add(&mut self, now_ms: u64, ban: Ban) {
        self.bans.retain(|old| old.holds(now_ms));
        self.remove(&ban.subject, &ban.scope);
        if self.bans.len() >= BANS_MAX {
            self.bans.remove(0);
        }
        self.bans.push(ban);
    }

    /// Lifts a ban; `None` where there is none.
    pub(super) fn remove(&mut self, subject: &Subject, scope: &Scope) -> Option<Ban> {
        let same = |ban: &Ban| {
            ban.scope == *scope
                && match (&ban.subject, subject) {
                    (Subject::Name(a), Subject::Name(b)) => a.key() == b.key(),
                    // A ban of an earlier version may be of a single IPv6 address.
                    (Subject::Network(a), Subject::Network(b)) => counted(*a) == counted(*b),
                    _ => false,
                }
        };
        let index = self.bans.iter().position(same)?;
        Some(self.bans.remove(index))
    }

    /// The ban that keeps such a user out of the chat, or of `room`.
    pub(super) fn find(
        &self,
        now_ms: u64,
        suspect: Suspect<'_>,
        room: Option<&Key>,
    ) -> Option<&Ban> {
        let mut bans = self.bans.iter();
        bans.find(|ban| ban.scope.is(room) && ban.holds(now_ms) && ban.means(suspect))
    }

    /// All bans that mean such a user, wherever they hold.
    pub(super) fn all_of(&self, now_ms: u64, suspect: Suspect<'_>) -> impl Iterator<Item = &Ban> {
        self.bans.iter().filter(move |ban| ban.holds(now_ms) && ban.means(suspect))
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Ban> {
        self.bans.iter()
    }

    /// The bans that hold for the chat (`None`) or a room.
    pub(super) fn list(&self, now_ms: u64, room: Option<&Key>) -> impl Iterator<Item = &Ban> {
        self.bans.iter().filter(move |ban| ban.scope.is(room) && ban.holds(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::super::arguments::Target;
    use super::*;

    fn ban(subject: &str, scope: Scope, until_ms: Option<u64>) -> Ban {
        let subject = match Target::parse(subject).unwrap() {
            Target::Name(name) => Subject::Name(Name::parse(name).unwrap()),
            Target::Network(network) => Subject::Network(network.trunc()),
        };
        let (by, reason, lineage) = ("root".into(), String::new(), None);
        Ban { subject, scope, by, reason, until_ms, lineage }
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_ban_means_a_name_and_its_look_alikes_an_address_or_a_network() {
        let mut bans = Bans::default();
        bans.add(0, ban("mallory", Scope::Chat, None));
        bans.add(0, ban("10.1.2.3/8", Scope::Chat, None));
        bans.add(0, ban("::1", Scope::Chat, None));
        let finds = |who: &str, from: &str| {
            let (name, address) = (name(who), address(from));
            let suspect = Suspect { name: Some(&name), address, lineage: None };
            bans.find(0, suspect, None).map(|ban| ban.subject.to_string())
        };
        assert_eq!(finds("MALLORY", "1.1.1.1").as_deref(), Some("mallory"));
        assert_eq!(finds("mаllory", "1.1.1.1").as_deref(), Some("mallory"), "a Cyrillic a");
        assert_eq!(finds("ann", "10.200.0.1").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(finds("ann", "::ffff:10.0.0.1").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(finds("ann", "::1").as_deref(), Some("::/64"));
        assert_eq!(finds("ann", "0:0:0:1::1"), None);
        assert_eq!(bans.list(0, None).count(), 3);
    }

    #[test]
    fn a_ban_holds_where_and_as_long_as_it_says() {
        let mut bans = Bans::default();
        let room = Scope::Room(name("dev"));
        bans.add(0, ban("ann", room.clone(), Some(1000)));
        let (ann, dev) = (name("ann"), name("DEV"));
        let suspect = Suspect { name: Some(&ann), ..Suspect::default() };
        let finds = |bans: &Bans, now| bans.find(now, suspect, Some(dev.key())).is_some();
        assert!(finds(&bans, 999) && !finds(&bans, 1000));
        assert!(bans.find(0, suspect, None).is_none(), "only in the room");
        assert!(bans.remove(&Subject::Name(name("Ann")), &room).is_some());
        assert!(!finds(&bans, 0));
    }

    /// Issue 11, item 3: an IPv6 address is banned with the /64 network that `--max-per-ip` counts,
    /// also if an earlier version stored a ban of the single address.
    #[test]
    fn regression_a_ban_of_an_ipv6_address_is_of_its_network() {
        let mut bans = Bans::default();
        let single = Subject::Network("2001:db8::5/128".parse().unwrap());
        bans.add(0, Ban { subject: single, ..ban("ann", Scope::Chat, None) });
        let finds = |bans: &Bans, from: &str| {
            let suspect = Suspect { address: address(from), ..Suspect::default() };
            bans.find(0, suspect, None).map(|ban| ban.subject.to_string())
        };
        assert_eq!(finds(&bans, "2001:db8::6:7:8").as_deref(), Some("2001:db8::/64"));
        assert_eq!(finds(&bans, "2001:db8:0:1::5"), None);
        let lifted = bans.remove(&Subject::Network("2001:db8::/64".parse().unwrap()), &Scope::Chat);
        assert!(lifted.is_some() && finds(&bans, "2001:db8::5").is_none());
        assert_eq!(network_of("::ffff:192.0.2.7".parse().unwrap()).to_string(), "192.0.2.7/32");
        assert_eq!(counted("10.1.2.3/8".parse().unwrap()).to_string(), "10.0.0.0/8");
    }

    /// Issue 11, item 3: a ban of a name means its user under other names too.
    #[test]
    fn regression_a_ban_of_a_name_means_its_user() {
        let mut bans = Bans::default();
        bans.add(0, Ban { lineage: Some(7), ..ban("troll", Scope::Chat, None) });
        let eve = name("eve");
        let finds = |lineage| {
            let suspect = Suspect { name: Some(&eve), address: None, lineage };
            bans.find(0, suspect, None).is_some()
        };
        assert!(finds(Some(7)) && !finds(Some(8)) && !finds(None));
    }
}
