//! A connection of the driver, with the state that its tasks share.

use std::cell::RefCell;
use std::collections::VecDeque;

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use tokio::sync::{Notify, watch};

use super::driver_state::DriverState;
use super::pending_checks::PendingChecks;
use echoline_chat_core::StateSnapshot;

/// A connection of the driver. All its tasks run on one thread. It lasts until the first error that
/// subscribing again does not solve.
pub(super) struct ActiveConnection<'a> {
    pub(super) driver: &'a DriverState,
    pub(super) client: Client,
    pub(super) jetstream: Context,
    /// Whether the client is connected.
    pub(super) connected: watch::Sender<bool>,
    /// Notified when the applied position changes.
    pub(super) moved: watch::Sender<()>,
    /// Notified to make the reader look up the stream and subscribe again.
    pub(super) reread: Notify,
    pub(super) checks: RefCell<PendingChecks>,
    /// Notified when a divergence check is requested.
    pub(super) check_requested: Notify,
    /// The snapshots that wait to be written, each with the time of its last entry.
    pub(super) snapshots: RefCell<VecDeque<(StateSnapshot, u64)>>,
    /// Notified when a snapshot waits to be written, or may be overdue.
    pub(super) snapshot_requested: Notify,
}

impl<'a> ActiveConnection<'a> {
    pub(super) fn new(driver: &'a DriverState, client: Client) -> Self {
        let builder = ContextBuilder::new().timeout(driver.options.publish_timeout);
        Self {
            driver,
            jetstream: builder.build(client.clone()),
            client,
            connected: watch::Sender::new(true),
            moved: watch::Sender::new(()),
            reread: Notify::new(),
            checks: RefCell::default(),
            check_requested: Notify::new(),
            snapshots: RefCell::default(),
            snapshot_requested: Notify::new(),
        }
    }

    /// Waits until the client is connected.
    pub(super) async fn until_connected(&self) {
        let mut connected = self.connected.subscribe();
        // This cannot fail, because `self` owns the sender of the channel.
        let _ = connected.wait_for(|connected| *connected).await;
    }

    /// Requests a divergence check of the block that contains this entry.
    pub(super) fn request_check(&self, sequence: u64) {
        self.checks.borrow_mut().request(sequence);
        self.check_requested.notify_one();
    }

    /// Requests a divergence check of the newest applied blocks.
    pub(super) fn request_newest_check(&self) {
        self.checks.borrow_mut().request_newest();
        self.check_requested.notify_one();
    }
}
