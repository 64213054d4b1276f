//! One client of a load run: sends a message, waits for the reply, checks it, again.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use super::deadline::Deadline;
use super::ledger::{End, Outcome};
use super::pacer::Pacer;
use super::plan::Plan;
use super::record::{Answer, Record};
use super::reply::{Fault, Replies, Verdict, shown};
use crate::net::{Phase, Shutdown};

/// What all clients of a run share.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) plan: Plan,
    /// Each client has its own copy.
    pub(super) messages: Pacer,
    pub(super) timeout: Duration,
    pub(super) start: Instant,
    pub(super) stop: Shutdown,
    /// One thread: never contended, and held for no longer than it takes to count.
    pub(super) record: Mutex<Record>,
}

impl Job {
    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        // Counting does not panic half-way, so what a panicking client leaves is whole.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an exchange failed.
enum Failure {
    Wrong(Fault),
    TimedOut,
    Closed,
    Broken(io::Error),
}

/// A connected client.
pub(super) struct Worker<'job, S> {
    stream: S,
    client: u32,
    job: &'job Job,
    /// The message in hand, its line end included, and how much of it is sent.
    message: Vec<u8>,
    sent: usize,
    replies: Replies,
    deadline: Deadline,
}

impl<'job, S> Worker<'job, S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(stream: S, client: u32, job: &'job Job) -> Self {
        Self {
            stream,
            client,
            job,
            message: Vec::with_capacity(job.plan.size()),
            sent: 0,
            replies: Replies::new(job.plan.size()),
            deadline: Deadline::new(Instant::now() + job.timeout),
        }
    }

    /// Sends all messages of this client, or as many as there is sense in, and records what
    /// became of them.
    pub(super) async fn run(mut self) {
        let mut pacer = self.job.messages.clone();
        let mut end = End::Finished;
        let mut sent = 0;
        for number in 0..self.job.plan.messages() {
            if let Err(reason) = self.wait_for_turn(&mut pacer).await {
                end = reason;
                break;
            }
            sent += 1;
            if let Err(reason) = self.send_one(number).await {
                end = reason;
                break;
            }
        }
        self.job.record().end_client(u64::from(self.job.plan.messages() - sent), end);
    }

    /// Waits until the next message is due.
    async fn wait_for_turn(&self, pacer: &mut Pacer) -> Result<(), End> {
        if pacer.rate().is_some() {
            let due = pacer.next(self.job.start.elapsed());
            tokio::select! {
                () = sleep_until(self.job.start + due) => {}
                () = self.job.stop.reached(Phase::Draining) => {}
            }
        }
        if self.job.stop.phase() == Phase::Running { Ok(()) } else { Err(End::Stopped) }
    }

    async fn send_one(&mut self, number: u32) -> Result<(), End> {
        self.job.plan.write_message(self.client, number, &mut self.message);
        self.sent = 0;
        let begin = Instant::now();
        self.deadline.put_off(begin + self.job.timeout);
        match poll_fn(|cx| self.poll_exchange(cx)).await {
            Ok(()) => {
                let (at, service) = (self.job.start.elapsed(), begin.elapsed());
                self.job.record().answer(Answer { at, latency: None, service });
                Ok(())
            }
            Err(failure) => {
                let outcome = failure.outcome();
                let mut record = self.job.record();
                if outcome == Outcome::Wrong {
                    record.note_wrong(|| self.compare());
                }
                record.fail(outcome, self.job.start.elapsed(), begin.elapsed());
                record.note_reason(&self.describe(failure));
                Err(outcome.into())
            }
        }
    }

    /// Sends and receives at the same time: a message may be longer than all buffers between
    /// here and a server that echoes it byte by byte.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        // A server that takes no more may still have said why: first that is read.
        let broken = match self.poll_send(cx) {
            Poll::Ready(Err(error)) => Some(error),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        };
        let text = self.message.len() - self.job.plan.eol().as_str().len();
        loop {
            match self.replies.judge(&self.message[..text]) {
                Verdict::Right => return Poll::Ready(Ok(())),
                Verdict::Wrong(fault) => return Poll::Ready(Err(Failure::Wrong(fault))),
                Verdict::Incomplete => {}
            }
            match self.poll_receive(cx) {
                Poll::Ready(Ok(count @ 1..)) => self.replies.fill(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Broken(error))),
                // A reset is told once: whoever hears of it by sending reads a plain end.
                Poll::Ready(Ok(0)) if broken.is_none() => {
                    return Poll::Ready(Err(Failure::Closed));
                }
                Poll::Ready(Ok(0)) | Poll::Pending => break,
            }
        }
        if let Some(error) = broken {
            return Poll::Ready(Err(Failure::Broken(error)));
        }
        self.deadline.poll(cx).map(|()| Err(Failure::TimedOut))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.message.len() {
            let rest = &self.message[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = ReadBuf::new(self.replies.room());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room))?;
        Poll::Ready(Ok(room.filled().len()))
    }

    /// What was sent beside what came.
    fn compare(&self) -> String {
        format!("sent \"{}\", got \"{}\"", shown(&self.message), self.replies.last_other())
    }

    fn describe(&self, failure: Failure) -> String {
        let reason = match failure {
            Failure::Wrong(fault) => return format!("wrong reply: {}", fault.describe()),
            Failure::TimedOut => format!("no reply within {:?}", self.job.timeout),
            Failure::Closed => "the server closed the connection before the reply".to_owned(),
            Failure::Broken(error) => {
                format!("the connection broke before the reply: {}", super::run::describe(&error))
            }
        };
        match self.replies.last_other() {
            said if said.is_empty() => reason,
            said => format!("{reason}; the last it said: \"{said}\""),
        }
    }
}

impl Failure {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Wrong(_) => Outcome::Wrong,
            Self::TimedOut => Outcome::TimedOut,
            Self::Closed | Self::Broken(_) => Outcome::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};

    use super::*;
    use crate::load::Rate;
    use crate::net::Eol;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn job(messages: u32, size: usize) -> Job {
        let number = |number| NonZero::new(number).unwrap();
        let plan = Plan::new(number(1), number(messages), size, Eol::Lf, 1).unwrap();
        Job {
            record: Mutex::new(Record::new(plan.total())),
            plan,
            messages: Pacer::closed_loop(),
            timeout: TIMEOUT,
            start: Instant::now(),
            stop: Shutdown::new(),
        }
    }

    /// Runs one client against `server` over a pipe that holds `pipe` bytes.
    async fn run<F>(job: Job, pipe: usize, server: impl FnOnce(DuplexStream) -> F) -> Record
    where
        F: Future<Output = ()>,
    {
        let (here, there) = tokio::io::duplex(pipe);
        tokio::join!(Worker::new(here, 0, &job).run(), server(there));
        let record = job.record().clone();
        assert!(record.ledger.adds_up());
        record
    }

    /// Echoes `count` bytes.
    async fn echo(stream: DuplexStream, count: u64) {
        let (reader, mut writer) = tokio::io::split(stream);
        tokio::io::copy(&mut reader.take(count), &mut writer).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_of_eight_bytes_is_enough() {
        let record = run(job(10, 1000), 8, |there| echo(there, u64::MAX)).await;
        assert_eq!((record.ledger.ok(), record.clients_ok), (10, 1));
        assert!(record.reasons().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_times_out_when_it_should() {
        let begin = Instant::now();
        let record = run(job(10, 16), 64, |there| async move {
            echo(there, 48).await;
        });
        // The fourth message is lost: the echo has gone.
        assert_eq!(record.await.ledger.lost(), 1);

        let record = run(job(10, 16), 64, |mut there| async move {
            let mut message = [0; 16];
            there.read_exact(&mut message).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
            there.write_all(&message).await.unwrap();
            there.read_to_end(&mut Vec::new()).await.unwrap();
        })
        .await;
        assert_eq!(begin.elapsed().as_secs(), 3 + 5);
        assert_eq!((record.ledger.ok(), record.ledger.timed_out()), (1, 1));
        assert_eq!(record.ledger.skipped_by_end().collect::<Vec<_>>(), [(End::TimedOut, 8)]);
        assert_eq!(record.service.max(), Some(Duration::from_secs(3)));
        assert_eq!(record.reasons(), [("no reply within 5s", 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_no_reply_and_an_endless_line_is_wrong() {
        let record = run(job(10, 16), 64, |mut there| async move {
            while there.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(record.await.ledger.timed_out(), 1);
        let record = run(job(10, 16), 64, |mut there| async move {
            while there.write_all(&[b'x'; 1000]).await.is_ok() {}
        });
        assert_eq!(record.await.ledger.wrong(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_says_before_it_closes_is_the_reason() {
        let record = run(job(10, 16), 64, |mut there| async move {
            there.write_all(b"Server is busy.\r\n").await.unwrap();
        })
        .await;
        assert_eq!(record.ledger.lost(), 1);
        let (reason, _) = record.reasons()[0];
        assert!(reason.ends_with("the last it said: \"Server is busy.\""), "{reason}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_reply_is_wrong() {
        let record = run(job(10, 16), 64, |there| async move {
            let mut there = BufReader::new(there);
            let mut line = String::new();
            there.read_line(&mut line).await.unwrap();
            there.write_all(line.repeat(2).as_bytes()).await.unwrap();
            there.read_to_end(&mut Vec::new()).await.unwrap();
        })
        .await;
        assert_eq!((record.ledger.ok(), record.ledger.wrong()), (1, 1));
        assert_eq!(record.ledger.skipped_by_end().collect::<Vec<_>>(), [(End::Wrong, 8)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_lets_the_message_in_flight_come_back() {
        let job = job(10, 16);
        let stop = job.stop.clone();
        let record = run(job, 64, |mut there| async move {
            let mut message = [0; 16];
            there.read_exact(&mut message).await.unwrap();
            stop.drain();
            tokio::time::sleep(Duration::from_secs(1)).await;
            there.write_all(&message).await.unwrap();
        })
        .await;
        assert_eq!(record.ledger.ok(), 1);
        assert_eq!(record.ledger.skipped_by_end().collect::<Vec<_>>(), [(End::Stopped, 9)]);
    }

    #[tokio::test(start_paused = true)]
    async fn messages_keep_to_their_pace() {
        let mut job = job(5, 16);
        job.messages = Pacer::constant(Rate::new(2, Duration::from_secs(1)).unwrap());
        let begin = Instant::now();
        assert_eq!(run(job, 64, |there| echo(there, 80)).await.ledger.ok(), 5);
        assert_eq!(begin.elapsed().as_secs(), 2);
    }
}
