//! Tests of a room's log.

use proptest::prelude::*;

use super::*;

fn log(limits: LogLimits) -> Log {
    Log::new(limits, 1, 0)
}

fn say(log: &mut Log, now_ms: u64, text: &str) -> u64 {
    log.append(now_ms, 1, Kind::Said, "ann", text).0
}

/// Issue 11, item 47: times only grow, from whatever the log was told last.
#[test]
fn regression_times_grow_from_the_last_one() {
    let mut log = Log::new(LogLimits::default(), 1, 50);
    assert_eq!(log.last_time_ms(), 50);
    assert_eq!(log.append(10, 1, Kind::Said, "ann", "a"), (1, 51));
    assert_eq!(log.last_time_ms(), 51);
    log.set_last_time(20);
    assert_eq!(log.last_time_ms(), 51);
    log.set_last_time(70);
    assert_eq!(log.last_time_ms(), 70);
    assert_eq!(log.append(60, 1, Kind::Said, "ann", "b"), (2, 71));
    assert_eq!(log.append(100, 1, Kind::Said, "ann", "c"), (3, 100));
}

/// All that a member gets who has to see `from` and wrote `own`.
fn seen(log: &mut Log, mut from: u64, own: &VecDeque<Range<u64>>) -> String {
    let mut all = Vec::new();
    while from < log.visible() {
        let mut batch = Batch::default();
        log.gather(from, own.iter(), &mut batch);
        assert!(batch.until > from, "a batch goes on");
        batch.with_slices(|slices| slices.iter().for_each(|slice| all.extend(&**slice)));
        from = batch.until;
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn lines_are_numbered_and_later_than_the_line_before() {
    let mut log = Log::new(LogLimits::default(), 7, 1000);
    log.holds = true;
    // P10, and Fault 58: the clock was set back.
    assert_eq!(log.append(900, 1, Kind::Said, "ann", "x"), (7, 1001));
    assert_eq!(log.append(900, 1, Kind::Said, "ann", "y"), (8, 1002));
    assert_eq!(log.append(2000, 1, Kind::Said, "ann", "z"), (9, 2000));
    assert_eq!(log.line(7), None, "not to be seen yet");
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
    assert_eq!(small.next() - small.first(), 1, "the last line stays whatever its size");
    assert!(small.line(small.first()).is_some());
}

proptest! {
    /// Issue 11, item 14: a deletion changes one text, and neither a number nor a time; who is
    /// to see the lines before and after it sees them as they were.
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

    /// P1: every member gets the lines in one order, once, without their own, however the reads
    /// are split.
    #[test]
    fn everybody_gets_the_same_but_for_their_own(
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
