//! Sending proposals: each until it is known to be stored, however often that takes.

use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::connect::reason;
use super::error::BusError;
use super::life::Life;
use super::mailing::Letter;
use echoline_base::backoff::{Backoff, with_jitter};

/// Between two tries, at first and at most.
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// After this long a proposal that does not get through is a link that is down.
const STUCK: Duration = Duration::from_secs(3);
/// How many proposals are taken at once.
const TAKE_MAX: usize = 256;
/// How many are on their way at once; more of them would wait for each other until they are late.
const FLIGHTS_MAX: usize = 1024;

/// What became of a letter.
enum Sent {
    /// The stream has it at this place, from now or from before.
    Stored(u64),
    /// It has come back already, or is not wanted any more.
    Settled,
}

impl Life<'_> {
    /// Sends what is proposed, until the driver is closed and all of it is settled.
    pub(super) async fn publish(&self) -> Result<(), BusError> {
        let mut proposals = self.desk.proposals.lock().await;
        let mut closing = self.desk.closing.clone();
        let mut moved = self.moved.subscribe();
        let mut taken = Vec::with_capacity(TAKE_MAX);
        let (mut open, mut closed) = (true, false);
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let letters = self.desk.mailing.borrow_mut().all();
        let mut flights: FuturesUnordered<_> =
            letters.into_iter().map(|letter| self.send(letter)).collect();
        loop {
            tokio::select! {
                count = proposals.recv_many(&mut taken, TAKE_MAX),
                    if open && flights.len() < FLIGHTS_MAX =>
                {
                    open = count > 0;
                    for proposal in taken.drain(..) {
                        flights.push(self.send(self.desk.mailing.borrow_mut().take(proposal)));
                    }
                }
                Some((letter, sent)) = flights.next() => self.sent(letter, sent),
                _ = moved.changed() => {}
                _ = seconds.tick() => {
                    let overdue = self.desk.mailing.borrow_mut().overdue(Instant::now());
                    flights.extend(self.unsettled(overdue).map(|letter| self.send(letter)));
                }
                // Whoever closes it has proposed everything: an empty channel is the end.
                _ = closing.wait_for(|closing| *closing), if !closed => {
                    closed = true;
                    proposals.close();
                }
            }
            let applied = self.desk.follower.applied();
            let arrived = self.desk.mailing.borrow_mut().arrived(applied);
            flights.extend(self.unsettled(arrived).map(|letter| self.send(letter)));
            let pending = self.desk.mailing.borrow().len();
            self.desk.board.change(|status| status.pending = pending as u64);
            if pending == 0 {
                self.desk.stuck(false);
            }
            if pending == 0 && !open && closed {
                return Ok(());
            }
        }
    }

    /// Of those that should have come back, the ones that did not: as new messages.
    fn unsettled(&self, ids: Vec<String>) -> impl Iterator<Item = Letter> {
        let mut mailing = self.desk.mailing.borrow_mut();
        let mut letters = Vec::new();
        for id in ids {
            if self.desk.follower.is_settled(&id) {
                mailing.settle(&id);
                self.desk.board.change(|status| status.settled += 1);
            } else {
                letters.extend(mailing.again(&id));
            }
        }
        letters.into_iter()
    }

    fn sent(&self, letter: Letter, sent: Sent) {
        let mut mailing = self.desk.mailing.borrow_mut();
        match sent {
            Sent::Stored(sequence) => {
                mailing.stored(&letter.proposal.id, sequence, Instant::now());
            }
            Sent::Settled => {
                mailing.settle(&letter.proposal.id);
                self.desk.board.change(|status| status.settled += 1);
            }
        }
    }

    async fn send(&self, letter: Letter) -> (Letter, Sent) {
        let (mut tries, since) = (0, Instant::now());
        if letter.round > 0 {
            sleep(self.pause(letter.round)).await;
        }
        loop {
            self.until_connected().await;
            if self.desk.follower.is_settled(&letter.proposal.id) {
                return (letter, Sent::Settled);
            }
            self.desk.board.change(|status| {
                status.publishes += 1;
                status.retries += u64::from(tries > 0);
            });
            match self.send_once(&letter).await {
                Ok(sequence) => {
                    self.desk.stuck(false);
                    return (letter, Sent::Stored(sequence));
                }
                Err(reason) => {
                    tries += 1;
                    if since.elapsed() > STUCK {
                        self.desk.stuck(true);
                    }
                    let stream = self.desk.names.order.clone();
                    self.desk.complain(&BusError::Stream { stream, reason });
                    self.until_again(tries).await;
                }
            }
        }
    }

    async fn send_once(&self, letter: &Letter) -> Result<u64, String> {
        let message = PublishMessage::build()
            .payload(self.desk.sealed(&letter.proposal.payload)?)
            .message_id(letter.message_id());
        let publish = async {
            let subject = self.desk.names.order_subject.clone();
            self.jetstream.send_publish(subject, message).await?.await
        };
        // The client's own time-out begins only once the message is handed over.
        match timeout(self.desk.options.publish_timeout, publish).await {
            Ok(Ok(stored)) => Ok(stored.sequence),
            Ok(Err(error)) => Err(reason(&error)),
            Err(_) => Err("no acknowledgement came in time".to_owned()),
        }
    }

    /// Longer from try to try.
    fn pause(&self, tries: u32) -> Duration {
        let longest = Backoff::new(RETRY, RETRY_MAX).after(tries - 1);
        with_jitter(longest, &mut self.desk.random.borrow_mut())
    }

    /// Waits for the next try, which is at once when there is a sign that it may succeed.
    async fn until_again(&self, tries: u32) {
        let (mut connected, mut moved) = (self.connected.subscribe(), self.moved.subscribe());
        tokio::select! {
            () = sleep(self.pause(tries)) => {}
            _ = connected.changed() => {}
            _ = moved.changed() => {}
        }
    }

    pub(super) async fn until_connected(&self) {
        let mut connected = self.connected.subscribe();
        // The sender is ours: it does not go away.
        let _ = connected.wait_for(|connected| *connected).await;
    }
}
