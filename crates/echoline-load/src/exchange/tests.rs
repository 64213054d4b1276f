//! Whole exchanges over pipes, with paused time.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, copy, split,
};
use tokio::time::{Instant, sleep};

use super::client::LoadClient;
use super::dial::Dialer;
use super::dispatcher::ExchangeEnd;
use super::stream::StreamExchange;
use super::worker::{LoadWorker, RunContext, StartBarrier, StopReason};
use crate::message::Plan;
use crate::schedule::{LatePolicy, Pacer, Rate};
use crate::settings::LoadSettings;
use crate::statistics::{MessageOutcome, Percentile, RunRecord, SkipReason};
use echoline::internals::Precision;
use echoline::{Eol, Shutdown};

const SECOND: Duration = Duration::from_secs(1);

fn settings(messages: Option<u32>, size: usize) -> LoadSettings {
    let messages = messages.and_then(NonZero::new);
    let plan = Plan::new(NonZero::new(1).unwrap(), messages, size, Eol::Lf, 1).unwrap();
    LoadSettings::new("127.0.0.1:1".parse().unwrap(), plan)
}

async fn worker(settings: LoadSettings) -> Arc<LoadWorker> {
    let context = RunContext {
        dialer: Dialer::new(&settings.targets).await.unwrap(),
        start: StartBarrier::new(1),
        stop: Shutdown::new(),
        stopped: std::sync::OnceLock::new(),
        settings,
    };
    context.start.arrive();
    Arc::new(LoadWorker::new(Arc::new(context), Precision::Tick, None))
}

/// Runs one client against `server` over a pipe that holds `pipe` bytes.
async fn run_job<F>(
    worker: &Arc<LoadWorker>,
    pipe: usize,
    server: impl FnOnce(DuplexStream) -> F,
) -> RunRecord
where
    F: Future<Output = ()>,
{
    let (here, there) = tokio::io::duplex(pipe);
    let mut client = LoadClient::new(Arc::clone(worker), 0);
    let dialogue = async {
        match StreamExchange::new(here, &mut client.account).run().await.0 {
            ExchangeEnd::Finished(end) => client.finish(end),
            ExchangeEnd::Reconnect => drop(client),
        }
    };
    tokio::select! {
        _ = async { tokio::join!(dialogue, server(there)) } => {}
        () = worker.alarm.run() => {}
    }
    let record = worker.records().measured.clone();
    assert!(record.ledger.adds_up(), "{:?}", record.ledger);
    record
}

async fn run<F>(
    settings: LoadSettings,
    pipe: usize,
    server: impl FnOnce(DuplexStream) -> F,
) -> RunRecord
where
    F: Future<Output = ()>,
{
    run_job(&worker(settings).await, pipe, server).await
}

/// Echoes `count` bytes.
async fn echo(stream: DuplexStream, count: u64) {
    let (reader, mut writer) = split(stream);
    copy(&mut reader.take(count), &mut writer).await.unwrap();
}

fn skipped(record: &RunRecord) -> Vec<(SkipReason, u64)> {
    record.ledger.skipped_by_reason().collect()
}

#[tokio::test(start_paused = true)]
async fn a_pipe_of_eight_bytes_is_enough_at_any_depth() {
    for depth in [1, 3, 100] {
        let mut settings = settings(Some(10), 1000);
        settings.depth = NonZero::new(depth).unwrap();
        let record = run(settings, 8, |there| echo(there, u64::MAX)).await;
        assert_eq!((record.ledger.ok(), record.clients_ok), (10, 1));
        assert!(record.reasons().is_empty());
        assert_eq!(record.series.intervals().iter().map(|interval| interval.sent).sum::<u64>(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_times_out() {
    let begin = Instant::now();
    let record = run(settings(Some(10), 16), 64, |there| async move {
        echo(there, 48).await;
    });
    // The fourth message is lost, because the server has closed the connection.
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
    assert_eq!(skipped(&record), [(SkipReason::TimedOut, 8)]);
    assert_eq!(record.service.max(), Some(3 * SECOND));
    assert_eq!(record.failures(MessageOutcome::TimedOut).max(), Some(5 * SECOND));
    assert_eq!(record.reasons(), [("no reply within 5s", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_trickle_times_out_and_an_endless_line_is_wrong() {
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
async fn reports_the_last_line_before_a_close_as_the_reason() {
    let record = run(settings(Some(10), 16), 64, |mut there| async move {
        there.write_all(b"Server is busy.\r\n").await.unwrap();
    })
    .await;
    assert_eq!(record.ledger.lost(), 1);
    let (reason, _) = record.reasons()[0];
    assert!(reason.ends_with("its last line was \"Server is busy.\""), "{reason}");
}

/// If a server answers twice, the second reply is checked against the next message.
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
    assert_eq!(skipped(&record), [(SkipReason::Wrong, 8)]);
    assert!(record.wrong_example().unwrap().starts_with("sent \"0:1:"));
}

#[tokio::test(start_paused = true)]
async fn messages_in_flight_beside_a_failure_are_lost() {
    let mut settings = settings(Some(10), 16);
    settings.depth = NonZero::new(4).unwrap();
    let record = run(settings, 1024, |there| echo(there, 16)).await;
    assert_eq!((record.ledger.ok(), record.ledger.lost()), (1, 4));
    assert_eq!(skipped(&record), [(SkipReason::Lost, 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_awaits_the_message_in_flight() {
    let worker = worker(settings(Some(10), 16)).await;
    let stop = worker.context.stop.clone();
    let record = run_job(&worker, 64, |mut there| async move {
        let mut message = [0; 16];
        there.read_exact(&mut message).await.unwrap();
        stop.drain();
        sleep(SECOND).await;
        there.write_all(&message).await.unwrap();
    })
    .await;
    assert_eq!(record.ledger.ok(), 1);
    assert_eq!(skipped(&record), [(SkipReason::Stopped, 9)]);
}

/// The ledger adds up when clients are stopped, and messages in flight keep their age.
#[tokio::test(start_paused = true)]
async fn the_account_of_a_stopped_client_balances() {
    for (stop_reason, outcome, end) in [
        (StopReason::Aborted, MessageOutcome::InFlight, SkipReason::Stopped),
        (StopReason::GraceOver, MessageOutcome::TimedOut, SkipReason::Overdue),
    ] {
        let mut settings = settings(Some(10), 16);
        settings.messages = Pacer::constant(Rate::new(1, SECOND).unwrap());
        settings.depth = NonZero::new(2).unwrap();
        let worker = worker(settings).await;
        let (here, _there) = tokio::io::duplex(64);
        let mut client = LoadClient::new(Arc::clone(&worker), 0);
        let dialogue = StreamExchange::new(here, &mut client.account).run();
        tokio::select! {
            _ = dialogue => panic!("nobody answers"),
            () = worker.alarm.run() => {}
            () = sleep(3 * SECOND) => worker.set_stop_reason(stop_reason),
        }
        drop(client);
        let record = worker.records().measured.clone();
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
async fn the_warm_up_is_counted_separately() {
    let mut settings = settings(None, 16);
    settings.messages = Pacer::constant(Rate::new(10, SECOND).unwrap());
    (settings.warm_up, settings.duration) = (2 * SECOND, Some(3 * SECOND));
    let worker = worker(settings).await;
    let record = run_job(&worker, 64, |there| echo(there, 50 * 16)).await;
    assert_eq!((record.ledger.planned(), record.ledger.ok()), (30, 30));
    assert_eq!(worker.records().warm_up.ledger.ok(), 20);
    assert_eq!(record.series.intervals().len(), 3);
}

/// Serves a stream and answers every message at once, but pauses for half a second once per second.
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

/// Coordinated omission. The plan has 200 messages per second for 10 s. The server answers no
/// message in the first half of each second, and all waiting messages at its middle.
///
/// The message that is intended for i × 5 ms (i < 100) has a latency of 500 − i × 5 ms, and the
/// other half of the messages take no time. So the latency is longer than t with probability (500
/// ms − t) / 1 s: p90 is 400 ms, and p99 is 490 ms.
///
/// Measured from the time of sending, only one message of each second would wait, because the
/// others are not sent during the stall.
#[tokio::test(start_paused = true)]
async fn a_planted_stall_is_seen_at_its_full_length() {
    let mut settings = settings(None, 32);
    settings.messages = Pacer::constant(Rate::new(200, SECOND).unwrap());
    settings.duration = Some(10 * SECOND);
    let record = run(settings, 1024, stall).await;
    assert_eq!(record.ledger.ok(), 2000);
    let [_, p90, p99, _] = Percentile::DEFAULTS;
    for (percentile, exact) in [(p90, 0.400), (p99, 0.490)] {
        let seen = record.latency.percentile(percentile).unwrap().as_secs_f64();
        assert!((seen / exact - 1.0).abs() < 0.02, "{percentile}: {seen} s, computed {exact} s");
    }
    let service = record.service.percentile(p99).unwrap();
    assert!(service < Duration::from_millis(2), "{service:?}");
    // The delay comes from the server and not from the tester.
    assert!(record.lag.max().unwrap() <= Duration::from_millis(1));
    assert_eq!(record.delayed, 10 * 99);
}

#[tokio::test(start_paused = true)]
async fn skips_messages_that_a_stall_has_delayed() {
    let mut settings = settings(None, 32);
    settings.messages = Pacer::constant(Rate::new(200, SECOND).unwrap());
    settings.duration = Some(10 * SECOND);
    settings.late_policy = LatePolicy::Skip;
    let record = run(settings, 1024, stall).await;
    assert_eq!(record.ledger.planned(), 2000);
    // The first message of each stall waits until the stall ends. Then the message that is due at
    // that time is sent, and the 99 between them are skipped.
    assert_eq!(skipped(&record), [(SkipReason::Late, 10 * 99)]);
    assert_eq!(record.ledger.ok(), 2000 - 990);
}
