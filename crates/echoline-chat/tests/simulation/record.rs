//! The record of one connection's input and output. The checks use nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

/// The output format of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A terminal as it is.
    Plain,
    /// A terminal after `/numbers on`.
    Numbered,
    /// A program.
    Bot,
    /// The program that is in every room from first to last, and whose transcript is the order.
    Keeper,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It stayed connected to the end, and has read all output.
    Stayed,
    /// By `/quit`, and it read to the end of the stream.
    Quit,
    /// It ended its stream, maybe in a line, and read to the end of the other.
    HalfClosed,
    /// Broken off.
    Reset,
    /// It does not read any more.
    Stuck,
    /// It took the place of another connection, or that was ended by the server: kicked, stalled.
    Ended,
}

/// Something that was said: as it has to be heard.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    /// The line was cut in the middle, and `text` is its beginning.
    pub(crate) is_cut: bool,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Record {
    /// Stands before everything that is said over this connection: `<3.1`.
    pub(crate) mark: String,
    pub(crate) sight: Sight,
    pub(crate) names: Vec<String>,
    pub(crate) said: Vec<Said>,
    pub(crate) whispered: Vec<String>,
    pub(crate) heard: Vec<u8>,
    /// Byte offsets in `heard`, each with its time of arrival in milliseconds of the simulation.
    pub(crate) arrivals: Vec<(usize, u64)>,
    pub(crate) end: End,
    /// The user's connection before this one, where this one goes on from it.
    pub(crate) resumes: Option<Resumed>,
    /// Where a program said that it goes on from.
    pub(crate) after: BTreeMap<String, u64>,
}

/// The connection that another one continues.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resumed {
    pub(crate) record: usize,
    /// The one before had heard everything that was sent to it.
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

    /// The whole lines that were heard.
    pub(crate) fn text(&self) -> &str {
        let end = self.heard.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        std::str::from_utf8(&self.heard[..end]).unwrap_or_default()
    }
}

/// A record that its reader and its writer share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) record: Arc<Mutex<Record>>,
    /// Something was heard.
    pub(crate) news: Arc<Notify>,
}

impl Shared {
    pub(crate) fn new(record: Record) -> Self {
        Self { record: Arc::new(Mutex::new(record)), news: Arc::default() }
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        change(&mut self.record.lock().unwrap())
    }

    /// Waits until what was heard has something in it.
    pub(crate) async fn until<T>(&self, mut find: impl FnMut(&[u8]) -> Option<T>) -> T {
        loop {
            if let Some(found) = self.with(|record| find(&record.heard)) {
                return found;
            }
            self.news.notified().await;
        }
    }
}
