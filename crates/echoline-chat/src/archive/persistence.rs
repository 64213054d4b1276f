//! Opens and closes a chat with a store, and handles the store's events.

use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crate::archive::{Archive, SavedMore, restored};
use crate::chat::{Chat, RestoredChat};
use crate::settings::ChatSettings;
use echoline_chat_core::room::{LineView, Log, Room};
use echoline_chat_core::state::{
    Bans, Position, RestoredState, SavedSession, Tokens, digest_of_kept,
};
use echoline_chat_core::{
    Effect, LineKind, MISSING, Name, OperationContext, RESTARTED, StoredLine,
};
use echoline_chat_store::{
    RestoredHistory, RestoredRoom, Store, StoreError, StoreEvent, StoreOptions, StoredToken,
};

impl Chat {
    /// Creates a chat that stores its rooms, lines, bans and tokens in this folder, and continues
    /// with the stored ones. Blocks while it reads the store.
    ///
    /// # Errors
    /// [`StoreError`] if the folder cannot be used. Its message is one sentence.
    pub fn with_store(
        settings: ChatSettings,
        folder: &Path,
        options: StoreOptions,
    ) -> Result<Arc<Self>, StoreError> {
        let chat_cell = Arc::new(OnceLock::<Weak<Self>>::new());
        let cell = Arc::clone(&chat_cell);
        let on_event = move |event| {
            if let Some(chat) = cell.get().and_then(Weak::upgrade) {
                chat.hear(event);
            }
        };
        let (store, found) = Store::open(folder, options, settings.log.lines, on_event)?;
        for notice in &found.notices {
            tracing::warn!("{notice}");
        }
        let (archive, tokens) = (Archive::in_store(store, options.sync), found.tokens.clone());
        for token in tokens {
            replace_by_digest(&archive, token);
        }
        let kept = kept(&settings, found);
        let chat = Arc::new(Self::open(settings, archive, kept));
        // From now on, this chat receives the store's events.
        let _ = chat_cell.set(Arc::downgrade(&chat));
        chat.start_rooms();
        Ok(chat)
    }

    /// Removes rooms that are not worth keeping. Announces the restart in all other rooms.
    fn start_rooms(&self) {
        let context = OperationContext::of_server(self.now_ms());
        self.change(&mut self.lock(), context, |change| change.remove_worthless());
        for shared_room in self.rooms() {
            shared_room.change(|room| {
                room.log.holds = self.archive.holds;
                if room.log.next() > 1 {
                    let appended = room.announce(self.now_ms(), RESTARTED);
                    self.archive.notice(room, appended, RESTARTED);
                }
            });
        }
    }

    /// Handles an event of the store.
    fn hear(&self, event: StoreEvent) {
        match event {
            StoreEvent::Committed(rooms) => {
                for (room, number) in rooms {
                    let room = Name::parse_room(&room).ok().and_then(|name| self.room(&name));
                    if let Some(shared_room) = room {
                        shared_room.change(|room| room.log.show(number.saturating_add(1)));
                    }
                }
            }
            StoreEvent::Failing(reason) => {
                tracing::error!(reason, "the history cannot be written; the chat continues");
                self.tell_all(
                    false,
                    "The history cannot be saved now; the chat continues without it",
                );
            }
            StoreEvent::Recovered { lost } => {
                tracing::info!(lost, "the history is written again");
                let lost = match lost {
                    0 => "nothing was lost".to_owned(),
                    lost => format!("{lost} changes were lost"),
                };
                self.tell_all(true, &format!("The history is saved again; {lost}"));
            }
        }
    }

    /// Tells every room that has members about the state of the store. While the store fails, new
    /// lines are shown without waiting for it.
    fn tell_all(&self, is_well: bool, words: &str) {
        self.archive.set_well(is_well);
        self.lock().options.holds_lines = self.holds();
        for shared_room in self.rooms() {
            shared_room.change(|room| {
                room.log.holds = self.holds();
                if !room.log.holds {
                    room.log.show(room.log.next());
                }
                if room.count() > 0 {
                    let appended = room.announce(self.now_ms(), words);
                    self.archive.notice(room, appended, words);
                }
            });
        }
    }

    /// Returns whether new lines are shown only after they are stored.
    pub(crate) fn holds(&self) -> bool {
        self.archive.holds && self.archive.is_well()
    }

    /// Like [`close_within`](Self::close_within), with a limit of six seconds.
    pub fn close(self: Arc<Self>) -> u64 {
        self.close_within(Duration::from_secs(6))
    }

    /// Writes the pending changes to the store and closes it. Call it after all sessions have
    /// ended. Returns the number of changes that could not be written. Blocks for at most `limit`.
    ///
    /// The store is closed even if the chat has other owners, such as the hooks of a server that is
    /// being dropped. Changes that they make later are lost.
    pub fn close_within(self: Arc<Self>, limit: Duration) -> u64 {
        self.archive.close(limit)
    }
}

fn kept(settings: &ChatSettings, found: RestoredHistory) -> RestoredChat {
    let now_ms = (settings.clock)();
    let mut bans = Bans::default();
    let mut dropped = 0;
    for ban in found.bans.iter().filter_map(restored) {
        dropped += u64::from(bans.add(now_ms, ban).is_err());
    }
    if dropped > 0 {
        tracing::warn!(dropped, "too many bans in the history: dropped those over the limit");
    }
    let (mut tokens, mut dropped_tokens) = (Tokens::default(), Vec::new());
    for token in found.tokens {
        if let Some(saved_session) = saved_session(&token) {
            let digest = digest_of_kept(token.token).into();
            dropped_tokens.extend(tokens.keep(now_ms, digest, saved_session));
        }
    }
    let rooms = found.rooms.into_iter().filter_map(|room| restore(settings, room)).collect();
    RestoredChat { state: RestoredState { rooms, bans, tokens }, dropped_tokens }
}

/// Replaces the token of an earlier version by its digest. That version stored the token itself.
fn replace_by_digest(archive: &Archive, token: StoredToken) {
    let digest = digest_of_kept(token.token.clone());
    if let Some(saved_session) = saved_session(&token).filter(|_| digest != token.token) {
        archive.keep(Effect::DeleteToken(&token.token));
        archive.keep(Effect::KeepToken { token: &digest, saved: &saved_session });
    }
}

fn saved_session(token: &StoredToken) -> Option<SavedSession> {
    let SavedMore { rooms: order, state: more } = SavedMore::read(&token.more);
    let position = |(room, next, operator): &(String, u64, bool)| {
        let room = Name::parse_room(room).ok()?;
        let saved = order.iter().find(|saved| saved.room.same_as(&room));
        let password = saved.and_then(|saved| saved.password.clone());
        let born = saved.map_or(0, |saved| saved.born);
        Some(Position { room, next: *next, operator: *operator, password, born })
    };
    let mut rooms: Vec<Position> = token.rooms.iter().filter_map(position).collect();
    rooms.sort_by_key(|at| order.iter().position(|saved| saved.room.same_as(&at.room)));
    Some(SavedSession {
        name: Name::parse(&token.name).ok()?,
        rooms,
        until_ms: token.until_ms,
        session: None,
        more,
    })
}

/// Restores a room from the store, with as many of its last lines as the log holds.
///
/// Up to the line number `trimmed`, the store has only lines that users said. If a later line is
/// missing, the room shows [`MISSING`] instead, and a warning is logged.
fn restore(settings: &ChatSettings, kept: RestoredRoom) -> Option<Room> {
    let name = Name::parse_room(&kept.name).ok()?;
    let earliest = kept.next_number.saturating_sub(settings.log.lines as u64);
    let whole_from = earliest.max(kept.trimmed.saturating_add(1));
    let (older, lines): (Vec<_>, Vec<_>) =
        kept.lines.iter().partition(|line| line.number < whole_from);
    let first = lines.first().map_or(kept.next_number, |line| line.number);
    let mut log = Log::new(settings.log, first, 0);
    for line in older {
        log.restore_said(&view(line));
    }
    let mut missing = 0_u64;
    for line in lines {
        while log.next() < line.number {
            log.append(0, 0, LineKind::Notice, "", MISSING);
            missing += 1;
        }
        log.append(line.time_ms, 0, line.kind, &line.name, &line.text);
    }
    if missing > 0 {
        let room = kept.name.as_str();
        tracing::warn!(room, missing, "lines of a room are missing in the history");
    }
    log.set_last_time(kept.last_time_ms);
    let mut room = Room::new(name, log);
    room.topic = Arc::from(kept.topic.unwrap_or_default());
    room.private = kept.private;
    room.password = kept.password.map(Arc::from);
    room.origin = serde_json::from_str(&kept.more).unwrap_or_default();
    Some(room)
}

fn view(line: &StoredLine) -> LineView<'_> {
    let StoredLine { number, time_ms, kind, name, text } = line;
    let (number, time_ms, kind) = (*number, *time_ms, *kind);
    LineView { number, time_ms, author: 0, kind, name, text, shown: "" }
}

impl Archive {
    /// Stores a notice of the server.
    fn notice(&self, room: &Room, appended: echoline_chat_core::room::Appended, words: &str) {
        self.keep(Effect::KeepLine {
            room,
            appended,
            kind: LineKind::Notice,
            name: "",
            text: words,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echoline_chat_store::StoreChange;

    /// Issue 13, section 6: a missing line is not an error. The room shows a notice instead.
    #[test]
    fn shows_a_notice_for_each_missing_line() {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions::default();
        let (store, _) = Store::open(folder.path(), options, 10, drop).unwrap();
        for number in [1, 2, 5] {
            let (name, text) = (Arc::from("ann"), Arc::from("hi"));
            let line = StoredLine { number, time_ms: number, kind: LineKind::Said, name, text };
            store.write(StoreChange::Line { room: Arc::from("lobby"), line });
        }
        assert_eq!(store.close(), 0);
        let chat = Chat::with_store(ChatSettings::default(), folder.path(), options).unwrap();
        let room = chat.room(&Name::parse_room("lobby").unwrap()).unwrap();
        let texts: Vec<_> = (1..=6)
            .map(|number| room.with(|room| room.log.line(number).unwrap().text.to_owned()))
            .collect();
        assert_eq!(texts, ["hi", "hi", MISSING, MISSING, "hi", RESTARTED]);
        assert_eq!(chat.close(), 0);
    }

    /// Issue 11, item F: the store is closed even if the chat has another owner, such as a server's
    /// hook. The number of unwritten changes is returned.
    #[test]
    fn regression_a_store_is_closed_although_the_chat_has_other_owners() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            Chat::with_store(ChatSettings::default(), folder.path(), StoreOptions::default())
                .unwrap()
        };
        let chat = open();
        let other = Arc::clone(&chat);
        assert_eq!(chat.close(), 0);
        // The folder is no longer locked, so the chat can be opened again.
        let (chat, locker) = (open(), folder.path().join("chat.sqlite3"));
        let another = Arc::clone(&chat);
        let locker = rusqlite::Connection::open(locker).unwrap();
        locker.execute_batch("BEGIN IMMEDIATE").unwrap();
        chat.archive.audit(true, (1, "ann".to_owned(), "muted bob".to_owned()));
        assert_eq!(chat.close_within(Duration::from_millis(300)), 1);
        drop((other, another));
    }
}
