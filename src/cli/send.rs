//! `echoline send`: lines to a server, its answers to stdout.

mod datagrams;
mod dialogue;
mod input;
mod line_ends;
mod prompt;
mod screen;
mod tally;
mod terminal;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use tokio::net::{TcpStream, UdpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::config::ConfigFlags;
use super::output;
use super::tls_client::TlsClientFlags;
use super::values::{self, EolName, Timeout};
use super::wires::ClientWireFlags;
use crate::net::{Address, Origin, Resumption, Scheme, Stream, Transport};
use datagrams::DatagramDialogue;
use dialogue::{Dialogue, Ending, Side};
use input::Input;
use line_ends::LineEnds;
use prompt::Prompt;
use screen::Screen;
use tally::Tally;
use terminal::Terminal;

/// What a client that the user broke off ends with, as shells have it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// The same for SIGTERM.
const TERMINATED: u8 = 143;

/// The flags of `echoline send`.
#[derive(Debug, Args)]
#[command(after_help = "\
A line counts as answered when a line came back: lines that come before the first one is sent \
(echoline waits a moment for a greeting) do not count, and from then on every line of the server \
is the answer to one line. Over udp:// each line is a datagram, and each datagram that comes is \
the answer to one.

Exit code: 0 when every line was answered, 1 otherwise, 2 for wrong usage, 130 after Ctrl-C.")]
pub(super) struct SendFlags {
    /// The server: HOST:PORT, or with udp://, tls://, ws:// or wss:// before it, or unix:PATH.
    /// The server: HOST:PORT, tls://HOST:PORT, ws://HOST:PORT/PATH, udp://HOST:PORT or unix:PATH.
    #[arg(value_name = "ADDR")]
    address: Address,

    /// Lines to send. Without any, the lines of stdin; on a terminal, a prompt: Ctrl-D ends.
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// What lines end with. With lf the bytes of stdin go out unchanged.
    #[arg(long, env = "ECHOLINE_EOL", value_enum, default_value = "lf")]
    eol: EolName,

    /// How long the server may be silent while it is connected to, while it takes nothing, and
    /// after the end of the input; or 'off'.
    #[arg(long, env = "ECHOLINE_TIMEOUT", value_name = "DURATION")]
    #[arg(value_parser = values::timeout, default_value = "10s")]
    timeout: Timeout,

    #[command(flatten)]
    wires: ClientWireFlags,

    #[command(flatten)]
    tls: TlsClientFlags,

    #[command(flatten)]
    config: ConfigFlags,
}

/// Sends and prints. Exit code 0 when every line was answered.
pub(super) fn run(flags: SendFlags) -> anyhow::Result<ExitCode> {
    let runtime = super::resources::runtime()?;
    let result = runtime.block_on(send(flags));
    // A thread may still wait for stdin, which may never end.
    runtime.shutdown_background();
    result
}

async fn send(flags: SendFlags) -> anyhow::Result<ExitCode> {
    let (address, timeout) = (&flags.address, flags.timeout.0);
    let side = flags.tls.prepare(std::slice::from_ref(address), Resumption::Off)?;
    let transport = flags.wires.transport(address, None, side.step(address)?);
    let begin = Instant::now();
    let wire = match address.scheme() {
        Scheme::Udp => Wire::Datagrams(datagrams::open(address).await?),
        _ => Wire::Stream(connect(address, timeout).await?),
    };
    let round_trip = begin.elapsed();
    let wire = match wire {
        Wire::Stream(stream) => {
            Wire::Stream(shake_hands(&transport, stream, address, timeout).await?)
        }
        datagrams => datagrams,
    };
    let interactive =
        flags.texts.is_empty() && io::stdin().is_terminal() && io::stdout().is_terminal();
    // It would end the program with the terminal as the prompt has it.
    let termination = interactive.then(|| signal(SignalKind::terminate())).and_then(Result::ok);
    // Put back even while the prompt's own thread still waits for a key.
    let terminal = interactive.then(Terminal::save);
    let line_ends = LineEnds::new(flags.eol.into());
    let (input, screen) = if interactive {
        let (prompt, printer) = Prompt::start(&format!("{address}> "))?;
        (Input::prompt(prompt, line_ends), Screen::prompt(printer))
    } else if flags.texts.is_empty() {
        (Input::stdin(line_ends), Screen::plain(tokio::io::stdout()))
    } else {
        (Input::texts(flags.texts, line_ends), Screen::plain(tokio::io::stdout()))
    };
    let holding = async {
        match wire {
            Wire::Stream(stream) => {
                Dialogue { input, screen, timeout, round_trip }.hold(stream).await
            }
            Wire::Datagrams(socket) => {
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
    if interactive && matches!(ending, Ending::Closed { input_left: true }) {
        // At a prompt that is how one leaves (`QUIT`), and what else is to come nobody knows.
        output::tell(&format!("{address} closed the connection"));
        return Ok(if tally.unanswered() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    conclude(ending, &tally, address, timeout)
}

/// Waits for SIGTERM, where there is somebody to hear it.
async fn terminated(signal: Option<Signal>) {
    match signal {
        Some(mut signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// What the lines travel over.
enum Wire {
    Stream(Stream),
    Datagrams(UdpSocket),
}

/// Connects to the first address that takes us, within the time-out for each.
async fn connect(address: &Address, timeout: Option<Duration>) -> anyhow::Result<Stream> {
    if let Some(path) = address.unix_path() {
        let connecting = Stream::connect_unix(path);
        let connected = match timeout {
            Some(length) => tokio::time::timeout(length, connecting).await.ok(),
            None => Some(connecting.await),
        };
        let Some(connected) = connected else {
            bail!(
                "cannot connect to {address}: its queue has been full for {:?} (--timeout)",
                timeout.unwrap_or_default()
            )
        };
        return connected.map_err(|error| {
            let advice = advice(&error);
            anyhow!(error).context(format!("cannot connect to {address}{advice}"))
        });
    }
    let found = address.resolve().await.with_context(|| {
        format!("cannot find {address}: check the name, or write the number of the address")
    })?;
    let mut last = anyhow!("{address} has no address");
    for socket in found {
        let connecting = TcpStream::connect(socket);
        let connected = match timeout {
            Some(length) => tokio::time::timeout(length, connecting).await,
            None => Ok(connecting.await),
        };
        last = match connected {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
                return Ok(stream.into());
            }
            Ok(Err(error)) => {
                let advice = advice(&error);
                anyhow!(error).context(format!("cannot connect to {address}{advice}"))
            }
            Err(_) => anyhow!(
                "cannot connect to {address}: no answer within {:?}; is the address right, or does \
                 a firewall drop what is sent to it?",
                timeout.unwrap_or_default()
            ),
        };
    }
    Err(last)
}

/// Takes the steps between the socket and the dialogue, within the time-out.
async fn shake_hands(
    transport: &Transport,
    stream: Stream,
    address: &Address,
    timeout: Option<Duration>,
) -> anyhow::Result<Stream> {
    let mut origin = Origin::default();
    let opened = {
        let opening = transport.open(stream, &mut origin);
        match timeout {
            Some(length) => tokio::time::timeout(length, opening).await,
            None => Ok(opening.await),
        }
    };
    match opened {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(closed)) => {
            let why = origin.trouble.unwrap_or_else(|| closed.to_string());
            bail!("cannot talk to {address}: {why}")
        }
        Err(_) => bail!(
            "cannot talk to {address}: it did not finish the handshake within {:?} (--timeout)",
            timeout.unwrap_or_default()
        ),
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (there is no such socket; is the server running?)",
        io::ErrorKind::ConnectionRefused => " (is the server running, and there?)",
        io::ErrorKind::AddrNotAvailable => " (all local ports are in use; wait a minute)",
        _ => "",
    }
}

/// One sentence and the exit code.
fn conclude(
    ending: Ending,
    tally: &Tally,
    address: &Address,
    timeout: Option<Duration>,
) -> anyhow::Result<ExitCode> {
    let count = match tally.unanswered() {
        0 => String::new(),
        missing => format!("; {missing} of {} lines were not answered", tally.sent()),
    };
    let answered = tally.unanswered() == 0;
    match ending {
        Ending::Interrupted => return Ok(ExitCode::from(INTERRUPTED)),
        Ending::OutputGone => {}
        Ending::Closed { input_left: false } | Ending::Silent { unsent: false } if answered => {}
        Ending::Closed { input_left: false } => {
            bail!("{} of {} lines were not answered by {address}", tally.unanswered(), tally.sent())
        }
        Ending::Closed { input_left: true } => {
            bail!("{address} closed the connection before the end of the input{count}")
        }
        Ending::Silent { unsent } => {
            let length = timeout.unwrap_or_default();
            let what = if unsent { "took and said" } else { "said" };
            bail!("{address} {what} nothing for {length:?} (--timeout){count}")
        }
        Ending::Broken(Side::Server, _) if tally.is_complete() => {}
        Ending::Broken(Side::Server, error) if address.scheme() == Scheme::Udp => {
            let advice = advice(&error);
            return Err(error).context(format!("{address} cannot be reached{advice}{count}"));
        }
        Ending::Broken(Side::Server, error) => {
            return Err(error).context(format!("{address} broke off the connection{count}"));
        }
        Ending::Broken(Side::Input, error) => return Err(error).context("cannot read the input"),
        Ending::Broken(Side::Output, error) => return Err(error).context("cannot write to stdout"),
    }
    Ok(ExitCode::SUCCESS)
}
