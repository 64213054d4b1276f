//! The record of a room in a snapshot of the cluster.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::room::{
    LineView, Log, LogLimits, MemberId, MemberIdentity, Muted, Room, RoomOperators, RoomOrigin,
};
use crate::{Key, LineKind, Name};

/// The maximum number of a room's last lines in a snapshot, and the maximum size of their texts in
/// bytes.
pub const LINES_MAX: u64 = 100;
const LINES_BYTES: usize = 32 * 1024;

/// The minimum limits of a log in a cluster. All lines of a snapshot fit into such a log, whatever
/// the length of the names.
pub const LOG_MIN: LogLimits = LogLimits { lines: LINES_MAX as usize, bytes: 128 * 1024 };

/// A room with its settings and its last lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRecord {
    /// The name of the room.
    pub name: Name,
    /// The topic, empty if none is set.
    pub topic: String,
    /// Whether only invited users may enter.
    pub private: bool,
    /// The hash of the password, or only the last part of the hash; `None` if the room has no
    /// password.
    pub password: Option<String>,
    /// The number of the next line.
    pub next: u64,
    /// The time of the last line, in milliseconds since 1970.
    pub last_time_ms: u64,
    /// The last lines, up to the one before `next`.
    pub lines: Vec<LineRecord>,
    /// Said lines from before `lines`, each with its number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<(u64, LineRecord)>,
    /// The sessions of the members, in the order of their joins. The flag is whether the member is
    /// an operator.
    pub members: Vec<(u64, bool)>,
    /// The names that an earlier version invited. They have no effect, because an invitation is for
    /// a user and not for a name.
    #[serde(default)]
    invited: Vec<Key>,
    /// The lineages of the invited users.
    #[serde(default)]
    pub guests: VecDeque<u64>,
    /// Muted users, and the ends of their mutes in milliseconds since 1970.
    pub muted: Vec<(Muted, u64)>,
    /// The present and former operators.
    #[serde(default)]
    pub operators: RoomOperators,
    /// The origin of the room.
    #[serde(default)]
    pub origin: RoomOrigin,
    /// The highest numbers of deleted lines.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub deleted: BTreeSet<u64>,
}

/// A line in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRecord {
    /// The time, in milliseconds since 1970 (UTC).
    pub time_ms: u64,
    /// The author's lineage; 0 for the server.
    pub author: u64,
    /// The kind of the line.
    pub kind: LineKind,
    /// The name in the line.
    pub name: String,
    /// The text.
    pub text: String,
}

impl Room {
    /// Returns the record of the room, with everything that other nodes need.
    pub fn record(&self) -> RoomRecord {
        let lines = last_lines(&self.log);
        let from = self.log.next() - lines.len() as u64;
        RoomRecord {
            name: self.name.clone(),
            topic: self.topic.to_string(),
            private: self.private,
            password: self.password.as_deref().map(str::to_owned),
            next: self.log.next(),
            last_time_ms: self.log.last_time_ms(),
            lines,
            said: said_before(&self.log, from),
            members: self.members().iter().map(|m| (m.session, m.operator)).collect(),
            invited: Vec::new(),
            guests: self.invited.clone(),
            muted: self.muted.clone(),
            operators: self.operators.clone(),
            origin: self.origin,
            deleted: self.log.deleted.clone(),
        }
    }

    /// Restores the room from a record. Returns the sessions of its members; the flag is whether
    /// the member is an operator. The lines that the log already has are kept, unless lines are
    /// missing between them and the record.
    pub fn fill(&mut self, record: RoomRecord) -> Vec<(u64, bool)> {
        self.topic = record.topic.into();
        self.private = record.private;
        self.password = record.password.map(Into::into);
        self.invited = record.guests;
        self.muted = record.muted;
        self.operators = record.operators;
        let is_other = self.origin.born != record.origin.born;
        self.origin = record.origin;
        let from = record.next.saturating_sub(record.lines.len() as u64);
        if is_other || self.log.next() < from {
            self.log.jump(from);
            for (number, line) in &record.said {
                self.log.restore_said(&line.view(*number));
            }
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

    /// Adds a member without appending a line.
    pub fn add_member(&mut self, identity: MemberIdentity, name: Name, operator: bool) -> MemberId {
        self.insert_member(identity, name, self.log.next(), operator)
    }

    /// Drops all lines and settings.
    pub fn reset(&mut self, limits: LogLimits) {
        self.log = Log::new(limits, 1, 0);
        (self.topic, self.private, self.password) = Default::default();
        self.invited.clear();
        self.muted.clear();
        self.operators = RoomOperators::default();
    }
}

/// Returns the last lines of a log, within the limits of a record. They are the same on every node.
fn last_lines(log: &Log) -> Vec<LineRecord> {
    let mut bytes = 0;
    let numbers = log.next().saturating_sub(LINES_MAX).max(log.first())..log.next();
    let lines = numbers.rev().map_while(|number| log.line(number)).take_while(|line| {
        bytes += line.text.len();
        bytes <= LINES_BYTES
    });
    let mut lines: Vec<LineRecord> = lines.map(LineRecord::of).collect();
    lines.reverse();
    lines
}

/// Returns the older said lines of the record, with numbers below `from`. They are the same on
/// every node, because each log keeps the same number of lines.
fn said_before(log: &Log, from: u64) -> Vec<(u64, LineRecord)> {
    let mut bytes = 0;
    let numbers = std::iter::successors(log.kept_before(log.next()), |at| log.kept_before(*at));
    let lines = numbers.map_while(|number| log.line(number)).filter(|line| line.kind.is_said());
    let last = lines.take(LINES_MAX as usize).take_while(|line| {
        bytes += line.text.len();
        bytes <= LINES_BYTES
    });
    let older = last.filter(|line| line.number < from);
    let mut said: Vec<_> = older.map(|line| (line.number, LineRecord::of(line))).collect();
    said.reverse();
    said
}

impl LineRecord {
    fn of(line: LineView<'_>) -> Self {
        Self {
            time_ms: line.time_ms,
            author: line.author,
            kind: line.kind,
            name: line.name.to_owned(),
            text: line.text.to_owned(),
        }
    }

    fn view(&self, number: u64) -> LineView<'_> {
        let Self { time_ms, author, kind, name, text } = self;
        let (time_ms, author, kind) = (*time_ms, *author, *kind);
        LineView { number, time_ms, author, kind, name, text, shown: "" }
    }
}
