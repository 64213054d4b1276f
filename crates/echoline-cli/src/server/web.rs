//! `echoline chat --web`: the addresses of the web page.

use std::str::FromStr;

use clap::Args;

use crate::server::service_address::ServiceAddress;
use echoline::Address;
use echoline::listener::Scheme;

/// The flags of the page.
#[derive(Debug, Args)]
pub(crate) struct WebArgs {
    /// Address of the web page for browsers.
    ///
    /// The flag is repeatable. With HOST:PORT, for example 127.0.0.1:8081, the chat is at
    /// http://127.0.0.1:8081/. https://HOST:PORT needs --cert. unix:PATH is for a proxy in front of
    /// the server, fd://NAME for a socket from the service manager.
    #[arg(long, env = "ECHOLINE_WEB", value_name = "ADDR", value_delimiter = ',')]
    web: Vec<WebAddress>,
}

impl WebArgs {
    pub(crate) fn addresses(&self) -> impl Iterator<Item = ServiceAddress> {
        let served = |WebAddress { typed, address }: &WebAddress| {
            ServiceAddress::typed("--web", typed, address.clone())
        };
        self.web.iter().map(served)
    }

    pub(crate) fn count(&self) -> usize {
        self.web.len()
    }

    /// Returns the links to type into a browser.
    pub(crate) fn links(&self) -> impl Iterator<Item = String> {
        self.web.iter().map(|web| link(&web.address))
    }
}

/// Returns the path that an address of the form HOST:PORT or http(s)://HOST:PORT has.
fn path_of(text: &str) -> Option<&str> {
    let rest = match text.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => return None,
        None if text.starts_with("unix:") => return None,
        None => text,
    };
    rest.find('/').map(|place| &rest[place..])
}

/// Returns the link to type into a browser to reach `address`.
pub(crate) fn link(address: &Address) -> String {
    match address.scheme() {
        Scheme::Tls => format!("https://{}:{}/", bracketed(address), address.port()),
        Scheme::Tcp => format!("http://{}:{}/", bracketed(address), address.port()),
        _ => address.to_string(),
    }
}

fn bracketed(address: &Address) -> String {
    let host = address.host();
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// An address of the web page, as the user types it.
#[derive(Clone, Debug)]
struct WebAddress {
    typed: String,
    address: Address,
}

impl FromStr for WebAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Links copied from a browser end with a slash.
        let bare = text.strip_suffix('/').unwrap_or(text);
        if let Some(path) = path_of(bare) {
            return Err(format!("the web page has no path: write it without '{path}'"));
        }
        let address: Address = match bare.split_once("://") {
            Some(("http", rest)) => rest.parse(),
            Some(("https", rest)) => format!("tls://{rest}").parse(),
            _ => bare.parse(),
        }
        .map_err(|error: <Address as FromStr>::Err| error.to_string())?;
        match address.scheme() {
            Scheme::Tcp | Scheme::Tls | Scheme::Unix | Scheme::Fd => {
                Ok(Self { typed: text.to_owned(), address })
            }
            _ => Err(format!(
                "the web page cannot be at {text}: write HOST:PORT, https://HOST:PORT or unix:PATH"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        text.parse().map(|web: WebAddress| web.address.to_string())
    }

    #[test]
    fn an_address_may_be_a_link_or_a_part_of_it() {
        assert_eq!(shown("127.0.0.1:8081").as_deref(), Ok("127.0.0.1:8081"));
        assert_eq!(shown("http://127.0.0.1:8081/").as_deref(), Ok("127.0.0.1:8081"));
        assert_eq!(shown("https://[::1]:8443").as_deref(), Ok("tls://[::1]:8443"));
        assert_eq!(shown("fd://web").as_deref(), Ok("fd://web"));
        assert!(shown("ws://127.0.0.1:1").unwrap_err().contains("HOST:PORT"));
        assert!(shown("udp://127.0.0.1:1").is_err());
        for with_path in ["127.0.0.1:1/chat", "https://127.0.0.1:1/chat"] {
            assert!(shown(with_path).unwrap_err().contains("without '/chat'"), "{with_path}");
        }
        assert!(shown("").is_err());
    }

    #[test]
    fn a_link_can_be_opened() {
        let flags =
            WebArgs { web: vec!["[::1]:1".parse().unwrap(), "https://a:2".parse().unwrap()] };
        assert_eq!(flags.links().collect::<Vec<_>>(), ["http://[::1]:1/", "https://a:2/"]);
    }
}
