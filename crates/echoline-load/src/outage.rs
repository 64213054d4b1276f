//! The time that clients were without a server. Pure: time is an argument.

use std::time::Duration;

/// The time that clients were without a server, added up over all clients.
///
/// A closed loop for a time has no plan beyond the messages that it sends, so a server that is gone
/// would cost it nothing. There this share of the time counts as failed messages: see
/// [`Record::error_share`](super::Record::error_share).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outage {
    /// Clients that were without a server when they ended.
    pub clients: u32,
    /// Closed loop for a time: the time that clients were without a server.
    pub time: Duration,
    /// Closed loop for a time: the time that all clients were to send.
    pub client_time: Duration,
}

impl Outage {
    /// The share of the clients' time, from 0 to 1; 0 if no time was counted.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.client_time.is_zero() {
            return 0.0;
        }
        (self.time.as_secs_f64() / self.client_time.as_secs_f64()).min(1.0)
    }

    /// Adds the outage of another client, worker or machine.
    pub fn merge(&mut self, other: &Self) {
        self.clients += other.clients;
        self.time += other.time;
        self.client_time += other.client_time;
    }
}

/// Follows whether one client has a server. Times count from the start of the run.
///
/// A connection counts as a server only when a message was answered over it, so a server that
/// accepts and closes at once is none.
#[derive(Clone, Debug)]
pub(super) struct Availability {
    /// The time that is judged: after the warm-up, until the end of the plan.
    judged: (Duration, Duration),
    /// The time since which the client has no server.
    since: Option<Duration>,
    /// When the last connection ended; the start of the run before the first.
    ended: Duration,
    /// When the connection in use was opened.
    connected: Option<Duration>,
    /// A message was answered over the last connection.
    answered: bool,
    /// Time without a server that is over.
    past: Duration,
}

impl Availability {
    pub(super) fn new(judged: (Duration, Duration)) -> Self {
        let ended = Duration::ZERO;
        Self { judged, since: None, ended, connected: None, answered: false, past: Duration::ZERO }
    }

    /// A connection was opened.
    pub(super) fn connect(&mut self, at: Duration) {
        self.connected = Some(at);
        self.answered = false;
    }

    /// A connection could not be opened: the outage began when the one before ended.
    pub(super) fn refuse(&mut self) {
        self.answered = false;
        self.since.get_or_insert(self.ended);
    }

    /// A message was answered.
    pub(super) fn answer(&mut self) {
        self.answered = true;
    }

    /// The connection ended, after a failure or because all was sent.
    pub(super) fn disconnect(&mut self, at: Duration, failed: bool) {
        self.recover();
        if failed && !self.answered {
            self.since.get_or_insert(at);
        }
        self.ended = at;
        self.connected = None;
    }

    /// Whether a message was answered over the last connection.
    pub(super) fn has_answered(&self) -> bool {
        self.answered
    }

    /// Returns the time since which there is no server.
    pub(super) fn since(&self) -> Option<Duration> {
        self.since
    }

    /// Ends the account. A client that gave up before the end of the plan has no server until then.
    pub(super) fn finish(&mut self, at: Duration, gave_up: bool) -> Outage {
        self.recover();
        if gave_up {
            self.since.get_or_insert(at);
        }
        let until = if gave_up { self.judged.1 } else { at };
        let open = self.since.map_or(Duration::ZERO, |since| self.judged_part(since, until));
        Outage {
            clients: self.since.is_some().into(),
            time: self.past + open,
            client_time: self.judged_part(Duration::ZERO, until),
        }
    }

    /// The outage ended when the connection was opened over which a message was answered.
    fn recover(&mut self) {
        if let (true, Some(connected)) = (self.answered, self.connected)
            && let Some(since) = self.since.take()
        {
            self.past += self.judged_part(since, connected);
        }
    }

    fn judged_part(&self, from: Duration, until: Duration) -> Duration {
        until.min(self.judged.1).saturating_sub(from.max(self.judged.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn availability() -> Availability {
        Availability::new((seconds(1), seconds(11)))
    }

    fn outage(clients: u32, time: u64, client_time: u64) -> Outage {
        Outage { clients, time: seconds(time), client_time: seconds(client_time) }
    }

    #[test]
    fn a_client_that_is_served_has_no_outage() {
        let mut client = availability();
        client.connect(seconds(0));
        client.answer();
        assert_eq!(client.finish(seconds(12), false), outage(0, 0, 10));
        // A server that closes after each answer is there all the time.
        let mut client = availability();
        for second in 2..9 {
            client.connect(seconds(second));
            client.answer();
            client.disconnect(seconds(second + 1), true);
        }
        assert_eq!(client.finish(seconds(9), false), outage(0, 0, 8));
    }

    #[test]
    fn an_outage_lasts_from_the_end_of_a_connection_to_the_next_that_is_answered() {
        let mut client = availability();
        client.connect(seconds(0));
        client.answer();
        client.disconnect(seconds(3), true);
        client.refuse();
        client.refuse();
        // Accepted and closed: no server yet.
        client.connect(seconds(5));
        client.disconnect(seconds(5), true);
        client.connect(seconds(7));
        client.answer();
        assert_eq!(client.finish(seconds(11), false), outage(0, 4, 10));
        let mut refused = availability();
        refused.refuse();
        assert_eq!(refused.since(), Some(seconds(0)));
        assert_eq!(refused.finish(seconds(11), false), outage(1, 10, 10));
        assert_eq!(refused.finish(seconds(11), false).share(), 1.0);
    }

    #[test]
    fn a_client_that_gives_up_has_no_server_until_the_end_of_the_plan() {
        let mut client = availability();
        client.connect(seconds(0));
        client.answer();
        client.disconnect(seconds(6), true);
        assert_eq!(client.finish(seconds(6), true), outage(1, 5, 10));
        // A failure after the end of the plan is none of a server that is gone.
        let mut late = availability();
        late.connect(seconds(0));
        late.answer();
        late.disconnect(seconds(12), true);
        assert_eq!(late.finish(seconds(12), false), outage(0, 0, 10));
    }

    #[test]
    fn outages_are_added() {
        let mut all = outage(1, 2, 10);
        all.merge(&outage(2, 3, 10));
        assert_eq!(all, outage(3, 5, 20));
        assert_eq!(all.share(), 0.25);
        assert_eq!(Outage::default().share(), 0.0);
    }
}
