//! Tests of the admin address while the server or the address itself is overloaded.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::ask::get;
use crate::support::{Client, NEVER, now, until};
use crate::{metrics, start};

/// Fault 70: the number of series does not depend on the number of client addresses.
#[test]
fn the_number_of_series_does_not_grow_with_the_clients() {
    let server = start(&["--log-level", "debug"]);
    let at = server.admin();
    let before = metrics(at);
    for number in 0..1000_u16 {
        let [high, low] = number.to_be_bytes();
        let source = IpAddr::from(Ipv4Addr::new(127, 0, 1 + high, low));
        let mut client = Client::connect_from(source, server.address());
        client.send("x\n");
        assert_eq!(client.line(), "Echo: x\n");
    }
    until("all connections have ended", || metrics(at).of("echoline_connections_open") == 0.0);
    let after = metrics(at);
    assert_eq!(after.series(), before.series());
    assert_eq!(after.of("echoline_connections_accepted_total"), 1000.0);
    let text = get(at, "/metrics").body;
    assert!(!text.contains("127.0."), "the metrics contain the address of a client");
}

/// Fault 70: a scrape is answered in less than a second while twice as many clients connect as
/// there are slots.
#[test]
fn a_flood_does_not_silence_the_address() {
    const PLACES: usize = 50;
    let server = start(&["--max-connections", &PLACES.to_string()]);
    let (address, at) = (server.address(), server.admin());
    let over = AtomicBool::new(false);
    let mut times: Vec<Duration> = thread::scope(|scope| {
        for _ in 0..2 * PLACES {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // Some connections are served, some are refused, and some fail because the
                    // queue is full.
                    let Ok(mut stream) = TcpStream::connect_timeout(&address, NEVER) else {
                        continue;
                    };
                    stream.set_read_timeout(Some(NEVER)).unwrap();
                    let _ = stream.write_all(b"x\n").and_then(|()| stream.read(&mut [0; 64]));
                }
            });
        }
        // Ends the flood even if a scrape fails.
        let end = SetOnDrop(&over);
        let scrape = |_| {
            let start = now();
            let accepted = metrics(at).of("echoline_connections_accepted_total");
            (start.elapsed(), accepted)
        };
        let scrapes: Vec<_> = (0..21).map(scrape).collect();
        drop(end);
        assert!(scrapes[20].1 > scrapes[0].1, "the flood stopped during the scrapes: {scrapes:?}");
        scrapes.into_iter().map(|(time, _)| time).collect()
    });
    // The median counts, because single scrapes may be delayed by the machine.
    times.sort();
    assert!(times[10] < Duration::from_secs(1), "{times:?}");
    assert!(metrics(at).of("echoline_closed_total{reason=\"busy\"}") > 0.0);
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Fault 70: silent clients of the address do not lock out other clients.
#[test]
fn slow_clients_of_the_address_lock_out_no_other() {
    let server = start(&[]);
    let at = server.admin();
    let mut slow: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(at).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
            stream
        })
        .collect();
    let start = now();
    assert_eq!(get(at, "/healthz").status, 200);
    // The time-out of the silent clients is 5 s, so the answer did not wait for it.
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    // The server has closed the first connection; the newest one still has time for its request.
    slow[0].set_read_timeout(Some(NEVER)).unwrap();
    assert_eq!(slow[0].read(&mut [0]).unwrap_or(0), 0);
    let last = slow.last_mut().unwrap();
    last.write_all(b"alhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

/// Fault 60: after thousands of connections no resources are left in use.
#[test]
fn ended_connections_leave_no_resources_in_use() {
    let server = start(&[]);
    let at = server.admin();
    // Warm up: the first request of each kind opens descriptors that stay open.
    metrics(at);
    drop(server.clients(4));
    until("nobody is there", || metrics(at).of("echoline_connections_open") == 0.0);
    let before = metrics(at).of("process_open_fds");
    for _ in 0..20 {
        let mut clients = server.clients(50);
        clients.iter_mut().for_each(|client| client.send("x\n"));
        clients.iter_mut().for_each(|client| assert_eq!(client.line(), "Echo: x\n"));
        metrics(at);
    }
    until("nobody is there", || metrics(at).of("echoline_connections_open") == 0.0);
    // The descriptor of the scrape itself is part of both counts.
    until("no descriptor is left over", || metrics(at).of("process_open_fds") <= before);
    let now = metrics(at);
    assert_eq!(now.of("echoline_closed_total{reason=\"end_of_stream\"}"), 1004.0);
    assert_eq!(now.of("echoline_messages_total"), 1000.0);
    let workers = now.series().into_iter().filter(|one| one.starts_with("echoline_worker_conn"));
    assert!(workers.map(|one| now.of(one)).all(|open| open == 0.0));
}
