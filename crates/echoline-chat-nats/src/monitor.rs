//! Watches the connection and the stream, and makes the reader start again if either changed.

use std::time::Duration;

use async_nats::Event;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use super::active_connection::ActiveConnection;
use super::connect::log_server;
use super::error::DriverError;
use super::stream;

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
                        // The server may have lost the consumer.
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
                    tracing::warn!("dropped messages from NATS, which came faster than we read");
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

    /// Records which server the client is connected to.
    pub(super) fn record_server(&self) {
        let info = self.client.server_info();
        self.driver.status.update(|status| {
            status.server_version = info.version;
            status.server_address = format!("{}:{}", info.host, info.port);
        });
        self.driver.set_connected(true);
    }

    /// Looks up the stream every few seconds, because a consumer is not told that the stream was
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
