//! The dialogue with one user: reads lines and carries them out until the user leaves.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Session;
use crate::chat::Chat;
use crate::commands::Flow;
use crate::session::bot::{self, Malformed};
use crate::session::command_cost::LineClass;
use crate::session::login::{self, LoggedInUser};
use crate::session::view::{Medium, print_json};
use crate::telnet::{ByteStream, Telnet, obey_erasing};
use echoline::{Closed, Connection, Line};
use echoline_chat_core::command::Command;
use echoline_chat_core::protocol::{ClientMessage, ServerMessage};
use echoline_chat_core::text::{clean, has_break};
use echoline_chat_core::{Flood, Operation, Verdict};

/// The maximum time for which a connection stays open until the user's exit is known to all nodes.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);

/// The kind of client that a listener serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// A user at a terminal, for example with `nc`. The server understands Telnet commands, but
    /// sends none by itself.
    #[default]
    User,
    /// A user of a Telnet client. The server asks the client for its width.
    Telnet,
    /// A program. Messages are JSON lines, without a greeting and without a limit on their rate.
    Bot,
    /// A user of the page in a browser. The page uses the protocol of programs, with additional
    /// messages.
    Web,
}

impl Role {
    fn medium(self) -> Medium {
        match self {
            Self::User | Self::Telnet => Medium::Terminal,
            Self::Bot => Medium::Program,
            Self::Web => Medium::Page,
        }
    }
}

/// A line of the user, parsed according to the kind of client.
pub(super) enum UserInput {
    /// A line of a terminal, after editing keys were applied.
    Typed(Line),
    /// A message of a program or a page.
    Message(Result<ClientMessage, Malformed>),
}

/// Serves one user until the connection ends.
///
/// Thousands of these futures wait for a line at the same time, so they are small. Longer steps
/// (login, commands, delays, leaving) are boxed while they run.
///
/// # Errors
/// The reason why the connection ended, unless the user or the chat ended it.
pub async fn serve<S>(client: Connection<S>, chat: Arc<Chat>, role: Role) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(mut session) = Box::pin(admit(client, chat, role)).await? else { return Ok(()) };
    let ended = session.converse().await;
    Box::pin(session.leave(ended)).await
}

/// Greets a client, and logs the user in. Returns `None` if the client does not log in.
async fn admit<S: ByteStream>(
    client: Connection<S>,
    chat: Arc<Chat>,
    role: Role,
) -> Result<Option<Session<S>>, Closed> {
    let source = client.origin().source();
    let mut client = client.layer(|stream| match role {
        Role::Telnet => Telnet::negotiating(stream),
        Role::User | Role::Bot | Role::Web => Telnet::new(stream),
    });
    if role.medium() != Medium::Terminal {
        // The chat sends the farewell itself, because it must be JSON.
        client.keep_silent();
    }
    let Some(login) = greet(&mut client, &chat, role).await? else { return Ok(None) };
    let limits = chat.rules().flood.filter(|_| role != Role::Bot);
    let flood = limits.map_or_else(Flood::off, Flood::new);
    let mut session = Session::new(client, chat, login.user, source, flood);
    session.feed.view.medium = role.medium();
    // Most Telnet clients report their width before the name. Later changes arrive with the lines.
    session.feed.view.width = session.client.get_ref().width();
    session.arrive(login.saved, login.is_back).await;
    session.tell_renewed(&login.renewed);
    session.continue_mute();
    session.show_earlier_lines().await?;
    Ok(Some(session))
}

/// Asks a client for a name or a token, for a limited time.
async fn greet<S: ByteStream>(
    client: &mut Connection<Telnet<S>>,
    chat: &Arc<Chat>,
    role: Role,
) -> Result<Option<LoggedInUser>, Closed> {
    if let Some(words) = chat.banned(client.peer().map(|peer| peer.ip())) {
        match role {
            // A page that reconnected by itself would be refused again and again.
            Role::Bot | Role::Web => client.write_line(ServerMessage::dismissal(&words)).await?,
            _ => client.write_line(format!("*** {words} ***")).await?,
        }
        return Ok(None);
    }
    let asked = async {
        match role {
            Role::Bot | Role::Web => bot::ask(client, chat, role.medium()).await,
            Role::User | Role::Telnet => login::ask(client, chat).await,
        }
    };
    if let Ok(login) = timeout(chat.rules().login_timeout, asked).await {
        return login;
    }
    let words = "Connection timeout. Goodbye!";
    match role {
        Role::Bot | Role::Web => client.write_line(ServerMessage::end(words)).await?,
        Role::User | Role::Telnet => client.write_line(words).await?,
    }
    Err(Closed::IdleTimeout)
}

impl<S: ByteStream> Session<S> {
    /// Reads lines until the user leaves, and returns the reason that the user gave.
    async fn converse(&mut self) -> Result<String, Closed> {
        loop {
            let Self { client, feed, flood, .. } = self;
            let read = match flood.muted_until() {
                None => client.read_line_feeding(|outlet, cx| feed.poll(outlet, cx)).await,
                Some(_) => match Box::pin(self.read_while_muted()).await? {
                    Some(read) => read,
                    None => continue,
                },
            };
            let line = match read {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(String::new()),
                Err(Closed::LineTooLong) => {
                    Box::pin(self.skip_line()).await?;
                    continue;
                }
                Err(closed) => return Err(closed),
            };
            let input = self.parse(line);
            let verdict = self.judge(&input);
            // Most lines are text for the room, which needs no boxed future.
            if verdict == Verdict::Pass && self.speak_at_once(&input) {
                continue;
            }
            if let ControlFlow::Break(words) = Box::pin(self.handle(input, verdict)).await? {
                return Ok(words);
            }
        }
    }

    /// Reads a line of a muted user. If the mute ends first, tells the user and returns `None`.
    async fn read_while_muted(&mut self) -> Result<Option<Result<Option<Line>, Closed>>, Closed> {
        let Self { client, feed, flood, .. } = self;
        let Some(end) = flood.muted_until() else { return Ok(None) };
        let read = client.read_line_feeding(|outlet, cx| feed.poll(outlet, cx));
        if let Ok(read) = timeout_at(end.into(), read).await {
            return Ok(Some(read));
        }
        self.end_mute();
        self.write_replies().await?;
        Ok(None)
    }

    fn parse(&mut self, line: Line) -> UserInput {
        self.feed.view.width = self.client.get_ref().width();
        match self.feed.view.is_json() {
            true => UserInput::Message(bot::parse(line.trimmed())),
            false => UserInput::Typed(obey_erasing(line)),
        }
    }

    /// Checks a line against the user's rate limit.
    fn judge(&mut self, input: &UserInput) -> Verdict {
        if self.flood.is_off() {
            return Verdict::Pass;
        }
        self.end_mute();
        let now = Instant::now().into_std();
        match input.class() {
            LineClass::Speech => self.flood.line(now),
            LineClass::Command => self.flood.command(now),
            LineClass::Question => self.flood.question(now),
        }
    }

    /// Says a line if it is text that needs neither a reply nor a wait. Otherwise changes nothing
    /// and returns `false`.
    fn speak_at_once(&mut self, input: &UserInput) -> bool {
        let was_said = match input {
            UserInput::Typed(line) => match clean(line.trimmed()) {
                Ok(Cow::Borrowed(text)) => match Command::parse(text) {
                    Ok(Command::Say(words)) => self.say_at_once(words),
                    _ => false,
                },
                _ => false,
            },
            UserInput::Message(Ok(message)) => bot::say_at_once(self, message),
            UserInput::Message(Err(_)) => false,
        };
        if was_said {
            self.announce_if_unsent();
        }
        was_said
    }

    /// Carries out a line, after a delay if the user writes too fast.
    async fn handle(&mut self, input: UserInput, verdict: Verdict) -> Result<Flow, Closed> {
        if !self.slow_down(verdict, &input).await? {
            return Ok(Flow::Continue(()));
        }
        let flow = match input {
            UserInput::Typed(line) => self.obey_typed(&line).await?,
            UserInput::Message(Ok(message)) => bot::obey(self, &message).await?,
            UserInput::Message(Err(malformed)) => {
                bot::explain(self, malformed.0);
                Flow::Continue(())
            }
        };
        match flow {
            // The reason for leaving would be a way around a mute, so it is not shown.
            Flow::Break(_) if self.flood.is_muted() => return Ok(Flow::Break(String::new())),
            Flow::Break(words) => return Ok(Flow::Break(words)),
            Flow::Continue(()) => {}
        }
        self.announce_if_unsent();
        self.write_replies().await?;
        Ok(Flow::Continue(()))
    }

    /// Carries out a line of a terminal.
    async fn obey_typed(&mut self, line: &Line) -> Result<Flow, Closed> {
        match clean(line.trimmed()) {
            Ok(Cow::Borrowed(text)) => return self.obey(text).await,
            // One line of input must not become several lines, because each line counts for the
            // flood limit.
            Ok(Cow::Owned(_)) if str::from_utf8(line.trimmed()).is_ok_and(has_break) => {
                self.notice(
                    "Not sent: the line contains a line separator; send each line separately",
                );
            }
            // Cleaning may have left white space at the ends.
            Ok(Cow::Owned(text)) => return self.obey(text.trim()).await,
            Err(_) => self.notice("That line is not UTF-8 and was not sent"),
        }
        Ok(Flow::Continue(()))
    }

    async fn skip_line(&mut self) -> Result<(), Closed> {
        self.client.skip_line();
        let limit = self.client.limits().max_line;
        self.notice(&format!("That line was too long (limit {limit} bytes) and was not sent"));
        self.write_replies().await
    }

    /// Continues a mute of an earlier connection, so that reconnecting does not end it.
    fn continue_mute(&mut self) {
        let (Some(mute), Some(limits)) = (self.user.flood_mute(), self.chat.rules().flood) else {
            return;
        };
        if self.flood.is_off() {
            return;
        }
        let most = Duration::from_secs(limits.mute_seconds_max.into());
        let rest = mute.rest(self.chat.now_ms(), most);
        self.flood.go_on(Instant::now().into_std(), rest, mute.count);
        if rest.is_zero() {
            return;
        }
        let seconds = rest.as_secs().max(1);
        self.notice(&match mute.is_by_address {
            true => format!(
                "A user from your address wrote too fast and left: you are muted for {seconds} s"
            ),
            false => format!("You wrote too fast and are muted for {seconds} s more"),
        });
    }

    /// Records a new mute in the chat's state, so that it continues if the user reconnects.
    fn announce_mute(&self) {
        let Some(until) = self.flood.muted_until() else { return };
        let length = until.saturating_duration_since(Instant::now().into_std());
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let until_ms = self.chat.now_ms().saturating_add(length);
        let mute = Operation::FloodMuted { until_ms, count: self.flood.mutes() };
        self.chat.announce(self.user.session, mute);
    }

    /// Tells the user when a mute is over, and how many lines it refused.
    fn end_mute(&mut self) {
        if let Some(lost) = self.flood.end_mute(Instant::now().into_std()) {
            let lines = if lost == 1 { "line was" } else { "lines were" };
            self.feed.private = None;
            self.notice(&format!("You are no longer muted; {lost} {lines} not sent"));
        }
    }

    /// Slows down a user who writes too fast. Returns whether the line is accepted in the end.
    async fn slow_down(&mut self, verdict: Verdict, input: &UserInput) -> Result<bool, Closed> {
        if matches!(verdict, Verdict::Mute(_)) {
            self.announce_mute();
        }
        match verdict {
            Verdict::Pass => Ok(true),
            Verdict::Delay(length) => self.delay(length).await.map(|()| true),
            Verdict::Warn(length) => {
                self.notice("Slow down, or you will be muted");
                self.write_replies().await?;
                self.delay(length).await.map(|()| true)
            }
            Verdict::Mute(length) if input.class() == LineClass::Command => {
                let seconds = length.as_secs().max(1);
                self.notice(&format!("You wrote too fast and are muted for {seconds} s"));
                self.write_replies().await.map(|()| true)
            }
            Verdict::Mute(length) => {
                let seconds = length.as_secs().max(1);
                let reason = format!("Not sent: you wrote too fast and are muted for {seconds} s");
                match input {
                    UserInput::Message(Ok(message)) => bot::refuse(self, message, &reason),
                    UserInput::Message(Err(_)) => {}
                    UserInput::Typed(_) => self.notice(&reason),
                }
                self.write_replies().await.map(|()| false)
            }
            Verdict::Refuse(rest) => {
                if let UserInput::Message(Ok(message)) = input {
                    let seconds = rest.as_secs().max(1);
                    let reason = format!("Not sent: you are muted for {seconds} s more");
                    bot::refuse(self, message, &reason);
                }
                self.write_replies().await.map(|()| false)
            }
        }
    }

    async fn delay(&mut self, length: Duration) -> Result<(), Closed> {
        let Self { client, feed, .. } = self;
        client.feed_until(|outlet, cx| feed.poll(outlet, cx), sleep(length)).await
    }

    /// Leaves the chat. The other users are told the reason, unless the server shuts down.
    async fn leave(mut self, ended: Result<String, Closed>) -> Result<(), Closed> {
        let stall = self.client.limits().stall_timeout.unwrap_or_default();
        let (reason, result) = match ended {
            Ok(words) => (words, Ok(())),
            Err(closed) => (reason(closed, stall), Err(closed)),
        };
        // If the server shuts down, all users leave, and the rooms show no line for each of them.
        let is_silent = matches!(result, Err(Closed::Drained | Closed::Aborted));
        self.leave_chat((!is_silent).then_some(&*reason));
        if let Err(closed) = result
            && self.feed.view.is_json()
            && let Some(words) = crate::last_words(closed)
        {
            print_json(&ServerMessage::end(&words), &mut self.replies);
        }
        if !matches!(result, Err(Closed::Reset | Closed::StallTimeout | Closed::Io(_))) {
            self.write_replies().await?;
        }
        if result.is_ok() {
            self.wait_for_exit().await;
        }
        match result {
            // The feed has already sent the farewell.
            Err(Closed::Finished) => Ok(()),
            other => other,
        }
    }

    /// Waits until the user's exit has its position in the stream. A user who read all output and
    /// returns on another node then finds all their lines, and continues at the exact position.
    async fn wait_for_exit(&mut self) {
        if !self.chat.is_replicated() || self.chat.is_link_lost() {
            return;
        }
        let known = async {
            if self.client.flush().await.is_ok() {
                self.chat.settled(self.user.session).await;
            }
        };
        // If this takes too long, the user may see some lines again after returning.
        let _ = timeout(EXIT_PATIENCE, known).await;
    }
}

impl UserInput {
    /// Returns the class of the line for the flood limit.
    fn class(&self) -> LineClass {
        match self {
            Self::Typed(line) if line.trimmed().first() != Some(&b'/') => LineClass::Speech,
            Self::Typed(line) => {
                clean(line.trimmed()).map_or(LineClass::Command, |text| LineClass::of(text.trim()))
            }
            Self::Message(Ok(message)) => bot::class(message),
            Self::Message(Err(_)) => LineClass::Command,
        }
    }
}

/// Returns the reason that is shown to other users.
fn reason(closed: Closed, stall: Duration) -> String {
    match closed {
        Closed::StallTimeout => format!("read nothing for {} s", stall.as_secs().max(1)),
        Closed::IdleTimeout | Closed::LineTimeout => "timed out".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use echoline::Limits;
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::settings::ChatSettings;

    /// Each member of the chat has one of these futures during the whole session, so it must be
    /// small.
    #[test]
    fn the_future_of_a_session_keeps_only_what_an_idle_user_needs() {
        let (client, _) = duplex(64);
        let chat = Arc::new(Chat::new(ChatSettings::default()));
        let serving = serve(Connection::new(client, Limits::default()), chat, Role::User);
        let (future, session) = (size_of_val(&serving), size_of::<Session<DuplexStream>>());
        assert!(future < session + 256, "the future has {future} bytes, the session {session}");
    }
}
