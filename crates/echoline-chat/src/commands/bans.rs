//! Bans of users and networks, and the penalties of sources.

use std::collections::HashSet;
use std::time::Duration;

use crate::session::Session;
use crate::telnet::ByteStream;
use echoline::Closed;
use echoline::sources::Source;
use echoline_chat_core::answer_limits::{Budget, LIST_BYTES_MAX};
use echoline_chat_core::command::arguments::BanTarget;
use echoline_chat_core::name::Name;
use echoline_chat_core::operation::Operation;
use echoline_chat_core::outcome::Outcome;
use echoline_chat_core::state::bans::{Ban, Scope, Subject, counted, ending, network_of};
use echoline_chat_core::state::former_users::FormerUser;

/// The maximum characters of a ban's reason.
const REASON_MAX: usize = 200;

/// The maximum number of penalties that `/penalties` lists.
const PENALTIES_SHOWN: usize = 50;

impl<S: ByteStream> Session<S> {
    /// `/ban`: bans a user or a network, for a time or for ever.
    pub(super) async fn ban(
        &mut self,
        target: BanTarget<'_>,
        length: Option<Duration>,
        words: Option<&str>,
    ) -> Result<(), Closed> {
        if words.is_some_and(|words| words.chars().count() > REASON_MAX) {
            self.notice(&format!("The reason for a ban can have at most {REASON_MAX} characters"));
            return Ok(());
        }
        let is_wider = matches!(target, BanTarget::Network(network) if counted(network) != network);
        let Some((subject, scope)) = self.subject_and_scope(target) else { return Ok(()) };
        if let Subject::Name(name) = &subject
            && self.chat.find(name).is_some_and(|other| self.is_above(&other))
        {
            return Ok(());
        }
        let known = match &subject {
            Subject::Name(name) => self.known_user(name),
            Subject::Network(_) => None,
        };
        let ban = Ban {
            subject: subject.clone(),
            scope: scope.clone(),
            by: self.name().to_string(),
            reason: words.unwrap_or_default().to_owned(),
            until_ms: self.end_of(length),
            lineage: known.as_ref().map(|(user, _)| user.lineage),
        };
        let until = ending(ban.until_ms, self.chat.settings.moment);
        let outcome = self.propose(Operation::Ban(ban)).await?;
        if outcome.refusal().is_some() {
            self.explain_refusal(&outcome);
            return Ok(());
        }
        let reason = words.unwrap_or_default();
        let colon = if reason.is_empty() { "" } else { ": " };
        let told = format!("banned {subject} from {}", self.place(&scope));
        self.audit(&format!("{told} {until}{colon}{reason}"));
        self.notice(&format!("You {told} {until}"));
        if let Subject::Name(name) = &subject {
            let (known, is_here) = known.unzip();
            self.explain_ban(name, known.as_ref(), is_here.unwrap_or_default());
        } else if is_wider {
            self.notice("The ban covers the whole /64 network, because one host can use all of it");
        }
        Ok(())
    }

    /// `/unban`: lifts a ban.
    pub(super) async fn unban(&mut self, target: BanTarget<'_>) -> Result<(), Closed> {
        let Some((subject, scope)) = self.subject_and_scope(target) else { return Ok(()) };
        let unban = Operation::Unban { subject: subject.clone(), scope: scope.clone() };
        match self.propose(unban).await? {
            Outcome::Unbanned(None) => {
                self.notice(&format!("{subject} is not banned; /bans lists the bans"));
            }
            Outcome::Unbanned(Some(_)) => {
                let place = self.place(&scope);
                self.audit(&format!("lifted the ban of {subject} from {place}"));
                self.notice(&format!("{subject} may join {place} again"));
            }
            outcome => self.explain_refusal(&outcome),
        }
        Ok(())
    }

    /// `/bans`: lists the bans from number `from` on, as many as fit one answer.
    pub(super) fn bans(&mut self, from: u64) {
        let scope = self.scope();
        let room = match &scope {
            Some(Scope::Room(name)) => Some(name.key()),
            _ => None,
        };
        let bans = self.chat.bans(room);
        if bans.is_empty() {
            self.notice("There are no bans");
        }
        let mut budget = Budget::new(LIST_BYTES_MAX);
        for (place, ban) in (1..).zip(&bans).skip_while(|(place, _)| *place < from) {
            let Ban { subject, by, reason, until_ms, .. } = ban;
            let until = ending(*until_ms, self.chat.settings.moment);
            let colon = if reason.is_empty() { "" } else { ": " };
            let line = format!("{subject}, {until}, by {by}{colon}{reason}");
            if !budget.take(line.len()) {
                let more = bans.len() as u64 + 1 - place;
                self.notice(&format!("{more} more: /bans {place} lists them"));
                break;
            }
            self.reply(&line);
        }
    }

    /// Returns the user who has a name or had it last, and whether they are in the chat.
    fn known_user(&self, name: &Name) -> Option<(FormerUser, bool)> {
        if let Some(user) = self.chat.find(name) {
            let (lineage, address, name) = (user.lineage, user.address, user.name());
            return Some((FormerUser { name, lineage, address, left_ms: 0 }, true));
        }
        self.chat.former_user(name).map(|user| (user, false))
    }

    fn subject_and_scope(&mut self, target: BanTarget<'_>) -> Option<(Subject, Scope)> {
        let subject = match target {
            BanTarget::Network(network) => Subject::Network(counted(network)),
            BanTarget::Name(name) => match Name::parse(name) {
                Ok(name) => Subject::Name(name),
                Err(error) => {
                    self.notice(&error.to_string());
                    return None;
                }
            },
        };
        Some((subject, self.scope()?))
    }

    /// Returns the scope of a ban: an operator of the whole chat bans from all of it, another
    /// operator from the current room.
    fn scope(&self) -> Option<Scope> {
        if self.user.is_operator() {
            return Some(Scope::Chat);
        }
        self.feed.current().map(|membership| Scope::Room(membership.room.clone()))
    }

    fn place(&self, scope: &Scope) -> String {
        match scope {
            Scope::Chat => "the chat".to_owned(),
            Scope::Room(name) => name.to_string(),
        }
    }

    /// Explains whether a ban of a name applies to the user's sessions, and how to ban the address
    /// too.
    fn explain_ban(&mut self, name: &Name, user: Option<&FormerUser>, is_here: bool) {
        let Some(user) = user else {
            self.notice("The ban covers only the name: no user has it or had it recently");
            return;
        };
        self.notice(&format!(
            "The ban covers the name {name}, and this user under any name: session and token"
        ));
        if !self.user.is_operator() {
            self.notice("An operator of the chat can also see and ban their address");
            return;
        }
        let from = self.origin(user.address, user.lineage);
        let Some(address) = user.address else { return };
        let network = network_of(address);
        let network = match network.prefix_len() == network.max_prefix_len() {
            true => network.addr().to_string(),
            false => network.to_string(),
        };
        let come = if is_here { "They are connected" } else { "They were connected" };
        self.notice(&format!("{come} {from}: /ban {network} bans the address too"));
    }

    /// `/penalties`: lists the penalties of this node, or ends those of the source that `pardoned`
    /// names.
    pub(super) fn penalties(&mut self, pardoned: Option<&str>) {
        if !self.require_chat_operator() {
            return;
        }
        match pardoned.map(str::parse::<Source>) {
            None => self.list_penalties(),
            Some(Ok(source)) => self.end_penalties(source),
            Some(Err(error)) => self.notice(&error.to_string()),
        }
    }

    fn list_penalties(&mut self) {
        let sources = &self.chat.settings.sources;
        let (_, count) = sources.counts();
        let listed = sources.penalised(PENALTIES_SHOWN);
        if listed.is_empty() {
            self.notice("No source has a penalty");
        }
        let sources_listed = listed.iter().map(|penalty| penalty.source);
        let more = count.saturating_sub(sources_listed.collect::<HashSet<_>>().len());
        for penalty in listed {
            let (source, action, level) = (penalty.source, penalty.action, penalty.level);
            let seconds = penalty.remaining.as_secs().max(1);
            self.reply(&format!("{source}: {action} refused for {seconds} s more, level {level}"));
        }
        if more > 0 {
            self.reply(&format!("and {more} more"));
        }
    }

    fn end_penalties(&mut self, source: Source) {
        if self.chat.settings.sources.pardon(source) {
            self.audit(&format!("ended the penalties of {source}"));
            self.notice(&format!("{source} no longer has a penalty"));
        } else {
            self.notice(&format!(
                "{source} has no penalty; /penalties lists the sources that have one"
            ));
        }
    }
}
