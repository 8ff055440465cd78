//! One way of a relayed pair of connections: what has been read and could not be passed on yet, and
//! whether there is more to come. It never waits; blocking and tokio's relay wait each in their way.

use std::io;
use std::net::Shutdown;
use std::ops::Range;

/// Bytes that are read at a time.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;
/// Reads of one direction before the other has its turn.
const TURN: usize = 8;

/// A connection's end; nothing waits.
pub(crate) trait End {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Tells the other side that nothing more comes.
    fn end(&self) -> io::Result<()>;
}

/// One way.
#[derive(Default)]
pub(crate) struct Direction {
    /// Where writing waits: what was read. Empty most of the time, so that an idle pair of connections
    /// holds no buffers.
    waiting: Vec<u8>,
    unsent: Range<usize>,
    bytes: u64,
    ended: bool,
}

impl Direction {
    /// Bytes that were passed on.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The source has nothing more to say, and the target was told so.
    pub(crate) const fn ended(&self) -> bool {
        self.ended
    }

    /// Waits for the source.
    pub(crate) fn wants_to_read(&self) -> bool {
        self.unsent.is_empty() && !self.ended
    }

    /// Waits for the target.
    pub(crate) fn wants_to_write(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Moves what can be moved without waiting, for one turn.
    pub(crate) fn pump(
        &mut self,
        from: &impl End,
        to: &impl End,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        self.flush(to)?;
        for _ in 0..TURN {
            if !self.wants_to_read() {
                return Ok(());
            }
            let Some(n) = unless_blocked(from.read(buffer))? else {
                return Ok(());
            };
            if n == 0 {
                // At once: after a turn's last read nothing would wake this direction again.
                self.ended = true;
                return to.end();
            }
            self.pass_on(&buffer[..n], to)?;
        }
        Ok(())
    }

    /// Writes what waits.
    fn flush(&mut self, to: &impl End) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let Some(n) = unless_blocked(to.write(&self.waiting[self.unsent.clone()]))? else {
                return Ok(());
            };
            self.unsent.start += n;
            self.bytes += n as u64;
        }
        self.waiting = Vec::new();
        Ok(())
    }

    /// Writes what was read just now, and keeps what cannot be written.
    fn pass_on(&mut self, read: &[u8], to: &impl End) -> io::Result<()> {
        let mut sent = 0;
        while sent < read.len() {
            let Some(n) = unless_blocked(to.write(&read[sent..]))? else {
                self.waiting = read[sent..].to_vec();
                self.unsent = 0..self.waiting.len();
                break;
            };
            sent += n;
        }
        self.bytes += sent as u64;
        Ok(())
    }
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

impl End for std::net::TcpStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        io::Read::read(&mut &*self, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut &*self, bytes)
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::VecDeque;

    /// An end that gives and takes what a test says; nothing means that it would have to wait.
    #[derive(Default)]
    struct Scripted {
        reads: RefCell<VecDeque<Option<Vec<u8>>>>,
        takes: RefCell<VecDeque<Option<usize>>>,
        taken: RefCell<Vec<u8>>,
        told: RefCell<bool>,
    }

    impl End for Scripted {
        fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            let next = self.reads.borrow_mut().pop_front().flatten();
            let bytes = next.ok_or(io::ErrorKind::WouldBlock)?;
            buffer[..bytes.len()].copy_from_slice(&bytes);
            Ok(bytes.len())
        }

        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            let next = self.takes.borrow_mut().pop_front().flatten();
            let n = next.ok_or(io::ErrorKind::WouldBlock)?.min(bytes.len());
            self.taken.borrow_mut().extend(&bytes[..n]);
            Ok(n)
        }

        fn end(&self) -> io::Result<()> {
            *self.told.borrow_mut() = true;
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_written_waits_and_comes_first() {
        let (from, to) = (Scripted::default(), Scripted::default());
        from.reads.borrow_mut().extend([Some(b"abcdef".to_vec()), Some(b"gh".to_vec()), None]);
        to.takes.borrow_mut().extend([Some(2), None, Some(1), None, Some(9), Some(9)]);
        let mut way = Direction::default();
        let mut buffer = [0; 64];
        way.pump(&from, &to, &mut buffer).unwrap();
        assert!(way.wants_to_write() && !way.wants_to_read());
        assert_eq!((way.bytes(), &to.taken.borrow()[..]), (2, &b"ab"[..]));
        way.pump(&from, &to, &mut buffer).unwrap();
        assert_eq!((way.bytes(), &to.taken.borrow()[..]), (3, &b"abc"[..]));
        way.pump(&from, &to, &mut buffer).unwrap();
        assert_eq!((way.bytes(), &to.taken.borrow()[..]), (8, &b"abcdefgh"[..]));
        assert!(way.wants_to_read() && way.waiting.capacity() == 0);
    }

    #[test]
    fn the_end_is_told_only_after_the_last_byte() {
        let (from, to) = (Scripted::default(), Scripted::default());
        from.reads.borrow_mut().extend([Some(b"last".to_vec()), Some(Vec::new())]);
        to.takes.borrow_mut().extend([None, Some(9)]);
        let mut way = Direction::default();
        way.pump(&from, &to, &mut [0; 64]).unwrap();
        assert!(!*to.told.borrow() && !way.ended());
        way.pump(&from, &to, &mut [0; 64]).unwrap();
        assert!(*to.told.borrow() && way.ended() && !way.wants_to_read());
        assert_eq!(&to.taken.borrow()[..], b"last");
    }
}
