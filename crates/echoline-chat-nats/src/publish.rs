//! Publishes each proposal until it is settled.

use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::active_connection::ActiveConnection;
use super::connect::reason;
use super::error::DriverError;
use super::in_flight::InFlightPublish;
use echoline_base::backoff::{Backoff, with_jitter};

/// The shortest and the longest pause between two attempts.
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// If a publish has failed for this time, the link counts as down.
const STUCK: Duration = Duration::from_secs(3);
/// The maximum number of proposals that are taken from the channel at once.
const TAKE_MAX: usize = 256;
/// The maximum number of concurrent publishes. More would only wait for each other until they time
/// out.
const CONCURRENT_MAX: usize = 1024;

/// The outcome of publishing a proposal.
enum PublishOutcome {
    /// The stream has the proposal as the entry with this sequence, from this or an earlier
    /// attempt.
    Acknowledged(u64),
    /// The proposal no longer needs to be published.
    Settled,
}

impl ActiveConnection<'_> {
    /// Publishes proposals until the driver is closed and all of them are settled.
    pub(super) async fn publish(&self) -> Result<(), DriverError> {
        let driver = self.driver;
        let mut proposals = driver.proposals.lock().await;
        let mut closing = driver.closing.clone();
        let mut moved = self.moved.subscribe();
        let mut taken = Vec::with_capacity(TAKE_MAX);
        let (mut is_open, mut is_closing) = (true, false);
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let earlier = driver.in_flight.borrow_mut().restart();
        let mut sending: FuturesUnordered<_> =
            earlier.into_iter().map(|publish| self.send(publish)).collect();
        loop {
            tokio::select! {
                count = proposals.recv_many(&mut taken, TAKE_MAX),
                    if is_open && sending.len() < CONCURRENT_MAX =>
                {
                    is_open = count > 0;
                    for proposal in taken.drain(..) {
                        sending.push(self.send(driver.in_flight.borrow_mut().add(proposal)));
                    }
                }
                Some((publish, outcome)) = sending.next() => self.sent(publish, outcome),
                _ = moved.changed() => {}
                _ = seconds.tick() => {
                    let overdue = driver.in_flight.borrow_mut().take_overdue(Instant::now());
                    sending.extend(self.unsettled(overdue).map(|publish| self.send(publish)));
                }
                // All proposals were sent to the channel before the driver was closed. The channel
                // ends after them.
                _ = closing.wait_for(|closing| *closing), if !is_closing => {
                    is_closing = true;
                    proposals.close();
                }
            }
            let arrived = driver.in_flight.borrow_mut().take_arrived(driver.state.applied());
            sending.extend(self.unsettled(arrived).map(|publish| self.send(publish)));
            let pending = driver.in_flight.borrow().len();
            driver.status.update(|status| status.pending = pending as u64);
            if pending == 0 {
                driver.set_stuck(false);
            }
            if pending == 0 && !is_open && is_closing {
                return Ok(());
            }
        }
    }

    /// Removes the settled proposals. The entries of all other proposals are lost, so new messages
    /// for them are returned.
    fn unsettled(&self, ids: Vec<String>) -> impl Iterator<Item = InFlightPublish> {
        let mut in_flight = self.driver.in_flight.borrow_mut();
        let mut lost = Vec::new();
        for id in ids {
            if self.driver.state.is_settled(&id) {
                in_flight.settle(&id);
                self.driver.status.update(|status| status.settled += 1);
            } else {
                lost.extend(in_flight.next_round(&id));
            }
        }
        lost.into_iter()
    }

    fn sent(&self, publish: InFlightPublish, outcome: PublishOutcome) {
        let mut in_flight = self.driver.in_flight.borrow_mut();
        match outcome {
            PublishOutcome::Acknowledged(sequence) => {
                in_flight.acknowledge(&publish.proposal.id, sequence, Instant::now());
            }
            PublishOutcome::Settled => {
                in_flight.settle(&publish.proposal.id);
                self.driver.status.update(|status| status.settled += 1);
            }
        }
    }

    /// Publishes a message until it is acknowledged, or until the proposal is settled.
    async fn send(&self, publish: InFlightPublish) -> (InFlightPublish, PublishOutcome) {
        let (driver, mut tries, since) = (self.driver, 0, Instant::now());
        if publish.round > 0 {
            sleep(self.pause(publish.round)).await;
        }
        loop {
            self.until_connected().await;
            if driver.state.is_settled(&publish.proposal.id) {
                return (publish, PublishOutcome::Settled);
            }
            driver.status.update(|status| {
                status.publishes += 1;
                status.retries += u64::from(tries > 0);
            });
            match self.send_once(&publish).await {
                Ok(sequence) => {
                    driver.set_stuck(false);
                    return (publish, PublishOutcome::Acknowledged(sequence));
                }
                Err(reason) => {
                    tries += 1;
                    if since.elapsed() > STUCK {
                        driver.set_stuck(true);
                    }
                    driver.log_throttled(&driver.stream_error(reason));
                    self.until_retry(tries).await;
                }
            }
        }
    }

    /// Publishes the message once. Returns the sequence of its entry.
    async fn send_once(&self, publish: &InFlightPublish) -> Result<u64, String> {
        let message = PublishMessage::build()
            .payload(self.driver.sign_entry(&publish.proposal.payload)?)
            .message_id(publish.message_id());
        let acknowledged = async {
            let subject = self.driver.names.entry_subject.clone();
            self.jetstream.send_publish(subject, message).await?.await
        };
        // The client's own time-out starts only after the message was handed over, so another
        // time-out is needed.
        match timeout(self.driver.options.publish_timeout, acknowledged).await {
            Ok(Ok(acknowledgement)) => Ok(acknowledgement.sequence),
            Ok(Err(error)) => Err(reason(&error)),
            Err(_) => Err("no acknowledgement came in time".to_owned()),
        }
    }

    /// Returns the pause after `tries` attempts. It grows exponentially and is randomized.
    fn pause(&self, tries: u32) -> Duration {
        let longest = Backoff::new(RETRY, RETRY_MAX).after(tries - 1);
        with_jitter(longest, &mut self.driver.random.borrow_mut())
    }

    /// Waits until the next attempt. A new connection or a new entry ends the wait early, because
    /// the attempt may then succeed.
    async fn until_retry(&self, tries: u32) {
        let (mut connected, mut moved) = (self.connected.subscribe(), self.moved.subscribe());
        tokio::select! {
            () = sleep(self.pause(tries)) => {}
            _ = connected.changed() => {}
            _ = moved.changed() => {}
        }
    }
}
