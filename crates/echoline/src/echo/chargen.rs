//! The character generator of RFC 864: sends an endless series of lines, as fast as the client
//! reads them.

use std::io::IoSlice;
use std::sync::LazyLock;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::feed::Outlet;
use crate::connection::handle::Connection;
use crate::connection::limits::Closed;

/// The number of characters of a line, without its line end.
const LINE_CHARACTERS: usize = 72;

/// The number of printable ASCII characters, including the space. The lines repeat after this
/// number of lines.
const CHARACTERS: usize = 95;

/// The length in bytes of a round, which consists of all different lines.
const ROUND_BYTES: usize = CHARACTERS * (LINE_CHARACTERS + 2);

/// The number of rounds that are offered in one write.
const ROUNDS: usize = 10;

/// The number of bytes of client input that are read and discarded at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The lines of all rounds. Each line begins one character later than the previous line, as in the
/// RFC's example.
static LINES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut lines = Vec::with_capacity(ROUNDS * ROUND_BYTES);
    for first in (0..CHARACTERS).cycle().take(ROUNDS * CHARACTERS) {
        let characters = (b' '..=b'~').cycle().skip(first).take(LINE_CHARACTERS);
        lines.extend(characters.chain(*b"\r\n"));
    }
    lines
});

/// Sends lines until the client ends the connection; client input is discarded.
pub(super) async fn serve<S>(mut client: Connection<S>) -> Result<(), Closed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut sent = 0;
    let mut feed = |outlet: &mut Outlet<'_, S>, cx: &mut std::task::Context<'_>| {
        sent = (sent + outlet.offer(&mut [IoSlice::new(&LINES[sent..])], cx)?) % ROUND_BYTES;
        Poll::Ready(Ok(()))
    };
    while client.read_feeding(CHUNK_BYTES, &mut feed).await?.is_some() {}
    Ok(())
}

/// Returns the first `count` characters, at most one round, for the answer to a datagram.
pub(super) fn characters(count: usize) -> &'static [u8] {
    &LINES[..count.min(ROUND_BYTES)]
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::connection::limits::Limits;

    /// The first three lines of the example in RFC 864.
    const EXAMPLE: &str = concat!(
        " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n",
        "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh\r\n",
        "\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghi\r\n",
    );

    #[test]
    fn the_lines_are_those_of_the_rfc() {
        let text = std::str::from_utf8(&LINES).unwrap();
        assert!(text.starts_with(EXAMPLE));
        assert!(text.split_terminator("\r\n").all(|line| line.len() == LINE_CHARACTERS));
        // After the last line of a round the first one follows.
        assert_eq!(LINES[..ROUND_BYTES], LINES[ROUND_BYTES..2 * ROUND_BYTES]);
    }

    #[tokio::test]
    async fn sends_lines_until_the_client_ends_the_connection() {
        let (mut here, there) = duplex(8);
        let serving = tokio::spawn(serve(Connection::new(there, Limits::default())));
        let mut received = vec![0; 3 * ROUND_BYTES];
        for chunk in received.chunks_mut(1000) {
            here.read_exact(chunk).await.unwrap();
            // Client input must not change the output.
            here.write_all(b"stop").await.unwrap();
        }
        assert!(received.starts_with(EXAMPLE.as_bytes()));
        assert_eq!(received, LINES[..3 * ROUND_BYTES]);
        here.shutdown().await.unwrap();
        here.read_to_end(&mut Vec::new()).await.unwrap();
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_reset_by_the_client_ends_the_service() {
        let (mut here, there) = duplex(8);
        let serving = tokio::spawn(serve(Connection::new(there, Limits::default())));
        here.read_exact(&mut [0; 100]).await.unwrap();
        drop(here);
        assert!(matches!(serving.await.unwrap(), Ok(()) | Err(Closed::Reset)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_timed_out() {
        let (_here, there) = duplex(8);
        let serving = serve(Connection::new(there, Limits::default()));
        assert_eq!(serving.await, Err(Closed::StallTimeout));
    }
}
