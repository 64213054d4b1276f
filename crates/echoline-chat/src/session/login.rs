//! The login at a terminal with a name or a token. Clients of other protocols are refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::access::operator_password::is_proof;
use crate::chat::live_state::SessionHandle;
use crate::chat::{Chat, ClaimNameError};
use crate::telnet::{ByteStream, Telnet, obey_erasing};
use echoline::sources::{Source, SourceAction, SourceRefusal};
use echoline::transport::Origin;
use echoline::{Closed, Connection};
use echoline_chat_core::command::Command;
use echoline_chat_core::state::{SavedSession, SessionState, Suspect, digest};
use echoline_chat_core::text::clean;
use echoline_chat_core::{
    MisdirectedProtocol, Name, NameError, Operation, Outcome, RestoredSession, ResumeToken,
};

/// The prompt for a name.
const PROMPT: &[u8] = b"Enter your name: ";

/// The answer to a token that is unknown or expired.
const WRONG_TOKEN: &str = "That token is unknown or has expired; type a name";

/// The pause before a wrong token is refused.
const WRONG_TOKEN_PAUSE: Duration = Duration::from_secs(1);

/// The maximum number of names that are tried for a user who gives none.
const SUFFIXES_MAX: u32 = 1000;

/// After a client was refused this number of times because of a rate limit, its connection is ended
/// if it has not logged in.
pub(crate) const REFUSALS_MAX: u32 = 5;

/// The client of a connection before login.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visitor {
    pub(crate) address: Option<IpAddr>,
    pub(crate) source: Source,
}

/// The reason why a name or a token was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoginError {
    /// The name or the token was refused. Contains a sentence without a full stop.
    #[error("{0}")]
    Refused(String),
    /// The source has exceeded a rate.
    #[error("{0}")]
    TooOften(SourceRefusal),
}

impl LoginError {
    /// Returns the refusal, if the source has exceeded a rate.
    pub(crate) fn rate(&self) -> Option<&SourceRefusal> {
        if let Self::TooOften(refusal) = self { Some(refusal) } else { None }
    }
}

impl From<String> for LoginError {
    fn from(sentence: String) -> Self {
        Self::Refused(sentence)
    }
}

impl From<NameError> for LoginError {
    fn from(error: NameError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<SourceRefusal> for LoginError {
    fn from(refusal: SourceRefusal) -> Self {
        Self::TooOften(refusal)
    }
}

impl Visitor {
    pub(crate) fn of(origin: &Origin) -> Self {
        Self { address: origin.client().map(|client| client.ip()), source: origin.source() }
    }

    /// Charges the source for a login attempt.
    fn charge(self, chat: &Chat, action: SourceAction) -> Result<(), SourceRefusal> {
        chat.settings.sources.take(self.source, action)
    }
}

/// A user who has logged in, and the beginning of their session.
#[derive(Debug)]
pub(crate) struct LoggedInUser {
    pub(crate) user: Arc<SessionHandle>,
    /// The saved session, whose rooms the user joins; `None` to join only the lobby.
    pub(crate) saved: Option<SavedSession>,
    /// Whether a token restores the session. Its rooms then need no password.
    pub(crate) is_back: bool,
    /// The rooms whose line numbers have started again since the user last saw them.
    pub(crate) renewed: Vec<Name>,
}

impl LoggedInUser {
    /// Returns the login of a new user, who joins only the lobby.
    pub(crate) fn new(user: Arc<SessionHandle>) -> Self {
        Self { user, saved: None, is_back: false, renewed: Vec::new() }
    }
}

/// Asks for a name until a user has logged in. Returns `None` if the peer disconnected, or if it
/// uses another protocol.
pub(crate) async fn ask<S: ByteStream>(
    client: &mut Connection<Telnet<S>>,
    chat: &Chat,
) -> Result<Option<LoggedInUser>, Closed> {
    let origin = client.origin();
    let visitor = Visitor::of(&origin);
    let mut refusals = 0;
    // If the address has no port, the number of the connection is used. Ports and connection
    // numbers are used again after some time.
    let port = origin.client().map_or(origin.number as u16, |peer| peer.port());
    if chat.is_link_lost() {
        let words = "The link to the other nodes is lost; you can join when it is back";
        client.write_line(format!("*** {words} ***")).await?;
    }
    client.write(PROMPT).await?;
    // A TLS handshake has no line end, and its sender waits for an answer. It is therefore
    // recognized before a line is read.
    if let Some(foreign) = client.peek().await?.and_then(MisdirectedProtocol::recognize) {
        return refuse(client, foreign).await;
    }
    loop {
        let line = match client.read_line().await {
            Ok(Some(line)) => obey_erasing(line),
            Ok(None) => return Ok(None),
            Err(Closed::LineTooLong) => {
                client.skip_line();
                again(client, "A name is 1 to 32 letters, digits, _ or -").await?;
                continue;
            }
            Err(closed) => return Err(closed),
        };
        if let Some(foreign) = MisdirectedProtocol::recognize(&line) {
            return refuse(client, foreign).await;
        }
        let Ok(text) = clean(line.trimmed()) else {
            again(client, "That is not UTF-8; a name is 1 to 32 letters, digits, _ or -").await?;
            continue;
        };
        let error = match log_in_as(chat, text.trim(), visitor, port).await {
            Ok(login) => return Ok(Some(login)),
            Err(error) => error,
        };
        refusals += u32::from(error.rate().is_some());
        if refusals == REFUSALS_MAX {
            client.write_line(format!("*** {error}. Goodbye! ***")).await?;
            return Ok(None);
        }
        again(client, &error.to_string()).await?;
    }
}

async fn again<S: ByteStream>(
    client: &mut Connection<Telnet<S>>,
    sentence: &str,
) -> Result<(), Closed> {
    client.write_line(format!("*** {sentence} ***")).await?;
    client.write(PROMPT).await
}

async fn refuse<S: ByteStream>(
    client: &mut Connection<Telnet<S>>,
    foreign: MisdirectedProtocol,
) -> Result<Option<LoggedInUser>, Closed> {
    client.write_line(foreign.answer()).await?;
    Ok(None)
}

/// Logs in with a typed name or with `/resume TOKEN`.
async fn log_in_as(
    chat: &Chat,
    text: &str,
    visitor: Visitor,
    port: u16,
) -> Result<LoggedInUser, LoginError> {
    if text.is_empty() {
        visitor.charge(chat, SourceAction::Login)?;
        return Ok(nameless(chat, visitor.address, port).await?);
    }
    if let Ok(Command::Resume(token)) = Command::parse(text) {
        return resume(chat, token.reveal(), visitor).await;
    }
    log_in(chat, Name::parse(text)?, visitor).await.map(LoggedInUser::new)
}

/// Logs in a new user with a name, and charges their source for the attempt.
pub(crate) async fn log_in(
    chat: &Chat,
    name: Name,
    visitor: Visitor,
) -> Result<Arc<SessionHandle>, LoginError> {
    visitor.charge(chat, SourceAction::Login)?;
    let user = enter(chat, name, visitor.address, None).await;
    Ok(user.map_err(|taken| taken.sentence())?)
}

/// Logs in a new session with a name. If `back` is given, restores a session. Each attempt has its
/// own session number, so a failed attempt has no effect.
async fn enter(
    chat: &Chat,
    name: Name,
    address: Option<IpAddr>,
    back: Option<RestoredSession>,
) -> Result<Arc<SessionHandle>, ClaimNameError> {
    if let Some(taken) = chat.refuses_here(&name, address, back.as_ref()) {
        return Err(taken);
    }
    let operation = Operation::Enter { name, address, back };
    match chat.propose_entrance(chat.next_session(), operation).await {
        Outcome::Entered(entered) => {
            chat.session(entered?.session).ok_or(ClaimNameError::NotDelivered)
        }
        _ => Err(ClaimNameError::NotDelivered),
    }
}

/// Logs in a user who gave no name, as `User_<port>` like in the lesson. Behind a proxy, or if the
/// socket has no ports, that name may be taken; then suffixes are tried.
async fn nameless(chat: &Chat, address: Option<IpAddr>, port: u16) -> Result<LoggedInUser, String> {
    let name = Name::numbered(port);
    let names = std::iter::once(name.clone()).chain((2..SUFFIXES_MAX).map(|n| name.with_suffix(n)));
    let mut last = String::new();
    for name in names {
        match enter(chat, name, address, None).await {
            Ok(user) => return Ok(LoggedInUser::new(user)),
            Err(taken @ (ClaimNameError::Banned(_) | ClaimNameError::NotDelivered)) => {
                return Err(taken.sentence());
            }
            Err(taken) => last = taken.sentence(),
        }
    }
    Err(last)
}

/// Restores the session of a token.
pub(crate) async fn resume(
    chat: &Chat,
    token: &str,
    visitor: Visitor,
) -> Result<LoggedInUser, LoginError> {
    visitor.charge(chat, SourceAction::Login)?;
    // Charged before the check, so that concurrent guesses over many connections count too.
    visitor.charge(chat, SourceAction::WrongPassword)?;
    let redeemed = redeem(chat, token, visitor.address).await;
    if !redeemed.as_ref().is_err_and(|sentence| sentence == WRONG_TOKEN) {
        chat.settings.sources.give_back(visitor.source, SourceAction::WrongPassword);
    }
    Ok(redeemed?)
}

async fn redeem(chat: &Chat, token: &str, address: Option<IpAddr>) -> Result<LoggedInUser, String> {
    let digest = digest(token);
    if chat.knows_no_token(&digest) {
        // Another node may have just created the token, and its entry may not have arrived yet.
        sleep(WRONG_TOKEN_PAUSE).await;
        if !chat.catch_up().await {
            return Err(ClaimNameError::NotDelivered.sentence());
        }
        if chat.knows_no_token(&digest) {
            return Err(WRONG_TOKEN.to_owned());
        }
    }
    if let Some(taken) = chat.refuses_token_here(&digest, address) {
        return Err(later(&taken, token));
    }
    let operation = Operation::Redeem { token: digest.clone() };
    let saved = match chat.propose_entrance(chat.next_session(), operation).await {
        Outcome::Redeemed(Some(keep)) => keep.saved,
        Outcome::Redeemed(None) => {
            // The pause makes it impossible to guess a token.
            sleep(WRONG_TOKEN_PAUSE).await;
            return Err(WRONG_TOKEN.to_owned());
        }
        _ => return Err(ClaimNameError::NotDelivered.sentence()),
    };
    let back = rights_of(chat, &saved.more).await;
    match enter(chat, saved.name.clone(), address, Some(back)).await {
        Ok(user) => {
            Ok(LoggedInUser { saved: Some(saved), is_back: true, ..LoggedInUser::new(user) })
        }
        Err(taken) => {
            // The token was redeemed but could not be used, so it becomes valid again.
            let keep = ResumeToken { token: digest, saved };
            chat.announce(chat.next_session(), Operation::SaveSession(keep));
            Err(later(&taken, token))
        }
    }
}

/// Returns the rights of a returning user. An operator of the chat stays one only if the operators'
/// password has not changed.
async fn rights_of(chat: &Chat, saved: &SessionState) -> RestoredSession {
    let operator = match &saved.operator {
        Some(proof) => is_proof(chat, proof).await,
        None => false,
    };
    RestoredSession { lineage: saved.lineage, operator, away: saved.away.clone() }
}

fn later(taken: &ClaimNameError, token: &str) -> String {
    format!("{}. Try /resume {token} again later", taken.sentence())
}

/// Checks of a login by this node alone. An attempt that is refused here adds no entry to the
/// stream, so that clients cannot fill the stream with attempts.
impl Chat {
    /// Returns the reason why this node refuses a name to a new user, or `None` if it does not.
    fn refuses_here(
        &self,
        name: &Name,
        address: Option<IpAddr>,
        back: Option<&RestoredSession>,
    ) -> Option<ClaimNameError> {
        if !self.is_replicated() {
            return None;
        }
        let suspect = Suspect { name: Some(name), address, lineage: back.map(|back| back.lineage) };
        let (now_ms, state) = (self.now_ms(), self.lock());
        if let Some(ban) = state.bans.find(now_ms, suspect, None) {
            return Some(ClaimNameError::Banned(state.ban_words(ban)));
        }
        state.is_free(name, 0).err()
    }

    /// Like `refuses_here`, for the session that a token restores. The earlier connection of that
    /// session does not count as another user.
    fn refuses_token_here(&self, digest: &str, address: Option<IpAddr>) -> Option<ClaimNameError> {
        if !self.is_replicated() {
            return None;
        }
        let (now_ms, state) = (self.now_ms(), self.lock());
        let saved = state.tokens.find(now_ms, digest)?;
        let lineage = Some(saved.more.lineage).filter(|&lineage| lineage > 0);
        let suspect = Suspect { name: Some(&saved.name), address, lineage };
        if let Some(ban) = state.bans.find(now_ms, suspect, None) {
            return Some(ClaimNameError::Banned(state.ban_words(ban)));
        }
        let session = saved.session.unwrap_or_default();
        // If the session is still open, its user may have changed the name since. The current name
        // is then restored.
        let is_here = state.users.contains_key(&session);
        if is_here { None } else { state.is_free(&saved.name, session).err() }
    }

    /// Returns whether the chat is a cluster and this node does not know the token.
    fn knows_no_token(&self, digest: &str) -> bool {
        self.is_replicated() && self.lock().tokens.find(self.now_ms(), digest).is_none()
    }
}
