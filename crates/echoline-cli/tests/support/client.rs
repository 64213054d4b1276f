//! A test client, whose every wait has a time limit.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use socket2::{Domain, SockRef, Socket, Type};

use super::NEVER;

/// One connection to a line server.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, NEVER).expect("the server takes us"))
    }

    /// Connects from another address of this machine, such as 127.0.0.2.
    pub(crate) fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
        socket.connect_timeout(&address.into(), NEVER).expect("the server takes us");
        Self::over(socket.into())
    }

    /// Connects with the smallest receive buffer that the system allows.
    pub(crate) fn connect_small(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        socket.connect_timeout(&address.into(), NEVER).expect("the server takes us");
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(NEVER)).unwrap();
        stream.set_write_timeout(Some(NEVER)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Returns the socket, to write to it from another thread or to set options.
    pub(crate) fn socket(&self) -> TcpStream {
        self.stream.get_ref().try_clone().unwrap()
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("the server takes what we send");
    }

    /// Returns the next line with its line end; empty at the end of the stream.
    pub(crate) fn try_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line)
    }

    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        self.try_line().expect("the server answers")
    }

    /// Sends one line and expects its echo.
    #[track_caller]
    pub(crate) fn ask(&mut self, text: &str) {
        self.send(format!("{text}\n"));
        assert_eq!(self.line(), format!("Echo: {text}\n"));
    }

    /// Returns everything up to the end of the stream. Panics if the connection is reset.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the stream ends cleanly");
        String::from_utf8(rest).expect("the server writes text")
    }

    /// Reads once into `buffer`; returns 0 at the end of the stream.
    pub(crate) fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// Shuts the sending direction down.
    pub(crate) fn finish_sending(&self) {
        self.stream.get_ref().shutdown(std::net::Shutdown::Write).expect("still connected");
    }

    /// Closes the connection with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(self.stream.get_ref()).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Sends without reading until the server has read nothing for a while. Returns the number of
    /// bytes sent.
    pub(crate) fn stuff(&mut self) -> usize {
        let piece = [b'x'; 16 * 1024];
        let stream = self.stream.get_mut();
        stream.set_write_timeout(Some(super::millis(300))).unwrap();
        // A single pause does not end the loop, because the server may have waited for a processor.
        let (mut sent, mut pauses) = (0, 0);
        while pauses < 3 {
            match stream.write(&piece) {
                Ok(length @ 1..) => (sent, pauses) = (sent + length, 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => pauses += 1,
                _ => break,
            }
        }
        sent
    }
}

/// A pseudo-random generator. The same seed produces the same bytes.
pub(crate) struct Noise(u64);

impl Noise {
    /// Prints the seed, so that a failure can be repeated.
    pub(crate) fn new(seed: u64) -> Self {
        eprintln!("seed {seed}");
        Self::same(seed)
    }

    pub(crate) fn same(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// Returns the next number (Marsaglia's xorshift64).
    pub(crate) fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Fills `buffer`. Its length must be a multiple of 8, so that the bytes do not depend on the
    /// sizes of the buffers.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        for word in buffer.chunks_exact_mut(8) {
            word.copy_from_slice(&self.number().to_le_bytes());
        }
    }
}
