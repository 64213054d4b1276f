//! `/penalties`: the sources that are refused now, for operators of the chat.

use super::{Step, UserSession};
use echoline::Source;

/// Penalties that are listed.
const LISTED_MAX: usize = 50;

impl UserSession {
    /// Lists the penalties of this node; or ends those of the source that `pardoned` names.
    pub(super) fn penalties(&mut self, pardoned: Option<&str>) -> Step {
        if !self.user.is_operator() {
            self.notice("Only an operator of the whole chat can do that (/oper PASSWORD)");
            return Step::Done;
        }
        match pardoned.map(str::parse::<Source>) {
            None => self.list_penalties(),
            Some(Ok(source)) => self.end_penalties(source),
            Some(Err(error)) => self.notice(&error.to_string()),
        }
        Step::Done
    }

    fn list_penalties(&mut self) {
        let sources = &self.chat.settings.sources;
        let (_, count) = sources.counts();
        let listed = sources.penalised(LISTED_MAX);
        if listed.is_empty() {
            self.notice("No source has a penalty");
        }
        let sources_listed = listed.iter().map(|penalty| penalty.source);
        let more =
            count.saturating_sub(sources_listed.collect::<std::collections::HashSet<_>>().len());
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
            self.notice(&format!("{source} has no penalty any more"));
        } else {
            self.notice(&format!(
                "{source} has no penalty; /penalties lists the sources that have"
            ));
        }
    }
}
