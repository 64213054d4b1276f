//! `/search`: finds the lines of a room that contain certain words. Each search reads a limited
//! part of the room.

use std::sync::Arc;

use super::history::{newest_that_fit, unreadable};
use crate::chat::shared_room::SharedRoom;
use crate::session::view::DisplaySettings;
use crate::session::{CommandResult, Session, UnfinishedSearch};
use crate::telnet::ByteStream;
use echoline_chat_core::{CaseFoldBuffer, SearchTerms, StoredLine};
use echoline_chat_store::{SearchPage, StoreError};

/// The maximum number of lines that `/search` shows.
const FOUND_MAX: usize = 50;

/// The limits of a search in memory: the total number of lines, and the number of lines between two
/// yields.
const LINES_MAX: u64 = 20_000;
const STEP_LINES: u64 = 256;

impl<S: ByteStream> Session<S> {
    /// `/search`: searches backwards from the newest line. Without words, it continues the last
    /// search.
    pub(super) async fn search(&mut self, words: &str) -> CommandResult {
        let (shared_room, room) = self.current_room()?;
        let last = self.last_search.take().filter(|last| last.room.same_as(&room));
        let search = match (words, last) {
            ("", None) => {
                return Err(
                    "There is no search to continue in this room: /search WORDS starts one".into(),
                );
            }
            ("", Some(last)) => *last,
            (words, _) => UnfinishedSearch { room, words: words.into(), before: u64::MAX },
        };
        let (chat, source) = (Arc::clone(&self.chat), self.source);
        let (view, UnfinishedSearch { room, words, before }) =
            (self.feed.view.clone(), search.clone());
        let found = self.wait(async move {
            let _passed = chat.gates.pass(source).await;
            match chat.archive.store() {
                Some(store) => store.search(room.as_str(), &words, before, FOUND_MAX).await,
                None => Ok(search_memory(&shared_room, &words, before, &view).await),
            }
        });
        let found = found.await?.map_err(|error| match error {
            StoreError::Busy => "Too many searches are running: try again in a moment",
            error => unreadable(error),
        })?;
        self.show_found(search, found);
        Ok(())
    }

    fn show_found(&mut self, search: UnfinishedSearch, found: SearchPage) {
        let SearchPage { mut lines, before } = found;
        lines.reverse();
        let fitting = newest_that_fit(&lines);
        let before = match fitting.first() {
            Some(first) if fitting.len() < lines.len() => Some(first.number),
            _ => before,
        };
        let lines = fitting;
        match before {
            None => self.show_past(lines, "Nothing was found"),
            Some(before) => {
                if !lines.is_empty() {
                    self.show_past(lines, "");
                }
                let found = if lines.is_empty() { "Nothing was found" } else { "Searched" };
                self.notice(&format!(
                    "{found} back to line {before}: /search without words continues"
                ));
                self.last_search = Some(Box::new(UnfinishedSearch { before, ..search }));
            }
        }
    }
}

/// Searches the lines in memory, except those that the view hides. Between its steps it yields to
/// the other tasks of the thread.
async fn search_memory(
    shared_room: &SharedRoom,
    words: &str,
    before: u64,
    view: &DisplaySettings,
) -> SearchPage {
    let (terms, mut buffer) = (SearchTerms::new(words), CaseFoldBuffer::default());
    let (mut at, mut looked, mut lines) = (before, 0, Vec::new());
    at = shared_room.with(|room| room.log.visible()).min(at);
    loop {
        let is_end = shared_room.with(|room| {
            for _ in 0..STEP_LINES.min(LINES_MAX - looked) {
                let Some(number) = room.log.kept_before(at) else { break };
                if lines.len() >= FOUND_MAX {
                    break;
                }
                (at, looked) = (number, looked + 1);
                let line = room.log.line(number);
                let line =
                    line.filter(|line| terms.matches_line(line.name, line.text, &mut buffer));
                let seen = line.filter(|line| !view.hides_past(line.kind, line.author, line.name));
                lines.extend(seen.map(StoredLine::from));
            }
            room.log.kept_before(at).is_none()
        });
        if is_end {
            return SearchPage { lines, before: None };
        }
        if looked >= LINES_MAX || lines.len() >= FOUND_MAX {
            return SearchPage { lines, before: Some(at) };
        }
        tokio::task::yield_now().await;
    }
}
