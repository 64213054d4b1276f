//! A room as one machine of a cluster tells it to another. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::history::Kind;
use super::key::Key;
use super::log::{Log, LogLimits};
use super::muted::Muted;
use super::name::Name;
use super::person::Person;
use super::room::{Room, Seat};
use super::room_operators::RoomOperators;

/// The last lines of a room that are told, and their bytes.
pub(super) const LINES_MAX: u64 = 100;
const LINES_BYTES: usize = 32 * 1024;

/// What a log keeps at least where there are other machines: what is told of it, however long the
/// names are.
pub(super) const LOG_MIN: LogLimits = LogLimits { lines: LINES_MAX as usize, bytes: 128 * 1024 };

/// All of a room but most of its lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RoomRecord {
    pub(super) name: Name,
    pub(super) topic: String,
    pub(super) private: bool,
    pub(super) password: Option<String>,
    /// The number of the next line.
    pub(super) next: u64,
    pub(super) last_time_ms: u64,
    /// The lines before `next`.
    pub(super) lines: Vec<LineRecord>,
    /// Sessions in the order in which they came, and whether they keep order.
    pub(super) members: Vec<(u64, bool)>,
    pub(super) invited: Vec<Key>,
    pub(super) muted: Vec<(Muted, u64)>,
    #[serde(default)]
    pub(super) operators: RoomOperators,
    /// Lines whose words were deleted, the last of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) deleted: BTreeSet<u64>,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LineRecord {
    pub(super) time_ms: u64,
    pub(super) author: u64,
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) text: String,
}

impl Room {
    /// What another machine has to know of it.
    pub(super) fn record(&self) -> RoomRecord {
        RoomRecord {
            name: self.name.clone(),
            topic: self.topic.to_string(),
            private: self.private,
            password: self.password.as_deref().map(str::to_owned),
            next: self.log.next(),
            last_time_ms: self.log.last_time_ms(),
            lines: last_lines(&self.log),
            members: self.members().iter().map(|m| (m.session, m.operator)).collect(),
            invited: self.invited.iter().cloned().collect(),
            muted: self.muted.clone(),
            operators: self.operators.clone(),
            deleted: self.log.deleted.clone(),
        }
    }

    /// Becomes what was recorded; returns who is to be in it. What is known already of the lines
    /// stays, unless some are missing between.
    pub(super) fn fill(&mut self, record: RoomRecord) -> Vec<(u64, bool)> {
        self.topic = record.topic.into();
        self.private = record.private;
        self.password = record.password.map(Into::into);
        self.invited = record.invited.into_iter().collect();
        self.muted = record.muted;
        self.operators = record.operators;
        let from = record.next.saturating_sub(record.lines.len() as u64);
        if self.log.next() < from {
            self.log.jump(from);
        }
        for (number, line) in (from..).zip(&record.lines) {
            if number == self.log.next() {
                let LineRecord { time_ms, author, kind, name, text } = line;
                self.log.append(*time_ms, *author, *kind, name, text);
            }
        }
        record.deleted.iter().for_each(|&number| self.log.delete(number));
        self.log.deleted = record.deleted;
        self.log.set_last_time(record.last_time_ms);
        record.members
    }

    /// Somebody is in whom the others have seen come.
    pub(super) fn seat(&mut self, person: &Person, operator: bool) -> Seat {
        self.place(person.who(), person.name(), self.log.next(), operator)
    }

    /// Everything that was is forgotten.
    pub(super) fn begin_anew(&mut self, limits: LogLimits) {
        self.log = Log::new(limits, 1, 0);
        (self.topic, self.private, self.password) = Default::default();
        self.invited.clear();
        self.muted.clear();
        self.operators = RoomOperators::default();
    }
}

/// The same on every machine, whatever else each of them keeps.
fn last_lines(log: &Log) -> Vec<LineRecord> {
    let mut bytes = 0;
    let numbers = log.next().saturating_sub(LINES_MAX).max(log.first())..log.next();
    let lines = numbers.rev().map_while(|number| log.line(number)).take_while(|line| {
        bytes += line.text.len();
        bytes <= LINES_BYTES
    });
    let mut lines: Vec<LineRecord> = lines
        .map(|line| LineRecord {
            time_ms: line.time_ms,
            author: line.author,
            kind: line.kind,
            name: line.name.to_owned(),
            text: line.text.to_owned(),
        })
        .collect();
    lines.reverse();
    lines
}
