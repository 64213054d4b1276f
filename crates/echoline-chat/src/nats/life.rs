//! One connection of the driver, from connecting to the first error that is not mended by reading
//! on: then everything begins again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Client, Event};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, watch};

use super::super::follower::Snapshot;
use super::connect::{connect, introduce};
use super::desk::Desk;
use super::doubt::{self, Doubts};
use super::error::BusError;
use super::order;

/// Between two looks at the stream.
const WATCH_INTERVAL: Duration = Duration::from_secs(3);

/// What the parts of the driver share while there is a connection.
pub(super) struct Life<'a> {
    pub(super) desk: &'a Desk,
    pub(super) client: Client,
    pub(super) jetstream: Context,
    pub(super) connected: watch::Sender<bool>,
    /// Changes whenever the chat's place in the order does.
    pub(super) moved: watch::Sender<()>,
    /// The order has to be looked at, and read from where we are.
    pub(super) look: Notify,
    /// What we have has to be compared with the stream.
    pub(super) doubted: Notify,
    pub(super) doubts: RefCell<Doubts>,
    /// Whether several servers keep the stream, and which one led it when we began to read.
    pub(super) is_clustered: Cell<bool>,
    pub(super) leader: RefCell<Option<String>>,
    /// A snapshot is to be written, or it is to be found out whether one is.
    pub(super) snapshot: Notify,
    /// Those that are to be written, with the time of their last entry.
    pub(super) waiting: RefCell<VecDeque<(Snapshot, u64)>>,
}

/// Connects and drives the follower until something ends that. It ends well when the driver is
/// closed and everything is sent.
pub(super) async fn live(desk: &Desk) -> Result<(), BusError> {
    let (client, events) = connect(&desk.options, &desk.names).await?;
    introduce(&client);
    let jetstream =
        ContextBuilder::new().timeout(desk.options.publish_timeout).build(client.clone());
    let life = Life {
        desk,
        client,
        jetstream,
        connected: watch::Sender::new(true),
        moved: watch::Sender::new(()),
        look: Notify::new(),
        doubted: Notify::new(),
        doubts: RefCell::default(),
        is_clustered: Cell::new(false),
        leader: RefCell::default(),
        snapshot: Notify::new(),
        waiting: RefCell::default(),
    };
    life.here();
    tokio::select! {
        published = life.publish() => published,
        error = life.hear(events) => Err(error),
        error = life.read() => Err(error),
        error = life.watch() => Err(error),
        error = life.pulse() => Err(error),
        error = life.verify() => Err(error),
        error = life.keep_snapshots() => Err(error),
    }
}

impl Life<'_> {
    /// What the client tells about its connection.
    async fn hear(&self, mut events: UnboundedReceiver<Event>) -> BusError {
        while let Some(event) = events.recv().await {
            match event {
                Event::Connected => {
                    if !self.connected.send_replace(true) {
                        self.desk.board.change(|status| status.reconnects += 1);
                        introduce(&self.client);
                        // The server may have forgotten who reads.
                        self.look.notify_one();
                    }
                    self.here();
                }
                Event::Disconnected => {
                    tracing::warn!("the connection to NATS is lost");
                    self.connected.send_replace(false);
                    self.desk.connected(false);
                }
                Event::SlowConsumer(_) => {
                    tracing::warn!("messages from NATS came faster than they were read");
                    self.desk.board.change(|status| status.slow_consumers += 1);
                    self.look.notify_one();
                }
                Event::LameDuckMode => tracing::warn!("the NATS server is about to stop"),
                Event::Closed | Event::Draining => break,
                Event::ServerError(_) | Event::ClientError(_) => tracing::warn!("NATS: {event}"),
            }
        }
        BusError::Ended { what: "the connection to NATS" }
    }

    fn here(&self) {
        let info = self.client.server_info();
        self.desk.board.change(|status| {
            status.server_version = info.version;
            status.server_address = format!("{}:{}", info.host, info.port);
        });
        self.desk.connected(true);
    }

    /// Notices that the stream was removed or made anew, which no reader is told of.
    /// The same for another leader, which may have lost what the last one acknowledged.
    async fn watch(&self) -> BusError {
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            if !*self.connected.borrow() {
                continue;
            }
            let Ok(found) = order::look(&self.jetstream, &self.desk.names).await else { continue };
            let known = self.desk.place.borrow().created_ns;
            let is_ours = found.is_some_and(|info| {
                let leads = doubt::leader(&info);
                let is_another = leads.is_some() && leads != self.leader.borrow().as_deref();
                let last = info.state.last_sequence;
                self.desk.board.change(|status| status.last_sequence = last);
                !is_another
                    && known.is_none_or(|known| known == info.created.unix_timestamp_nanos())
                    && last >= self.desk.follower.applied()
            });
            if !is_ours {
                self.look.notify_one();
            }
        }
    }
}
