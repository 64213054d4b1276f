//! The file of a Unix socket, and the process at its other end.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use echoline::transport::Stream;
use echoline::{Address, Closed, Connection, Limits, Listener, ListenerOptions, Server};
use tokio::net::UnixStream;

use crate::line;

async fn tell(mut client: Connection) -> Result<(), Closed> {
    let found = client.credentials().unwrap();
    assert_eq!(client.origin().credentials, Some(found));
    assert_eq!(client.peer(), None);
    client.write_line(format!("{:?} {} {}", found.pid, found.uid, found.gid)).await
}

/// Issue 15, item 5: a handler knows the process of its client. The file has the mode and the group
/// of the options, independent of the umask.
#[tokio::test]
async fn a_handler_reads_the_process_of_its_client() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let listen: Address = format!("unix:{}", path.display()).parse().unwrap();
    let own = fs::metadata("/proc/self").unwrap();
    let options = ListenerOptions {
        unix_mode: 0o620,
        unix_group: Some(own.gid()),
        ..ListenerOptions::default()
    };
    let server = Server::new(Listener::bind(&listen, &options).await.unwrap());
    let file = fs::metadata(&path).unwrap();
    assert_eq!((file.permissions().mode() & 0o777, file.gid()), (0o620, own.gid()));
    let shutdown = server.shutdown();
    let serving = tokio::spawn(server.serve_until(tell, std::future::pending()));
    let socket = Stream::from(UnixStream::connect(&path).await.unwrap());
    let mut client = Connection::new(socket, Limits::default());
    let pid = std::process::id();
    assert_eq!(line(&mut client).await, format!("Some({pid}) {} {}", own.uid(), own.gid()));
    // The client sees the process of the server in the same way.
    assert_eq!(client.credentials().unwrap().uid, own.uid());
    drop(client);
    shutdown.drain();
    let ended = tokio::time::timeout(Duration::from_secs(30), serving).await.unwrap();
    assert!(ended.unwrap().unwrap().is_clean());
}

#[tokio::test]
async fn other_streams_have_no_process() {
    let (here, _there) = tokio::io::duplex(8);
    assert_eq!(Connection::new(here, Limits::default()).credentials(), None);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let client = Connection::new(Stream::from(socket), Limits::default());
    assert_eq!((client.credentials(), client.peer()), (None, Some(address)));
    assert!(client.tls().is_none() && client.websocket().is_none() && client.proxy().is_none());
}
