//! The record of one connection's input and output. The checks use nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

/// The output format of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A terminal with its default settings.
    Plain,
    /// A terminal after `/numbers on`.
    Numbered,
    /// A program.
    Bot,
    /// The program that is in every room during the whole simulation. Its output defines the order
    /// of the lines.
    Keeper,
}

/// The way in which a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client stayed connected until the end of the simulation, and has read all output.
    Stayed,
    /// The client sent `/quit`, and read to the end of the stream.
    Quit,
    /// The client ended its input, perhaps within a line, and read the output to its end.
    HalfClosed,
    /// The client dropped the connection.
    Reset,
    /// The client stopped reading.
    Stuck,
    /// The server ended the connection, for example after a kick or a stall, or because another
    /// connection took over the session.
    Ended,
}

/// A text that a user said, in the form that other users must receive.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    /// Whether the connection broke within the line. `text` is then its beginning.
    pub(crate) is_cut: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Record {
    /// The mark at the beginning of every text of this connection, such as `<3.1`.
    pub(crate) mark: String,
    pub(crate) sight: Sight,
    pub(crate) names: Vec<String>,
    pub(crate) said: Vec<Said>,
    pub(crate) whispered: Vec<String>,
    pub(crate) heard: Vec<u8>,
    /// Offsets in `heard`, in bytes, each with its time of arrival in milliseconds since the
    /// simulation began.
    pub(crate) arrivals: Vec<(usize, u64)>,
    pub(crate) end: End,
    /// The user's previous connection, if this connection continues its session.
    pub(crate) resumes: Option<Resumed>,
    /// For each room: the last line that a program claimed to have received when it logged in.
    pub(crate) after: BTreeMap<String, u64>,
}

/// The previous connection, whose session another connection continues.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resumed {
    pub(crate) record: usize,
    /// Whether the previous connection received everything that was sent to it.
    pub(crate) heard_all: bool,
}

impl Record {
    pub(crate) fn new(mark: String, sight: Sight) -> Self {
        Self {
            mark,
            sight,
            names: Vec::new(),
            said: Vec::new(),
            whispered: Vec::new(),
            heard: Vec::new(),
            arrivals: Vec::new(),
            end: End::Reset,
            resumes: None,
            after: BTreeMap::new(),
        }
    }

    /// Returns the complete lines that were received.
    pub(crate) fn text(&self) -> &str {
        let end = self.heard.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        std::str::from_utf8(&self.heard[..end]).unwrap_or_default()
    }
}

/// A record, shared by its reader and its writer.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) record: Arc<Mutex<Record>>,
    /// Notified when output arrives.
    pub(crate) news: Arc<Notify>,
}

impl Shared {
    pub(crate) fn new(record: Record) -> Self {
        Self { record: Arc::new(Mutex::new(record)), news: Arc::default() }
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        change(&mut self.record.lock().unwrap())
    }

    /// Waits until `find` finds something in the received output.
    pub(crate) async fn until<T>(&self, mut find: impl FnMut(&[u8]) -> Option<T>) -> T {
        loop {
            if let Some(found) = self.with(|record| find(&record.heard)) {
                return found;
            }
            self.news.notified().await;
        }
    }
}
