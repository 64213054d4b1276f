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
use crate::net::{Closed, Connection};

/// What a terminal is asked.
const PROMPT: &[u8] = b"Enter your name: ";

/// Names that a person without one may find taken before we give up: somebody plays games.
const SUFFIXES_MAX: u32 = 1000;

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
    let address = origin.client().map(|peer| peer.ip());
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
        match arrive(hall, text.trim(), address, port).await {
            Ok(arrival) => return Ok(Some(arrival)),
            Err(sentence) => again(client, &sentence).await?,
        }
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
    address: Option<IpAddr>,
    port: u16,
) -> Result<Arrival, String> {
    if text.is_empty() {
        return nameless(hall, address, port).await;
    }
    if let Ok(Command::Resume(token)) = Command::parse(text) {
        return resume(hall, token.reveal(), address).await;
    }
    let name = Name::parse(text).map_err(|error| error.to_string())?;
    let person = enter(hall, name, address, None).await;
    person.map(Arrival::new).map_err(|taken| taken.sentence())
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
    address: Option<IpAddr>,
) -> Result<Arrival, String> {
    let act = Act::Redeem { token: token.to_owned() };
    let place = match hall.propose(hall.next_session(), act).outcome().await {
        Outcome::Redeemed(Some(keep)) => keep.place,
        Outcome::Redeemed(None) => {
            // Sixty bits cannot be guessed at this pace.
            tokio::time::sleep(super::resume::WRONG_TOKEN_PAUSE).await;
            return Err("That token brings nobody back; type a name".to_owned());
        }
        _ => return Err(NameTaken::NotDelivered.sentence()),
    };
    let back = super::resume::back(hall, &place.more).await;
    match enter(hall, place.name.clone(), address, Some(back)).await {
        Ok(person) => Ok(Arrival { place: Some(place), is_back: true, ..Arrival::new(person) }),
        Err(taken) => {
            // A token that could not be used is worth something again.
            let keep = Keep { token: token.to_owned(), place };
            hall.announce(hall.next_session(), Act::Keep(keep));
            Err(format!("{}. Later, /resume {token} will do it", taken.sentence()))
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
