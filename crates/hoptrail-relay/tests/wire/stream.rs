//! Bytes whose place in the stream can be told from their value, and reading to a stream's end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::LazyLock;

/// A prime, so that no block of the relay's (64 KiB, 1 MiB) is a multiple of it.
const PERIOD: usize = 65_521;

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(byte).take(PERIOD).collect::<Vec<_>>().repeat(2)
});

/// How a stream has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    End,
    Reset,
}

/// The bytes of a stream from an offset on, at most [`PERIOD`] of them.
pub(crate) fn bytes_at(offset: u64, n: usize) -> &'static [u8] {
    let at = (offset % PERIOD as u64) as usize;
    &PATTERN[at..at + n.min(PERIOD)]
}

/// Sends so many bytes of the pattern from an offset on.
pub(crate) fn send(mut stream: &TcpStream, offset: u64, n: u64) -> std::io::Result<()> {
    let mut sent = 0;
    while sent < n {
        let piece = bytes_at(offset + sent, usize::try_from(n - sent).unwrap());
        sent += stream.write(piece)? as u64;
    }
    Ok(())
}

/// Reads once; panics when the bytes are not those of the pattern at that offset.
pub(crate) fn receive(mut stream: &TcpStream, offset: u64, most: usize) -> std::io::Result<usize> {
    let mut buffer = vec![0; most];
    let n = stream.read(&mut buffer)?;
    let mut checked = 0;
    while checked < n {
        let expected = bytes_at(offset + checked as u64, n - checked);
        assert!(buffer[checked..].starts_with(expected), "other bytes at {offset} + {checked}");
        checked += expected.len();
    }
    Ok(n)
}

/// Reads exactly so many bytes of the pattern.
pub(crate) fn receive_exactly(stream: &TcpStream, offset: u64, n: u64) {
    let mut at = 0;
    while at < n {
        let most = usize::try_from(n - at).unwrap().min(1 << 16);
        let got = receive(stream, offset + at, most).unwrap();
        assert!(got > 0, "the stream has ended after {at} of {n} bytes");
        at += got as u64;
    }
}

/// Reads to the end: how many more bytes of the pattern came, and how it ended.
pub(crate) fn receive_all(stream: &TcpStream, offset: u64) -> (u64, Seen) {
    let mut at = offset;
    loop {
        match receive(stream, at, 1 << 16) {
            Ok(0) => return (at - offset, Seen::End),
            Ok(n) => at += n as u64,
            Err(error) if is_reset(&error) => return (at - offset, Seen::Reset),
            Err(error) => panic!("after {at} bytes: {error}"),
        }
    }
}

pub(crate) fn is_reset(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}
