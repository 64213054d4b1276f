//! The wire format of an operation: author, per-author sequence number and origin node.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::inspect::inspect;
use crate::Operation;

/// The version of the format. A node refuses an entry of a later version.
const VERSION: u16 = 1;

/// An operation and its author.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    #[serde(rename = "v")]
    version: u16,
    /// The author's node. A node gets a new number at each start.
    pub node: u32,
    /// The session of the author; 0 if the author is the node itself.
    pub session: u64,
    /// The number of the operation, counted from 1 for each author. It ensures that an operation
    /// that is sent twice is applied once.
    pub number: u64,
    /// The operation.
    #[serde(rename = "act")]
    pub operation: Operation,
}

impl Envelope {
    /// Creates an envelope of this version.
    pub fn new(node: u32, session: u64, number: u64, operation: Operation) -> Self {
        Self { version: VERSION, node, session, number, operation }
    }

    /// Returns the unique id of the proposal. The proposal that a node went down has the same id
    /// whichever node proposes it.
    pub fn id(&self) -> String {
        match &self.operation {
            Operation::NodeDown { node, .. } => id_of_end(*node),
            _ => format!("{:08x}-{:x}-{}", self.node, self.session, self.number),
        }
    }

    /// Returns the bytes of the entry.
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("an operation is made of texts and numbers").into()
    }

    /// Decodes an entry, and checks it like any other input.
    ///
    /// # Errors
    /// The reason why the entry is invalid or refused.
    pub fn decode(payload: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Form {
            v: u16,
        }
        if payload.is_empty() {
            return Err("it comes from no node with the key of the cluster".to_owned());
        }
        let mut envelope: Self = serde_json::from_slice(payload).map_err(|error| {
            let newer = serde_json::from_slice::<Form>(payload).is_ok_and(|form| form.v > VERSION);
            match newer {
                true => "it is of a newer version of echoline: update this node".to_owned(),
                false => error.to_string(),
            }
        })?;
        inspect(envelope.session, envelope.number, &mut envelope.operation)?;
        Ok(envelope)
    }
}

/// Returns the id of the proposal that a node went down.
pub(crate) fn id_of_end(node: u32) -> String {
    format!("gone-{node:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Credential;
    use crate::room::ReplayFrom;
    use crate::state::{Ban, Position, SavedSession, Scope, SessionState, Subject, digest};
    use crate::{
        LineKind, Name, RejoiningUser, RestoredSession, ResumeToken, RoomChange, SaidLine,
    };

    fn operations() -> Vec<Operation> {
        let name = Name::parse("ann").unwrap();
        let room = Name::parse_room("den").unwrap();
        let password = Some("x".into());
        let position = Position { room: room.clone(), next: 7, operator: true, password, born: 3 };
        let more = SessionState {
            current: Some(room.clone()),
            lineage: u64::MAX,
            operator: Some("$argon2id$x".into()),
            ..SessionState::default()
        };
        let (rooms, session) = (vec![position], Some(3));
        let saved = SavedSession { name: name.clone(), rooms, until_ms: 9, session, more };
        let scope = Scope::Room(room.clone());
        let subject = Subject::Network("192.0.2.0/24".parse().unwrap());
        let ban = |subject, scope| Ban {
            subject,
            scope,
            by: "ben".into(),
            reason: "spam".into(),
            until_ms: None,
            lineage: Some(4),
        };
        let back = Some(RestoredSession { lineage: 3, operator: true, away: None });
        let said = |kind, text: &str| SaidLine { kind, text: text.into() };
        let returning = RejoiningUser {
            session: 5,
            lineage: 2,
            since_ms: 3,
            name: name.clone(),
            address: None,
            operator: true,
            away: Some("tea".into()),
            rooms: vec![(room.clone(), false)],
            last: 4,
        };
        vec![
            Operation::Enter {
                name: name.clone(),
                address: Some("::1".parse().unwrap()),
                back: None,
            },
            Operation::Enter { name: name.clone(), address: None, back },
            Operation::Write { to: 5, words: "waves".into(), kind: LineKind::Action },
            Operation::Exit { reason: None, keep: Some(ResumeToken { token: digest("a"), saved }) },
            Operation::Rename { name: name.clone() },
            Operation::Join {
                room: room.clone(),
                replay_from: ReplayFrom::From(7),
                credential: Credential::Password("x".into()),
            },
            Operation::Join {
                room: room.clone(),
                replay_from: ReplayFrom::Last(2),
                credential: Credential::Return { operator: true, password: None, born: 3 },
            },
            Operation::Forget { room: room.clone() },
            Operation::Say {
                room: room.clone(),
                lines: vec![said(LineKind::Said, "\"hi\""), said(LineKind::Action, "waves")],
            },
            Operation::Ban(ban(subject.clone(), scope.clone())),
            Operation::Ban(ban(Subject::Name(name), Scope::Chat)),
            Operation::FloodMuted { until_ms: u64::MAX, count: 2 },
            Operation::Unban { subject, scope },
            Operation::Alter { room, change: RoomChange::Mute(1 << 60, Some(u64::MAX)) },
            Operation::NodeDown { node: 7, name: "b".into(), reason: "is gone".into() },
            Operation::Rejoin { users: vec![returning] },
        ]
    }

    #[test]
    fn decodes_what_it_encodes() {
        for operation in operations() {
            let session =
                if matches!(operation, Operation::Rejoin { .. }) { 0 } else { u64::MAX - 1 };
            let sent = Envelope::new(u32::MAX, session, 1, operation);
            assert_eq!(Envelope::decode(&sent.encode()).as_ref(), Ok(&sent));
        }
    }

    /// Issue 11, item 7: operations of an earlier version are decoded. They have no restored
    /// sessions and no private actions.
    #[test]
    fn regression_operations_without_the_new_fields_are_decoded() {
        let (name, words) = (Name::parse("ann").unwrap(), "hi".to_owned());
        for (old, operation) in [
            (
                r#"{"enter":{"name":"ann","address":null}}"#,
                Operation::Enter { name, address: None, back: None },
            ),
            (
                r#"{"write":{"to":5,"words":"hi"}}"#,
                Operation::Write { to: 5, words, kind: LineKind::Said },
            ),
        ] {
            assert_eq!(serde_json::from_str::<Operation>(old).unwrap(), operation);
            assert_eq!(serde_json::to_string(&operation).unwrap(), old);
        }
    }

    /// A later version may have further fields, and an earlier version may have had different
    /// fields.
    #[test]
    fn ignores_a_field_of_another_version() {
        let payload = br#"{"v":1,"node":1,"session":2,"number":3,"shown":[[5]],
            "act":{"say":{"room":"den","lines":[{"t":"hi","shown":[5]}],"shown":[[5]]}}}"#;
        let room = Name::parse_room("den").unwrap();
        let lines = vec![SaidLine { kind: LineKind::Said, text: "hi".into() }];
        let expected = Envelope::new(1, 2, 3, Operation::Say { room, lines });
        assert_eq!(Envelope::decode(payload), Ok(expected));
    }

    #[test]
    fn reports_invalid_entries() {
        assert!(Envelope::decode(b"{}").unwrap_err().contains("missing field"));
        assert!(Envelope::decode(b"{\"v\":2,\"new\":1}").unwrap_err().contains("newer version"));
        assert!(Envelope::decode(&[0xff; 9]).is_err());
    }

    #[test]
    fn ids_have_only_the_characters_that_the_stream_allows() {
        let ids: Vec<String> = operations()
            .into_iter()
            .map(|operation| Envelope::new(1, 2, 3, operation).id())
            .collect();
        assert!(
            ids.contains(&"gone-00000007".to_owned()),
            "the id does not depend on the proposer"
        );
        assert!(ids.contains(&"00000001-2-3".to_owned()));
    }
}
