//! The replay for a new member: the last lines that users said before the join.

use std::ops::Range;

use crate::LineKind;
use crate::room::Log;

/// The maximum number of joins, leaves and renames shown between two other lines. If there are
/// more, the last ones are shown.
const SHOWN_BETWEEN: usize = 3;

/// If a user joins and leaves within this time, neither line is shown. In milliseconds.
const VISIT_MS: u64 = 10 * 60 * 1000;

/// The maximum number of consecutive joins and leaves that are matched with each other. Earlier
/// ones are not shown.
const COMPARED: u64 = 64;

/// The earlier lines that a new member sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ReplayFrom {
    /// The last lines that users said, with a few of the joins and leaves between them. Contains
    /// the maximum number of said lines.
    Last(u64),
    /// All lines that the log still has, starting at this number.
    From(u64),
}

/// The first line of the replay for a new member, and the later lines that the replay leaves out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// The number of the first line that is shown.
    pub first: u64,
    /// The ranges of left-out lines, in order. No two of them are adjacent.
    pub(crate) left_out: Vec<Range<u64>>,
}

/// Returns the replay of the last `said` lines that users said before the line `before`. Topics and
/// notices between them are shown too. If `said` is 0, the replay is empty.
pub(crate) fn replay(log: &Log, before: u64, said: u64) -> Replay {
    let (mut first, mut left, mut at) = (before, said, before);
    // Ranges are collected from the end to the start, and reversed later.
    let mut left_out = Vec::new();
    let mut gap_end = before;
    while left > 0 {
        let Some(kept) = log.kept_before(at) else { break };
        at = kept;
        let Some(mark) = log.mark(at) else { break };
        if is_presence(mark.kind) {
            continue;
        }
        first = leave_out(log, at + 1..gap_end, &mut left_out).min(at);
        gap_end = at;
        left -= u64::from(matches!(mark.kind, LineKind::Said | LineKind::Action));
    }
    if left > 0 {
        first = first.min(leave_out(log, at..gap_end, &mut left_out));
    }
    left_out.reverse();
    left_out.retain(|range: &Range<u64>| range.end > first);
    Replay { first, left_out }
}

fn is_presence(kind: LineKind) -> bool {
    matches!(kind, LineKind::Joined | LineKind::Left | LineKind::Renamed)
}

/// Finds the lines that the replay leaves out of `row`, a run of joins, leaves and renames. Appends
/// their ranges, the last one first. Returns the first number that is shown, or the end of `row` if
/// none is.
fn leave_out(log: &Log, row: Range<u64>, left_out: &mut Vec<Range<u64>>) -> u64 {
    let mut end = row.end;
    for &shown in shown(log, row.clone()).iter().rev() {
        left_out.extend((shown + 1 < end).then_some(shown + 1..end));
        end = shown;
    }
    left_out.extend((row.start < end).then_some(row.start..end));
    end
}

/// The user of a join or leave. Lines from before the last restart have no lineage, only a name.
#[derive(PartialEq)]
enum Author<'a> {
    Lineage(u64),
    Name(&'a str),
}

/// Returns the numbers of the lines that are shown, out of consecutive joins, leaves and renames.
fn shown(log: &Log, row: Range<u64>) -> Vec<u64> {
    let mut open: Vec<(Author<'_>, u64)> = Vec::new();
    for number in row.end.saturating_sub(COMPARED).max(row.start)..row.end {
        let Some(mark) = log.mark(number) else { continue };
        let author = match mark.author {
            0 => Author::Name(log.line(number).map_or("", |line| line.name)),
            lineage => Author::Lineage(lineage),
        };
        let is_opposite = |other: u64| {
            log.mark(other).is_some_and(|other| {
                let kinds = [other.kind, mark.kind];
                kinds.contains(&LineKind::Joined)
                    && kinds.contains(&LineKind::Left)
                    && mark.time_ms - other.time_ms <= VISIT_MS
            })
        };
        match open
            .iter()
            .rposition(|(author_of, other)| *author_of == author && is_opposite(*other))
        {
            Some(visit) => drop(open.remove(visit)),
            None => open.push((author, number)),
        }
    }
    let surplus = open.len().saturating_sub(SHOWN_BETWEEN);
    open.into_iter().skip(surplus).map(|(_, number)| number).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::room::LogLimits;

    /// Returns a log with lines one minute apart: `+1` (session 1 joins), `-1` (leaves), `=1`
    /// (changes their name) and `1` (says something).
    fn log(lines: &str) -> Log {
        let mut log = Log::new(LogLimits::default(), 1, 0);
        for (minute, line) in lines.split_whitespace().enumerate() {
            let (kind, author) = match line.split_at(1) {
                ("+", author) => (LineKind::Joined, author),
                ("-", author) => (LineKind::Left, author),
                ("=", author) => (LineKind::Renamed, author),
                ("t", author) => (LineKind::Topic, author),
                _ => (LineKind::Said, line),
            };
            let author: u64 = author.parse().unwrap();
            // Sessions from 50 on are from before a restart, and are known only by their names.
            let session = if author < 50 { author } else { 0 };
            log.append(minute as u64 * 60_000, session, kind, &format!("n{author}"), "x");
        }
        log
    }

    /// Returns the part of `lines` that a new member is shown.
    fn shown_of(lines: &str, said: u64) -> String {
        let log = log(lines);
        let Replay { first, left_out } = replay(&log, log.next(), said);
        let words: Vec<&str> = lines.split_whitespace().collect();
        let numbers = (first..log.next()).filter(|n| !left_out.iter().any(|out| out.contains(n)));
        numbers.map(|number| words[number as usize - 1]).collect::<Vec<_>>().join(" ")
    }

    /// Issue 11, item 11: a new member sees the said lines, even if many users join and leave.
    #[test]
    fn regression_a_replay_counts_said_lines() {
        let visits: String = (3..40).map(|n| format!("+{n} -{n} ")).collect();
        assert_eq!(shown_of(&format!("+1 +2 1 2 {visits}"), 2), "1 2");
        assert_eq!(shown_of(&format!("+1 1 {visits} 2 {visits}"), 2), "1 2");
        assert_eq!(shown_of(&format!("+1 1 {visits} 2 {visits}"), 1), "2");
        let joins: String = (3..40).map(|n| format!("+{n} ")).collect();
        assert_eq!(shown_of(&format!("1 {joins} 2"), 2), "1 +37 +38 +39 2");
        assert_eq!(shown_of(&joins, 20), "+37 +38 +39");
        assert_eq!(shown_of("1 2 3", 0), "");
        assert_eq!(shown_of("", 5), "");
        assert_eq!(shown_of("+1 1 t1 1", 1), "1");
        assert_eq!(shown_of("+1 1 t1 1", 2), "1 t1 1");
    }

    /// Issue 11, item 11: if a user joins and leaves within a short time, neither line is shown.
    #[test]
    fn regression_a_short_visit_is_not_shown() {
        assert_eq!(shown_of("1 +2 -2 1", 9), "1 1");
        assert_eq!(shown_of("1 -2 +2 1", 9), "1 1", "a reconnect is hidden");
        assert_eq!(shown_of("1 +2 -2 +2 1", 9), "1 +2 1", "a user who stays is shown");
        assert_eq!(shown_of("1 +2 2 -2 1", 9), "1 +2 2 -2 1", "a user who said something is shown");
        assert_eq!(shown_of("1 +2 =2 -2 1", 9), "1 =2 1");
        assert_eq!(shown_of("1 +60 -60 1", 9), "1 1", "a visit before the restart is hidden");
        assert_eq!(shown_of("1 +60 -61 1", 9), "1 +60 -61 1");
        let longer = format!("1 +2 {} -2 1", "=3 ".repeat(11));
        assert_eq!(
            shown_of(&longer, 9),
            "1 =3 =3 -2 1",
            "a leave and a join eleven minutes apart are shown"
        );
    }

    proptest! {
        #[test]
        fn every_said_line_is_shown_and_few_others(
            lines in prop::collection::vec("[+=-]?[1-4]|[+-]6[0-3]|t1", 0..200),
            said in 0_u64..20,
        ) {
            let lines = lines.join(" ");
            let is_said = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
            let all = lines.split_whitespace().filter(is_said).count() as u64;
            let shown = shown_of(&lines, said);
            let shown: Vec<&str> = shown.split_whitespace().collect();
            let count = shown.iter().copied().filter(is_said).count() as u64;
            prop_assert_eq!(count, said.min(all));
            let mut row = 0;
            for line in shown {
                row = if line.starts_with(['+', '-', '=']) { row + 1 } else { 0 };
                prop_assert!(row <= SHOWN_BETWEEN);
            }
        }

        #[test]
        fn the_ranges_that_are_left_out_are_in_order(
            lines in prop::collection::vec("[+=-]?[1-4]", 0..200),
            said in 0_u64..20,
        ) {
            let log = log(&lines.join(" "));
            let Replay { first, left_out } = replay(&log, log.next(), said);
            let mut end = first;
            for (index, range) in left_out.iter().enumerate() {
                prop_assert!(range.start < range.end && range.end <= log.next());
                prop_assert!(range.start > end || (index == 0 && range.start >= end));
                end = range.end;
            }
        }
    }
}
