//! `echoline chat --web`: the page and its WebSocket.

use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use super::binding::Bound;
use super::serving::is_loopback;
use crate::chat::PAGE;
use crate::net::{Address, OriginPolicy, Site};

/// The flags of the page.
#[derive(Debug, Args)]
pub(super) struct WebFlags {
    /// Where to listen for browsers: `--web 127.0.0.1:8081` is the same chat at
    /// http://127.0.0.1:8081.
    #[arg(long = "web", env = "ECHOLINE_WEB", value_name = "ADDR", value_delimiter = ',')]
    pub(super) addresses: Vec<Address>,

    /// Another origin under which browsers see the page, for example behind a proxy:
    /// https://chat.example.
    #[arg(long = "web-origin", env = "ECHOLINE_WEB_ORIGIN", value_name = "ORIGIN")]
    #[arg(value_delimiter = ',', value_parser = origin)]
    origins: Vec<String>,
}

impl WebFlags {
    /// Has the page answered on the listeners of its addresses, which are the last of `bound`.
    pub(super) fn furnish(&self, bound: &mut Bound) {
        let first = bound.listeners.len() - self.addresses.len();
        for (address, listeners) in self.addresses.iter().zip(&mut bound.listeners[first..]) {
            let policy =
                OriginPolicy { allowed: self.origins.clone(), is_loopback: is_loopback(address) };
            let site = Arc::new(Site::new(PAGE, policy));
            let with_site = |listener: crate::net::Listener| listener.then(site.clone());
            *listeners = std::mem::take(listeners).into_iter().map(with_site).collect();
        }
    }
}

/// An origin as browsers write it.
fn origin(text: &str) -> anyhow::Result<String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    match host {
        Some(host) if !host.is_empty() && host.bytes().all(is_name) => {
            Ok(text.to_ascii_lowercase())
        }
        _ => bail!("an origin is what a browser shows before the path: https://chat.example"),
    }
}
