//! The settings of a chat that can change while it runs. A change applies to later logins and
//! operations.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::settings::ChatSettings;
use echoline_base::SecretText;
use echoline_base::poison::IgnorePoison;
use echoline_chat_core::flood::FloodLimits;

/// The part of [`ChatSettings`] that can change at run time.
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

impl From<&ChatSettings> for Rules {
    fn from(settings: &ChatSettings) -> Self {
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

/// The current rules.
pub(super) struct LiveRules(Mutex<Arc<Rules>>);

impl LiveRules {
    pub(super) fn new(settings: &ChatSettings) -> Self {
        Self(Mutex::new(Arc::new(settings.into())))
    }

    pub(super) fn set(&self, settings: &ChatSettings) {
        *self.0.lock().ignore_poison() = Arc::new(settings.into());
    }

    pub(super) fn get(&self) -> Arc<Rules> {
        Arc::clone(&self.0.lock().ignore_poison())
    }
}

impl std::fmt::Debug for LiveRules {
    // The rules contain a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LiveRules")
    }
}
