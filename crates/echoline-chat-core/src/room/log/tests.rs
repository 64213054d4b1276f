//! Tests of a room's log.

use proptest::prelude::*;

use super::*;

fn log(limits: LogLimits) -> Log {
    Log::new(limits, 1, 0)
}

fn say(log: &mut Log, now_ms: u64, text: &str) -> u64 {
    log.append(now_ms, 1, LineKind::Said, "ann", text).0
}

/// Issue 11, item 47: times increase strictly, starting from the last known time.
#[test]
fn regression_times_grow_from_the_last_one() {
    let mut log = Log::new(LogLimits::default(), 1, 50);
    assert_eq!(log.last_time_ms(), 50);
    assert_eq!(log.append(10, 1, LineKind::Said, "ann", "a"), (1, 51));
    assert_eq!(log.last_time_ms(), 51);
    log.set_last_time(20);
    assert_eq!(log.last_time_ms(), 51);
    log.set_last_time(70);
    assert_eq!(log.last_time_ms(), 70);
    assert_eq!(log.append(60, 1, LineKind::Said, "ann", "b"), (2, 71));
    assert_eq!(log.append(100, 1, LineKind::Said, "ann", "c"), (3, 100));
}

/// Returns the lines for a member who wrote `own` and whose next line is `from`.
fn seen(log: &mut Log, mut from: u64, own: &VecDeque<Range<u64>>) -> String {
    let mut all = Vec::new();
    while from < log.visible() {
        let mut batch = Batch::default();
        log.gather(from, own.iter(), &mut batch);
        assert!(batch.until > from, "each batch makes progress");
        batch.with_slices(|slices| slices.iter().for_each(|slice| all.extend(&**slice)));
        from = batch.until;
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn lines_are_numbered_and_later_than_the_line_before() {
    let mut log = Log::new(LogLimits::default(), 7, 1000);
    log.holds = true;
    // Promise P10, fault 58: the clock was set back.
    assert_eq!(log.append(900, 1, LineKind::Said, "ann", "x"), (7, 1001));
    assert_eq!(log.append(900, 1, LineKind::Said, "ann", "y"), (8, 1002));
    assert_eq!(log.append(2000, 1, LineKind::Said, "ann", "z"), (9, 2000));
    assert_eq!(log.line(7), None, "the line is not visible yet");
    log.show(9);
    assert_eq!(log.line(8).unwrap().shown, "ann: y");
    assert_eq!((log.line(9), log.visible(), log.next()), (None, 9, 10));
    assert_eq!(seen(&mut log, 7, &VecDeque::new()), "ann: x\r\nann: y\r\n");
}

#[test]
fn a_log_is_bounded_in_lines_and_in_bytes() {
    let mut few = log(LogLimits { lines: 3, bytes: 1000 });
    for number in 0..10 {
        say(&mut few, number, "x");
    }
    assert_eq!((few.first(), few.next()), (8, 11));
    let mut small = log(LogLimits { lines: 1000, bytes: 100 });
    for number in 0..100 {
        say(&mut small, number, "12345");
    }
    assert!(small.kept_bytes() <= 100 && small.chunks.len() <= 3);
    say(&mut small, 0, &"long".repeat(1000));
    assert_eq!(small.next() - small.first(), 1, "the last line stays, regardless of its size");
    assert!(small.line(small.first()).is_some());
}

proptest! {
    /// Issue 11, item 14: a deletion changes one text, but no number and no time. Members still
    /// receive the lines before and after it unchanged.
    #[test]
    fn regression_a_deleted_line_keeps_its_place(
        lines in prop::collection::vec((0..300_usize, any::<bool>()), 1..100),
        deleted in prop::collection::vec(1..110_u64, 0..6),
        more in 0..3_u64,
    ) {
        let mut log = log(LogLimits { lines: 80, ..LogLimits::default() });
        let mut expected = Vec::new();
        for (index, &(length, look)) in lines.iter().enumerate() {
            let text = index.to_string() + &"x".repeat(length);
            let number = say(&mut log, 5 * index as u64, &text);
            expected.push((number, log.line(number).unwrap().time_ms, text));
            if look {
                log.freeze();
            }
        }
        for &number in &deleted {
            log.delete(number);
            if let Some((.., text)) = expected.get_mut(number as usize - 1) {
                DELETED.clone_into(text);
            }
        }
        for _ in 0..more {
            let number = say(&mut log, 0, "later");
            expected.push((number, log.line(number).unwrap().time_ms, "later".to_owned()));
        }
        let first = log.first();
        expected.retain(|&(number, ..)| number >= first);
        for (number, time_ms, text) in &expected {
            let line = log.line(*number).unwrap();
            prop_assert_eq!((line.time_ms, line.text), (*time_ms, &**text));
        }
        let all: String =
            expected.iter().map(|(.., text)| format!("ann: {text}\r\n")).collect();
        prop_assert_eq!(seen(&mut log, first, &VecDeque::new()), all);
    }

    /// Promise P1: for any sizes of reads, every member gets each line once and in the same order,
    /// without their own lines.
    #[test]
    fn every_member_gets_the_same_lines_except_their_own(
        lines in prop::collection::vec((0..5_usize, 0..300_usize, any::<bool>()), 1..200),
        from in 0..200_u64,
    ) {
        let mut log = log(LogLimits::default());
        let mut own = VecDeque::<Range<u64>>::new();
        let mut expected = Vec::new();
        for (index, &(author, length, look)) in lines.iter().enumerate() {
            let text = index.to_string() + &"x".repeat(length);
            let number = say(&mut log, 0, &text);
            if author == 0 {
                own.push_back(number..number + 1);
            } else {
                expected.push((number, format!("ann: {text}\r\n")));
            }
            if look {
                log.freeze();
            }
            prop_assert_eq!(log.line(number).unwrap().text, text);
        }
        let from = from.min(log.next() - 1).max(1);
        let expected: String =
            expected.into_iter().filter(|&(n, _)| n >= from).map(|(_, line)| line).collect();
        prop_assert_eq!(seen(&mut log, from, &own), expected);
    }
}

/// Issue 12, item 4: joins, leaves, renames, topics and notices displace no line that a user said.
/// Said lines keep their numbers, and can still be deleted.
#[test]
fn attack_a_flood_of_joins_displaces_no_said_line() {
    let mut log = log(LogLimits { lines: 50, bytes: 10_000 });
    for number in 1..=20 {
        assert_eq!(say(&mut log, number, &format!("said {number}")), number);
    }
    for kind in
        [LineKind::Joined, LineKind::Left, LineKind::Renamed, LineKind::Topic, LineKind::Notice]
    {
        for _ in 0..200 {
            log.append(30, 2, kind, "eve", &"x".repeat(100));
        }
    }
    assert!(log.has_said() && log.first() > 900);
    for number in 1..=20 {
        let line = log.line(number).unwrap();
        assert_eq!(line.shown, format!("ann: said {number}"));
        assert_eq!((line.time_ms, line.author, line.kind), (number, 1, LineKind::Said));
        assert_eq!(log.mark(number).unwrap().time_ms, number);
    }
    assert_eq!((log.oldest(), log.line(21), log.kept_from(21)), (1, None, log.first()));
    assert_eq!((log.kept_before(log.first()), log.count(0..log.next())), (Some(20), 70));
    log.delete(7);
    assert_eq!(log.line(7).unwrap().shown, "ann: [deleted]");
    // New said lines displace the oldest said lines.
    for number in 0..49 {
        say(&mut log, 100 + number, "new");
    }
    assert_eq!((log.line(19), log.line(20).unwrap().text), (None, "said 20"));
    say(&mut log, 200, "new");
    assert_eq!((log.oldest(), log.count(0..log.next())), (log.first(), 50));
    log.jump(5000);
    assert!(!log.has_said() && log.oldest() == 5000);
}

proptest! {
    /// Issue 12, item 4: with any mix of said lines and notices, the log keeps the last lines and
    /// the last said lines. A reader gets these lines, and the number of missing lines between
    /// them.
    #[test]
    fn attack_no_sequence_of_notices_displaces_said_lines(
        said in prop::collection::vec(any::<bool>(), 1..300),
        from in 1..300_u64,
        restored in any::<bool>(),
    ) {
        const LINES: usize = 12;
        let limits = LogLimits { lines: LINES, ..LogLimits::default() };
        let mut log = log(limits);
        for &is_said in &said {
            let kind = if is_said { LineKind::Said } else { LineKind::Joined };
            log.append(0, 1, kind, "ann", "x");
        }
        let numbers = 1..=said.len() as u64;
        let is_said = |number: u64| said[number as usize - 1];
        let last_said: Vec<u64> =
            numbers.clone().rev().filter(|&number| is_said(number)).take(LINES).collect();
        let whole_from = (said.len() as u64 + 1).saturating_sub(LINES as u64);
        let kept: Vec<u64> = numbers
            .filter(|number| *number >= whole_from || last_said.contains(number))
            .collect();
        if restored {
            // This log is restored like one from a store or a snapshot.
            let mut other = Log::new(limits, log.first(), 0);
            for &number in kept.iter().filter(|number| **number < log.first()) {
                other.restore_said(&log.line(number).unwrap());
            }
            for number in log.first()..log.next() {
                let LineView { time_ms, author, kind, name, text, .. } = log.line(number).unwrap();
                other.append(time_ms, author, kind, name, text);
            }
            log = other;
        }
        let lines: Vec<u64> = (0..=said.len() as u64)
            .filter(|number| log.line(*number).is_some())
            .collect();
        prop_assert_eq!(&lines, &kept);
        prop_assert_eq!(log.count(0..log.next()), kept.len() as u64);
        let (mut at, mut missed, mut seen) = (from.min(log.next()), 0, 0);
        let start = at;
        while at < log.next() {
            let next = log.kept_from(at);
            missed += next - at;
            let mut batch = Batch::default();
            log.gather(next, std::iter::empty(), &mut batch);
            prop_assert!(batch.until > next);
            seen += log.count(next..batch.until);
            prop_assert_eq!(seen + missed, batch.until - start, "each batch ends at a gap");
            at = batch.until;
        }
        prop_assert_eq!(seen, kept.iter().filter(|number| **number >= start).count() as u64);
    }
}
