//! The answer to `/whois`: a public part for each user, and the rest for operators of the chat.

use std::net::IpAddr;

use crate::live_state::ChatUser;
use crate::session::Session;
use crate::shared_room::SharedRoom;
use crate::telnet::ByteStream;
use echoline_chat_core::name::Name;
use echoline_chat_core::room::MemberId;
use echoline_chat_core::room::entrance::Entrance;
use echoline_chat_core::state::bans::{Ban, Scope, network_of};
use echoline_chat_core::state::former_users::FormerUser;

/// The maximum number of bans of one user that `/whois` shows.
const BANS_SHOWN: usize = 20;

impl<S: ByteStream> Session<S> {
    /// `/whois`: shows the rooms of a user, and more to operators of the chat.
    pub(super) fn whois(&mut self, text: &str) {
        let name = Name::parse(text).ok();
        let found = name.as_ref().and_then(|name| self.chat.find(name));
        if found.is_none()
            && self.user.is_operator()
            && let Some(former) = name.and_then(|name| self.chat.former_user(&name))
        {
            return self.whois_former(&former);
        }
        // Tells the user if the name is wrong, or no user has it.
        let Some(other) = self.find_user(text) else { return };
        let name = other.name();
        let rooms = self.rooms_of(&other);
        let rooms = if rooms.is_empty() { "no room".to_owned() } else { rooms.join(", ") };
        let away = other.away().map(|words| format!("; away: {words}")).unwrap_or_default();
        self.reply(&format!("{name} is in {rooms}{away}"));
        if self.user.is_operator() {
            self.whois_for_operator(&other, &name);
        }
    }

    /// Returns the rooms of a user that this one may know of. Marks the rooms in which the user is
    /// an operator or muted.
    fn rooms_of(&self, other: &ChatUser) -> Vec<String> {
        let (lineage, sees_all) = (self.user.lineage, self.user.is_operator());
        let now_ms = self.chat.now_ms();
        let room = |(shared_room, _): (SharedRoom, MemberId)| {
            shared_room.with(|room| {
                // The membership may have ended meanwhile.
                let member_id = room.seat_of(other.session)?;
                let is_open = room.entrance(lineage) != Entrance::Invited;
                let is_known = is_open || room.seat_of(self.user.session).is_some();
                let operator = if room.is_operator(member_id) { " (operator)" } else { "" };
                let muted = room.muted_until(now_ms, other.name().key(), other.lineage);
                let muted = if sees_all && muted.is_some() { " (muted)" } else { "" };
                (is_known || sees_all).then(|| format!("{}{operator}{muted}", room.name))
            })
        };
        let mut rooms: Vec<String> = other.memberships().into_iter().filter_map(room).collect();
        rooms.sort_unstable();
        rooms
    }

    fn whois_for_operator(&mut self, other: &ChatUser, name: &Name) {
        let since = (self.chat.settings.moment)(other.since_ms);
        let operator = if other.is_operator() { ", an operator of the chat" } else { "" };
        let token = match self.chat.has_token(other.lineage) {
            true => "with a resume token",
            false => "without a resume token",
        };
        let from = self.origin(other.address, other.lineage);
        self.reply(&format!("{name} has been here since {since}{operator}, {token}, {from}"));
        for ban in self.chat.bans_of(other).iter().take(BANS_SHOWN) {
            self.reply(&format!("{name} is banned from {}", self.ban_in_words(ban)));
        }
    }

    fn whois_former(&mut self, former: &FormerUser) {
        let left = (self.chat.settings.moment)(former.left_ms);
        let from = self.origin(former.address, former.lineage);
        self.reply(&format!("{} left at {left}, {from}", former.name));
    }

    /// Returns the address of a user, and the number of others who share it, because a ban of the
    /// address applies to them too.
    pub(super) fn origin(&self, address: Option<IpAddr>, lineage: u64) -> String {
        let Some(address) = address else { return "from no known address".to_owned() };
        let network = network_of(address);
        let others = self.chat.people_from(network, lineage);
        let counted = match address.to_canonical() {
            IpAddr::V6(_) => format!(" (counted as {network})"),
            IpAddr::V4(_) => String::new(),
        };
        let address = address.to_canonical();
        match others {
            0 => format!("from {address}{counted}, used by no other user here"),
            1 => format!("from {address}{counted}, also used by 1 other user here"),
            others => {
                format!("from {address}{counted}, also used by {others} other users here")
            }
        }
    }

    fn ban_in_words(&self, ban: &Ban) -> String {
        let place = match &ban.scope {
            Scope::Chat => "the chat",
            Scope::Room(room) => room.as_str(),
        };
        format!("{place}, as {}", ban.subject)
    }
}
