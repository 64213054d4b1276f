//! Tests of the table of sources.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;

const LOGIN: SourceAction = SourceAction::Login;

fn source(number: u32) -> Source {
    Source::from(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
}

fn table(text: &str, max_sources: usize) -> SourceTable {
    let mut limits: SourceLimits = text.parse().unwrap();
    limits.max_sources = max_sources;
    SourceTable::new(limits)
}

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn a_source_gets_its_burst_and_then_a_penalty() {
    let mut table = table("logins 1/s burst 3", 10);
    for _ in 0..3 {
        assert_eq!(table.take(source(1), LOGIN, 1, at(0.0)), Ok(()));
    }
    let refusal = table.take(source(1), LOGIN, 1, at(0.0)).unwrap_err();
    assert!(refusal.is_new_penalty);
    assert_eq!(refusal.wait, at(2.0), "the first penalty");
    let refusal = table.take(source(1), LOGIN, 1, at(0.5)).unwrap_err();
    assert_eq!((refusal.is_new_penalty, refusal.wait), (false, at(1.5)));
    assert_eq!(table.take(source(2), LOGIN, 1, at(0.5)), Ok(()), "another source");
    assert_eq!(table.take(source(1), SourceAction::Room, 1, at(0.5)), Ok(()), "another action");
    assert_eq!(table.take(source(1), LOGIN, 1, at(2.0)), Ok(()), "one token after the penalty");
}

#[test]
fn penalties_double_and_decay() {
    let mut table = table("logins 1/s burst 1", 10);
    let mut now = Duration::ZERO;
    let mut waits = Vec::new();
    while waits.len() < 10 {
        match table.take(source(1), LOGIN, 1, now) {
            Ok(()) => (),
            Err(refusal) => {
                waits.push(refusal.wait.as_secs());
                now += refusal.wait;
            }
        }
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    // The level after ten penalties is 10, and after nine decay times it is 1.
    now += Duration::from_secs(9 * 120);
    assert_eq!(table.take(source(1), LOGIN, 1, now), Ok(()));
    assert_eq!(table.take(source(1), LOGIN, 1, now).unwrap_err().wait, at(4.0));
}

#[test]
fn a_source_within_its_rate_gets_no_penalty() {
    let mut table = table("logins 5/s burst 2", 10);
    for step in 0..1000 {
        assert_eq!(table.take(source(1), LOGIN, 1, at(f64::from(step) * 0.2001)), Ok(()));
    }
}

#[test]
fn a_token_given_back_can_be_taken_again() {
    let mut table = table("wrong-passwords 1/h burst 2", 10);
    for _ in 0..100 {
        let action = SourceAction::WrongPassword;
        assert_eq!(table.take(source(1), action, 1, at(1.0)), Ok(()));
        table.give_back(source(1), action);
    }
}

/// Issue 12: a flood from many addresses evicts no penalty.
#[test]
fn attack_a_flood_of_sources_ends_no_penalty() {
    let mut table = table("logins 1/h burst 1", 100);
    table.take(source(0), LOGIN, 1, at(0.0)).unwrap();
    table.take(source(0), LOGIN, 1, at(0.0)).unwrap_err();
    for number in 1..100_000 {
        let _ = table.take(source(number), LOGIN, 1, at(0.1));
        assert!(table.len() <= 100);
    }
    assert!(table.take(source(0), LOGIN, 1, at(0.2)).is_err());
    assert_eq!(table.penalised(at(0.2)).len(), 1);
}

#[test]
fn forgets_the_least_recently_seen_source_first() {
    let mut table = table("logins 1/h burst 1", 4);
    for number in 0..4 {
        table.take(source(number), LOGIN, 1, at(0.0)).unwrap();
    }
    table.take(source(4), LOGIN, 1, at(1.0)).unwrap();
    assert!(table.take(source(0), LOGIN, 1, at(1.0)).is_ok(), "it was forgotten");
    assert!(table.take(source(3), LOGIN, 1, at(1.0)).is_err());
}

#[test]
fn a_pardon_ends_penalties() {
    let mut table = table("logins 1/h burst 1", 4);
    table.take(source(0), LOGIN, 1, at(0.0)).unwrap();
    table.take(source(0), LOGIN, 1, at(0.0)).unwrap_err();
    assert!(table.pardon(source(0), at(1.0)));
    assert!(!table.pardon(source(0), at(1.0)));
    assert_eq!(table.take(source(0), LOGIN, 1, at(1.0)), Ok(()));
}

#[test]
fn a_penalty_that_is_over_is_forgotten_with_its_level() {
    let mut table = table("logins 1/s burst 1", 4);
    table.take(source(0), LOGIN, 1, at(0.0)).unwrap();
    table.take(source(0), LOGIN, 1, at(0.0)).unwrap_err();
    table.take(source(0), LOGIN, 1, at(1000.0)).unwrap();
    assert_eq!((table.penalised.len(), table.calm.len()), (0, 1));
}

#[test]
fn exempt_sources_and_loopback_have_no_limit() {
    let mut table = table("off, logins 1/h burst 1, moderation 1/h burst 1, exempt 10.0.0.0/8", 4);
    let loopback = Source::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    for _ in 0..10 {
        assert!(table.take(source(1), LOGIN, 1, at(0.0)).is_ok());
        assert!(table.take(loopback, LOGIN, 1, at(0.0)).is_ok());
    }
    assert!(table.take(loopback, SourceAction::Moderation, 1, at(0.0)).is_ok());
    assert!(table.take(loopback, SourceAction::Moderation, 1, at(0.0)).is_err());
    assert_eq!(table.len(), 1, "exempt sources are not in the table");
    table.limits.change("loopback limited").unwrap();
    assert!(table.take(loopback, LOGIN, 1, at(0.0)).is_ok());
    assert!(table.take(loopback, LOGIN, 1, at(0.0)).is_err());
}

proptest! {
    /// For every sequence of requests the table stays in its bounds, its sets contain each source
    /// once, and no source gets more than its burst and its rate.
    #[test]
    fn the_table_keeps_its_bounds(
        steps in prop::collection::vec((0u32..12, 0usize..ACTIONS, 0u64..3000), 1..400),
    ) {
        let mut table = table("off, logins 1/s burst 4, rooms 2/s burst 3", 8);
        let mut now = Duration::ZERO;
        let mut taken: HashMap<(u32, usize), u32> = HashMap::new();
        for (number, action, pause) in steps {
            now += Duration::from_millis(pause);
            let action = SourceAction::ALL[action];
            let is_known = table.entries.contains_key(&source(number));
            if !is_known {
                taken.retain(|(other, _), _| *other != number);
            }
            if table.take(source(number), action, 1, now).is_ok() {
                *taken.entry((number, action as usize)).or_default() += 1;
            }
            prop_assert!(table.len() <= 8);
            prop_assert!(table.penalised.len() <= 4);
            prop_assert_eq!(table.calm.len() + table.penalised.len(), table.len());
        }
        for ((_, action), count) in taken {
            let most = match SourceAction::ALL[action] {
                SourceAction::Login => 4.0 + now.as_secs_f64(),
                SourceAction::Room => 3.0 + 2.0 * now.as_secs_f64(),
                _ => continue,
            };
            prop_assert!(f64::from(count) <= most + 0.001, "{count} of {most}");
        }
    }
}
