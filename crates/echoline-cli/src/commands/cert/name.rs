//! Checks the names of `--name`, for which a certificate is made. Pure.

use core::net::IpAddr;

/// The maximum length of a DNS name in bytes, without the dot at its end (RFC 1035, section 3.1).
const NAME_MAX: usize = 253;

/// The maximum length of a label in bytes. A label is the part between two dots.
const LABEL_MAX: usize = 63;

/// Parses one name of `--name`: a DNS name, which may begin with `*.`, or an IP address. Trims
/// white space.
pub(super) fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() {
        return Err("a name is empty: write for example localhost,127.0.0.1".to_owned());
    }
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if let Some(host) = host_of(name) {
        let which = match name.contains("://") {
            true => "is a URL",
            false => "has more than a host",
        };
        return Err(format!("'{name}' {which}, but a certificate is for a host: write {host}"));
    }
    if !name.is_ascii() {
        return Err(format!(
            "'{name}' is not ASCII: write its A-label, which begins with xn-- ('idn2 {name}' \
             prints it)"
        ));
    }
    match mistake(name) {
        None => Ok(name.to_ascii_lowercase()),
        Some(why) => Err(format!(
            "'{name}' is neither a DNS name nor an IP address: {why}; write for example \
             localhost, *.example.com or ::1"
        )),
    }
}

/// Returns the host of a URL, of `HOST:PORT`, of `[IPV6]` or of `NAME.`; `None` for other texts.
fn host_of(text: &str) -> Option<&str> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => match rest.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => rest,
        },
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_host = host.parse::<IpAddr>().is_ok() || (!host.is_empty() && mistake(host).is_none());
    (host.len() < text.len() && is_host).then_some(host)
}

/// Returns the mistake in a DNS name (RFC 1123, section 2.1), if there is one. Its first label may
/// be `*`.
fn mistake(name: &str) -> Option<String> {
    if name.len() > NAME_MAX {
        return Some(format!("it has more than {NAME_MAX} bytes"));
    }
    let rest = name.strip_prefix("*.").unwrap_or(name);
    for label in rest.split('.') {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        if label.is_empty() {
            return Some("a part between two dots is empty".to_owned());
        } else if label.len() > LABEL_MAX {
            return Some(format!("a part between two dots has more than {LABEL_MAX} bytes"));
        } else if let Some(wrong) = label.chars().find(|&letter| !is_letter(letter)) {
            return Some(format!("it contains {wrong:?}"));
        } else if label.starts_with('-') || label.ends_with('-') {
            return Some("a part between two dots begins or ends with '-'".to_owned());
        }
    }
    // Clients treat a name whose last label is a number as an address (RFC 6125, WHATWG URL).
    let last = rest.rsplit('.').next().unwrap_or(rest);
    last.bytes().all(|byte| byte.is_ascii_digit()).then(|| "its last part is a number".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 41: each name is trimmed, and an address is no DNS name.
    #[test]
    fn regression_names_of_certificates_are_read() {
        for (text, wanted) in [
            ("localhost", "localhost"),
            (" 127.0.0.1", "127.0.0.1"),
            ("0:0:0:0:0:0:0:1 ", "::1"),
            ("*.Example.com", "*.example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("my_service.local", "my_service.local"),
            ("4you.example", "4you.example"),
        ] {
            assert_eq!(name(text).as_deref(), Ok(wanted));
        }
    }

    /// Issue 11, item 41: other texts are refused, with a hint.
    #[test]
    fn regression_other_texts_make_no_certificate() {
        let long = "a.".repeat(127) + "a";
        let label = "a".repeat(64);
        for (text, hint) in [
            ("", "a name is empty"),
            ("  ", "a name is empty"),
            ("https://chat.example.com/login", "write chat.example.com"),
            ("tls://[::1]:8443", "write ::1"),
            ("localhost:8443", "write localhost"),
            ("127.0.0.1:8443", "write 127.0.0.1"),
            ("[::1]", "write ::1"),
            ("[::1]:80", "write ::1"),
            ("user@example.com", "write example.com"),
            ("example.com.", "write example.com"),
            ("bücher.example", "'idn2 bücher.example' prints it"),
            ("a b", "it contains ' '"),
            ("-a.example", "begins or ends with '-'"),
            ("a..b", "is empty"),
            (".", "is empty"),
            ("*", "it contains '*'"),
            ("a.*.example", "it contains '*'"),
            ("300.1.1.1", "its last part is a number"),
            ("fe80::1%eth0", "it contains ':'"),
            (&long, "more than 253 bytes"),
            (&label, "more than 63 bytes"),
        ] {
            let said = name(text).unwrap_err();
            assert!(said.contains(hint), "{text}: {said}");
        }
    }
}
