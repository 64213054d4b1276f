//! Watches the connection and the stream, and exchanges heartbeats and digests.

use std::time::Duration;

use async_nats::Event;
use futures_util::StreamExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::active_connection::ActiveConnection;
use super::connect::{log_server, reason};
use super::error::DriverError;
use super::{block_digests, stream};

/// The interval between two lookups of the stream.
const WATCH_INTERVAL: Duration = Duration::from_secs(3);

impl ActiveConnection<'_> {
    /// Handles the client's events until the connection is closed.
    pub(super) async fn handle_events(&self, mut events: UnboundedReceiver<Event>) -> DriverError {
        while let Some(event) = events.recv().await {
            match event {
                Event::Connected => {
                    if !self.connected.send_replace(true) {
                        self.driver.status.update(|status| status.reconnects += 1);
                        log_server(&self.client);
                        // The server may have lost the consumer, so the reader subscribes again.
                        self.reread.notify_one();
                    }
                    self.record_server();
                }
                Event::Disconnected => {
                    tracing::warn!("lost the connection to NATS");
                    self.connected.send_replace(false);
                    self.driver.set_connected(false);
                }
                Event::SlowConsumer(_) => {
                    tracing::warn!(
                        "dropped messages from NATS: they arrived faster than this node reads them"
                    );
                    self.driver.status.update(|status| status.slow_consumers += 1);
                    self.reread.notify_one();
                }
                Event::LameDuckMode => tracing::warn!("the NATS server is about to stop"),
                Event::Closed | Event::Draining => break,
                Event::ServerError(_) | Event::ClientError(_) => tracing::warn!("NATS: {event}"),
            }
        }
        DriverError::Ended { what: "the connection to NATS" }
    }

    /// Records the server to which the client is connected.
    pub(super) fn record_server(&self) {
        let info = self.client.server_info();
        self.driver.status.update(|status| {
            status.server_version = info.version;
            status.server_address = format!("{}:{}", info.host, info.port);
        });
        self.driver.set_connected(true);
    }

    /// Looks up the stream every few seconds, because a consumer is not notified if the stream is
    /// removed or replaced.
    pub(super) async fn watch_stream(&self) -> DriverError {
        loop {
            sleep(WATCH_INTERVAL).await;
            if !*self.connected.borrow() {
                continue;
            }
            let found = stream::look_up(&self.jetstream, &self.driver.names).await;
            let Ok(found) = found else { continue };
            let known = self.driver.cursor.borrow().created_ns;
            let is_followed = found.is_some_and(|info| {
                let last = info.state.last_sequence;
                self.driver.status.update(|status| status.last_sequence = last);
                known.is_none_or(|known| known == info.created.unix_timestamp_nanos())
                    && last >= self.driver.state.applied()
            });
            if !is_followed {
                self.reread.notify_one();
            }
        }
    }
}

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
                // Without a connection, the client would queue the heartbeat and send it too late.
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

    /// Compares the digests of another node with those of this node. If they differ, the stream's
    /// leader decides which node is wrong.
    fn receive_digests(&self, message: &[u8]) {
        let Some((created_ns, digests)) = block_digests::decode(message) else { return };
        let cursor = self.driver.cursor.borrow();
        if cursor.created_ns != Some(created_ns) {
            return;
        }
        let differing = cursor.differing(&digests);
        // The first differing block shows where the copies diverge. The stream may have dropped all
        // differing blocks except the last one.
        for &sequence in differing.first().into_iter().chain(differing.last()) {
            self.request_check(sequence);
        }
    }
}
