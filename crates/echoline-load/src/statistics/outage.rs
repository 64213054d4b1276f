//! The time that clients were without a server. Pure: time is an argument.

use std::time::Duration;

/// The time without a server, added up over all clients.
///
/// A closed loop with a duration plans only the messages that it sends, so an outage alone would
/// cause no errors. In such a run, this share of the time counts as failed messages; see
/// [`RunRecord::error_share`](super::RunRecord::error_share).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerOutage {
    /// The number of clients that were without a server when they ended.
    pub clients: u32,
    /// In a closed loop with a duration: the time that clients were without a server.
    pub time: Duration,
    /// In a closed loop with a duration: the time in which the clients should have sent messages.
    pub client_time: Duration,
}

impl ServerOutage {
    /// Returns the time without a server as a share of the clients' time, from 0 to 1; 0 if no time
    /// was counted.
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

/// Tracks whether one client has a server. Times count from the start of the run.
///
/// A server counts as present only after a connection has carried a reply. If a server accepts
/// connections and closes them at once, that is an outage.
#[derive(Clone, Debug)]
pub(crate) struct Availability {
    /// The measured time: from the end of the warm-up to the end of the plan.
    judged: (Duration, Duration),
    /// The time since which the client has no server.
    since: Option<Duration>,
    /// The end of the last connection; the start of the run before the first one.
    ended: Duration,
    /// The time at which the connection in use was opened.
    connected: Option<Duration>,
    /// Whether the last connection has carried a reply.
    replied: bool,
    /// The total time of all outages that are over.
    past: Duration,
}

impl Availability {
    pub(crate) fn new(judged: (Duration, Duration)) -> Self {
        let ended = Duration::ZERO;
        Self { judged, since: None, ended, connected: None, replied: false, past: Duration::ZERO }
    }

    /// Records that a connection was opened.
    pub(crate) fn connect(&mut self, at: Duration) {
        self.connected = Some(at);
        self.replied = false;
    }

    /// Records that a connection could not be opened. The outage began when the previous one ended.
    pub(crate) fn refuse(&mut self) {
        self.replied = false;
        self.since.get_or_insert(self.ended);
    }

    /// Records a reply.
    pub(crate) fn note_reply(&mut self) {
        self.replied = true;
    }

    /// Records that the connection ended, after a failure or because everything was sent.
    pub(crate) fn disconnect(&mut self, at: Duration, failed: bool) {
        self.recover();
        if failed && !self.replied {
            self.since.get_or_insert(at);
        }
        self.ended = at;
        self.connected = None;
    }

    /// Returns whether the last connection has carried a reply.
    pub(crate) fn has_replied(&self) -> bool {
        self.replied
    }

    /// Returns the start of the present outage.
    pub(crate) fn since(&self) -> Option<Duration> {
        self.since
    }

    /// Returns the outage of the client, which ended at `at`. If the client gave up before the end
    /// of the plan, the outage lasts until the end of the plan.
    pub(crate) fn finish(&mut self, at: Duration, gave_up: bool) -> ServerOutage {
        self.recover();
        if gave_up {
            self.since.get_or_insert(at);
        }
        let until = if gave_up { self.judged.1 } else { at };
        let open = self.since.map_or(Duration::ZERO, |since| self.judged_part(since, until));
        ServerOutage {
            clients: self.since.is_some().into(),
            time: self.past + open,
            client_time: self.judged_part(Duration::ZERO, until),
        }
    }

    /// Ends an outage at the time when the connection that carried a reply was opened.
    fn recover(&mut self) {
        if let (true, Some(connected)) = (self.replied, self.connected)
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

    fn outage(clients: u32, time: u64, client_time: u64) -> ServerOutage {
        ServerOutage { clients, time: seconds(time), client_time: seconds(client_time) }
    }

    #[test]
    fn a_client_that_is_served_has_no_outage() {
        let mut client = availability();
        client.connect(seconds(0));
        client.note_reply();
        assert_eq!(client.finish(seconds(12), false), outage(0, 0, 10));
        // A server that closes after each answer counts as present.
        let mut client = availability();
        for second in 2..9 {
            client.connect(seconds(second));
            client.note_reply();
            client.disconnect(seconds(second + 1), true);
        }
        assert_eq!(client.finish(seconds(9), false), outage(0, 0, 8));
    }

    #[test]
    fn an_outage_lasts_until_a_connection_carries_a_reply() {
        let mut client = availability();
        client.connect(seconds(0));
        client.note_reply();
        client.disconnect(seconds(3), true);
        client.refuse();
        client.refuse();
        // A connection that is accepted and closed at once is still an outage.
        client.connect(seconds(5));
        client.disconnect(seconds(5), true);
        client.connect(seconds(7));
        client.note_reply();
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
        client.note_reply();
        client.disconnect(seconds(6), true);
        assert_eq!(client.finish(seconds(6), true), outage(1, 5, 10));
        // A failure after the end of the plan is no outage.
        let mut late = availability();
        late.connect(seconds(0));
        late.note_reply();
        late.disconnect(seconds(12), true);
        assert_eq!(late.finish(seconds(12), false), outage(0, 0, 10));
    }

    #[test]
    fn outages_are_added() {
        let mut all = outage(1, 2, 10);
        all.merge(&outage(2, 3, 10));
        assert_eq!(all, outage(3, 5, 20));
        assert_eq!(all.share(), 0.25);
        assert_eq!(ServerOutage::default().share(), 0.0);
    }
}
