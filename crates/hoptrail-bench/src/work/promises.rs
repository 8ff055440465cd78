//! What TCP promises, tried between a client and the server's end of its connection, both in our hands:
//! whatever is between them must not be noticed.

use super::socks;
use crate::wire::Promise;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

/// After which something has not come; nothing that is kept waits for it.
const DEADLINE: Duration = Duration::from_secs(5);
/// A sender that could not write for that long is stopped.
const STOPPED: Duration = Duration::from_millis(400);
/// More than this in flight is no back-pressure: the buffers of the sockets of four hops hold less.
const BOUND: u64 = 512 << 20;
/// In each direction, by pieces of all sizes.
const CONTENT: u64 = 48 << 20;
const LAST: u64 = 3 << 20;

/// Both ends of a connection.
struct Ends {
    client: TcpStream,
    server: TcpStream,
}

/// What was seen otherwise, in words.
type Seen = Result<String, String>;

/// Whether it was kept, and what was seen.
pub(super) fn try_out(
    promise: Promise,
    listener: &TcpListener,
    to: SocketAddr,
    socks: bool,
) -> (bool, String) {
    let tried = Ends::meet(listener, to, socks)
        .map_err(|e| format!("no connection: {e}"))
        .and_then(|ends| kept(promise, ends));
    match tried {
        Ok(seen) => (true, seen),
        Err(seen) => (false, seen),
    }
}

fn kept(promise: Promise, ends: Ends) -> Seen {
    let Ends { client, server } = ends;
    match promise {
        Promise::HalfCloseOfClient => half_close(client, server),
        Promise::HalfCloseOfServer => half_close(server, client),
        Promise::ResetOfClient => reset(client, server),
        Promise::ResetOfServer => reset(server, client),
        Promise::BackPressureUp => back_pressure(client, server),
        Promise::BackPressureDown => back_pressure(server, client),
        Promise::Content => content(&client, &server),
        Promise::LastBytes => last_bytes(client, server),
        Promise::ServerFirst => server_first(client, server),
        Promise::Peek => peek(&client, &server).and_then(|_| peek(&server, &client)),
    }
}

impl Ends {
    fn meet(listener: &TcpListener, to: SocketAddr, socks: bool) -> io::Result<Self> {
        // One that came of an earlier attempt after its deadline.
        while readable(listener, Duration::ZERO)? {
            drop(listener.accept()?);
        }
        let client = TcpStream::connect(to)?;
        if !readable(listener, DEADLINE)? {
            return Err(io::Error::other(
                "it does not arrive before the client has sent something",
            ));
        }
        let (mut server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_read_timeout(Some(DEADLINE))?;
            end.set_write_timeout(Some(DEADLINE))?;
            end.set_nodelay(true)?;
        }
        if socks {
            socks::shake_hands(&mut server)?;
        }
        Ok(Self { client, server })
    }
}

/// `first` ends its direction; the other one must go on.
fn half_close(mut first: TcpStream, mut second: TcpStream) -> Seen {
    exchange(&mut first, &mut second)?;
    first.write_all(b"question").map_err(|e| format!("cannot send: {e}"))?;
    first.shutdown(Shutdown::Write).map_err(|e| format!("cannot shut down: {e}"))?;
    let mut question = Vec::new();
    second.read_to_end(&mut question).map_err(|e| format!("the end does not arrive: {e}"))?;
    if question != b"question" {
        return Err(format!("{} of 8 bytes arrive before the end", question.len()));
    }
    // Time for a relay that closes everything to do so.
    thread::sleep(Duration::from_millis(50));
    let answering = thread::spawn(move || {
        let sent = Pattern::new(7).send(&second, LAST);
        let _ = second.shutdown(Shutdown::Write);
        sent
    });
    let received = Pattern::new(7).receive_all(&first);
    let sent = answering.join().map_err(|_| "the answering thread failed")?;
    match (sent, received) {
        (Ok(()), Ok(LAST)) => Ok("ended one way, 3 MiB came the other".into()),
        (_, Ok(n)) => Err(format!("{n} of {LAST} bytes come after one side's end")),
        (_, Err(e)) => Err(format!("after one side's end: {e}")),
    }
}

/// What `first` does must be seen as a reset by `second`.
fn reset(mut first: TcpStream, mut second: TcpStream) -> Seen {
    exchange(&mut first, &mut second)?;
    SockRef::from(&first).set_linger(Some(Duration::ZERO)).map_err(|e| e.to_string())?;
    drop(first);
    match second.read(&mut [0]) {
        Ok(0) => Err("a reset comes as an ordinary end".into()),
        Ok(_) => Err("bytes come that nobody sent".into()),
        Err(e) if e.kind() == ErrorKind::ConnectionReset => Ok("seen as a reset".into()),
        Err(e) => Err(format!("a reset does not arrive: {e}")),
    }
}

/// `from` writes while `to` does not read: it must be stopped, and go on when `to` reads.
fn back_pressure(from: TcpStream, to: TcpStream) -> Seen {
    let mut pattern = Pattern::new(3);
    let sent = fill(&from, &mut pattern).map_err(|e| format!("while nobody reads: {e}"))?;
    if sent >= BOUND {
        return Err(format!("{} MiB were taken while nobody read", sent >> 20));
    }
    let sending = thread::spawn(move || {
        let sent = pattern.send(&from, CONTENT);
        let _ = from.shutdown(Shutdown::Write);
        sent
    });
    let received = Pattern::new(3).receive_all(&to);
    let more = sending.join().map_err(|_| "the sending thread failed")?;
    let whole = sent + CONTENT;
    match (more, received) {
        (Ok(()), Ok(n)) if n == whole => Ok(format!("stopped after {} MiB", sent >> 20)),
        (_, Ok(n)) => Err(format!("{n} of {whole} bytes come after a pause")),
        (_, Err(e)) => Err(format!("after a pause: {e}")),
    }
}

/// Writes until it is stopped for a while; gives the bytes.
fn fill(from: &TcpStream, pattern: &mut Pattern) -> io::Result<u64> {
    from.set_nonblocking(true)?;
    let start = pattern.at;
    while pattern.at - start < BOUND {
        match pattern.send_some(from) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if !writable(from, STOPPED)? {
                    break;
                }
            }
            Err(e) => return Err(e),
        }
    }
    from.set_nonblocking(false)?;
    Ok(pattern.at - start)
}

fn content(client: &TcpStream, server: &TcpStream) -> Seen {
    // Nobody ends before all has arrived: that is another promise.
    let results = thread::scope(|scope| {
        let all = [
            scope.spawn(|| Pattern::new(11).send(client, CONTENT).map(|()| CONTENT)),
            scope.spawn(|| Pattern::new(12).send(server, CONTENT).map(|()| CONTENT)),
            scope.spawn(|| Pattern::new(11).receive(server, CONTENT)),
            scope.spawn(|| Pattern::new(12).receive(client, CONTENT)),
        ];
        all.map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread failed"))))
    });
    for result in results {
        match result {
            Ok(CONTENT) => {}
            Ok(n) => return Err(format!("{n} of {CONTENT} bytes arrive")),
            Err(e) => return Err(e.to_string()),
        }
    }
    Ok("48 MiB each way at once, each byte as sent".into())
}

fn last_bytes(client: TcpStream, server: TcpStream) -> Seen {
    let sending = thread::spawn(move || Pattern::new(5).send(&client, LAST).map(|()| drop(client)));
    let received = Pattern::new(5).receive_all(&server);
    let _ = sending.join();
    match received {
        Ok(LAST) => Ok("all before the end".into()),
        Ok(n) => Err(format!("{n} of {LAST} bytes arrive before the end")),
        Err(e) => Err(e.to_string()),
    }
}

fn server_first(mut client: TcpStream, mut server: TcpStream) -> Seen {
    server.write_all(b"220 hello\r\n").map_err(|e| e.to_string())?;
    let mut greeting = [0; 11];
    client.read_exact(&mut greeting).map_err(|e| format!("no greeting arrives: {e}"))?;
    exchange(&mut client, &mut server)?;
    Ok("greeted before the client said anything".into())
}

/// `to` asks how much there is, looks at it, and reads it.
fn peek(from: &TcpStream, to: &TcpStream) -> Seen {
    const SENT: &[u8; 100] = &[0x61; 100];
    let (mut from, mut to) = (from, to);
    from.write_all(SENT).map_err(|e| e.to_string())?;
    let deadline = Instant::now() + DEADLINE;
    let mut waiting = 0;
    while waiting != SENT.len() && Instant::now() < deadline {
        waiting = fionread(to).map_err(|e| format!("FIONREAD: {e}"))?;
        thread::sleep(Duration::from_millis(1));
    }
    let mut looked = [0; 200];
    let n = to.peek(&mut looked).map_err(|e| format!("MSG_PEEK: {e}"))?;
    let still = fionread(to).map_err(|e| format!("FIONREAD: {e}"))?;
    if (waiting, n, still) != (100, 100, 100) || looked[..100] != SENT[..] {
        return Err(format!(
            "FIONREAD says {waiting}, MSG_PEEK gives {n}, FIONREAD {still} of 100"
        ));
    }
    let mut read = [0; 100];
    to.read_exact(&mut read).map_err(|e| e.to_string())?;
    if read == *SENT { Ok("100, 100 and 100 of 100".into()) } else { Err("other bytes".into()) }
}

/// A byte each way, after which the connection is whole.
fn exchange(first: &mut TcpStream, second: &mut TcpStream) -> Result<(), String> {
    for (from, to) in [(&*first, &*second), (&*second, &*first)] {
        let (mut from, mut to) = (from, to);
        from.write_all(b"!").map_err(|e| format!("cannot send: {e}"))?;
        to.read_exact(&mut [0]).map_err(|e| format!("a byte does not arrive: {e}"))?;
    }
    Ok(())
}

fn readable(listener: &TcpListener, within: Duration) -> io::Result<bool> {
    ready(listener, PollFlags::POLLIN, within)
}

fn writable(stream: &TcpStream, within: Duration) -> io::Result<bool> {
    ready(stream, PollFlags::POLLOUT, within)
}

fn ready(what: &impl AsFd, flags: PollFlags, within: Duration) -> io::Result<bool> {
    let timeout = PollTimeout::try_from(within).map_err(io::Error::other)?;
    Ok(poll(&mut [PollFd::new(what.as_fd(), flags)], timeout)? > 0)
}

#[expect(unsafe_code, reason = "the standard library has no FIONREAD")]
fn fionread(stream: &TcpStream) -> io::Result<usize> {
    let mut waiting: libc::c_int = 0;
    // SAFETY: the descriptor is open; the kernel writes one int, which is live.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &raw mut waiting) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(waiting as usize) }
}

/// Bytes that both ends know, whose order matters.
struct Pattern {
    seed: u64,
    at: u64,
    buffer: Vec<u8>,
}

impl Pattern {
    fn new(seed: u64) -> Self {
        Self { seed, at: 0, buffer: vec![0; 128 << 10] }
    }

    /// Fills the buffer with the next `length` bytes.
    fn next(&mut self, length: usize) {
        let (seed, at) = (self.seed, self.at);
        for (i, byte) in self.buffer[..length].iter_mut().enumerate() {
            *byte = byte_at(seed, at + i as u64);
        }
    }

    /// Writes once, a piece whose size depends on the place.
    fn send_some(&mut self, mut to: &TcpStream) -> io::Result<()> {
        let length = self.piece();
        self.next(length);
        self.at += to.write(&self.buffer[..length])? as u64;
        Ok(())
    }

    /// From one byte to the whole buffer.
    fn piece(&self) -> usize {
        let sizes = [1, 64, 1448, 4096, 65_537, self.buffer.len()];
        sizes[(self.at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % sizes.len()]
    }

    fn send(&mut self, to: &TcpStream, bytes: u64) -> io::Result<()> {
        let (end, mut writer) = (self.at + bytes, to);
        while self.at < end {
            let length = self.piece().min((end - self.at) as usize);
            self.next(length);
            writer.write_all(&self.buffer[..length])?;
            self.at += length as u64;
        }
        Ok(())
    }

    /// Reads to the end and compares; gives the bytes.
    fn receive_all(&mut self, from: &TcpStream) -> io::Result<u64> {
        self.receive(from, u64::MAX)
    }

    /// The same, but reads no more when so many bytes have come.
    fn receive(&mut self, mut from: &TcpStream, enough: u64) -> io::Result<u64> {
        let mut got = vec![0; self.buffer.len()];
        loop {
            let n = from.read(&mut got)?;
            if n == 0 {
                return Ok(self.at);
            }
            self.next(n);
            if got[..n] != self.buffer[..n] {
                return Err(io::Error::other(format!("other bytes arrive, from {} on", self.at)));
            }
            self.at += n as u64;
            if self.at >= enough {
                return Ok(self.at);
            }
        }
    }
}

/// Neighbours differ, and so do places a power of two apart.
const fn byte_at(seed: u64, at: u64) -> u8 {
    let mixed = (at ^ seed << 56).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29) as u8
}
