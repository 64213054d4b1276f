use proptest::prelude::*;

use super::super::faults::Faults;
use super::super::queue::NEVER;
use super::*;

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn pipe(plan: &str, seed: u64, direction: Direction) -> (FaultPipe, Faults) {
    let faults = Faults::new(plan.parse().unwrap(), seed);
    (FaultPipe::new(faults.next_connection(), direction, MessageCarrier::Stream), faults)
}

/// The output pieces with their times in milliseconds, followed by the end of the direction.
type Seen = Vec<(u64, String)>;

/// Advances the time until the pipe has no more output.
fn drain(pipe: &mut FaultPipe, mut now: Duration) -> Seen {
    let mut seen = Seen::new();
    loop {
        let at = now.as_millis() as u64;
        match pipe.next(now) {
            NextAction::Bytes(bytes) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let count = bytes.len();
                pipe.consume(count);
                seen.push((at, text));
            }
            NextAction::Wait(NEVER) | NextAction::Nothing => return seen,
            NextAction::Wait(at) => now = at,
            end => {
                seen.push((at, format!("{end:?}")));
                return seen;
            }
        }
    }
}

/// Returns the output for `bytes`, which are pushed at time 0 and followed by the end.
fn all(plan: &str, bytes: &str) -> Seen {
    let (mut pipe, _) = pipe(plan, 1, Direction::Out);
    pipe.push(bytes.as_bytes(), ms(0));
    pipe.finish(ms(0), ms(0));
    drain(&mut pipe, ms(0))
}

fn text(seen: &Seen) -> String {
    seen.iter().map(|(_, text)| &**text).collect()
}

#[test]
fn each_kind_of_fault_works() {
    let lines = "one\ntwo\nthree\n";
    assert_eq!(text(&all("", lines)), "one\ntwo\nthree\nEnd");
    assert_eq!(text(&all("drop at=2", lines)), "one\nthree\nEnd");
    assert_eq!(text(&all("duplicate at=1", lines)), "one\none\ntwo\nthree\nEnd");
    assert_eq!(text(&all("truncate=2 at=3", lines)), "one\ntwo\nth\nEnd");
    assert_eq!(text(&all("truncate=0", "one\ntail")), "\nEnd");
    assert_eq!(text(&all("duplicate", "a tail")), "a taila tailEnd");
    assert_eq!(text(&all("reset after=6", lines)), "one\ntwReset");
    assert_eq!(text(&all("reset", lines)), "Reset");
    assert_eq!(text(&all("half-close after=4", lines)), "one\nEnd");
    assert_eq!(text(&all("reset per=message at=3 offset=2", lines)), "one\ntwo\nthReset");
    assert_eq!(text(&all("reorder\nrefuse", lines)), "one\ntwo\nthree\nEnd");
    let delayed = all("delay=50ms at=2", lines);
    let seen = [(0, "one\n"), (50, "two\nthree\n"), (50, "End")];
    assert_eq!(delayed, seen.map(|(at, text)| (at, text.to_owned())));
    let split = all("split=2 gap=10ms at=1", "one\ntwo\n");
    let seen = [(0, "on"), (10, "e\n"), (10, "two\n"), (10, "End")];
    assert_eq!(split, seen.map(|(at, text)| (at, text.to_owned())));
    let stalled = all("stall=5s after=4", lines);
    let seen = [(0, "one\n"), (5000, "two\nthree\n"), (5000, "End")];
    assert_eq!(stalled, seen.map(|(at, text)| (at, text.to_owned())));
    let slow = all("slow-write rate=1KiB/s", &"x".repeat(2048));
    assert_eq!(slow.last().unwrap(), &(2000, "End".to_owned()));
    assert!(slow.len() > 200 && slow.iter().all(|(_, piece)| piece.len() <= 10), "{slow:?}");
    let corrupt = text(&all("corrupt=2 at=2 offset=1", lines));
    assert!(corrupt.starts_with("one\nt") && corrupt.ends_with("\nthree\nEnd"), "{corrupt}");
    assert!(!corrupt.contains("two"), "{corrupt}");
}

#[test]
fn messages_are_chosen_by_number_by_bytes_and_by_chance() {
    let lines: String = (1..=100).map(|number| format!("{number}\n")).collect();
    let kept = |plan: &str| text(&all(plan, &lines)).trim_end_matches("End").to_owned();
    let numbers = |range: std::ops::RangeInclusive<u32>| -> String {
        range.map(|number| format!("{number}\n")).collect()
    };
    assert_eq!(kept("drop first=2"), numbers(3..=100));
    assert_eq!(kept("drop skip=2"), numbers(1..=2));
    assert_eq!(kept("drop after=18"), numbers(1..=9));
    assert_eq!(kept("drop every=2 count=1"), numbers(1..=1) + &numbers(3..=100));
    assert_eq!(kept("drop per=connection first=1"), "");
    assert_eq!(kept("drop per=connection at=2"), lines);
    let half = kept("drop p=0.5").lines().count();
    assert!((30..70).contains(&half), "{half}");
    assert_eq!(kept("drop\n").len() + kept("drop direction=in").len(), lines.len());
}

#[test]
fn faults_are_counted_when_they_are_injected() {
    let (mut pipe, faults) =
        pipe("drop every=2\nreset after=100\nstall=1s after=3", 1, Direction::Out);
    pipe.push(b"1\n2\n3\n4\n5\n", ms(0));
    let counts: Vec<u64> = faults.counts().into_iter().map(|(_, count)| count).collect();
    assert_eq!(counts, [2, 0, 1]);
}

#[test]
fn an_unlimited_stall_ends_with_a_reset() {
    let (mut out, _) = pipe("stall after=2", 1, Direction::Out);
    out.push(b"1\n2\n", ms(0));
    assert_eq!(out.next(ms(0)), NextAction::Bytes(b"1\n"));
    out.consume(2);
    assert_eq!(out.next(ms(9)), NextAction::Wait(STALL_LONGEST));
    assert_eq!(out.next(STALL_LONGEST), NextAction::Reset);
    out.finish(ms(20), ms(100));
    assert_eq!(out.next(ms(20)), NextAction::Wait(ms(120)));
    assert_eq!(out.next(ms(120)), NextAction::Reset);
    out.finish(ms(30), ms(0));
    assert_eq!(out.next(ms(30)), NextAction::Reset);
}

#[test]
fn a_new_plan_releases_queued_bytes_and_applies_from_the_next_message_on() {
    let (mut pipe, faults) = pipe("stall after=2", 1, Direction::Out);
    pipe.push(b"1\n2\nthr", ms(0));
    faults.set_plan("drop at=1").unwrap();
    pipe.apply_plan(faults.next_connection(), ms(30));
    pipe.push(b"ee\nfour\nfive\n", ms(30));
    assert_eq!(text(&drain(&mut pipe, ms(30))), "1\n2\nthree\nfive\n");
    faults.clear();
    pipe.apply_plan(faults.next_connection(), ms(40));
    assert!(pipe.is_idle());
}

#[test]
fn room_is_bounded_and_smaller_for_a_slow_direction() {
    let (mut quick, _) = pipe("delay=1s", 1, Direction::Out);
    assert_eq!(quick.room(), QUEUE_MAX);
    quick.push(&vec![0; QUEUE_MAX], ms(0));
    assert_eq!(quick.room(), 0);
    let (mut slow, _) = pipe("slow-read rate=1/s", 1, Direction::In);
    slow.push(b"line\n", ms(0));
    assert_eq!(slow.room(), SLOW_QUEUE_MAX - 5);
}

fn a_plan() -> impl Strategy<Value = String> {
    let rule = prop_oneof![
        Just("drop p=0.3"),
        Just("duplicate p=0.3"),
        Just("corrupt=2 offset=1 p=0.5"),
        Just("truncate=3 every=3"),
        Just("split=2 p=0.5"),
        Just("delay=1ms..9ms p=0.5"),
        Just("stall=10ms after=20"),
        Just("slow-write rate=1KiB/s per=message p=0.2"),
        Just("half-close after=60"),
        Just("reset per=message at=9 offset=1"),
        Just("drop after=33 first=2"),
    ];
    proptest::collection::vec(rule, 0..5).prop_map(|rules| rules.join("\n"))
}

fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => b'a'..=b'f', 1 => Just(b'\n')];
    proptest::collection::vec(byte, 0..150)
}

/// Pushes `bytes` in pieces, cut at `cuts`, with a short time between them. Returns the output and
/// the counts of faults.
fn outcome(plan: &str, seed: u64, bytes: &[u8], cuts: &[usize]) -> (String, Vec<u64>) {
    let (mut pipe, faults) = pipe(plan, seed, Direction::Out);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let mut now = ms(0);
    let mut seen = String::new();
    for pair in cuts.windows(2) {
        pipe.push(&bytes[pair[0]..pair[1]], now);
        now += ms(3);
        while let NextAction::Bytes(bytes) = pipe.next(now) {
            let count = bytes.len();
            seen.extend(bytes.iter().map(|byte| char::from(*byte)));
            pipe.consume(count);
        }
    }
    pipe.finish(now, ms(0));
    loop {
        match pipe.next(now) {
            NextAction::Bytes(bytes) => {
                let count = bytes.len();
                seen.extend(bytes.iter().map(|byte| char::from(*byte)));
                pipe.consume(count);
            }
            NextAction::Wait(at) => now = at,
            end => {
                seen.push_str(&format!("{end:?}"));
                break;
            }
        }
    }
    (seen, faults.counts().into_iter().map(|(_, count)| count).collect())
}

proptest! {
    #[test]
    fn timing_and_packet_boundaries_change_no_fault(
        plan in a_plan(),
        seed: u64,
        bytes in some_bytes(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let whole = outcome(&plan, seed, &bytes, &[]);
        prop_assert_eq!(outcome(&plan, seed, &bytes, &cuts), whole);
    }

    #[test]
    fn delays_and_splits_keep_the_bytes_and_their_order(
        bytes in some_bytes(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let plan = "drop p=0\ndelay=1ms..9ms p=0.5\nsplit=3 p=0.5\nreset after=1KiB\nstall at=2";
        let mut expected = String::from_utf8(bytes.clone()).unwrap();
        expected.push_str("End");
        prop_assert_eq!(outcome(plan, 1, &bytes, &cuts).0, expected);
    }
}

/// Issue 11, item 42: the fault of `after=5s` is injected even if no bytes arrive. Messages before
/// that time have no fault, and the first message after it has one.
#[test]
fn regression_after_may_be_a_time() {
    let (mut out, _faults) = pipe("reset after=5s", 1, Direction::Out);
    assert_eq!((out.timed_at(), out.is_idle()), (Some(ms(5000)), false));
    out.push(b"before\n", ms(10));
    out.fire_timed(ms(4999));
    assert_eq!(drain(&mut out, ms(4999)), [(4999, "before\n".to_owned())]);
    out.fire_timed(ms(5000));
    assert_eq!((out.next(ms(5000)), out.timed_at()), (NextAction::Reset, None));
    let (mut out, _faults) = pipe("drop after=1s", 1, Direction::Out);
    assert_eq!(out.timed_at(), None);
    out.push(b"one\n", ms(999));
    out.push(b"two\n", ms(1000));
    assert_eq!(drain(&mut out, ms(1000)), [(1000, "one\n".to_owned())]);
    // Without a time the fault waits for the first byte.
    let (mut out, _faults) = pipe("reset", 1, Direction::Out);
    out.fire_timed(ms(9));
    assert_eq!((out.timed_at(), out.next(ms(9))), (None, NextAction::Nothing));
}

/// Issue 11, item 42: each layer has its own rules.
#[test]
fn regression_a_rule_belongs_to_one_layer() {
    let faults = Faults::new("reset layer=socket\ndrop".parse().unwrap(), 1);
    let socket = FaultPipe::new(faults.next_connection(), Direction::Out, MessageCarrier::Socket);
    let text = FaultPipe::new(faults.next_connection(), Direction::Out, MessageCarrier::Stream);
    assert_eq!((socket.triggers.len(), text.triggers.len()), (1, 0));
    assert!(!socket.is_idle() && !text.is_idle());
    assert!(socket.faults().has_socket_rules());
    assert!(
        !socket.faults().without_rules().has_socket_rules()
            && !socket.faults().without_rules().is_outdated()
    );
}
