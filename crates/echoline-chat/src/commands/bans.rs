//! Bans of users and networks, and the penalties of sources.

use std::collections::HashSet;
use std::time::Duration;

use crate::session::{CommandResult, Session};
use crate::telnet::ByteStream;
use echoline::sources::Source;
use echoline_chat_core::command::BanTarget;
use echoline_chat_core::state::{Ban, FormerUser, Scope, Subject, counted, ending, network_of};
use echoline_chat_core::{Budget, LIST_BYTES_MAX, Name, Operation, Outcome};

/// The maximum length of a ban's reason, in characters.
const REASON_MAX: usize = 200;

/// The maximum number of penalties that `/penalties` lists.
const PENALTIES_SHOWN: usize = 50;

impl<S: ByteStream> Session<S> {
    /// `/ban`: bans a user or a network, for a limited time or for ever.
    pub(super) async fn ban(
        &mut self,
        target: BanTarget<'_>,
        length: Option<Duration>,
        words: Option<&str>,
    ) -> CommandResult {
        let reason = words.unwrap_or_default();
        if reason.chars().count() > REASON_MAX {
            let sentence = format!("The reason for a ban can have at most {REASON_MAX} characters");
            return Err(sentence.into());
        }
        let is_wider = matches!(target, BanTarget::Network(network) if counted(network) != network);
        let (subject, scope) = self.subject_and_scope(target)?;
        if let Subject::Name(name) = &subject
            && let Some(other) = self.chat.find(name)
        {
            self.require_rank_over(&other)?;
        }
        let known = match &subject {
            Subject::Name(name) => self.known_user(name),
            Subject::Network(_) => None,
        };
        let ban = Ban {
            subject: subject.clone(),
            scope: scope.clone(),
            by: self.name().to_string(),
            reason: reason.to_owned(),
            until_ms: self.end_of(length),
            lineage: known.as_ref().map(|(user, _)| user.lineage),
        };
        let until = ending(ban.until_ms, self.chat.settings.moment);
        self.carry_out(Operation::Ban(ban)).await?;
        let colon = if reason.is_empty() { "" } else { ": " };
        let told = format!("banned {subject} from {scope}");
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
    pub(super) async fn unban(&mut self, target: BanTarget<'_>) -> CommandResult {
        let (subject, scope) = self.subject_and_scope(target)?;
        let unban = Operation::Unban { subject: subject.clone(), scope: scope.clone() };
        if let Outcome::Unbanned(None) = self.carry_out(unban).await? {
            return Err(format!("{subject} is not banned; /bans lists the bans").into());
        }
        self.audit(&format!("lifted the ban of {subject} from {scope}"));
        self.notice(&format!("{subject} may join {scope} again"));
        Ok(())
    }

    /// `/bans`: lists the bans, beginning with number `from`, as many as fit into one answer.
    pub(super) fn bans(&mut self, from: u64) -> CommandResult {
        let bans = self.chat.bans(self.scope()?.room());
        if bans.is_empty() {
            self.notice("There are no bans");
        }
        let mut budget = Budget::new(LIST_BYTES_MAX);
        for (position, ban) in (1..).zip(&bans).skip_while(|(position, _)| *position < from) {
            let Ban { subject, by, reason, until_ms, .. } = ban;
            let until = ending(*until_ms, self.chat.settings.moment);
            let colon = if reason.is_empty() { "" } else { ": " };
            let line = format!("{subject}, {until}, by {by}{colon}{reason}");
            if !budget.take(line.len()) {
                let more = bans.len() as u64 + 1 - position;
                self.notice(&format!("{more} more: /bans {position} lists them"));
                break;
            }
            self.reply(&line);
        }
        Ok(())
    }

    /// Returns the user who has this name or had it last, and whether they are in the chat.
    fn known_user(&self, name: &Name) -> Option<(FormerUser, bool)> {
        if let Some(user) = self.chat.find(name) {
            let (lineage, address, name) = (user.lineage, user.address, user.name());
            return Some((FormerUser { name, lineage, address, left_ms: 0 }, true));
        }
        self.chat.former_user(name).map(|user| (user, false))
    }

    fn subject_and_scope(&self, target: BanTarget<'_>) -> CommandResult<(Subject, Scope)> {
        let subject = match target {
            BanTarget::Network(network) => Subject::Network(counted(network)),
            BanTarget::Name(name) => Subject::Name(Name::parse(name)?),
        };
        Ok((subject, self.scope()?))
    }

    /// Returns the scope of a ban: the whole chat if the user is an operator of it, otherwise the
    /// current room.
    fn scope(&self) -> CommandResult<Scope> {
        if self.user.is_operator() {
            return Ok(Scope::Chat);
        }
        self.current_room().map(|(_, room)| Scope::Room(room))
    }

    /// Explains whether the ban of a name also applies to the user under other names. Explains how
    /// to ban the user's address too.
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

    /// `/penalties`: lists the penalties on this node, or ends those of the source in `pardoned`.
    pub(super) fn penalties(&mut self, pardoned: Option<&str>) -> CommandResult {
        self.require_chat_operator()?;
        let Some(source) = pardoned else {
            self.list_penalties();
            return Ok(());
        };
        let source: Source = source.parse().map_err(|error| format!("{error}"))?;
        if !self.chat.settings.sources.pardon(source) {
            let sentence = "has no penalty; /penalties lists the sources that have one";
            return Err(format!("{source} {sentence}").into());
        }
        self.audit(&format!("ended the penalties of {source}"));
        self.notice(&format!("{source} no longer has a penalty"));
        Ok(())
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
}
