//! The datagram server: receives datagrams, and sends back the answers of a function.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::batch::{AddressFamily, BATCH, DatagramBatch};
use super::counters::DatagramCounts;
use super::guard::{DatagramGuard, DatagramRules};
use super::socket::DatagramListener;
use super::socket_faults::{DelayedDatagram, SocketFaults};
use crate::listener::address::Address;
use crate::server::shutdown::{Phase, Shutdown};
use crate::timer::precise::{Timer, exactly};
use crate::transport::fault::{Direction, Faults};

/// The maximum time for which a draining server continues to answer datagrams, so that a flood
/// cannot prolong the drain.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause after a failed read of a socket.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// The answer to a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramAnswer {
    /// The datagram's own bytes.
    Same,
    /// The bytes that were appended to the answer buffer.
    Written,
    /// No answer.
    Nothing,
}

/// A server for UDP sockets that are bound but not served yet.
///
/// ```no_run
/// use echoline::udp::{DatagramAnswer, DatagramListener, DatagramServer};
///
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// let address = "udp://127.0.0.1:7007".parse().expect("an address");
/// let server = DatagramServer::new(DatagramListener::bind(&address).await?)?;
/// let counts = server.counts();
/// // RFC 862: each datagram is sent back.
/// server.serve(|_datagram: &[u8], _room: &mut Vec<u8>| DatagramAnswer::Same).await?;
/// println!("{:?}", counts.read());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DatagramServer {
    listeners: Vec<DatagramListener>,
    addresses: Vec<SocketAddr>,
    counts: DatagramCounts,
    rules: DatagramRules,
    faults: Option<Faults>,
    shutdown: Shutdown,
}

impl DatagramServer {
    /// Creates a server on sockets that were bound before.
    ///
    /// # Errors
    /// The error of the system, which is not expected.
    pub fn new(listeners: Vec<DatagramListener>) -> io::Result<Self> {
        let addresses =
            listeners.iter().map(DatagramListener::local_addr).collect::<io::Result<_>>()?;
        let inodes: Vec<u64> =
            listeners.iter().map(DatagramListener::inode).collect::<io::Result<_>>()?;
        let counts = DatagramCounts::of(inodes);
        let (rules, shutdown) = (DatagramRules::default(), Shutdown::new());
        Ok(Self { listeners, addresses, counts, rules, faults: None, shutdown })
    }

    /// Sets the rules for answers. Default [`DatagramRules::default`].
    #[must_use]
    pub fn rules(mut self, rules: DatagramRules) -> Self {
        self.rules = rules;
        self
    }

    /// Injects the faults of this plan, which can be replaced while the server runs. Default: none.
    #[must_use]
    pub fn faults(mut self, faults: Option<Faults>) -> Self {
        self.faults = faults;
        self
    }

    /// Sets the handle that ends the server.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Returns the counters of datagrams. They can still be read after the server has ended.
    #[must_use]
    pub fn counts(&self) -> DatagramCounts {
        self.counts.clone()
    }

    /// Returns the address of each socket, to which clients send.
    ///
    /// # Errors
    /// The error of the system, which is not expected.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        self.listeners.iter().map(DatagramListener::address).collect()
    }

    /// Answers datagrams until the [`Shutdown`] handle drains. Then it answers the queued
    /// datagrams, for at most a second, and closes the sockets. When the handle retires, it closes
    /// the sockets at once. Errors of sending and receiving are counted and do not end the server.
    /// Dropping the future closes the sockets at once.
    ///
    /// Each socket has its own task and its own clone of `answer`, which must not block. `answer`
    /// gets the datagram, and a buffer to which it can append its answer. Answers that are longer
    /// than [`DatagramRules::answers`] allows are not sent.
    ///
    /// # Errors
    /// If a socket cannot be registered with the runtime. In this case no datagram was answered.
    pub async fn serve<A>(self, answer: A) -> io::Result<()>
    where
        A: FnMut(&[u8], &mut Vec<u8>) -> DatagramAnswer + Clone + Send + 'static,
    {
        let mut posts = Vec::new();
        for (listener, address) in self.listeners.into_iter().zip(&self.addresses) {
            posts.push(SocketWorker {
                inode: listener.inode()?,
                socket: listener.into_tokio()?,
                family: if address.is_ipv4() { AddressFamily::V4 } else { AddressFamily::V6 },
                guard: DatagramGuard::new(self.rules.clone(), self.addresses.clone()),
                planned: self.faults.as_ref().map(SocketFaults::new),
                counts: self.counts.clone(),
                batch: DatagramBatch::new(),
                begun: Instant::now(),
                answer: answer.clone(),
            });
        }
        let mut serving = JoinSet::new();
        for worker in posts {
            serving.spawn(worker.serve(self.shutdown.clone()));
        }
        while let Some(ended) = serving.join_next().await {
            // A panic of `answer` is passed on.
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        Ok(())
    }
}

/// A socket and the state of its task.
struct SocketWorker<A> {
    socket: UdpSocket,
    inode: u64,
    family: AddressFamily,
    guard: DatagramGuard,
    planned: Option<SocketFaults>,
    counts: DatagramCounts,
    batch: DatagramBatch,
    begun: Instant,
    answer: A,
}

impl<A> SocketWorker<A>
where
    A: FnMut(&[u8], &mut Vec<u8>) -> DatagramAnswer,
{
    async fn serve(mut self, shutdown: Shutdown) {
        {
            let mut ending = pin!(shutdown.reached(Phase::Retiring));
            let mut timer = self.planned.as_ref().and_then(|_| Timer::new());
            loop {
                let next_at = self.planned.as_ref().and_then(SocketFaults::next_at);
                let due = next_at.map(|next_at| self.begun + next_at);
                let readable = tokio::select! {
                    biased;
                    () = &mut ending => break,
                    readable = self.socket.readable() => readable,
                    () = exactly(&mut timer, due.unwrap_or(self.begun)), if due.is_some() => {
                        self.batch.clear();
                        self.answer().await;
                        continue;
                    }
                };
                match readable.and_then(|()| self.receive()) {
                    Ok(()) => self.answer().await,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => {
                        tracing::debug!(%error, "cannot receive a datagram");
                        sleep(ERROR_PAUSE).await;
                    }
                }
                tokio::task::yield_now().await;
            }
        }
        // If another process shares the socket, it serves the queued datagrams.
        if shutdown.phase() == Phase::Retiring {
            return self.counts.close(self.inode);
        }
        tokio::select! {
            _ = timeout(DRAIN_TIMEOUT, self.drain()) => {}
            () = shutdown.reached(Phase::Aborting) => {}
        }
        self.counts.close(self.inode);
    }

    /// Receives one batch. If more datagrams are queued, the socket stays readable.
    fn receive(&mut self) -> io::Result<()> {
        let (batch, family) = (&mut self.batch, self.family);
        let mut received = Err(io::ErrorKind::WouldBlock.into());
        let tried = self.socket.try_io(Interest::READABLE, || {
            received = batch.receive(&self.socket, family);
            match &received {
                // The queue is empty now. Clearing the readiness saves a call that would receive
                // nothing.
                Ok(count) if *count < BATCH => Err(io::ErrorKind::WouldBlock.into()),
                Ok(_) => Ok(()),
                Err(error) => Err(error.kind().into()),
            }
        });
        drop(tried);
        received.map(drop)
    }

    /// Answers a batch.
    async fn answer(&mut self) {
        self.decide();
        loop {
            let (batch, family) = (&mut self.batch, self.family);
            let sent = self.socket.try_io(Interest::WRITABLE, || batch.send(&self.socket, family));
            match sent {
                Ok(None) => return,
                Ok(Some((count, bytes))) => self.counts.note_answered(count, bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // During this wait, new datagrams stay in the system's receive buffer, whose
                    // size is limited.
                    let _ = self.socket.writable().await;
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot send a reply");
                    self.counts.note_not_sent();
                }
            }
        }
    }

    /// Decides how each datagram of the batch is answered.
    fn decide(&mut self) {
        let now = self.begun.elapsed();
        let count = self.batch.arrivals().len();
        let bytes = self.batch.arrivals().iter().map(|received| received.length as u64).sum();
        self.counts.note_received(count as u64, bytes);
        let planned = self.planned.as_mut().is_some_and(|planned| !planned.is_idle());
        for index in 0..count {
            let received = self.batch.arrivals()[index];
            match self.guard.judge(&received.arrival, now) {
                Err(refusal) => self.counts.note_refused(refusal),
                Ok(()) if planned => {
                    let bytes = self.batch.open(index).0.to_vec();
                    self.take_planned(DelayedDatagram { received, bytes }, now);
                    // This datagram may release reordered datagrams, which are held until another
                    // one has passed.
                    self.go_on(now);
                }
                Ok(()) => self.decide_one(index),
            }
        }
        if planned {
            self.go_on(now);
        }
    }

    fn decide_one(&mut self, index: usize) {
        let begin = self.batch.written();
        let (request, room) = self.batch.open(index);
        let length = request.len();
        match (self.answer)(request, room) {
            DatagramAnswer::Same => self.batch.send_back(index),
            DatagramAnswer::Nothing => self.counts.note_taken(),
            DatagramAnswer::Written => {
                let written = self.batch.written() - begin;
                match self.guard.judge_answer(written, length) {
                    Ok(()) => self.batch.send_written(index, begin),
                    Err(refusal) => {
                        self.batch.unwrite(begin);
                        self.counts.note_refused(refusal);
                    }
                }
            }
        }
    }

    /// Applies the plan to a received datagram before it is answered.
    fn take_planned(&mut self, datagram: DelayedDatagram, now: Duration) {
        let Some(planned) = &mut self.planned else { return };
        let passed = planned.pass(Direction::In, datagram, now);
        if passed.is_empty() {
            self.counts.note_taken();
        }
        passed.into_iter().for_each(|datagram| self.answer_planned(datagram, now));
    }

    /// Answers a datagram that the plan may have changed, and applies the plan to the answer.
    fn answer_planned(&mut self, datagram: DelayedDatagram, now: Duration) {
        let DelayedDatagram { received, mut bytes } = datagram;
        let mut room = Vec::new();
        match (self.answer)(&bytes, &mut room) {
            DatagramAnswer::Same => {}
            DatagramAnswer::Nothing => return self.counts.note_taken(),
            DatagramAnswer::Written => match self.guard.judge_answer(room.len(), bytes.len()) {
                Ok(()) => bytes = room,
                Err(refusal) => return self.counts.note_refused(refusal),
            },
        }
        let Some(planned) = &mut self.planned else { return };
        for DelayedDatagram { received, bytes } in
            planned.pass(Direction::Out, DelayedDatagram { received, bytes }, now)
        {
            self.batch.send_copy(received, &bytes);
        }
    }

    /// Passes on the held datagrams that are due now.
    fn go_on(&mut self, now: Duration) {
        while let Some(datagram) = self.due(Direction::In, now) {
            self.answer_planned(datagram, now);
        }
        while let Some(DelayedDatagram { received, bytes }) = self.due(Direction::Out, now) {
            self.batch.send_copy(received, &bytes);
        }
    }

    fn due(&mut self, direction: Direction, now: Duration) -> Option<DelayedDatagram> {
        self.planned.as_mut()?.due(direction, now)
    }

    /// Answers the queued datagrams without the runtime, because the runtime may not have noticed
    /// them yet.
    async fn drain(&mut self) {
        while self.batch.receive(&self.socket, self.family).is_ok() {
            self.answer().await;
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// Returns a client's socket whose reads have a time-out.
    fn client() -> std::net::UdpSocket {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket
    }

    /// Fault 42: a flooded socket does not block the other sockets of its thread, or the end of the
    /// server. Issue 11, item 46: the test of the whole program does not detect this fault.
    #[test]
    fn regression_a_flooded_socket_leaves_the_others_their_turns() {
        let listen = "udp://127.0.0.1:0".parse().unwrap();
        let bind = || runtime().block_on(DatagramListener::bind(&listen)).unwrap().remove(0);
        let (flooded, calm) = (bind(), bind());
        let addresses = [&flooded, &calm].map(|one| one.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let server = DatagramServer::new(vec![flooded, calm]).unwrap().shutdown(shutdown.clone());
        let refill = Arc::new(client());
        let floods = Arc::new(AtomicBool::new(true));
        let answer = {
            let (refill, floods, to) = (Arc::clone(&refill), Arc::clone(&floods), addresses[0]);
            move |bytes: &[u8], _: &mut Vec<u8>| {
                // Each received datagram triggers another one.
                if bytes == b"flood" && floods.load(Ordering::Relaxed) {
                    refill.send_to(b"flood", to).unwrap();
                }
                DatagramAnswer::Same
            }
        };
        for _ in 0..100 {
            refill.send_to(b"flood", addresses[0]).unwrap();
        }
        let serving = thread::spawn(move || runtime().block_on(server.serve(answer)).unwrap());
        let socket = client();
        for _ in 0..10 {
            socket.send_to(b"hello", addresses[1]).unwrap();
            assert_eq!(socket.recv(&mut [0; 9]).unwrap(), 5);
        }
        shutdown.drain();
        floods.store(false, Ordering::Relaxed);
        serving.join().unwrap();
    }
}
