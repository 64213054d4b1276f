//! What was said before: by number, by words, and said again.

use std::sync::Arc;

use super::{Step, User};
use crate::chat::answer_limits::{Budget, PAST_BYTES_MAX};
use crate::chat::arguments::Passage;
use crate::chat::crowd::Crowd;
use crate::chat::days::Days;
use crate::chat::history::{Kind, MISSING, Stored};

/// Lines that `/history` shows without a number, and at most.
const HISTORY_USUAL: u64 = 20;
const HISTORY_MAX: u64 = 500;

/// Bytes of a line in an answer besides its texts, nearly.
const LINE_BYTES: usize = 64;

impl User {
    pub(super) fn history(&mut self, passage: Option<Passage>) -> Step {
        let Some(seated) = self.inbox.current() else { return Step::Done };
        let crowd = Arc::clone(&seated.crowd);
        let (first, end) = crowd.with(|room| (room.log.first(), room.log.visible()));
        let (from, until) = match passage {
            None => (end.saturating_sub(HISTORY_USUAL), end),
            Some(Passage::Last(count)) => (end.saturating_sub(count.min(HISTORY_MAX)), end),
            Some(Passage::Between { from, to }) => (from, to.saturating_add(1).min(end)),
        };
        let until = until.min(from.saturating_add(HISTORY_MAX));
        let (from, is_kept) = (from.max(1), self.hall.archive.is_lasting());
        let is_range = matches!(passage, Some(Passage::Between { .. }));
        if from >= first || !is_kept {
            let lines = (from.max(first)..until).filter_map(|number| kept(&crowd, number));
            let lines: Vec<Stored> = lines.collect();
            self.show_passage(&lines, is_range);
            return Step::Done;
        }
        let (hall, room) = (Arc::clone(&self.hall), seated.room.clone());
        Step::Wait(Box::pin(async move {
            let most = HISTORY_MAX as usize;
            let found = hall.archive.lines(&room, from..=until.saturating_sub(1), most).await;
            Box::new(move |user: &mut Self| {
                match found {
                    Ok(lines) => user.show_passage(&with_gaps(lines, until), is_range),
                    Err(error) => {
                        tracing::warn!(%error, "cannot read the history");
                        user.notice("The history cannot be read now");
                    }
                }
                Step::Done
            }) as super::Rest
        }))
    }

    pub(super) fn quote(&mut self, number: u64) -> Step {
        let Some(seated) = self.inbox.current() else { return Step::Done };
        if let Some(line) = kept(&seated.crowd, number) {
            return self.say_again(&line);
        }
        if !self.hall.archive.is_lasting() {
            self.notice(&format!("There is no line {number}"));
            return Step::Done;
        }
        let (hall, room) = (Arc::clone(&self.hall), seated.room.clone());
        Step::Wait(Box::pin(async move {
            let found = hall.archive.lines(&room, number..=number, 1).await;
            let line = found.ok().and_then(|mut lines| lines.pop());
            Box::new(move |user: &mut Self| match line {
                Some(line) => user.say_again(&line),
                None => {
                    user.notice(&format!("There is no line {number}"));
                    Step::Done
                }
            }) as super::Rest
        }))
    }

    fn say_again(&mut self, line: &Stored) -> Step {
        let words = format!("> #{} {}", line.number, line.shown());
        // Who quotes sees what was quoted; at a terminal they do not see what they say.
        self.reply(&words);
        self.say(Kind::Said, &words)
    }

    /// Shows as many lines as fit one answer: the first of a range, or else the last.
    fn show_passage(&mut self, lines: &[Stored], is_range: bool) {
        let fitting = if is_range { oldest_that_fit(lines) } else { newest_that_fit(lines) };
        self.show_past(fitting, "There are no such lines");
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return };
        if is_range && fitting.len() < lines.len() {
            let (next, last) = (first.number + fitting.len() as u64, last.number);
            self.notice(&format!("The answer is long: /history {next}-{last} goes on"));
        } else if fitting.len() < lines.len() {
            let last = last.number - fitting.len() as u64;
            let first = first.number;
            self.notice(&format!("The answer is long: /history {first}-{last} has the others"));
        }
    }

    pub(super) fn show_past(&mut self, lines: &[Stored], nothing: &str) {
        if lines.is_empty() {
            self.notice(nothing);
        }
        let date = self.hall.settings.date;
        let mut days = Days::new(date(self.hall.now_ms()));
        for line in lines {
            if let Some(separator) = days.turn(date(line.time_ms)) {
                self.reply(&separator);
            }
            let time = (self.hall.settings.time)(line.time_ms);
            self.reply(&format!("#{} {time} {}", line.number, line.shown()));
        }
    }
}

/// A line that is still in memory.
pub(super) fn kept(crowd: &Crowd, number: u64) -> Option<Stored> {
    crowd.with(|room| room.log.line(number).map(Stored::from))
}

/// Lines of one range, oldest first, with a notice for each that is missing after the first of them
/// and before `until`. (Before the first, lines may have been trimmed.)
pub(super) fn with_gaps(lines: Vec<Stored>, until: u64) -> Vec<Stored> {
    let mut whole = Vec::with_capacity(lines.len());
    let missing = |number, time_ms| Stored {
        number,
        time_ms,
        kind: Kind::Notice,
        name: Arc::default(),
        text: Arc::from(MISSING),
    };
    let mut next = None;
    for line in lines {
        let (number, time_ms) = (line.number, line.time_ms);
        whole.extend((next.unwrap_or(number)..number).map(|gap| missing(gap, time_ms)));
        next = Some(number + 1);
        whole.push(line);
    }
    let time_ms = whole.last().map_or(0, |line| line.time_ms);
    whole.extend((next.unwrap_or(until)..until).map(|gap| missing(gap, time_ms)));
    whole
}

/// The first lines whose bytes fit one answer.
fn oldest_that_fit(lines: &[Stored]) -> &[Stored] {
    &lines[..fitting(lines.iter())]
}

/// The last lines whose bytes fit one answer.
pub(super) fn newest_that_fit(lines: &[Stored]) -> &[Stored] {
    &lines[lines.len() - fitting(lines.iter().rev())..]
}

fn fitting<'a>(lines: impl Iterator<Item = &'a Stored>) -> usize {
    let mut budget = Budget::new(PAST_BYTES_MAX);
    lines.take_while(|line| budget.take(LINE_BYTES + line.name.len() + line.text.len())).count()
}
