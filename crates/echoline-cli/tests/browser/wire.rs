//! A proxy to the chat whose connections can be cut, or fail silently.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    /// The current generation. Connections of earlier generations are not forwarded.
    generation: Arc<AtomicU64>,
}

impl Wire {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Vec::new()));
        let generation = Arc::new(AtomicU64::new(0));
        let (kept, now) = (Arc::clone(&open), Arc::clone(&generation));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(upstream) = TcpStream::connect(server) else { continue };
                let ends = [&client, &upstream].map(|end| end.try_clone().unwrap());
                kept.lock().unwrap().extend(ends.map(|end| end));
                let back = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
                let (there, here) = (Arc::clone(&now), Arc::clone(&now));
                thread::spawn(move || pass(client, upstream, &there));
                thread::spawn(move || pass(back.0, back.1, &here));
            }
        });
        Self { address, open, generation }
    }

    pub(crate) fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Makes the current connections fail silently, as after a computer has slept: they stay open
    /// but transfer nothing. New connections work.
    pub(crate) fn go_dead(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, now: &AtomicU64) {
    let generation = now.load(Ordering::SeqCst);
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if now.load(Ordering::SeqCst) == generation && to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
