//! The first words: a name, a place left before, or somebody who came to the wrong port.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::act::{Act, Back, Keep, Outcome};
use super::command::Command;
use super::erase::obey_erasing;
use super::foreign::Foreign;
use super::hall::{Hall, NameTaken};
use super::name::Name;
use super::person::Person;
use super::telnet_stream::Telnet;
use super::text::clean;
use super::tokens::Place;
use crate::net::{Closed, Connection, Origin, Source, SourceAction, SourceRefusal};

/// What a terminal is asked.
const PROMPT: &[u8] = b"Enter your name: ";

/// Names that a person without one may find taken before we give up: somebody plays games.
const SUFFIXES_MAX: u32 = 1000;

/// Refusals for a rate after which a connection that is not logged in is ended.
pub(super) const REFUSALS_MAX: u32 = 5;

/// The far end of a connection that is not logged in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visitor {
    pub(super) address: Option<IpAddr>,
    pub(super) source: Source,
}

/// The reason for which a name or a token was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LoginError {
    /// A sentence without a full stop.
    #[error("{0}")]
    Refused(String),
    /// The source went over a rate.
    #[error("{0}")]
    TooOften(SourceRefusal),
}

impl LoginError {
    /// The refusal if the source went over a rate.
    pub(super) fn rate(&self) -> Option<&SourceRefusal> {
        if let Self::TooOften(refusal) = self { Some(refusal) } else { None }
    }
}

impl From<String> for LoginError {
    fn from(sentence: String) -> Self {
        Self::Refused(sentence)
    }
}

impl From<SourceRefusal> for LoginError {
    fn from(refusal: SourceRefusal) -> Self {
        Self::TooOften(refusal)
    }
}

impl Visitor {
    pub(super) fn of(origin: &Origin) -> Self {
        Self { address: origin.client().map(|client| client.ip()), source: origin.source() }
    }

    /// Takes a token for a name or a resume token that is tried.
    pub(super) fn try_login(self, hall: &Hall) -> Result<(), SourceRefusal> {
        hall.settings.sources.take(self.source, SourceAction::Login)
    }
}

/// Somebody who gave a name that is theirs now.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) person: Arc<Person>,
    /// Where they go; `None` is the lobby.
    pub(super) place: Option<Place>,
    /// A token says that they were there, so they need no password.
    pub(super) is_back: bool,
    /// Rooms whose lines are others than those that they have seen.
    pub(super) renewed: Vec<Name>,
}

impl Arrival {
    /// Somebody new, who goes to the lobby.
    pub(super) fn new(person: Arc<Person>) -> Self {
        Self { person, place: None, is_back: false, renewed: Vec::new() }
    }
}

/// Asks for a name until there is one; `None` where the peer went away or came to the wrong port.
pub(super) async fn ask<S>(
    client: &mut Connection<Telnet<S>>,
    hall: &Hall,
) -> Result<Option<Arrival>, Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let origin = client.origin();
    let visitor = Visitor::of(&origin);
    let mut refusals = 0;
    // Without ports it is the connection's own number; as with ports, not for ever another's.
    let port = origin.client().map_or(origin.number as u16, |peer| peer.port());
    if hall.cluster.as_ref().is_some_and(|cluster| cluster.is_lost()) {
        let words = "The link to the other machines is lost; you come in when it is back";
        client.write_line(format!("*** {words} ***")).await?;
    }
    client.write(PROMPT).await?;
    // A handshake has no line end, and its sender waits for an answer.
    if let Some(foreign) = client.peek().await?.and_then(Foreign::recognize) {
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
        if let Some(foreign) = Foreign::recognize(&line) {
            return refuse(client, foreign).await;
        }
        let Ok(text) = clean(line.trimmed()) else {
            again(client, "That was not UTF-8; a name is 1 to 32 letters, digits, _ or -").await?;
            continue;
        };
        let error = match arrive(hall, text.trim(), visitor, port).await {
            Ok(arrival) => return Ok(Some(arrival)),
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

async fn again<S>(client: &mut Connection<Telnet<S>>, sentence: &str) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    client.write_line(format!("*** {sentence} ***")).await?;
    client.write(PROMPT).await
}

async fn refuse<S>(
    client: &mut Connection<Telnet<S>>,
    foreign: Foreign,
) -> Result<Option<Arrival>, Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    client.write_line(foreign.answer()).await?;
    Ok(None)
}

/// Lets in who is called `text`, or says what is wrong.
async fn arrive(
    hall: &Hall,
    text: &str,
    visitor: Visitor,
    port: u16,
) -> Result<Arrival, LoginError> {
    if text.is_empty() {
        visitor.try_login(hall)?;
        return Ok(nameless(hall, visitor.address, port).await?);
    }
    if let Ok(Command::Resume(token)) = Command::parse(text) {
        return resume(hall, token.reveal(), visitor).await;
    }
    let name = Name::parse(text).map_err(|error| error.to_string())?;
    visitor.try_login(hall)?;
    let person = enter(hall, name, visitor.address, None).await;
    Ok(person.map(Arrival::new).map_err(|taken| taken.sentence())?)
}

/// Makes a name that of a new session, which is restored if `back` is given. Each attempt is a
/// session of its own: a failed one leaves nothing behind.
pub(super) async fn enter(
    hall: &Hall,
    name: Name,
    address: Option<IpAddr>,
    back: Option<Back>,
) -> Result<Arc<Person>, NameTaken> {
    let act = Act::Enter { name, address, back };
    match hall.propose(hall.next_session(), act).outcome().await {
        Outcome::Entered(entered) => entered,
        _ => Err(NameTaken::NotDelivered),
    }
}

/// The lesson's `User_<port>`; behind a proxy, or over a socket without ports, it may be taken.
async fn nameless(hall: &Hall, address: Option<IpAddr>, port: u16) -> Result<Arrival, String> {
    let name = Name::numbered(port);
    let names = std::iter::once(name.clone()).chain((2..SUFFIXES_MAX).map(|n| name.with_suffix(n)));
    let mut last = String::new();
    for name in names {
        match enter(hall, name, address, None).await {
            Ok(person) => return Ok(Arrival::new(person)),
            Err(taken @ (NameTaken::Banned(_) | NameTaken::NotDelivered)) => {
                return Err(taken.sentence());
            }
            Err(taken) => last = taken.sentence(),
        }
    }
    Err(last)
}

pub(super) async fn resume(
    hall: &Hall,
    token: &str,
    visitor: Visitor,
) -> Result<Arrival, LoginError> {
    visitor.try_login(hall)?;
    let sources = &hall.settings.sources;
    // Before the check, so that guesses over many connections at once cannot pass.
    sources.take(visitor.source, SourceAction::WrongPassword)?;
    let act = Act::Redeem { token: token.to_owned() };
    let outcome = hall.propose(hall.next_session(), act).outcome().await;
    if !matches!(outcome, Outcome::Redeemed(None)) {
        sources.give_back(visitor.source, SourceAction::WrongPassword);
    }
    let place = match outcome {
        Outcome::Redeemed(Some(keep)) => keep.place,
        Outcome::Redeemed(None) => {
            // Sixty bits cannot be guessed at this pace.
            tokio::time::sleep(super::resume::WRONG_TOKEN_PAUSE).await;
            return Err("That token brings nobody back; type a name".to_owned().into());
        }
        _ => return Err(NameTaken::NotDelivered.sentence().into()),
    };
    let back = super::resume::back(hall, &place.more).await;
    match enter(hall, place.name.clone(), visitor.address, Some(back)).await {
        Ok(person) => Ok(Arrival { place: Some(place), is_back: true, ..Arrival::new(person) }),
        Err(taken) => {
            // A token that could not be used is worth something again.
            let keep = Keep { token: token.to_owned(), place };
            hall.announce(hall.next_session(), Act::Keep(keep));
            Err(format!("{}. Later, /resume {token} will do it", taken.sentence()).into())
        }
    }
}

impl NameTaken {
    /// What is told to who asked for the name.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Taken(name) => format!("The name {} is taken; type another", name.as_str()),
            Self::LooksLike(name) => {
                format!(
                    "That looks too much like {}, who is here; type another name",
                    name.as_str()
                )
            }
            Self::Banned(words) => words.clone(),
            Self::NotDelivered => {
                "The link to the other machines is lost; type your name again".to_owned()
            }
        }
    }
}
