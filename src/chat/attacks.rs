//! Attacks on what others own in a chat, played against its state: in memory, with a store, and as
//! one node of a cluster.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::act::{Act, Outcome, Refusal};
use super::bans::{Ban, ROOM_BANS_MAX, Scope, Subject};
use super::cluster::{ClusterOptions, OnLoss};
use super::follower::Follower;
use super::hall::{Hall, NameTaken, Pass};
use super::history::StoreOptions;
use super::name::Name;
use super::perform::Actor;
use super::room::See;
use super::settings::Settings;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn room(text: &str) -> Name {
    Name::parse_room(text).unwrap()
}

/// A chat with a store in this folder.
fn stored(folder: &Path) -> Arc<Hall> {
    Hall::with_store(Settings::default(), folder, StoreOptions::default()).unwrap()
}

/// One node of a cluster, which has no other part of it.
fn node(node: u32) -> Arc<Hall> {
    let (cluster, machine) = ("tea".to_owned(), format!("m{node}"));
    let options = ClusterOptions { cluster, machine, on_loss: OnLoss::Hold, node };
    Hall::clustered(Settings::default(), options).0
}

/// What each session does, all at one time.
impl Hall {
    fn does(&self, session: u64, act: Act) -> Outcome {
        let is_here = self.cluster.is_none();
        self.perform(Actor { session, node: 1, is_here, now_ms: 5 }, act)
    }

    fn comes_from(&self, session: u64, who: &str, address: &str) -> Result<(), NameTaken> {
        let address = (!address.is_empty()).then(|| address.parse::<IpAddr>().unwrap());
        match self.does(session, Act::Enter { name: name(who), address, back: None }) {
            Outcome::Entered(entered) => entered.map(drop),
            other => panic!("{other:?}"),
        }
    }

    fn comes(&self, session: u64, who: &str) {
        self.comes_from(session, who, "").unwrap();
    }

    fn joins(&self, session: u64, to: &str) -> Result<(), super::hall::NotIn> {
        let join = Act::Join { room: room(to), see: See::Last(0), pass: Pass::Nothing };
        match self.does(session, join) {
            Outcome::Joined(joined) => joined.map(drop),
            other => panic!("{other:?}"),
        }
    }

    fn bans_name(&self, session: u64, whom: &str, scope: Scope) -> Outcome {
        let (subject, by, reason) = (Subject::Name(name(whom)), "ann".into(), String::new());
        let ban = Ban { subject, scope, by, reason, until_ms: None, lineage: None };
        self.does(session, Act::Ban(ban))
    }
}

/// Issue 12, item 3: the founder of a room cannot lift a ban of the chat by banning many names from
/// the room, also not over a restart or in the snapshot of a cluster.
#[test]
fn attack_the_founder_of_a_room_lifts_no_ban_of_the_chat() {
    let folder = tempfile::tempdir().unwrap();
    let play = |hall: &Hall| {
        hall.comes(1, "olga");
        hall.does(1, Act::BecomeOperator);
        assert!(matches!(hall.bans_name(1, "mallory", Scope::Chat), Outcome::Done));
        hall.comes(2, "eve");
        hall.joins(2, "den").unwrap();
        for number in 0..ROOM_BANS_MAX {
            let banned = hall.bans_name(2, &format!("u{number}"), Scope::Room(room("den")));
            assert!(matches!(banned, Outcome::Done), "{number}: {banned:?}");
        }
        let refused = hall.bans_name(2, "one-more", Scope::Room(room("den")));
        let full = Refusal::TooManyBans(ROOM_BANS_MAX);
        assert_eq!(refused.refusal(), Some(&full), "it is said, and no ban is dropped");
        let elsewhere = hall.bans_name(1, "ann", Scope::Room(room("nowhere")));
        assert_eq!(elsewhere.refusal(), Some(&Refusal::Absent), "no list without its room");
    };
    let holds = |hall: &Hall, session| {
        let banned = hall.comes_from(session, "mallory", "");
        assert!(matches!(banned, Err(NameTaken::Banned(_))), "{banned:?}");
        assert_eq!(hall.bans(Some(room("den").key())).len(), ROOM_BANS_MAX);
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
