//! Heartbeats and block digests, which nodes exchange outside of the stream.

use futures_util::StreamExt;
use tokio::time::{MissedTickBehavior, interval};

use super::active_connection::ActiveConnection;
use super::block_digests;
use super::connect::reason;
use super::error::DriverError;

impl ActiveConnection<'_> {
    /// Publishes heartbeats and digests, and receives those of all nodes.
    pub(super) async fn exchange_heartbeats(&self) -> DriverError {
        let driver = self.driver;
        let (heartbeat_subject, digest_subject) =
            (&driver.names.heartbeat_subject, &driver.names.digest_subject);
        let failed = |reason| DriverError::Stream { stream: heartbeat_subject.clone(), reason };
        let mut heartbeats = match self.client.subscribe(heartbeat_subject.clone()).await {
            Ok(heartbeats) => heartbeats,
            Err(error) => return failed(reason(&error)),
        };
        let mut digests = match self.client.subscribe(digest_subject.clone()).await {
            Ok(digests) => digests,
            Err(error) => return failed(reason(&error)),
        };
        let mut ticks = interval(driver.options.heartbeat_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The client would queue a heartbeat without a connection, and send it too late.
                _ = ticks.tick() => if *self.connected.borrow()
                    && let Err(reason) = self.publish_heartbeat().await
                {
                    return failed(reason);
                },
                message = digests.next() => match message {
                    Some(message) => {
                        let message = driver.verify_message(digest_subject, &message.payload);
                        message.iter().for_each(|message| self.receive_digests(message));
                    }
                    None => return DriverError::Ended { what: "the subscription to digests" },
                },
                message = heartbeats.next() => match message {
                    Some(message) => {
                        let message = driver.verify_message(heartbeat_subject, &message.payload);
                        message.iter().for_each(|beat| driver.state.receive_heartbeat(beat));
                    }
                    None => return DriverError::Ended { what: "the subscription to heartbeats" },
                },
            }
        }
    }

    async fn publish_heartbeat(&self) -> Result<(), String> {
        let names = &self.driver.names;
        let heartbeat = Some((&names.heartbeat_subject, self.driver.state.heartbeat()));
        let digests = self.digests().map(|digests| (&names.digest_subject, digests.into()));
        for (subject, message) in heartbeat.into_iter().chain(digests) {
            let message = self.driver.sign_message(subject, message);
            let published = self.client.publish(subject.clone(), message).await;
            published.map_err(|error| reason(&error))?;
        }
        Ok(())
    }

    /// Returns the encoded digests of the applied blocks.
    fn digests(&self) -> Option<String> {
        let cursor = self.driver.cursor.borrow();
        Some(block_digests::encode(cursor.created_ns?, cursor.newest_digests()))
    }

    /// Compares the digests of another node with ours. The stream's leader decides which is wrong.
    fn receive_digests(&self, message: &[u8]) {
        let Some((created_ns, digests)) = block_digests::decode(message) else { return };
        let cursor = self.driver.cursor.borrow();
        if cursor.created_ns != Some(created_ns) {
            return;
        }
        let differing = cursor.differing(&digests);
        // The first differing entry shows where the copies diverge. The stream may have dropped all
        // of them but the last.
        for &sequence in differing.first().into_iter().chain(differing.last()) {
            self.request_check(sequence);
        }
    }
}
