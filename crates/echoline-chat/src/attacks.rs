//! Tests of attacks on the rooms, lines, bans and tokens of other users. The chat is in memory,
//! with a store, or one node of a cluster.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::chat::{Chat, ClaimNameError, Credential, JoinError};
use super::cluster::ClusterOptions;
use super::settings::ChatSettings;
use echoline_chat_core::room::ReplayFrom;
use echoline_chat_core::state::{Ban, ROOM_BANS_MAX, Scope, Subject};
use echoline_chat_core::{
    LineKind, Name, Operation, OperationContext, OperationError, Outcome, ReplicatedState,
    RoomChange as Alteration, SaidLine, StoredLine,
};
use echoline_chat_store::{Store, StoreChange, StoreOptions};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn room(text: &str) -> Name {
    Name::parse_room(text).unwrap()
}

/// Returns a chat with a store in this folder.
fn stored(folder: &Path) -> Arc<Chat> {
    Chat::with_store(ChatSettings::default(), folder, StoreOptions::default()).unwrap()
}

/// Returns one node of a cluster. There are no other nodes.
fn node(node: u32) -> Arc<Chat> {
    let (cluster, node_name) = ("tea".to_owned(), format!("m{node}"));
    let options = ClusterOptions { cluster, node_name, node };
    Chat::clustered(ChatSettings::default(), options).0
}

/// Actions of simulated sessions.
impl Chat {
    fn does(&self, session: u64, operation: Operation) -> Outcome {
        let is_here = self.cluster.is_none();
        self.apply_operation(OperationContext { session, node: 1, is_here, now_ms: 5 }, operation)
    }

    fn comes_from(&self, session: u64, text: &str, address: &str) -> Result<(), ClaimNameError> {
        let address = (!address.is_empty()).then(|| address.parse::<IpAddr>().unwrap());
        match self.does(session, Operation::Enter { name: name(text), address, back: None }) {
            Outcome::Entered(entered) => entered.map(drop),
            other => panic!("{other:?}"),
        }
    }

    fn comes(&self, session: u64, text: &str) {
        self.comes_from(session, text, "").unwrap();
    }

    fn joins(&self, session: u64, to: &str) -> Result<(), JoinError> {
        let join = Operation::Join {
            room: room(to),
            replay_from: ReplayFrom::Last(0),
            credential: Credential::Nothing,
        };
        match self.does(session, join) {
            Outcome::Joined(joined) => joined.map(drop),
            other => panic!("{other:?}"),
        }
    }

    fn bans_name(&self, session: u64, text: &str, scope: Scope) -> Outcome {
        let (subject, by, reason) = (Subject::Name(name(text)), "ann".into(), String::new());
        let ban = Ban { subject, scope, by, reason, until_ms: None, lineage: None };
        self.does(session, Operation::Ban(ban))
    }
}

/// Issue 12, item 3: the founder of a room cannot lift a ban of the chat by banning many names from
/// the room. This also holds after a restart, and in the snapshot of a cluster.
#[test]
fn attack_the_founder_of_a_room_cannot_lift_a_ban_of_the_chat() {
    let folder = tempfile::tempdir().unwrap();
    let play = |chat: &Chat| {
        chat.comes(1, "olga");
        chat.does(1, Operation::BecomeOperator);
        assert!(matches!(chat.bans_name(1, "mallory", Scope::Chat), Outcome::Done));
        chat.comes(2, "eve");
        chat.joins(2, "den").unwrap();
        say(chat, 2, "den");
        for number in 0..ROOM_BANS_MAX {
            let banned = chat.bans_name(2, &format!("u{number}"), Scope::Room(room("den")));
            assert!(matches!(banned, Outcome::Done), "{number}: {banned:?}");
        }
        let refused = chat.bans_name(2, "one-more", Scope::Room(room("den")));
        let full = OperationError::TooManyBans(ROOM_BANS_MAX);
        assert_eq!(
            refused.refusal(),
            Some(&full),
            "the ban is refused, and no other ban is dropped"
        );
        let elsewhere = chat.bans_name(1, "ann", Scope::Room(room("nowhere")));
        assert_eq!(
            elsewhere.refusal(),
            Some(&OperationError::NotFound),
            "the bans of a removed room are removed"
        );
    };
    let holds = |chat: &Chat, session| {
        let banned = chat.comes_from(session, "mallory", "");
        assert!(matches!(banned, Err(ClaimNameError::Banned(_))), "{banned:?}");
        assert_eq!(chat.bans(Some(room("den").key())).len(), ROOM_BANS_MAX);
    };
    let first = stored(folder.path());
    play(&first);
    holds(&first, 3);
    assert_eq!(first.close(), 0);
    let second = stored(folder.path());
    holds(&second, 3);
    second.close();

    let here = node(1);
    play(&here);
    let late = node(2);
    late.restore(&here.snapshot()).unwrap();
    holds(&late, 3);
    assert_eq!(late.snapshot().state, here.snapshot().state);
}

/// Issue 12, item 4: a node that starts from a snapshot has the said lines too, even if many users
/// have come and gone since. It writes the same snapshot as the other node.
#[test]
fn attack_visits_displace_no_said_line_for_a_late_node() {
    let (here, late) = (node(1), node(2));
    here.comes(1, "ann");
    here.joins(1, "lobby").unwrap();
    let say = |chat: &Chat, text: &str| {
        let lines = vec![SaidLine { kind: LineKind::Said, text: text.to_owned() }];
        chat.does(1, Operation::Say { room: room("lobby"), lines });
    };
    let visit = |chat: &Chat, session| {
        chat.comes(session, "eve");
        chat.joins(session, "lobby").unwrap();
        chat.does(session, Operation::Exit { reason: Some(String::new()), keep: None });
    };
    say(&here, "first");
    (10..300).for_each(|session| visit(&here, session));
    late.restore(&here.snapshot()).unwrap();
    let texts = |chat: &Chat| {
        chat.lobby.with(|room| {
            let numbers = room.log.oldest()..room.log.next();
            let lines = numbers.filter_map(|number| room.log.line(number));
            let said = lines.filter(|line| line.kind == LineKind::Said);
            said.map(|line| (line.number, line.text.to_owned())).collect::<Vec<_>>()
        })
    };
    assert_eq!(
        (texts(&late), texts(&here)),
        (vec![(2, "first".into())], vec![(2, "first".into())])
    );
    for chat in [&here, &late] {
        say(chat, "second");
        (300..500).for_each(|session| visit(chat, session));
    }
    assert_eq!(late.snapshot().state, here.snapshot().state);
}

/// Says one line.
fn say(chat: &Chat, session: u64, to: &str) {
    let lines = vec![SaidLine { kind: LineKind::Said, text: "hello".to_owned() }];
    let said = chat.does(session, Operation::Say { room: room(to), lines });
    assert!(matches!(said, Outcome::Done), "{said:?}");
}

fn leave(chat: &Chat, session: u64) {
    chat.does(session, Operation::Exit { reason: Some(String::new()), keep: None });
}

/// Issue 12, item 5: a user who creates empty rooms cannot use up the limit of rooms. This holds
/// with a store, after a restart, and in a cluster. Rooms with said lines stay, but their number is
/// limited for each address.
#[test]
fn attack_empty_rooms_do_not_use_up_the_room_limit() {
    const MALLORY: &str = "192.0.2.66";
    let most = ChatSettings::default().max_rooms;
    let each = ChatSettings::default().max_rooms_per_ip;
    let play = |chat: &Chat| {
        for session in 1..=most as u64 + 5 {
            chat.comes_from(session, "mallory", MALLORY).unwrap();
            chat.joins(session, &format!("r{session}")).unwrap();
            leave(chat, session);
        }
        assert_eq!(chat.rooms().len(), 1, "the lobby");
        for number in 0..each {
            let (session, den) = (5000 + number as u64, format!("den{number}"));
            chat.comes_from(session, "mallory", MALLORY).unwrap();
            chat.joins(session, &den).unwrap();
            say(chat, session, &den);
            leave(chat, session);
        }
        assert_eq!(chat.rooms().len(), 1 + each);
    };
    let is_full = |chat: &Chat| {
        chat.comes_from(7000, "mallory", MALLORY).unwrap();
        let refused = chat.joins(7000, "one-more");
        assert!(
            matches!(refused, Err(JoinError::TooManyOfSource(made)) if made == each),
            "{refused:?}"
        );
        chat.joins(7000, "den7").unwrap();
        leave(chat, 7000);
        chat.comes_from(7001, "ann", "192.0.2.1").unwrap();
        chat.joins(7001, "garden").unwrap();
        leave(chat, 7001);
        assert_eq!(chat.rooms().len(), 1 + each, "only the empty garden was removed");
    };
    let folder = tempfile::tempdir().unwrap();
    let first = stored(folder.path());
    play(&first);
    is_full(&first);
    assert_eq!(first.close(), 0);
    let second = stored(folder.path());
    assert_eq!(second.rooms().len(), 1 + each, "rooms with said lines are stored");
    is_full(&second);
    second.close();

    let here = node(1);
    play(&here);
    let late = node(2);
    late.restore(&here.snapshot()).unwrap();
    late.comes_from(7000, "mallory", MALLORY).unwrap();
    let check_room_limits =
        |chat: &Chat, session: u64| chat.check_room_limits(session, &room("new"));
    assert_eq!(
        check_room_limits(&late, 7000),
        Err(JoinError::TooManyOfSource(each)),
        "every node knows the creator's address"
    );
    late.comes_from(7001, "ann", "192.0.2.1").unwrap();
    assert_eq!(check_room_limits(&late, 7001), Ok(()));
}

/// Issue 12, item 5: a store that is full of empty rooms from an earlier version accepts new rooms.
/// Rooms that their operators set up stay, and so do rooms with said lines.
#[test]
fn attack_a_store_full_of_empty_rooms_accepts_new_rooms() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), StoreOptions::default(), 1, |_| ()).unwrap();
    let write = |name: &str, topic: Option<&str>, private, kind| {
        let (name, topic) = (name.to_owned(), topic.map(str::to_owned));
        let room = Arc::from(&*name);
        store.write(StoreChange::Room {
            name,
            topic,
            private,
            password: None,
            more: String::new(),
        });
        let (text, name) = ("x".into(), "eve".into());
        let line = StoredLine { number: 1, time_ms: 1, kind, name, text };
        store.write(StoreChange::Line { room, line });
    };
    for number in 0..1100 {
        write(&format!("r{number}"), None, false, LineKind::Joined);
    }
    write("said", None, false, LineKind::Said);
    write("private", None, true, LineKind::Joined);
    write("topic", Some("bees"), false, LineKind::Joined);
    assert_eq!(store.close(), 0);
    for _ in 0..2 {
        let chat = stored(folder.path());
        let rooms: Vec<String> = chat
            .rooms()
            .iter()
            .map(|shared_room| shared_room.with(|room| room.name.to_string()))
            .collect();
        assert_eq!(rooms, ["lobby", "private", "said", "topic"]);
        chat.comes(1, "ann");
        chat.joins(1, "garden").unwrap();
        chat.close();
    }
}

/// Issue 12, item 5: a token for a removed room gives no right in a new room of the same name.
#[test]
fn attack_a_token_of_a_removed_room_gives_no_right_in_another() {
    let folder = tempfile::tempdir().unwrap();
    for chat in [Arc::new(Chat::new(ChatSettings::default())), stored(folder.path()), node(1)] {
        chat.comes(1, "mallory");
        chat.joins(1, "den").unwrap();
        let position = chat.room(&room("den")).unwrap().with(|room| room.position_in());
        let pass = Credential::Return { operator: true, password: None, born: position.born };
        leave(&chat, 1);
        assert!(chat.room(&room("den")).is_none());
        chat.comes(2, "ann");
        chat.joins(2, "den").unwrap();
        chat.does(2, Operation::Alter { room: room("den"), change: Alteration::Private(true) });
        chat.comes(3, "mallory");
        let back = |pass: &Credential| {
            let (replay_from, pass) = (ReplayFrom::From(position.next), pass.clone());
            chat.does(3, Operation::Join { room: room("den"), replay_from, credential: pass })
        };
        let refused = back(&pass);
        assert!(matches!(refused, Outcome::Joined(Err(JoinError::Invited))), "{refused:?}");
        // A token for the new room gives the right.
        let born = chat.room(&room("den")).unwrap().with(|room| room.origin.born);
        let joined = back(&Credential::Return { operator: true, password: None, born });
        assert!(matches!(joined, Outcome::Joined(Ok(_))), "{joined:?}");
    }
}

/// Issue 12, item 5: an operator of the chat can remove a room and its lines. Other users cannot do
/// this, and the lobby cannot be removed.
#[test]
fn an_operator_removes_a_room() {
    let folder = tempfile::tempdir().unwrap();
    let chat = stored(folder.path());
    chat.comes(1, "olga");
    chat.comes(2, "eve");
    chat.joins(2, "den").unwrap();
    say(&chat, 2, "den");
    let forget = |session, what: &str| chat.does(session, Operation::Forget { room: room(what) });
    let not_operator = Some(&OperationError::NotOperator);
    assert_eq!(forget(2, "den").refusal(), not_operator, "the founder cannot remove it");
    chat.does(1, Operation::BecomeOperator);
    assert_eq!(forget(1, "lobby").refusal(), not_operator);
    assert_eq!(forget(1, "nowhere").refusal(), Some(&OperationError::NotFound));
    assert!(matches!(forget(1, "DEN"), Outcome::Done));
    assert!(chat.room(&room("den")).is_none());
    assert!(chat.session(2).unwrap().mailbox.has_news(), "its member is notified");
    chat.joins(1, "den").unwrap();
    let first = chat.room(&room("den")).unwrap().with(|room| room.log.first());
    assert!(first > 3, "a new room reuses no number");
    assert_eq!(chat.close(), 0);
    let (store, restored) = Store::open(folder.path(), StoreOptions::default(), 9, |_| ()).unwrap();
    let den = restored.rooms.iter().find(|room| room.name == "den");
    assert!(den.is_none_or(|den| den.lines.iter().all(|line| line.kind != LineKind::Said)));
    store.close();
}

/// Issue 12, item 13: a new ban is compared with each user, but the earlier bans are not. With
/// 1,000 users and 10,000 bans, comparing all of them would take seconds under the chat's lock.
#[test]
#[expect(clippy::disallowed_methods, reason = "the test tells ten thousand steps from ten million")]
fn attack_a_ban_takes_no_longer_after_many_bans() {
    let ban = |subject| {
        let (by, reason) = ("u1".to_owned(), String::new());
        Ban { subject, scope: Scope::Chat, by, reason, until_ms: None, lineage: None }
    };
    let chat = Chat::new(ChatSettings::default());
    let context = |session| OperationContext { session, node: 0, is_here: true, now_ms: 1 };
    for number in 1..=1000 {
        let name = name(&format!("u{number}"));
        chat.apply_operation(context(number), Operation::Enter { name, address: None, back: None });
    }
    chat.lock().users.get_mut(1).unwrap().make_operator(true);
    for number in 0..5000 {
        let added = ban(Subject::Name(name(&format!("b{number}"))));
        let _ = chat.lock().bans.add(1, added);
    }
    let start = std::time::Instant::now();
    for number in 2..12 {
        let operation = Operation::Ban(ban(Subject::Name(name(&format!("u{number}")))));
        assert!(matches!(chat.apply_operation(context(1), operation), Outcome::Done));
        let ended = chat.session(number).unwrap().mailbox.ending().is_some();
        assert!(ended, "the ban applies to its user");
    }
    assert!(chat.session(12).unwrap().mailbox.ending().is_none());
    assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
}
