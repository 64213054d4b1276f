//! Whole dialogues over pipes, on a clock that stands still.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, copy, split,
};
use tokio::time::{Instant, sleep};

use super::{Exchange, Leave};
use crate::client::Client;
use crate::dial::Dialer;
use crate::job::{Common, Cut, Job, Start};
use crate::times::Percentile;
use crate::{End, Outcome, Pacer, Plan, Rate, Record, Settings, WhenLate};
use echoline::internals::Precision;
use echoline::{Eol, Shutdown};

const SECOND: Duration = Duration::from_secs(1);

fn settings(messages: Option<u32>, size: usize) -> Settings {
    let messages = messages.and_then(NonZero::new);
    let plan = Plan::new(NonZero::new(1).unwrap(), messages, size, Eol::Lf, 1).unwrap();
    Settings::new("127.0.0.1:1".parse().unwrap(), plan)
}

async fn job(settings: Settings) -> Arc<Job> {
    let common = Common {
        dialer: Dialer::new(&settings.targets).await.unwrap(),
        start: Start::when_all_of(1),
        stop: Shutdown::new(),
        stopped: std::sync::OnceLock::new(),
        settings,
    };
    common.start.arrive();
    Arc::new(Job::new(Arc::new(common), Precision::Tick))
}

/// One client against `server` over a pipe that holds `pipe` bytes.
async fn run_job<F>(job: &Arc<Job>, pipe: usize, server: impl FnOnce(DuplexStream) -> F) -> Record
where
    F: Future<Output = ()>,
{
    let (here, there) = tokio::io::duplex(pipe);
    let mut client = Client::new(Arc::clone(job), 0);
    let dialogue = async {
        match Exchange::new(here, &mut client).run().await.0 {
            Leave::Finished(end) => client.finish(end),
            Leave::Renew => drop(client),
        }
    };
    tokio::select! {
        _ = async { tokio::join!(dialogue, server(there)) } => {}
        () = job.alarm.run() => {}
    }
    let record = job.records().measured.clone();
    assert!(record.ledger.adds_up(), "{:?}", record.ledger);
    record
}

async fn run<F>(settings: Settings, pipe: usize, server: impl FnOnce(DuplexStream) -> F) -> Record
where
    F: Future<Output = ()>,
{
    run_job(&job(settings).await, pipe, server).await
}

/// Echoes `count` bytes.
async fn echo(stream: DuplexStream, count: u64) {
    let (reader, mut writer) = split(stream);
    copy(&mut reader.take(count), &mut writer).await.unwrap();
}

fn skipped(record: &Record) -> Vec<(End, u64)> {
    record.ledger.skipped_by_end().collect()
}

#[tokio::test(start_paused = true)]
async fn a_pipe_of_eight_bytes_is_enough_at_any_depth() {
    for depth in [1, 3, 100] {
        let mut settings = settings(Some(10), 1000);
        settings.depth = NonZero::new(depth).unwrap();
        let record = run(settings, 8, |there| echo(there, u64::MAX)).await;
        assert_eq!((record.ledger.ok(), record.clients_ok), (10, 1));
        assert!(record.reasons().is_empty());
        assert_eq!(record.series.slots().iter().map(|slot| slot.sent).sum::<u64>(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_times_out_when_it_should() {
    let begin = Instant::now();
    let record = run(settings(Some(10), 16), 64, |there| async move {
        echo(there, 48).await;
    });
    // The fourth message is lost: the echo has gone.
    assert_eq!(record.await.ledger.lost(), 1);

    let record = run(settings(Some(10), 16), 64, |mut there| async move {
        let mut message = [0; 16];
        there.read_exact(&mut message).await.unwrap();
        sleep(3 * SECOND).await;
        there.write_all(&message).await.unwrap();
        there.read_to_end(&mut Vec::new()).await.unwrap();
    })
    .await;
    assert_eq!(begin.elapsed().as_secs(), 3 + 5);
    assert_eq!((record.ledger.ok(), record.ledger.timed_out()), (1, 1));
    assert_eq!(skipped(&record), [(End::TimedOut, 8)]);
    assert_eq!(record.service.max(), Some(3 * SECOND));
    assert_eq!(record.failures(Outcome::TimedOut).max(), Some(5 * SECOND));
    assert_eq!(record.reasons(), [("no reply within 5s", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_no_reply_and_an_endless_line_is_wrong() {
    let record = run(settings(Some(10), 16), 64, |mut there| async move {
        while there.write_all(b"x").await.is_ok() {
            sleep(SECOND).await;
        }
    });
    assert_eq!(record.await.ledger.timed_out(), 1);
    let record = run(settings(Some(10), 16), 64, |mut there| async move {
        while there.write_all(&[b'x'; 1000]).await.is_ok() {}
    });
    assert_eq!(record.await.ledger.wrong(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_before_it_closes_is_the_reason() {
    let record = run(settings(Some(10), 16), 64, |mut there| async move {
        there.write_all(b"Server is busy.\r\n").await.unwrap();
    })
    .await;
    assert_eq!(record.ledger.lost(), 1);
    let (reason, _) = record.reasons()[0];
    assert!(reason.ends_with("the last it said: \"Server is busy.\""), "{reason}");
}

/// A server that answers twice: the second reply is held against the next message.
#[tokio::test(start_paused = true)]
async fn a_stale_reply_is_wrong() {
    let record = run(settings(Some(10), 16), 64, |there| async move {
        let mut there = BufReader::new(there);
        let mut line = String::new();
        there.read_line(&mut line).await.unwrap();
        there.write_all(line.repeat(2).as_bytes()).await.unwrap();
        there.read_to_end(&mut Vec::new()).await.unwrap();
    })
    .await;
    assert_eq!((record.ledger.ok(), record.ledger.wrong()), (1, 1));
    assert_eq!(skipped(&record), [(End::Wrong, 8)]);
    assert!(record.wrong_example().unwrap().starts_with("sent \"0:1:"));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_beside_a_failure_is_lost() {
    let mut settings = settings(Some(10), 16);
    settings.depth = NonZero::new(4).unwrap();
    let record = run(settings, 1024, |there| echo(there, 16)).await;
    assert_eq!((record.ledger.ok(), record.ledger.lost()), (1, 4));
    assert_eq!(skipped(&record), [(End::Lost, 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_the_message_in_flight_come_back() {
    let job = job(settings(Some(10), 16)).await;
    let stop = job.common.stop.clone();
    let record = run_job(&job, 64, |mut there| async move {
        let mut message = [0; 16];
        there.read_exact(&mut message).await.unwrap();
        stop.drain();
        sleep(SECOND).await;
        there.write_all(&message).await.unwrap();
    })
    .await;
    assert_eq!(record.ledger.ok(), 1);
    assert_eq!(skipped(&record), [(End::Stopped, 9)]);
}

/// The ledger adds up when clients are broken off, and what was in flight keeps its age.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_broken_off_leaves_a_whole_account() {
    for (cut, outcome, end) in [
        (Cut::Abort, Outcome::InFlight, End::Stopped),
        (Cut::Grace, Outcome::TimedOut, End::Overdue),
    ] {
        let mut settings = settings(Some(10), 16);
        settings.messages = Pacer::constant(Rate::new(1, SECOND).unwrap());
        settings.depth = NonZero::new(2).unwrap();
        let job = job(settings).await;
        let (here, _there) = tokio::io::duplex(64);
        let mut client = Client::new(Arc::clone(&job), 0);
        let dialogue = Exchange::new(here, &mut client).run();
        tokio::select! {
            _ = dialogue => panic!("nobody answers"),
            () = job.alarm.run() => {}
            () = sleep(3 * SECOND) => job.set_cut(cut),
        }
        drop(client);
        let record = job.records().measured.clone();
        assert!(record.ledger.adds_up());
        assert_eq!(record.ledger.count(outcome), 2);
        assert_eq!(record.failures(outcome).max(), Some(3 * SECOND));
        assert_eq!(skipped(&record), [(end, 8)]);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_keep_to_their_pace() {
    let mut settings = settings(Some(5), 16);
    settings.messages = Pacer::constant(Rate::new(2, SECOND).unwrap());
    let begin = Instant::now();
    assert_eq!(run(settings, 64, |there| echo(there, 80)).await.ledger.ok(), 5);
    assert_eq!(begin.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_warm_up_is_accounted_for_apart() {
    let mut settings = settings(None, 16);
    settings.messages = Pacer::constant(Rate::new(10, SECOND).unwrap());
    (settings.warm_up, settings.duration) = (2 * SECOND, Some(3 * SECOND));
    let job = job(settings).await;
    let record = run_job(&job, 64, |there| echo(there, 50 * 16)).await;
    assert_eq!((record.ledger.planned(), record.ledger.ok()), (30, 30));
    assert_eq!(job.records().warm_up.ledger.ok(), 20);
    assert_eq!(record.series.slots().len(), 3);
}

/// Answers every message at once, but stops for half a second once per second.
async fn stall(there: DuplexStream) {
    let begin = Instant::now();
    let mut there = BufReader::new(there);
    let mut line = Vec::new();
    while matches!(there.read_until(b'\n', &mut line).await, Ok(1..)) {
        let into = begin.elapsed().subsec_millis();
        if into < 500 {
            sleep(Duration::from_millis(u64::from(500 - into))).await;
        }
        there.write_all(&line).await.unwrap();
        line.clear();
    }
}

/// Coordinated omission. 200 messages per second for 10 s, and a server that answers none in the
/// first half of each second and all at once in its middle: of each 200, the one intended for
/// i × 5 ms (i < 100) is answered after 500 − i × 5 ms. So half of all take no time, and a message
/// takes longer than t with probability (500 ms − t) / 1 s: p90 is 400 ms, p99 is 490 ms. Seen from
/// the sending, only one message of each second waits at all: the rest were never sent meanwhile.
#[tokio::test(start_paused = true)]
async fn a_planted_stall_is_seen_at_its_full_length() {
    let mut settings = settings(None, 32);
    settings.messages = Pacer::constant(Rate::new(200, SECOND).unwrap());
    settings.duration = Some(10 * SECOND);
    let record = run(settings, 1024, stall).await;
    assert_eq!(record.ledger.ok(), 2000);
    let [_, p90, p99, _] = Percentile::SHOWN;
    for (percentile, exact) in [(p90, 0.400), (p99, 0.490)] {
        let seen = record.latency.percentile(percentile).unwrap().as_secs_f64();
        assert!((seen / exact - 1.0).abs() < 0.02, "{percentile}: {seen} s, computed {exact} s");
    }
    let service = record.service.percentile(p99).unwrap();
    assert!(service < Duration::from_millis(2), "{service:?}");
    // The tester is never late by itself: the server is.
    assert!(record.lag.max().unwrap() <= Duration::from_millis(1));
    assert_eq!(record.delayed, 10 * 99);
}

#[tokio::test(start_paused = true)]
async fn who_skips_leaves_out_what_a_stall_has_delayed() {
    let mut settings = settings(None, 32);
    settings.messages = Pacer::constant(Rate::new(200, SECOND).unwrap());
    settings.duration = Some(10 * SECOND);
    settings.when_late = WhenLate::Skip;
    let record = run(settings, 1024, stall).await;
    assert_eq!(record.ledger.planned(), 2000);
    // The first of each stall waits; when it is over, the one that is due then is sent at once.
    assert_eq!(skipped(&record), [(End::Late, 10 * 99)]);
    assert_eq!(record.ledger.ok(), 2000 - 990);
}
