//! Bans of names, addresses and networks, for a limited time or for ever.

// `core::net` has only the address types. Pure code must not use the sockets of `std::net`.
use core::net::IpAddr;
use std::collections::BTreeMap;
use std::fmt;

use ipnet::IpNet;

use crate::{Key, Name};

/// The maximum number of bans of the whole chat.
pub(crate) const CHAT_BANS_MAX: usize = 10_000;

/// The maximum number of bans of one room. Each room has its own list, so its operators cannot
/// displace a ban of the chat or of another room.
pub const ROOM_BANS_MAX: usize = 200;

/// The subject of a ban.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Subject {
    /// Users with this name, or with a name that looks like it.
    Name(Name),
    /// Users from this network.
    Network(IpNet),
}

/// The part of the chat in which a ban applies.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Scope {
    /// The whole chat.
    Chat,
    /// One room.
    Room(Name),
}

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ban {
    /// The name or network.
    pub subject: Subject,
    /// The part of the chat in which the ban applies.
    pub scope: Scope,
    /// The name of the operator who added the ban.
    pub by: String,
    /// The reason, which may be empty.
    pub reason: String,
    /// The end of the ban, in milliseconds since 1970; `None` means for ever.
    pub until_ms: Option<u64>,
    /// The user who had the banned name when the ban was added. The ban applies to this user under
    /// any name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<u64>,
}

/// The known properties of a user, to be compared with bans.
#[derive(Clone, Copy, Debug, Default)]
pub struct Suspect<'a> {
    /// The name of the user.
    pub name: Option<&'a Name>,
    /// The network address, if it is known.
    pub address: Option<IpAddr>,
    /// The user's number, the same in all their sessions.
    pub lineage: Option<u64>,
}

/// Returns the end of a ban or a mute in words: `until 2026-11-23 17:04 +01:00` or `for good`.
/// `moment` formats a time in milliseconds since 1970. `None` and `u64::MAX` mean for ever.
pub fn ending(until_ms: Option<u64>, moment: fn(u64) -> String) -> String {
    match until_ms {
        None | Some(u64::MAX) => "for good".to_owned(),
        Some(until_ms) => format!("until {}", moment(until_ms)),
    }
}

/// All bans: a bounded list for the chat, and one for each room that has bans.
#[derive(Debug, Default)]
pub struct Bans {
    chat: Vec<Ban>,
    rooms: BTreeMap<Key, Vec<Ban>>,
}

/// The error if a list of bans is full and none of them has ended. Contains the maximum length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyBans(pub(super) usize);

/// Returns the network that a ban covers and that `--max-per-ip` counts. For IPv6 it is at least a
/// /64, because a single host can use any address of a /64.
pub fn counted(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) if v6.prefix_len() > 64 => {
            ipnet::Ipv6Net::new_assert(v6.addr(), 64).trunc().into()
        }
        network => network.trunc(),
    }
}

/// Returns the network of an address, as bans and limits count it.
pub fn network_of(address: IpAddr) -> IpNet {
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

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chat => f.write_str("the chat"),
            Self::Room(name) => name.fmt(f),
        }
    }
}

impl Scope {
    /// Returns the key of the room; `None` for the whole chat.
    pub fn room(&self) -> Option<&Key> {
        match self {
            Self::Chat => None,
            Self::Room(name) => Some(name.key()),
        }
    }
}

impl Ban {
    /// Returns the message for a banned user. `moment` formats a time in milliseconds since 1970.
    pub fn words(&self, moment: fn(u64) -> String) -> String {
        let scope = match &self.scope {
            Scope::Chat => "this chat".to_owned(),
            Scope::Room(name) => format!("the room {}", name.as_str()),
        };
        let until = self.until_ms.map(|until| format!(" until {}", moment(until)));
        let reason = if self.reason.is_empty() { "" } else { ": " };
        let until = until.unwrap_or_default();
        format!("You are banned from {scope}{until}{reason}{}", self.reason)
    }

    fn holds(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until| until > now_ms)
    }

    /// Returns whether the ban applies to the user.
    pub fn means(&self, suspect: Suspect<'_>) -> bool {
        let is_same_user = self.lineage.is_some() && self.lineage == suspect.lineage;
        is_same_user || self.subject.means(suspect)
    }

    /// Returns whether the ban has this subject.
    fn is_of(&self, subject: &Subject) -> bool {
        match (&self.subject, subject) {
            (Subject::Name(a), Subject::Name(b)) => a.key() == b.key(),
            // An earlier version may have stored a ban of a single IPv6 address.
            (Subject::Network(a), Subject::Network(b)) => counted(*a) == counted(*b),
            _ => false,
        }
    }
}

impl Bans {
    /// Adds a ban. Replaces a ban with the same subject and scope. Returns the removed bans: the
    /// replaced one, and those of this list that have ended.
    ///
    /// # Errors
    /// [`TooManyBans`] if the list is full. If so, the list is unchanged.
    pub fn add(&mut self, now_ms: u64, ban: Ban) -> Result<Vec<Ban>, TooManyBans> {
        let (list, most) = match ban.scope.room() {
            None => (&mut self.chat, CHAT_BANS_MAX),
            Some(key) => (self.rooms.entry(key.clone()).or_default(), ROOM_BANS_MAX),
        };
        let is_removed = |old: &mut Ban| !old.holds(now_ms) || old.is_of(&ban.subject);
        let removed: Vec<Ban> = list.extract_if(.., is_removed).collect();
        if list.len() >= most {
            return Err(TooManyBans(most));
        }
        list.push(ban);
        Ok(removed)
    }

    /// Lifts a ban and returns it. Returns `None` if there is no such ban.
    pub fn remove(&mut self, subject: &Subject, scope: &Scope) -> Option<Ban> {
        let list = match scope.room() {
            None => &mut self.chat,
            Some(key) => self.rooms.get_mut(key)?,
        };
        let index = list.iter().position(|ban| ban.is_of(subject))?;
        Some(list.remove(index))
    }

    /// Removes all bans of a room, because the room is removed.
    pub fn remove_room(&mut self, room: &Key) -> Vec<Ban> {
        self.rooms.remove(room).unwrap_or_default()
    }

    /// Returns the ban that keeps the user out of the chat, or out of `room`.
    pub fn find(&self, now_ms: u64, suspect: Suspect<'_>, room: Option<&Key>) -> Option<&Ban> {
        self.list(now_ms, room).find(|ban| ban.means(suspect))
    }

    /// Returns all bans that apply to the user, in any scope.
    pub fn all_of(&self, now_ms: u64, suspect: Suspect<'_>) -> impl Iterator<Item = &Ban> {
        self.all().filter(move |ban| ban.holds(now_ms) && ban.means(suspect))
    }

    /// Returns all bans: first those of the chat, then those of each room. Each list begins with
    /// the oldest.
    pub fn all(&self) -> impl Iterator<Item = &Ban> {
        self.chat.iter().chain(self.rooms.values().flatten())
    }

    /// Returns the active bans of the chat (`None`) or of a room.
    pub fn list(&self, now_ms: u64, room: Option<&Key>) -> impl Iterator<Item = &Ban> {
        let list = match room {
            None => Some(&self.chat),
            Some(key) => self.rooms.get(key),
        };
        list.into_iter().flatten().filter(move |ban| ban.holds(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::BanTarget;

    fn ban(subject: &str, scope: Scope, until_ms: Option<u64>) -> Ban {
        let subject = match BanTarget::parse(subject).unwrap() {
            BanTarget::Name(name) => Subject::Name(Name::parse(name).unwrap()),
            BanTarget::Network(network) => Subject::Network(network.trunc()),
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
    fn a_ban_applies_to_a_name_and_its_look_alikes_an_address_or_a_network() {
        let mut bans = Bans::default();
        bans.add(0, ban("mallory", Scope::Chat, None)).unwrap();
        bans.add(0, ban("10.1.2.3/8", Scope::Chat, None)).unwrap();
        bans.add(0, ban("::1", Scope::Chat, None)).unwrap();
        let finds = |text: &str, from: &str| {
            let (name, address) = (name(text), address(from));
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
    fn a_ban_applies_in_its_scope_until_its_end() {
        let mut bans = Bans::default();
        let room = Scope::Room(name("dev"));
        bans.add(0, ban("ann", room.clone(), Some(1000))).unwrap();
        let (ann, dev) = (name("ann"), name("DEV"));
        let suspect = Suspect { name: Some(&ann), ..Suspect::default() };
        let finds = |bans: &Bans, now| bans.find(now, suspect, Some(dev.key())).is_some();
        assert!(finds(&bans, 999) && !finds(&bans, 1000));
        assert!(bans.find(0, suspect, None).is_none(), "the ban applies only in the room");
        assert!(bans.remove(&Subject::Name(name("Ann")), &room).is_some());
        assert!(!finds(&bans, 0));
    }

    /// Issue 11, item 3: a ban of an IPv6 address covers its /64 network, which `--max-per-ip`
    /// counts too. This also holds if an earlier version stored a ban of the single address.
    #[test]
    fn regression_a_ban_of_an_ipv6_address_is_of_its_network() {
        let mut bans = Bans::default();
        let single = Subject::Network("2001:db8::5/128".parse().unwrap());
        bans.add(0, Ban { subject: single, ..ban("ann", Scope::Chat, None) }).unwrap();
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

    /// Issue 12, item 3: an operator of a room can fill only the room's own list. A full list
    /// refuses new bans; only bans that have ended are dropped.
    #[test]
    fn attack_a_flood_of_room_bans_lifts_no_other_ban() {
        let mut bans = Bans::default();
        bans.add(0, ban("mallory", Scope::Chat, None)).unwrap();
        bans.add(0, ban("mallory", Scope::Room(name("dev")), None)).unwrap();
        let den = Scope::Room(name("den"));
        let flood = |bans: &mut Bans, now_ms, number: usize, until_ms| {
            bans.add(now_ms, ban(&format!("u{number}"), den.clone(), until_ms))
        };
        flood(&mut bans, 0, 0, Some(5)).unwrap();
        for number in 1..CHAT_BANS_MAX + 10 {
            let full = number >= ROOM_BANS_MAX;
            let expected = if full { Err(TooManyBans(ROOM_BANS_MAX)) } else { Ok(Vec::new()) };
            assert_eq!(flood(&mut bans, 0, number, None), expected, "{number}");
        }
        let count = |bans: &Bans, room: Option<&Name>| bans.list(0, room.map(Name::key)).count();
        assert_eq!((count(&bans, None), count(&bans, Some(&name("dev")))), (1, 1));
        assert_eq!(count(&bans, Some(&name("den"))), ROOM_BANS_MAX);
        let before = vec![ban("u7", den.clone(), None)];
        assert_eq!(flood(&mut bans, 0, 7, Some(9)), Ok(before), "it replaces the same ban");
        let ended = flood(&mut bans, 5, 999, None).unwrap();
        assert_eq!(ended, [ban("u0", den.clone(), Some(5))], "only the ended ban is dropped");
        assert_eq!(bans.remove_room(name("den").key()).len(), ROOM_BANS_MAX);
        assert_eq!((count(&bans, None), bans.all().count()), (1, 2));
        for number in 1..CHAT_BANS_MAX {
            bans.chat.push(ban(&format!("c{number}"), Scope::Chat, None));
        }
        let refused = bans.add(0, ban("one-more", Scope::Chat, None));
        assert_eq!(refused, Err(TooManyBans(CHAT_BANS_MAX)));
        assert!(bans.remove(&Subject::Name(name("mallory")), &Scope::Chat).is_some());
    }

    /// Issue 11, item 3: a ban of a name also applies to its user under other names.
    #[test]
    fn regression_a_ban_of_a_name_applies_to_its_user() {
        let mut bans = Bans::default();
        bans.add(0, Ban { lineage: Some(7), ..ban("troll", Scope::Chat, None) }).unwrap();
        let eve = name("eve");
        let finds = |lineage| {
            let suspect = Suspect { name: Some(&eve), address: None, lineage };
            bans.find(0, suspect, None).is_some()
        };
        assert!(finds(Some(7)) && !finds(Some(8)) && !finds(None));
    }
}
