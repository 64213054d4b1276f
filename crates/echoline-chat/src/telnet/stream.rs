//! A stream whose peer may be a Telnet client.

use std::io::{self, IoSlice};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use memchr::memchr2;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::line_end::end_lines;
use echoline::transport::Layer;
use echoline_chat_core::telnet::Parser;

/// The stream of a client's connection.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> ByteStream for S {}

/// A stream that removes Telnet commands from its input and answers them. Every line end that
/// Telnet defines (CR LF, CR NUL, CR) becomes LF or CR LF.
///
/// A write sends pending answers first. A read tries to send them, but never waits for that.
/// Written bytes are not changed, so they must be text: UTF-8 has no byte 255. Before the first
/// command, a `Telnet` needs only 16 bytes more than its stream.
#[derive(Debug)]
pub(crate) struct Telnet<S> {
    stream: S,
    active: Option<Box<Active>>,
    /// Whether the last byte of data was a CR.
    cr: bool,
    /// Whether a writer waits for the stream. A read must not write meanwhile, because the stream
    /// would then wake the reader instead of the writer.
    writer_waits: bool,
}

/// The state that is created by the first command.
#[derive(Debug)]
struct Active {
    parser: Parser,
    /// Answers that were taken from the parser and may be partly sent.
    sending: Vec<u8>,
    sent: usize,
}

impl<S> Telnet<S> {
    /// Creates a stream that sends no command before the client does.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, active: None, cr: false, writer_waits: false }
    }

    /// Creates a stream that first asks the client for its window size. Clients that do not know
    /// Telnet show this request as three strange characters.
    pub(crate) fn negotiating(stream: S) -> Self {
        let active = Some(Active::new(Parser::negotiating()));
        Self { stream, active, cr: false, writer_waits: false }
    }

    /// Returns the width of the client's window in columns, if the client reported it.
    #[must_use]
    pub(crate) fn width(&self) -> Option<u16> {
        self.active.as_ref().and_then(|active| active.parser.width())
    }

    /// Removes the commands from the bytes that were read, and normalises the line ends. Returns
    /// the length of the remaining data.
    fn take(&mut self, read: &mut [u8]) -> usize {
        if self.active.is_none() && memchr2(0xFF, 0, read).is_some() {
            self.active = Some(Active::new(Parser::after(self.cr)));
        }
        let length = match &mut self.active {
            Some(active) => active.parser.take(read),
            None => read.len(),
        };
        end_lines(&mut read[..length], &mut self.cr)
    }
}

impl Active {
    fn new(parser: Parser) -> Box<Self> {
        Box::new(Self { parser, sending: Vec::new(), sent: 0 })
    }

    /// Sends the pending answers. A partly sent answer is completed before any other output.
    fn poll_answers<S>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        loop {
            if self.sent == self.sending.len() {
                (self.sending, self.sent) = (mem::take(self.parser.answers()), 0);
            }
            let rest = &self.sending[self.sent..];
            if rest.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut *stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.sent += length,
            }
        }
    }

    fn has_answers(&mut self) -> bool {
        self.sent < self.sending.len() || !self.parser.answers().is_empty()
    }

    /// Drops the answers, because they can no longer be delivered.
    fn forget_answers(&mut self) {
        self.parser.answers().clear();
        (self.sending, self.sent) = (Vec::new(), 0);
    }
}

impl<S: AsyncWrite + Unpin> Telnet<S> {
    /// Sends the pending answers, and waits until they are sent. Called before other bytes are
    /// written.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.active {
            Some(active) => active.poll_answers(&mut self.stream, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Sends as many answers as the stream takes now. Called during a read. Errors are ignored,
    /// because the next read or write reports them.
    fn try_answers(&mut self, cx: &mut Context<'_>) {
        let Some(active) = &mut self.active else { return };
        if self.writer_waits || !active.has_answers() {
            return;
        }
        match active.poll_answers(&mut self.stream, cx) {
            Poll::Ready(Ok(())) => {
                let _ = Pin::new(&mut self.stream).poll_flush(cx);
            }
            Poll::Ready(Err(_)) => active.forget_answers(),
            Poll::Pending => {}
        }
    }

    /// Sends the answers, then runs `write`. Records whether the writer waits.
    fn after_answers<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let result = match self.poll_answers(cx)? {
            Poll::Ready(()) => write(Pin::new(&mut self.stream), cx),
            Poll::Pending => Poll::Pending,
        };
        self.writer_waits = result.is_pending();
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Layer for Telnet<S> {
    type Below = S;

    fn below(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Telnet<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.try_answers(cx);
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let came = buffer.filled().len() - before;
        let kept = this.take(&mut buffer.filled_mut()[before..]);
        buffer.set_filled(before + kept);
        this.try_answers(cx);
        if came > 0 && kept == 0 {
            // Only commands arrived, so a length of 0 would wrongly mean the end. Polls again after
            // other tasks had their turn.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Telnet<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        debug_assert!(!bytes.contains(&0xFF), "text has no byte 255");
        let this = self.get_mut();
        this.after_answers(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        debug_assert!(slices.iter().all(|bytes| !bytes.contains(&0xFF)), "text has no byte 255");
        let this = self.get_mut();
        this.after_answers(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().after_answers(cx, |stream, cx| stream.poll_flush(cx))
    }

    /// Ends the stream. Answers that the stream does not take at once are lost.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.try_answers(cx);
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const NAWS_OFFER: [u8; 3] = [255, 251, 31];
    const NAWS_REFUSAL: [u8; 3] = [255, 254, 31];

    #[test]
    fn the_stream_is_small_before_the_first_command() {
        assert_eq!(size_of::<Telnet<()>>(), 16);
    }

    #[tokio::test]
    async fn commands_are_answered_while_reading() {
        let (mut client, server) = duplex(64);
        let mut server = Telnet::new(server);
        client.write_all(b"he").await.unwrap();
        client.write_all(&NAWS_OFFER).await.unwrap();
        client.write_all(b"llo\r\0\n").await.unwrap();
        let mut read = [0; 6];
        server.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello\n", "CR NUL and the LF after it are one line end");
        let mut answer = [0; 3];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, NAWS_REFUSAL);
    }

    #[tokio::test]
    async fn a_cr_is_remembered_without_a_parser() {
        let (mut client, server) = duplex(64);
        let mut server = Telnet::new(server);
        let mut byte = [0; 1];
        client.write_all(b"\r").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, *b"\n");
        assert!(server.active.is_none());
        client.write_all(b"\0x").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, *b"x");
    }

    #[tokio::test]
    async fn a_read_of_only_commands_is_not_the_end() {
        let (mut client, server) = duplex(64);
        let mut server = Telnet::new(server);
        client.write_all(&NAWS_OFFER).await.unwrap();
        let read = tokio::spawn(async move { server.read_u8().await });
        client.read_exact(&mut [0; 3]).await.unwrap();
        client.write_all(b"x").await.unwrap();
        assert_eq!(read.await.unwrap().unwrap(), b'x');
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_passed_on() {
        let (client, server) = duplex(64);
        drop(client);
        let mut server = Telnet::negotiating(server);
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn the_question_is_sent_before_other_output() {
        let (mut client, server) = duplex(64);
        let mut server = Telnet::negotiating(server);
        server.write_all(b"Welcome").await.unwrap();
        let mut heard = [0; 10];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, *b"\xff\xfd\x1fWelcome");
        client.write_all(b"\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x18\xff\xf0x").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'x');
        assert_eq!(server.width(), Some(80));
    }

    /// Fault 24: a client that sends offers and never reads does not block the server's reads.
    #[tokio::test]
    async fn reading_does_not_wait_for_answers() {
        let (mut client, server) = duplex(4);
        let mut server = Telnet::new(server);
        let offers: Vec<u8> = (0..=200).flat_map(|option| [255, 251, option]).collect();
        let client = tokio::spawn(async move {
            client.write_all(&offers).await.unwrap();
            client.write_all(b"x").await.unwrap();
            client
        });
        assert_eq!(server.read_u8().await.unwrap(), b'x');
        let mut client: DuplexStream = client.await.unwrap();
        let write = tokio::spawn(async move {
            server.write_all(b"hello").await.unwrap();
        });
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        write.await.unwrap();
        let text = heard.len() - 5;
        assert_eq!(&heard[text..], b"hello");
        assert!(
            text > 0 && text % 3 == 0,
            "only whole answers precede the written text: {heard:x?}"
        );
    }

    /// A waiting writer is woken, even if a reader had answers to send meanwhile.
    #[tokio::test(start_paused = true)]
    async fn a_waiting_writer_is_woken() {
        let (mut client, server) = duplex(4);
        let (mut read, mut write) = tokio::io::split(Telnet::new(server));
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            read.read_to_end(&mut all).await.unwrap();
            all
        });
        let writer = tokio::spawn(async move { write.write_all(&[b'w'; 64]).await.unwrap() });
        tokio::task::yield_now().await;
        let mut heard = Vec::new();
        for option in 0..20 {
            client.write_all(&[255, 251, option, b'r']).await.unwrap();
            tokio::task::yield_now().await;
        }
        let listening = async {
            while heard.iter().filter(|&&byte| byte == b'w').count() < 64 {
                heard.push(client.read_u8().await.unwrap());
            }
        };
        let limit = std::time::Duration::from_secs(5);
        tokio::time::timeout(limit, listening).await.expect("the writer continues");
        writer.await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(reader.await.unwrap(), [b'r'; 20]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Data and written bytes arrive unchanged, through pipes of any capacity.
        #[test]
        fn no_byte_of_data_is_lost(
            parts in prop::collection::vec(("[ -~]{0,20}", 0..64_u8), 0..20),
            written in "[ -~]{0,200}",
            pipe in 1_usize..64,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (client, server) = duplex(pipe);
                let (mut read, mut write) = tokio::io::split(Telnet::new(server));
                let (mut hear, mut say) = tokio::io::split(client);
                let sent: Vec<u8> = parts
                    .iter()
                    .flat_map(|(text, option)| [text.as_bytes(), &[255, 253, *option]].concat())
                    .collect();
                let data: String = parts.iter().map(|(text, _)| text.as_str()).collect();
                let saying = async {
                    say.write_all(&sent).await.unwrap();
                    say.shutdown().await.unwrap();
                };
                let reading = async {
                    let mut all = String::new();
                    read.read_to_string(&mut all).await.unwrap();
                    all
                };
                let writing = async {
                    write.write_all(written.as_bytes()).await.unwrap();
                    write.flush().await.unwrap();
                };
                let hearing = async {
                    let mut all: Vec<u8> = Vec::new();
                    while all.iter().filter(|byte| byte.is_ascii()).count() < written.len() {
                        let Ok(byte) = hear.read_u8().await else { break };
                        // An answer consists of the byte 255 and two more bytes.
                        if byte == 255 {
                            assert_eq!(hear.read_u8().await.unwrap(), 252);
                            hear.read_u8().await.unwrap();
                        } else {
                            all.push(byte);
                        }
                    }
                    // Reads the client's output to the end, so that it cannot block the client's
                    // input.
                    tokio::spawn(async move { hear.read_to_end(&mut Vec::new()).await });
                    all
                };
                let ((), all, (), heard) = tokio::join!(saying, reading, writing, hearing);
                assert_eq!(all, data);
                assert_eq!(heard, written.as_bytes());
            });
        }
    }
}
