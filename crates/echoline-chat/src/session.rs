//! The dialogue with one user: lines in, the room's lines out, until one of them leaves.

use std::borrow::Cow;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::bot;
use super::command::Command;
use super::erase::obey_erasing;
use super::flood::{Flood, Verdict};
use super::login::{self, Arrival};
use super::operation::Operation;
use super::outbound_feed::Question;
use super::protocol::ServerMessage;
use super::separators::has_break;
use super::state::{Chat, Leaving};
use super::telnet_stream::Telnet;
use super::text::clean;
use super::user_session::{Rest, Step, UserSession};
use super::view::{Medium, print_json};
use echoline::{Closed, Connection, Line};

/// The time for which a connection waits for the user's exit before it is closed.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);

/// As whom somebody is served: each listener has its own answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// A person at a terminal, `nc` say. Telnet's sequences are understood, none are sent first.
    #[default]
    User,
    /// A person at a Telnet client, which is asked for its width.
    Telnet,
    /// A program: JSON in lines, no greeting, no limit on how fast it writes.
    Bot,
    /// A person at a page in a browser, which speaks as a program does and is told more.
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

/// One user's connection.
struct Session<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    client: Connection<Telnet<S>>,
    user: UserSession,
    flood: Flood,
}

/// What comes next after something was read.
enum Next {
    /// A line was taken: this follows from it.
    Follow(Step),
    /// A line came too fast.
    SlowDown(Verdict, Line),
    /// A line is too long.
    Skip,
}

/// The class of a line for the flood limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Others hear it.
    Speech,
    /// A command that others do not hear.
    Command,
    /// A page asks it by itself.
    Question,
}

impl Class {
    /// The class of a line that is clean and trimmed.
    pub(super) fn of(line: &str) -> Self {
        match Command::parse(line) {
            Ok(command) if command.speaks() => Self::Speech,
            // A wrong command is answered, and nothing else.
            Ok(_) | Err(_) => Self::Command,
        }
    }
}

/// Serves one user, to the end.
///
/// What happens now and then (coming in, commands, being held up, leaving) is boxed while it lasts:
/// most of the time thousands of these futures wait for a line, and are to be small.
///
/// # Errors
/// The way in which the connection ended, where neither side ended it.
pub async fn serve<S>(client: Connection<S>, chat: Arc<Chat>, role: Role) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(mut session) = Box::pin(admit(client, chat, role)).await? else { return Ok(()) };
    let ended = session.converse().await;
    Box::pin(session.leave(ended)).await
}

/// Greets somebody; `None` where they do not come in.
async fn admit<S>(
    client: Connection<S>,
    chat: Arc<Chat>,
    role: Role,
) -> Result<Option<Session<S>>, Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let source = client.origin().source();
    let mut client = client.layer(|stream| match role {
        Role::Telnet => Telnet::negotiating(stream),
        Role::User | Role::Bot | Role::Web => Telnet::new(stream),
    });
    if role.medium() != Medium::Terminal {
        // Its last words are JSON too.
        client.keep_silent();
    }
    let Some(arrival) = greet(&mut client, &chat, role).await? else { return Ok(None) };
    let limits = chat.rules().flood.filter(|_| role != Role::Bot);
    let flood = limits.map_or_else(Flood::off, Flood::new);
    let mut user = UserSession::new(chat, arrival.user, source);
    user.feed.view.medium = role.medium();
    // Told before the name was, by most clients; what came later is seen with each line.
    user.feed.view.width = client.get_ref().width();
    let max_line = client.limits().max_line;
    user.arrive(arrival.place, arrival.is_back, max_line).await;
    user.renew(&arrival.renewed);
    let mut session = Session { client, user, flood };
    session.go_on_muted();
    session.write_replies().await?;
    Ok(Some(session))
}

/// Lets somebody in, who has a time to say who they are.
async fn greet<S>(
    client: &mut Connection<Telnet<S>>,
    chat: &Arc<Chat>,
    role: Role,
) -> Result<Option<Arrival>, Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if let Some(words) = chat.banned(client.peer().map(|peer| peer.ip())) {
        match role {
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
    if let Ok(arrival) = timeout(chat.rules().login_timeout, asked).await {
        return arrival;
    }
    let words = "Connection timeout. Goodbye!";
    match role {
        Role::Bot | Role::Web => client.write_line(ServerMessage::end(words)).await?,
        Role::User | Role::Telnet => client.write_line(words).await?,
    }
    Err(Closed::IdleTimeout)
}

impl<S> Session<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Takes lines until the user leaves: with these words.
    async fn converse(&mut self) -> Result<String, Closed> {
        loop {
            let Self { client, user, flood } = self;
            let read = match flood.muted_until() {
                None => client.read_line_feeding(|o, cx| user.feed.poll(o, cx)).await,
                Some(_) => match Box::pin(self.read_while_muted()).await? {
                    Some(read) => read,
                    None => continue,
                },
            };
            let next = match read {
                Ok(Some(line)) => self.next(line),
                Ok(None) => return Ok(String::new()),
                Err(Closed::LineTooLong) => Next::Skip,
                Err(closed) => return Err(closed),
            };
            if matches!(next, Next::Follow(Step::Done)) && self.user.replies.is_empty() {
                continue;
            }
            if let Some(words) = Box::pin(self.go_on(next)).await? {
                return Ok(words);
            }
        }
    }

    /// Reads a line of a muted user; `None` if the mute ends first, of which the user is told.
    async fn read_while_muted(&mut self) -> Result<Option<Result<Option<Line>, Closed>>, Closed> {
        let Self { client, user, flood } = self;
        let Some(end) = flood.muted_until() else { return Ok(None) };
        let read = client.read_line_feeding(|o, cx| user.feed.poll(o, cx));
        if let Ok(read) = timeout_at(end.into(), read).await {
            return Ok(Some(read));
        }
        self.end_mute();
        self.write_replies().await?;
        Ok(None)
    }

    /// Takes a line at once, if its author is not too fast.
    fn next(&mut self, line: Line) -> Next {
        if self.flood.is_off() {
            return Next::Follow(self.take(line));
        }
        self.end_mute();
        let now = Instant::now().into_std();
        let verdict = match self.class(&line) {
            Class::Speech => self.flood.line(now),
            Class::Command => self.flood.command(now),
            Class::Question => self.flood.question(now),
        };
        match verdict {
            Verdict::Pass => Next::Follow(self.take(line)),
            verdict => Next::SlowDown(verdict, line),
        }
    }

    fn class(&self, line: &Line) -> Class {
        if self.user.feed.view.is_json() {
            return bot::class(line.trimmed());
        }
        if line.trimmed().first() != Some(&b'/') {
            return Class::Speech;
        }
        let line = obey_erasing(line.clone());
        clean(line.trimmed()).map_or(Class::Command, |text| Class::of(text.trim()))
    }

    /// Goes on with the mute of an earlier connection: a new one does not end it.
    fn go_on_muted(&mut self) {
        let Self { user, flood, .. } = self;
        let (Some(mute), Some(limits)) = (user.user.flood_mute(), user.chat.rules().flood) else {
            return;
        };
        if flood.is_off() {
            return;
        }
        let most = Duration::from_secs(limits.mute_seconds_max.into());
        let rest = mute.rest(user.chat.now_ms(), most);
        flood.go_on(Instant::now().into_std(), rest, mute.count);
        if rest.is_zero() {
            return;
        }
        let seconds = rest.as_secs().max(1);
        user.notice(&match mute.is_by_address {
            true => format!(
                "A user from your address wrote too fast and left: you are muted for {seconds} s"
            ),
            false => format!("You wrote too fast and are muted for {seconds} s more"),
        });
    }

    /// Records a new mute in the chat's state, so that it lasts if the user comes back.
    fn announce_mute(&self) {
        let Some(until) = self.flood.muted_until() else { return };
        let length = until.saturating_duration_since(Instant::now().into_std());
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let until_ms = self.user.chat.now_ms().saturating_add(length);
        let act = Operation::FloodMuted { until_ms, count: self.flood.mutes() };
        self.user.chat.announce(self.user.user.session, act);
    }

    /// Tells the user when a mute is over, and how many lines it refused.
    fn end_mute(&mut self) {
        if let Some(lost) = self.flood.end_mute(Instant::now().into_std()) {
            let lines = if lost == 1 { "line was" } else { "lines were" };
            self.user.feed.private = None;
            self.user.notice(&format!("You may speak again; {lost} {lines} not sent"));
        }
    }

    async fn go_on(&mut self, next: Next) -> Result<Option<String>, Closed> {
        let step = match next {
            Next::Follow(step) => step,
            Next::SlowDown(verdict, line) => match self.slow_down(verdict, &line).await? {
                true => self.take(line),
                false => return Ok(None),
            },
            Next::Skip => self.skip_line(),
        };
        self.follow(step).await
    }

    fn take(&mut self, line: Line) -> Step {
        let user = &mut self.user;
        user.feed.view.width = self.client.get_ref().width();
        let step = match user.feed.view.is_json() {
            true => bot::act(user, line.trimmed()),
            false => type_line(user, line),
        };
        if self.client.unsent() > 0 {
            // Nothing is fed to a peer that takes nothing: the others are not to wait for it.
            self.user.feed.announce();
        }
        step
    }

    fn skip_line(&mut self) -> Step {
        self.client.skip_line();
        let limit = self.client.limits().max_line;
        self.user.notice(&format!("That line was too long (limit {limit} bytes) and was not sent"));
        Step::Done
    }

    /// Slows a user down who writes too fast; returns whether the line is taken in the end.
    async fn slow_down(&mut self, verdict: Verdict, line: &Line) -> Result<bool, Closed> {
        if matches!(verdict, Verdict::Mute(_)) {
            self.announce_mute();
        }
        match verdict {
            Verdict::Pass => Ok(true),
            Verdict::Delay(length) => self.wait(length).await.map(|()| true),
            Verdict::Warn(length) => {
                self.user.notice("Slow down, or you will be muted");
                self.write_replies().await?;
                self.wait(length).await.map(|()| true)
            }
            Verdict::Mute(length) if self.class(line) == Class::Command => {
                let seconds = length.as_secs().max(1);
                self.user.notice(&format!("You wrote too fast and are muted for {seconds} s"));
                self.write_replies().await.map(|()| true)
            }
            Verdict::Mute(length) => {
                let seconds = length.as_secs().max(1);
                let reason =
                    format!("You wrote too fast and are muted for {seconds} s: that was not sent");
                match self.user.feed.view.is_json() {
                    true => bot::refuse(&mut self.user, line, &reason),
                    false => self.user.notice(&reason),
                }
                self.write_replies().await.map(|()| false)
            }
            Verdict::Refuse(rest) => {
                if self.user.feed.view.is_json() {
                    let seconds = rest.as_secs().max(1);
                    let reason = format!("You are muted for {seconds} s more: that was not sent");
                    bot::refuse(&mut self.user, line, &reason);
                }
                self.write_replies().await.map(|()| false)
            }
        }
    }

    async fn wait(&mut self, length: Duration) -> Result<(), Closed> {
        let Self { client, user, .. } = self;
        client.feed_until(|o, cx| user.feed.poll(o, cx), sleep(length)).await
    }

    /// Finishes what a command began; the words of a user who leaves.
    async fn follow(&mut self, mut step: Step) -> Result<Option<String>, Closed> {
        while let Step::Wait(job) = step {
            // What there is to say already is not to wait for it.
            self.write_replies().await?;
            let Self { client, user, .. } = self;
            let rest: Rest = client.feed_until(|o, cx| user.feed.poll(o, cx), job).await?;
            step = rest(&mut self.user);
        }
        match step {
            Step::Ask(question) => self.ask(question).await?,
            // Last words would be a way around a mute.
            Step::Quit(_) if self.flood.is_muted() => return Ok(Some(String::new())),
            Step::Quit(words) => return Ok(Some(words)),
            Step::Done | Step::Wait(_) => {}
        }
        self.write_replies().await?;
        Ok(None)
    }

    /// Has the question answered after everything that came before it in the room.
    async fn ask(&mut self, question: Question) -> Result<(), Closed> {
        self.write_replies().await?;
        let Self { client, user, .. } = self;
        user.feed.ask(question);
        let is_answered = AtomicBool::new(false);
        let answered = poll_fn(|_| match is_answered.load(Ordering::Relaxed) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        let feed = client.feed_until(
            |outlet, cx| {
                let polled = user.feed.poll(outlet, cx);
                if user.feed.is_answered() && !is_answered.swap(true, Ordering::Relaxed) {
                    cx.waker().wake_by_ref();
                }
                polled
            },
            answered,
        );
        feed.await
    }

    async fn write_replies(&mut self) -> Result<(), Closed> {
        if self.user.replies.is_empty() {
            return Ok(());
        }
        // A peer that takes nothing may make this wait: not for what the others are to hear.
        self.user.feed.announce();
        // Taken, so that nothing is kept for it while the user reads or thinks.
        let replies = std::mem::take(&mut self.user.replies);
        self.client.write(replies.as_bytes()).await
    }

    /// Leaves the chat, and the others hear why where it was not the user's own wish.
    async fn leave(mut self, ended: Result<String, Closed>) -> Result<(), Closed> {
        let stall = self.client.limits().stall_timeout.unwrap_or_default();
        let (reason, result) = match ended {
            Ok(words) => (words, Ok(())),
            Err(closed) => (reason(closed, stall), Err(closed)),
        };
        let leaving = match result {
            Err(Closed::Drained | Closed::Aborted) => Leaving::Silently,
            _ => Leaving::Because(&reason),
        };
        self.user.leave_chat(leaving);
        if let Err(closed) = result
            && self.user.feed.view.is_json()
            && let Some(words) = super::last_words(closed)
        {
            print_json(&ServerMessage::end(&words), &mut self.user.replies);
        }
        if !matches!(result, Err(Closed::Reset | Closed::StallTimeout | Closed::Io(_))) {
            self.write_replies().await?;
        }
        if result.is_ok() {
            self.wait_for_exit().await;
        }
        match result {
            // Whom an operator sends out, the handler has said goodbye to.
            Err(Closed::Finished) => Ok(()),
            other => other,
        }
    }

    /// Waits until the user's exit has its place in the order of all nodes. A user who has read the
    /// stream to its end and comes back on another node finds all that they said, and the exact
    /// position.
    async fn wait_for_exit(&mut self) {
        let Some(cluster) = self.user.chat.cluster.clone().filter(|cluster| !cluster.is_lost())
        else {
            return;
        };
        let session = self.user.user.session;
        let known = async {
            if self.client.flush().await.is_ok() {
                cluster.settled(session).await;
            }
        };
        // After that time the user is shown some lines again.
        let _ = timeout(EXIT_PATIENCE, known).await;
    }
}

/// Does what a person typed at a terminal.
fn type_line(user: &mut UserSession, line: Line) -> Step {
    let line = obey_erasing(line);
    match clean(line.trimmed()) {
        Ok(Cow::Borrowed(text)) => return user.act(text),
        // Each line counts against the flood limit, so that one cannot be sent as many.
        Ok(Cow::Owned(_)) if str::from_utf8(line.trimmed()).is_ok_and(has_break) => {
            user.notice("A separator of lines stands in that line; send each line by itself");
        }
        // Cleaning may have left white space at the ends.
        Ok(Cow::Owned(text)) => return user.act(text.trim()),
        Err(_) => user.notice("That line was not UTF-8 and was not sent"),
    }
    Step::Done
}

/// What the others hear.
fn reason(closed: Closed, stall: Duration) -> String {
    match closed {
        Closed::StallTimeout => format!("read nothing for {} s", stall.as_secs().max(1)),
        Closed::IdleTimeout | Closed::LineTimeout => "timed out".to_owned(),
        _ => String::new(),
    }
}
