//! `echoline send`: sends lines to a server and prints its replies.

mod connect;
mod datagrams;
mod dialogue;
mod failure;
mod input;
mod line_ends;
mod prompt;
mod protocol;
mod screen;
mod tally;
mod terminal;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use tokio::net::UdpSocket;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::commands::tls_client::TlsClientArgs;
use crate::config::{self, ConfigArgs};
use crate::files::output;
use crate::server::transport_args::ClientTransportArgs;
use crate::usage_error::UsageError;
use crate::values::{self, EolName, Timeout};
use connect::{advice, connect, shake_hands};
use datagrams::DatagramDialogue;
use dialogue::{DialogueEnd, DialogueEndpoint, DialogueOptions, LineDialogue};
use echoline::Address;
use echoline::listener::Scheme;
use echoline::tls::Resumption;
use echoline::transport::Stream;
use failure::SendFailure;
use input::Input;
use line_ends::LineEnds;
use prompt::Prompt;
use protocol::{ForeignProtocol, StreamCarrier};
use screen::Screen;
use tally::ReplyTally;
use terminal::Terminal;

/// The exit code after the user interrupted the client, as shells define it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// The exit code after SIGTERM: 128 + SIGTERM.
const TERMINATED: u8 = 143;

/// The flags of `echoline send`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Every line from the server counts as the reply to one line, except a greeting: lines that arrive \
before the first line is sent. Over udp:// each line and each reply is a datagram.

Exit code: 0 if every line was answered; 3 if the connection failed (refused, unreachable, \
unknown host); 4 after --timeout; 5 if the server closed the connection early; 1 after any other \
failure; 2 for wrong usage; 130 after Ctrl-C, 143 after SIGTERM.

Examples:
  echoline send 127.0.0.1:9000 hello
  echo hello | echoline send tls://localhost:8443 --ca ca.pem
  echoline send ws://127.0.0.1:8080/echo
  echoline send udp://127.0.0.1:7 hello")]
pub(crate) struct SendArgs {
    /// Server to connect to.
    ///
    /// HOST:PORT, tls://HOST:PORT, ws://HOST:PORT/PATH, wss://HOST:PORT/PATH, udp://HOST:PORT or
    /// unix:PATH.
    #[arg(value_name = "ADDR")]
    address: Address,

    /// Lines to send [default: the lines of standard input].
    ///
    /// On a terminal, 'send' shows a prompt; Ctrl-D ends the input.
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// Line end to send.
    ///
    /// With lf the bytes of standard input are sent unchanged. A last line without a line end is
    /// sent as it is.
    #[arg(long, env = "ECHOLINE_EOL", value_enum, default_value = "lf")]
    eol: EolName,

    /// Time to wait for the server, or 'off'.
    ///
    /// It applies to connecting, to sending while the server reads nothing, and to replies after
    /// the end of the input.
    #[arg(long, env = "ECHOLINE_TIMEOUT", value_name = "TIME")]
    #[arg(value_parser = values::timeout, default_value = "10s")]
    timeout: Timeout,

    /// Keep the sending side open at the end of the input.
    ///
    /// For servers that close the connection when the client closes its sending side. 'send' then
    /// closes the connection when every line was answered and the server was silent for 200 ms.
    #[arg(long, env = "ECHOLINE_NO_HALF_CLOSE")]
    no_half_close: bool,

    #[command(flatten)]
    wires: ClientTransportArgs,

    #[command(flatten)]
    tls: TlsClientArgs,

    #[command(flatten)]
    config: ConfigArgs,
}

/// Sends lines and prints replies. Returns exit code 0 if every line was answered.
pub(crate) fn run(flags: SendArgs) -> anyhow::Result<ExitCode> {
    let runtime = crate::process::resources::runtime()?;
    let result = runtime.block_on(send(flags));
    // A thread may still wait for stdin, and this wait may never end.
    runtime.shutdown_background();
    result.or_else(|SendFailure { code, error }| {
        if error.is::<UsageError>() {
            return Err(error);
        }
        output::tell(&format!("{:#}", crate::process::resources::explain(error)));
        Ok(ExitCode::from(code))
    })
}

async fn send(flags: SendArgs) -> Result<ExitCode, SendFailure> {
    let (address, timeout) = (&flags.address, flags.timeout.0);
    let is_open = flags.no_half_close && !config::may_set("no-half-close");
    if address.scheme() == Scheme::Udp && is_open {
        let text = format!("--no-half-close has no effect on {address}: remove the flag");
        return Err(anyhow!(UsageError::new(text)).into());
    }
    if let Some(text) = flags.wires.usage_error(std::slice::from_ref(address)) {
        return Err(anyhow!(UsageError::new(text)).into());
    }
    let side = flags.tls.prepare(std::slice::from_ref(address), Resumption::Off)?;
    let transport = flags.wires.transport(address, None, side.step(address)?);
    let begin = Instant::now();
    let wire = match address.scheme() {
        Scheme::Udp => SendTransport::Datagrams(datagrams::open(address).await?),
        _ => SendTransport::Stream(connect(address, timeout).await?),
    };
    let round_trip = begin.elapsed();
    let wire = match wire {
        SendTransport::Stream(stream) => {
            SendTransport::Stream(shake_hands(&transport, stream, address, timeout).await?)
        }
        datagrams => datagrams,
    };
    let interactive =
        flags.texts.is_empty() && io::stdin().is_terminal() && io::stdout().is_terminal();
    // The default action of SIGTERM would leave the terminal in the prompt's mode.
    let termination = interactive.then(|| signal(SignalKind::terminate())).and_then(Result::ok);
    // Dropping this restores the terminal, even while the thread of the prompt still waits for a
    // key.
    let terminal = interactive.then(Terminal::save);
    let line_ends = LineEnds::new(flags.eol.into());
    let (input, screen) = if interactive {
        let (prompt, printer) = Prompt::start(&format!("{address}> "))?;
        (Input::prompt(prompt, line_ends), Screen::prompt(printer))
    } else if flags.texts.is_empty() {
        (Input::stdin(line_ends), Screen::stdout())
    } else {
        (Input::texts(flags.texts, line_ends), Screen::stdout())
    };
    let carrier = match address.scheme() {
        scheme if scheme.is_websocket() => StreamCarrier::WebSocket,
        scheme if scheme.is_tls() => StreamCarrier::Tls,
        _ => StreamCarrier::Plain,
    };
    let manner = DialogueOptions { half_close: !flags.no_half_close, carrier };
    let holding = async {
        match wire {
            SendTransport::Stream(stream) => {
                LineDialogue { input, screen, timeout, round_trip, manner }.hold(stream).await
            }
            SendTransport::Datagrams(socket) => {
                DatagramDialogue { input, screen, timeout }.hold(&socket).await
            }
        }
    };
    let held = tokio::select! {
        held = holding => Some(held),
        () = terminated(termination) => None,
    };
    drop(terminal);
    let Some((ending, tally)) = held else { return Ok(ExitCode::from(TERMINATED)) };
    if interactive && matches!(ending, DialogueEnd::Closed { input_left: true }) {
        // At a prompt the server closes after the user has typed `QUIT`, so no input is left over.
        output::tell(&format!("{address} closed the connection"));
        return Ok(if tally.unanswered() == 0 {
            ExitCode::SUCCESS
        } else {
            failure::CLOSED.into()
        });
    }
    conclude(ending, &tally, (address, flags.no_half_close), timeout)
}

/// Waits for SIGTERM; never returns if there is no signal handler.
async fn terminated(signal: Option<Signal>) {
    match signal {
        Some(mut signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The socket that carries the lines.
enum SendTransport {
    Stream(Stream),
    Datagrams(UdpSocket),
}

/// Prints at most one sentence about the end of the dialogue. Returns the exit code.
fn conclude(
    ending: DialogueEnd,
    tally: &ReplyTally,
    (address, no_half_close): (&Address, bool),
    timeout: Option<Duration>,
) -> Result<ExitCode, SendFailure> {
    let count = match tally.unanswered() {
        0 => String::new(),
        missing => format!("; {missing} of {} lines were not answered", tally.sent()),
    };
    let answered = tally.unanswered() == 0;
    let closed = |text| Err(SendFailure::closed(anyhow!("{address} {text}{count}")));
    match ending {
        DialogueEnd::Interrupted => return Ok(ExitCode::from(INTERRUPTED)),
        DialogueEnd::OutputGone => {}
        DialogueEnd::Closed { input_left: false } | DialogueEnd::Silent { unsent: false }
            if answered => {}
        DialogueEnd::Closed { input_left: false } => {
            let (missing, sent) = (tally.unanswered(), tally.sent());
            let hint = match missing == sent && !no_half_close {
                true => "; if it closes when the client stops sending, add --no-half-close",
                false => "",
            };
            let text = format!("{missing} of {sent} lines were not answered by {address}{hint}");
            return Err(SendFailure::closed(anyhow!(text)));
        }
        DialogueEnd::Closed { input_left: true } => {
            return closed("closed the connection before the end of the input");
        }
        DialogueEnd::Silent { unsent } => {
            let length = timeout.unwrap_or_default();
            let what = if unsent { "read and sent" } else { "sent" };
            let text = format!("{address} {what} nothing for {length:?} (--timeout){count}");
            return Err(SendFailure::timed_out(anyhow!(text)));
        }
        DialogueEnd::MisdirectedProtocol(protocol) => return Err(foreign(protocol, address).into()),
        DialogueEnd::Broken(DialogueEndpoint::Server, _) if tally.is_complete() => {}
        DialogueEnd::Broken(DialogueEndpoint::Server, error) if address.scheme() == Scheme::Udp => {
            let text = format!("{address} cannot be reached{}{count}", advice(&error));
            return Err(SendFailure::not_connected(anyhow!(error).context(text)));
        }
        DialogueEnd::Broken(DialogueEndpoint::Server, error) => {
            let text = format!("{address} ended the connection{count}");
            return Err(SendFailure::closed(anyhow!(error).context(text)));
        }
        DialogueEnd::Broken(DialogueEndpoint::Input, error) => {
            return Err(anyhow!(error).context("cannot read the input").into());
        }
        DialogueEnd::Broken(DialogueEndpoint::Output, error) => {
            return Err(anyhow!(error).context("cannot write to stdout").into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns an error that names the protocol of the server and how to reach it.
fn foreign(protocol: ForeignProtocol, address: &Address) -> anyhow::Error {
    match protocol {
        ForeignProtocol::Tls if address.scheme() == Scheme::Unix => {
            anyhow!("{address} expects TLS, which 'send' does not support over a Unix socket")
        }
        ForeignProtocol::Tls => {
            anyhow!("{address} expects TLS: write tls://{address}")
        }
        ForeignProtocol::Http => anyhow!(
            "{address} is a web server (it replied in HTTP): check the port, or write \
             ws://HOST:PORT/PATH for a WebSocket"
        ),
    }
}
