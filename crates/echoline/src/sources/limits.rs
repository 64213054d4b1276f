//! The rates and penalties of one source. Pure.

// This code is pure. `core::net` has the types of addresses, but no sockets.
use std::str::FromStr;
use std::time::Duration;

use core::fmt;
use core::net::IpAddr;
use ipnet::IpNet;

use crate::udp::Loopback;
use echoline_base::amount;
use echoline_base::source::Source;

/// An action whose rate is limited for each source. A server limits [`Connection`] itself, and its
/// handlers may limit the others. More actions, those of echoline's own chat, are not documented.
///
/// [`Connection`]: Self::Connection
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceAction {
    /// A new connection.
    Connection,
    /// A request of a client for a name, at its login or when it changes its name.
    Login,
    /// A wrong password of a room or a wrong resume token.
    WrongPassword,
    /// A wrong password of the chat's operators.
    #[doc(hidden)]
    WrongOperatorPassword,
    /// The creation of a room.
    #[doc(hidden)]
    Room,
    /// A resume token.
    #[doc(hidden)]
    Token,
    /// A ban, a mute, an invitation, or another command of a room's operator that the audit log
    /// records.
    #[doc(hidden)]
    Moderation,
    /// A command that reads the history, or lists rooms or users. A search counts as
    /// [`SourceAction::SEARCH_COST`] of them.
    #[doc(hidden)]
    Expensive,
}

impl SourceAction {
    /// Every action.
    pub const ALL: [Self; 8] = [
        Self::Connection,
        Self::Login,
        Self::WrongPassword,
        Self::WrongOperatorPassword,
        Self::Room,
        Self::Token,
        Self::Moderation,
        Self::Expensive,
    ];

    /// The number of expensive commands that a search of the whole history costs.
    #[doc(hidden)]
    pub const SEARCH_COST: u32 = 10;

    /// Returns whether [`SourceLimits::loopback`] can disable this limit.
    pub(super) fn is_free_for_loopback(self) -> bool {
        matches!(self, Self::Connection | Self::Login)
    }

    /// Returns the name of the action in flags, logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connection => "connections",
            Self::Login => "logins",
            Self::WrongPassword => "wrong-passwords",
            Self::WrongOperatorPassword => "wrong-operator-passwords",
            Self::Room => "rooms",
            Self::Token => "tokens",
            Self::Moderation => "moderation",
            Self::Expensive => "expensive-commands",
        }
    }
}

impl fmt::Display for SourceAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A token bucket: a burst of actions at once, and then one in each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceRate {
    /// The interval, in nanoseconds, after which one token returns.
    interval: u64,
    burst: u32,
}

impl SourceRate {
    /// Creates a rate of `count` actions in each time `per`, with up to `burst` actions at once. A
    /// value of zero counts as one.
    #[must_use]
    pub const fn new(count: u32, per: Duration, burst: u32) -> Self {
        let count = if count == 0 { 1 } else { count };
        let nanos = per.as_nanos() / count as u128;
        // The limit, 584 years, means in practice that no token ever returns.
        let interval = if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 };
        let interval = if interval == 0 { 1 } else { interval };
        Self { interval, burst: if burst == 0 { 1 } else { burst } }
    }

    /// Returns the time in nanoseconds in which `count` tokens return. It is at most the time in
    /// which the bucket fills.
    pub(super) fn nanos_of(self, count: u32) -> u64 {
        self.interval.saturating_mul(count.min(self.burst).into())
    }

    /// Returns the nanoseconds in which an empty bucket fills.
    pub(super) fn depth(self) -> u64 {
        self.interval.saturating_mul(self.burst.into())
    }
}

/// The durations of penalties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Penalties {
    /// The duration of the first penalty. Each further penalty is twice as long. The default is 2
    /// s.
    pub first: Duration,
    /// The longest penalty. Default 5 min.
    pub longest: Duration,
    /// The time without a new penalty after which the length of the next penalty halves. Default 2
    /// min.
    pub decay: Duration,
}

impl Penalties {
    /// Returns the penalty setting called `name`.
    fn length(&mut self, name: &str) -> Option<&mut Duration> {
        match name {
            "first-penalty" => Some(&mut self.first),
            "longest-penalty" => Some(&mut self.longest),
            "penalty-decay" => Some(&mut self.decay),
            _ => None,
        }
    }
}

impl Default for Penalties {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(2),
            longest: Duration::from_secs(5 * 60),
            decay: Duration::from_secs(2 * 60),
        }
    }
}

/// The rates of one source. [`SourceLimits::default`] has the rates of a chat, which 60 users
/// behind one address do not reach.
///
/// It is parsed from text: `logins 5/s burst 300, moderation off`. Actions that the text does not
/// name keep their default. `off` alone removes all limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLimits {
    rates: [Option<SourceRate>; SourceAction::ALL.len()],
    /// The durations of penalties.
    pub penalties: Penalties,
    /// The maximum number of sources in the table. Default 65,536. They take at most 16 MiB.
    pub max_sources: usize,
    /// Whether the rates of connections and logins apply to loopback addresses, which all clients
    /// of a local proxy may share. The other rates always apply. Default [`Loopback::Unlimited`].
    pub loopback: Loopback,
    /// The networks that have no limit, for example that of a monitoring system, or of a proxy that
    /// does not name its clients.
    exempt: Vec<IpNet>,
}

impl Default for SourceLimits {
    fn default() -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        const MINUTE: Duration = Duration::from_secs(60);
        let rates = SourceAction::ALL.map(|action| {
            Some(match action {
                // A page in a browser opens several connections for its files.
                SourceAction::Connection => SourceRate::new(20, SECOND, 600),
                SourceAction::Login => SourceRate::new(5, SECOND, 300),
                // Allows each member of a class of 60 to try a wrong password twice. A token is
                // taken before each check, and all passwords of a class may be checked at the same
                // time.
                SourceAction::WrongPassword => SourceRate::new(6, MINUTE, 120),
                // Allows a few operators to mistype the password. An attacker gets 1,440 guesses a
                // day.
                SourceAction::WrongOperatorPassword => SourceRate::new(1, MINUTE, 5),
                SourceAction::Room => SourceRate::new(6, MINUTE, 60),
                SourceAction::Token => SourceRate::new(2, SECOND, 300),
                // Allows a teacher to invite a class.
                SourceAction::Moderation => SourceRate::new(20, MINUTE, 120),
                // Allows each member of a class to search once, and each page to send five other
                // queries.
                SourceAction::Expensive => SourceRate::new(30, SECOND, 900),
            })
        });
        Self {
            rates,
            penalties: Penalties::default(),
            max_sources: 65_536,
            loopback: Loopback::default(),
            exempt: Vec::new(),
        }
    }
}

impl SourceLimits {
    /// Creates limits without a rate for any action.
    #[must_use]
    pub fn off() -> Self {
        Self { rates: [None; SourceAction::ALL.len()], ..Self::default() }
    }

    /// Returns the rate of `action`; `None` for no limit.
    #[must_use]
    pub fn rate(&self, action: SourceAction) -> Option<SourceRate> {
        self.rates[action as usize]
    }

    /// Sets the rate of `action`; `None` for no limit.
    pub fn set_rate(&mut self, action: SourceAction, rate: Option<SourceRate>) {
        self.rates[action as usize] = rate;
    }

    /// Returns whether `source` has no limit for `action`.
    pub(super) fn is_exempt(&self, source: Source, action: SourceAction) -> bool {
        if action.is_free_for_loopback()
            && self.loopback == Loopback::Unlimited
            && source.is_loopback()
        {
            return true;
        }
        let Source::Address(address) = source else { return false };
        self.exempt.iter().any(|network| network.contains(&address))
    }

    /// Exempts the sources in `network` from all limits. A longer IPv6 prefix is shortened to 64
    /// bits, the size of a source.
    pub fn exempt(&mut self, network: IpNet) {
        let is_part = matches!(network, IpNet::V6(v6) if v6.prefix_len() > 64);
        let whole = is_part.then(|| IpNet::new(network.addr(), 64).ok()).flatten();
        self.exempt.push(whole.unwrap_or(network).trunc());
    }

    /// Changes the limits that `text` lists, separated by commas: `logins 5/s burst 300`,
    /// `moderation off`, `exempt 192.0.2.0/24`, `loopback limited`, `first-penalty 2s`,
    /// `longest-penalty 5m`, `penalty-decay 2m`, `max-sources 65536`, or `off` for every rate.
    /// Without `burst`, the burst is the number of tokens that return in ten seconds, at least one.
    ///
    /// # Errors
    /// The first invalid part of `text`. The limits are then unchanged.
    pub fn change(&mut self, text: &str) -> Result<(), SourceRateError> {
        let mut changed = self.clone();
        for part in text.split(',') {
            changed.change_one(part.trim())?;
        }
        *self = changed;
        Ok(())
    }

    fn change_one(&mut self, part: &str) -> Result<(), SourceRateError> {
        if part == "off" {
            self.rates = [None; SourceAction::ALL.len()];
            return Ok(());
        }
        let (name, value) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
        match (name, value.trim()) {
            ("exempt", value) => {
                let address = || value.parse::<IpAddr>().ok().map(IpNet::from);
                let network = value.parse::<IpNet>().ok().or_else(address);
                self.exempt(network.ok_or_else(|| SourceRateError::Network(value.to_owned()))?);
                return Ok(());
            }
            ("loopback", "limited") => {
                self.loopback = Loopback::Limited;
                return Ok(());
            }
            ("loopback", "unlimited") => {
                self.loopback = Loopback::Unlimited;
                return Ok(());
            }
            ("max-sources", number) => {
                let wrong = || SourceRateError::Number(number.to_owned());
                let number = number.parse().ok().filter(|number| *number >= 2);
                self.max_sources = number.ok_or_else(wrong)?;
                return Ok(());
            }
            _ => (),
        }
        if let Some(length) = self.penalties.length(name) {
            let wrong = || SourceRateError::Length(name.to_owned(), value.trim().to_owned());
            *length = amount::time(value).filter(|time| !time.is_zero()).ok_or_else(wrong)?;
            return Ok(());
        }
        let action = SourceAction::ALL.into_iter().find(|action| action.label() == name);
        let action = action.ok_or_else(|| SourceRateError::Action(name.to_owned()))?;
        let rate = match value.trim() {
            "off" => None,
            value => {
                Some(rate(value).ok_or_else(|| SourceRateError::Rate(action, value.to_owned()))?)
            }
        };
        self.set_rate(action, rate);
        Ok(())
    }
}

/// Parses `5/s burst 300` or `5/s`.
fn rate(text: &str) -> Option<SourceRate> {
    let (rate, burst) = match text.split_once("burst") {
        Some((rate, burst)) => (rate, Some(burst.trim().parse::<u32>().ok().filter(|&b| b > 0)?)),
        None => (text, None),
    };
    let (count, per) = amount::rate(rate)?;
    let in_ten_seconds = || {
        let burst = u128::from(count) * 10_000_000_000 / per.as_nanos().max(1);
        u32::try_from(burst).unwrap_or(u32::MAX)
    };
    Some(SourceRate::new(count, per, burst.unwrap_or_else(in_ten_seconds)))
}

impl FromStr for SourceLimits {
    type Err = SourceRateError;

    fn from_str(text: &str) -> Result<Self, SourceRateError> {
        let mut limits = Self::default();
        limits.change(text)?;
        Ok(limits)
    }
}

/// The error for an invalid limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceRateError {
    /// There is no action of this name.
    #[error(
        "{0:?} is not a limited action; the actions are connections, logins, wrong-passwords, \
         wrong-operator-passwords, rooms, tokens, moderation and expensive-commands; `off`, \
         `exempt NETWORK`, `loopback limited`, `max-sources N`, `first-penalty`, \
         `longest-penalty` and `penalty-decay` can be written as well"
    )]
    Action(String),
    /// The number of sources is invalid.
    #[error("{0:?} is not a number of sources, at least 2; write for example `max-sources 65536`")]
    Number(String),
    /// The length of a penalty is invalid.
    #[error("{1:?} is not a length of time; write for example `{0} 30s`")]
    Length(String, String),
    /// The network is invalid.
    #[error("{0:?} is not a network; write for example `exempt 192.0.2.0/24`")]
    Network(String),
    /// The rate is invalid.
    #[error("{1:?} is not a rate of {0}; write for example `{0} 5/s burst 100` or `{0} off`")]
    Rate(SourceAction, String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_are_typed() {
        let limits: SourceLimits = "logins 5/s burst 30, moderation off".parse().unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(limits.rate(SourceAction::Login), Some(SourceRate::new(5, second, 30)));
        assert_eq!(limits.rate(SourceAction::Moderation), None);
        let default = SourceLimits::default();
        assert_eq!(limits.rate(SourceAction::Room), default.rate(SourceAction::Room));
        assert_eq!("off".parse(), Ok(SourceLimits::off()));
        let limits: SourceLimits = "off, rooms 90/m".parse().unwrap();
        let rate = SourceRate::new(90, Duration::from_secs(60), 15);
        assert_eq!(limits.rate(SourceAction::Room), Some(rate));
        assert_eq!(limits.rate(SourceAction::Login), None);
        let text = "first-penalty 1s, longest-penalty 1m, penalty-decay 10s, max-sources 100";
        let limits: SourceLimits = text.parse().unwrap();
        let (first, longest) = (second, Duration::from_secs(60));
        let decay = Duration::from_secs(10);
        assert_eq!(limits.penalties, Penalties { first, longest, decay });
        assert_eq!(limits.max_sources, 100);
    }

    #[test]
    fn errors_name_the_part_and_the_fix() {
        let error = "nonsense 5/s".parse::<SourceLimits>().unwrap_err().to_string();
        assert!(error.starts_with("\"nonsense\" is not a limited action; the actions are "));
        for (text, end) in [
            ("first-penalty x", "write for example `first-penalty 30s`"),
            ("penalty-decay 0s", "write for example `penalty-decay 30s`"),
            ("max-sources 1", "write for example `max-sources 65536`"),
            ("exempt home", "write for example `exempt 192.0.2.0/24`"),
        ] {
            let error = text.parse::<SourceLimits>().unwrap_err().to_string();
            assert!(error.ends_with(end), "{error}");
        }
        for text in ["logins", "logins 0/s", "logins 5/s burst 0", "logins 5/s burst x"] {
            let error = text.parse::<SourceLimits>().unwrap_err().to_string();
            assert!(error.ends_with("write for example `logins 5/s burst 100` or `logins off`"));
        }
    }

    #[test]
    fn an_invalid_text_changes_no_limit() {
        let mut limits = SourceLimits::default();
        limits.change("logins off, moderation 5").unwrap();
        let before = limits.clone();
        limits.change("tokens off, moderation ?").unwrap_err();
        assert_eq!(limits, before);
    }
}
