//! Accepting, as seen from outside.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use support::EchoServer;

/// More connections wait than are accepted in a row: one of each batch was dropped once.
#[test]
fn a_burst_of_connections_loses_nobody() {
    let server = EchoServer::start(&["--mode", "raw"]);
    server.program.signal("STOP");
    let mut clients = Vec::new();
    clients.resize_with(300, || TcpStream::connect(&server.address).unwrap());
    server.program.signal("CONT");
    for (number, mut client) in clients.into_iter().enumerate() {
        let mut reply = [0; 5];
        client.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        client.write_all(b"hello").unwrap();
        let read = client.read_exact(&mut reply);
        assert!(read.is_ok() && &reply == b"hello", "client {number}: {read:?}");
    }
}
