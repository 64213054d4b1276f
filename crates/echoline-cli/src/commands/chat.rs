//! `echoline chat`: turns flags into a chat, and the result of the chat into an exit code.

pub(crate) mod cluster;
pub(crate) mod doctor;
pub(crate) mod hash_password;
pub(crate) mod history;
pub(crate) mod verify;

use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};

use self::cluster::ClusterArgs;
use self::doctor::DoctorArgs;
use self::hash_password::{HashPasswordArgs, PASSWORD_MIN};
use self::history::{BackupArgs, EraseArgs, ExportArgs, RestoreArgs};
use self::verify::VerifyArgs;
use crate::admin::ExtraMetrics;
use crate::files::output;
use crate::process::reload::{Commit, Reload, ReloadHook};
use crate::server::args::{ServerCommand, ServingArgs};
use crate::server::binding::OnNearlyFull;
use crate::server::check_report::CheckReport;
use crate::server::service::{Service, WebPage};
use crate::server::service_address::ServiceAddress;
use crate::server::tls::ExpiredCertificatePolicy;
use crate::server::web::WebArgs;
use crate::usage_error::UsageError;
use crate::values;
use echoline::sources::SourceLimits;
use echoline::websocket::Framing;
use echoline::{Address, Eol, Limits};
use echoline_base::SecretText;
use echoline_chat::history::{StoreError, StoreOptions, SyncPolicy};
use echoline_chat::{self, Chat, ChatSettings, LogLimits, Name, Role};

/// The default line limit and stall time-out of a chat. People type lines, and a client that reads
/// nothing for 10 s no longer follows the conversation.
const MAX_LINE: usize = 4096;
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Bounds of the time that the shutdown waits for the disk. The shutdown waits for the rest of
/// --drain-timeout, but at least a second, so that lines can still be written.
const CLOSE_MIN: Duration = Duration::from_secs(1);
const CLOSE_MAX: Duration = Duration::from_secs(6);

/// The action that applies a setting that a reload cannot change.
pub(crate) const APPLIED_BY: &str = "a restart";

/// The flags of `echoline chat`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
#[command(after_long_help = "\
Signals: after SIGTERM or Ctrl-C, the chat waits up to --drain-timeout until its users have \
received all lines; a second signal ends it at once. SIGHUP reads settings and certificates again.

Exit code: 0 if every user could be served to the end, 1 if not or after a failure, 2 for wrong \
usage.

Examples:
  echoline chat --listen 127.0.0.1:9001 --web 127.0.0.1:8081
  echoline chat --listen 0.0.0.0:9001 --data /var/lib/echoline
  echoline chat --web https://0.0.0.0:8443 --cert server.pem --key key.pem
  echoline chat --bus nats://10.0.0.1:4222 --node east")]
pub(crate) struct ChatArgs {
    #[command(subcommand)]
    also: Option<ChatSubcommand>,

    /// Address for terminals [default: 127.0.0.1:8080].
    ///
    /// The flag is repeatable. HOST:PORT, tls://HOST:PORT, unix:PATH, or fd://NAME for a socket
    /// from the service manager (systemd). ws://HOST:PORT/PATH and wss://HOST:PORT/PATH are for
    /// programs that speak WebSocket; --web is for browsers. telnet://HOST:PORT asks Telnet clients
    /// for the width of their window, to wrap long lines. Without this flag, the server uses the
    /// sockets from the service manager, if there are any.
    #[arg(long, env = "ECHOLINE_LISTEN", value_name = "ADDR", value_delimiter = ',')]
    listen: Vec<ChatListen>,

    /// Address for bots, which speak JSON lines.
    ///
    /// The flag is repeatable. --flood does not limit the lines of bots.
    #[arg(long, env = "ECHOLINE_BOT", value_name = "ADDR", value_delimiter = ',')]
    bot: Vec<Address>,

    #[command(flatten)]
    web: WebArgs,

    /// Folder for rooms, lines, bans and tokens [default: memory only].
    #[arg(help_heading = "History", long, env = "ECHOLINE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Time at which a line must be safe on the disk of --data.
    #[arg(long, env = "ECHOLINE_HISTORY_SYNC", value_name = "WHEN", help_heading = "History")]
    #[arg(value_enum, default_value = "second")]
    history_sync: SyncName,

    /// Lines to keep of each room.
    #[arg(long, env = "ECHOLINE_HISTORY", value_name = "N", default_value = "10000")]
    #[arg(value_parser = values::count::<NonZeroUsize>, help_heading = "History")]
    history: NonZeroUsize,

    /// Earlier lines to show to a new user [default: 20 with --data or --bus, else 0].
    #[arg(long, env = "ECHOLINE_REPLAY", value_name = "N", help_heading = "History")]
    #[arg(value_parser = |text: &str| values::number_in(text, 0..=u64::MAX))]
    replay: Option<u64>,

    /// Room that every user joins first.
    #[arg(help_heading = "Rooms and users")]
    #[arg(long, env = "ECHOLINE_LOBBY", value_name = "NAME", default_value = "lobby")]
    #[arg(value_parser = values::room_name)]
    lobby: Name,

    /// Limit of rooms.
    #[arg(help_heading = "Rooms and users")]
    #[arg(long, env = "ECHOLINE_MAX_ROOMS", value_name = "N", default_value = "1000")]
    #[arg(value_parser = values::count::<NonZeroUsize>)]
    max_rooms: NonZeroUsize,

    /// Limit of rooms created by users of one address.
    #[arg(help_heading = "Rooms and users")]
    #[arg(long, env = "ECHOLINE_MAX_ROOMS_PER_IP", value_name = "N", default_value = "100")]
    #[arg(value_parser = values::count::<NonZeroUsize>)]
    max_rooms_per_ip: NonZeroUsize,

    /// Lines per second that one user may send, or 'off'.
    ///
    /// A user may send --burst lines at once. Further lines are refused until the rate allows them.
    #[arg(help_heading = "Rooms and users")]
    #[arg(long, env = "ECHOLINE_FLOOD", value_name = "RATE", default_value = "5/s")]
    #[arg(value_parser = values::flood)]
    flood: values::FloodRate,

    /// Lines that one user may send at once.
    #[arg(help_heading = "Rooms and users")]
    #[arg(long, env = "ECHOLINE_BURST", value_name = "N", default_value = "20")]
    #[arg(value_parser = values::count::<NonZeroU16>)]
    burst: NonZeroU16,

    /// Time for a client to give a name.
    #[arg(long, env = "ECHOLINE_LOGIN_TIMEOUT", value_name = "TIME")]
    #[arg(help_heading = "Rooms and users")]
    #[arg(value_parser = values::some_duration, default_value = "30s")]
    login_timeout: Duration,

    /// Idle time after which a nearly full server disconnects users, or 'off'.
    ///
    /// When nine of ten connections are in use, users who were idle for this time are disconnected
    /// to make room. Users of the addresses with the most users are disconnected first.
    #[arg(long, env = "ECHOLINE_IDLE_WHEN_FULL", value_name = "TIME")]
    #[arg(help_heading = "Rooms and users")]
    #[arg(value_parser = values::timeout, default_value = "5m")]
    idle_when_full: values::Timeout,

    /// File whose first line is the operator password (/oper), or its hash.
    ///
    /// `echoline chat hash-password` prints the hash of a password.
    #[arg(long, env = "ECHOLINE_OPERATOR_PASSWORD_FILE", value_name = "FILE")]
    #[arg(help_heading = "Rooms and users")]
    operator_password_file: Option<PathBuf>,

    /// Check settings and files without starting the server.
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    bus: ClusterArgs,

    #[command(flatten)]
    serving: ServingArgs,
}

/// The subcommands of `echoline chat`, which serves a chat if none is given.
#[derive(Debug, Subcommand)]
enum ChatSubcommand {
    /// Compare the transcripts of several clients.
    ///
    /// All of them must have the same order, no gap without a notice, and no line twice.
    Verify(VerifyArgs),

    /// Examine the NATS servers of a cluster.
    ///
    /// Reports the versions of the servers and their known defects, the settings of the stream, the
    /// snapshots and the clocks. It changes nothing.
    Doctor(DoctorArgs),

    /// Back up the history of --data into one file.
    ///
    /// The chat may be running.
    Backup(BackupArgs),

    /// Restore a backup into a folder for --data.
    Restore(RestoreArgs),

    /// Print all lines of a room of --data.
    ///
    /// The output is text or JSON. The chat may be running.
    Export(ExportArgs),

    /// Erase the words and the name of a user from --data.
    ///
    /// The chat must not be running. Lines keep their numbers and times. The words, names and
    /// topics of the user become `[deleted]`, the tokens of the user are removed, and the file is
    /// rewritten. Bans of the name stay, and so do the words of other users about the user.
    Erase(EraseArgs),

    /// Print the hash of an operator password.
    ///
    /// It is an Argon2id hash for the file of --operator-password-file. The command asks for the
    /// password twice without showing it. If standard input is not a terminal, its first line is
    /// the password.
    HashPassword(HashPasswordArgs),
}

/// A listening address, and the role of the clients that connect to it.
#[derive(Clone, Debug)]
struct ChatListen {
    typed: String,
    address: Address,
    role: Role,
}

impl FromStr for ChatListen {
    type Err = <Address as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, role) = match text.strip_prefix("telnet://") {
            Some(rest) => (rest, Role::Telnet),
            None => (text, Role::User),
        };
        rest.parse().map(|address| Self { typed: text.to_owned(), address, role })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum SyncName {
    /// Before other users see it.
    Each,
    /// Within a second. Other users see it at once.
    Second,
}

/// Serves until a signal ends the chat. The exit code is 0 if every user could leave in order, else
/// 1.
pub(crate) fn run(flags: ChatArgs, mut reload: Reload<ChatArgs>) -> anyhow::Result<ExitCode> {
    match &flags.also {
        Some(ChatSubcommand::Verify(flags)) => return verify::run(flags),
        Some(ChatSubcommand::Doctor(flags)) => return doctor::run(flags),
        Some(ChatSubcommand::Backup(flags)) => return history::back_up(flags),
        Some(ChatSubcommand::Restore(flags)) => return history::put_back(flags),
        Some(ChatSubcommand::Export(flags)) => return history::export(flags),
        Some(ChatSubcommand::Erase(flags)) => return history::erase_name(flags),
        Some(ChatSubcommand::HashPassword(_)) => return hash_password::run(),
        None => {}
    }
    let mut settings = flags.settings()?;
    if flags.check {
        return flags.try_out(settings);
    }
    let mut bound = flags.serving.bind(flags.service())?;
    let _log = flags.serving.start_log(&mut reload)?;
    settings.sources = Arc::clone(&bound.sources);
    let linked = flags.bus.open(settings.clone(), flags.serving.shared_files())?;
    let chat = match &linked {
        Some(linked) => {
            bound.figures = Some(ExtraMetrics::new(linked.figures()));
            linked.chat()
        }
        None => flags.open(settings)?,
    };
    let roles = flags.roles(bound.counts().collect());
    reload.add(reload_hook(Arc::clone(&chat)));
    let crowded = Arc::clone(&chat);
    bound.on_nearly_full = Some(OnNearlyFull(Box::new(move |occupancy| {
        crowded.end_idle_users(occupancy.excess());
    })));
    let guests = Arc::clone(&chat);
    let handler = move |client: echoline::Connection| {
        let role = roles.get(client.origin().listener).copied();
        echoline_chat::serve(client, Arc::clone(&guests), role.unwrap_or_default())
    };
    let (code, left) = flags.serving.run_and_leave(bound, reload, handler)?;
    if let Some(linked) = linked {
        linked.leave();
    }
    match chat.close_within(left.clamp(CLOSE_MIN, CLOSE_MAX)) {
        0 => Ok(code),
        lost => bail!("{lost} changes could not be written to --data; the log has the reason"),
    }
}

impl ServerCommand for ChatArgs {
    /// Returns the flags of every server.
    fn serving(&self) -> &ServingArgs {
        &self.serving
    }

    /// Checks whether the chat would start, without listening.
    fn check(&self, findings: &mut CheckReport) -> anyhow::Result<()> {
        match self.settings().and_then(|settings| self.describe(settings)) {
            Ok(sentences) => sentences.into_iter().for_each(|sentence| findings.right(sentence)),
            // The folder may be in use by the chat itself, if its next start is checked while it
            // runs.
            Err(error) if is_in_use(&error) => findings.note(format!("{error:#}")),
            Err(error) => findings.wrong(format!("{error:#}")),
        }
        self.serving.check(&self.service(), findings)
    }
}

impl ChatArgs {
    fn settings(&self) -> anyhow::Result<ChatSettings> {
        self.bus.refuse_half()?;
        if let Some(login) = self.bus.login() {
            self.serving.check_config(login)?;
        }
        if self.bus.is_asked_for() && self.data.is_some() {
            return Err(UsageError::new(
                "--data and --bus exclude each other: with --bus the NATS servers keep the history",
            )
            .into());
        }
        if let Some(replay) = self.replay.filter(|&replay| replay > self.history.get() as u64) {
            return Err(UsageError::new(format!(
                "--replay {replay} is more than the lines that are kept of a room (--history {}): \
                 choose a smaller --replay, or a larger --history",
                self.history
            ))
            .into());
        }
        let lasts = self.data.is_some() || self.bus.is_asked_for();
        Ok(ChatSettings {
            lobby: self.lobby.clone(),
            max_rooms: self.max_rooms.get(),
            max_rooms_per_ip: self.max_rooms_per_ip.get(),
            log: LogLimits { lines: self.history.get(), ..LogLimits::default() },
            replay: self.replay.unwrap_or(if lasts { 20 } else { 0 }),
            login_timeout: self.login_timeout,
            flood: self.flood.limits(self.burst),
            idle_when_full: self.idle_when_full.0,
            operator_password: self.operator_password()?,
            ..ChatSettings::default()
        })
    }

    /// Returns the first line of `--operator-password-file`.
    fn operator_password(&self) -> anyhow::Result<Option<SecretText>> {
        let Some(path) = &self.operator_password_file else { return Ok(None) };
        let flag = "--operator-password-file";
        let text = self.serving.shared_files().read_secret(flag, path)?;
        match text.lines().next().map(str::trim) {
            Some(line) if line.starts_with("$argon2") && !echoline_chat::is_password_hash(line) => {
                bail!(
                    "{flag} {}: its first line begins like a hash but is not one; print one with \
                     `echoline chat hash-password`",
                    path.display()
                )
            }
            Some(line) if line.len() >= PASSWORD_MIN => Ok(Some(line.into())),
            _ => bail!(
                "{flag} {}: its first line must be a password of at least 8 characters",
                path.display()
            ),
        }
    }

    fn open(&self, settings: ChatSettings) -> anyhow::Result<Arc<Chat>> {
        let Some(folder) = &self.data else { return Ok(Arc::new(Chat::new(settings))) };
        let options = StoreOptions {
            keep_lines: self.history.get() as u64,
            sync: match self.history_sync {
                SyncName::Each => SyncPolicy::Each,
                SyncName::Second => SyncPolicy::Second,
            },
            shared: self.serving.shared_files().folder(),
            ..StoreOptions::default()
        };
        let chat = Chat::with_store(settings, folder, options);
        chat.context("cannot use --data")
    }

    fn service(&self) -> Service {
        let listen = |listen: &ChatListen| {
            ServiceAddress::typed("--listen", &listen.typed, listen.address.clone())
        };
        let bot = |bot: &Address| ServiceAddress::typed("--bot", bot.to_string(), bot.clone());
        Service {
            listen: self.listen.iter().map(listen).collect(),
            also: self.bot.iter().map(bot).chain(self.web.addresses()).collect(),
            page: Some(WebPage { addresses: self.web.count(), assets: echoline_chat::PAGE }),
            what: "chat",
            eol: Eol::CrLf,
            farewell: echoline_chat::farewell(),
            outdated: ExpiredCertificatePolicy::Refuse,
            framing: Framing::Lines,
            limits: Limits {
                max_line: MAX_LINE,
                stall_timeout: Some(STALL_TIMEOUT),
                ..Limits::default()
            },
            source_limits: SourceLimits::default(),
            shown: echoline_chat::without_secrets,
            datagrams: None,
            upgrade: Err("the users of a chat cannot be in two processes: restart the chat; with \
                --data, users resume their sessions"),
        }
    }

    /// Returns the role of each listener's clients. `counts` holds the number of listeners of each
    /// address.
    fn roles(&self, counts: Vec<usize>) -> Vec<Role> {
        let people = counts.len() - self.bot.len() - self.web.count();
        let typed = self.listen.iter().map(|listen| listen.role);
        // If no address was typed, users connect to the sockets that the service manager passed.
        let people = typed.chain(std::iter::repeat(Role::User)).take(people);
        let bots = self.bot.iter().map(|_| Role::Bot);
        let pages = std::iter::repeat_n(Role::Web, self.web.count());
        let roles = people.chain(bots).chain(pages);
        roles.zip(counts).flat_map(|(role, count)| vec![role; count]).collect()
    }

    /// Checks everything except the listening addresses, and prints a description of the chat.
    fn try_out(&self, settings: ChatSettings) -> anyhow::Result<ExitCode> {
        let [room, rest @ ..] = &self.describe(settings)?[..] else { return Ok(ExitCode::SUCCESS) };
        output::print(&format!("The chat can start: {room}\n{}\n", rest.join("\n")))?;
        Ok(ExitCode::SUCCESS)
    }

    fn describe(&self, settings: ChatSettings) -> anyhow::Result<Vec<String>> {
        let lobby = settings.lobby.clone();
        self.serving.life.as_user(|| self.open(settings).map(|chat| chat.close()))?;
        let linked = self.bus.describe(self.serving.shared_files())?;
        let keeps = match &self.data {
            Some(folder) => format!("The history is kept in {}.", folder.display()),
            None if self.bus.is_asked_for() => "The NATS servers keep the history.".to_owned(),
            None => "The history is kept in memory only; --data DIR keeps it on disk.".to_owned(),
        };
        let mut people: Vec<String> =
            self.listen.iter().map(|to| format!("Users connect to {}.", to.typed)).collect();
        if people.is_empty() {
            people.push(
                "Users connect to the sockets from systemd, or to 127.0.0.1:8080.".to_owned(),
            );
        }
        let bots = self.bot.iter().map(|address| format!("Bots connect to {address}."));
        let pages = self.web.links().map(|link| format!("The web page is at {link}"));
        let sentences = [format!("the first room is {lobby}."), keeps];
        Ok(sentences.into_iter().chain(linked).chain(people).chain(bots).chain(pages).collect())
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::InUse { .. }))
}

/// Returns the hook that applies reloaded settings to a chat.
fn reload_hook(chat: Arc<Chat>) -> ReloadHook<ChatArgs> {
    let prepare = move |flags: &ChatArgs| {
        let settings = flags.settings()?;
        let chat = Arc::clone(&chat);
        let commit: Commit = Box::new(move || {
            chat.renew(&settings);
            String::new()
        });
        Ok(Some(commit))
    };
    let keys = &[
        "burst",
        "flood",
        "idle-when-full",
        "login-timeout",
        "max-rooms",
        "max-rooms-per-ip",
        "operator-password-file",
        "replay",
    ];
    ReloadHook { keys, prepare: Box::new(prepare) }
}
