//! A bus in memory between several machines of one chat: it delays, it takes some things twice, it
//! loses sight of machines; what it never does is to give two machines two orders.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use echoline::chat::{ClusterOptions, Entry, Follower, Hall, Link, OnLoss, Proposal, Settings};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::random::Random;

/// Seconds between two pulses of a machine.
const PULSE_SECONDS: u64 = 3;

/// What goes wrong between a machine and the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// The machine knows that it has no connection.
    Cut,
    /// It has one, but nothing is taken and nothing comes: the bus has lost its majority.
    Frozen,
    /// The machine itself stands still, and its people's connections with it.
    Stopped,
}

/// The order that all machines share.
#[derive(Debug)]
pub(crate) struct Bus {
    clock: fn() -> u64,
    state: Mutex<State>,
    /// How many entries there are.
    length: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    ids: HashSet<String>,
}

/// One machine on the bus.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) hall: Arc<Hall>,
    trouble: watch::Sender<Trouble>,
}

impl Bus {
    /// So many machines, which work until the runtime ends.
    pub(crate) fn machines(
        count: usize,
        settings: &Settings,
        on_loss: OnLoss,
        random: &mut Random,
    ) -> (Arc<Self>, Vec<Machine>) {
        let state = Mutex::default();
        let bus = Arc::new(Self { clock: settings.clock, state, length: watch::Sender::new(0) });
        let machine = |number: usize| {
            let options = ClusterOptions {
                cluster: "test".into(),
                machine: format!("m{number}"),
                on_loss,
                node: 1000 * (number as u32 + 1),
            };
            let (hall, proposals) = Hall::clustered(settings.clone(), options);
            let machine = Machine { hall, trouble: watch::Sender::new(Trouble::None) };
            tokio::spawn(send(Arc::clone(&bus), machine.clone(), proposals, random.fork()));
            tokio::spawn(follow(Arc::clone(&bus), machine.clone(), random.fork()));
            machine
        };
        let machines: Vec<Machine> = (0..count).map(machine).collect();
        tokio::spawn(beat(machines.clone()));
        (bus, machines)
    }

    /// All entries so far.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.state.lock().unwrap().entries.clone()
    }

    fn take(&self, proposal: &Proposal, is_again: bool) {
        let mut state = self.state.lock().unwrap();
        if !state.ids.insert(proposal.id.clone()) && !is_again {
            return;
        }
        let sequence = state.entries.len() as u64 + 1;
        let payload = proposal.payload.clone();
        state.entries.push(Entry { sequence, time_ms: (self.clock)(), payload });
        self.length.send_replace(sequence);
    }
}

impl Machine {
    /// Something goes wrong for so long.
    pub(crate) async fn suffer(&self, trouble: Trouble, length: Duration) {
        self.trouble.send_replace(trouble);
        if trouble == Trouble::Cut {
            self.hall.link(Link::Down);
        }
        sleep(length).await;
        self.trouble.send_replace(Trouble::None);
        if trouble == Trouble::Cut {
            self.hall.link(Link::Up);
        }
    }

    async fn until_well(&self) {
        let mut trouble = self.trouble.subscribe();
        trouble.wait_for(|trouble| *trouble == Trouble::None).await.expect("it lasts");
    }

    fn is_well(&self) -> bool {
        *self.trouble.borrow() == Trouble::None
    }
}

/// Takes what a machine proposes, each after a while of its own, some of it twice.
async fn send(
    bus: Arc<Bus>,
    machine: Machine,
    mut proposals: UnboundedReceiver<Proposal>,
    mut random: Random,
) {
    while let Some(proposal) = proposals.recv().await {
        let (bus, machine, mut random) = (Arc::clone(&bus), machine.clone(), random.fork());
        tokio::spawn(async move {
            sleep(random.millis(8)).await;
            machine.until_well().await;
            bus.take(&proposal, false);
            if random.chance(10) {
                // Its acknowledgement was lost, and its name forgotten.
                sleep(random.millis(200)).await;
                bus.take(&proposal, true);
            }
        });
    }
}

/// Gives a machine the entries, some at a time.
async fn follow(bus: Arc<Bus>, machine: Machine, mut random: Random) {
    let mut length = bus.length.subscribe();
    loop {
        let applied = machine.hall.applied();
        length.wait_for(|length| *length > applied).await.expect("the bus lasts");
        sleep(random.millis(8)).await;
        machine.until_well().await;
        let entries = bus.entries();
        let from = applied as usize;
        let count = 1 + random.below(entries.len() - from);
        machine.hall.apply(&entries[from..from + count]);
    }
}

/// Ticks and pulses.
async fn beat(machines: Vec<Machine>) {
    let mut next = Instant::now();
    for second in 0_u64.. {
        next += Duration::from_secs(1);
        sleep_until(next).await;
        for machine in &machines {
            let trouble = *machine.trouble.borrow();
            if trouble != Trouble::Stopped {
                machine.hall.tick();
            }
            if second.is_multiple_of(PULSE_SECONDS) && machine.is_well() {
                let pulse = machine.hall.pulse();
                let others = machines.iter().filter(|other| other.is_well());
                others.for_each(|other| other.hall.heard(&pulse));
            }
        }
    }
}
