//! Tests with a school class: sixty users behind one address, with the default limits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::programs::wait_for;
use crate::source_harness::Chat;

const PEOPLE: usize = 60;

/// The number of lines that each user pastes.
const PASTED: usize = 20;

/// Issue 12: sixty users behind one address join, talk, paste twenty lines, lose their connections
/// at the same time and return with their tokens. None of them reaches a limit.
#[test]
fn sixty_people_behind_one_address_reach_no_limit() {
    let chat = Chat::start(&[]);
    let together = Together::default();
    thread::scope(|scope| {
        for number in 0..PEOPLE {
            let (chat, together) = (&chat, &together);
            scope.spawn(move || evening(chat, number, together));
        }
    });
    for action in echoline::sources::SourceAction::ALL {
        let name = format!("echoline_source_refusals_total{{action=\"{action}\"}}");
        assert_eq!(chat.metric(&name), 0, "{action}");
    }
    assert_eq!(chat.metric("echoline_sources_penalised"), 0);
}

/// A barrier: each user waits until all users have finished the current step. If one of them fails,
/// the others fail too.
#[derive(Default)]
struct Together(AtomicUsize);

impl Together {
    fn wait(&self, step: usize) {
        self.0.fetch_add(1, Ordering::SeqCst);
        wait_for("everybody", || self.0.load(Ordering::SeqCst) >= step * PEOPLE);
    }
}

fn evening(chat: &Chat, number: usize, together: &Together) {
    let from = "203.0.113.5";
    let name = format!("pupil{number:02}");
    let mut pupil = chat.enter(from, &name);
    together.wait(1);
    pupil.ask("/join class", "You are now talking in class");
    let told = pupil.ask("/token", "restores this session from any connection");
    let token = told.split("/resume ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    together.wait(2);
    pupil.say(&format!("hello from {name}"));
    for other in 0..PEOPLE {
        let words = format!("hello from pupil{other:02}");
        if other != number && !pupil.heard.iter().any(|line| line.contains(&words)) {
            pupil.hear(&words);
        }
    }
    pupil.ask("/users", "Online: ");
    pupil.ask("/search hello", "hello from");
    together.wait(3);
    let pasted: Vec<String> = (1..=PASTED).map(|line| format!("line {line} of {name}")).collect();
    pupil.say(&pasted.join("\r\n"));
    for other in 0..PEOPLE {
        let words = format!("line {PASTED} of pupil{other:02}");
        if other != number && !pupil.heard.iter().any(|line| line.contains(&words)) {
            pupil.hear(&words);
        }
    }
    pupil.has_met_nothing();
    together.wait(4);
    drop(pupil);
    let mut back = chat.connect(from);
    back.say(&format!("/resume {token}"));
    back.hear("Back in class");
    back.ask("/users", "Online: ");
    back.has_met_nothing();
}
