//! One client of a run: opens its connections one after the other and sends its messages.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use echoline::Phase;
use echoline::transport::Stream;
use echoline_base::backoff::{Backoff, with_jitter};
use echoline_base::random::Random;
use tokio::time::{Instant, sleep_until, timeout};

use super::account::ClientAccount;
use super::datagrams::DatagramExchange;
use super::dial::{ClientSocket, describe, ports_used_up};
use super::dispatcher::ExchangeEnd;
use super::plain_socket::PlainSocket;
use super::stream::StreamExchange;
use super::worker::{LoadWorker, OpenConnection};
use crate::statistics::SkipReason;

/// The first delay before a client connects again, before jitter.
const RETRY_FIRST: Duration = Duration::from_millis(10);

/// The longest delay before a client connects again.
const RETRY_LONGEST: Duration = Duration::from_secs(1);

/// A client of a run. If it is dropped early, its account still counts every message.
#[derive(Debug)]
pub(crate) struct LoadClient {
    pub(super) account: ClientAccount,
}

impl LoadClient {
    pub(crate) fn new(worker: Arc<LoadWorker>, index: u32) -> Self {
        Self { account: ClientAccount::new(worker, index) }
    }

    /// Ends the account.
    pub(crate) fn finish(mut self, end: SkipReason) {
        self.account.end = Some(end);
    }

    /// Connects, waits for the common start, sends all messages, and reconnects if the settings
    /// say so.
    pub(crate) async fn run(mut self) {
        let settings = self.account.worker.settings();
        // If each message has its own connection, opening the connection is part of the exchange.
        let mut connects_before_start = settings.per_connection.is_none();
        let mut retry = RetryDelay::new(settings.plan.seed(), self.account.index);
        if !connects_before_start {
            self.start().await;
        }
        for number in 0.. {
            if !connects_before_start && !self.wait_until_due().await {
                return self.finish(SkipReason::Finished);
            }
            let connected = self.connect(number).await;
            if connects_before_start {
                self.start().await;
                connects_before_start = false;
            }
            let end = match connected {
                Ok((socket, open)) => match self.use_connection(socket, open).await {
                    None => {
                        retry.reset();
                        continue;
                    }
                    Some(end) => end,
                },
                Err(end) => end,
            };
            if !self.may_reconnect(end) {
                return self.finish(end);
            }
            // A server that accepts a connection, reports that it is busy and closes the connection
            // counts as missing.
            if self.account.availability.has_replied() {
                retry.reset();
            } else {
                self.pause(retry.next()).await;
            }
        }
    }

    /// Waits before the next attempt to connect, at most until the end of the plan.
    async fn pause(&self, delay: Duration) {
        let worker = &self.account.worker;
        let plan_ends = worker.context.start.at().zip(worker.settings().end());
        let mut until = Instant::now() + delay;
        if let Some((start, end)) = plan_ends {
            until = until.min(start + end);
        }
        tokio::select! {
            () = sleep_until(until) => {}
            () = worker.context.stop.reached(Phase::Draining) => {}
        }
    }

    /// Announces that the client is ready, and waits until all clients are ready or the run is
    /// stopped.
    async fn start(&self) {
        let context = &self.account.worker.context;
        context.start.arrive();
        tokio::select! {
            biased;
            _ = context.start.wait() => {}
            () = context.stop.reached(Phase::Draining) => {}
        }
    }

    /// Waits until a message is due or the run is stopped. Returns false if no message is left.
    async fn wait_until_due(&mut self) -> bool {
        let mut is_waiting = false;
        let account = &mut self.account;
        poll_fn(|cx| {
            let now = Instant::now();
            let since_start = account.since_start(now);
            let Some(due) = account.schedule.due(since_start) else {
                return Poll::Ready(false);
            };
            let start = account.worker.context.start.at().unwrap_or(now);
            if start + due <= now || !account.worker.is_running() {
                return Poll::Ready(true);
            }
            if !std::mem::replace(&mut is_waiting, true) {
                account.worker.alarm.wake_at(start + due, cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    async fn connect(&mut self, number: u64) -> Result<(ClientSocket, OpenConnection), SkipReason> {
        let account = &mut self.account;
        let worker = Arc::clone(&account.worker);
        let limit = worker.settings().timeout();
        let connected = tokio::select! {
            biased;
            () = worker.context.stop.reached(Phase::Draining) => return Err(SkipReason::Stopped),
            connected = timeout(limit, worker.context.dialer.connect(account.index, number)) => {
                connected
            }
        };
        let reason = match connected {
            Ok(Ok(connection)) => {
                account.note(|record| {
                    record.connections += 1;
                    record.connect.record(connection.connect);
                    if let Some(took) = connection.handshake {
                        record.handshake.record(took);
                    }
                });
                account.availability.connect(account.since_start(Instant::now()));
                return Ok((connection.socket, worker.note_open()));
            }
            Ok(Err(error)) => describe_connect(&worker, &error),
            Err(_) => format!("no answer within {limit:?}"),
        };
        account.failed = true;
        account.availability.refuse();
        account.note_reason(&format!("cannot connect: {reason}"));
        // A closed loop with a duration has no planned number of messages, so this counts the
        // message that the client would send now. In the other kinds of runs, every unsent message
        // of the plan is counted at the end.
        if worker.settings().is_closed_for_a_time() {
            let now = account.since_start(Instant::now());
            account.skip(1, SkipReason::NotConnected, account.is_warm_up(now));
        }
        Err(SkipReason::NotConnected)
    }

    /// Sends messages over one connection until it ends. Returns the reason why the client ends, or
    /// `None` if it continues with another connection.
    async fn use_connection(
        &mut self,
        socket: ClientSocket,
        _open: OpenConnection,
    ) -> Option<SkipReason> {
        let account = &mut self.account;
        let ended = match socket {
            ClientSocket::Stream(stream) => exchange_on(stream, account).await,
            ClientSocket::Datagrams(socket) => DatagramExchange::new(socket, account).run().await,
        };
        let end = match ended {
            ExchangeEnd::Finished(end) => Some(end),
            ExchangeEnd::Reconnect => None,
        };
        let failed = end.is_some_and(SkipReason::is_failure);
        account.availability.disconnect(account.since_start(Instant::now()), failed);
        end
    }

    /// Returns whether the client opens another connection after the last one ended for the reason
    /// `end`.
    fn may_reconnect(&self, end: SkipReason) -> bool {
        let account = &self.account;
        let settings = account.worker.settings();
        let now = account.since_start(Instant::now());
        let in_time = match settings.end() {
            Some(end) => now < end,
            None => account.schedule.remaining() > 0 && now < self.reconnect_deadline(),
        };
        end.is_failure() && in_time && settings.reconnect && account.worker.is_running()
    }

    /// Returns the time at which a client without a server gives up, if only a number of messages
    /// ends its plan. The client waits for the connect time-out, and in open loop at least until
    /// the grace period after its last planned message is over.
    fn reconnect_deadline(&self) -> Duration {
        let settings = self.account.worker.settings();
        let since = self.account.availability.since().unwrap_or(Duration::MAX);
        let planned = self.account.schedule.last_due().unwrap_or(Duration::ZERO);
        let connecting = since.saturating_add(settings.timeout());
        connecting.max(planned.saturating_add(settings.grace()))
    }
}

/// Exchanges messages on a stream until it ends. A plain socket is driven by the pool of its
/// thread.
async fn exchange_on(stream: Stream, account: &mut ClientAccount) -> ExchangeEnd {
    let table = account.worker.sockets.as_ref().filter(|_| stream.is_plain()).map(Arc::clone);
    let Some(table) = table else {
        let (ended, stream) = StreamExchange::new(stream, account).run().await;
        stream.shutdown_now();
        return ended;
    };
    let socket =
        stream.into_fd().and_then(|socket| PlainSocket::new(socket.into(), table, account.index));
    match socket {
        Ok(socket) => StreamExchange::new(socket, account).run().await.0,
        Err(error) => {
            account.note_reason(&format!("cannot watch the socket: {}", describe(&error)));
            account.failed = true;
            ExchangeEnd::Finished(SkipReason::NotConnected)
        }
    }
}

fn describe_connect(worker: &LoadWorker, error: &io::Error) -> String {
    if ports_used_up(error) {
        worker.note_ports_used_up();
    }
    describe(error)
}

/// The delays before a client connects again.
///
/// Each delay is random, between half of an upper bound and the bound. The bound doubles from 10 ms
/// up to 1 s. So clients that lost their server at the same time do not reconnect at the same time.
#[derive(Clone, Debug)]
struct RetryDelay {
    random: Random,
    backoff: Backoff,
}

impl RetryDelay {
    /// Returns the delays of one client; the same seed gives the same delays.
    fn new(seed: u64, client: u32) -> Self {
        let random = Random::of(&[seed, client.into(), 0x7265_7472_7900]);
        Self { random, backoff: Backoff::new(RETRY_FIRST, RETRY_LONGEST) }
    }

    /// Returns the delay before the next attempt.
    fn next(&mut self) -> Duration {
        with_jitter(self.backoff.next_delay(), &mut self.random)
    }

    /// Resets to the shortest delay.
    fn reset(&mut self) {
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issue 11, item 37: the delays grow, are bounded, and differ from client to client.
    #[test]
    fn regression_retries_back_off_with_jitter_from_the_seed() {
        let delays = |seed, client| {
            let mut retry = RetryDelay::new(seed, client);
            (0..20).map(|_| retry.next()).collect::<Vec<_>>()
        };
        for client in 0..100 {
            for (number, delay) in delays(1, client).into_iter().enumerate() {
                let ceiling = RETRY_LONGEST.min(RETRY_FIRST * (1 << number));
                assert!(delay >= ceiling / 2 && delay <= ceiling, "{number}: {delay:?}");
            }
        }
        assert_eq!(delays(1, 0), delays(1, 0));
        assert_ne!(delays(1, 0), delays(1, 1));
        assert_ne!(delays(1, 0), delays(2, 0));
        let mut retry = RetryDelay::new(1, 0);
        let delays: Vec<_> = (0..20).map(|_| retry.next()).collect();
        assert!(delays[19] >= RETRY_LONGEST / 2);
        retry.reset();
        assert!(retry.next() <= RETRY_FIRST);
    }
}
