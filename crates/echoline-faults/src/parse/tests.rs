use proptest::prelude::*;

use super::*;

fn rule(text: &str) -> FaultRule {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn sentence(text: &str) -> String {
    text.parse::<FaultRule>().unwrap_err().to_string()
}

#[test]
fn each_kind_parses_with_its_defaults() {
    let second = Duration::from_secs(1);
    assert_eq!(rule("delay=1s").fault, Fault::Delay { shortest: second, longest: second });
    let (shortest, longest) = (Duration::from_millis(40), Duration::from_millis(60));
    for same in ["delay=50ms±10ms", "delay=50ms+-10ms", "delay=40ms..60ms"] {
        assert_eq!(rule(same).fault, Fault::Delay { shortest, longest });
    }
    assert_eq!(rule("reorder").fault, Fault::Reorder(REORDER_LONGEST));
    assert_eq!(rule("corrupt").fault, Fault::Corrupt(1));
    assert_eq!(rule("truncate=0").fault, Fault::Truncate(0));
    assert_eq!(rule("split=3").fault, Fault::Split { bytes: 3, gap: SPLIT_GAP });
    assert_eq!(rule("stall").fault, Fault::Stall(None));
    assert_eq!(rule("stall=1s").fault, Fault::Stall(Some(second)));
    let (read, write) = (rule("slow-read rate=1KiB/s"), rule("slow-write rate=1KiB/s"));
    assert_eq!((read.fault, read.direction), (Fault::Slow(1024), Direction::In));
    assert_eq!((write.fault, write.direction), (Fault::Slow(1024), Direction::Out));
    assert_eq!(rule("drop").per, Per::Message);
    assert_eq!(rule("reset").per, Per::Connection);
    assert_eq!(rule("drop p=10%").when.probability, 0.1);
    let third = rule("reset per=message at=3 offset=1KiB direction=in");
    assert_eq!((third.per, third.offset, third.direction), (Per::Message, 1024, Direction::In));
    // Issue 11, item 42.
    assert_eq!((rule("reset after=5s").when.after_time, second), (5 * second, second));
    assert_eq!(rule("reset after=1m").when.after_time, 60 * second);
    assert_eq!(rule("reset after=1M").when.after, 1 << 20);
    // A plan accepts the same forms of amounts as a flag.
    assert_eq!(rule("slow-write rate=10K/s").fault, Fault::Slow(10 << 10));
    let shortest = Duration::from_secs(5400);
    assert_eq!(rule("delay=1h30m").fault, Fault::Delay { shortest, longest: shortest });
    assert_eq!(rule("delay=1h30m").to_string(), "delay=90m");
    assert_eq!(rule("stall after=10 layer=socket").layer, FaultLayer::Socket);
    for text in ["reset after=5s", "delay=1ms after=1h layer=socket", "reset after=1MiB"] {
        assert_eq!(rule(text).to_string(), text);
    }
    for kind in FaultKind::ALL {
        assert_eq!(rule(kind.example()).kind(), kind);
    }
}

#[test]
fn errors_show_the_wrong_text_in_one_sentence() {
    for (text, wanted) in [
        ("", "an empty rule: write for example 'delay=50ms p=0.1'"),
        ("dealy=5ms", "'dealy=5ms': there is no fault 'dealy'; did you mean 'delay'?"),
        ("half_close", "'half_close': there is no fault 'half_close'; did you mean 'half-close'?"),
        ("drop prob=1", "'drop prob=1': there is no 'prob'; did you mean 'p'?"),
        ("drop evry=2", "'drop evry=2': there is no 'evry'; did you mean 'every'?"),
        ("delay", "'delay': delay needs a length of time: write for example 'delay=50ms±10ms'"),
        (
            "slow-read=5",
            "'slow-read=5': slow-read takes no value ('=5'); leave it out, as in \
             'slow-read rate=10KiB/s'",
        ),
        (
            "slow-write",
            "'slow-write': slow-write needs a rate: write for example 'slow-write rate=10KiB/s'",
        ),
        (
            "drop p=2",
            "'drop p=2': '2' is not a probability: write a number from 0 to 1, for example 0.1, or \
             10%",
        ),
        ("drop p=0.1 p=0.2", "'drop p=0.1 p=0.2': 'p' occurs twice; keep one of them"),
        (
            "drop rate=5KiB/s",
            "'drop rate=5KiB/s': drop takes no rate; leave it out, as in 'drop p=0.1'",
        ),
        (
            "refuse layer=socket",
            "'refuse layer=socket': refuse takes no layer; leave it out, as in 'refuse first=2'",
        ),
        (
            "refuse after=5",
            "'refuse after=5': refuse takes no after; leave it out, as in 'refuse first=2'",
        ),
        ("drop first=0", "'drop first=0': '0' is not a number from 1 up"),
    ] {
        assert_eq!(sentence(text), wanted);
    }
    assert!(sentence("flood").contains("; there are delay, drop, duplicate"));
    assert!(sentence("drop size=1").contains("; there are p, skip, first"));
    for text in ["delay=-5ms", "delay=10ms±20ms", "delay=9s..1s", "delay=24h±1h", "delay="] {
        assert!(sentence(text).contains("is not a delay: write for example"), "{text}");
    }
    for text in ["reset offset=1", "slow-read rate=1/s direction=out", "refuse per=message"] {
        assert!(sentence(text).contains("leave it out"), "{text}");
    }
}

#[test]
fn an_error_in_a_file_names_the_line() {
    let text = "# slow\n\ndelay=1ms # a little\n  drp\n";
    let error = text.parse::<FaultPlan>().unwrap_err();
    assert_eq!(error.to_string(), "line 4: 'drp': there is no fault 'drp'; did you mean 'drop'?");
    let many = "drop\n".repeat(RULES_MAX + 1);
    let error = many.parse::<FaultPlan>().unwrap_err();
    assert_eq!(error.to_string(), "line 65: there are more than 64 rules: remove some");
    assert!("# nothing\n\n".parse::<FaultPlan>().unwrap().is_empty());
}

fn a_time() -> impl Strategy<Value = String> {
    let unit = prop_oneof![Just("us"), Just("ms"), Just("s"), Just("m")];
    (0u32..1400, unit).prop_map(|(number, unit)| format!("{number}{unit}"))
}

fn a_size() -> impl Strategy<Value = String> {
    (1u64..5000, prop_oneof![Just(""), Just("B"), Just("KiB"), Just("MiB")])
        .prop_map(|(number, unit)| format!("{number}{unit}"))
}

/// Generates a rule as a user may write it.
fn a_rule() -> impl Strategy<Value = String> {
    let fault = prop_oneof![
        a_time().prop_map(|time| format!("delay={time}")),
        (0u32..50, 50u32..99).prop_map(|(a, b)| format!("delay={a}ms..{b}ms")),
        (0u32..50, 50u32..99).prop_map(|(a, b)| format!("delay={b}s±{a}s")),
        Just("drop".to_owned()),
        Just("duplicate direction=in".to_owned()),
        a_time().prop_map(|time| format!("reorder={time}")),
        (a_size(), a_size()).prop_map(|(size, offset)| format!("corrupt={size} offset={offset}")),
        a_size().prop_map(|size| format!("truncate={size} per=connection")),
        (a_size(), a_time()).prop_map(|(size, gap)| format!("split={size} gap={gap}")),
        a_size().prop_map(|size| format!("reset after={size}")),
        a_size().prop_map(|size| format!("half-close per=message offset={size}")),
        Just("stall direction=in".to_owned()),
        a_time().prop_map(|time| format!("stall={time}")),
        a_size().prop_map(|rate| format!("slow-read rate={rate}/s")),
        a_size().prop_map(|rate| format!("slow-write rate={rate}/s")),
        Just("refuse".to_owned()),
    ];
    let number = || proptest::option::of(1u64..1000);
    let when = (proptest::option::of(0.0..=1.0), number(), number(), number(), number(), number());
    (fault, when).prop_map(|(fault, (p, skip, first, every, at, count))| {
        let key = |key: &str, number: Option<u64>| {
            number.map_or_else(String::new, |number| format!(" {key}={number}"))
        };
        let p = p.map_or_else(String::new, |p: f64| format!(" p={p}"));
        let numbers = [("skip", skip), ("first", first), ("every", every), ("at", at)];
        let numbers: String = numbers.map(|(name, number)| key(name, number)).concat();
        format!("{fault}{p}{numbers}{}", key("count", count))
    })
}

proptest! {
    #[test]
    fn a_printed_plan_parses_to_the_same_plan(rules in proptest::collection::vec(a_rule(), 0..5)) {
        let plan: FaultPlan = rules.join("\n").parse().unwrap();
        let printed = plan.to_string();
        prop_assert_eq!(printed.parse::<FaultPlan>().unwrap(), plan, "{}", printed);
    }

    #[test]
    fn any_text_is_a_plan_or_an_error(text in "([a-z=0-9. ±#\n-]|drop|delay=|p=|[^x]){0,60}") {
        match text.parse::<FaultPlan>() {
            Ok(plan) => prop_assert_eq!(plan.to_string().parse::<FaultPlan>().unwrap(), plan),
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }
}
