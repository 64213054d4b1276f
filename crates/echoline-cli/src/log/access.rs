//! The access log: one line for each connection, when it has ended.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::sink::{LogOutput, LogTarget, LogWriter, write};
use crate::process::reload::Reload;
use crate::server::check_report::{self, CheckReport};
use echoline::Server;
use echoline::metrics::ConnectionSummary;
use echoline::tls::TlsFacts;
use echoline_base::printable::{printable, printable_json};

/// The path that means standard output.
const STDOUT: &str = "-";

/// The flags of the access log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct AccessLogArgs {
    /// File for one line per closed connection; '-' is standard output.
    ///
    /// A line has the source, the duration, the bytes and lines of each direction, and the reason
    /// why the connection ended. SIGHUP opens the file again, for log rotation.
    #[arg(long, env = "ECHOLINE_ACCESS_LOG", value_name = "FILE")]
    access_log: Option<PathBuf>,

    /// Format of --access-log.
    #[arg(long, env = "ECHOLINE_ACCESS_LOG_FORMAT", value_enum, default_value = "text")]
    #[arg(requires = "access_log")]
    access_log_format: AccessLogFormat,
}

/// The format of the access log.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum AccessLogFormat {
    /// KEY=VALUE pairs, separated by spaces.
    Text,
    /// One JSON object per line.
    Json,
}

/// The access log of a process. Dropping it writes the queued lines.
pub(crate) struct AccessLog {
    writing: LogWriter,
    format: AccessLogFormat,
}

impl AccessLogArgs {
    fn path(&self) -> Option<&Path> {
        self.access_log.as_deref().filter(|path| *path != Path::new(STDOUT))
    }

    /// Checks whether the access log can be written.
    pub(crate) fn check(&self, findings: &mut CheckReport) {
        if let Some(path) = self.path() {
            check_report::writable("--access-log", path, findings);
        }
    }

    /// Opens the access log, if the flags ask for one, and has SIGHUP reopen its file.
    ///
    /// # Errors
    /// One sentence if the file cannot be written.
    pub(crate) fn start<F>(&self, reload: &mut Reload<F>) -> anyhow::Result<Option<AccessLog>> {
        if self.access_log.is_none() {
            return Ok(None);
        }
        let format = self.access_log_format;
        let writing = write(format.kind(), self.path())?;
        let successor = writing.successor.clone();
        reload.always(move || successor.reopen());
        Ok(Some(AccessLog { writing, format }))
    }
}

impl AccessLog {
    /// Makes `server`, whose listeners are at `addresses`, log its closed connections.
    pub(crate) fn follow(&self, server: Server, addresses: Vec<String>) -> Server {
        let (writer, format) = (self.writing.writer.clone(), self.format);
        server.on_closed(move |summary| {
            let now = jiff::Timestamp::now();
            let listener = addresses.get(summary.origin.listener).map_or("", String::as_str);
            let line = format.line(&format!("{now:.6}"), listener, &summary);
            // This never fails: a line that does not fit the queue is counted.
            let _ = writer.clone().write_all(line.as_bytes());
        })
    }
}

impl AccessLogFormat {
    fn kind(self) -> LogOutput {
        let notice: fn(usize) -> String = match self {
            Self::Text => |lost| format!("{:.6} lines_lost={lost}\n", jiff::Timestamp::now()),
            Self::Json => |lost| {
                let now = jiff::Timestamp::now();
                format!("{{\"time\":\"{now:.6}\",\"lines_lost\":{lost}}}\n")
            },
        };
        LogOutput { flag: "--access-log", standard: || LogTarget::Stdout, notice }
    }

    /// Returns the line about one connection.
    fn line(self, now: &str, listener: &str, summary: &ConnectionSummary) -> String {
        match self {
            Self::Text => text(now, listener, summary),
            Self::Json => {
                let line = json(now, listener, summary).to_string();
                format!("{}\n", printable_json(&line))
            }
        }
    }
}

/// Returns the address of the client, or `unix`, because clients of a Unix socket have no address.
fn source(summary: &ConnectionSummary) -> String {
    summary.origin.peer.map_or_else(|| "unix".to_owned(), |peer| peer.to_string())
}

fn text(now: &str, listener: &str, summary: &ConnectionSummary) -> String {
    let origin = &summary.origin;
    let mut line = now.to_owned();
    let mut add = |key: &str, value: &str| {
        let is_plain = |letter: char| letter.is_ascii_graphic() && letter != '"';
        // A peer chooses some of these values. It must not be able to forge a line or another
        // value.
        let _ = match !value.is_empty() && value.chars().all(is_plain) {
            true => write!(line, " {key}={value}"),
            false => write!(line, " {key}=\"{}\"", printable(&value.escape_debug().to_string())),
        };
    };
    add("connection", &origin.number.to_string());
    add("listener", listener);
    add("source", &source(summary));
    if let Some(client) = origin.source {
        add("client", &client.to_string());
    }
    if let Some(tls) = &origin.tls {
        add("tls", &tls.version);
        tls.server_name.iter().for_each(|name| add("server_name", name));
        tls.subject.iter().for_each(|subject| add("subject", subject));
        fingerprint(tls).iter().for_each(|fingerprint| add("fingerprint", fingerprint));
        alpn(tls).iter().for_each(|protocol| add("alpn", protocol));
    }
    add("duration", &format!("{:.6}", summary.duration.as_secs_f64()));
    for (key, count) in [
        ("bytes_received", summary.bytes_received),
        ("lines_received", summary.lines_received),
        ("bytes_sent", summary.bytes_sent),
        ("lines_sent", summary.lines_sent),
    ] {
        add(key, &count.to_string());
    }
    add("reason", summary.closed.label());
    origin.failure.iter().for_each(|trouble| add("trouble", trouble));
    line.push('\n');
    line
}

/// Returns the fingerprint of the client's certificate, which identifies it better than its
/// subject.
fn fingerprint(tls: &TlsFacts) -> Option<String> {
    tls.peer_certificate().map(|certificate| certificate.fingerprint().to_string())
}

fn alpn(tls: &TlsFacts) -> Option<String> {
    tls.alpn.as_deref().map(|protocol| String::from_utf8_lossy(protocol).into_owned())
}

fn json(now: &str, listener: &str, summary: &ConnectionSummary) -> serde_json::Value {
    let origin = &summary.origin;
    let tls = origin.tls.as_ref().map(|tls| {
        json!({
            "version": tls.version,
            "cipher": tls.cipher,
            "subject": tls.subject,
            "server_name": tls.server_name,
            "fingerprint": fingerprint(tls),
            "alpn": alpn(tls),
        })
    });
    json!({
        "time": now,
        "connection": origin.number,
        "listener": listener,
        "source": source(summary),
        "client": origin.source.map(|client| client.to_string()),
        "tls": tls,
        "duration": summary.duration.as_secs_f64(),
        "bytes_received": summary.bytes_received,
        "lines_received": summary.lines_received,
        "bytes_sent": summary.bytes_sent,
        "lines_sent": summary.lines_sent,
        "reason": summary.closed.label(),
        "trouble": origin.failure,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use echoline::Closed;
    use echoline::tls::PeerCertificate;
    use echoline::transport::Origin;

    fn summary(origin: Origin) -> ConnectionSummary {
        let mut summary = ConnectionSummary::of(origin, Closed::EndOfStream);
        summary.duration = Duration::from_micros(1_203_456);
        (summary.bytes_received, summary.lines_received) = (8, 2);
        (summary.bytes_sent, summary.lines_sent) = (20, 2);
        summary
    }

    fn origin() -> Origin {
        let mut origin = Origin::default();
        (origin.number, origin.peer) = (7, "192.0.2.1:4711".parse().ok());
        origin
    }

    /// Issue 11, item 48: a line contains every known fact about the connection, and a value that
    /// the peer chooses cannot forge others.
    #[test]
    fn regression_a_line_of_the_access_log_has_every_known_fact() {
        let plain = AccessLogFormat::Text.line("NOW", "127.0.0.1:80", &summary(origin()));
        assert_eq!(
            plain,
            "NOW connection=7 listener=127.0.0.1:80 source=192.0.2.1:4711 duration=1.203456 \
             bytes_received=8 lines_received=2 bytes_sent=20 lines_sent=2 reason=end_of_stream\n"
        );
        let mut proxied = origin();
        proxied.source = "198.51.100.7:1".parse().ok();
        proxied.failure = Some("a \"b\"\nNOW connection=8".to_owned());
        let mut tls = TlsFacts::default();
        tls.version = "TLSv1.3".to_owned();
        tls.cipher = "TLS13_AES_256_GCM_SHA384".to_owned();
        tls.subject = Some("CN=ann b\n".to_owned());
        tls.server_name = Some("a.example".to_owned());
        tls.certificates = vec![PeerCertificate::from_der(&b"hello"[..])];
        tls.alpn = Some(b"a\nb".to_vec());
        proxied.tls = Some(Box::new(tls));
        let text =
            AccessLogFormat::Text.line("NOW", "tls://127.0.0.1:80", &summary(proxied.clone()));
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in [
            " client=198.51.100.7:1 tls=TLSv1.3 server_name=a.example subject=\"CN=ann b\\n\" ",
            " fingerprint=2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 \
             alpn=\"a\\nb\" duration=",
            r#" trouble="a \"b\"\nNOW connection=8""#,
        ] {
            assert!(text.contains(part), "{text}");
        }
        let line = AccessLogFormat::Json.line("NOW", "tls://127.0.0.1:80", &summary(proxied));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["client"], "198.51.100.7:1");
        assert_eq!(value["tls"]["subject"], "CN=ann b\n");
        assert_eq!(value["tls"]["alpn"], "a\nb");
        assert!(value["tls"]["fingerprint"].as_str().unwrap().starts_with("2cf24dba"));
        assert_eq!((&value["lines_sent"], &value["duration"]), (&json!(2), &json!(1.203456)));
        assert_eq!(line.lines().count(), 1);
        let unix = AccessLogFormat::Text.line("NOW", "unix:/run/a b", &summary(Origin::default()));
        assert!(unix.contains(" listener=\"unix:/run/a b\" source=unix "), "{unix}");
    }
}
