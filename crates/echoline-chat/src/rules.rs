//! What a chat allows and may change while it runs: for who comes, and for what is done, from then
//! on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::flood::FloodLimits;
use super::settings::Settings;
use super::state::Chat;
use echoline_base::SecretText;
use echoline_base::poison::IgnorePoison;

/// The part of [`Settings`] that can change; see there.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) max_rooms: usize,
    pub(super) max_rooms_per_ip: usize,
    pub(super) replay: u64,
    pub(super) login_timeout: Duration,
    pub(super) flood: Option<FloodLimits>,
    pub(super) idle_when_full: Option<Duration>,
    pub(super) operator_password: Option<SecretText>,
}

impl From<&Settings> for Rules {
    fn from(settings: &Settings) -> Self {
        Self {
            max_rooms: settings.max_rooms,
            max_rooms_per_ip: settings.max_rooms_per_ip,
            replay: settings.replay,
            login_timeout: settings.login_timeout,
            flood: settings.flood,
            idle_when_full: settings.idle_when_full,
            operator_password: settings.operator_password.clone(),
        }
    }
}

/// The rules as they are now.
pub(super) struct LiveRules(Mutex<Arc<Rules>>);

impl LiveRules {
    pub(super) fn new(settings: &Settings) -> Self {
        Self(Mutex::new(Arc::new(settings.into())))
    }
}

impl std::fmt::Debug for LiveRules {
    // There is a password in them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LiveRules")
    }
}

impl Chat {
    /// Takes over from `settings` what may change while the chat runs: how many rooms there may be,
    /// what newcomers see, how long they may take, how fast people may write (who is in keeps the
    /// pace with which they came), and the operators' password (who is one stays one).
    pub fn renew(&self, settings: &Settings) {
        *self.rules.0.lock().ignore_poison() = Arc::new(settings.into());
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.0.lock().ignore_poison())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_takes_over_what_may_change() {
        let chat = Chat::new(Settings::default());
        assert!(chat.rules().operator_password.is_none());
        let new = Settings {
            max_rooms: 7,
            max_rooms_per_ip: 2,
            replay: 3,
            login_timeout: Duration::from_secs(1),
            flood: None,
            operator_password: Some("open sesame".into()),
            ..Settings::default()
        };
        chat.renew(&new);
        let rules = chat.rules();
        assert_eq!((rules.max_rooms, rules.max_rooms_per_ip, rules.replay), (7, 2, 3));
        assert_eq!((rules.login_timeout, rules.flood), (Duration::from_secs(1), None));
        assert_eq!(rules.operator_password.as_ref().map(SecretText::reveal), Some("open sesame"));
        assert!(!format!("{chat:?}").contains("sesame"), "a password is in no log");
    }
}
