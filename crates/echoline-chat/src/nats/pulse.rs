//! What the machines of a chat tell each other outside of the order.

use futures_util::StreamExt;
use tokio::time::{MissedTickBehavior, interval};

use super::connect::reason;
use super::error::BusError;
use super::life::Life;

impl Life<'_> {
    /// Tells and hears pulses.
    pub(super) async fn pulse(&self) -> BusError {
        let desk = self.desk;
        let subject = &desk.names.pulse_subject;
        let failed = |reason| BusError::Stream { stream: subject.clone(), reason };
        let mut pulses = match self.client.subscribe(subject.clone()).await {
            Ok(pulses) => pulses,
            Err(error) => return failed(reason(&error)),
        };
        let told = &desk.names.digest_subject;
        let mut digests = match self.client.subscribe(told.clone()).await {
            Ok(digests) => digests,
            Err(error) => return failed(reason(&error)),
        };
        let mut ticks = interval(desk.options.pulse_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Without a connection a pulse would wait, and tell what is not so any more.
                _ = ticks.tick() => if *self.connected.borrow() {
                    let pulse = desk.follower.pulse();
                    let digests = self.checkpoints().map(|digests| (told, digests.into()));
                    for (subject, words) in [(subject, pulse)].into_iter().chain(digests) {
                        let words = desk.sealed_message(subject, words);
                        if let Err(error) = self.client.publish(subject.clone(), words).await {
                            return failed(reason(&error));
                        }
                    }
                },
                digests = digests.next() => match digests {
                    Some(digests) => {
                        let digests = desk.opened_message(told, &digests.payload);
                        digests.iter().for_each(|digests| self.hear_checkpoints(digests));
                    }
                    None => return BusError::Ended { what: "the reader of digests" },
                },
                pulse = pulses.next() => match pulse {
                    Some(pulse) => {
                        let pulse = desk.opened_message(subject, &pulse.payload);
                        pulse.iter().for_each(|pulse| desk.follower.heard(pulse));
                    }
                    None => return BusError::Ended { what: "the reader of pulses" },
                },
            }
        }
    }
}
