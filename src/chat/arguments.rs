//! The arguments of a command, taken one after the other, and the values they stand for. Pure.

// Addresses are values; only `std::net` has the sockets that a pure file may not name.
use core::net::IpAddr;
use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

/// The longest time for which somebody is banned or muted: ten years. Longer is for ever.
const LENGTH_SECONDS_MAX: u64 = 3650 * 24 * 60 * 60;

/// What is left of a command's line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arguments<'a>(&'a str);

impl<'a> Arguments<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text.trim())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next word; `None` at the end.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest.trim_start();
        (!word.is_empty()).then_some(word)
    }

    /// All words that are left; `None` where there are none.
    pub(super) fn words(&mut self) -> Option<&'a str> {
        let words = std::mem::take(&mut self.0);
        (!words.is_empty()).then_some(words)
    }

    /// The next word, where it reads as a length of time; otherwise it stays, and the length is
    /// `Some(None)`. `None` where the length is zero or longer than ten years.
    pub(super) fn length(&mut self) -> Option<Option<Duration>> {
        let mut ahead = *self;
        match ahead.word() {
            Some(word) if reads_as_length(word) => {
                *self = ahead;
                length(word).map(Some)
            }
            _ => Some(None),
        }
    }
}

/// A password or token: not for logs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<'a>(&'a str);

impl<'a> Secret<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Whether something is to be on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// `on`
    On,
    /// `off`
    Off,
}

impl Switch {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            _ if text.eq_ignore_ascii_case("on") => Some(Self::On),
            _ if text.eq_ignore_ascii_case("off") => Some(Self::Off),
            _ => None,
        }
    }

    /// `true` for on.
    #[must_use]
    pub fn is_on(self) -> bool {
        self == Self::On
    }
}

/// Which lines of a room's history are meant. How many are really shown, the room decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// The last so many lines, at least 1.
    Last(u64),
    /// The lines with these numbers: `from` is at least 1 and at most `to`, which is shown too.
    Between {
        /// The first line's number.
        from: u64,
        /// The last line's number.
        to: u64,
    },
}

impl Passage {
    /// `20` or `120-140`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let Some((from, to)) = text.split_once('-') else { return number(text).map(Self::Last) };
        let (from, to) = (number(from.trim_end())?, number(to.trim_start())?);
        (from <= to).then_some(Self::Between { from, to })
    }
}

/// Who is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Somebody by name, as it was typed.
    Name(&'a str),
    /// An address or a network; one address is a network of one. An IPv4 address that is mapped
    /// into IPv6 is the IPv4 address.
    Network(IpNet),
}

impl<'a> Target<'a> {
    /// No name has a dot, colon or slash, every address has one.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if !text.contains(['.', ':', '/']) {
            return Some(Self::Name(text));
        }
        let address = text.parse::<IpAddr>().map(IpNet::from);
        let network = text.parse::<IpNet>().or(address).ok()?;
        Some(Self::Network(without_mapping(network.trunc())))
    }
}

/// `::ffff:192.0.2.0/120` is `192.0.2.0/24` (RFC 4291, section 2.5.5.2).
fn without_mapping(network: IpNet) -> IpNet {
    let IpAddr::V4(address) = network.addr().to_canonical() else { return network };
    let prefix = match network {
        IpNet::V4(_) => return network,
        IpNet::V6(network) => network.prefix_len().checked_sub(96),
    };
    prefix.and_then(|prefix| IpNet::new(address.into(), prefix).ok()).unwrap_or(network)
}

/// A number from 1 up. (`u64::from_str` would take "+7".)
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| digits && number > 0)
}

/// Whether somebody who typed this meant a length of time.
fn reads_as_length(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < text.len() && unit_seconds(unit).is_some()
}

/// A length of time: a number and `s`, `m`, `h` or `d`; at most ten years.
fn length(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = number(count)?.checked_mul(unit_seconds(unit)?)?;
    (seconds <= LENGTH_SECONDS_MAX).then(|| Duration::from_secs(seconds))
}

fn unit_seconds(unit: &str) -> Option<u64> {
    match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(60 * 60),
        "d" => Some(24 * 60 * 60),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_one_after_the_other() {
        let mut arguments = Arguments::new("  anna   hello  there ");
        assert_eq!(arguments.word(), Some("anna"));
        assert_eq!(arguments.words(), Some("hello  there"));
        assert_eq!((arguments.word(), arguments.words(), arguments.is_empty()), (None, None, true));
    }

    #[test]
    fn lengths_have_one_unit_and_an_end() {
        for (text, seconds) in [("1s", 1), ("10m", 600), ("2h", 7200), ("1d", 86400)] {
            assert_eq!(length(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(length("3650d"), Some(Duration::from_secs(LENGTH_SECONDS_MAX)));
        for wrong in
            ["", "m", "10", "0m", "-1m", "+1m", "1.5h", "3651d", "99999999999999999999d", "1й"]
        {
            assert_eq!(length(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_length_stays() {
        let mut arguments = Arguments::new("10m 2nd time");
        assert_eq!(arguments.length(), Some(Some(Duration::from_secs(600))));
        assert_eq!(arguments.length(), Some(None));
        assert_eq!(arguments.words(), Some("2nd time"));
        assert_eq!(Arguments::new("0m spam").length(), None, "not banned for ever by mistake");
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
    fn addresses_are_told_from_names() {
        let network = |text: &str| Some(Target::Network(text.parse().unwrap()));
        assert_eq!(Target::parse("anna"), Some(Target::Name("anna")));
        assert_eq!(Target::parse("192.0.2.7"), network("192.0.2.7/32"));
        assert_eq!(Target::parse("192.0.2.7/24"), network("192.0.2.0/24"));
        assert_eq!(Target::parse("2001:db8::1"), network("2001:db8::1/128"));
        assert_eq!(Target::parse("2001:db8::1/64"), network("2001:db8::/64"));
        assert_eq!(Target::parse("::ffff:192.0.2.7"), network("192.0.2.7/32"));
        assert_eq!(Target::parse("::ffff:192.0.2.7/120"), network("192.0.2.0/24"));
        assert_eq!(Target::parse("::/0"), network("::/0"));
        for wrong in ["192.0.2.256", "192.0.2.0/33", "a.b", "anna/8", "::1::"] {
            assert_eq!(Target::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret");
    }
}
