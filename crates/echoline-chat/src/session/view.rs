//! Formats the lines of a room for one member.

use std::fmt::Write;

use echoline_chat_core::protocol::{DisplayChoices, RoomLine, ServerMessage};
use echoline_chat_core::room::{EOL, LineView, Own, Shape};
use echoline_chat_core::state::{IGNORED_MAX, Ignored, Preferences, deleted_by};
use echoline_chat_core::text::wrap;
use echoline_chat_core::{LineKind, Name};

/// Writes one message for a program or a page.
pub(crate) fn print_json(message: &ServerMessage<'_>, out: &mut String) {
    let _ = write!(out, "{message}{EOL}");
}

/// The kind of client that displays a member's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Medium {
    #[default]
    Terminal,
    /// A program, which gets JSON.
    Program,
    /// A page in a browser, which gets JSON and more kinds of messages.
    Page,
}

/// The settings that decide how lines are displayed to a member.
#[derive(Clone, Debug, Default)]
pub(crate) struct DisplaySettings {
    /// The settings that a token restores. If line numbers are shown, the member sees their own
    /// lines too.
    pub(crate) preferences: Preferences,
    /// The kind of client.
    pub(crate) medium: Medium,
    /// The width of the terminal in columns, if the client reported it.
    pub(crate) width: Option<u16>,
}

/// The formatter of one room's lines for one member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) view: &'a DisplaySettings,
    /// The member's lineage.
    pub(crate) lineage: u64,
    pub(crate) room: &'a str,
    /// Whether this is the member's current room.
    pub(crate) is_current: bool,
    pub(crate) time: fn(u64) -> String,
}

impl DisplaySettings {
    /// Returns whether the client gets JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.medium != Medium::Terminal
    }

    /// Returns whether the client is a page in a browser.
    pub(crate) fn is_page(&self) -> bool {
        self.medium == Medium::Page
    }

    /// Returns whether the member sees lines exactly as they are in the room's log.
    pub(crate) fn is_plain(&self) -> bool {
        self.preferences.is_usual() && !self.is_json() && self.width.is_none()
    }

    /// Returns whether own lines are shown. A terminal already shows the input of its user.
    pub(crate) fn own(&self) -> Own {
        if self.preferences.numbers || self.is_json() { Own::Shown } else { Own::Hidden }
    }

    /// Ignores a user. Returns `false` if the member already ignores too many users.
    pub(crate) fn ignore(&mut self, name: Name, lineage: u64) -> bool {
        self.heed(&name);
        let ignored = &mut self.preferences.ignored;
        let fits = ignored.len() < IGNORED_MAX;
        if fits {
            ignored.push(Ignored { name, lineage: Some(lineage) });
        }
        fits
    }

    /// Stops ignoring a user. Returns `false` if the user was not ignored.
    pub(crate) fn heed(&mut self, name: &Name) -> bool {
        let ignored = &mut self.preferences.ignored;
        let before = ignored.len();
        ignored.retain(|ignored| !ignored.name.same_as(name));
        ignored.len() < before
    }

    /// Returns the names of the ignored users.
    pub(crate) fn ignored(&self) -> impl Iterator<Item = &Name> {
        self.preferences.ignored.iter().map(|ignored| &ignored.name)
    }

    /// Returns whether the member ignores this lineage, this name, or a name that looks like it.
    pub(crate) fn ignores(&self, lineage: u64, name: &str) -> bool {
        let mut parsed = None;
        self.preferences.ignored.iter().any(|ignored| {
            ignored.lineage == Some(lineage)
                || ignored.name.as_str() == name
                || parsed
                    .get_or_insert_with(|| Name::parse(name).ok())
                    .as_ref()
                    .is_some_and(|name| name.looks_like(&ignored.name))
        })
    }

    /// Returns whether the view hides an earlier line, because it contains text of an ignored user.
    pub(crate) fn hides_past(&self, kind: LineKind, lineage: u64, name: &str) -> bool {
        kind.has_own_words() && self.ignores(lineage, name)
    }

    /// Restores saved settings. Returns their description, which is empty if all are defaults.
    pub(crate) fn restore(&mut self, saved: Preferences) -> String {
        let switches = [("numbers", saved.numbers), ("times", saved.times), ("quiet", saved.quiet)];
        self.preferences = saved;
        let on = switches.iter().filter(|(_, is_on)| *is_on);
        let mut words: Vec<String> = on.map(|(what, _)| format!("{what} on")).collect();
        let names: Vec<&str> = self.ignored().map(Name::as_str).collect();
        if !names.is_empty() {
            words.push(format!("you ignore {}", names.join(", ")));
        }
        words.join(", ")
    }

    /// Returns the settings that a page applies itself.
    pub(crate) fn choices(&self) -> DisplayChoices {
        let Preferences { numbers, times, quiet, .. } = self.preferences;
        DisplayChoices { numbers, times, quiet }
    }

    /// Writes one line of text in the format of the member's client.
    pub(crate) fn print(&self, text: &str, out: &mut String) {
        if self.is_json() {
            print_json(&ServerMessage::reply(text), out);
        } else {
            self.print_wrapped(text, out);
        }
    }

    /// Writes text, wrapped if the terminal's width is known. Continuation lines are indented, so
    /// that no part of a line looks like a separate line.
    fn print_wrapped(&self, text: &str, out: &mut String) {
        match self.width {
            Some(width) => {
                for (indent, part) in wrap(text, width) {
                    let _ = write!(out, "{indent}{part}{EOL}");
                }
            }
            None => {
                let _ = write!(out, "{text}{EOL}");
            }
        }
    }
}

impl Frame<'_> {
    /// Writes `line`, unless the settings hide it.
    pub(crate) fn print(&self, line: &LineView<'_>, out: &mut String) {
        let is_ignored = line.kind.has_own_words() && self.view.ignores(line.author, line.name);
        if is_ignored && line.kind == LineKind::Left {
            // Shows that the user left, but not the reason that the user gave.
            let parts = Shape::encode(line.kind, line.name, "").1;
            return self.print_line(&LineView { text: "", shown: &parts.concat(), ..*line }, out);
        }
        // A page needs these lines to keep track of names and topics.
        let is_followed = self.view.is_page() && !line.kind.is_said();
        if is_ignored && is_followed {
            return print_json(&self.message(line, true), out);
        }
        if !is_ignored {
            self.print_line(line, out);
        }
    }

    fn print_line(&self, line: &LineView<'_>, out: &mut String) {
        if self.hides(line) {
            return;
        }
        if self.view.is_json() {
            return print_json(&self.message(line, false), out);
        }
        let mut shown = String::with_capacity(line.shown.len() + 32);
        if !self.is_current {
            let _ = write!(shown, "[{}] ", self.room);
        }
        if self.view.preferences.numbers {
            let _ = write!(shown, "#{} ", line.number);
        }
        if self.view.preferences.times {
            let _ = write!(shown, "{} ", (self.time)(line.time_ms));
        }
        shown.push_str(line.shown);
        self.view.print_wrapped(&shown, out);
    }

    /// Writes a separator between two lines.
    pub(crate) fn print_separator(&self, separator: &str, out: &mut String) {
        match self.is_current {
            true => self.view.print(separator, out),
            false => self.view.print(&format!("[{}] {separator}", self.room), out),
        }
    }

    fn hides(&self, line: &LineView<'_>) -> bool {
        match line.kind {
            // A page hides these lines itself, because it needs them to keep its list of members.
            LineKind::Joined | LineKind::Left | LineKind::Renamed => {
                self.view.preferences.quiet && !self.view.is_page()
            }
            // The room already skips own lines for a terminal.
            LineKind::Said | LineKind::Action | LineKind::Topic | LineKind::Notice => false,
        }
    }

    fn message<'b>(&'b self, line: &'b LineView<'_>, ignored: bool) -> ServerMessage<'b> {
        let LineView { number, time_ms, name, text, .. } = *line;
        let deleted = if line.kind == LineKind::Notice { deleted_by(text) } else { None };
        let line_message = RoomLine {
            room: self.room.into(),
            number,
            time_ms,
            name: name.into(),
            text: text.into(),
            own: line.author == self.lineage,
            deleted,
            ignored,
        };
        ServerMessage::of_line(line.kind, line_message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IGNORED: u64 = 7;

    fn printed(medium: Medium, author: u64, kind: LineKind, name: &str, text: &str) -> String {
        let mut view = DisplaySettings { medium, ..DisplaySettings::default() };
        assert!(view.ignore(Name::parse("mallory").unwrap(), IGNORED));
        let frame = Frame {
            view: &view,
            lineage: 1,
            room: "den",
            is_current: true,
            time: |_| String::new(),
        };
        let shown = Shape::encode(kind, name, text).1.concat();
        let line = LineView { number: 1, time_ms: 1, author, kind, name, text, shown: &shown };
        let mut out = String::new();
        frame.print(&line, &mut out);
        out
    }

    /// Issue 12, item 20: no text of an ignored user reaches the member, whatever the name of that
    /// user. Joins and leaves are shown.
    #[test]
    fn attack_no_text_of_an_ignored_user_is_shown() {
        for medium in [Medium::Terminal, Medium::Program] {
            for kind in [LineKind::Said, LineKind::Action, LineKind::Topic, LineKind::Renamed] {
                assert_eq!(printed(medium, IGNORED, kind, "eve", "unheard"), "", "{kind:?}");
                assert_eq!(printed(medium, 0, kind, "MALL0RY", "unheard"), "", "a look-alike");
                assert!(printed(medium, 8, kind, "ann", "heard").contains("heard"), "{kind:?}");
            }
        }
        let left = printed(Medium::Terminal, IGNORED, LineKind::Left, "eve", "unheard");
        assert_eq!(left, "*** eve left the chat ***\r\n");
        for medium in [Medium::Program, Medium::Page] {
            let left = printed(medium, IGNORED, LineKind::Left, "eve", "unheard");
            assert!(left.contains(r#""kind":"left""#) && !left.contains("unheard"), "{left}");
            assert!(printed(medium, IGNORED, LineKind::Joined, "eve", "").contains("joined"));
        }
        // A page gets these lines to keep track of names and topics, but does not show them.
        for kind in [LineKind::Topic, LineKind::Renamed] {
            let line = printed(Medium::Page, IGNORED, kind, "eve", "new");
            assert!(line.contains(r#""ignored":true"#), "{line}");
        }
        assert_eq!(printed(Medium::Page, IGNORED, LineKind::Said, "eve", "unheard"), "");
    }
}
