//! The arguments of a command, parsed one after the other, and their values.

// `core::net` has only the address types. Pure code must not use the sockets of `std::net`.
use core::net::IpAddr;
use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

use crate::command::duration::{self, looks_like_duration};

/// The part of a command's line that is not parsed yet.
#[derive(Clone, Copy, Debug)]
pub struct CommandArguments<'a> {
    text: &'a str,
    wrong_duration: Option<WrongDuration<'a>>,
}

/// The reason why a duration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongDuration<'a> {
    /// The word looks like a duration, but is not a valid one.
    Unreadable(&'a str),
    /// The command takes no duration.
    NotTaken,
}

impl<'a> CommandArguments<'a> {
    /// Creates the arguments from the text after the command's name.
    pub fn new(text: &'a str) -> Self {
        Self { text: text.trim(), wrong_duration: None }
    }

    /// Returns whether no argument is left.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes the next word; returns `None` at the end.
    pub fn word(&mut self) -> Option<&'a str> {
        let (word, rest) = self.text.split_once([' ', '\t']).unwrap_or((self.text, ""));
        self.text = rest.trim_start();
        (!word.is_empty()).then_some(word)
    }

    /// Takes all words that are left; returns `None` if there are none.
    pub fn words(&mut self) -> Option<&'a str> {
        let words = std::mem::take(&mut self.text);
        (!words.is_empty()).then_some(words)
    }

    /// Takes the next duration, with or without `for` before it.
    ///
    /// Returns `Some(None)`, which means for ever, if the next word is `forever` or does not look
    /// like a duration; only `forever` is consumed. Returns `None` if the word looks like a
    /// duration but is invalid, because a typing mistake must not ban or mute for ever.
    pub fn length(&mut self) -> Option<Option<Duration>> {
        let mut ahead = *self;
        let first = ahead.word().unwrap_or_default();
        if first.eq_ignore_ascii_case("forever") {
            *self = ahead;
            return Some(None);
        }
        if !first.eq_ignore_ascii_case("for") {
            ahead = *self;
        }
        let word = { ahead }.word().unwrap_or_default();
        if !looks_like_duration(word) {
            return Some(None);
        }
        let read = ahead.duration();
        self.wrong_duration = read.is_none().then_some(WrongDuration::Unreadable(word));
        self.text = ahead.text;
        read.map(Some)
    }

    /// Checks that no duration comes next. Returns `None` if one does, because this command takes
    /// none.
    pub(crate) fn no_length(&mut self) -> Option<()> {
        let read = { *self }.duration();
        self.wrong_duration = read.map(|_| WrongDuration::NotTaken);
        read.is_none().then_some(())
    }

    /// Takes the words of a duration.
    fn duration(&mut self) -> Option<Duration> {
        let mut ahead = *self;
        let (duration, words) = duration::read(std::iter::from_fn(|| ahead.word()))?;
        for _ in 0..words {
            self.word();
        }
        Some(duration)
    }

    /// Returns the reason why the last duration was refused, or `None` if it was not refused.
    pub(crate) fn wrong_duration(&self) -> Option<WrongDuration<'a>> {
        self.wrong_duration
    }
}

/// A password or a token, which must not appear in logs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CommandSecret<'a>(&'a str);

impl<'a> CommandSecret<'a> {
    /// Creates a secret in a command.
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Returns the secret itself.
    #[must_use]
    pub fn reveal(&self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for CommandSecret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A choice between on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The switch is on.
    On,
    /// The switch is off.
    Off,
}

impl Switch {
    /// Parses `on` or `off`, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            _ if text.eq_ignore_ascii_case("on") => Some(Self::On),
            _ if text.eq_ignore_ascii_case("off") => Some(Self::Off),
            _ => None,
        }
    }

    /// Returns `true` for on.
    #[must_use]
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

/// A range of a room's history. The room limits the number of lines that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// The last lines. Contains their number, at least 1.
    Last(u64),
    /// The lines with the numbers `from` to `to`, both included. `from` is at least 1 and at most
    /// `to`.
    Between {
        /// The first line's number.
        from: u64,
        /// The last line's number.
        to: u64,
    },
}

impl Passage {
    /// Parses `20` or `120-140`.
    pub fn parse(text: &str) -> Option<Self> {
        let Some((from, to)) = text.split_once('-') else { return number(text).map(Self::Last) };
        let (from, to) = (number(from.trim_end())?, number(to.trim_start())?);
        (from <= to).then_some(Self::Between { from, to })
    }
}

/// The target of a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanTarget<'a> {
    /// A name, as it was typed.
    Name(&'a str),
    /// An address or a network. A single address is a network with one address. An IPv4 address
    /// that is mapped into IPv6 is stored as IPv4.
    Network(IpNet),
}

impl<'a> BanTarget<'a> {
    /// Parses a name or a network. An address has a dot or a colon, and a name never has one.
    pub fn parse(text: &'a str) -> Option<Self> {
        if !text.contains(['.', ':', '/']) {
            return Some(Self::Name(text));
        }
        let address = text.parse::<IpAddr>().map(IpNet::from);
        let network = text.parse::<IpNet>().or(address).ok()?;
        Some(Self::Network(without_mapping(network.trunc())))
    }
}

/// Turns `::ffff:192.0.2.0/120` into `192.0.2.0/24` (RFC 4291, section 2.5.5.2).
fn without_mapping(network: IpNet) -> IpNet {
    let IpAddr::V4(address) = network.addr().to_canonical() else { return network };
    let prefix = match network {
        IpNet::V4(_) => return network,
        IpNet::V6(network) => network.prefix_len().checked_sub(96),
    };
    prefix.and_then(|prefix| IpNet::new(address.into(), prefix).ok()).unwrap_or(network)
}

/// Parses a number of at least 1. (`u64::from_str` would also accept "+7".)
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| digits && number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_one_after_the_other() {
        let mut arguments = CommandArguments::new("  anna   hello  there ");
        assert_eq!(arguments.word(), Some("anna"));
        assert_eq!(arguments.words(), Some("hello  there"));
        assert_eq!((arguments.word(), arguments.words(), arguments.is_empty()), (None, None, true));
    }

    #[test]
    fn a_word_that_is_not_a_duration_is_not_consumed() {
        let mut arguments = CommandArguments::new("10m 2nd time");
        assert_eq!(arguments.length(), Some(Some(Duration::from_secs(600))));
        assert_eq!(arguments.length(), Some(None));
        assert_eq!(arguments.words(), Some("2nd time"));
        assert_eq!(
            CommandArguments::new("0m spam").length(),
            None,
            "an invalid duration does not ban for ever"
        );
    }

    /// Issue 11, item 12: a word that looks like a duration is never taken as part of the reason.
    #[test]
    fn regression_a_length_that_cannot_be_read_is_none() {
        for (text, length, rest) in [
            ("1w spam", Some(Some(7 * 86400)), Some("spam")),
            ("for 10min too loud", Some(Some(600)), Some("too loud")),
            ("3 days", Some(Some(3 * 86400)), None),
            ("1h 30m spam", Some(Some(5400)), Some("spam")),
            ("for good reasons", Some(None), Some("for good reasons")),
            ("forever 3 times warned", Some(None), Some("3 times warned")),
            ("FOREVER", Some(None), None),
            ("", Some(None), None),
            ("10 spam", None, None),
            ("-1d", None, None),
            ("for 10 spam", None, None),
            ("1.5h", None, None),
            ("99999999999999999999d", None, None),
        ] {
            let mut arguments = CommandArguments::new(text);
            let read = arguments.length();
            assert_eq!(read.map(|length| length.map(|length| length.as_secs())), length, "{text}");
            match read {
                Some(_) => assert_eq!(arguments.words(), rest, "{text}"),
                None => assert!(arguments.wrong_duration().is_some(), "{text}"),
            }
        }
    }

    #[test]
    fn passages_are_counts_or_ranges() {
        assert_eq!(Passage::parse("20"), Some(Passage::Last(20)));
        assert_eq!(Passage::parse("120-140"), Some(Passage::Between { from: 120, to: 140 }));
        assert_eq!(Passage::parse("7 - 7"), Some(Passage::Between { from: 7, to: 7 }));
        for wrong in ["0", "x", "-5", "5-", "9-8", "0-3", "1-2-3", "+1", "99999999999999999999"] {
            assert_eq!(Passage::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses_are_distinguished_from_names() {
        let network = |text: &str| Some(BanTarget::Network(text.parse().unwrap()));
        assert_eq!(BanTarget::parse("anna"), Some(BanTarget::Name("anna")));
        assert_eq!(BanTarget::parse("192.0.2.7"), network("192.0.2.7/32"));
        assert_eq!(BanTarget::parse("192.0.2.7/24"), network("192.0.2.0/24"));
        assert_eq!(BanTarget::parse("2001:db8::1"), network("2001:db8::1/128"));
        assert_eq!(BanTarget::parse("2001:db8::1/64"), network("2001:db8::/64"));
        assert_eq!(BanTarget::parse("::ffff:192.0.2.7"), network("192.0.2.7/32"));
        assert_eq!(BanTarget::parse("::ffff:192.0.2.7/120"), network("192.0.2.0/24"));
        assert_eq!(BanTarget::parse("::/0"), network("::/0"));
        for wrong in ["192.0.2.256", "192.0.2.0/33", "a.b", "anna/8", "::1::"] {
            assert_eq!(BanTarget::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", CommandSecret::new("hunter2")), "***");
    }
}
