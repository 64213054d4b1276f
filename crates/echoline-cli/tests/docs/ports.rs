//! Replaces the ports on a page with free ports, for machines without namespaces.

use crate::page::Command;
use crate::programs::nobody;

/// The port of a server without `--listen`.
const DEFAULT: &str = "8080";

/// Replaces each documented port, in commands and in the output that is shown.
#[derive(Debug, Default)]
pub(crate) struct FreePorts(Vec<(String, String)>);

impl FreePorts {
    /// Chooses a free port for each port of `commands`, and for the default port of a server.
    pub(crate) fn choose(commands: &[Command]) -> Self {
        let typed = commands.iter().flat_map(|command| ports(&command.text));
        let mut ports: Vec<String> = typed.chain([DEFAULT.to_owned()]).collect();
        ports.sort();
        ports.dedup();
        Self(ports.into_iter().map(|port| (port, nobody().port().to_string())).collect())
    }

    pub(crate) fn replace(&self, text: &str) -> String {
        let mut replaced = String::new();
        for word in split_numbers(text) {
            let free = self.0.iter().find(|(port, _)| port == word);
            replaced.push_str(free.map_or(word, |(_, free)| free));
        }
        replaced
    }
}

/// Returns the numbers that follow an address of this machine and a colon or space.
fn ports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]"] {
        for behind in text.split(host).skip(1) {
            let Some(port) = behind.strip_prefix([':', ' ']) else { continue };
            let digits = port.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or("");
            if digits.parse::<u16>().is_ok_and(|port| port >= 1024) {
                found.push(digits.to_owned());
            }
        }
    }
    found
}

/// Splits text into numbers and the text between them.
fn split_numbers(text: &str) -> impl Iterator<Item = &str> {
    text.as_bytes()
        .chunk_by(|one, next| one.is_ascii_digit() == next.is_ascii_digit())
        .map(|chunk| std::str::from_utf8(chunk).unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_numbers_that_are_ports() {
        let text = "nc 127.0.0.1 8080; echoline send tls://localhost:8443 '18080'; seq 8443";
        assert_eq!(ports(text), ["8080", "8443"]);
        let ports = FreePorts(vec![("8080".to_owned(), "4711".to_owned())]);
        assert_eq!(ports.replace("…:8080… 18080 80801 é8080"), "…:4711… 18080 80801 é4711");
    }
}
